// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a device's message to the thread that drives it. The device sends one when its register is written.

use kernel_tests::edu::{Config, DeviceMemory, Edu};
use kernel_tests::env::at;
use kernel_tests::machine::rdtsc;
use kernel_tests::measure::{STAMP, bench, overhead, start_elsewhere};
use kernel_tests::{Env, Me, Outcome, check, space, thread};
use sel4::init_thread::slot;
use sel4::{CapRights, cap, cap_type};

const HANDLE: u64 = 200;
const NUMBER: u64 = 40;
const REGISTERS: usize = 0x80_0000_0000;

/// The device with its message, and what the message signals.
fn device(env: &mut Env) -> Outcome<(Edu, cap::Notification)> {
    space::map_tables(env, slot::VSPACE.cap(), REGISTERS)?;
    let config = Config::open(env)?;
    let edu = Edu::take(env, &mut DeviceMemory::default(), config, 1, REGISTERS)?;
    let handler = env.empty::<cap_type::IrqHandler>()?;
    slot::IRQ_CONTROL.cap().irq_control_get_msi(edu.bus.into(), 0, 0, HANDLE, NUMBER, &at(handler))?;
    let notification: cap::Notification = env.make()?;
    let badged = env.mint(notification, CapRights::all(), 1)?;
    handler.irq_handler_set_notification(badged)?;
    edu.set_message(HANDLE)?;
    Ok((edu, notification))
}

/// Waits on args[0], leaves the counter, and counts.
fn driver(me: &mut Me) {
    let notification = cap::Notification::from_bits(me.args[0]);
    loop {
        notification.wait();
        thread::put(STAMP, rdtsc());
        thread::add(STAMP + 1, 1);
    }
}

/// From the write to the first instruction of a thread of higher priority in another address space that waits.
pub fn to_a_waiting_thread(env: &mut Env) -> Outcome {
    let (edu, notification) = device(env)?;
    start_elsewhere(env, driver, [notification.bits(), 0, 0, 0])?;
    let mut sent = 0;
    bench("irq-to-handler", overhead(), || {
        let start = rdtsc();
        edu.raise();
        sent += 1;
        thread::get(STAMP).wrapping_sub(start)
    });
    check!(thread::get(STAMP + 1) == sent, "{} of {sent} messages came", thread::get(STAMP + 1));
    Ok(())
}

/// From the write to the same thread's return from waiting: the kernel takes the interrupt, and then the call.
pub fn to_the_running_thread(env: &mut Env) -> Outcome {
    let (edu, notification) = device(env)?;
    bench("irq-and-wait", overhead(), || {
        let start = rdtsc();
        edu.raise();
        notification.wait();
        rdtsc() - start
    });
    Ok(())
}
