// SPDX-License-Identifier: MIT OR Apache-2.0
//! Turning SVM on (APM 15.4): CPUID, VM_CR, EFER.SVME, the host's save area, the permission maps.

use svm::features::{self, Leaf, Leaves, MSR_VM_CR, MSR_VM_HSAVE_PA};
use svm::limits::EFER_SVME;
use svm::permission::{self, IO_MAP_BYTES, MSR_MAP_BYTES};
use svm::tlb::Tlb;
use x86_64::registers::model_specific::Msr;

use super::{Machine, debug, extended};
use crate::arch::{self, cpu, probe};
use crate::virt::FrameSource;

const MSR_EFER: u32 = 0xc000_0080;
const MSR_PAT: u32 = 0x277;

/// Does it, or says why it can't be. `first` is the first processor's.
pub fn enable(frames: FrameSource<'_>, first: Option<&Machine>) -> Result<Machine, &'static str> {
    let leaves = leaves();
    // An emulator may list SVM without it: then firmware had nothing to turn off by.
    let vm_cr = if features::has_svm(&leaves) { probe::read_msr(MSR_VM_CR).unwrap_or(0) } else { 0 };
    let features = features::decode(&leaves, vm_cr).map_err(|absent| absent.text())?;

    // Firmware may have left anything in VM_CR's debug and INIT switches; SVM itself is not disabled, as decoded.
    write(MSR_EFER, read(MSR_EFER) | EFER_SVME);
    write(MSR_VM_HSAVE_PA, frames(1));

    let host_state = frames(1);
    let (empty_root, io_map, msr_map) = match first {
        Some(first) => (first.empty_root, first.io_map, first.msr_map),
        None => (frames(1), frames(IO_MAP_BYTES / 4096), frames(MSR_MAP_BYTES / 4096)),
    };
    if first.is_none() {
        // SAFETY: the frames are the kernel's for ever, of these sizes, and nobody else knows them yet.
        unsafe {
            (*arch::phys_to_virt(io_map).cast::<[u8; IO_MAP_BYTES]>()).fill(0xff);
            permission::fill_msr_map(&mut *arch::phys_to_virt(msr_map).cast::<[u8; MSR_MAP_BYTES]>());
        }
    }
    Ok(Machine {
        features,
        host_pat: read(MSR_PAT),
        host_state,
        io_map,
        msr_map,
        empty_root,
        tlb: Tlb::new(features.asids, features.flush_by_asid),
        extended: extended::Extended::detect(&leaves),
        debug: debug::Owner::default(),
        predictions_of: 0,
    })
}

fn read(msr: u32) -> u64 {
    // SAFETY: only registers that CPUID says exist are read here; reading has no effect.
    unsafe { Msr::new(msr).read() }
}

fn write(msr: u32, value: u64) {
    // SAFETY: EFER with one more feature bit that CPUID lists, and the host save area, a frame of the kernel's own.
    unsafe { Msr::new(msr).write(value) }
}

fn leaves() -> Leaves {
    let leaf = |number| {
        let r = cpu::leaf(number);
        Leaf { eax: r.eax, ebx: r.ebx, ecx: r.ecx, edx: r.edx }
    };
    Leaves {
        basic: leaf(1),
        structured: leaf(7),
        xsave: leaf(0xd),
        extended: leaf(0x8000_0001),
        sizes: leaf(0x8000_0008),
        svm: leaf(0x8000_000a),
    }
}
