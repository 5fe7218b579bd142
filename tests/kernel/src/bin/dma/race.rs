// SPDX-License-Identifier: MIT OR Apache-2.0
//! DMA to memory that is being taken away: the transfer is begun so that it happens a known number of instructions after the call's
//! start, and that number goes over the whole call. Before, the transfer lands; after the call has returned it must not, and
//! there is no third outcome. (A missing or late flush was XSA-78, CVE-2013-6375, and XSA-80, CVE-2013-6400.)

use kernel_tests::env::{at, own_cnode};
use kernel_tests::{Env, Outcome, check, check_eq, machine};
use sel4::init_thread::slot;
use sel4::{CapRights, CapTypeForObjectOfFixedSize, VmAttributes, cap, cap_type};
use sel4_root_task::print;

use crate::lab::{IOVA, Lab, RW, delete, map_tables, revoke};

kernel_tests::checks! {
    dma_while_its_frame_is_unmapped_lands_before_or_never,
    dma_while_its_frame_is_deleted_lands_before_or_never,
    dma_while_its_space_is_cleared_lands_before_or_never,
    dma_while_its_memory_is_revoked_lands_before_or_never,
}

/// Transfers of a sweep.
const STEPS: u64 = 32;
/// Ticks before the call's start and after its end that belong to the sweep.
const EDGE: u64 = 100;
/// What the device writes; what the page held before; what it holds after the call, or zero if it is new.
const SENT: u64 = 0x5e_47_5e_47;
const BEFORE: u64 = 0xbe_f0_be_f0;
const AFTER: u64 = 0xaf_7e_af_7e;

/// What was seen of a transfer.
#[derive(Default)]
struct Seen {
    landed: u64,
    refused: u64,
}

/// Begins a transfer of a word that happens at tick `after` from `take`'s start on (less [`EDGE`]), and judges it.
fn shoot<T>(
    env: &mut Env,
    lab: &Lab,
    after: u64,
    take: impl FnOnce(&mut Env) -> Outcome<T>,
    found: impl FnOnce(&mut Env, T) -> Outcome<(u64, bool)>,
    again: impl FnOnce() -> u64,
    seen: &mut Seen,
) -> Outcome {
    let due = lab.edu.begin_write(IOVA, 8);
    machine::pass_until(due + EDGE - after);
    let taken = take(env)?;
    // From here on the memory is somebody else's.
    let (word, old) = found(env, taken)?;
    machine::pass_until(due + 2 * EDGE);
    let refused = lab.faults.dma_fault_read()?.requester.is_some();
    while lab.faults.dma_fault_read()?.requester.is_some() {}
    lab.told.poll();
    let wanted = match (old, refused) {
        (true, true) => BEFORE,
        (true, false) => SENT,
        (false, _) => 0,
    };
    check_eq!(word, wanted, "what the memory holds when the call returns");
    check_eq!(again(), AFTER, "what it holds later, with DMA {after} ticks after the start");
    seen.landed += u64::from(!refused);
    seen.refused += u64::from(refused);
    Ok(())
}

/// The page at [`IOVA`], in use: the unit has it cached, and the device holds what it is to write.
fn prepare(env: &Env, lab: &Lab) -> Outcome {
    lab.set_word(0, SENT);
    lab.edu.read_memory(env, IOVA, 8)?;
    lab.edu.write_memory(env, IOVA, 8)?;
    lab.set_word(0, BEFORE);
    lab.no_fault()
}

/// Sweeps the transfer over `take`; `mapped` makes the mapping anew before each.
fn sweep(
    env: &mut Env,
    lab: &Lab,
    mut mapped: impl FnMut(&mut Env) -> Outcome<cap::IOSpace>,
    take: impl Fn(cap::IOSpace) -> Outcome,
) -> Outcome {
    let space = mapped(env)?;
    prepare(env, lab)?;
    let start = machine::rdtsc();
    take(space)?;
    let length = machine::rdtsc() - start;
    let mut seen = Seen::default();
    for step in 0..STEPS {
        let space = mapped(env)?;
        prepare(env, lab)?;
        let found = |_: &mut Env, ()| {
            let word = lab.word(0);
            lab.set_word(0, AFTER);
            Ok((word, true))
        };
        let after = step * (length + 2 * EDGE) / STEPS;
        shoot(env, lab, after, |_| take(space), found, || lab.word(0), &mut seen)?;
    }
    told(length, &seen)
}

fn told(length: u64, seen: &Seen) -> Outcome {
    print!("{length} ticks, {} landed, {} were refused: ", seen.landed, seen.refused);
    check!(seen.landed > 0 && seen.refused > 0, "the sweep missed the call");
    Ok(())
}

fn dma_while_its_frame_is_unmapped_lands_before_or_never(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let space = lab.space_with_tables(env, IOVA)?;
    let copy = lab.page_copy(env)?;
    let mapped = |_: &mut Env| {
        space.io_space_map_frame(copy, RW, IOVA as usize)?;
        Ok(space)
    };
    sweep(env, &lab, mapped, |_| Ok(copy.frame_unmap()?))
}

fn dma_while_its_frame_is_deleted_lands_before_or_never(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let space = lab.space_with_tables(env, IOVA)?;
    let copy = env.empty::<cap_type::Granule>()?;
    let mapped = |_: &mut Env| {
        at(copy).copy(&at(lab.page), CapRights::all())?;
        space.io_space_map_frame(copy, RW, IOVA as usize)?;
        Ok(space)
    };
    sweep(env, &lab, mapped, |_| delete(copy))
}

fn dma_while_its_space_is_cleared_lands_before_or_never(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let mapped = |env: &mut Env| lab.mapped(env).map(|(space, _)| space);
    sweep(env, &lab, mapped, |space| Ok(space.io_space_clear()?))
}

/// The frame's untyped is revoked, as a VM's is, and its memory used for another frame.
fn dma_while_its_memory_is_revoked_lands_before_or_never(env: &mut Env) -> Outcome {
    const WINDOW: usize = 0x80_0000_3000;
    let lab = Lab::new(env)?;
    let memory = env.untyped(12)?;
    let frame = env.empty::<cap_type::Granule>()?;
    let blueprint = cap_type::Granule::BLUEPRINT;
    let retype = || memory.untyped_retype(&blueprint, &own_cnode(), frame.bits() as usize, 1);
    let io_space = lab.io_space(env, lab.edu.requester(), crate::lab::DOMAIN)?;
    map_tables(env, io_space, IOVA)?;
    let second = env.empty::<cap_type::Granule>()?;
    let map_window = |frame: cap::Granule| {
        Ok::<_, kernel_tests::Failure>(frame.frame_map(
            slot::VSPACE.cap(),
            WINDOW,
            RW,
            VmAttributes::DEFAULT,
        )?)
    };
    // SAFETY (of each use): a frame of this check is mapped there.
    let window = WINDOW as *mut u64;
    let mut seen = Seen::default();
    let mut length = 0;
    for step in 0..=STEPS {
        retype()?;
        at(second).copy(&at(frame), CapRights::all())?;
        io_space.io_space_map_frame(second, RW, IOVA as usize)?;
        map_window(frame)?;
        // SAFETY: see above.
        unsafe { window.write_volatile(SENT) };
        lab.edu.read_memory(env, IOVA, 8)?;
        lab.edu.write_memory(env, IOVA, 8)?;
        lab.no_fault()?;
        if step == 0 {
            // The memory's next use belongs to the sweep: what lands in it shows.
            let start = machine::rdtsc();
            revoke(memory)?;
            retype()?;
            map_window(frame)?;
            length = machine::rdtsc() - start;
            revoke(memory)?;
            continue;
        }
        let found = |_: &mut Env, ()| {
            retype()?;
            map_window(frame)?;
            // SAFETY: see above.
            let word = unsafe { window.read_volatile() };
            // SAFETY: see above.
            unsafe { window.write_volatile(AFTER) };
            Ok((word, false))
        };
        // SAFETY: see above.
        let again = || unsafe { window.read_volatile() };
        let after = (step - 1) * (length + 2 * EDGE) / STEPS;
        shoot(env, &lab, after, |_| revoke(memory), found, again, &mut seen)?;
        revoke(memory)?;
    }
    told(length, &seen)
}
