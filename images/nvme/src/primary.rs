// SPDX-License-Identifier: MIT OR Apache-2.0
//! The owner of the physical function: gives what it can spare to the controllers of the virtual functions, each with a namespace, and
//! brings them online (NVM Express Base Specification 1.4, sections 5.22 and 8.5).

use crate::command::{Action, Command, Resource, Subject};
use crate::controller::{self, Started};
use crate::identify::Secondary;
use alloc::format;
use alloc::string::String;
use guest_runtime::dma::Buffer;
use guest_runtime::println;

/// Queues of each: admin and one for I/O.
const QUEUES: u16 = 2;
/// Interrupts of each.
const INTERRUPTS: u16 = 1;

/// Brings the controllers of the virtual functions 1 to `count` online; number *n* gets namespace *n*. The controller itself goes on
/// with its admin queue only.
pub fn share(count: u16) -> Result<Started, String> {
    let mut primary = Started::find(false)?;
    // What it gives up is free after its reset, which ends the virtual functions too: whoever has enabled them does that again.
    let own = controller_id(&mut primary)?;
    for resource in [Resource::Queues, Resource::Interrupts] {
        run(&mut primary, Command::virtualization(own, Action::KeepFlexible, resource, 0))?;
    }
    primary.shut_down()?;
    println!("nvme: resetting the physical function");
    if !primary.function.reset() {
        return Err("the physical function can't be reset".into());
    }
    let mut primary = Started::find(false)?;
    // The virtual functions aren't this owner's to enable or disable.
    overwrite_extended_space(&primary)?;
    let list = Secondary::decode(&*controller::identify(&mut primary.admin, Subject::Secondary, 0)?);
    for function in 1..=count {
        let secondary = list.iter().find(|secondary| secondary.function == function);
        let secondary = secondary.ok_or_else(|| format!("virtual function {function} has no controller"))?;
        bring_online(&mut primary, secondary.controller, function.into())?;
        println!("nvme: virtual function {function} is online with namespace {function}");
    }
    Ok(primary)
}

/// Looks for the capability by which virtual functions are disabled, and writes zeros everywhere, in case it is only not listed.
fn overwrite_extended_space(primary: &Started) -> Result<(), String> {
    const SRIOV: u32 = 0x10;
    let config = primary.function.config();
    for offset in (0x100..0x1000).step_by(4) {
        if config.read32(offset) & 0xffff == SRIOV {
            return Err(format!("the SR-IOV capability is at {offset:#x}"));
        }
        config.write32(offset, 0);
    }
    Ok(())
}

fn bring_online(primary: &mut Started, controller: u16, namespace: u32) -> Result<(), String> {
    for (resource, amount) in [(Resource::Interrupts, INTERRUPTS), (Resource::Queues, QUEUES)] {
        run(primary, Command::virtualization(controller, Action::Assign, resource, amount))?;
    }
    let mut list = Buffer::new(4096);
    list.write(0, &1u16.to_le_bytes());
    list.write(2, &controller.to_le_bytes());
    run(primary, Command::attach_namespace(namespace, list.address()))?;
    run(primary, Command::virtualization(controller, Action::Online, Resource::Queues, 0))
}

/// The controller's own identifier (section 5.15.2.2, CNTLID).
fn controller_id(primary: &mut Started) -> Result<u16, String> {
    let data = controller::identify(&mut primary.admin, Subject::Controller, 0)?;
    Ok(u16::from_le_bytes([data[78], data[79]]))
}

fn run(primary: &mut Started, command: Command) -> Result<(), String> {
    controller::one(&mut primary.admin, command).map_err(|status| format!("{command:?}: {status}"))
}
