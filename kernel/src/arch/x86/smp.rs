// SPDX-License-Identifier: MIT OR Apache-2.0
//! More than one processor: who has the kernel, and what processors want of each other.
//!
//! One processor at a time runs the kernel: it takes the lock at entry and gives it back as the last thing before user level, a guest, or
//! sleep. In between it has the whole state of the kernel, other processors' schedulers too; of another processor it can't change what
//! is in its registers. For that there is mail ([`ask`]): the other one is interrupted if it is at user level, in a guest or asleep, and
//! answers while it waits for the lock. So when `ask` comes back, the other processor is inside the kernel, its registers are where
//! they are saved, and it will look afresh at what it has to run.
//!
//! With one processor there is no lock and no mail.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use super::apic;
use super::cpu;
use super::fpu;
use super::tables::{FIRST, PerCpu, this};
use super::tlb;
use crate::kernel::{KERNEL, Kernel};
use crate::object::tcb::Tcb;
use crate::processors::MAX_CPUS;
use crate::stretch;
use crate::virt::{self, Vcpu};

/// CPU vector of the interrupt that brings a processor into the kernel.
pub const VECTOR: u8 = 159;

/// Answers only that the processor is in the kernel.
pub const STOP: u32 = 1;
/// It loads the kernel's own address space; what it has cached of the one that it leaves, it forgets before it loads that again.
pub const DROP_ROOT: u32 = 2;
/// It saves what it holds for threads and guests beside their general registers.
pub const GIVE_UP: u32 = 4;

/// There is more than one processor.
static MANY: AtomicBool = AtomicBool::new(false);
/// The kernel has failed.
static ENDED: AtomicBool = AtomicBool::new(false);
static NEXT: AtomicU32 = AtomicU32::new(0);
static SERVED: AtomicU32 = AtomicU32::new(0);
static AREAS: [AtomicPtr<PerCpu>; MAX_CPUS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CPUS];

/// A processor's area is in place. The processor itself waits for that (`is_known`), and then for the kernel.
pub fn add(area: &'static PerCpu) {
    if area.index.get() != FIRST.index.get() && !are_many() {
        // This processor has the kernel: it is its turn. Before the other one knows that it may take a number.
        NEXT.store(1, Ordering::Relaxed);
        MANY.store(true, Ordering::Release);
        FIRST.fpu.leave_the_short_way();
    }
    if are_many() {
        area.fpu.leave_the_short_way();
    }
    AREAS[usize::from(area.index.get())].store(core::ptr::from_ref(area).cast_mut(), Ordering::Release);
}

/// True once the processor with this area is known to the others.
pub fn is_known(own: &PerCpu) -> bool {
    area(own.index.get()).is_some()
}

fn area(index: u8) -> Option<&'static PerCpu> {
    // SAFETY: areas stay for ever.
    unsafe { AREAS.get(usize::from(index))?.load(Ordering::Acquire).as_ref() }
}

/// True when there is more than one processor.
#[inline(always)]
pub fn are_many() -> bool {
    MANY.load(Ordering::Relaxed)
}

/// Takes the kernel: once in every entry.
#[inline(always)]
pub fn acquire() -> &'static mut Kernel {
    if are_many() {
        wait_for_turn();
    }
    acquire_alone()
}

/// The kernel of a machine with one processor, or of the processor whose turn it is.
#[inline(always)]
pub fn acquire_alone() -> &'static mut Kernel {
    stretch::begin();
    // SAFETY: each entry takes the kernel once; entries don't nest, and this processor has its turn.
    unsafe { KERNEL.get() }
}

#[cold]
#[inline(never)]
fn wait_for_turn() {
    let turn = NEXT.fetch_add(1, Ordering::Relaxed);
    while SERVED.load(Ordering::Acquire) != turn {
        answer();
        halt_at_the_end();
        spin_loop();
    }
    // SAFETY: it is this processor's turn.
    unsafe { KERNEL.get() }.is_of(this().index.get());
}

/// Gives the kernel back: nothing of it is touched afterwards.
#[inline(always)]
pub fn release() {
    stretch::end();
    if are_many() {
        SERVED.store(SERVED.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }
}

/// Tells the compiler that the kernel was given back and taken again.
#[inline(always)]
pub fn forget_what_was_read(k: &mut Kernel) {
    // SAFETY: nothing.
    unsafe { core::arch::asm!("/* {} */", in(reg) core::ptr::from_mut(k), options(nostack, preserves_flags)) }
}

/// True if another processor waits for the kernel.
pub fn is_awaited() -> bool {
    are_many() && NEXT.load(Ordering::Relaxed).wrapping_sub(SERVED.load(Ordering::Relaxed)) > 1
}

/// Does what others want.
fn answer() {
    let mail = &this().mail;
    let wanted = mail.load(Ordering::Acquire);
    if wanted == 0 {
        return;
    }
    if wanted & DROP_ROOT != 0 {
        tlb::retreat();
    }
    if wanted & GIVE_UP != 0 {
        give_up();
    }
    mail.store(0, Ordering::Release);
}

/// Saves what this processor holds for threads and guests beside their general registers.
fn give_up() {
    fpu::give_up();
    if let Some(backend) = virt::backend() {
        backend.give_up();
    }
    cpu::give_up_bases();
}

/// Brings another processor into the kernel, where it does what `wanted` says; waits for that. It waits for the lock then.
pub fn ask(index: u8, wanted: u32) {
    let Some(area) = area(index) else { return };
    area.mail.store(wanted, Ordering::Release);
    apic::send(area.apic_id.get(), VECTOR);
    while area.mail.load(Ordering::Acquire) != 0 {
        halt_at_the_end();
        spin_loop();
    }
}

/// The kernel has failed: no processor gets it any more, and whoever waits halts. The others are called, so that they do.
pub fn end() {
    if ENDED.swap(true, Ordering::SeqCst) || !are_many() {
        return;
    }
    // A number that is never served keeps all that come later.
    NEXT.fetch_add(1, Ordering::Relaxed);
    for index in 0..MAX_CPUS as u8 {
        if index != this().index.get() {
            poke(index);
        }
    }
}

fn halt_at_the_end() {
    if ENDED.load(Ordering::Relaxed) {
        cpu::halt();
    }
}

/// Lets another processor enter the kernel, soon.
pub fn poke(index: u8) {
    if let Some(area) = area(index) {
        apic::send(area.apic_id.get(), VECTOR);
    }
}

/// Every other processor for whose area `condition` holds does what `wanted` says.
pub fn ask_where(wanted: u32, condition: impl Fn(&PerCpu) -> bool) {
    if !are_many() {
        return;
    }
    for index in 0..MAX_CPUS as u8 {
        if index != this().index.get() && area(index).is_some_and(&condition) {
            ask(index, wanted);
        }
    }
}

/// After this the memory of `t` has all that processor `index`, which doesn't run it, held of it.
pub fn take_state(t: &Tcb, index: u8) {
    if index == this().index.get() {
        if this().fpu.holds(t) || this().loaded.holds(t) {
            give_up();
        }
    } else if area(index).is_some_and(|a| a.fpu.holds(t) || a.loaded.holds(t)) {
        ask(index, GIVE_UP);
    }
}

/// After this the processor that ran the VCPU last holds nothing of it.
pub fn take_vcpu(vcpu: Vcpu) {
    let (cpu, own) = (&vcpu.header().cpu, this().index.get());
    if cpu.get() != own {
        ask(cpu.get(), GIVE_UP);
        cpu.set(own);
    }
}

/// Brings a processor into the kernel.
pub fn stop(index: u8) {
    ask(index, STOP);
}
