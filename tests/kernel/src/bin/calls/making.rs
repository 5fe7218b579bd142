// SPDX-License-Identifier: MIT OR Apache-2.0
//! How each capability of a world is made.

use kernel_tests::env::{HIGH, at, own_cnode};
use kernel_tests::{Env, Failure, Outcome};
use sel4::init_thread::slot;
use sel4::{
    CNodeCapData, CapRights, CapType, IOSpaceCapData, ObjectBlueprint, ObjectBlueprintX86, cap, cap_type,
};

use crate::things::{DEPTH, Thing};
use crate::world::World;

/// The requester of [`Thing::IoSpace`]: 00:1f.3, which does no DMA. Its domain is 200.
pub const REQUESTER: u16 = 0x1f << 3 | 3;
const DOMAIN: u16 = 200;

/// 4 KiB of which an endpoint was made.
pub fn used_untyped(env: &mut Env) -> Outcome<cap::Untyped> {
    let untyped = env.untyped(12)?;
    let child = env.slot()?;
    untyped.untyped_retype(&ObjectBlueprint::Endpoint, &own_cnode(), child, 1)?;
    Ok(untyped)
}

/// Does what `assign` does in a pool that is deleted then.
fn in_lost_pool(env: &mut Env, assign: impl FnOnce(cap::AsidPool) -> sel4::Result<()>) -> Outcome {
    let (memory, pool) = (env.untyped(12)?, env.empty::<cap_type::AsidPool>()?);
    slot::ASID_CONTROL.cap().asid_control_make_pool(memory, &at(pool))?;
    assign(pool)?;
    Ok(at(pool).delete()?)
}

/// Memory of a device, or a frame of it.
fn of_device(env: &mut Env, blueprint: ObjectBlueprint) -> Outcome<u64> {
    let (slot, _) = env
        .bootinfo
        .untypeds()
        .filter(|(_, desc)| desc.is_device == 1 && desc.size_bits >= 15)
        .min_by_key(|(_, desc)| desc.size_bits)
        .ok_or(Failure::new(format_args!("no device untyped of 32 KiB")))?;
    let device: cap::Untyped = slot.cap();
    let made = env.slot()?;
    device.untyped_retype(&blueprint, &own_cnode(), made, 1)?;
    Ok(made as u64)
}

fn copy<T: CapType>(env: &mut Env, of: sel4::Cap<T>, rights: CapRights, badge: u64) -> Outcome<u64> {
    Ok(env.mint(of, rights, badge)?.bits())
}

/// Makes a capability, from those before it in the list.
pub fn make(env: &mut Env, thing: Thing, world: &mut World) -> Outcome<u64> {
    const READ: CapRights = CapRights::read_only();
    const WRITE: CapRights = CapRights::write_only();
    let endpoint = world.cap::<cap_type::Endpoint>(Thing::Endpoint);
    let notification = world.cap::<cap_type::Notification>(Thing::Notification);
    Ok(match thing {
        Thing::Nothing => env.slot()? as u64,
        Thing::Untyped => env.untyped(16)?.bits(),
        Thing::UsedUntyped => used_untyped(env)?.bits(),
        Thing::SmallUntyped => env.untyped(12)?.bits(),
        Thing::DeviceUntyped => of_device(env, ObjectBlueprint::Untyped { size_bits: 13 })?,
        Thing::DeviceFrame => of_device(env, ObjectBlueprint::Arch(ObjectBlueprintX86::_4k))?,
        Thing::Tcb | Thing::OtherTcb | Thing::BoundTcb => env.make::<cap_type::Tcb>()?.bits(),
        Thing::WaitingTcb => {
            // It runs at once, until it waits, and gives its context back.
            let notification: cap::Notification = env.make()?;
            let wait = |me: &mut kernel_tests::Me| {
                cap::Notification::from_bits(me.args[0]).wait();
            };
            let thread = env.spawn(HIGH, wait, [notification.bits(), 0, 0, 0])?;
            thread.sc.sched_context_unbind()?;
            world.set(Thing::AwaitedNotification, notification.bits());
            thread.tcb.bits()
        }
        Thing::Endpoint => env.make::<cap_type::Endpoint>()?.bits(),
        Thing::BadgedEndpoint => copy(env, endpoint, CapRights::all(), 5)?,
        Thing::ReadEndpoint => copy(env, endpoint, READ, 0)?,
        Thing::WriteEndpoint => copy(env, endpoint, WRITE, 0)?,
        Thing::Notification | Thing::BoundNotification => env.make::<cap_type::Notification>()?.bits(),
        Thing::ReadNotification => copy(env, notification, READ, 0)?,
        Thing::WriteNotification => copy(env, notification, WRITE, 0)?,
        Thing::CNode => env.cnode(DEPTH as usize)?.bits(),
        Thing::GuardedCNode => {
            let guard = CNodeCapData::new(0b101, 3).into_word();
            copy(env, world.cap::<cap_type::CNode>(Thing::CNode), CapRights::all(), guard)?
        }
        Thing::Context | Thing::OtherContext => {
            env.make_of::<cap_type::SchedContext>(ObjectBlueprint::SchedContext { size_bits: 8 })?.bits()
        }
        Thing::Reply => env.make::<cap_type::Reply>()?.bits(),
        Thing::Pml4 | Thing::OtherPml4 => kernel_tests::space::empty(env)?.bits(),
        Thing::LostPml4 => {
            let root: cap::VSpace = env.make()?;
            in_lost_pool(env, |pool| pool.asid_pool_assign(root))?;
            root.bits()
        }
        Thing::LostEptPml4 => {
            let root: cap::EptPml4 = env.make()?;
            in_lost_pool(env, |pool| pool.asid_pool_assign_nested(root, 0))?;
            root.bits()
        }
        Thing::RawPml4 => env.make::<cap_type::Pml4>()?.bits(),
        Thing::Pdpt | Thing::OtherPdpt => env.make::<cap_type::Pdpt>()?.bits(),
        Thing::Directory | Thing::OtherDirectory => env.make::<cap_type::PageDirectory>()?.bits(),
        Thing::Table | Thing::OtherTable => env.make::<cap_type::PageTable>()?.bits(),
        Thing::Frame | Thing::OtherFrame => env.make::<cap_type::_4k>()?.bits(),
        Thing::ReadFrame => copy(env, world.cap::<cap_type::_4k>(Thing::Frame), READ, 0)?,
        Thing::LargeFrame => env.make::<cap_type::LargePage>()?.bits(),
        Thing::IrqHandler => {
            let handler = env.empty::<cap_type::IrqHandler>()?;
            slot::IRQ_CONTROL.cap().irq_control_get_ioapic(0, 20, 0, 0, 15, &at(handler))?;
            handler.bits()
        }
        Thing::MessageHandler => {
            let handler = env.empty::<cap_type::IrqHandler>()?;
            slot::IRQ_CONTROL.cap().irq_control_get_msi(0, 0x1f, 3, 100, 50, &at(handler))?;
            handler.bits()
        }
        Thing::MessageHandlerCopy => {
            let handler = world.cap::<cap_type::IrqHandler>(Thing::MessageHandler);
            env.copy(handler, CapRights::all())?.bits()
        }
        Thing::Ports => {
            let ports = env.empty::<cap_type::IOPort>()?;
            slot::IO_PORT_CONTROL.cap().ioport_control_issue(0x1000, 0x100f, &at(ports))?;
            ports.bits()
        }
        Thing::IoSpace => {
            let data = IOSpaceCapData::new(DOMAIN, REQUESTER).into_word();
            copy(env, slot::IO_SPACE.cap(), CapRights::all(), data)?
        }
        Thing::IoTable | Thing::OtherIoTable | Thing::ThirdIoTable => {
            env.make::<cap_type::IOPageTable>()?.bits()
        }
        Thing::Vcpu | Thing::OtherVcpu => env.make::<cap_type::VCpu>()?.bits(),
        Thing::PermissionMap | Thing::OtherPermissionMap => env.make::<cap_type::IOPermissionMap>()?.bits(),
        Thing::EptPml4 | Thing::OtherEptPml4 => {
            let root = env.make::<cap_type::EptPml4>()?;
            slot::ASID_POOL.cap().asid_pool_assign_nested(root, 0)?;
            root.bits()
        }
        Thing::RawEptPml4 => env.make::<cap_type::EptPml4>()?.bits(),
        Thing::EptPdpt | Thing::OtherEptPdpt => env.make::<cap_type::EptPdpt>()?.bits(),
        Thing::EptDirectory | Thing::OtherEptDirectory => env.make::<cap_type::EptPageDirectory>()?.bits(),
        Thing::EptTable | Thing::OtherEptTable => env.make::<cap_type::EptPageTable>()?.bits(),
        Thing::OwnTcb
        | Thing::OwnCNode
        | Thing::OwnContext
        | Thing::AsidControl
        | Thing::AsidPool
        | Thing::IrqControl
        | Thing::PortControl
        | Thing::DomainSet
        | Thing::SchedControl
        | Thing::IoMaster
        | Thing::AwaitedNotification
        | Thing::DmaFault => return Err(Failure::new(format_args!("{thing:?} isn't there"))),
    })
}
