// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts: handlers of IOAPIC pins and of messages.

use kernel_tests::env::{HIGH, at};
use kernel_tests::{Env, Failure, Me, Outcome, check, check_eq, expect_error, expect_reply, thread};
use sel4::abi::{bootinfo, label};
use sel4::init_thread::slot;
use sel4::{CapRights, Error, cap, cap_type};

kernel_tests::checks! {
    irq_control_get_is_refused_with_an_ioapic,
    ioapic_handler_checks_its_arguments,
    ioapic_interrupt_is_issued_once,
    ioapic_edge_interrupts_arrive,
    ioapic_level_interrupt_waits_for_its_ack,
    ioapic_handler_can_be_cleared,
    deleted_handler_is_silent,
    msi_handler_checks_its_arguments,
    msi_handle_of_the_remapping_table_is_used_once,
    handler_needs_a_notification,
}

/// The timer's interrupt is wired to this pin of the IOAPIC.
const PIT_PIN: u64 = 2;
/// The user interrupt number that the checks use.
const VECTOR: u64 = 5;
/// Input of the timer, ticks per second.
const PIT_HZ: u64 = 1_193_182;

/// The programmable interval timer, as a source of interrupts.
pub struct Pit {
    /// Its interrupt.
    pub handler: cap::IrqHandler,
    /// Signalled by it.
    pub notification: cap::Notification,
    ports: cap::IOPort,
}

impl Pit {
    /// Takes the timer's ports and its pin.
    pub fn new(env: &mut Env) -> Outcome<Self> {
        Self::with(env, 0)
    }

    /// The same, triggered by level.
    pub fn level(env: &mut Env) -> Outcome<Self> {
        Self::with(env, 1)
    }

    fn with(env: &mut Env, level: u64) -> Outcome<Self> {
        let (handler, ports) = (env.empty()?, env.empty::<cap_type::IOPort>()?);
        let notification: cap::Notification = env.make()?;
        slot::IO_PORT_CONTROL.cap().ioport_control_issue(0x40, 0x43, &at(ports))?;
        slot::IRQ_CONTROL.cap().irq_control_get_ioapic(0, PIT_PIN, level, 0, VECTOR, &at(handler))?;
        let badged = env.mint(notification, CapRights::all(), 1)?;
        handler.irq_handler_set_notification(badged)?;
        Ok(Self { handler, notification, ports })
    }

    fn program(&self, mode: u8, count: u64) -> Outcome {
        // Channel 0, low byte then high byte.
        self.ports.ioport_out8(0x43, 0x30 | mode << 1)?;
        self.ports.ioport_out8(0x40, count as u8)?;
        self.ports.ioport_out8(0x40, (count >> 8) as u8)?;
        Ok(())
    }

    /// An interrupt every `us` microseconds, at most 50,000.
    pub fn every_us(&self, _env: &Env, us: u64) -> Outcome {
        self.program(2, PIT_HZ * us / 1_000_000)
    }

    /// One interrupt after `us` microseconds, at most 50,000.
    pub fn after_us(&self, us: u64) -> Outcome {
        self.program(0, PIT_HZ * us / 1_000_000)
    }
}

fn irq_control_get_is_refused_with_an_ioapic(env: &mut Env) -> Outcome {
    let handler = env.empty::<cap_type::IrqHandler>()?;
    let result = slot::IRQ_CONTROL.cap().irq_control_get(4, &at(handler));
    expect_error(result, Error::IllegalOperation, &[])
}

fn ioapic_handler_checks_its_arguments(env: &mut Env) -> Outcome {
    let control = slot::IRQ_CONTROL.cap();
    let handler = env.empty::<cap_type::IrqHandler>()?;
    let root = slot::CNODE.cap().bits();
    let words = [handler.bits(), 64, 0, 20, 0, 0, VECTOR];
    let short = control.invoke_raw(label::IRQ_CONTROL_GET_IOAPIC, &words[..6], &[root]);
    expect_reply(short, Error::TruncatedMessage, &[])?;
    let bare = control.invoke_raw(label::IRQ_CONTROL_GET_IOAPIC, &words, &[]);
    expect_reply(bare, Error::TruncatedMessage, &[])?;
    let get = |ioapic, pin, level, polarity, vector| {
        control.irq_control_get_ioapic(ioapic, pin, level, polarity, vector, &at(handler))
    };
    expect_error(get(0, 20, 0, 0, 108), Error::RangeError, &[0, 107])?;
    expect_error(get(9, 20, 0, 0, VECTOR), Error::RangeError, &[0])?;
    expect_error(get(0, 1000, 0, 0, VECTOR), Error::RangeError, &[0])?;
    expect_error(get(0, 20, 2, 0, VECTOR), Error::RangeError, &[0, 1])?;
    expect_error(get(0, 20, 0, 2, VECTOR), Error::RangeError, &[0, 1])?;
    let taken = at(slot::TCB.cap());
    expect_error(control.irq_control_get_ioapic(0, 20, 0, 0, VECTOR, &taken), Error::DeleteFirst, &[])
}

fn ioapic_interrupt_is_issued_once(env: &mut Env) -> Outcome {
    let control = slot::IRQ_CONTROL.cap();
    let (a, b) = (env.empty::<cap_type::IrqHandler>()?, env.empty::<cap_type::IrqHandler>()?);
    control.irq_control_get_ioapic(0, 20, 0, 0, VECTOR, &at(a))?;
    expect_error(control.irq_control_get_ioapic(0, 21, 0, 0, VECTOR, &at(b)), Error::RevokeFirst, &[])?;
    // With the last capability the number is free again.
    at(a).delete()?;
    control.irq_control_get_ioapic(0, 21, 0, 0, VECTOR, &at(b))?;
    Ok(())
}

/// Counts signals of args[0] into cell 0.
fn body_count(me: &mut Me) {
    let ticks = cap::Notification::from_bits(me.args[0]);
    loop {
        ticks.wait();
        thread::add(0, 1);
    }
}

fn ioapic_edge_interrupts_arrive(env: &mut Env) -> Outcome {
    let pit = Pit::new(env)?;
    env.spawn(HIGH, body_count, [pit.notification.bits(), 0, 0, 0])?;
    pit.every_us(env, 1000)?;
    for i in 1..=5 {
        env.wait_until(2_000_000, || thread::get(0) >= i)?;
        pit.handler.irq_handler_ack()?;
    }
    Ok(())
}

fn ioapic_level_interrupt_waits_for_its_ack(env: &mut Env) -> Outcome {
    let pit = Pit::level(env)?;
    env.spawn(HIGH, body_count, [pit.notification.bits(), 0, 0, 0])?;
    // Its output stays high when the time has come.
    pit.after_us(1000)?;
    env.wait_until(2_000_000, || thread::get(0) >= 1)?;
    let before = thread::get(0);
    check!(env.wait_until(10_000, || thread::get(0) > before).is_err(), "a second interrupt before the ack");
    for _ in 0..3 {
        let before = thread::get(0);
        pit.handler.irq_handler_ack()?;
        env.wait_until(100_000, || thread::get(0) > before)?;
    }
    // With the output low there is none.
    pit.after_us(50_000)?;
    pit.handler.irq_handler_ack()?;
    let before = thread::get(0);
    check!(env.wait_until(10_000, || thread::get(0) > before).is_err(), "an interrupt from a quiet pin");
    Ok(())
}

fn ioapic_handler_can_be_cleared(env: &mut Env) -> Outcome {
    let pit = Pit::new(env)?;
    pit.every_us(env, 1000)?;
    env.wait_until(2_000_000, || pit.notification.poll() != 0)?;
    pit.handler.irq_handler_clear()?;
    pit.handler.irq_handler_ack()?;
    check!(env.wait_until(10_000, || pit.notification.poll() != 0).is_err(), "signalled after the clear");
    Ok(())
}

fn deleted_handler_is_silent(env: &mut Env) -> Outcome {
    let pit = Pit::new(env)?;
    pit.every_us(env, 1000)?;
    env.wait_until(2_000_000, || pit.notification.poll() != 0)?;
    pit.handler.irq_handler_ack()?;
    at(pit.handler).delete()?;
    pit.notification.poll();
    check!(env.wait_until(10_000, || pit.notification.poll() != 0).is_err(), "signalled after the deletion");
    Ok(())
}

fn msi_handler_checks_its_arguments(env: &mut Env) -> Outcome {
    let control = slot::IRQ_CONTROL.cap();
    let handler = env.empty::<cap_type::IrqHandler>()?;
    let get = |bus, device, function, vector| {
        control.irq_control_get_msi(bus, device, function, 0, vector, &at(handler))
    };
    expect_error(get(0, 4, 0, 108), Error::RangeError, &[0, 107])?;
    expect_error(get(256, 4, 0, 40), Error::RangeError, &[0, 255])?;
    expect_error(get(0, 32, 0, 40), Error::RangeError, &[0, 31])?;
    expect_error(get(0, 4, 8, 40), Error::RangeError, &[0, 7])?;
    let root = slot::CNODE.cap().bits();
    let words = [handler.bits(), 64, 0, 4, 0, 0, 40];
    let short = control.invoke_raw(label::IRQ_CONTROL_GET_MSI, &words[..6], &[root]);
    expect_reply(short, Error::TruncatedMessage, &[])
}

fn msi_handle_of_the_remapping_table_is_used_once(env: &mut Env) -> Outcome {
    let extensions = env.bootinfo.extensions().unwrap_or_default();
    if extensions.features & bootinfo::FEATURE_INTERRUPT_REMAPPING == 0 {
        return Err(Failure::skip("no interrupt remapping"));
    }
    let control = slot::IRQ_CONTROL.cap();
    let (a, b) = (env.empty::<cap_type::IrqHandler>()?, env.empty::<cap_type::IrqHandler>()?);
    let entries = u64::from(extensions.irte_count);
    let past = control.irq_control_get_msi(0, 4, 0, entries, 40, &at(a));
    expect_error(past, Error::RangeError, &[0, entries - 1])?;
    let last = entries - 1;
    control.irq_control_get_msi(0, 4, 0, last, 40, &at(a))?;
    expect_error(control.irq_control_get_msi(0, 4, 0, last, 41, &at(b)), Error::RevokeFirst, &[])?;
    a.irq_handler_block()?;
    a.irq_handler_unblock()?;
    at(a).delete()?;
    control.irq_control_get_msi(0, 4, 0, last, 41, &at(b))?;
    check_eq!(b.irq_handler_ack(), Ok(()), "the ack of a message's handler");
    Ok(())
}

fn handler_needs_a_notification(env: &mut Env) -> Outcome {
    let handler = env.empty::<cap_type::IrqHandler>()?;
    slot::IRQ_CONTROL.cap().irq_control_get_ioapic(0, 20, 0, 0, VECTOR, &at(handler))?;
    let endpoint: cap::Endpoint = env.make()?;
    let wrong = handler.irq_handler_set_notification(cap::Notification::from_bits(endpoint.bits()));
    expect_error(wrong, Error::InvalidCapability, &[1])?;
    let notification: cap::Notification = env.make()?;
    let weak = env.copy(notification, CapRights::read_only())?;
    expect_error(handler.irq_handler_set_notification(weak), Error::InvalidCapability, &[1])?;
    expect_reply(handler.invoke_raw(label::IRQ_SET_IRQ_HANDLER, &[], &[]), Error::TruncatedMessage, &[])
}
