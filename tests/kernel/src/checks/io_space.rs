// SPDX-License-Identifier: MIT OR Apache-2.0
//! DMA translation: what the invocations refuse. What the hardware then does is seen in the tests with devices.

use kernel_tests::env::at;
use kernel_tests::{Env, Failure, Outcome, check, check_eq, expect_error};
use sel4::abi::bootinfo;
use sel4::init_thread::slot;
use sel4::{CapRights, Error, IOSpaceCapData, cap, cap_type};

kernel_tests::checks! {
    io_space_is_minted_from_the_master_only,
    io_page_tables_go_in_from_the_root,
    io_space_frame_leaf_must_be_free,
    io_space_map_frame_checks_frame_and_address,
    requester_has_one_domain,
    unmapped_io_frame_leaves_its_place,
    cleared_io_space_begins_anew,
    dma_fault_control_reports_nothing_at_rest,
}

/// The requester that the checks use: 00:1f.3, the SMBus controller, which does no DMA.
pub const REQUESTER: u16 = 0x1f << 3 | 3;
/// Another that a unit covers: 00:1f.0, the LPC bridge.
const OTHER: u16 = 0x1f << 3;
/// A function that no unit covers: the machine doesn't have it, and QEMU's table lists those that there are.
const UNCOVERED: u16 = 0x1e << 3;
const DOMAIN: u16 = 200;
const ALL: CapRights = CapRights::all();

fn need(env: &Env, feature: u32, what: &str) -> Outcome {
    let features = env.bootinfo.extensions().unwrap_or_default().features;
    if features & feature == 0 { Err(Failure::skip(what)) } else { Ok(()) }
}

fn io_space(env: &mut Env) -> Outcome<cap::IOSpace> {
    need(env, bootinfo::FEATURE_DMA_REMAPPING, "no DMA remapping")?;
    let space = env.empty::<cap_type::IOSpace>()?;
    at(space).mint(&at(slot::IO_SPACE.cap()), ALL, IOSpaceCapData::new(DOMAIN, REQUESTER).into_word())?;
    Ok(space)
}

/// Puts tables in until there is a place for a leaf of 4 KiB; returns how many.
fn tables(env: &mut Env, space: cap::IOSpace, iova: usize, frame: cap::Granule) -> Outcome<usize> {
    for count in 0..6 {
        match frame.frame_map_io(space, CapRights::read_write(), iova) {
            Ok(()) => return Ok(count),
            Err(Error::FailedLookup) => env.make::<cap_type::IOPageTable>()?.iopt_map(space, iova)?,
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::new(format_args!("six tables aren't enough")))
}

fn io_space_is_minted_from_the_master_only(env: &mut Env) -> Outcome {
    let space = io_space(env)?;
    let free = env.empty::<cap_type::IOSpace>()?;
    let mint = |source, data: IOSpaceCapData| at(free).mint(&at(source), ALL, data.into_word());
    let other = IOSpaceCapData::new(DOMAIN + 1, REQUESTER);
    expect_error(mint(space, other), Error::IllegalOperation, &[])?;
    expect_error(
        mint(slot::IO_SPACE.cap(), IOSpaceCapData::new(0, REQUESTER)),
        Error::IllegalOperation,
        &[],
    )?;
    let nobody = IOSpaceCapData::new(DOMAIN + 1, UNCOVERED);
    expect_error(mint(slot::IO_SPACE.cap(), nobody), Error::InvalidCapability, &[])
}

fn io_page_tables_go_in_from_the_root(env: &mut Env) -> Outcome {
    let space = io_space(env)?;
    let frame: cap::Granule = env.make()?;
    let count = tables(env, space, 0x20_0000, frame)?;
    check_eq!(Some(count), env.bootinfo.io_pt_levels(), "number of tables");
    // A neighbour needs none.
    let neighbour: cap::Granule = env.make()?;
    neighbour.frame_map_io(space, CapRights::read_write(), 0x20_1000)?;
    // And a further table has no place.
    let table: cap::IOPageTable = env.make()?;
    expect_error(table.iopt_map(space, 0x20_0000), Error::DeleteFirst, &[])
}

fn io_space_frame_leaf_must_be_free(env: &mut Env) -> Outcome {
    let space = io_space(env)?;
    let (a, b): (cap::Granule, cap::Granule) = (env.make()?, env.make()?);
    tables(env, space, 0x20_0000, a)?;
    expect_error(b.frame_map_io(space, CapRights::read_write(), 0x20_0000), Error::DeleteFirst, &[])?;
    expect_error(a.frame_map_io(space, CapRights::read_write(), 0x20_1000), Error::InvalidCapability, &[0])
}

fn io_space_map_frame_checks_frame_and_address(env: &mut Env) -> Outcome {
    let space = io_space(env)?;
    let (a, b): (cap::Granule, cap::Granule) = (env.make()?, env.make()?);
    tables(env, space, 0x20_0000, a)?;
    space.io_space_map_frame(b, CapRights::read_write(), 0x20_1000)?;
    let c: cap::Granule = env.make()?;
    expect_error(space.io_space_map_frame(c, CapRights::read_write(), 0x20_1000), Error::DeleteFirst, &[])?;
    expect_error(
        space.io_space_map_frame(c, CapRights::read_write(), 0x20_2008),
        Error::AlignmentError,
        &[],
    )?;
    let wrong = cap::Granule::from_bits(slot::TCB.cap().bits());
    expect_error(
        space.io_space_map_frame(wrong, CapRights::read_write(), 0x20_2000),
        Error::InvalidCapability,
        &[1],
    )?;
    let far = space.io_space_map_frame(c, CapRights::read_write(), 0x4000_0000);
    expect_error(far, Error::FailedLookup, &[])?;
    if need(env, bootinfo::FEATURE_DMA_2M, "").is_ok() {
        let large: cap::LargePage = env.make()?;
        let crooked = space.io_space_map_frame(large, CapRights::read_write(), 0x50_0000);
        expect_error(crooked, Error::AlignmentError, &[])?;
        // Where a table is there is no place for a leaf.
        let table = space.io_space_map_frame(large, CapRights::read_write(), 0x20_0000);
        expect_error(table, Error::DeleteFirst, &[])?;
        space.io_space_map_frame(large, CapRights::read_write(), 0x40_0000)?;
    }
    Ok(())
}

fn requester_has_one_domain(env: &mut Env) -> Outcome {
    let space = io_space(env)?;
    let frame: cap::Granule = env.make()?;
    tables(env, space, 0x20_0000, frame)?;
    // The same domain for another requester, while it lives.
    let other = env.empty::<cap_type::IOSpace>()?;
    let data = IOSpaceCapData::new(DOMAIN, OTHER);
    let minted = at(other).mint(&at(slot::IO_SPACE.cap()), ALL, data.into_word());
    let table: cap::IOPageTable = env.make()?;
    let result = minted.and_then(|()| table.iopt_map(other, 0x20_0000));
    check!(result.is_err(), "a domain of two requesters");
    Ok(())
}

fn unmapped_io_frame_leaves_its_place(env: &mut Env) -> Outcome {
    let space = io_space(env)?;
    let (a, b): (cap::Granule, cap::Granule) = (env.make()?, env.make()?);
    tables(env, space, 0x20_0000, a)?;
    a.frame_unmap()?;
    b.frame_map_io(space, CapRights::read_write(), 0x20_0000)?;
    at(b).delete()?;
    a.frame_map_io(space, CapRights::read_write(), 0x20_0000)?;
    Ok(())
}

fn cleared_io_space_begins_anew(env: &mut Env) -> Outcome {
    let space = io_space(env)?;
    let frame: cap::Granule = env.make()?;
    let count = tables(env, space, 0x20_0000, frame)?;
    space.io_space_clear()?;
    frame.frame_unmap()?;
    let again: cap::Granule = env.make()?;
    check_eq!(tables(env, space, 0x20_0000, again)?, count, "number of tables");
    Ok(())
}

fn dma_fault_control_reports_nothing_at_rest(env: &mut Env) -> Outcome {
    need(env, bootinfo::FEATURE_DMA_FAULTS, "no DMA-fault reports")?;
    let slot = env.bootinfo.extensions().unwrap_or_default().dma_fault_slot;
    let control = cap::DmaFault::from_bits(slot);
    let notification: cap::Notification = env.make()?;
    control.dma_fault_set_notification(notification)?;
    check_eq!(control.dma_fault_read()?.requester, None, "requester");
    let wrong = cap::Notification::from_bits(slot::TCB.cap().bits());
    expect_error(control.dma_fault_set_notification(wrong), Error::InvalidCapability, &[1])
}
