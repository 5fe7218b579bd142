// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupt messages of devices through remapping entries.

use kernel_tests::env::at;
use kernel_tests::{Env, Failure, Outcome, check, check_eq, expect_error};
use sel4::abi::bootinfo;
use sel4::init_thread::slot;
use sel4::{CapRights, Error, cap, cap_type};

use crate::lab::{Lab, delete};
use kernel_tests::edu::Edu;

kernel_tests::checks! {
    a_message_arrives_once,
    a_handle_of_another_device_raises_nothing,
    a_blocked_handler_is_silent,
    a_deleted_handler_is_silent_and_its_entry_free,
    handles_are_used_once_and_pins_have_their_own,
    a_pin_cannot_be_blocked,
}

const HANDLE: u64 = 200;
const NUMBER: u64 = 40;

/// A handler of the device's message and the notification that it signals with badge 4.
pub fn handler(
    env: &mut Env,
    device: Edu,
    handle: u64,
    number: u64,
) -> Outcome<(cap::IrqHandler, cap::Notification)> {
    let extensions = env.bootinfo.extensions().unwrap_or_default();
    if extensions.features & bootinfo::FEATURE_INTERRUPT_REMAPPING == 0 {
        return Err(Failure::skip("no interrupt remapping"));
    }
    let handler = env.empty::<cap_type::IrqHandler>()?;
    slot::IRQ_CONTROL.cap().irq_control_get_msi(device.bus.into(), 0, 0, handle, number, &at(handler))?;
    let notification: cap::Notification = env.make()?;
    let notification = env.mint(notification, CapRights::all(), 4)?;
    handler.irq_handler_set_notification(notification)?;
    Ok((handler, notification))
}

/// Whether a message of the device arrives.
fn arrives(env: &Env, device: Edu, told: cap::Notification) -> bool {
    device.raise();
    env.wait_until(20_000, || told.poll() == 4).is_ok()
}

fn a_message_arrives_once(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let (_, told) = handler(env, lab.edu, HANDLE, NUMBER)?;
    lab.edu.set_message(HANDLE)?;
    for _ in 0..3 {
        check!(arrives(env, lab.edu, told), "the message did not arrive");
        check!(env.wait_until(2_000, || told.poll() != 0).is_err(), "one message arrived twice");
    }
    Ok(())
}

fn a_handle_of_another_device_raises_nothing(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let (_, told) = handler(env, lab.edu, HANDLE, NUMBER)?;
    lab.other.set_message(HANDLE)?;
    check!(!arrives(env, lab.other, told), "another device's message arrived");
    // With an entry of its own it does.
    let (_, own) = handler(env, lab.other, HANDLE + 1, NUMBER + 1)?;
    lab.other.set_message(HANDLE + 1)?;
    check!(arrives(env, lab.other, own), "its own message did not arrive");
    check_eq!(told.poll(), 0, "what the first device's handler was told");
    Ok(())
}

fn a_blocked_handler_is_silent(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let (handler, told) = handler(env, lab.edu, HANDLE, NUMBER)?;
    lab.edu.set_message(HANDLE)?;
    handler.irq_handler_block()?;
    handler.irq_handler_block()?;
    // Who only has a copy can't lift the quarantine.
    let copy = env.copy(handler, CapRights::all())?;
    expect_error(copy.irq_handler_unblock(), Error::IllegalOperation, &[])?;
    check!(!arrives(env, lab.edu, told), "a message arrived while blocked");
    handler.irq_handler_unblock()?;
    check!(arrives(env, lab.edu, told), "the message did not arrive");
    Ok(())
}

fn a_deleted_handler_is_silent_and_its_entry_free(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let (first, told) = handler(env, lab.edu, HANDLE, NUMBER)?;
    let copy = env.copy(first, CapRights::all())?;
    lab.edu.set_message(HANDLE)?;
    delete(first)?;
    check!(arrives(env, lab.edu, told), "the message did not arrive while a copy is left");
    delete(copy)?;
    check!(!arrives(env, lab.edu, told), "a message arrived without a handler");
    let (_, again) = handler(env, lab.edu, HANDLE, NUMBER)?;
    check!(arrives(env, lab.edu, again), "the message did not arrive at the new handler");
    Ok(())
}

fn handles_are_used_once_and_pins_have_their_own(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    handler(env, lab.edu, HANDLE, NUMBER)?;
    let target = env.empty::<cap_type::IrqHandler>()?;
    let get = |handle| slot::IRQ_CONTROL.cap().irq_control_get_msi(2, 0, 0, handle, NUMBER + 1, &at(target));
    expect_error(get(HANDLE), Error::RevokeFirst, &[])?;
    expect_error(get(2), Error::RevokeFirst, &[])?;
    let entries = u64::from(env.bootinfo.extensions().unwrap_or_default().irte_count);
    expect_error(get(entries), Error::RangeError, &[0, entries - 1])
}

fn a_pin_cannot_be_blocked(env: &mut Env) -> Outcome {
    let handler = env.empty::<cap_type::IrqHandler>()?;
    slot::IRQ_CONTROL.cap().irq_control_get_ioapic(0, 20, 0, 0, 5, &at(handler))?;
    expect_error(handler.irq_handler_block(), Error::IllegalOperation, &[])
}
