// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of the machine's work.

use sel4::cap_type;
use sel4::init_thread::slot;
use sel4_root_task::Com1;

use crate::log;
use crate::resources::{at, in_slot};
use crate::system::System;

/// The root task's priority while it waits for the log: below everybody's.
const BEHIND: u64 = 0;
/// How often the log is looked at before it is given up.
const PATIENCE: u32 = 10_000_000;

/// Lets console-server finish, then turns the machine off. Where firmware didn't say how, everything just stops.
pub fn off(system: &mut System) -> ! {
    let Some((port, value)) = system.firmware.power_off else {
        log!("firmware doesn't say how to turn the machine off: it can be turned off now");
        drain();
        stop()
    };
    drain();
    if let Ok(ports) = system.resources.slot() {
        let issued =
            slot::IO_PORT_CONTROL.cap().ioport_control_issue(port.into(), u64::from(port) + 1, &at(ports));
        if issued.is_ok() {
            let _ = in_slot::<cap_type::IOPort>(ports).ioport_out16(port, value);
            // It takes its time.
            (0..PATIENCE).for_each(|_| sel4::yield_());
        }
    }
    log!("the machine did not turn off");
    stop()
}

/// Waits for ever. Whoever may still run does: console-server, to write what is left.
pub fn stop() -> ! {
    loop {
        drain();
        // Whatever a part may still say finds nobody.
        let _ = slot::TCB.cap().tcb_suspend();
    }
}

/// console-server is gone: its memory, and with it its capability to COM1, are taken back, and the root task writes itself.
pub fn take_com1_back(system: &mut System) {
    if let Some(console) = system.servers[protocol::client::CONSOLE as usize].take() {
        let _ = system.resources.reclaim(console.process.arena);
    }
    if let Ok(slot) = system.resources.slot()
        && Com1::issue(slot).is_ok()
    {
        log::to_com1(slot);
    }
}

/// Lets everybody else run until console-server has taken all lines.
fn drain() {
    let own = slot::TCB.cap();
    let _ = own.tcb_set_priority(own, BEHIND);
    for _ in 0..PATIENCE {
        if log::is_drained() {
            break;
        }
        sel4::yield_();
    }
    let _ = own.tcb_set_priority(own, 255);
}
