// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device's units one by one: registers, DMA, messages. What must come is waited for without end: how long it takes depends on the
//! machine, and whoever reads the log has the patience that suits it.

use crate::device::{Edu, LONGEST, Transfer, runs};
use alloc::{format, string::String, vec, vec::Vec};
use guest_runtime::checks::Checks;
use guest_runtime::{dma::Buffer, irq, time};

/// Nanoseconds in which a message that must not come would have come.
const SETTLE: u64 = 10_000_000;

/// Runs all of it.
pub fn run(edu: &Edu, checks: &mut Checks) {
    checks.equal("identification", edu.identification() & 0xff, 0xed);
    checks.equal("liveness", edu.liveness(0x1234_5678), !0x1234_5678);
    checks.report("factorial", factorials(edu));
    checks.report("dma-out-and-back", dma_out_and_back(edu));
    checks.report("msi-one-run-per-message", message_by_message(edu));
    checks.report("msi-pending-while-off", pending_while_off(edu));
    checks.report("msi-from-hlt", from_hlt(edu));
    checks.report("msi-factorial", factorial_message(edu));
    checks.report("dma-message-from-hlt", dma_message(edu));
    checks.report("no-bus-mastering-no-message", no_bus_mastering(edu));
    checks.equal("no-unexpected-interrupt", irq::unexpected(), 0);
}

fn factorials(edu: &Edu) -> Result<(), String> {
    for (n, expected) in [(0, 1), (1, 1), (5, 120), (12, 479_001_600)] {
        edu.start_factorial(n, false);
        let found = loop {
            if let Some(found) = edu.factorial() {
                break found;
            }
        };
        if found != expected {
            return Err(format!("{n}! is {expected}, not {found}"));
        }
    }
    Ok(())
}

/// A block that differs in every byte from its neighbours and from a shifted copy of itself.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).map(|index| (index.wrapping_mul(0x9e37_79b1) >> 13) as u8).collect()
}

/// RAM to device, device to other RAM; compared, and the bytes around untouched.
fn dma_out_and_back(edu: &Edu) -> Result<(), String> {
    const MARGIN: usize = 256;
    let (mut from, mut to) = (Buffer::new(4096), Buffer::new(8192));
    let sent = pattern(LONGEST);
    from.write(0, &sent);
    to.write(0, &vec![0xa5; 8192]);
    edu.dma(Transfer::FromRam(from.address()), LONGEST);
    edu.dma(Transfer::ToRam(to.address() + MARGIN as u64), LONGEST);
    let mut back = vec![0; 8192];
    to.read(0, &mut back);
    if let Some(index) = (0..LONGEST).find(|index| back[MARGIN + index] != sent[*index]) {
        return Err(format!("byte {index} came back as {:#x}, not {:#x}", back[MARGIN + index], sent[index]));
    }
    let outside = back
        .iter()
        .enumerate()
        .find(|(index, byte)| !(MARGIN..MARGIN + LONGEST).contains(index) && **byte != 0xa5);
    match outside {
        Some((index, _)) => Err(format!("the byte at {index}, outside of the transfer, changed")),
        None => Ok(()),
    }
}

/// Raises and waits, a hundred times.
fn message_by_message(edu: &Edu) -> Result<(), String> {
    const MESSAGES: u64 = 100;
    let before = runs();
    for message in 1..=MESSAGES {
        edu.raise(1);
        irq::with_enabled(|| while runs() < before + message {});
        edu.acknowledge();
        if runs() != before + message {
            return Err(format!("{} runs after {message} messages", runs() - before));
        }
    }
    Ok(())
}

/// With interrupts off the message waits; it comes once as soon as they are on.
fn pending_while_off(edu: &Edu) -> Result<(), String> {
    let before = runs();
    for round in 1..=10 {
        edu.raise(2);
        let settle = time::now() + SETTLE;
        while time::now() < settle {}
        if runs() != before + round - 1 {
            return Err("the handler ran with interrupts off".into());
        }
        irq::with_enabled(|| {
            while runs() < before + round {}
            let settle = time::now() + SETTLE;
            while time::now() < settle {}
        });
        edu.acknowledge();
        if runs() != before + round {
            return Err(format!("{} runs after {round} messages", runs() - before));
        }
    }
    Ok(())
}

/// The message is there when HLT begins.
fn from_hlt(edu: &Edu) -> Result<(), String> {
    for _ in 0..10 {
        let before = runs();
        edu.raise(4);
        irq::wait_until(u64::MAX, || runs() > before);
        edu.acknowledge();
        if runs() != before + 1 {
            return Err(format!("{} runs after one message", runs() - before));
        }
    }
    Ok(())
}

/// The device's own thread sends the message.
fn factorial_message(edu: &Edu) -> Result<(), String> {
    let before = runs();
    edu.start_factorial(7, true);
    irq::wait_until(u64::MAX, || runs() > before);
    edu.acknowledge();
    match edu.factorial() {
        Some(5040) => Ok(()),
        found => Err(format!("7! is 5040, not {found:?}")),
    }
}

/// The guest sleeps through the whole transfer.
fn dma_message(edu: &Edu) -> Result<(), String> {
    let mut from = Buffer::new(4096);
    from.write(0, &pattern(64));
    let before = runs();
    edu.start_dma(Transfer::FromRam(from.address()), 64, true);
    irq::wait_until(u64::MAX, || runs() > before);
    let status = edu.acknowledge();
    if runs() == before + 1 && Edu::says_dma_done(status) {
        Ok(())
    } else {
        Err(format!("{} runs after one transfer, interrupt status {status:#x}", runs() - before))
    }
}

/// Out to the device and back, asleep meanwhile, with a message for each.
pub fn round(edu: &Edu, checks: &mut Checks) {
    let (mut from, mut to) = (Buffer::new(64), Buffer::new(64));
    from.write(0, &pattern(64));
    to.write(0, &[0; 64]);
    let before = runs();
    for (number, transfer) in
        [Transfer::FromRam(from.address()), Transfer::ToRam(to.address())].into_iter().enumerate()
    {
        edu.start_dma(transfer, 64, true);
        irq::wait_until(u64::MAX, || runs() > before + number as u64);
        edu.acknowledge();
    }
    let mut back = [0; 64];
    to.read(0, &mut back);
    checks.equal("round-contents", back == pattern(64)[..], true);
    checks.equal("round-messages", runs() - before, 2);
}

/// A device that isn't a bus master can't write messages either.
fn no_bus_mastering(edu: &Edu) -> Result<(), String> {
    let before = runs();
    edu.function().disable_bus_mastering();
    edu.raise(8);
    let woken = irq::wait_until(time::now() + SETTLE, || runs() > before);
    edu.acknowledge();
    edu.function().enable();
    if woken { Err("a message arrived".into()) } else { Ok(()) }
}
