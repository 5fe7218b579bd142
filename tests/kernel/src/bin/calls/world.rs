// SPDX-License-Identifier: MIT OR Apache-2.0
//! The world of a group of rows: one capability of each kind and in each state that a row asks for, under a name.

use kernel_tests::env::{HIGH, at, own_cnode};
use kernel_tests::{Env, Failure, Outcome, machine};
use sel4::init_thread::slot;
use sel4::{
    AbsoluteCPtr, CNodeCapData, CapRights, CapType, IOSpaceCapData, ObjectBlueprint, ObjectBlueprintX86, cap,
    cap_type,
};

macro_rules! things {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// A capability of the world.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Thing {
            $($(#[$doc])* $name),*
        }

        /// All of them.
        pub const THINGS: &[Thing] = &[$(Thing::$name),*];
    };
}

things! {
    /// An empty slot.
    Nothing,
    /// 64 KiB.
    Untyped,
    /// 4 KiB, of which an endpoint was made.
    UsedUntyped,
    /// 4 KiB.
    SmallUntyped,
    /// 8 KiB of a device.
    DeviceUntyped,
    /// The initial thread.
    OwnTcb,
    /// A thread that nothing is known of.
    Tcb,
    OtherTcb,
    /// A thread with a notification, which is the next.
    BoundTcb,
    BoundNotification,
    /// A thread without a scheduling context that waits for the notification that is the next.
    WaitingTcb,
    AwaitedNotification,
    Endpoint,
    /// With badge 5.
    BadgedEndpoint,
    ReadEndpoint,
    /// Without the right to grant anything.
    WriteEndpoint,
    Notification,
    ReadNotification,
    WriteNotification,
    /// The initial thread's.
    OwnCNode,
    /// 16 slots, as in [`IN_CNODE`].
    CNode,
    /// The same with guard 0b101, three bits.
    GuardedCNode,
    /// 2^8 bytes, not configured.
    Context,
    OtherContext,
    /// The initial thread's.
    OwnContext,
    Reply,
    /// With an identifier, and nothing in it.
    Pml4,
    OtherPml4,
    /// Without an identifier.
    RawPml4,
    /// With one of a pool that is gone.
    LostPml4,
    Pdpt,
    OtherPdpt,
    Directory,
    OtherDirectory,
    Table,
    OtherTable,
    /// 4 KiB.
    Frame,
    OtherFrame,
    /// 2 MiB.
    LargeFrame,
    /// 4 KiB of a device.
    DeviceFrame,
    AsidControl,
    AsidPool,
    IrqControl,
    /// User interrupt 15, of pin 20.
    IrqHandler,
    /// User interrupt 50, of a message.
    MessageHandler,
    /// Another capability for it.
    MessageHandlerCopy,
    PortControl,
    /// 0x1000 to 0x100f.
    Ports,
    DomainSet,
    SchedControl,
    /// The master, which is no space.
    IoMaster,
    IoSpace,
    IoTable,
    OtherIoTable,
    ThirdIoTable,
    DmaFault,
    Vcpu,
    OtherVcpu,
    PermissionMap,
    OtherPermissionMap,
    EptPml4,
    OtherEptPml4,
    RawEptPml4,
    /// With an identifier of a pool that is gone.
    LostEptPml4,
    EptPdpt,
    OtherEptPdpt,
    EptDirectory,
    OtherEptDirectory,
    EptTable,
    OtherEptTable,
}

/// What lies in the slots of [`Thing::CNode`]. It is looked through to itself in slot 8: of index 0x8n, eight bits deep, the slot is n.
pub const IN_CNODE: &[(u64, Thing)] = &[
    (1, Thing::Endpoint),
    (2, Thing::BadgedEndpoint),
    (3, Thing::WriteEndpoint),
    (4, Thing::Notification),
    (8, Thing::CNode),
    (9, Thing::Tcb),
    (10, Thing::Reply),
    (11, Thing::IoSpace),
];
/// Slots of it that hold what can't be copied: a page table that isn't mapped, and untyped memory that was used.
pub const UNMAPPED_TABLE: u64 = 6;
pub const USED_UNTYPED: u64 = 7;
/// An empty slot of it; so are all that follow, and slot 0.
pub const FREE: u64 = 12;
/// Log2 of its slots.
pub const DEPTH: u64 = 4;

/// The requester of [`Thing::IoSpace`]: 00:1f.3, which does no DMA. Its domain is 200.
pub const REQUESTER: u16 = 0x1f << 3 | 3;
const DOMAIN: u16 = 200;

/// Words that stand for what only the running machine knows: the longest time that a context can have, and one microsecond more; the last
/// entry of the interrupt remapping table, and the one behind it.
pub const LONGEST: u64 = 0x7f00 << 48;
pub const TOO_LONG: u64 = LONGEST + 1;
pub const LAST_HANDLE: u64 = LONGEST + 2;
pub const NO_HANDLE: u64 = LONGEST + 3;
const ADDRESS: u64 = LONGEST + 0x100;

/// A word that stands for the address of a capability.
pub const fn address(thing: Thing) -> u64 {
    ADDRESS + thing as u64
}

/// The capabilities' addresses, and what else a row can't know.
pub struct World {
    addresses: [u64; THINGS.len()],
    longest: u64,
    handles: u64,
}

impl World {
    /// Makes them all.
    pub fn new(env: &mut Env) -> Outcome<Self> {
        let longest = u64::MAX / machine::ticks_per_us(&env.bootinfo) / 8;
        let mut world = Self { addresses: [0; THINGS.len()], longest, handles: 0 };
        world.found(env)?;
        for thing in THINGS {
            if world.address(*thing) == 0 {
                let address = make(env, *thing, &mut world)?;
                world.set(*thing, address);
            }
        }
        world.fill(env)?;
        Ok(world)
    }

    /// The address of a capability.
    pub fn address(&self, thing: Thing) -> u64 {
        self.addresses[thing as usize]
    }

    /// What a word stands for: itself, mostly.
    pub fn resolve(&self, word: u64) -> u64 {
        match word {
            LONGEST => self.longest,
            TOO_LONG => self.longest + 1,
            LAST_HANDLE => self.handles - 1,
            NO_HANDLE => self.handles,
            _ => match word.checked_sub(ADDRESS).and_then(|index| self.addresses.get(index as usize)) {
                Some(address) => *address,
                None => word,
            },
        }
    }

    /// The capability, as one on which anything can be tried.
    pub fn cap<T: CapType>(&self, thing: Thing) -> sel4::Cap<T> {
        sel4::Cap::from_bits(self.address(thing))
    }

    /// A slot of [`Thing::CNode`].
    pub fn slot(&self, index: u64) -> AbsoluteCPtr {
        self.cap::<cap_type::CNode>(Thing::CNode).absolute_cptr_from_bits_with_depth(index, DEPTH as usize)
    }

    fn set(&mut self, thing: Thing, address: u64) {
        self.addresses[thing as usize] = address;
    }

    /// What was there before.
    fn found(&mut self, env: &Env) -> Outcome {
        let extensions = env.bootinfo.extensions().unwrap_or_default();
        let faults = extensions.dma_fault_slot;
        self.handles = extensions.irte_count.into();
        if extensions.vcpu_backend == 0 || faults == 0 || self.handles == 0 {
            return Err(Failure::new(format_args!("the table wants SVM, DMA and interrupt remapping")));
        }
        for (thing, slot) in [
            (Thing::OwnTcb, slot::TCB.cptr()),
            (Thing::OwnCNode, slot::CNODE.cptr()),
            (Thing::OwnContext, slot::SC.cptr()),
            (Thing::AsidControl, slot::ASID_CONTROL.cptr()),
            (Thing::AsidPool, slot::ASID_POOL.cptr()),
            (Thing::IrqControl, slot::IRQ_CONTROL.cptr()),
            (Thing::PortControl, slot::IO_PORT_CONTROL.cptr()),
            (Thing::DomainSet, slot::DOMAIN_SET.cptr()),
            (Thing::IoMaster, slot::IO_SPACE.cptr()),
        ] {
            self.set(thing, slot.bits());
        }
        self.set(Thing::SchedControl, env.sched_control.bits());
        self.set(Thing::DmaFault, faults);
        Ok(())
    }

    /// Puts into the CNode what belongs there.
    fn fill(&self, env: &mut Env) -> Outcome {
        for (index, thing) in IN_CNODE {
            self.slot(*index).copy(&at(self.cap::<cap_type::Unspecified>(*thing)), CapRights::all())?;
        }
        let table: cap::PageTable = env.make()?;
        self.slot(UNMAPPED_TABLE).move_(&at(table))?;
        let untyped = used_untyped(env)?;
        self.slot(USED_UNTYPED).move_(&at(untyped))?;
        let tcb = self.cap::<cap_type::Tcb>(Thing::BoundTcb);
        tcb.tcb_bind_notification(self.cap(Thing::BoundNotification))?;
        Ok(())
    }
}

fn used_untyped(env: &mut Env) -> Outcome<cap::Untyped> {
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

fn make(env: &mut Env, thing: Thing, world: &mut World) -> Outcome<u64> {
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
