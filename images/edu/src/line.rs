// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interrupt line (INTx) by way of the I/O APIC: level-triggered, so the handler runs again after each of its ends until the
//! device was dealt with.

use crate::device::{Edu, Registers};
use alloc::{format, string::String};
use guest_runtime::cell::IrqCell;
use guest_runtime::checks::Checks;
use guest_runtime::ioapic::{IoApic, Pin};
use guest_runtime::{irq, time};

/// Nanoseconds in which an interrupt that must not come would have come.
const SETTLE: u64 = 5_000_000;

/// What the handler needs, and what it saw.
struct State {
    device: Registers,
    pin: Pin,
    /// Runs until the device is dealt with.
    patience: u32,
    runs: u32,
    /// Runs in which the pin wasn't in service.
    not_in_service: u32,
    /// Runs within a run.
    nested: u32,
    running: bool,
}

static STATE: IrqCell<Option<State>> = IrqCell::new(None);

fn with<R>(body: impl FnOnce(&mut State) -> R) -> Option<R> {
    STATE.with(|state| state.as_mut().map(body))
}

fn handler(_: u8) {
    with(|state| {
        state.runs += 1;
        state.nested += u32::from(core::mem::replace(&mut state.running, true));
        state.not_in_service += u32::from(!state.pin.in_service());
    });
    // The line is high all the while.
    settle();
    with(|state| {
        state.running = false;
        state.patience = state.patience.saturating_sub(1);
        if state.patience == 0 {
            state.device.acknowledge();
        }
    });
}

fn runs() -> u32 {
    with(|state| state.runs).unwrap_or(0)
}

/// Lets time pass with interrupts on.
fn settle() {
    let until = time::now() + SETTLE;
    irq::with_enabled(|| while time::now() < until {});
}

/// Runs the checks.
pub fn run(edu: &Edu, checks: &mut Checks) {
    checks.equal("line-instead-of-messages", edu.has_messages(), false);
    let Some(pin) = set_up(edu) else {
        checks.report("line-found", Err::<(), &str>("no pin, or no I/O APIC for it"));
        return;
    };
    checks.report("line-found", Ok::<(), &str>(()));
    checks.report("line-one-run-each", one_run_each(edu));
    checks.report("line-again-while-high", again_while_high(edu));
    checks.report("line-masked-pin", masked(edu, pin));
    checks.report("line-turned-off-at-the-device", turned_off(edu));
    checks.report("line-from-hlt", from_hlt(edu));
    edu.function().disable_bus_mastering();
    checks.report("line-without-bus-mastering", one_run_each(edu));
    checks.equal("line-never-within-a-run", with(|state| state.nested), Some(0));
    checks.equal("line-in-service-during-a-run", with(|state| state.not_in_service), Some(0));
    checks.equal("line-not-in-service-afterwards", pin.in_service(), false);
    checks.equal("no-unexpected-interrupt", irq::unexpected(), 0);
}

fn set_up(edu: &Edu) -> Option<Pin> {
    let vector = irq::register(handler)?;
    edu.acknowledge();
    let pin = IoApic::find()?.route(edu.function().interrupt()?, vector)?;
    let state = State {
        device: edu.registers(),
        pin,
        patience: 1,
        runs: 0,
        not_in_service: 0,
        nested: 0,
        running: false,
    };
    STATE.with(|place| *place = Some(state));
    edu.function().let_line(true);
    Some(pin)
}

/// Pulls the line for so many runs, and waits for all of them.
fn pull(edu: &Edu, patience: u32) -> Result<(), String> {
    let before = runs();
    with(|state| state.patience = patience);
    edu.raise(1);
    irq::with_enabled(|| while runs() < before + patience {});
    expect(before + patience)
}

/// So many runs, and no more.
fn expect(wanted: u32) -> Result<(), String> {
    settle();
    let found = runs();
    if found == wanted { Ok(()) } else { Err(format!("{found} runs so far, not {wanted}")) }
}

fn one_run_each(edu: &Edu) -> Result<(), String> {
    (0..20).try_for_each(|_| pull(edu, 1))
}

fn again_while_high(edu: &Edu) -> Result<(), String> {
    pull(edu, 2)?;
    pull(edu, 7)
}

/// A masked pin waits; one whose line has fallen meanwhile doesn't.
fn masked(edu: &Edu, pin: Pin) -> Result<(), String> {
    let before = runs();
    with(|state| state.patience = 1);
    pin.mask(true);
    edu.raise(1);
    expect(before)?;
    edu.acknowledge();
    pin.mask(false);
    expect(before).map_err(|why| format!("after the line fell: {why}"))?;
    pin.mask(true);
    edu.raise(1);
    expect(before)?;
    pin.mask(false);
    irq::with_enabled(|| while runs() == before {});
    expect(before + 1)
}

/// Told to leave its line alone the device says only in its status that it would pull it.
fn turned_off(edu: &Edu) -> Result<(), String> {
    let before = runs();
    with(|state| state.patience = 1);
    let function = edu.function();
    if function.wants_line() {
        return Err("it wants to interrupt without a reason".into());
    }
    function.let_line(false);
    edu.raise(1);
    expect(before)?;
    if !function.wants_line() {
        return Err("its status doesn't say that it wants to interrupt".into());
    }
    function.let_line(true);
    irq::with_enabled(|| while runs() == before {});
    expect(before + 1)
}

/// The device's own thread pulls the line.
fn from_hlt(edu: &Edu) -> Result<(), String> {
    for round in 0..3 {
        let before = runs();
        with(|state| state.patience = 1 + round);
        edu.start_factorial(7, true);
        irq::wait_until(u64::MAX, || runs() == before + 1 + round);
        expect(before + 1 + round)?;
    }
    Ok(())
}
