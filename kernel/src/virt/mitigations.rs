// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest entry does against speculative execution: decided once at boot (the crate `mitigations`), taken by the backend.
//!
//! Which steps an entry takes hangs on the nested root, and was said when that got its identifier: the flush protects others from this
//! guest, so neither it nor its VMM may turn it off, and a VMM has no pool of identifiers.

use core::arch::asm;
use core::cell::Cell;

use ::mitigations::processor::{MSR_ARCH_CAPABILITIES, MSR_PRED_CMD};
use ::mitigations::{Decision, Leaf, Leaves, Policy, Processor, Steps, Verdict, fill};
use sel4_abi::bootinfo as bi;
use sel4_abi::entry_flush;

use x86_64::registers::model_specific::Msr;

use super::FrameSource;
use crate::arch::{self, cpu};
use crate::klog;

/// The decision, and what the backends' assembly reads.
struct State {
    decision: Cell<Option<Decision>>,
}

// SAFETY: written once at boot, on the one CPU, before user level runs.
unsafe impl Sync for State {}

static STATE: State = State { decision: Cell::new(None) };

/// The end of the memory that the software fill reads; it is 0 where no entry fills.
#[unsafe(no_mangle)]
static POSTERN_FILL_END: FillEnd = FillEnd(Cell::new(0));

/// An address in the kernel's window.
#[repr(transparent)]
struct FillEnd(Cell<u64>);

// SAFETY: as for `State`.
unsafe impl Sync for FillEnd {}

/// Decides, and says so in the boot log.
pub fn init(frames: FrameSource<'_>) {
    let decision = Decision::of(&processor());
    klog!("guest entries: L1D flush {}", decision.l1d);
    klog!("guest entries: clearing of buffers {}", decision.buffers);
    klog!("guest entries: barrier between the predictions of two VMs {}", decision.predictors);
    if decision.steps(Policy::On).contains(Steps::L1D_FILL) {
        // Large pages map it in the window, so the fill misses in the TLB once or twice at most.
        let start = arch::phys_to_virt(frames(fill::BYTES / 4096)) as u64;
        POSTERN_FILL_END.0.set(start + fill::BYTES as u64);
    }
    STATE.decision.set(Some(decision));
}

/// Whether user level has to run without the kernel in its address space.
pub fn isolation() -> Verdict {
    Decision::of(&real_processor()).isolation
}

/// The steps under a policy; none before [`init`], and where no guest can run.
pub fn steps(policy: Policy) -> Steps {
    STATE.decision.get().map_or(Steps::empty(), |decision| decision.steps(policy))
}

/// The steps for one of `sel4_abi::entry_flush`.
pub fn steps_for(entry_flush: u64) -> Steps {
    steps(match entry_flush {
        entry_flush::ON => Policy::On,
        entry_flush::OFF => Policy::Off,
        _ => Policy::Auto,
    })
}

/// What the extension chunk tells of it.
pub fn features() -> u32 {
    let (auto, on) = (steps(Policy::Auto), steps(Policy::On));
    let bit = |known: bool, feature: u32| if known { feature } else { 0 };
    bit(auto.intersects(Steps::L1D_FILL | Steps::L1D_FLUSH), bi::FEATURE_AUTO_L1D)
        | bit(auto.contains(Steps::BUFFERS), bi::FEATURE_AUTO_BUFFERS)
        | bit(auto.contains(Steps::PREDICTORS), bi::FEATURE_AUTO_PREDICTORS)
        | bit(on.contains(Steps::L1D_FLUSH), bi::FEATURE_FLUSH_REGISTER)
        | bit(on.contains(Steps::BUFFERS), bi::FEATURE_BUFFERS)
        | bit(on.contains(Steps::PREDICTORS), bi::FEATURE_PREDICTORS)
}

/// No prediction from before is used afterwards.
pub fn predictor_barrier() {
    // SAFETY: the caller's step is only there if CPUID lists the register; bit 0 is the barrier.
    unsafe {
        asm!("wrmsr", in("ecx") MSR_PRED_CMD, in("eax") 1, in("edx") 0, options(nostack, preserves_flags))
    }
}

#[cfg(feature = "pretend-vulnerable")]
fn processor() -> Processor {
    use ::mitigations::processor::{Says, Vendor};
    klog!("guest entries: a vulnerable processor is pretended");
    let says = Says::FLUSH_L1D | Says::MD_CLEAR | Says::IBPB;
    // As everything is needed, nothing depends on the real one.
    let _ = real_processor;
    Processor { vendor: Vendor::Other, family: 6, says }
}

#[cfg(not(feature = "pretend-vulnerable"))]
fn processor() -> Processor {
    real_processor()
}

fn real_processor() -> Processor {
    let leaves = leaves();
    let capabilities = if leaves.has_arch_capabilities() {
        // SAFETY: CPUID lists the register; reading has no effect.
        unsafe { Msr::new(MSR_ARCH_CAPABILITIES).read() }
    } else {
        0
    };
    Processor::decode(&leaves, capabilities)
}

fn leaves() -> Leaves {
    let leaf = |number| {
        let r = cpu::leaf(number);
        Leaf { eax: r.eax, ebx: r.ebx, ecx: r.ecx, edx: r.edx }
    };
    Leaves {
        vendor: leaf(0),
        basic: leaf(1),
        structured: leaf(7),
        sizes: leaf(0x8000_0008),
        extended: leaf(0x8000_0021),
    }
}
