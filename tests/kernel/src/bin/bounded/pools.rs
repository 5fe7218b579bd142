// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pools of identifiers that are deleted: full ones, and ones in which few identifiers are left.

use kernel_tests::env::at;
use kernel_tests::{Env, Outcome};
use sel4::init_thread::slot;
use sel4::{CPtr, CapTypeForObjectOfFixedSize, ObjectBlueprint, Result, cap, cap_type};

use crate::crowd::make_many;

kernel_tests::checks! {
    pool_of_address_spaces,
    pool_of_nested_tables,
    pool_of_few_address_spaces,
    pool_of_few_nested_tables,
}

/// Identifiers of a pool.
const MANY: usize = 512;
/// In a pool of few every so many-th one has its root.
const FEW: usize = 32;

fn nested(pool: cap::AsidPool, root: u64) -> Result<()> {
    pool.asid_pool_assign_nested(cap::EptPml4::from_bits(root), 0)
}

fn address_space(pool: cap::AsidPool, root: u64) -> Result<()> {
    pool.asid_pool_assign(cap::VSpace::from_bits(root))
}

/// Fills a pool with roots, deletes them but for every `every`-th one, and deletes the pool.
fn delete_pool(
    env: &mut Env,
    blueprint: ObjectBlueprint,
    assign: fn(cap::AsidPool, u64) -> Result<()>,
    every: usize,
) -> Outcome {
    let pool = env.empty::<cap_type::AsidPool>()?;
    let memory = env.untyped(12)?;
    slot::ASID_CONTROL.cap().asid_control_make_pool(memory, &at(pool))?;
    let first = make_many(env, blueprint, MANY)?;
    for i in first..first + MANY {
        assign(pool, i as u64)?;
    }
    for i in (0..MANY).filter(|i| i % every != 0) {
        at(CPtr::from_bits((first + i) as u64).cast::<cap_type::Unspecified>()).delete()?;
    }
    Ok(at(pool).delete()?)
}

fn pool_of_address_spaces(env: &mut Env) -> Outcome {
    delete_pool(env, cap_type::Pml4::BLUEPRINT, address_space, 1)
}

fn pool_of_nested_tables(env: &mut Env) -> Outcome {
    delete_pool(env, cap_type::EptPml4::BLUEPRINT, nested, 1)
}

fn pool_of_few_address_spaces(env: &mut Env) -> Outcome {
    delete_pool(env, cap_type::Pml4::BLUEPRINT, address_space, FEW)
}

fn pool_of_few_nested_tables(env: &mut Env) -> Outcome {
    delete_pool(env, cap_type::EptPml4::BLUEPRINT, nested, FEW)
}
