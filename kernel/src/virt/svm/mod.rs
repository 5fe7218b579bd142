// SPDX-License-Identifier: MIT OR Apache-2.0
//! AMD SVM (APM volume 2, chapter 15) behind [`Backend`]. What can be decided without the processor is in the crate `svm`.

mod debug;
mod enable;
mod enter;
mod extended;
mod object;
mod switch;

use core::cell::Cell;

use sel4_abi::ept_attributes::NO_EXECUTE;
use sel4_abi::message::REGISTERS as IN_REGISTERS;
use sel4_abi::vcpu::REGISTERS;
use svm::features::Features;
use svm::npt;
use svm::tlb::{Tag, Tlb};

use self::object::SvmVcpu;
use super::{Backend, EntryResult, FrameSource, Kind, NestedEntry, NestedSize, Pause, Vcpu};
use crate::arch::tables::this;
use crate::asid::NestedRoot;
use crate::processors::MAX_CPUS;
use crate::sync::KernelCell;
use crate::transfer::Buffer;

/// What the backend knows after boot.
struct Machine {
    features: Features,
    /// The host's page-attribute table, through which nested entries choose their memory type.
    host_pat: u64,
    /// Physical address of the host's VMSAVE area: FS, GS, TR, LDTR and the system-call registers.
    host_state: u64,
    /// Physical address of the I/O permission map in which every port exits.
    io_map: u64,
    /// Physical address of the one MSR permission map.
    msr_map: u64,
    /// Physical address of an empty nested top-level table.
    empty_root: u64,
    tlb: Tlb,
    extended: extended::Extended,
    debug: debug::Owner,
    /// Physical address of the VCPU that ran last, 0 if it is gone: whose predictions the processor holds.
    predictions_of: u64,
}

/// Each processor's.
static MACHINES: [KernelCell<Option<Machine>>; MAX_CPUS] = [const { KernelCell::new(None) }; MAX_CPUS];

/// The state after boot.
#[inline]
fn machine() -> &'static mut Machine {
    // SAFETY: each of the backend's entry points takes this once, they do not nest, and `init` came before them, since the
    // backend is only reached through what it returned. A processor's number is below `MAX_CPUS`.
    unsafe { MACHINES.get_unchecked(usize::from(this().index.get())).get().as_mut().unwrap_unchecked() }
}

struct Svm;

static SVM: Svm = Svm;

/// Turns SVM on, or says why not.
pub fn init(frames: FrameSource<'_>) -> Result<&'static dyn Backend, &'static str> {
    let machine = enable::enable(frames, None)?;
    // SAFETY: boot; nobody holds a reference.
    *unsafe { MACHINES[0].get() } = Some(machine);
    Ok(&SVM)
}

/// Turns SVM on for a further processor, which shares the permission maps of the first.
pub fn init_another(frames: FrameSource<'_>) -> Result<(), &'static str> {
    // SAFETY: as for `init`: the others are inside the kernel, or don't run yet.
    let first = unsafe { MACHINES[0].get() }.as_ref();
    let machine = enable::enable(frames, first)?;
    // SAFETY: as above.
    *unsafe { MACHINES[usize::from(this().index.get())].get() } = Some(machine);
    Ok(())
}

impl Backend for Svm {
    fn kind(&self) -> Kind {
        Kind::Svm
    }

    fn reset(&self, vcpu: Vcpu) {
        let machine = machine();
        self.forget_in(machine, vcpu);
        SvmVcpu::of(vcpu).reset(vcpu, machine);
    }

    fn forget(&self, vcpu: Vcpu) {
        self.forget_in(machine(), vcpu);
    }

    #[inline]
    fn registers<'a>(&self, vcpu: &'a Vcpu) -> &'a [Cell<u64>; REGISTERS] {
        &SvmVcpu::of(*vcpu).registers
    }

    #[inline]
    fn load_entry(&self, vcpu: Vcpu, words: [u64; 3]) {
        SvmVcpu::of(vcpu).load_entry(words);
    }

    #[inline]
    fn enter(&self, vcpu: Vcpu, root: NestedRoot) -> EntryResult {
        enter::enter(machine(), vcpu, root)
    }

    #[inline]
    fn exit_message(&self, vcpu: Vcpu, buffer: Option<Buffer>) -> [u64; IN_REGISTERS] {
        SvmVcpu::of(vcpu).exit_message(&machine().features, buffer)
    }

    fn pause(&self, vcpu: Vcpu) -> Pause {
        SvmVcpu::of(vcpu).pause()
    }

    fn read_field(&self, vcpu: Vcpu, structure: Kind, field: u64) -> Option<u64> {
        if structure == Kind::Svm { SvmVcpu::of(vcpu).read_field(field) } else { None }
    }

    fn write_field(&self, vcpu: Vcpu, structure: Kind, field: u64, value: u64) -> Option<u64> {
        if structure == Kind::Svm { SvmVcpu::of(vcpu).write_field(field, value, machine()) } else { None }
    }

    fn read_msr(&self, vcpu: Vcpu, msr: u64) -> Option<u64> {
        SvmVcpu::of(vcpu).read_field(object::field_of_msr(msr)?)
    }

    fn write_msr(&self, vcpu: Vcpu, msr: u64, value: u64) -> Option<u64> {
        SvmVcpu::of(vcpu).write_field(object::field_of_msr(msr)?, value, machine())
    }

    fn set_io_map(&self, vcpu: Vcpu, map: Option<u64>) {
        SvmVcpu::of(vcpu).vmcb.control.iopm_base = map.unwrap_or(machine().io_map);
    }

    fn table_entry(&self, table: u64) -> u64 {
        npt::table(table)
    }

    fn leaf_entry(&self, page: u64, size: NestedSize, read: bool, write: bool, attribute: u64) -> u64 {
        let size = match size {
            NestedSize::Small => npt::Leaf::Small,
            NestedSize::Large => npt::Leaf::Large,
            NestedSize::Huge => npt::Leaf::Huge,
        };
        let access = npt::Access { read, write, execute: attribute & NO_EXECUTE == 0 };
        npt::leaf(page, size, access, npt::MemoryType::from_abi(attribute & !NO_EXECUTE), machine().host_pat)
    }

    fn decode_entry(&self, entry: u64, level: u32) -> NestedEntry {
        match npt::decode(entry, level) {
            npt::Decoded::Absent => NestedEntry::Absent,
            npt::Decoded::Table(paddr) => NestedEntry::Table(paddr),
            npt::Decoded::Page(paddr) => NestedEntry::Page(paddr),
        }
    }

    fn flush_nested(&self, root: u64) {
        for cell in &MACHINES {
            // SAFETY: whoever has the kernel has what all processors know of nested tables: they use it while they have the kernel only.
            if let Some(machine) = unsafe { cell.get() } {
                machine.tlb.changed(root);
            }
        }
    }

    fn moved(&self, vcpu: Vcpu) {
        // Identifiers are each processor's own.
        SvmVcpu::of(vcpu).tag = Tag::default();
    }

    fn give_up(&self) {
        let machine = machine();
        machine.extended.release();
        machine.debug.release();
        // The guest may go, and another one come in its place.
        machine.predictions_of = 0;
    }

    fn release_extended_state(&self) {
        machine().extended.release();
    }
}

impl Svm {
    /// The processor holds nothing of `vcpu` afterwards that anyone would look at.
    fn forget_in(&self, machine: &mut Machine, vcpu: Vcpu) {
        machine.extended.forget(vcpu.paddr());
        machine.debug.forget(vcpu.paddr());
        if machine.predictions_of == vcpu.paddr() {
            machine.predictions_of = 0;
        }
    }
}
