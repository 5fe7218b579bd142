// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real processors, each with what is done for it and why. The registers are those that the vendors' processors show (the structured
//! features of Skylake, Cascade Lake, Ice Lake and Sapphire Rapids and the sizes leaf of Zen 3 and Zen 4 as published in dumps, the rest
//! put together from the bits that the vendors' pages tell); bits that nobody asks for are left as they are.

use crate::decide::{Decision, Policy, Steps, Verdict};
use crate::processor::{Leaf, Leaves, Processor};

const INTEL: Leaf = Leaf { eax: 0, ebx: 0x756e_6547, ecx: 0x6c65_746e, edx: 0x4965_6e69 };
const AMD: Leaf = Leaf { eax: 0, ebx: 0x6874_7541, ecx: 0x444d_4163, edx: 0x6974_6e65 };
const HYGON: Leaf = Leaf { eax: 0, ebx: 0x6f67_7948, ecx: 0x656e_6975, edx: 0x6e65_476e };

const FILL: Steps = Steps::L1D_FILL;
const FLUSH: Steps = Steps::L1D_FLUSH;
const BUFFERS: Steps = Steps::BUFFERS;
const PREDICTORS: Steps = Steps::PREDICTORS;

fn intel(signature: u32, ebx: u32, edx: u32, capabilities: u64) -> Decision {
    let leaves = Leaves {
        vendor: INTEL,
        basic: Leaf { eax: signature, ..Leaf::default() },
        structured: Leaf { ebx, edx, ..Leaf::default() },
        ..Leaves::default()
    };
    Decision::of(&Processor::decode(&leaves, capabilities))
}

fn amd(vendor: Leaf, signature: u32, edx: u32, sizes: u32, eax: u32, ecx: u32) -> Decision {
    let leaves = Leaves {
        vendor,
        basic: Leaf { eax: signature, ..Leaf::default() },
        structured: Leaf { edx, ..Leaf::default() },
        sizes: Leaf { ebx: sizes, ..Leaf::default() },
        extended: Leaf { eax, ecx, ..Leaf::default() },
    };
    // AMD's processors have no `IA32_ARCH_CAPABILITIES`: whatever is read there counts for nothing.
    Decision::of(&Processor::decode(&leaves, u64::MAX))
}

#[track_caller]
fn does(decision: Decision, auto: Steps, on: Steps) {
    assert_eq!(decision.steps(Policy::Auto), auto, "auto");
    assert_eq!(decision.steps(Policy::On), on, "on");
    assert_eq!(decision.steps(Policy::Off), Steps::empty(), "off");
}

const MDS: &str = "microarchitectural data sampling";
const TAA: &str = "transactional asynchronous abort";
const STALE: &str = "stale data of device registers";
const TSA: &str = "transient scheduler attacks";

/// Xeon X5570 as it was sold: no leaf 7 says anything. L1TF: filled. MDS: Intel made no microcode for it.
#[test]
fn nehalem_without_microcode() {
    let decision = intel(0x106a5, 0, 0, 0);
    does(decision, FILL, FILL);
    assert_eq!(decision.l1d, Verdict::Taken("L1 terminal fault"));
    assert_eq!(decision.buffers, Verdict::NoWay(MDS));
    assert_eq!(decision.predictors, Verdict::NoWay("Spectre v2"));
}

/// The same with the microcode of 2018, which brought IBRS, IBPB, STIBP, SSBD and `IA32_FLUSH_CMD`, but never MD_CLEAR.
#[test]
fn nehalem_with_its_last_microcode() {
    let decision = intel(0x106a5, 0, 0x9c00_0000, 0);
    does(decision, FLUSH | PREDICTORS, FLUSH | PREDICTORS);
    assert_eq!(decision.buffers, Verdict::NoWay(MDS));
}

/// Xeon Gold 6148: no `IA32_ARCH_CAPABILITIES`, so nothing is promised; MD_CLEAR and FLUSH_L1D are there.
#[test]
fn skylake() {
    let decision = intel(0x50654, 0xd39f_fffb, 0x9c00_2400, 0);
    does(decision, FLUSH | BUFFERS | PREDICTORS, FLUSH | BUFFERS | PREDICTORS);
    assert_eq!(decision.l1d, Verdict::Taken("L1 terminal fault"));
    assert_eq!(decision.buffers, Verdict::Taken(MDS));
}

/// Xeon Gold 6248 as it was sold: RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, MDS_NO. It has transactional memory, for whose aborts MD_CLEAR
/// means nothing before the microcode that lists TSX_CTRL.
#[test]
fn cascade_lake_without_microcode() {
    let decision = intel(0x50657, 0xd39f_fffb, 0xbc00_0400, 0x2b);
    does(decision, BUFFERS | PREDICTORS, FLUSH | BUFFERS | PREDICTORS);
    assert_eq!(decision.l1d, Verdict::NotNeeded("RDCL_NO"));
    assert_eq!(decision.buffers, Verdict::NoWay(TAA));
}

/// With TSX_CTRL (2019) and FB_CLEAR (2022).
#[test]
fn cascade_lake_with_microcode() {
    let decision = intel(0x50657, 0xd39f_fffb, 0xbc00_0400, 0x2b | 1 << 7 | 1 << 17);
    does(decision, BUFFERS | PREDICTORS, FLUSH | BUFFERS | PREDICTORS);
    assert_eq!(decision.buffers, Verdict::Taken(TAA));
    // Transactions off, which hides them: what is left is stale data of device registers.
    let decision = intel(0x50657, 0xd39f_f7fb & !(1 << 4), 0xbc00_0400, 0x2b | 1 << 7 | 1 << 17);
    assert_eq!(decision.buffers, Verdict::Taken(STALE));
}

/// Xeon Gold 6354: TAA_NO too; FB_CLEAR since 2022.
#[test]
fn ice_lake() {
    let decision = intel(0x606a6, 0xf3bf_b7ef, 0xbc04_0412, 0x16b);
    assert_eq!(decision.l1d, Verdict::NotNeeded("RDCL_NO"));
    assert_eq!(decision.buffers, Verdict::NoWay(STALE));
    let decision = intel(0x606a6, 0xf3bf_b7ef, 0xbc04_0412, 0x16b | 1 << 17);
    does(decision, BUFFERS | PREDICTORS, FLUSH | BUFFERS | PREDICTORS);
    assert_eq!(decision.buffers, Verdict::Taken(STALE));
}

/// Xeon Platinum 8480: all three kinds of stale data are promised away, so nothing is left but the predictors.
#[test]
fn sapphire_rapids() {
    let decision = intel(0x806f8, 0xf3bf_bfff, 0xffdd_4432, 0xe16b);
    does(decision, PREDICTORS, FLUSH | BUFFERS | PREDICTORS);
    assert_eq!(decision.l1d, Verdict::NotNeeded("RDCL_NO"));
    assert_eq!(decision.buffers, Verdict::NotNeeded("MDS_NO, and nothing else that VERW clears"));
}

/// An Alder Lake whose firmware lists RFDS_CLEAR, as only susceptible processors do.
#[test]
fn a_hybrid_processor() {
    let decision = intel(0x90672, 0x239c_27eb, 0xbc18_c410, 0xe16b | 1 << 28);
    does(decision, BUFFERS | PREDICTORS, FLUSH | BUFFERS | PREDICTORS);
    assert_eq!(decision.buffers, Verdict::Taken("register file data sampling"));
}

/// The layer below flushes already.
#[test]
fn a_skylake_under_a_hypervisor_that_flushes() {
    let decision = intel(0x50654, 0xd39f_fffb, 0xbc00_2400, 1 << 3);
    does(decision, BUFFERS | PREDICTORS, FLUSH | BUFFERS | PREDICTORS);
    assert_eq!(decision.l1d, Verdict::NotNeeded("SKIP_L1DFL_VMENTRY"));
}

/// EPYC 7601 before and after the microcode with IBPB. Neither L1TF nor MDS, said of all of AMD's; scheduler attacks begin with Zen 3.
#[test]
fn zen_1() {
    let decision = amd(AMD, 0x80_0f12, 0, 0x0000_0007, 0, 0);
    does(decision, Steps::empty(), FILL);
    assert_eq!(decision.l1d, Verdict::NotNeeded("AMD's processors have no L1 terminal fault"));
    assert_eq!(decision.predictors, Verdict::NoWay("Spectre v2"));
    does(amd(AMD, 0x80_0f12, 0, 0x0000_1007, 0, 0), PREDICTORS, FILL | PREDICTORS);
    does(amd(HYGON, 0x90_0f02, 0, 0x0000_1007, 0, 0), PREDICTORS, FILL | PREDICTORS);
}

/// EPYC 7742.
#[test]
fn zen_2() {
    does(amd(AMD, 0x83_0f10, 0, 0x010e_b757, 0, 0), PREDICTORS, FILL | PREDICTORS);
}

/// Ryzen 9 5950X: susceptible; without the microcode of 2025 there is nothing to clear with.
#[test]
fn zen_3() {
    let decision = amd(AMD, 0xa2_0f12, 0x10, 0x111e_f657, 0, 0);
    does(decision, PREDICTORS, FILL | PREDICTORS);
    assert_eq!(decision.buffers, Verdict::NoWay(TSA));
    let decision = amd(AMD, 0xa2_0f12, 0x10, 0x111e_f657, 1 << 5, 0);
    does(decision, BUFFERS | PREDICTORS, FILL | BUFFERS | PREDICTORS);
    assert_eq!(decision.buffers, Verdict::Taken(TSA));
}

/// EPYC 9654: the same, and it has `IA32_FLUSH_CMD`.
#[test]
fn zen_4() {
    let decision = amd(AMD, 0xa1_0f11, 0x1000_0010, 0x791e_f257, 0x0006_2fcf | 1 << 5, 0);
    does(decision, BUFFERS | PREDICTORS, FLUSH | BUFFERS | PREDICTORS);
    assert_eq!(decision.buffers, Verdict::Taken(TSA));
    // One of both promises is none.
    let half = amd(AMD, 0xa1_0f11, 0x1000_0010, 0x791e_f257, 0x0006_2fcf | 1 << 5, 1 << 1);
    assert_eq!(half.buffers, Verdict::Taken(TSA));
    let both = amd(AMD, 0xa1_0f11, 0x1000_0010, 0x791e_f257, 0x0006_2fcf | 1 << 5, 3 << 1);
    assert_eq!(both.buffers, Verdict::NotNeeded("TSA_SQ_NO and TSA_L1_NO"));
}

/// EPYC 9755, family 1Ah.
#[test]
fn zen_5() {
    does(amd(AMD, 0xb0_0f21, 0x1000_0010, 0x791e_f257, 0, 0), PREDICTORS, FLUSH | PREDICTORS);
}

/// QEMU's `EPYC` without acceleration: it has none of the registers, so nothing is done, and a forced flush is the fill.
#[test]
fn the_emulated_epyc() {
    let decision = amd(AMD, 0x80_0f12, 0, 0, 0, 0);
    does(decision, Steps::empty(), FILL);
}

/// Intel's processors before those with RDCL_NO, and nobody else's that is known.
#[test]
fn the_kernel_is_isolated_unless_the_processor_has_no_meltdown() {
    let meltdown = Verdict::Taken("Meltdown");
    for (decision, verdict) in [
        (intel(0x106a5, 0, 0, 0), meltdown),
        (intel(0x50654, 0xd39f_fffb, 0x9c00_2400, 0), meltdown),
        // What the register would say doesn't count where there is none.
        (intel(0x50654, 0xd39f_fffb, 0x9c00_2400, 1), meltdown),
        (intel(0x50657, 0xd39f_fffb, 0xbc00_0400, 0x2b), Verdict::NotNeeded("RDCL_NO")),
        (intel(0x806f8, 0xf3bf_bfff, 0xffdd_4432, 0xe16b), Verdict::NotNeeded("RDCL_NO")),
        (amd(AMD, 0x80_0f12, 0, 0, 0, 0), Verdict::NotNeeded("AMD's processors have no Meltdown")),
        (amd(HYGON, 0x90_0f02, 0, 0, 0, 0), Verdict::NotNeeded("AMD's processors have no Meltdown")),
        (Decision::of(&Processor::decode(&Leaves::default(), 0)), meltdown),
    ] {
        assert_eq!(decision.isolation, verdict);
    }
}

/// Nobody knows it: it is treated as the worst.
#[test]
fn an_unknown_vendor() {
    let decision = Decision::of(&Processor::decode(&Leaves::default(), 0));
    does(decision, FILL, FILL);
    assert_eq!(decision.buffers, Verdict::NoWay(MDS));
}

/// Every combination of what a processor can say: a promise never adds a step, and what is forced includes what is needed.
#[test]
fn promises_only_take_steps_away() {
    use crate::processor::{Says, Vendor};
    let promises = [
        Says::RDCL_NO,
        Says::SKIP_L1DFL_VMENTRY,
        Says::MDS_NO,
        Says::TAA_NO,
        Says::STALE_DATA_NO,
        Says::TSA_NO,
    ];
    for bits in 0..=Says::all().bits() {
        let says = Says::from_bits_truncate(bits);
        for vendor in [Vendor::Intel, Vendor::Amd, Vendor::Other] {
            for family in [6, 0x17, 0x19] {
                let steps = |says| Decision::of(&Processor { vendor, family, says });
                let (auto, on) = (steps(says).steps(Policy::Auto), steps(says).steps(Policy::On));
                assert!(on.contains(auto), "{vendor:?} {says:?}");
                assert!(!on.contains(FILL | FLUSH));
                for promise in promises {
                    let promised = steps(says | promise).steps(Policy::Auto);
                    assert!(auto.contains(promised), "{vendor:?} {says:?} with {promise:?}");
                }
            }
        }
    }
}

#[test]
fn verdicts_are_sentences_for_the_log() {
    use std::string::ToString;
    let decision = intel(0x106a5, 0, 0, 0);
    assert_eq!(decision.l1d.to_string(), "done (against L1 terminal fault)");
    assert_eq!(decision.predictors.to_string(), "NOT CURED: Spectre v2: this processor lacks what helps");
    let decision = intel(0x806f8, 0xf3bf_bfff, 0xffdd_4432, 0xe16b);
    assert_eq!(decision.l1d.to_string(), "not needed (RDCL_NO)");
}
