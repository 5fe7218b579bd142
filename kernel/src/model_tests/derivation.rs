// SPDX-License-Identifier: MIT OR Apache-2.0
//! Derivation, deletion, retype and lookup, against a model that keeps explicit parents.

use std::collections::HashMap;
use std::vec::Vec;

use sel4_abi::message::CapRights;
use sel4_abi::object::ObjectType;

use super::Random;
use super::world::{SLOTS, UNTYPED_BITS, World};
use crate::arch::{ARENA_START, PENDING};
use crate::cap::Cap;
use crate::cdt::{self, SlotRef};
use crate::cspace;
use crate::delete;
use crate::error::SysError;
use crate::kernel::Kernel;
use crate::object::cnode::CNode;
use crate::object::tcb::slot;
use crate::transfer::{derive, insert_derived};

fn drain(
    k: &mut Kernel,
    slot: SlotRef,
    mut f: impl FnMut(&mut Kernel, SlotRef) -> Result<(), SysError>,
) -> u32 {
    let mut restarts = 0;
    while let Err(e) = f(k, slot) {
        assert_eq!(e, SysError::Preempted);
        restarts += 1;
        assert!(restarts < 1_000_000, "no progress");
    }
    restarts
}

#[test]
fn derivation_follows_a_model_with_explicit_parents() {
    for seed in 1..=20 {
        let mut w = World::new();
        let mut r = Random(seed);
        // Model: slot -> parent's slot, for slots of the root CNode.
        let mut parent: HashMap<u64, u64> = HashMap::new();
        let originals = |w: &World, s: u64| w.slot(s).is_original();
        for _ in 0..600 {
            let (a, b) = (1 + r.below(SLOTS - 1), 1 + r.below(SLOTS - 1));
            match r.below(6) {
                0 if w.slot(b).is_empty() => {
                    let ty = [ObjectType::Endpoint, ObjectType::Notification, ObjectType::Page4K]
                        [r.below(3) as usize];
                    if w.retype(0, ty, 0, b, 1).is_ok() {
                        parent.insert(b, 0);
                    }
                }
                1 | 2 if !w.slot(a).is_empty() && w.slot(b).is_empty() => {
                    let cap = derive(w.slot(a)).expect("these kinds can always be copied");
                    let badge = r.below(3);
                    let cap = match cap {
                        Cap::Endpoint { object, badge: 0, rights } => Cap::Endpoint { object, badge, rights },
                        other => other,
                    };
                    insert_derived(w.slot(b), cap, w.slot(a));
                    // The parent is the nearest original that covers it: of a badged capability the badged original.
                    let mut p = a;
                    while !originals(&w, p) || !cdt::is_parent(w.slot(p), w.slot(b)) {
                        p = parent[&p];
                    }
                    parent.insert(b, p);
                }
                3 if !w.slot(a).is_empty() && w.slot(b).is_empty() => {
                    cdt::move_to(w.slot(b), w.slot(a), w.slot(a).cap());
                    let p = parent.remove(&a).expect("every slot has a parent");
                    parent.insert(b, p);
                    parent.values_mut().filter(|p| **p == a).for_each(|p| *p = b);
                }
                4 if !w.slot(a).is_empty() => {
                    delete::delete(&mut w.k, w.root.slot(a)).expect("nothing is pending");
                    let p = parent.remove(&a).expect("every slot has a parent");
                    parent.values_mut().filter(|p| **p == a).for_each(|x| *x = p);
                }
                5 if !w.slot(a).is_empty() && r.below(4) == 0 => {
                    let mut gone = Vec::from([a]);
                    while let Some(p) = gone.pop() {
                        gone.extend(parent.iter().filter(|(_, v)| **v == p).map(|(k, _)| *k));
                        if p != a {
                            parent.remove(&p);
                        }
                    }
                    delete::revoke(&mut w.k, w.root.slot(a)).expect("nothing is pending");
                }
                _ => {}
            }
            let order = w.order();
            assert_eq!(order.len(), parent.len() + 1, "seed {seed}: capabilities and model differ in number");
            for s in 1..SLOTS {
                assert_eq!(w.slot(s).is_empty(), !parent.contains_key(&s), "seed {seed}: slot {s}");
            }
            for (child, p) in &parent {
                let at = |s: u64| order.iter().position(|x| *x == w.slot(s)).expect("in the tree");
                assert!(at(*p) < at(*child), "seed {seed}: a parent stands behind its child");
            }
        }
    }
}

#[test]
fn revoking_untyped_memory_takes_cnodes_in_circles_apart_whatever_the_preemption() {
    for seed in 1..=60 {
        let mut w = World::new();
        let mut r = Random(seed);
        let nodes = 2 + r.below(8);
        for n in 1..=nodes {
            let ty = if r.below(5) == 0 { ObjectType::Tcb } else { ObjectType::CNode };
            w.retype(0, ty, 4, n, 1).expect("there is room");
        }
        // Copies of everything into the slots of CNodes, at random, the node itself included.
        for _ in 0..40 {
            let (from, into) = (1 + r.below(nodes), 1 + r.below(nodes));
            if let Cap::CNode(c) = w.slot(into).cap() {
                let dest = c.slot(r.below(16));
                if dest.is_empty() {
                    let cap = derive(w.slot(from)).expect("can be copied");
                    insert_derived(dest, cap, w.slot(from));
                }
            }
        }
        // The capabilities outside go first, so that the circles hold themselves.
        for n in 1..=nodes {
            if r.below(3) != 0 {
                drain(&mut w.k, w.root.slot(n), delete::delete);
            }
        }
        PENDING.with(|p| p.set(r.below(2) == 0));
        drain(&mut w.k, w.root.slot(0), delete::revoke);
        PENDING.with(|p| p.set(false));
        assert_eq!(w.order().len(), 1, "seed {seed}: something outlived its untyped memory");
        assert!(w.k.dying.is_none(), "seed {seed}: the stack of deletions is not empty");
        w.retype(0, ObjectType::Untyped, u64::from(UNTYPED_BITS), 1, 1).expect("all memory is free again");
    }
}

#[test]
fn a_long_deletion_is_preempted_and_makes_progress() {
    let mut w = World::new();
    w.retype(0, ObjectType::CNode, 10, 1, 1).expect("there is room");
    w.retype(0, ObjectType::Endpoint, 0, 2, 1).expect("there is room");
    let Cap::CNode(c) = w.slot(1).cap() else { panic!("a CNode was made") };
    for i in 0..1024 {
        insert_derived(c.slot(i), derive(w.slot(2)).expect("can be copied"), w.slot(2));
    }
    PENDING.with(|p| p.set(true));
    let restarts = drain(&mut w.k, w.root.slot(1), delete::delete);
    PENDING.with(|p| p.set(false));
    assert!(restarts > 100, "only {restarts} preemptions");
    assert_eq!(w.order().len(), 2, "untyped memory and endpoint are left");
}

#[test]
fn a_preempted_retype_clears_everything_once_it_succeeds() {
    let mut w = World::new();
    let base = ARENA_START + (1 << UNTYPED_BITS);
    // SAFETY: the untyped memory of the world, which nobody else has.
    let memory =
        unsafe { core::slice::from_raw_parts_mut(crate::arch::phys_to_virt(base), 1 << UNTYPED_BITS) };
    memory.fill(0xa5);
    w.retype(0, ObjectType::Endpoint, 0, 1, 1).expect("there is room");
    PENDING.with(|p| p.set(true));
    let mut restarts = 0;
    while let Err(e) = w.retype(0, ObjectType::Page4K, 0, 2, 100) {
        assert_eq!(e, SysError::Preempted);
        restarts += 1;
    }
    PENDING.with(|p| p.set(false));
    assert!(restarts > 5, "only {restarts} preemptions");
    for i in 2..102 {
        let Cap::Frame(f) = w.slot(i).cap() else { panic!("slot {i} holds no frame") };
        let at = (f.paddr - base) as usize;
        assert!(memory[at..at + 4096].iter().all(|b| *b == 0), "frame {i} is not clear");
    }
    assert_eq!(memory[(1 << UNTYPED_BITS) - 1], 0xa5, "memory that nobody asked for was cleared");
}

#[test]
fn the_watermark_goes_back_with_the_last_child() {
    let mut w = World::new();
    w.retype(0, ObjectType::Page4K, 0, 1, 255).expect("there is room for 255 of 256");
    assert_eq!(w.retype(0, ObjectType::LargePage, 0, 1, 1), Err(SysError::DeleteFirst));
    for i in 1..255 {
        delete::delete(&mut w.k, w.root.slot(i)).expect("nothing is pending");
    }
    assert_eq!(w.retype(0, ObjectType::Page4K, 0, 1, 2), Err(SysError::NotEnoughMemory(4096)));
    delete::delete(&mut w.k, w.root.slot(255)).expect("nothing is pending");
    w.retype(0, ObjectType::Page4K, 0, 1, 2).expect("all memory is free again");
}

fn find(w: &mut World, root: Option<CNode>, address: u64) -> Result<SlotRef, sel4_abi::LookupFailure> {
    let found = cspace::resolve(&mut w.k, root, address, cspace::WORD_BITS).expect("nothing is pending");
    found.map(|found| found.slot)
}

#[test]
fn addresses_resolve_through_levels_and_guards() {
    use sel4_abi::LookupFailure as F;
    let mut w = World::new();
    w.retype(0, ObjectType::CNode, 4, 1, 1).expect("there is room");
    w.retype(0, ObjectType::Endpoint, 0, 2, 1).expect("there is room");
    let Cap::CNode(inner) = w.slot(1).cap() else { panic!("a CNode was made") };
    insert_derived(inner.slot(5), derive(w.slot(2)).expect("can be copied"), w.slot(2));
    let inner = inner.with_guard(4 | 0xa << 6).expect("guard and index fit");
    // 48 bits of guard, 8 of index; then 4 of guard and 4 of index.
    let outer = CNode { guard_bits: 48, guard: 0, ..w.root };
    w.slot(1).set(Cap::CNode(inner));
    let root = Some(outer);
    let found = find(&mut w, root, 0x01a5);
    assert_eq!(found, Ok(inner.slot(5)));
    assert_eq!(find(&mut w, root, 0x0200), Ok(w.slot(2)), "a capability ends the walk");
    let guard = F::GuardMismatch { bits_left: 8, guard: 0xa, guard_bits: 4 };
    assert_eq!(find(&mut w, root, 0x01b5), Err(guard));
    let top = F::GuardMismatch { bits_left: 64, guard: 0, guard_bits: 48 };
    assert_eq!(find(&mut w, root, 1 << 63), Err(top));
    let short = F::DepthMismatch { bits_left: 6, bits_found: 8 };
    assert_eq!(cspace::resolve(&mut w.k, root, 0x01a5 >> 2, 62).map(Result::err), Ok(Some(short)));
    assert_eq!(find(&mut w, None, 1), Err(F::InvalidRoot));
    let depth = cspace::target_slot(&mut w.k, Cap::CNode(outer), 0x0200, 64, true).err();
    assert_eq!(depth, Some(SysError::Lookup(true, F::DepthMismatch { bits_left: 8, bits_found: 0 })));
    assert_eq!(
        cspace::target_slot(&mut w.k, Cap::CNode(outer), 1, 0, false).err(),
        Some(SysError::Range(1, 64))
    );
}

/// CNodes with guards that lead to each other in any way, and addresses that go through them, or nearly.
#[test]
fn short_ways_to_a_slot_lead_where_the_long_one_does() {
    let (mut r, mut found, mut flat) = (Random(1), [0; 8], 0);
    for _ in 0..300 {
        let mut w = World::new();
        w.retype(0, ObjectType::Tcb, 0, 1, 1).expect("there is room");
        let Cap::Thread(tcb) = w.slot(1).cap() else { panic!("a thread was made") };
        for i in 0..4 {
            w.retype(0, ObjectType::CNode, 1 + r.below(6), 2 + i, 1).expect("there is room");
        }
        w.retype(0, ObjectType::Endpoint, 0, 8, 1).expect("there is room");
        let node = |w: &World, r: &mut Random| {
            let Cap::CNode(node) = w.slot(2 + r.below(4)).cap() else { panic!("a CNode was made") };
            let bits = if r.below(3) == 0 { 64 - u64::from(node.radix) } else { r.below(20) * r.below(2) };
            node.with_guard(bits | r.next() << 6).unwrap_or(node)
        };
        for i in 2..6 {
            let Cap::CNode(outer) = w.slot(i).cap() else { panic!("a CNode was made") };
            for at in 0..outer.len() {
                let inner = node(&w, &mut r);
                let cap = if r.below(5) == 0 { w.slot(8).cap() } else { Cap::CNode(inner) };
                outer.slot(at).set(cap);
            }
        }
        let root = node(&w, &mut r);
        tcb.slot(slot::CSPACE).set(Cap::CNode(root));
        flat += u32::from(root.guard_bits + root.radix == 64);
        for _ in 0..100 {
            let (mut address, mut left, mut at, mut levels) = (0, 64, root, 0);
            while u32::from(at.guard_bits + at.radix) <= left {
                left -= u32::from(at.guard_bits + at.radix);
                let index = r.below(at.len());
                let wrong = u64::from(at.guard_bits != 0 && r.below(30) == 0);
                address |= ((at.guard ^ wrong) << at.radix | index) << left;
                levels += 1;
                match at.slot(index).cap() {
                    Cap::CNode(next) => at = next,
                    _ => break,
                }
            }
            address |= if left == 0 { 0 } else { r.next() >> (64 - left) };
            let long = cspace::resolve(&mut w.k, Some(root), address, cspace::WORD_BITS);
            let long = long.map(|found| found.map(|found| found.slot));
            let short = cspace::lookup_slot(&mut w.k, &tcb, address);
            assert_eq!(short, long, "{address:#x}");
            found[levels.min(7)] += u32::from(matches!(short, Ok(Ok(_))));
        }
    }
    // One level and none, few and more.
    assert!(flat > 50 && found[1..].iter().all(|n| *n > 50), "flat roots {flat}, found by levels {found:?}");
}

#[test]
fn rights_only_shrink_when_a_capability_is_copied() {
    let mut w = World::new();
    w.retype(0, ObjectType::Page4K, 0, 1, 1).expect("there is room");
    let Cap::Frame(f) = w.slot(1).cap() else { panic!("a frame was made") };
    assert_eq!(f.rights, CapRights::READ_WRITE);
    let Cap::Frame(copy) = derive(w.slot(1)).expect("can be copied") else { panic!("a frame") };
    assert_eq!((copy.rights, copy.mapping), (f.rights, crate::cap::Mapping::None));
}

#[test]
fn a_long_circle_of_cnodes_is_taken_apart_though_it_is_interrupted_all_the_time() {
    const MANY: u64 = 4000;
    let mut w = World::new();
    let node = |w: &World, slot| match w.slot(slot).cap() {
        Cap::CNode(c) => c,
        other => panic!("no CNode: {other:?}"),
    };
    // Each but the last holds the next one's only capability, the last one that of the first.
    w.retype(0, ObjectType::CNode, 1, 2, 1).expect("there is room");
    let mut last = node(&w, 2);
    for _ in 1..MANY {
        w.retype(0, ObjectType::CNode, 1, 1, 1).expect("there is room");
        let next = node(&w, 1);
        cdt::move_to(last.slot(0), w.slot(1), w.slot(1).cap());
        last = next;
    }
    let entry = last.slot(0);
    cdt::move_to(entry, w.slot(2), w.slot(2).cap());
    PENDING.with(|p| p.set(true));
    // Down the circle, and through the stack for the first one's zombie. Then the slot is empty; the rest goes with the memory.
    let restarts = drain(&mut w.k, entry, delete::delete);
    assert!(restarts > MANY as u32 / 8, "{restarts} restarts");
    let slot = w.slot(0);
    drain(&mut w.k, slot, delete::revoke);
    assert_eq!(w.order().len(), 1, "only the memory remains");
    assert!(w.k.dying.is_none() && w.k.search.is_none());
}
