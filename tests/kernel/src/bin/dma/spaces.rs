// SPDX-License-Identifier: MIT OR Apache-2.0
//! I/O spaces and their tables.

use kernel_tests::env::at;
use kernel_tests::{Env, Outcome, check_eq, expect_error, expect_reply};
use sel4::abi::label;
use sel4::init_thread::slot;
use sel4::{CapRights, Error, IOSpaceCapData, cap, cap_type};

use crate::lab::{DOMAIN, IOVA, Lab, delete, map_tables};

kernel_tests::checks! {
    io_spaces_are_minted_from_the_master_only,
    io_space_of_an_uncovered_function_is_refused,
    tables_go_in_from_the_root,
    a_table_needs_a_space_and_room,
    a_domain_belongs_to_one_requester,
    a_requester_has_one_domain,
    a_table_with_copies_stays,
    a_deleted_space_frees_its_domain,
}

fn io_spaces_are_minted_from_the_master_only(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let master = slot::IO_SPACE.cap();
    let rid = lab.edu.requester();
    let target = env.empty::<cap_type::IOSpace>()?;
    let mint = |source: cap::IOSpace, data: u64| at(target).mint(&at(source), CapRights::all(), data);
    expect_error(mint(master, IOSpaceCapData::new(0, rid).into_word()), Error::IllegalOperation, &[])?;
    let made = lab.io_space(env, rid, DOMAIN)?;
    let again = mint(made, IOSpaceCapData::new(DOMAIN + 1, rid).into_word());
    expect_error(again, Error::IllegalOperation, &[])?;
    expect_error(at(target).mutate(&at(made), 7 << 16), Error::IllegalOperation, &[])?;
    at(target).copy(&at(made), CapRights::all())?;
    Ok(())
}

fn io_space_of_an_uncovered_function_is_refused(env: &mut Env) -> Outcome {
    let _lab = Lab::new(env)?;
    let target = env.empty::<cap_type::IOSpace>()?;
    // There is no bus 0x7f, and no unit that would have the rest.
    let data = IOSpaceCapData::new(DOMAIN, 0x7f00).into_word();
    let result = at(target).mint(&at(slot::IO_SPACE.cap()), CapRights::all(), data);
    expect_error(result, Error::InvalidCapability, &[1])
}

fn tables_go_in_from_the_root(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let io_space = lab.io_space(env, lab.edu.requester(), DOMAIN)?;
    let levels = env.bootinfo.io_pt_levels().unwrap_or(0);
    let page = lab.page_copy(env)?;
    for level in (1..=levels as u64).rev() {
        // What is missing is the entry of the level above.
        let bits = 12 + 9 * level;
        let result = page.frame_map_io(io_space, CapRights::read_write(), IOVA as usize);
        expect_error(result, Error::FailedLookup, &[0, 2, bits])?;
        let result = io_space.io_space_map_frame(page, CapRights::read_write(), IOVA as usize);
        expect_error(result, Error::FailedLookup, &[0, 2, bits])?;
        env.make::<cap_type::IOPageTable>()?.iopt_map(io_space, IOVA as usize)?;
    }
    page.frame_map_io(io_space, CapRights::read_write(), IOVA as usize)?;
    let table: cap::IOPageTable = env.make()?;
    expect_error(table.iopt_map(io_space, IOVA as usize), Error::DeleteFirst, &[])
}

fn a_table_needs_a_space_and_room(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let io_space = lab.io_space(env, lab.edu.requester(), DOMAIN)?;
    let table: cap::IOPageTable = env.make()?;
    expect_reply(table.invoke_raw(label::X86_IO_PAGE_TABLE_MAP, &[0], &[]), Error::TruncatedMessage, &[])?;
    expect_error(table.iopt_map(slot::IO_SPACE.cap(), 0), Error::InvalidCapability, &[1])?;
    let wrong = cap::IOSpace::from_bits(table.bits());
    expect_error(table.iopt_map(wrong, 0), Error::InvalidCapability, &[1])?;
    expect_error(table.iopt_map(io_space, 1 << 60), Error::InvalidArgument, &[0])?;
    table.iopt_map(io_space, 0)?;
    expect_error(table.iopt_map(io_space, 0), Error::InvalidCapability, &[0])?;
    table.iopt_unmap()?;
    table.iopt_unmap()?;
    table.iopt_map(io_space, 0)?;
    Ok(())
}

fn a_domain_belongs_to_one_requester(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let first = lab.io_space(env, lab.edu.requester(), DOMAIN)?;
    let second = lab.io_space(env, lab.other.requester(), DOMAIN)?;
    let (a, b): (cap::IOPageTable, cap::IOPageTable) = (env.make()?, env.make()?);
    a.iopt_map(first, IOVA as usize)?;
    expect_error(b.iopt_map(second, IOVA as usize), Error::DeleteFirst, &[])?;
    first.io_space_clear()?;
    b.iopt_map(second, IOVA as usize)?;
    Ok(())
}

fn a_requester_has_one_domain(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    lab.mapped(env)?;
    let io_space = lab.io_space(env, lab.edu.requester(), DOMAIN + 1)?;
    let table: cap::IOPageTable = env.make()?;
    expect_error(table.iopt_map(io_space, IOVA as usize), Error::DeleteFirst, &[])?;
    let page = lab.page_copy(env)?;
    let result = io_space.io_space_map_frame(page, CapRights::read_write(), IOVA as usize + 0x1000);
    expect_error(result, Error::DeleteFirst, &[])?;
    // Clearing the wrong domain changes nothing.
    io_space.io_space_clear()?;
    lab.edu.read_memory(env, IOVA, 64)?;
    lab.no_fault()
}

fn a_table_with_copies_stays(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let io_space = lab.io_space(env, lab.edu.requester(), DOMAIN)?;
    let table: cap::IOPageTable = env.make()?;
    let target = env.empty::<cap_type::IOPageTable>()?;
    let result = at(target).copy(&at(table), CapRights::all());
    expect_error(result, Error::IllegalOperation, &[])?;
    table.iopt_map(io_space, 0)?;
    at(target).copy(&at(table), CapRights::all())?;
    expect_error(table.iopt_unmap(), Error::RevokeFirst, &[])?;
    delete(target)?;
    table.iopt_unmap()?;
    Ok(())
}

fn a_deleted_space_frees_its_domain(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let (io_space, _) = lab.mapped(env)?;
    let copy = env.copy(io_space, CapRights::all())?;
    delete(io_space)?;
    lab.edu.read_memory(env, IOVA, 64)?;
    check_eq!(lab.faults.dma_fault_read()?.requester, None, "the requester while a copy is left");
    delete(copy)?;
    lab.expect_refusal(env, IOVA, crate::lab::reason::NO_CONTEXT)?;
    let second = lab.io_space(env, lab.other.requester(), DOMAIN)?;
    map_tables(env, second, IOVA)
}
