// SPDX-License-Identifier: MIT OR Apache-2.0
//! CNodes: operations on slots, guards, lookup failures with their exact words.

use kernel_tests::env::at;
use kernel_tests::{Env, Outcome, check, check_eq, expect_error, expect_reply};
use sel4::abi::label;
use sel4::abi::object::tag;
use sel4::init_thread::slot;
use sel4::{AbsoluteCPtr, CNodeCapData, CapFacts, CapRights, Error, cap, cap_type};

kernel_tests::checks! {
    copy_needs_an_empty_destination,
    copy_of_an_empty_slot_fails,
    cnode_operations_need_their_words,
    lookup_depth_is_1_to_64,
    lookup_guard_mismatch_tells_the_guard,
    lookup_depth_mismatch_tells_the_bits,
    lookup_stops_at_what_is_no_cnode,
    lookup_goes_through_levels_and_guards,
    lookup_root_must_be_a_cnode,
    mint_sets_a_badge_once,
    mint_reduces_rights,
    mint_sets_a_guard,
    move_empties_the_source,
    mutate_keeps_a_badge,
    mutate_sets_a_guard,
    rotate_moves_three_slots,
    rotate_swaps_two_slots,
    rotate_refuses_equal_slots,
    delete_of_an_empty_slot_succeeds,
    cnode_in_itself_can_be_deleted,
    control_capabilities_are_not_copied,
    describe_tells_what_a_slot_holds,
    describe_changes_nothing,
}

const ALL: CapRights = CapRights::all();

/// A CNode of 16 slots without a guard.
struct Small(cap::CNode);

impl Small {
    fn new(env: &mut Env) -> Outcome<Self> {
        Ok(Self(env.cnode(4)?))
    }
    fn slot(&self, i: u64) -> AbsoluteCPtr {
        self.0.absolute_cptr_from_bits_with_depth(i, 4)
    }
    /// Whether there is a capability in the slot.
    #[track_caller]
    fn is_empty(&self, env: &mut Env, i: u64) -> Outcome<bool> {
        let probe = env.empty::<cap_type::Unspecified>()?;
        Ok(at(probe).copy(&self.slot(i), ALL) == Err(Error::FailedLookup))
    }
}

/// The badge with which a notification is signalled through the capability.
fn badge(env: &mut Env, original: cap::Notification, slot: &AbsoluteCPtr) -> Outcome<u64> {
    let probe = env.empty::<cap_type::Notification>()?;
    at(probe).copy(slot, ALL)?;
    probe.signal();
    Ok(original.poll())
}

fn copy_needs_an_empty_destination(env: &mut Env) -> Outcome {
    let c = Small::new(env)?;
    let endpoint: cap::Endpoint = env.make()?;
    c.slot(3).copy(&at(endpoint), ALL)?;
    expect_error(c.slot(3).copy(&at(endpoint), ALL), Error::DeleteFirst, &[])?;
    expect_error(c.slot(3).mint(&at(endpoint), ALL, 1), Error::DeleteFirst, &[])?;
    expect_error(c.slot(3).move_(&at(endpoint)), Error::DeleteFirst, &[])?;
    expect_error(c.slot(3).mutate(&at(endpoint), 1), Error::DeleteFirst, &[])
}

fn copy_of_an_empty_slot_fails(env: &mut Env) -> Outcome {
    let c = Small::new(env)?;
    expect_error(c.slot(1).copy(&c.slot(2), ALL), Error::FailedLookup, &[1, 2, 4])?;
    expect_error(c.slot(1).mint(&c.slot(2), ALL, 1), Error::FailedLookup, &[1, 2, 4])?;
    expect_error(c.slot(1).move_(&c.slot(2)), Error::FailedLookup, &[1, 2, 4])?;
    expect_error(c.slot(1).mutate(&c.slot(2), 1), Error::FailedLookup, &[1, 2, 4])
}

fn cnode_operations_need_their_words(env: &mut Env) -> Outcome {
    let c = Small::new(env)?;
    let root = [c.0.bits()];
    let endpoint: cap::Endpoint = env.make()?;
    c.slot(2).copy(&at(endpoint), ALL)?;
    let words = [1, 4, 2, 4, 15, 0, 3, 4];
    for (label, length) in [
        (label::CNODE_REVOKE, 2),
        (label::CNODE_DELETE, 2),
        (label::CNODE_COPY, 5),
        (label::CNODE_MINT, 6),
        (label::CNODE_MOVE, 4),
        (label::CNODE_MUTATE, 5),
    ] {
        expect_reply(c.0.invoke_raw(label, &words[..length - 1], &root), Error::TruncatedMessage, &[])?;
    }
    expect_reply(c.0.invoke_raw(label::CNODE_COPY, &words[..5], &[]), Error::TruncatedMessage, &[])?;
    expect_reply(c.0.invoke_raw(label::CNODE_ROTATE, &words, &root), Error::TruncatedMessage, &[])?;
    expect_reply(c.0.invoke_raw(label::TCB_SUSPEND, &words, &root), Error::IllegalOperation, &[])
}

fn lookup_depth_is_1_to_64(env: &mut Env) -> Outcome {
    let c = Small::new(env)?;
    for depth in [0, 65, 200] {
        let slot = c.0.absolute_cptr_from_bits_with_depth(1, depth);
        expect_error(slot.delete(), Error::RangeError, &[1, 64])?;
    }
    // The depth is a byte.
    let endpoint: cap::Endpoint = env.make()?;
    let bad = c.0.absolute_cptr_from_bits_with_depth(1, 0);
    expect_error(at(endpoint).copy(&bad, ALL), Error::DeleteFirst, &[])?;
    let free = env.empty::<cap_type::Endpoint>()?;
    expect_error(at(free).copy(&bad, ALL), Error::RangeError, &[1, 64])
}

fn lookup_guard_mismatch_tells_the_guard(env: &mut Env) -> Outcome {
    let c = Small::new(env)?;
    let guarded = env.empty::<cap_type::CNode>()?;
    at(guarded).mint_guarded(&at(c.0), ALL, CNodeCapData::new(0b101, 3))?;
    let endpoint: cap::Endpoint = env.make()?;
    guarded.absolute_cptr_from_bits_with_depth(0b101_0110, 7).copy(&at(endpoint), ALL)?;
    check!(!c.is_empty(env, 6)?, "the guard led to another slot");
    let wrong = guarded.absolute_cptr_from_bits_with_depth(0b111_0110, 7);
    expect_error(wrong.delete(), Error::FailedLookup, &[0, 4, 7, 0b101])?;
    check_eq!(sel4::with_ipc_buffer(|b| b.msg_regs()[4]), 3, "size of the guard");
    // Fewer bits than the guard has.
    let short = guarded.absolute_cptr_from_bits_with_depth(0b10, 2);
    expect_error(short.delete(), Error::FailedLookup, &[0, 4, 2, 0b101])?;
    let free = env.empty::<cap_type::Endpoint>()?;
    expect_error(at(free).copy(&wrong, ALL), Error::FailedLookup, &[1, 4, 7, 0b101])
}

fn lookup_depth_mismatch_tells_the_bits(env: &mut Env) -> Outcome {
    let c = Small::new(env)?;
    // Two bits for a CNode that takes four.
    let short = c.0.absolute_cptr_from_bits_with_depth(1, 2);
    expect_error(short.delete(), Error::FailedLookup, &[0, 3, 2, 4])?;
    let guarded = env.empty::<cap_type::CNode>()?;
    at(guarded).mint_guarded(&at(c.0), ALL, CNodeCapData::skip(3))?;
    let short = guarded.absolute_cptr_from_bits_with_depth(1, 6);
    expect_error(short.delete(), Error::FailedLookup, &[0, 3, 6, 7])
}

fn lookup_stops_at_what_is_no_cnode(env: &mut Env) -> Outcome {
    let c = Small::new(env)?;
    let endpoint: cap::Endpoint = env.make()?;
    c.slot(5).copy(&at(endpoint), ALL)?;
    // Slot 5 is found with three bits left over.
    let long = c.0.absolute_cptr_from_bits_with_depth(0b0101 << 3 | 0b011, 7);
    expect_error(long.delete(), Error::FailedLookup, &[0, 3, 3, 0])?;
    let free = env.empty::<cap_type::Endpoint>()?;
    expect_error(at(free).copy(&long, ALL), Error::FailedLookup, &[1, 3, 3, 0])
}

fn lookup_goes_through_levels_and_guards(env: &mut Env) -> Outcome {
    let (outer, inner) = (Small::new(env)?, Small::new(env)?);
    outer.slot(9).mint_guarded(&at(inner.0), ALL, CNodeCapData::new(0b01, 2))?;
    let endpoint: cap::Endpoint = env.make()?;
    let deep = outer.0.absolute_cptr_from_bits_with_depth(0b1001 << 6 | 0b01 << 4 | 3, 10);
    deep.copy(&at(endpoint), ALL)?;
    check!(!inner.is_empty(env, 3)?, "the address led elsewhere");
    // A level short of the whole address is a slot, too: the inner CNode's.
    let copy = env.empty::<cap_type::CNode>()?;
    at(copy).copy(&outer.slot(9), ALL)?;
    let wrong = outer.0.absolute_cptr_from_bits_with_depth(0b1001 << 6 | 0b11 << 4 | 3, 10);
    expect_error(wrong.delete(), Error::FailedLookup, &[0, 4, 6, 0b01])
}

fn lookup_root_must_be_a_cnode(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let free = env.empty::<cap_type::Endpoint>()?;
    let no_root = cap::CNode::from_bits(endpoint.bits()).absolute_cptr_from_bits_with_depth(1, 4);
    expect_error(at(free).copy(&no_root, ALL), Error::FailedLookup, &[1, 1])
}

fn mint_sets_a_badge_once(env: &mut Env) -> Outcome {
    let c = Small::new(env)?;
    let notification: cap::Notification = env.make()?;
    c.slot(1).mint(&at(notification), ALL, 0x8000_0000_0000_1234)?;
    check_eq!(badge(env, notification, &c.slot(1))?, 0x8000_0000_0000_1234, "badge");
    expect_error(c.slot(2).mint(&c.slot(1), ALL, 0x99), Error::IllegalOperation, &[])?;
    // A copy keeps the badge.
    c.slot(2).copy(&c.slot(1), ALL)?;
    check_eq!(badge(env, notification, &c.slot(2))?, 0x8000_0000_0000_1234, "badge of the copy");
    Ok(())
}

fn mint_reduces_rights(env: &mut Env) -> Outcome {
    let notification: cap::Notification = env.make()?;
    let reader = env.copy(notification, CapRights::read_only())?;
    let refused = reader.invoke_raw(0, &[], &[]);
    expect_reply(refused, Error::InvalidCapability, &[0])?;
    // A copy can't win rights back.
    let again = env.copy(reader, ALL)?;
    expect_reply(again.invoke_raw(0, &[], &[]), Error::InvalidCapability, &[0])?;
    check_eq!(notification.poll(), 0, "the notification's word");
    let endpoint: cap::Endpoint = env.make()?;
    let reader = env.copy(endpoint, CapRights::read_only())?;
    expect_reply(reader.invoke_raw(0, &[], &[]), Error::InvalidCapability, &[0])
}

fn mint_sets_a_guard(env: &mut Env) -> Outcome {
    let c = Small::new(env)?;
    let endpoint: cap::Endpoint = env.make()?;
    c.slot(2).copy(&at(endpoint), ALL)?;
    let guarded = env.empty::<cap_type::CNode>()?;
    at(guarded).mint_guarded(&at(c.0), ALL, CNodeCapData::skip_high_bits(4))?;
    let copy = env.empty::<cap_type::Endpoint>()?;
    at(copy).copy(&guarded.absolute_cptr_from_bits_with_depth(2, 64), ALL)?;
    // Guard and index can't have more than 64 bits together.
    let free = env.empty::<cap_type::CNode>()?;
    let long = at(free).mint_guarded(&at(c.0), ALL, CNodeCapData::skip(61));
    expect_error(long, Error::IllegalOperation, &[])
}

fn move_empties_the_source(env: &mut Env) -> Outcome {
    let c = Small::new(env)?;
    let notification: cap::Notification = env.make()?;
    c.slot(1).mint(&at(notification), ALL, 5)?;
    c.slot(2).move_(&c.slot(1))?;
    check!(c.is_empty(env, 1)?, "the source is not empty");
    check_eq!(badge(env, notification, &c.slot(2))?, 5, "badge");
    // What was moved still derives from the original.
    at(notification).revoke()?;
    check!(c.is_empty(env, 2)?, "the moved capability outlived its parent");
    Ok(())
}

fn mutate_keeps_a_badge(env: &mut Env) -> Outcome {
    let c = Small::new(env)?;
    let notification: cap::Notification = env.make()?;
    c.slot(1).copy(&at(notification), ALL)?;
    // What may be derived already is not changed: neither set nor replaced.
    expect_error(c.slot(2).mutate(&c.slot(1), 77), Error::IllegalOperation, &[])?;
    check!(!c.is_empty(env, 1)? && c.is_empty(env, 2)?, "the capability moved");
    Ok(())
}

fn mutate_sets_a_guard(env: &mut Env) -> Outcome {
    let (c, inner) = (Small::new(env)?, Small::new(env)?);
    let endpoint: cap::Endpoint = env.make()?;
    inner.slot(6).copy(&at(endpoint), ALL)?;
    c.slot(1).copy(&at(inner.0), ALL)?;
    c.slot(2).mutate(&c.slot(1), CNodeCapData::new(0b10, 2).into_word())?;
    check!(c.is_empty(env, 1)?, "the source is not empty");
    let through = c.0.absolute_cptr_from_bits_with_depth(2 << 6 | 0b10 << 4 | 6, 10);
    let copy = env.empty::<cap_type::Endpoint>()?;
    at(copy).copy(&through, ALL)?;
    Ok(())
}

/// Puts two frames into slots 1 and 2, and returns their addresses.
fn two_frames(env: &mut Env, c: &Small) -> Outcome<(usize, usize)> {
    let (a, b): (cap::Granule, cap::Granule) = (env.make()?, env.make()?);
    c.slot(1).move_(&at(a))?;
    c.slot(2).move_(&at(b))?;
    Ok((address(env, &c.slot(1))?, address(env, &c.slot(2))?))
}

fn address(env: &mut Env, slot: &AbsoluteCPtr) -> Outcome<usize> {
    let probe = env.empty::<cap_type::Granule>()?;
    at(probe).copy(slot, ALL)?;
    Ok(probe.frame_get_address()?)
}

fn rotate_moves_three_slots(env: &mut Env) -> Outcome {
    let c = Small::new(env)?;
    let (first, second) = two_frames(env, &c)?;
    c.slot(3).rotate(0, &c.slot(2), 0, &c.slot(1))?;
    check!(c.is_empty(env, 1)?, "the source is not empty");
    check_eq!(address(env, &c.slot(3))?, second, "frame in the destination");
    check_eq!(address(env, &c.slot(2))?, first, "frame in the pivot");
    Ok(())
}

fn rotate_swaps_two_slots(env: &mut Env) -> Outcome {
    let c = Small::new(env)?;
    let (first, second) = two_frames(env, &c)?;
    c.slot(1).rotate(0, &c.slot(2), 0, &c.slot(1))?;
    check_eq!(address(env, &c.slot(1))?, second, "frame in the first");
    check_eq!(address(env, &c.slot(2))?, first, "frame in the second");
    Ok(())
}

fn rotate_refuses_equal_slots(env: &mut Env) -> Outcome {
    let c = Small::new(env)?;
    let endpoint: cap::Endpoint = env.make()?;
    c.slot(1).copy(&at(endpoint), ALL)?;
    c.slot(2).copy(&at(endpoint), ALL)?;
    expect_error(c.slot(3).rotate(0, &c.slot(1), 0, &c.slot(1)), Error::IllegalOperation, &[])?;
    expect_error(c.slot(1).rotate(0, &c.slot(1), 0, &c.slot(2)), Error::IllegalOperation, &[])?;
    expect_error(c.slot(2).rotate(0, &c.slot(1), 0, &c.slot(3)), Error::DeleteFirst, &[])?;
    expect_error(c.slot(3).rotate(0, &c.slot(1), 0, &c.slot(4)), Error::FailedLookup, &[1, 2, 4])?;
    expect_error(c.slot(3).rotate(0, &c.slot(4), 0, &c.slot(1)), Error::FailedLookup, &[0, 2, 4])
}

fn delete_of_an_empty_slot_succeeds(env: &mut Env) -> Outcome {
    let c = Small::new(env)?;
    c.slot(7).delete()?;
    c.slot(7).revoke()?;
    Ok(())
}

fn cnode_in_itself_can_be_deleted(env: &mut Env) -> Outcome {
    let (a, b) = (Small::new(env)?, Small::new(env)?);
    // A circle of two, each holding the other's last capability and one to itself.
    a.slot(1).copy(&at(a.0), ALL)?;
    b.slot(1).copy(&at(b.0), ALL)?;
    a.slot(2).copy(&at(b.0), ALL)?;
    b.slot(2).copy(&at(a.0), ALL)?;
    at(b.0).delete()?;
    at(a.0).delete()?;
    // The kernel lives, and the slots are empty.
    let copy = env.empty::<cap_type::CNode>()?;
    expect_error(at(copy).copy(&at(a.0), ALL), Error::FailedLookup, &[1, 2, 64])
}

fn control_capabilities_are_not_copied(env: &mut Env) -> Outcome {
    let free = env.empty::<cap_type::Unspecified>()?;
    expect_error(at(free).copy(&at(slot::IRQ_CONTROL.cap()), ALL), Error::IllegalOperation, &[])?;
    expect_error(at(free).copy(&at(slot::IO_PORT_CONTROL.cap()), ALL), Error::IllegalOperation, &[])?;
    // But moved.
    at(free).move_(&at(slot::IRQ_CONTROL.cap()))?;
    at(slot::IRQ_CONTROL.cap()).move_(&at(free))?;
    Ok(())
}

fn describe_tells_what_a_slot_holds(env: &mut Env) -> Outcome {
    let c = Small::new(env)?;
    check_eq!(c.slot(1).describe()?, CapFacts::default(), "an empty slot");
    let endpoint: cap::Endpoint = env.make()?;
    c.slot(1).mint(&at(endpoint), CapRights::write_only(), 77)?;
    let (first, badged) = (at(endpoint).describe()?, c.slot(1).describe()?);
    check_eq!((first.tag, first.rights, first.word), (tag::ENDPOINT, 15, 0), "an endpoint");
    check_eq!((badged.tag, badged.rights, badged.word), (tag::ENDPOINT, 1, 77), "a badged one");
    check_eq!(badged.address, first.address, "its address");
    let frame: cap::_4k = env.make()?;
    let facts = at(frame).describe()?;
    check_eq!((facts.tag, facts.size_bits, facts.device), (tag::FRAME, 12, false), "a frame");
    check_eq!(facts.address, frame.frame_get_address()? as u64, "its address");
    check_eq!(at(c.0).describe()?.size_bits, 4, "the radix of a CNode");
    check_eq!(at(slot::VSPACE.cap()).describe()?.tag, tag::PML4, "the address space");
    let beyond = c.0.absolute_cptr_from_bits_with_depth(1, 0);
    expect_error(beyond.describe(), Error::RangeError, &[1, 64])?;
    expect_reply(c.0.invoke_raw(label::CNODE_DESCRIBE, &[1], &[]), Error::TruncatedMessage, &[])
}

fn describe_changes_nothing(env: &mut Env) -> Outcome {
    let c = Small::new(env)?;
    let notification: cap::Notification = env.make()?;
    c.slot(2).mint(&at(notification), ALL, 5)?;
    let first = c.slot(2).describe()?;
    for _ in 0..10 {
        check_eq!(c.slot(2).describe()?, first, "the capability");
        c.slot(3).describe()?;
    }
    check!(c.is_empty(env, 3)?, "an empty slot was filled");
    check_eq!(badge(env, notification, &c.slot(2))?, 5, "the badge");
    at(notification).revoke()?;
    check!(c.is_empty(env, 2)?, "it does not derive any more");
    Ok(())
}
