// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long a message takes to the handler, in TSC ticks: under `-icount shift=0` one tick is one instruction.
//!
//! The doorbell rows time from just before the doorbell write, less the cost of reading the TSC twice. The true wake-up has the guest
//! asleep when the device decides by itself: a DMA ends at a whole millisecond of virtual time plus 100 ms. The guest doesn't know
//! where its TSC stands in that millisecond, so it first watches transfers end by polling and takes the remainder; later
//! completions have the same one. Polling sees the end a few ticks late, so these rows are too low by as much.

use crate::device::{Edu, Transfer, runs, stamp};
use guest_runtime::{cpu, dma::Buffer, irq, println, time};

const MILLISECOND: u64 = 1_000_000;
/// A transfer takes 99 to 100 ms; polling and spinning begin after this much, to save the emulator's time.
const BEFORE_THE_END: u64 = 98 * MILLISECOND;
const DOORBELLS: usize = 200;
const TIMED: usize = 20;

/// Prints the rows.
pub fn run(edu: &Edu) {
    let pair = reading_twice();
    let mut samples = [0; DOORBELLS];
    for sample in &mut samples {
        *sample = doorbell_spinning(edu) - pair;
    }
    row("msi-spin", &mut samples);
    for sample in &mut samples {
        *sample = doorbell_hlt(edu) - pair;
    }
    row("msi-hlt-doorbell", &mut samples);

    if time::tsc_khz().abs_diff(1_000_000) > 100 {
        println!("edu: no timed rows: they need a TSC of 1 GHz that follows virtual time (-icount shift=0)");
        return;
    }
    let target = Buffer::new(64);
    let mut remainders = [0; TIMED];
    for remainder in &mut remainders {
        *remainder = completion(edu, &target) % MILLISECOND;
    }
    remainders.sort_unstable();
    let phase = remainders[0];
    println!(
        "edu: transfers end at {phase} of every {MILLISECOND} ticks, seen within {}",
        remainders[TIMED - 1] - phase
    );

    let mut timed = [0; TIMED];
    for sample in &mut timed {
        *sample = timed_message(edu, &target, phase, false);
    }
    row("msi-timed-spin", &mut timed);
    for sample in &mut timed {
        *sample = timed_message(edu, &target, phase, true);
    }
    row("msi-wake", &mut timed);
}

fn row(name: &str, samples: &mut [u64]) {
    samples.sort_unstable();
    let last = samples.len() - 1;
    println!("bench {name} {}", samples[last / 2]);
    println!("edu: {name}: least {}, most {}, of {}", samples[0], samples[last], samples.len());
}

/// The least that two readings of the TSC are apart.
fn reading_twice() -> u64 {
    let differences = (0..16).map(|_| {
        let start = cpu::rdtsc();
        cpu::rdtsc() - start
    });
    differences.min().unwrap_or(0)
}

/// Doorbell to handler, the guest spinning with interrupts on.
fn doorbell_spinning(edu: &Edu) -> u64 {
    let before = runs();
    let start = irq::with_enabled(|| {
        let start = cpu::rdtsc();
        edu.raise(1);
        while runs() == before {}
        start
    });
    edu.acknowledge();
    stamp() - start
}

/// Doorbell to handler, the guest going to sleep right after the doorbell.
fn doorbell_hlt(edu: &Edu) -> u64 {
    let before = runs();
    let start = cpu::rdtsc();
    edu.raise(1);
    while runs() == before {
        irq::wait();
    }
    edu.acknowledge();
    stamp() - start
}

/// The TSC when a transfer without a message is seen to be done.
fn completion(edu: &Edu, target: &Buffer) -> u64 {
    let start = time::now();
    edu.start_dma(Transfer::ToRam(target.address()), 16, false);
    time::sleep_until(start + BEFORE_THE_END);
    while edu.dma_is_busy() {}
    cpu::rdtsc()
}

/// From the end of a transfer to the handler of its message.
fn timed_message(edu: &Edu, target: &Buffer, phase: u64, asleep: bool) -> u64 {
    let (before, start) = (runs(), time::now());
    edu.start_dma(Transfer::ToRam(target.address()), 16, true);
    if asleep {
        while runs() == before {
            irq::wait();
        }
    } else {
        time::sleep_until(start + BEFORE_THE_END);
        irq::with_enabled(|| while runs() == before {});
    }
    edu.acknowledge();
    // Messages take far less than a millisecond, so the remainder is the time since the end.
    (stamp() % MILLISECOND + MILLISECOND - phase) % MILLISECOND
}
