// SPDX-License-Identifier: MIT OR Apache-2.0
//! Untyped memory: the checks of a retype in their order, the watermark, the reset.

use kernel_tests::env::{at, own_cnode};
use kernel_tests::{Env, Outcome, check, check_eq, expect_error, expect_reply};
use sel4::abi::label;
use sel4::init_thread::slot;
use sel4::{CapRights, Error, ObjectBlueprint, ObjectBlueprintX86, Word, cap, cap_type};

kernel_tests::checks! {
    retype_needs_six_words_and_a_cnode,
    retype_refuses_unknown_types,
    retype_limits_the_size,
    retype_refuses_objects_that_are_too_small,
    retype_root_must_be_a_cnode,
    retype_looks_up_the_destination,
    retype_offset_must_be_in_the_cnode,
    retype_makes_one_to_256_objects,
    retype_window_must_fit,
    retype_slots_must_be_empty,
    retype_tells_the_free_bytes,
    retype_checks_in_the_order_of_the_abi,
    retype_advances_a_watermark,
    retype_fails_as_a_whole,
    retype_after_last_child_begins_anew,
    retype_memory_is_zeroed,
    device_untyped_makes_frames_and_untypeds_only,
    device_frame_is_no_ipc_buffer,
    untyped_with_children_is_not_copied,
    revoke_of_untyped_takes_grandchildren,
}

const ENDPOINT: Word = 2;

fn retype(untyped: cap::Untyped, words: [Word; 6], root: Word) -> (sel4::MessageInfo, [Word; 4]) {
    untyped.invoke_raw(label::UNTYPED_RETYPE, &words, &[root])
}

fn retype_needs_six_words_and_a_cnode(env: &mut Env) -> Outcome {
    let slot = env.slot()? as Word;
    let words = [ENDPOINT, 0, 0, 0, slot, 1];
    let root = slot::CNODE.cap().bits();
    expect_reply(
        env.arena.invoke_raw(label::UNTYPED_RETYPE, &words[..5], &[root]),
        Error::TruncatedMessage,
        &[],
    )?;
    expect_reply(env.arena.invoke_raw(label::UNTYPED_RETYPE, &words, &[]), Error::TruncatedMessage, &[])?;
    expect_reply(env.arena.invoke_raw(label::CNODE_COPY, &words, &[root]), Error::IllegalOperation, &[])
}

fn retype_refuses_unknown_types(env: &mut Env) -> Outcome {
    let slot = env.slot()? as Word;
    for kind in [20, 63, 65, Word::MAX] {
        let reply = retype(env.arena, [kind, 0, 0, 0, slot, 1], slot::CNODE.cap().bits());
        expect_reply(reply, Error::InvalidArgument, &[0])?;
    }
    Ok(())
}

fn retype_limits_the_size(env: &mut Env) -> Outcome {
    let slot = env.slot()? as Word;
    // Untyped of 2^48 bytes, any type with 64 bits, a CNode whose slots take 2^48 bytes.
    for (kind, bits) in [(0, 48), (0, 64), (ENDPOINT, 64), (4, 43), (5, 48), (0, Word::MAX)] {
        let reply = retype(env.arena, [kind, bits, 0, 0, slot, 1], slot::CNODE.cap().bits());
        expect_reply(reply, Error::RangeError, &[0, 47])?;
    }
    Ok(())
}

fn retype_refuses_objects_that_are_too_small(env: &mut Env) -> Outcome {
    let slot = env.slot()? as Word;
    for (kind, bits) in [(4, 0), (0, 3), (0, 0), (5, 6)] {
        let reply = retype(env.arena, [kind, bits, 0, 0, slot, 1], slot::CNODE.cap().bits());
        expect_reply(reply, Error::InvalidArgument, &[1])?;
    }
    Ok(())
}

fn retype_root_must_be_a_cnode(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let slot = env.slot()? as Word;
    let reply = retype(env.arena, [ENDPOINT, 0, 0, 0, slot, 1], endpoint.bits());
    expect_reply(reply, Error::FailedLookup, &[0, 2, 0])
}

fn retype_looks_up_the_destination(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let cnode = env.cnode(2)?;
    let root = slot::CNODE.cap().bits();
    // The slot that is found holds no CNode: 64 bits are left.
    let reply = retype(env.arena, [ENDPOINT, 0, endpoint.bits(), 64, 0, 1], root);
    expect_reply(reply, Error::FailedLookup, &[0, 2, 64])?;
    // A CNode in a slot is a destination.
    let blueprint = ObjectBlueprint::Endpoint;
    env.arena.untyped_retype(&blueprint, &at(cnode), 3, 1)?;
    let made = cnode.absolute_cptr_from_bits_with_depth(3, 2);
    let copy = env.empty::<cap_type::Endpoint>()?;
    at(copy).copy(&made, CapRights::all())?;
    Ok(())
}

fn retype_offset_must_be_in_the_cnode(env: &mut Env) -> Outcome {
    let cnode = env.cnode(4)?;
    for offset in [16, Word::MAX] {
        let reply = retype(env.arena, [ENDPOINT, 0, 0, 0, offset, 1], cnode.bits());
        // Without a guard the CNode itself is the destination.
        expect_reply(reply, Error::RangeError, &[0, 15])?;
    }
    Ok(())
}

fn retype_makes_one_to_256_objects(env: &mut Env) -> Outcome {
    let cnode = env.cnode(9)?;
    for count in [0, 257, Word::MAX] {
        let reply = retype(env.arena, [ENDPOINT, 0, 0, 0, 0, count], cnode.bits());
        expect_reply(reply, Error::RangeError, &[1, 256])?;
    }
    env.arena.untyped_retype(&ObjectBlueprint::Endpoint, &cnode.absolute_cptr_for_self(), 256, 256)?;
    let last = env.empty::<cap_type::Endpoint>()?;
    at(last).move_(&cnode.absolute_cptr_from_bits_with_depth(511, 9))?;
    Ok(())
}

fn retype_window_must_fit(env: &mut Env) -> Outcome {
    let cnode = env.cnode(4)?;
    let reply = retype(env.arena, [ENDPOINT, 0, 0, 0, 10, 7], cnode.bits());
    expect_reply(reply, Error::RangeError, &[1, 6])
}

fn retype_slots_must_be_empty(env: &mut Env) -> Outcome {
    let cnode = env.cnode(4)?;
    let destination = cnode.absolute_cptr_for_self();
    env.arena.untyped_retype(&ObjectBlueprint::Endpoint, &destination, 5, 1)?;
    let again = env.arena.untyped_retype(&ObjectBlueprint::Endpoint, &destination, 3, 3);
    expect_error(again, Error::DeleteFirst, &[])?;
    env.arena.untyped_retype(&ObjectBlueprint::Endpoint, &destination, 3, 2)?;
    Ok(())
}

fn retype_tells_the_free_bytes(env: &mut Env) -> Outcome {
    let untyped = env.untyped(13)?;
    let slots = env.slots(4)?;
    let frame = ObjectBlueprint::Arch(ObjectBlueprintX86::_4k);
    expect_error(untyped.untyped_retype(&frame, &own_cnode(), slots, 3), Error::NotEnoughMemory, &[8192])?;
    untyped.untyped_retype(&frame, &own_cnode(), slots, 1)?;
    expect_error(
        untyped.untyped_retype(&frame, &own_cnode(), slots + 1, 2),
        Error::NotEnoughMemory,
        &[4096],
    )?;
    untyped.untyped_retype(&frame, &own_cnode(), slots + 1, 1)?;
    expect_error(untyped.untyped_retype(&frame, &own_cnode(), slots + 2, 1), Error::NotEnoughMemory, &[0])
}

fn retype_checks_in_the_order_of_the_abi(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let cnode = env.cnode(4)?;
    let untyped = env.untyped(4)?;
    let root = cnode.bits();
    // Type before size; size before smallness; smallness before lookup.
    expect_reply(retype(untyped, [99, 64, 0, 0, 99, 0], endpoint.bits()), Error::InvalidArgument, &[0])?;
    expect_reply(retype(untyped, [4, 64, 0, 0, 99, 0], endpoint.bits()), Error::RangeError, &[0, 47])?;
    expect_reply(retype(untyped, [4, 0, 0, 0, 99, 0], endpoint.bits()), Error::InvalidArgument, &[1])?;
    // Lookup before offset; offset before count; count before window; window before memory.
    expect_reply(retype(untyped, [1, 0, 0, 0, 99, 0], endpoint.bits()), Error::FailedLookup, &[0, 2, 0])?;
    expect_reply(retype(untyped, [1, 0, 0, 0, 99, 0], root), Error::RangeError, &[0, 15])?;
    expect_reply(retype(untyped, [1, 0, 0, 0, 9, 300], root), Error::RangeError, &[1, 256])?;
    expect_reply(retype(untyped, [1, 0, 0, 0, 9, 8], root), Error::RangeError, &[1, 7])?;
    env.arena.untyped_retype(&ObjectBlueprint::Endpoint, &cnode.absolute_cptr_for_self(), 10, 1)?;
    expect_reply(retype(untyped, [1, 0, 0, 0, 9, 7], root), Error::DeleteFirst, &[])?;
    expect_reply(retype(untyped, [1, 0, 0, 0, 9, 1], root), Error::NotEnoughMemory, &[16])
}

fn retype_advances_a_watermark(env: &mut Env) -> Outcome {
    let untyped = env.untyped(14)?;
    let slots = env.slots(4)?;
    let frame = ObjectBlueprint::Arch(ObjectBlueprintX86::_4k);
    let address = |slot: usize| cap::Granule::from_bits(slot as Word).frame_get_address();
    untyped.untyped_retype(&frame, &own_cnode(), slots, 1)?;
    // An endpoint takes the next 16 bytes, and the next frame the next page boundary.
    untyped.untyped_retype(&ObjectBlueprint::Endpoint, &own_cnode(), slots + 1, 1)?;
    untyped.untyped_retype(&frame, &own_cnode(), slots + 2, 1)?;
    check_eq!(address(slots + 2)? - address(slots)?, 8192, "distance of the frames");
    // The gap isn't used again while there are children.
    at(cap::Endpoint::from_bits(slots as Word + 1)).delete()?;
    untyped.untyped_retype(&frame, &own_cnode(), slots + 3, 1)?;
    check_eq!(address(slots + 3)? - address(slots)?, 12288, "distance of the frames");
    Ok(())
}

fn retype_fails_as_a_whole(env: &mut Env) -> Outcome {
    let untyped = env.untyped(13)?;
    let slots = env.slots(4)?;
    let frame = ObjectBlueprint::Arch(ObjectBlueprintX86::_4k);
    check!(untyped.untyped_retype(&frame, &own_cnode(), slots, 4).is_err(), "16 KiB out of 8 KiB");
    // Nothing was made: both frames still fit, into the same slots.
    untyped.untyped_retype(&frame, &own_cnode(), slots, 2)?;
    Ok(())
}

fn retype_after_last_child_begins_anew(env: &mut Env) -> Outcome {
    let untyped = env.untyped(13)?;
    let slots = env.slots(2)?;
    let frame = ObjectBlueprint::Arch(ObjectBlueprintX86::_4k);
    let first = cap::Granule::from_bits(slots as Word);
    let mut address = 0;
    for round in 0..4 {
        untyped.untyped_retype(&frame, &own_cnode(), slots, 2)?;
        if round == 0 {
            address = first.frame_get_address()?;
        }
        check_eq!(first.frame_get_address()?, address, "address of the first frame");
        if round % 2 == 0 {
            at(untyped).revoke()?;
        } else {
            at(first).delete()?;
            expect_error(
                untyped.untyped_retype(&frame, &own_cnode(), slots, 1),
                Error::NotEnoughMemory,
                &[0],
            )?;
            at(cap::Granule::from_bits(slots as Word + 1)).delete()?;
        }
    }
    Ok(())
}

fn retype_memory_is_zeroed(env: &mut Env) -> Outcome {
    let untyped = env.untyped(12)?;
    let page = super::vspace::Window::new(env)?;
    for round in 0..2 {
        let frame = env.empty::<cap_type::Granule>()?;
        let blueprint = ObjectBlueprint::Arch(ObjectBlueprintX86::_4k);
        untyped.untyped_retype(&blueprint, &own_cnode(), frame.bits() as usize, 1)?;
        page.map(frame, CapRights::read_write())?;
        for i in 0..512 {
            check_eq!(page.read(i), 0, "a word of new memory");
            page.write(i, 0xdead_beef_0000 + i as u64);
        }
        check_eq!(page.read(511), 0xdead_beef_01ff, "a word that was written");
        if round == 0 {
            at(untyped).revoke()?;
        }
    }
    Ok(())
}

/// A device untyped that nothing has been made of, of at least 2^`bits` bytes, smallest first.
fn device_untyped(env: &Env, bits: u8) -> Option<cap::Untyped> {
    env.bootinfo
        .untypeds()
        .filter(|(_, desc)| desc.is_device == 1 && desc.size_bits >= bits)
        .min_by_key(|(_, desc)| desc.size_bits)
        .map(|(slot, _)| slot.cap())
}

fn device_untyped_makes_frames_and_untypeds_only(env: &mut Env) -> Outcome {
    let Some(device) = device_untyped(env, 13) else {
        check!(false, "no device untyped of 8 KiB");
        return Ok(());
    };
    let slots = env.slots(2)?;
    for blueprint in
        [ObjectBlueprint::Endpoint, ObjectBlueprint::Tcb, ObjectBlueprint::CNode { size_bits: 2 }]
    {
        let result = device.untyped_retype(&blueprint, &own_cnode(), slots, 1);
        expect_error(result, Error::InvalidArgument, &[1])?;
    }
    let result = (|| {
        device.untyped_retype(&ObjectBlueprint::Untyped { size_bits: 12 }, &own_cnode(), slots, 1)?;
        device.untyped_retype(&ObjectBlueprint::Arch(ObjectBlueprintX86::_4k), &own_cnode(), slots + 1, 1)
    })();
    at(device).revoke()?;
    Ok(result?)
}

fn device_frame_is_no_ipc_buffer(env: &mut Env) -> Outcome {
    let Some(device) = device_untyped(env, 12) else {
        check!(false, "no device untyped of 4 KiB");
        return Ok(());
    };
    let frame = env.empty::<cap_type::Granule>()?;
    let blueprint = ObjectBlueprint::Arch(ObjectBlueprintX86::_4k);
    device.untyped_retype(&blueprint, &own_cnode(), frame.bits() as usize, 1)?;
    let tcb: cap::Tcb = env.make()?;
    let result = tcb.tcb_set_ipc_buffer(0x1000_0000, frame);
    at(device).revoke()?;
    expect_error(result, Error::IllegalOperation, &[])
}

fn untyped_with_children_is_not_copied(env: &mut Env) -> Outcome {
    let untyped = env.untyped(12)?;
    let copy = env.empty::<cap_type::Untyped>()?;
    let slot = env.slot()?;
    untyped.untyped_retype(&ObjectBlueprint::Endpoint, &own_cnode(), slot, 1)?;
    expect_error(at(copy).copy(&at(untyped), CapRights::all()), Error::RevokeFirst, &[])?;
    at(untyped).revoke()?;
    at(copy).copy(&at(untyped), CapRights::all())?;
    Ok(())
}

fn revoke_of_untyped_takes_grandchildren(env: &mut Env) -> Outcome {
    let untyped = env.untyped(16)?;
    let child = env.empty::<cap_type::Untyped>()?;
    let size = ObjectBlueprint::Untyped { size_bits: 14 };
    untyped.untyped_retype(&size, &own_cnode(), child.bits() as usize, 1)?;
    let endpoint = env.empty::<cap_type::Endpoint>()?;
    child.untyped_retype(&ObjectBlueprint::Endpoint, &own_cnode(), endpoint.bits() as usize, 1)?;
    let badged = env.mint(endpoint, CapRights::all(), 7)?;
    at(untyped).revoke()?;
    for gone in [child.upcast(), endpoint.upcast(), badged.upcast()] {
        let copy = env.empty::<cap_type::Unspecified>()?;
        expect_error(at(copy).copy(&at(gone), CapRights::all()), Error::FailedLookup, &[1, 2, 64])?;
    }
    Ok(())
}
