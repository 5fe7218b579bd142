// SPDX-License-Identifier: MIT OR Apache-2.0
//! What entries of guests do against speculation, as the description says.

use mitigations::{Steps, fill};

use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] =
    &[Case::new("entry::a_forced_flush_fills_the_cache_at_every_entry_and_costs_just_that", forced)];

/// What a guest measures of its exits, each with one entry.
const ROWS: [&str; 4] = ["exit-cpuid", "exit-out", "exit-in", "exit-rdmsr-apic-base"];
/// So often it does each of them.
const SAMPLES: u64 = 1000;

/// The emulated processor needs nothing and has no register for any of it, so what can be forced is the fill.
fn forced() -> Outcome {
    let system = build::system("entry-flush")?;
    let mut arguments = system.arguments();
    arguments.extend(["-icount".into(), "shift=0,sleep=off".into()]);
    with(Machine::start(&arguments)?, |machine| {
        machine.expect_anywhere(
            "[kernel] guest entries: L1D flush not needed (AMD's processors have no L1 terminal",
        )?;
        let plain = counters(machine, "plain")?;
        let forced = counters(machine, "forced")?;
        if plain != [0; 3] || forced[1..] != [0; 2] {
            return Err(format!("steps at entries: plain {plain:?}, forced {forced:?}"));
        }
        let exits = ROWS.len() as u64 * SAMPLES;
        if forced[0] < exits {
            return Err(format!("{} fills for more than {exits} exits", forced[0]));
        }
        for row in ROWS {
            let (short, long) = (ticks(machine, "plain", row)?, ticks(machine, "forced", row)?);
            let growth = fill::growth(Steps::L1D_FILL);
            if !growth.contains(&long.wrapping_sub(short)) {
                return Err(format!(
                    "{row}: {short} instructions, {long} with the fill: not {growth:?} more"
                ));
            }
        }
        Ok(())
    })
}

/// What a guest says that it measured.
fn ticks(machine: &mut Machine, guest: &str, row: &str) -> Result<u64, String> {
    let line = machine.expect_anywhere(&format!("[{guest}] bench {row} "))?;
    let value = line.rsplit(' ').next().and_then(|word| word.parse().ok());
    value.ok_or_else(|| format!("no number at the end of: {line}"))
}

/// L1D flushes, buffer clears and predictor barriers of a guest that has ended.
fn counters(machine: &mut Machine, guest: &str) -> Result<[u64; 3], String> {
    let line = machine.expect_anywhere(&format!("[{guest}] vmm: entries: "))?;
    let values: Vec<u64> =
        line.split('=').skip(1).take(3).filter_map(|rest| rest.split(' ').next()?.parse().ok()).collect();
    values.try_into().map_err(|_| format!("not three counters: {line}"))
}
