// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the root task knows of a VM, and what its VMM shows of its guest.

use heapless::Vec;
use serde::{Deserialize, Serialize};

/// What exits are counted by, in the order of [`Exits::reasons`].
pub const REASONS: [&str; 9] = ["cpuid", "io", "npf", "hlt", "intr-window", "msr", "msi", "signal", "other"];
/// Most vectors whose interrupts are shown.
pub const MAX_INTERRUPTS: usize = 64;

/// Most ranges of one [`Map`].
pub const MAX_RANGES: usize = 36;

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

/// The names of the general registers, in the order of [`Registers::general`].
pub const GENERAL: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

/// The fields of a control block that are shown: names, and numbers as `VCPU_ReadVMCB` takes them (`docs/abi.md`, X1).
pub const CONTROL: [(&str, u64); 32] = [
    ("rip", 0x578),
    ("rflags", 0x570),
    ("cpl", 0x4cb),
    ("cr0", 0x558),
    ("cr2", 0x640),
    ("cr3", 0x550),
    ("cr4", 0x548),
    ("efer", 0x4d0),
    ("xcr0", 0x1000),
    ("dr6", 0x568),
    ("dr7", 0x560),
    ("cs-selector", 0x410),
    ("cs-attributes", 0x412),
    ("cs-base", 0x418),
    ("ss-selector", 0x420),
    ("ss-attributes", 0x422),
    ("fs-base", 0x448),
    ("gs-base", 0x458),
    ("gdtr-limit", 0x464),
    ("gdtr-base", 0x468),
    ("idtr-limit", 0x484),
    ("idtr-base", 0x488),
    ("tr-selector", 0x490),
    ("tr-base", 0x498),
    ("star", 0x600),
    ("lstar", 0x608),
    ("sfmask", 0x618),
    ("kernel-gs-base", 0x620),
    ("pat", 0x668),
    ("interrupt-shadow", 0x068),
    ("exception-intercepts", 0x008),
    ("tsc-offset", 0x050),
];

/// A guest's registers and control block as they were when it ran last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Registers {
    /// [`GENERAL`]
    pub general: [u64; GENERAL.len()],
    /// [`CONTROL`]
    pub fields: [u64; CONTROL.len()],
}

/// What lies where in a guest's physical address space.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Map {
    /// In ascending order. What isn't named is nothing: an access there ends the guest.
    pub ranges: Vec<Range, MAX_RANGES>,
    /// The address to go on with, if that wasn't all.
    pub next: Option<u64>,
}

/// A range of guest-physical addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first.
    pub start: u64,
    /// How many bytes.
    pub bytes: u64,
    /// What lies there.
    pub what: What,
    /// The guest reaches it without an exit; otherwise each access exits.
    pub mapped: bool,
}

/// What a range is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// RAM.
    Ram,
    /// A BAR, or a part of it.
    Bar {
        /// Index of the device in the VM.
        device: u8,
        /// Index of the BAR.
        bar: u8,
    },
    /// The part of a BAR with the MSI-X table.
    Table {
        /// Index of the device in the VM.
        device: u8,
        /// Index of the BAR.
        bar: u8,
    },
    /// Configuration space.
    Config,
    /// The I/O APIC.
    IoApic,
    /// The local APIC.
    Apic,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::testing::{fits, full};

    pub fn largest_exits() -> Exits {
        let reasons = [u64::MAX; REASONS.len()];
        Exits { reasons, interrupts: full((u8::MAX, u32::MAX)), dma_faults: u64::MAX }
    }

    pub fn largest_registers() -> Registers {
        Registers { general: [u64::MAX; GENERAL.len()], fields: [u64::MAX; CONTROL.len()] }
    }

    pub fn largest_map() -> Map {
        let what = What::Table { device: u8::MAX, bar: u8::MAX };
        let range = Range { start: u64::MAX, bytes: u64::MAX, what, mapped: true };
        Map { ranges: full(range), next: Some(u64::MAX) }
    }

    #[test]
    fn the_largest_description_fits() {
        let (memory, priority, devices, starts) = (u64::MAX, u8::MAX, u8::MAX, u32::MAX);
        fits(Vm { state: VmState::Ended, memory, priority, devices, starts, code: Some(u32::MAX) });
    }
}
