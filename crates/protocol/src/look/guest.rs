// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the root task knows of a VM, and what its VMM shows of its guest.

use heapless::Vec;
use serde::{Deserialize, Serialize};

/// What exits are counted by, in the order of [`Exits::reasons`].
pub const REASONS: [&str; 9] = ["cpuid", "io", "npf", "hlt", "intr-window", "msr", "msi", "signal", "other"];
/// Most vectors whose interrupts are shown.
pub const MAX_INTERRUPTS: usize = 64;

/// Asks what the root task knows of a VM. Reply: [`Vm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeVm {
    /// Its number.
    pub vm: u16,
}

/// Where a VM is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VmState {
    /// Not started yet, or to be started again.
    Waiting,
    /// It can't be run.
    Refused,
    /// Its VMM was started.
    Running,
    /// It has ended, and its devices are being quieted.
    Quieting,
    /// It has ended.
    Ended,
}

/// A VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    /// Where it is in its life.
    pub state: VmState,
    /// Bytes of RAM.
    pub memory: u64,
    /// Priority of its VMM.
    pub priority: u8,
    /// Devices in the description.
    pub devices: u8,
    /// How often it was started.
    pub starts: u32,
    /// The exit code of its last end.
    pub code: Option<u32>,
}

/// What a guest exited for, and the interrupts that it got.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exits {
    /// How often for each of [`REASONS`].
    pub reasons: [u64; REASONS.len()],
    /// Vector and how often it was delivered, of the first [`MAX_INTERRUPTS`] that were delivered at all.
    pub interrupts: Vec<(u8, u32), MAX_INTERRUPTS>,
    /// Signals of blocked DMA.
    pub dma_faults: u64,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::testing::{fits, full};

    pub fn largest_exits() -> Exits {
        let reasons = [u64::MAX; REASONS.len()];
        Exits { reasons, interrupts: full((u8::MAX, u32::MAX)), dma_faults: u64::MAX }
    }

    #[test]
    fn the_largest_description_fits() {
        let (memory, priority, devices, starts) = (u64::MAX, u8::MAX, u8::MAX, u32::MAX);
        fits(Vm { state: VmState::Ended, memory, priority, devices, starts, code: Some(u32::MAX) });
    }
}
