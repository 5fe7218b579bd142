// SPDX-License-Identifier: MIT OR Apache-2.0
//! From what a processor says to the steps of its guest entries.

use core::fmt;

use bitflags::bitflags;

use crate::processor::{Processor, Says, Vendor};

bitflags! {
    /// Steps of a guest entry.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    #[repr(transparent)]
    pub struct Steps: u8 {
        /// Fill the L1 data cache by software.
        const L1D_FILL = 1 << 0;
        /// Flush it by `IA32_FLUSH_CMD`.
        const L1D_FLUSH = 1 << 1;
        /// Clear the buffers by VERW.
        const BUFFERS = 1 << 2;
        /// Write the predictor barrier where the last guest was another one.
        const PREDICTORS = 1 << 3;
        /// Those that every entry takes.
        const EACH_ENTRY = Self::L1D_FILL.bits() | Self::L1D_FLUSH.bits() | Self::BUFFERS.bits();
    }
}

/// What the description asks for (`vm.entry-flush`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// What the processor needs.
    #[default]
    Auto,
    /// Everything that the processor can do.
    On,
    /// Nothing.
    Off,
}

/// Whether a step is needed, and whether the processor can take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It isn't, for this reason.
    NotNeeded(&'static str),
    /// It is, against this, and it helps.
    Taken(&'static str),
    /// It is, against this, but nothing that this processor has helps; it is taken all the same where the processor has the step.
    NoWay(&'static str),
}

impl Verdict {
    const fn needed(against: &'static str, possible: bool) -> Self {
        if possible { Self::Taken(against) } else { Self::NoWay(against) }
    }

    /// True if the step is needed.
    #[must_use]
    pub const fn is_needed(self) -> bool {
        !matches!(self, Self::NotNeeded(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNeeded(why) => write!(f, "not needed ({why})"),
            Self::Taken(against) => write!(f, "done (against {against})"),
            Self::NoWay(against) => write!(f, "NOT CURED: {against}: this processor lacks what helps"),
        }
    }
}

/// What is to be done on a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Flushing the L1 data cache at each entry.
    pub l1d: Verdict,
    /// Clearing the buffers at each entry.
    pub buffers: Verdict,
    /// The barrier where the VM changes.
    pub predictors: Verdict,
    /// User level without the kernel in its address space.
    pub isolation: Verdict,
    possible: Steps,
}

impl Decision {
    /// Decides.
    #[must_use]
    pub const fn of(processor: &Processor) -> Self {
        Self {
            l1d: l1d(processor),
            buffers: buffers(processor),
            // No processor says that it doesn't need one: not even enhanced IBRS keeps guests apart.
            predictors: Verdict::needed("Spectre v2", processor.says.contains(Says::IBPB)),
            isolation: isolation(processor),
            possible: possible(processor.says),
        }
    }

    /// The steps under a policy.
    #[must_use]
    pub fn steps(&self, policy: Policy) -> Steps {
        let mut wanted = Steps::empty();
        wanted.set(Steps::L1D_FILL | Steps::L1D_FLUSH, self.l1d.is_needed());
        wanted.set(Steps::BUFFERS, self.buffers.is_needed());
        wanted.set(Steps::PREDICTORS, self.predictors.is_needed());
        match policy {
            Policy::Auto => wanted & self.possible,
            Policy::On => self.possible,
            Policy::Off => Steps::empty(),
        }
    }
}

/// Whether user level may have the kernel in its address space (Intel, "Rogue Data Cache Load": Meltdown). AMD: no access is made, nor its result
/// used, that the translation doesn't allow.
const fn isolation(processor: &Processor) -> Verdict {
    if matches!(processor.vendor, Vendor::Amd) {
        Verdict::NotNeeded("AMD's processors have no Meltdown")
    } else if processor.says.contains(Says::RDCL_NO) {
        Verdict::NotNeeded("RDCL_NO")
    } else {
        Verdict::Taken("Meltdown")
    }
}

/// What the processor can do. The L1D can be flushed or filled always; VERW without the microcode for it is only a slow test.
const fn possible(says: Says) -> Steps {
    let verw = Says::MD_CLEAR.union(Says::FB_CLEAR).union(Says::RFDS_CLEAR).union(Says::VERW_CLEAR);
    let l1d = if says.contains(Says::FLUSH_L1D) { Steps::L1D_FLUSH } else { Steps::L1D_FILL };
    let buffers = if says.intersects(verw) { Steps::BUFFERS } else { Steps::empty() };
    let predictors = if says.contains(Says::IBPB) { Steps::PREDICTORS } else { Steps::empty() };
    l1d.union(buffers).union(predictors)
}

/// Intel, "L1 Terminal Fault": RDCL_NO says that there is none; SKIP_L1DFL_VMENTRY, that a hypervisor needn't flush, for instance since
/// the one below does. AMD: the permission checks of its page walks come before the use of a translation, nested or not.
const fn l1d(processor: &Processor) -> Verdict {
    let says = processor.says;
    if matches!(processor.vendor, Vendor::Amd) {
        Verdict::NotNeeded("AMD's processors have no L1 terminal fault")
    } else if says.contains(Says::RDCL_NO) {
        Verdict::NotNeeded("RDCL_NO")
    } else if says.contains(Says::SKIP_L1DFL_VMENTRY) {
        Verdict::NotNeeded("SKIP_L1DFL_VMENTRY")
    } else {
        Verdict::Taken("L1 terminal fault")
    }
}

/// What the processor lacks a promise against, the first of these: what clears for one clears for those after it.
const fn buffers(processor: &Processor) -> Verdict {
    let says = processor.says;
    if matches!(processor.vendor, Vendor::Amd) {
        return amd_buffers(processor);
    }
    if !says.contains(Says::MDS_NO) {
        // Intel, "Microarchitectural Data Sampling": VERW overwrites store buffers, fill buffers and load ports.
        return Verdict::needed("microarchitectural data sampling", says.contains(Says::MD_CLEAR));
    }
    // Intel, "TSX Asynchronous Abort": with MDS_NO, the microcode that lists TSX_CTRL makes MD_CLEAR true again.
    let taa = says.contains(Says::RTM) && !says.contains(Says::TAA_NO);
    let taa_cured = says.contains(Says::MD_CLEAR.union(Says::TSX_CTRL));
    // Intel, "Processor MMIO Stale Data": a guest with a device's registers can read what is left in the fill buffers.
    let stale = !says.contains(Says::STALE_DATA_NO);
    let stale_cured = says.contains(Says::FB_CLEAR);
    if taa && !taa_cured {
        Verdict::NoWay("transactional asynchronous abort")
    } else if stale && !stale_cured {
        Verdict::NoWay("stale data of device registers")
    } else if taa {
        Verdict::Taken("transactional asynchronous abort")
    } else if stale {
        Verdict::Taken("stale data of device registers")
    } else if says.contains(Says::RFDS_CLEAR) {
        // Intel, "Register File Data Sampling": only what is susceptible lists RFDS_CLEAR.
        Verdict::Taken("register file data sampling")
    } else {
        Verdict::NotNeeded("MDS_NO, and nothing else that VERW clears")
    }
}

/// AMD has no MDS. AMD-SB-7036: transient scheduler attacks in family 19h (Zen 3 and Zen 4), unless both bits say no.
const fn amd_buffers(processor: &Processor) -> Verdict {
    if processor.family != 0x19 {
        Verdict::NotNeeded("AMD's processors of this family have neither MDS nor transient scheduler attacks")
    } else if processor.says.contains(Says::TSA_NO) {
        Verdict::NotNeeded("TSA_SQ_NO and TSA_L1_NO")
    } else {
        Verdict::needed("transient scheduler attacks", processor.says.contains(Says::VERW_CLEAR))
    }
}
