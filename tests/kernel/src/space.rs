// SPDX-License-Identifier: MIT OR Apache-2.0
//! A second address space with the image in it.

use sel4::init_thread::Slot;
use sel4::{CapRights, VmAttributes, cap, cap_type};

use crate::Env;
use crate::failure::Outcome;
use sel4::init_thread::slot;

/// Makes an address space with an identifier and nothing in it.
pub fn empty(env: &mut Env) -> Outcome<cap::VSpace> {
    empty_from(env, slot::ASID_POOL.cap())
}

fn empty_from(env: &mut Env, pool: cap::AsidPool) -> Outcome<cap::VSpace> {
    let vspace: cap::VSpace = env.make()?;
    pool.asid_pool_assign(vspace)?;
    Ok(vspace)
}

/// Puts the three tables for the 2 MiB around `vaddr` into `vspace`.
pub fn map_tables(env: &mut Env, vspace: cap::VSpace, vaddr: usize) -> Outcome {
    env.make::<cap_type::Pdpt>()?.pdpt_map(vspace, vaddr, VmAttributes::DEFAULT)?;
    env.make::<cap_type::PageDirectory>()?.page_directory_map(vspace, vaddr, VmAttributes::DEFAULT)?;
    env.make::<cap_type::PageTable>()?.page_table_map(vspace, vaddr, VmAttributes::DEFAULT)?;
    Ok(())
}

/// Makes an address space that holds the image where the initial thread has it: the same memory.
pub fn with_image(env: &mut Env) -> Outcome<cap::VSpace> {
    with_image_from(env, slot::ASID_POOL.cap())
}

/// The same with an identifier of `pool`.
pub fn with_image_from(env: &mut Env, pool: cap::AsidPool) -> Outcome<cap::VSpace> {
    let vspace = empty_from(env, pool)?;
    let frames = env.bootinfo.user_image_frames();
    let start = env.bootinfo.ipc_buffer() as usize - frames.len() * 4096;
    let mut tables_to = start;
    for (i, frame) in frames.enumerate() {
        let vaddr = start + i * 4096;
        if i == 0 {
            map_tables(env, vspace, vaddr)?;
            tables_to = (vaddr + 1).next_multiple_of(1 << 21);
        } else if vaddr >= tables_to {
            env.make::<cap_type::PageTable>()?.page_table_map(vspace, vaddr, VmAttributes::DEFAULT)?;
            tables_to += 1 << 21;
        }
        let copy = env.copy(Slot::<cap_type::Granule>::from_index(frame).cap(), CapRights::all())?;
        copy.frame_map(vspace, vaddr, CapRights::read_write(), VmAttributes::DEFAULT)?;
    }
    Ok(vspace)
}
