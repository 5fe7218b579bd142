// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel on processors that QEMU hasn't, booted from the ISO by Bochs: Intel's with process-context identifiers and x2APIC. There is
//! no IOMMU, so what needs one is skipped, and counted.

use crate::bochs::Bochs;
use crate::build;
use crate::checks::{self, LIMIT};
use crate::runner::{Case, Outcome};

pub(super) const CASES: &[Case] =
    &[Case::new("bochs::every_check_holds_on_an_intel_processor_booted_from_the_iso", intel)];

/// What there is no IOMMU for.
const NO_IOMMU: [(&str, usize); 3] =
    [("no interrupt remapping", 1), ("no DMA remapping", 7), ("no DMA-fault reports", 1)];

fn intel() -> Outcome {
    let [first, second, third] = NO_IOMMU;
    boot("corei7_skylake_x", "kernel-tests", 226, &[first, second, third, ("no SVM", 12)])
}

/// Boots checks; at least `enough` must pass, and those that are skipped must number `skipped`.
fn boot(processor: &str, program: &str, enough: usize, skipped: &[(&str, usize)]) -> Outcome {
    let image = build::bare(("kernel-tests", program), &[])?;
    let mut machine = Bochs::start(processor, &image)?;
    let judged = checks::judge(&machine.serial, enough)
        .and_then(|()| checks::judge_skipped(&machine.serial, skipped))
        .and_then(|()| machine.wait_end(LIMIT));
    judged.map_err(|error| format!("{error}\n{}", machine.evidence()))
}
