// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual CPUs (extension X1): one interface, [`Backend`], behind which the processor's kind of virtualization stands.
//!
//! The kernel's core knows only this file. AMD SVM is [`svm`]; another backend is another implementation of the trait and
//! one more line in [`init`].

pub mod iomap;
pub mod mitigations;
pub mod svm;
mod vcpu;

pub use vcpu::{VCPU_SIZE, Vcpu};

use core::cell::Cell;

use sel4_abi::message::REGISTERS as IN_REGISTERS;
use sel4_abi::vcpu::REGISTERS;

use crate::arch;
use crate::asid::NestedRoot;
use crate::transfer::Buffer;

/// Which backend runs, as the extension chunk numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// No guest can run.
    None = 0,
    /// Intel VT-x.
    Vmx = 1,
    /// AMD SVM.
    Svm = 2,
}

/// Why [`enter`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum EntryResult {
    /// A physical interrupt is pending and has not been taken: handle it, schedule, and enter again. Nothing is lost: an
    /// event that was being delivered is delivered by the next entry.
    HostInterrupt,
    /// The guest exited, or its entry was refused: [`Backend::exit_message`] tells, and the thread returns from `VMEnter`.
    Exit,
}

/// A guest that does not run, though it has not exited.
#[derive(Debug, Clone, Copy)]
pub struct Pause {
    /// RIP, controls and pending event, as `VMEnter` takes them.
    pub words: [u64; 3],
    /// RFLAGS.
    pub rflags: u64,
    /// 1 in an interrupt shadow, else 0.
    pub shadow: u64,
}

/// Bytes that a nested leaf maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NestedSize {
    /// 4 KiB.
    Small,
    /// 2 MiB.
    Large,
    /// 1 GiB.
    Huge,
}

/// What an entry of a nested table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NestedEntry {
    /// Nothing.
    Absent,
    /// The next lower table, host-physical.
    Table(u64),
    /// A page, host-physical.
    Page(u64),
}

/// A kind of virtualization. Called with interrupts off; a VCPU is a live object.
pub trait Backend: Sync {
    /// Its number in the extension chunk.
    fn kind(&self) -> Kind;

    /// Makes the guest's state that of a processor after reset; a refused VCPU lives again. Binding and maps stay.
    fn reset(&self, vcpu: Vcpu);

    /// Forgets what the processor may still hold for a VCPU whose memory is about to go.
    fn forget(&self, vcpu: Vcpu);

    /// The guest's general registers in the order of the exit message, while the guest does not run.
    fn registers<'a>(&self, vcpu: &'a Vcpu) -> &'a [Cell<u64>; REGISTERS];

    /// Takes the words of `VMEnter`: RIP, controls, event.
    fn load_entry(&self, vcpu: Vcpu, words: [u64; 3]);

    /// Runs the guest with these nested tables, with the steps against speculation that go with them.
    fn enter(&self, vcpu: Vcpu, root: NestedRoot) -> EntryResult;

    /// The message of the last exit: gives the words that travel in registers, and puts the others into the buffer.
    fn exit_message(&self, vcpu: Vcpu, buffer: Option<Buffer>) -> [u64; IN_REGISTERS];

    /// What a next entry needs when a notification came instead of an exit.
    fn pause(&self, vcpu: Vcpu) -> Pause;

    /// Reads a field of the backend's control structure; `structure` says whose numbers these are. `None`: no such field.
    fn read_field(&self, vcpu: Vcpu, structure: Kind, field: u64) -> Option<u64>;

    /// Writes a field; returns the value as stored.
    fn write_field(&self, vcpu: Vcpu, structure: Kind, field: u64, value: u64) -> Option<u64>;

    /// Reads a model-specific register of the guest that the backend switches for it.
    fn read_msr(&self, vcpu: Vcpu, msr: u64) -> Option<u64>;

    /// Writes such a register; returns the value as stored.
    fn write_msr(&self, vcpu: Vcpu, msr: u64, value: u64) -> Option<u64>;

    /// Uses the I/O permission map at host-physical `map`, or the kernel's own (all ports exit) if `None`.
    fn set_io_map(&self, vcpu: Vcpu, map: Option<u64>);

    /// A nested entry that points at the next lower table.
    fn table_entry(&self, table: u64) -> u64;

    /// A nested entry that maps a page; `attribute` is one of the ABI (`sel4_abi::ept_attributes`).
    fn leaf_entry(&self, page: u64, size: NestedSize, read: bool, write: bool, attribute: u64) -> u64;

    /// Reads an entry of a table of `level`, 1 (lowest) to 4.
    fn decode_entry(&self, entry: u64, level: u32) -> NestedEntry;

    /// Drops every translation that came from the tables under `root`: after an entry there was removed or changed, and
    /// before the memory can be used again.
    fn flush_nested(&self, root: u64);

    /// Before a VCPU runs on another processor than last time.
    fn moved(&self, vcpu: Vcpu);

    /// This processor saves what it holds of guests.
    fn give_up(&self);

    /// The processor's extended registers are about to be used by a thread: if a guest's are in them, they are saved.
    fn release_extended_state(&self);
}

/// The backend found at boot.
struct Chosen(Cell<Option<&'static dyn Backend>>);

// SAFETY: written once at boot, on the one CPU, before user level runs.
unsafe impl Sync for Chosen {}

static BACKEND: Chosen = Chosen(Cell::new(None));

/// What [`init`] needs: `frames(n)` gives `n` physically contiguous zeroed 4 KiB frames (their physical address), which
/// the kernel keeps for ever.
pub type FrameSource<'a> = &'a mut dyn FnMut(usize) -> u64;

/// Turns the processor's virtualization on. Call once at boot, after the CPU's own set-up (CR4, XCR0, PAT).
///
/// # Errors
/// A sentence that says why no guest can run.
pub fn init(frames: FrameSource<'_>) -> Result<Kind, &'static str> {
    let backend = svm::init(frames)?;
    mitigations::init(frames);
    BACKEND.0.set(Some(backend));
    Ok(backend.kind())
}

/// Turns it on for a further processor. One that hasn't what the first one has isn't used.
pub fn init_another(frames: FrameSource<'_>) {
    if backend().is_some() && svm::init_another(frames).is_err() {
        arch::halt();
    }
}

/// The backend, `None` where no guest can run.
#[inline]
pub fn backend() -> Option<&'static dyn Backend> {
    BACKEND.0.get()
}

/// Its number in the extension chunk.
pub fn kind() -> Kind {
    backend().map_or(Kind::None, |b| b.kind())
}

/// Sets up the object at `paddr`, 16 KiB of zeros. Without a backend it stays zeros, and nothing can be done with it.
pub fn init_vcpu(paddr: u64) {
    if let Some(b) = backend() {
        // SAFETY: the caller makes this object, so it is live from here on.
        b.reset(unsafe { Vcpu::at(paddr) });
    }
}

/// To be called before the x87 and SSE registers are given to a thread.
#[inline]
pub fn release_extended_state() {
    if let Some(b) = backend() {
        b.release_extended_state();
    }
}
