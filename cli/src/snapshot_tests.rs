// SPDX-License-Identifier: MIT OR Apache-2.0
//! A snapshot of a booted system (`tests/kernel/src/bin/snapshot.rs`), without its frames and device memory; and whatever isn't one.

use super::*;

const LOG: &str = include_str!("../fixtures/snapshot.log");
const BEGIN: &str = "[kernel] snapshot begins: slots of 32 bytes, 6 of a thread at 0x300\n";
const LINE: &str =
    "[kernel] snapshot slot 0x1000 endpoint 0x2000 rights rw size 0 extra 0 data 0x5 mapped - from -\n";

fn one(line: &str) -> Result<Snapshot, String> {
    read(&format!("{BEGIN}{line}[kernel] snapshot ends: 1 capabilities\n"))
}

#[test]
fn a_booted_systems_snapshot_is_read() {
    let snapshot = read(LOG).unwrap();
    assert_eq!(snapshot.names.values().collect::<Vec<_>>(), ["observed one"]);
    let objects = snapshot.objects();
    let seen = objects.iter().find(|object| object["holders"].to_string().contains("0x5ab")).unwrap();
    assert_eq!(seen["kind"], "endpoint");
    let holders = seen["holders"].as_array().unwrap();
    assert_eq!(holders.len(), 3);
    assert_eq!((&holders[0]["rights"], &holders[0]["data"]), (&json!("rwga"), &json!("0x0")));
    assert_eq!(holders[0]["from"]["kind"], "untyped");
    assert_eq!((&holders[2]["rights"], &holders[2]["slot"]), (&json!("w"), &json!("0x9")));
    assert_eq!(
        holders[2]["from"],
        json!({ "kind": "endpoint", "address": seen["address"], "data": "0x5ab" })
    );
    let thread = objects.iter().find(|object| object["name"] == "observed one").unwrap();
    let held = |kind: &str, slot: &str| {
        objects.iter().filter(|object| object["kind"] == kind).any(|object| {
            let mut holders = object["holders"].as_array().unwrap().iter();
            holders.any(|holder| holder["thread"] == thread["address"] && holder["slot"] == slot)
        })
    };
    assert!(held("cnode", "cspace") && held("vspace", "vspace") && !held("endpoint", "fault-handler"));
    // Every capability is in one place or other.
    let places = objects.iter().flat_map(|object| object["holders"].as_array().unwrap());
    assert_eq!(places.clone().count(), snapshot.capabilities.len());
    assert!(places.clone().all(|holder| holder.get("slot").is_some()));
}

#[test]
fn carriage_returns_and_other_lines_do_no_harm() {
    let log = format!("SeaBIOS\r\n{}[web] snapshot ends: 1\r\n", LOG.replace('\n', "\r\n[web] x\r\n"));
    assert_eq!(read(&log), read(LOG));
}

#[test]
fn the_last_one_counts() {
    let two = format!("{BEGIN}[kernel] snapshot ends: 0 capabilities\n{LOG}");
    assert_eq!(read(&two), read(LOG));
    let two = format!("{LOG}{BEGIN}[kernel] snapshot ends: 0 capabilities\n");
    assert_eq!(read(&two).unwrap().capabilities, []);
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let error = |line: &str| one(line).unwrap_err();
    let with = |from: &str, to: &str| error(&LINE.replace(from, to));
    assert!(one(LINE).is_ok());
    assert_eq!(with("rights rw", "right rw"), "line 2: `rights` is expected, not `right`");
    assert_eq!(with(" rw ", " rx "), "line 2: rights are letters of `rwga` or `-`, not `rx`");
    assert_eq!(with("0x2000", "2000"), "line 2: the object is a number like 0x12, not `2000`");
    assert_eq!(with("size 0", "size z"), "line 2: the size is a number, not `z`");
    assert_eq!(
        with("mapped -", "mapped vspace:1"),
        "line 2: a mapping is like `vspace:3:0x1000`, not `vspace:1`"
    );
    assert_eq!(with("from -", ""), "line 2: `from` is missing");
    assert_eq!(with("from -", "from - x"), "line 2: nothing more is expected, but there is `x`");
    assert_eq!(with("from -", "from 0x40"), "line 3: slot 0x1000 is derived from 0x40, which isn't there");
    assert_eq!(with("slot", "slut"), "line 2: `slot`, `name` or `ends:` is expected, not `slut`");
    assert_eq!(error(""), "line 2: 1 capabilities are announced, 0 are there: lines are missing");
    let twice = format!("{BEGIN}{LINE}{LINE}[kernel] snapshot ends: 2 capabilities");
    assert_eq!(read(&twice).unwrap_err(), "line 4: slot 0x1000 is there twice");
    assert_eq!(read(BEGIN).unwrap_err(), "line 1: the snapshot that begins here has no end");
    assert_eq!(
        read(LINE).unwrap_err(),
        "line 1: a piece of a snapshot, and no line `snapshot begins` before it"
    );
    let none = read("[web] http: listening\n").unwrap_err();
    assert!(none.starts_with("there is no snapshot in it: "), "{none}");
    let begin = BEGIN.replace("32", "0");
    assert_eq!(read(&begin).unwrap_err(), "line 1: slots of 0 bytes, 6 of a thread at 0x300, can't be");
}

#[test]
fn a_log_that_is_cut_or_spoilt_anywhere_is_no_panic() {
    for end in (0..LOG.len()).step_by(3) {
        if let Ok(snapshot) = read(&LOG[..end]) {
            let _ = snapshot.objects();
        }
        let mut spoilt = LOG.as_bytes().to_vec();
        spoilt[end] ^= 1 << (end % 7);
        if let Ok(snapshot) = read(&String::from_utf8_lossy(&spoilt)) {
            let _ = snapshot.objects();
        }
    }
}

#[test]
fn numbers_beyond_everything_are_no_panic() {
    for kind in ["cnode", "thread", "untyped"] {
        for (object, size) in
            [("0xffffffffffffffff", "63"), ("0x8000000000000000", "64"), ("0x0", "4294967295")]
        {
            let line = LINE.replace("endpoint 0x2000", &format!("{kind} {object}"));
            let _ = one(&line.replace("size 0", &format!("size {size}"))).unwrap().objects();
        }
    }
}
