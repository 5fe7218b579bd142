// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages in an address space, and objects out of untyped memory. All tables are there before.

use kernel_tests::env::{at, own_cnode};
use kernel_tests::measure::{bench_pair, overhead};
use kernel_tests::{Env, Outcome, space};
use sel4::init_thread::slot;
use sel4::{
    CapRights, CapTypeForFrameObject, CapTypeForObjectOfFixedSize, ObjectBlueprint, VmAttributes, cap,
    cap_type,
};

const BASE: usize = 0x80_0000_0000;
/// Beside the pages' table, in the same directory.
const LARGE: usize = BASE + 0x20_0000;

/// Mapping a page and taking it out again.
pub fn pages(env: &mut Env) -> Outcome {
    space::map_tables(env, slot::VSPACE.cap(), BASE)?;
    let small: cap::Granule = env.make()?;
    page(["page-map-4k", "page-unmap-4k"], small, BASE)?;
    let large: cap::LargePage = env.make()?;
    page(["page-map-2m", "page-unmap-2m"], large, LARGE)
}

fn page<T: CapTypeForFrameObject>(names: [&str; 2], frame: sel4::Cap<T>, vaddr: usize) -> Outcome {
    let (mut mapped, mut unmapped) = (Ok(()), Ok(()));
    let map = || {
        let done = frame.frame_map(slot::VSPACE.cap(), vaddr, CapRights::read_write(), VmAttributes::DEFAULT);
        mapped = mapped.and(done);
    };
    bench_pair(names, overhead(), map, || unmapped = unmapped.and(frame.frame_unmap()));
    Ok(mapped.and(unmapped)?)
}

/// Making an object, which includes clearing its memory, and deleting it.
pub fn objects(env: &mut Env) -> Outcome {
    // Looking for an untyped's children goes to what comes next in the derivation tree: that is of one kind for both.
    env.untyped(4)?;
    object(env, ["retype-4k", "delete-4k"], 12, cap_type::Granule::BLUEPRINT)?;
    object(env, ["retype-endpoint", "delete-endpoint"], 4, ObjectBlueprint::Endpoint)
}

/// Of an untyped of this size, whole.
fn object(env: &mut Env, names: [&str; 2], bits: usize, blueprint: ObjectBlueprint) -> Outcome {
    let untyped = env.untyped(bits)?;
    let object = env.empty::<cap_type::Unspecified>()?;
    let (mut made, mut deleted) = (Ok(()), Ok(()));
    let retype = || {
        made = made.and(untyped.untyped_retype(&blueprint, &own_cnode(), object.bits() as usize, 1));
    };
    bench_pair(names, overhead(), retype, || deleted = deleted.and(at(object).delete()));
    Ok(made.and(deleted)?)
}
