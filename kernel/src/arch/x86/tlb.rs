// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which address space is loaded, and when what is cached of it is forgotten: the crate `tlb` decides, this does it.

use core::arch::asm;
use core::cell::Cell;

use ::tlb::{Mode, NO_FLUSH, Space, Step};

use super::tables::{PerCpu, this};
use super::window::kernel_root;
use super::{cpu, isolation, smp};
use crate::cap::Root;

/// CR4.PCIDE: translations bear identifiers.
const CR4_PCIDE: u64 = 1 << 17;

/// How address spaces are switched on this machine.
struct Chosen(Cell<Mode>);

// SAFETY: written once, at boot, by the one processor that runs.
unsafe impl Sync for Chosen {}

static MODE: Chosen = Chosen(Cell::new(Mode::PLAIN));

/// How address spaces are switched.
#[inline(always)]
pub fn mode() -> Mode {
    MODE.0.get()
}

/// Decides how address spaces are going to be switched: with what the processor has, as far as it is to be used.
pub fn choose(identifiers: bool, isolated: bool) {
    let tagged = identifiers && cpu::leaf(1).ecx & 1 << 17 != 0;
    MODE.0.set(Mode { tagged, by_page: tagged && cpu::leaf(7).ebx & 1 << 10 != 0, isolated });
}

/// Switches them so from now on, on this processor.
pub fn start() {
    // SAFETY: the kernel's own root. All that is cached goes; identifiers are turned on with identifier 0 loaded, as they have to be, where
    // CPUID lists them.
    unsafe {
        load(kernel_root());
        if mode().tagged {
            asm!("mov {t}, cr4", "or {t}, {PCIDE}", "mov cr4, {t}", t = out(reg) _, PCIDE = const CR4_PCIDE, options(nostack));
        }
    }
    this().translations.start(mode().space(kernel_root(), 0));
}

/// The address space of a root that has its identifier.
pub fn space(root: Root) -> Space {
    mode().space(root.paddr, root.asid)
}

/// The address space of threads that have none: there is nothing in it.
pub fn nobodys() -> Space {
    mode().space(if mode().isolated { isolation::empty_root() } else { kernel_root() }, 0)
}

/// What leads from user level into the kernel's own address space.
pub fn kernel_cr3() -> u64 {
    kernel_root() | if mode().tagged { NO_FLUSH } else { 0 }
}

/// Loads CR3.
///
/// # Safety
/// The root contains the kernel's part, and [`Translations`](::tlb::Translations) knows.
#[inline(always)]
unsafe fn load(cr3: u64) {
    // SAFETY: by the caller's promise.
    unsafe { asm!("mov cr3, {}", in(reg) cr3, options(nostack, preserves_flags)) }
}

/// One way to switch address spaces, for code that exists once for each.
pub trait Way {
    /// What of it is known beforehand.
    const MODE: Mode;

    /// Loads the address space of the thread that is about to run. Where the kernel is isolated, the way out loads it: this gives what.
    #[inline(always)]
    fn enter(space: Space) -> u64 {
        if Self::MODE.isolated {
            return this().translations.leave(Self::MODE, space);
        }
        enter_by(Self::MODE, space);
        0
    }

    /// The same where that thread is the one that has just come, and nothing has been changed.
    #[inline(always)]
    fn stay(space: Space) -> u64 {
        if Self::MODE.isolated { Self::enter(space) } else { 0 }
    }
}

/// Translations have no identifiers.
pub struct Plain;

impl Way for Plain {
    const MODE: Mode = Mode::PLAIN;
}

/// They have.
pub struct Tagged;

impl Way for Tagged {
    const MODE: Mode = Mode::TAGGED;
}

/// They have none, and user level runs without the kernel.
pub struct Isolated;

impl Way for Isolated {
    const MODE: Mode = Mode::ISOLATED;
}

/// The same where they have.
pub struct IsolatedTagged;

impl Way for IsolatedTagged {
    const MODE: Mode = Mode::ISOLATED_TAGGED;
}

/// Loads the address space of the thread that is about to run, in whichever way.
#[inline(always)]
pub fn enter(space: Space) {
    if this().translations.loaded() != space {
        enter_by(mode(), space);
    }
}

/// What the way out of an isolated kernel, which has to be taken then, loads for the thread that is about to run.
pub fn prepare(space: Space) -> u64 {
    this().translations.leave(mode(), space)
}

#[inline(always)]
fn enter_by(mode: Mode, space: Space) {
    if let Some(cr3) = this().translations.enter(mode, space) {
        // SAFETY: roots get the kernel's part when they get their identifier.
        unsafe { load(cr3) }
    }
}

fn take(step: Step) {
    // SAFETY: forgetting translations changes nothing; a root that is loaded is the one that is loaded already, or the kernel's. The
    // instructions are those that CPUID lists (`choose`); addresses are user level's, so canonical.
    unsafe {
        match step {
            Step::Nothing => {}
            Step::Page(address) => asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)),
            Step::PageOf(identifier, address) => {
                let descriptor = [u64::from(identifier), address];
                asm!("invpcid {}, [{}]", in(reg) 0u64, in(reg) &raw const descriptor, options(nostack, preserves_flags));
            }
            Step::Load(cr3) => load(cr3),
        }
    }
}

/// Forgets the translation of one page of an address space.
pub fn flush_page(root: Root, vaddr: u64) {
    take(this().translations.unmapped(mode(), space(root), vaddr));
    drop_elsewhere(root);
}

/// Forgets every translation of an address space.
pub fn flush_all(root: Root) {
    take(this().translations.changed(mode(), space(root)));
    drop_elsewhere(root);
}

/// The address space is going away: no processor has it loaded afterwards, nor finds a translation of it under its identifier.
pub fn leave_vspace(root: Root) {
    take(this().translations.gone(mode(), space(root)));
    drop_elsewhere(root);
}

/// No other processor has the address space loaded afterwards, nor finds a translation of it.
pub fn drop_elsewhere(root: Root) {
    let space = space(root);
    smp::ask_where(smp::DROP_ROOT, |area: &PerCpu| area.translations.changed_elsewhere(space));
}

/// Loads the kernel's own address space: another processor wants that.
pub fn retreat() {
    take(this().translations.retreat(mode()));
}
