// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames in I/O spaces: what a device reaches, and that it reaches nothing that was taken away.

use kernel_tests::env::own_cnode;
use kernel_tests::{Env, Outcome, check, check_eq, expect_error, expect_reply};
use sel4::abi::label;
use sel4::init_thread::slot;
use sel4::{CapRights, CapTypeForObjectOfFixedSize, Error, cap, cap_type};

use crate::lab::{DOMAIN, IOVA, Lab, RW, delete, reason, revoke};

kernel_tests::checks! {
    dma_goes_out_and_comes_back,
    frames_are_checked,
    addresses_are_checked,
    a_frame_is_at_one_place,
    a_mapping_has_the_rights_of_both,
    an_unmapped_frame_is_out_of_reach,
    a_deleted_frame_is_out_of_reach,
    revoked_memory_is_out_of_reach,
    a_cleared_space_is_out_of_reach,
    an_unmapped_table_hides_its_pages_until_it_is_back,
    a_page_taken_from_an_unmapped_table_does_not_come_back,
    an_unmapped_table_is_empty_elsewhere,
    a_table_comes_back_empty,
    the_other_copy_stays_mapped,
    a_stale_capability_takes_nothing_away,
    large_pages_work,
    the_devices_are_apart,
}

fn dma_goes_out_and_comes_back(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    lab.mapped(env)?;
    for i in 0..128 {
        lab.set_word(i, 0x1111_0000 + i as u64);
    }
    lab.edu.read_memory(env, IOVA, 1024)?;
    lab.edu.write_memory(env, IOVA + 2048, 1024)?;
    for i in 0..128 {
        check_eq!(lab.word(256 + i), 0x1111_0000 + i as u64, "a word that went out and came back");
    }
    lab.no_fault()
}

fn frames_are_checked(env: &mut Env) -> Outcome {
    let mut lab = Lab::new(env)?;
    let io_space = lab.space_with_tables(env, IOVA)?;
    let map = |frame| io_space.io_space_map_frame::<cap_type::Granule>(frame, RW, IOVA as usize);
    expect_error(map(cap::Granule::from_bits(io_space.bits())), Error::InvalidCapability, &[1])?;
    // The capability that is mapped for the processor.
    expect_error(map(lab.page), Error::InvalidCapability, &[1])?;
    expect_error(lab.page.frame_map_io(io_space, RW, IOVA as usize), Error::InvalidCapability, &[0])?;
    // The timer block's.
    let registers = lab.devices.frame(env, 0xfed0_0000)?;
    expect_error(map(registers), Error::InvalidCapability, &[1])?;
    expect_error(registers.frame_map_io(io_space, RW, IOVA as usize), Error::InvalidCapability, &[0])?;
    let large: cap::LargePage = env.make()?;
    expect_error(large.frame_map_io(io_space, RW, 0), Error::InvalidCapability, &[0])?;
    let page = lab.page_copy(env)?;
    let master = slot::IO_SPACE.cap();
    expect_error(master.io_space_map_frame(page, RW, 0), Error::InvalidCapability, &[0])?;
    expect_error(page.frame_map_io(master, RW, 0), Error::InvalidCapability, &[1])?;
    expect_error(master.io_space_clear(), Error::IllegalOperation, &[])?;
    let short = io_space.invoke_raw(label::IO_SPACE_MAP_FRAME, &[3], &[page.bits()]);
    expect_reply(short, Error::TruncatedMessage, &[])?;
    let bare = io_space.invoke_raw(label::IO_SPACE_MAP_FRAME, &[3, IOVA], &[]);
    expect_reply(bare, Error::TruncatedMessage, &[])?;
    expect_reply(io_space.invoke_raw(1, &[], &[]), Error::IllegalOperation, &[])
}

fn addresses_are_checked(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let io_space = lab.space_with_tables(env, IOVA)?;
    let page = lab.page_copy(env)?;
    let map = |rights, iova| io_space.io_space_map_frame(page, rights, iova);
    expect_error(map(CapRights::none(), IOVA as usize), Error::InvalidArgument, &[0])?;
    expect_error(map(RW, IOVA as usize + 8), Error::AlignmentError, &[])?;
    for beyond in [1 << 48, 1 << 63, usize::MAX & !0xfff] {
        expect_error(map(RW, beyond), Error::InvalidArgument, &[1])?;
    }
    map(RW, IOVA as usize)?;
    let second: cap::Granule = env.make()?;
    let occupied = io_space.io_space_map_frame(second, RW, IOVA as usize);
    expect_error(occupied, Error::DeleteFirst, &[])?;
    expect_error(second.frame_map_io(io_space, RW, IOVA as usize), Error::DeleteFirst, &[])
}

fn a_frame_is_at_one_place(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let (io_space, copy) = lab.mapped(env)?;
    let again = io_space.io_space_map_frame(copy, RW, IOVA as usize + 0x1000);
    expect_error(again, Error::InvalidCapability, &[1])?;
    let second = lab.page_copy(env)?;
    io_space.io_space_map_frame(second, RW, IOVA as usize + 0x1000)?;
    Ok(())
}

fn a_mapping_has_the_rights_of_both(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let io_space = lab.space_with_tables(env, IOVA)?;
    let weak = env.copy(lab.page, CapRights::read_only())?;
    io_space.io_space_map_frame(weak, RW, IOVA as usize)?;
    // Written before it was read: an emulated unit reports no fault if it has the page's reading cached.
    lab.expect_refusal(env, IOVA, reason::NO_WRITE)?;
    let page = lab.page_copy(env)?;
    io_space.io_space_map_frame(page, CapRights::write_only(), IOVA as usize + 0x1000)?;
    lab.edu.read_memory(env, IOVA + 0x1000, 64)?;
    let fault = lab.fault(env)?;
    check_eq!((fault.read, fault.reason), (true, reason::NO_READ), "the fault");
    lab.edu.read_memory(env, IOVA, 64)?;
    lab.no_fault()
}

/// Maps the page, uses it so that the unit has it cached, takes it away, and sees that it is gone.
fn taken_away(
    env: &mut Env,
    take: fn(&mut Env, &Lab, cap::IOSpace, cap::Granule) -> Outcome<u64>,
) -> Outcome {
    let lab = Lab::new(env)?;
    let (io_space, copy) = lab.mapped(env)?;
    lab.edu.read_memory(env, IOVA, 64)?;
    lab.edu.write_memory(env, IOVA, 64)?;
    lab.no_fault()?;
    let reason = take(env, &lab, io_space, copy)?;
    lab.expect_refusal(env, IOVA, reason)
}

fn an_unmapped_frame_is_out_of_reach(env: &mut Env) -> Outcome {
    taken_away(env, |_, _, _, copy| {
        copy.frame_unmap()?;
        Ok(reason::NO_WRITE)
    })
}

fn a_deleted_frame_is_out_of_reach(env: &mut Env) -> Outcome {
    taken_away(env, |_, _, _, copy| {
        delete(copy)?;
        Ok(reason::NO_WRITE)
    })
}

fn a_cleared_space_is_out_of_reach(env: &mut Env) -> Outcome {
    taken_away(env, |_, _, io_space, _| {
        io_space.io_space_clear()?;
        Ok(reason::NO_CONTEXT)
    })
}

fn revoked_memory_is_out_of_reach(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let io_space = lab.space_with_tables(env, IOVA)?;
    // A frame of an untyped of its own, which is then used for something else.
    let memory = env.untyped(12)?;
    let retype = |slot: usize| memory.untyped_retype(&cap_type::Granule::BLUEPRINT, &own_cnode(), slot, 1);
    let frame = env.empty::<cap_type::Granule>()?;
    retype(frame.bits() as usize)?;
    io_space.io_space_map_frame(frame, RW, IOVA as usize)?;
    lab.edu.read_memory(env, IOVA, 64)?;
    lab.edu.write_memory(env, IOVA, 64)?;
    lab.no_fault()?;
    let old = frame.frame_get_address()?;
    revoke(memory)?;
    retype(frame.bits() as usize)?;
    check_eq!(frame.frame_get_address()?, old, "the address of the memory's new use");
    lab.set_word(0, 0x5555);
    lab.edu.write_memory(env, IOVA, 64)?;
    let fault = lab.fault(env)?;
    check_eq!((fault.iova, fault.reason), (IOVA, reason::NO_WRITE), "the fault");
    Ok(())
}

/// The page at [`IOVA`] of the first device, and the last of the tables that lead there, after a transfer.
fn with_last_table(env: &mut Env, lab: &Lab) -> Outcome<(cap::IOSpace, cap::IOPageTable, cap::Granule)> {
    let io_space = lab.io_space(env, lab.edu.requester(), DOMAIN)?;
    let levels = env.bootinfo.io_pt_levels().unwrap_or(0);
    let mut last: cap::IOPageTable = env.make()?;
    last.iopt_map(io_space, IOVA as usize)?;
    for _ in 1..levels {
        last = env.make()?;
        last.iopt_map(io_space, IOVA as usize)?;
    }
    let page = lab.page_copy(env)?;
    io_space.io_space_map_frame(page, RW, IOVA as usize)?;
    lab.edu.write_memory(env, IOVA, 64)?;
    lab.no_fault()?;
    Ok((io_space, last, page))
}

fn an_unmapped_table_hides_its_pages_until_it_is_back(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let (io_space, last, _) = with_last_table(env, &lab)?;
    last.iopt_unmap()?;
    lab.expect_refusal(env, IOVA, reason::NO_WRITE)?;
    let second: cap::Granule = env.make()?;
    expect_error(second.frame_map_io(io_space, RW, IOVA as usize), Error::FailedLookup, &[0, 2, 21])?;
    last.iopt_unmap()?;
    last.iopt_map(io_space, IOVA as usize)?;
    lab.edu.write_memory(env, IOVA, 64)?;
    lab.no_fault()?;
    expect_error(second.frame_map_io(io_space, RW, IOVA as usize), Error::DeleteFirst, &[])
}

fn a_page_taken_from_an_unmapped_table_does_not_come_back(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let (io_space, last, page) = with_last_table(env, &lab)?;
    last.iopt_unmap()?;
    delete(page)?;
    last.iopt_map(io_space, IOVA as usize)?;
    lab.expect_refusal(env, IOVA, reason::NO_WRITE)
}

fn an_unmapped_table_is_empty_elsewhere(env: &mut Env) -> Outcome {
    const ELSEWHERE: u64 = IOVA + (1 << 21);
    let lab = Lab::new(env)?;
    let (io_space, last, page) = with_last_table(env, &lab)?;
    last.iopt_unmap()?;
    last.iopt_map(io_space, ELSEWHERE as usize)?;
    lab.expect_refusal(env, ELSEWHERE, reason::NO_WRITE)?;
    lab.expect_refusal(env, IOVA, reason::NO_WRITE)?;
    // Its old place is free for another, in which nothing of the first one is.
    let other: cap::IOPageTable = env.make()?;
    other.iopt_map(io_space, IOVA as usize)?;
    lab.expect_refusal(env, IOVA, reason::NO_WRITE)?;
    page.frame_unmap()?;
    io_space.io_space_map_frame(page, RW, IOVA as usize)?;
    // And where another has been meanwhile, what was there before comes back empty.
    other.iopt_unmap()?;
    delete(last)?;
    let third: cap::IOPageTable = env.make()?;
    third.iopt_map(io_space, IOVA as usize)?;
    delete(third)?;
    other.iopt_map(io_space, IOVA as usize)?;
    lab.expect_refusal(env, IOVA, reason::NO_WRITE)
}

fn a_table_comes_back_empty(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let first = lab.io_space(env, lab.edu.requester(), DOMAIN)?;
    let levels = env.bootinfo.io_pt_levels().unwrap_or(0);
    let root: cap::IOPageTable = env.make()?;
    root.iopt_map(first, IOVA as usize)?;
    for _ in 1..levels {
        env.make::<cap_type::IOPageTable>()?.iopt_map(first, IOVA as usize)?;
    }
    let page = lab.page_copy(env)?;
    first.io_space_map_frame(page, RW, IOVA as usize)?;
    root.iopt_unmap()?;
    lab.expect_refusal(env, IOVA, reason::NO_CONTEXT)?;
    // The other device's space begins with the same table, and finds nothing of the first one's in it.
    let second = lab.io_space(env, lab.other.requester(), DOMAIN)?;
    root.iopt_map(second, IOVA as usize)?;
    lab.set_word(0, 0x7777);
    lab.other.write_memory(env, IOVA, 64)?;
    let fault = lab.fault(env)?;
    check_eq!(fault.requester, Some(lab.other.requester()), "the fault's requester");
    check_eq!(lab.word(0), 0x7777, "memory after refused DMA");
    Ok(())
}

fn the_other_copy_stays_mapped(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let (io_space, copy) = lab.mapped(env)?;
    let second = lab.page_copy(env)?;
    io_space.io_space_map_frame(second, RW, IOVA as usize + 0x3000)?;
    delete(copy)?;
    lab.set_word(0, 0x4444);
    lab.edu.read_memory(env, IOVA + 0x3000, 64)?;
    lab.edu.write_memory(env, IOVA + 0x3000 + 64, 64)?;
    check_eq!(lab.word(8), 0x4444, "the word by the other copy");
    lab.no_fault()?;
    lab.expect_refusal(env, IOVA, reason::NO_WRITE)
}

fn a_stale_capability_takes_nothing_away(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let (io_space, stale) = lab.mapped(env)?;
    io_space.io_space_clear()?;
    // The same address of the same requester now leads to another frame.
    let next = lab.space_with_tables(env, IOVA)?;
    let frame: cap::Granule = env.make()?;
    next.io_space_map_frame(frame, RW, IOVA as usize)?;
    delete(stale)?;
    lab.edu.read_memory(env, IOVA, 64)?;
    lab.no_fault()
}

fn large_pages_work(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    let io_space = lab.io_space(env, lab.edu.requester(), DOMAIN)?;
    let large: cap::LargePage = env.make()?;
    let iova = 0x4020_0000;
    // All tables but the last level's.
    while let Err(error) = io_space.io_space_map_frame(large, RW, iova) {
        check_eq!(error, Error::FailedLookup, "the error");
        env.make::<cap_type::IOPageTable>()?.iopt_map(io_space, iova)?;
    }
    let small: cap::Granule = env.make()?;
    expect_error(io_space.io_space_map_frame(small, RW, iova + 0x5000), Error::DeleteFirst, &[])?;
    let odd: cap::LargePage = env.make()?;
    expect_error(io_space.io_space_map_frame(odd, RW, iova + 0x1000), Error::AlignmentError, &[])?;
    let end = iova as u64 + 0x1f_f000;
    lab.edu.read_memory(env, end, 4000)?;
    lab.edu.write_memory(env, end, 4000)?;
    lab.no_fault()?;
    large.frame_unmap()?;
    lab.expect_refusal(env, end, reason::NO_WRITE)
}

fn the_devices_are_apart(env: &mut Env) -> Outcome {
    let lab = Lab::new(env)?;
    lab.mapped(env)?;
    lab.set_word(0, 0x3333);
    lab.other.write_memory(env, IOVA, 64)?;
    let fault = lab.fault(env)?;
    check_eq!(fault.requester, Some(lab.other.requester()), "the fault's requester");
    check!(lab.word(0) == 0x3333, "the other device wrote the page");
    // And the first one reaches the page only where it is mapped.
    lab.expect_refusal(env, lab.paddr, reason::NO_WRITE)
}
