// SPDX-License-Identifier: MIT OR Apache-2.0
//! An honest VMM's use of its device and its deadline: whoever is served so has servers that live.

use component::sel4::cap;
use component::{Part, cpu};
use protocol::CallError;
use protocol::pci::{Attach, BarRead, ConfigRead, Describe, Detach, Error};
use protocol::start::{RangeKind, signal};
use protocol::supervisor::{ExitKind, Reason};
use protocol::timer::SetDeadline;

/// Does it, and ends with exit code 0 if all was as it should be.
pub fn run(part: &Part) -> ! {
    component::ready();
    match serve_me(part) {
        Ok(()) => component::log!("check: the servers serve"),
        Err(what) => component::log!("check: FAILED: {what}"),
    }
    component::exit(ExitKind::PowerOff, 0, Reason::new())
}

fn serve_me(part: &Part) -> Result<(), &'static str> {
    let pci: cap::Endpoint = part.cap(RangeKind::PciEndpoint).ok_or("no way to pci-server")?;
    let timer: cap::Endpoint = part.cap(RangeKind::TimerEndpoint).ok_or("no way to timer-server")?;
    let description = component::call(pci, &Describe { device: 0 }).map_err(|_| "no description")?;
    let read = ConfigRead { device: 0, offset: 0, width: 4 };
    let identity = component::call(pci, &read).map_err(|_| "no configuration space")?;
    if identity as u16 != description.identity.vendor {
        return Err("another device's configuration space");
    }
    let attached = attach(pci).map_err(|_| "the device can't be attached")?;
    if attached == 0 {
        return Err("the device has no frames");
    }
    if component::call(pci, &BarRead { device: 1, bar: 0, offset: 0, width: 4 }).is_ok() {
        return Err("another device's registers");
    }
    component::call(pci, &Detach { device: 0 }).map_err(|_| "the device can't be detached")?;
    // A life of more than 100 ms: whoever has ten shorter ones isn't started again.
    let tsc = cpu::tsc() + 150 * part.facts().tsc_khz;
    component::call(timer, &SetDeadline { tsc }).map_err(|_| "no deadline")?;
    while component::wait() & signal::VMM_TIMER == 0 {}
    if cpu::tsc() < tsc { Err("the deadline came too early") } else { Ok(()) }
}

/// Attaches device 0, waiting for its reset; how many runs of frames it has.
pub fn attach(pci: cap::Endpoint) -> Result<usize, Error> {
    loop {
        match component::call(pci, &Attach { device: 0 }) {
            Ok(attached) => return Ok(attached.frames.len()),
            Err(CallError::Failed(Error::Resetting)) => _ = component::wait(),
            Err(CallError::Failed(error)) => return Err(error),
            Err(_) => return Err(Error::NoAnswer),
        }
    }
}
