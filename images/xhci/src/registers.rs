// SPDX-License-Identifier: MIT OR Apache-2.0
//! Registers read at every width, and one of them often: the hypervisor's counters tell whether that exits.

use alloc::format;
use alloc::string::String;
use guest_runtime::exit;
use guest_runtime::pci::Function;

/// Structural parameters: what they say never changes.
const PARAMETERS: usize = 0x04;
/// How often it is read between the two lines of counters.
const READS: usize = 1000;

/// Reads them.
pub fn read(function: &Function) -> Result<(), String> {
    let registers = function.bar(0).ok_or("BAR 0 is missing")?.registers();
    let word = registers.read32(PARAMETERS);
    let (low, lowest) = (registers.read16(PARAMETERS), registers.read8(PARAMETERS));
    if (low, lowest) != (word as u16, word as u8) {
        return Err(format!("the lower half of {word:#x} is {low:#x}, the lowest byte {lowest:#x}"));
    }
    exit::log_exit_counts();
    let changed = (0..READS).filter(|_| registers.read32(PARAMETERS) != word).count();
    exit::log_exit_counts();
    if changed != 0 { Err(format!("{changed} of {READS} reads gave something else")) } else { Ok(()) }
}
