// SPDX-License-Identifier: MIT OR Apache-2.0
//! Making objects: large ones, and many at once.

use kernel_tests::env::{at, own_cnode};
use kernel_tests::{Env, Outcome};
use sel4::{ObjectBlueprint, ObjectBlueprintX86};

kernel_tests::checks! {
    many_threads,
    many_endpoints,
    many_cnodes,
    many_pages,
    many_virtual_cpus,
    many_permission_maps,
    many_untypeds,
    large_pages,
}

const MOST: usize = 256;

/// Makes `count` of the kind, twice, with all of them deleted in between.
fn make(env: &mut Env, blueprint: ObjectBlueprint, count: usize, bits: usize) -> Outcome {
    let untyped = env.untyped(bits)?;
    let first = env.slots(count)?;
    for _ in 0..2 {
        untyped.untyped_retype(&blueprint, &own_cnode(), first, count)?;
        at(untyped).revoke()?;
    }
    Ok(())
}

fn many_threads(env: &mut Env) -> Outcome {
    make(env, ObjectBlueprint::Tcb, MOST, 19)
}

fn many_endpoints(env: &mut Env) -> Outcome {
    make(env, ObjectBlueprint::Endpoint, MOST, 12)
}

fn many_cnodes(env: &mut Env) -> Outcome {
    make(env, ObjectBlueprint::CNode { size_bits: 1 }, MOST, 14)
}

fn many_pages(env: &mut Env) -> Outcome {
    make(env, ObjectBlueprint::Arch(ObjectBlueprintX86::_4k), MOST, 20)
}

fn many_virtual_cpus(env: &mut Env) -> Outcome {
    make(env, ObjectBlueprint::Arch(ObjectBlueprintX86::VCpu), MOST, 22)
}

fn many_permission_maps(env: &mut Env) -> Outcome {
    make(env, ObjectBlueprint::Arch(ObjectBlueprintX86::IOPermissionMap), MOST, 22)
}

fn many_untypeds(env: &mut Env) -> Outcome {
    make(env, ObjectBlueprint::Untyped { size_bits: 4 }, MOST, 12)
}

fn large_pages(env: &mut Env) -> Outcome {
    make(env, ObjectBlueprint::Arch(ObjectBlueprintX86::LargePage), 8, 24)
}
