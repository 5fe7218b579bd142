// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel on processors that QEMU hasn't, booted from the ISO by Bochs: Intel's with process-context identifiers and x2APIC. There is
//! no IOMMU, so what needs one is skipped, and counted.

use crate::bochs::Bochs;
use crate::build;
use crate::checks::{self, LIMIT};
use crate::runner::{Case, Outcome};

pub(super) const CASES: &[Case] = &[
    Case::new("bochs::every_check_holds_on_an_intel_processor_booted_from_the_iso", intel),
    Case::new("bochs::every_check_holds_on_the_first_of_64_bits", old),
    Case::new("bochs::every_check_holds_on_a_ryzen", ryzen),
    Case::new("bochs::guests_run_on_a_ryzen_with_next_rip_and_flush_by_asid", guests),
];

/// What there is no IOMMU for.
const NO_IOMMU: [(&str, usize); 3] =
    [("no interrupt remapping", 1), ("no DMA remapping", 7), ("no DMA-fault reports", 1)];
const NO_SVM: (&str, usize) = ("no SVM", 12);
/// What is wrong with Bochs's guests, and what needs a processor without flushes of one identifier.
const NOT_THESE_GUESTS: [(&str, usize); 6] = [
    ("a guest's triple fault ends Bochs", 1),
    ("Bochs tells of the event before", 1),
    ("Bochs ends at some states", 1),
    ("Bochs takes any event", 1),
    ("Bochs opens no window at the entry", 1),
    ("the processor has many identifiers, or can flush one alone", 2),
];

fn intel() -> Outcome {
    boot("corei7_skylake_x", "kernel-tests", 228, &[&NO_IOMMU[..], &[NO_SVM]].concat(), &INTEL_SAYS)
}

/// Without process-context identifiers, pages of 1 GiB, `WRFSBASE` and whatever else came later.
fn old() -> Outcome {
    let skipped = [&NO_IOMMU[..], &[NO_SVM, ("no FSGSBASE", 1)]].concat();
    boot("p4_prescott_celeron_336", "kernel-tests", 227, &skipped, &OLD_SAYS)
}

fn ryzen() -> Outcome {
    boot("ryzen", "kernel-tests", 240, &NO_IOMMU, &RYZEN_SAYS)
}

fn guests() -> Outcome {
    boot("ryzen", "vcpu", 43, &NOT_THESE_GUESTS, &RYZEN_SAYS)
}

/// What the kernel makes of a processor with identifiers for address spaces, and with Meltdown.
const INTEL_SAYS: [&str; 2] = [
    "kernel page-table isolation: on, by the processor",
    "address spaces: switched with identifiers (PCID, INVPCID)",
];

/// Of the first with Meltdown.
const OLD_SAYS: [&str; 2] =
    ["kernel page-table isolation: on, by the processor", "address spaces: switched without identifiers"];
const RYZEN_SAYS: [&str; 1] = ["kernel page-table isolation: off, by the processor"];

/// Boots checks; the kernel says the lines `says`; at least `enough` must pass, and those that are skipped must number `skipped`.
fn boot(processor: &str, program: &str, enough: usize, skipped: &[(&str, usize)], says: &[&str]) -> Outcome {
    let image = build::bare(("kernel-tests", program), &[])?;
    let mut machine = Bochs::start(processor, &image)?;
    let judged = checks::judge(&machine.serial, enough)
        .and_then(|()| checks::judge_skipped(&machine.serial, skipped))
        .and_then(|()| heard(&machine.serial.lines(), says))
        .and_then(|()| machine.wait_end(LIMIT));
    judged.map_err(|error| format!("{error}\n{}", machine.evidence()))
}

/// Fails unless each of `says` is in a line.
fn heard(lines: &[String], says: &[&str]) -> Outcome {
    match says.iter().find(|text| !lines.iter().any(|line| line.contains(**text))) {
        Some(text) => Err(format!("no line with `{text}`")),
        None => Ok(()),
    }
}
