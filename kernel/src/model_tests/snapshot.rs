// SPDX-License-Identifier: MIT OR Apache-2.0
//! The capability graph as text: every capability once, with what it was derived from, whatever user level's names are.

use std::string::String;
use std::vec::Vec;

use sel4_abi::message::CapRights;
use sel4_abi::object::ObjectType;
use sel4_abi::{label, syscall as number};

use super::machine::{Call, Machine, Thread};
use super::world::World;
use crate::cap::Cap;
use crate::cdt;
use crate::object::tcb::{Tcb, slot};
use crate::ptr::Ptr;
use crate::snapshot;
use crate::threads;
use crate::transfer::derive;

/// A world with a thread in slot 1, whose capability space is the world's CNode.
fn world() -> (World, Ptr<Tcb>) {
    let mut w = World::new();
    w.retype(0, ObjectType::Tcb, 0, 1, 1).unwrap();
    let Cap::Thread(tcb) = w.slot(1).cap() else { panic!("no thread") };
    tcb.slot(slot::CSPACE).set(Cap::CNode(w.root));
    (w, tcb)
}

fn lines(tcb: Ptr<Tcb>) -> Vec<String> {
    let mut out = String::new();
    snapshot::write(&mut out, tcb).unwrap();
    out.lines().map(String::from).collect()
}

/// Slot and origin of each capability.
fn graph(lines: &[String]) -> Vec<(String, String)> {
    let slots = lines.iter().filter(|line| line.starts_with("[kernel] snapshot slot "));
    slots
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[3].into(), words[words.len() - 1].into())
        })
        .collect()
}

#[test]
fn every_capability_is_there_once_with_its_origin() {
    let (mut w, tcb) = world();
    w.retype(0, ObjectType::Untyped, 12, 2, 1).unwrap();
    w.retype(2, ObjectType::Endpoint, 0, 3, 2).unwrap();
    let copy = derive(w.slot(3)).unwrap();
    cdt::insert(w.slot(5), copy, w.slot(3), false);
    let at = |n: u64| std::format!("{:#x}", w.slot(n).paddr());
    let mut expected: Vec<(String, String)> =
        [(1, 0), (2, 0), (3, 2), (4, 2), (5, 3)].map(|(slot, from)| (at(slot), at(from))).into();
    expected.push((at(0), "-".into()));
    // Where the first of the list is doesn't matter.
    for moved in [false, true] {
        if moved {
            let place = tcb.slot(slot::IPC_BUFFER);
            cdt::move_to(place, w.slot(0), w.slot(0).cap());
            let new = std::format!("{:#x}", place.paddr());
            for (slot, from) in &mut expected {
                for word in [slot, from] {
                    if *word == at(0) {
                        word.clone_from(&new);
                    }
                }
            }
        }
        let lines = lines(tcb);
        let mut found = graph(&lines);
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        assert_eq!(lines.last().unwrap(), "[kernel] snapshot ends: 6 capabilities");
    }
}

#[test]
fn every_thread_is_told_once_with_what_it_does() {
    let mut m = Machine::new();
    let (a, b, c) = (m.spawn(5), m.spawn(4), m.spawn(3));
    m.copy(a, b.slot, CapRights::ALL);
    let endpoint = m.make(ObjectType::Endpoint, 0);
    m.invoke(a, c.sc, label::SCHED_CONTEXT_UNBIND, &[], &[]).unwrap();
    m.syscall(a, &Call { number: number::WAIT, target: endpoint, ..Call::default() });
    a.tcb.name[0].set(b'A');
    let mut out = String::new();
    threads::write(&mut out, &mut m.w.k, a.tcb).unwrap();
    let line = |t: Thread, name: &str, rest: &str| {
        let (at, rip) = (t.tcb.paddr(), t.tcb.context.rip.get());
        let (before, after) = rest.split_once('@').unwrap();
        std::format!("[kernel] thread {at:#x} {name}: {before}, processor 0, domain 0, at {rip:#x}{after}")
    };
    let mut expected = [
        line(a, "A", "BlockedOnReceive, priority 5@"),
        line(b, "", "Running, priority 4@, runs"),
        line(c, "", "Running, priority 3@, without time"),
    ];
    let mut found: Vec<_> = out.lines().map(String::from).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_name_is_no_line_of_its_own() {
    let (_world, tcb) = world();
    for (cell, byte) in tcb.name.iter().zip(*b"a b\n[kernel]\x1b\xff\"x") {
        cell.set(byte);
    }
    let names: Vec<_> = lines(tcb).into_iter().filter(|line| line.contains(" name ")).collect();
    assert_eq!(names, [std::format!("[kernel] snapshot name {:#x} a b?[kernel]??\"x", tcb.paddr())]);
}
