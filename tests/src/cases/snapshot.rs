// SPDX-License-Identifier: MIT OR Apache-2.0
//! The debug build: the capability graph that its kernel prints, read as `postern inspect` reads it; and nothing of that build in the other.

use std::fs;

use postern_cli::inspect;
use postern_cli::qemu;
use serde_json::{Value, json};

use super::kernel::boot;
use crate::build;
use crate::checks;
use crate::runner::{Case, Outcome};

pub(super) const CASES: &[Case] = &[
    Case::new("snapshot::inspect_shows_who_holds_what_and_from_whom", graph),
    Case::new("snapshot::the_release_kernel_has_nothing_of_the_debug_build", release),
];

const DEBUG: &str = "postern-kernel/debug-syscalls";
/// What `tests/kernel/src/bin/snapshot.rs` gives its endpoint and its thread.
const BADGE: &str = "0x5ab";
const NAME: &str = "observed one";

fn graph() -> Outcome {
    boot(qemu::Machine::default().arguments(), "snapshot", &[DEBUG], &[], |machine| {
        checks::judge(&machine.serial, 1)?;
        let file = std::env::temp_dir().join(format!("postern-{}-snapshot.log", std::process::id()));
        fs::write(&file, machine.lines().join("\r\n")).map_err(|error| error.to_string())?;
        let objects = inspect::from_log(&file);
        let _ = fs::remove_file(&file);
        let places = machine.expect_anywhere("slots: endpoint ")?;
        for thread in
            [" observed one: Inactive, priority 0,", ": Running, priority 100, processor 0, domain 0, at 0x"]
        {
            let line = machine.expect_anywhere(thread)?;
            if !line.starts_with("[kernel] thread 0x") {
                return Err(format!("no line of a thread: {line}"));
            }
        }
        judge(&objects?, &places).map_err(|error| format!("{error}\n{places}"))
    })
}

/// The object that `wanted` accepts, which must be the only one.
fn only<'a>(objects: &'a [Value], what: &str, wanted: impl Fn(&Value) -> bool) -> Result<&'a Value, String> {
    let found: Vec<_> = objects.iter().filter(|object| wanted(object)).collect();
    match found[..] {
        [one] => Ok(one),
        _ => Err(format!("not one {what}, but {found:#?}")),
    }
}

fn holders(object: &Value) -> &[Value] {
    object["holders"].as_array().map_or(&[], Vec::as_slice)
}

fn judge(objects: &[Value], places: &str) -> Outcome {
    let words: Vec<_> = places.split(' ').collect();
    let [_, _, endpoint, _, badged, _, cnode, _, thread] = words[..] else {
        return Err("not the places of four".into());
    };
    let root = only(objects, "root CNode", |object| {
        object["kind"] == "cnode" && object["slots"].as_u64().is_some_and(|slots| slots >= 1 << 13)
    })?;
    let is_badged = |holder: &Value| holder["data"] == BADGE;
    let seen = only(objects, "endpoint with the badge", |object| {
        object["kind"] == "endpoint" && holders(object).iter().any(is_badged)
    })?;
    let node =
        only(objects, "CNode of 16 slots", |object| object["kind"] == "cnode" && object["slots"] == 16)?;
    let untyped = &holders(seen).first().ok_or("nobody holds the endpoint")?["from"];
    if untyped["kind"] != "untyped" {
        return Err(format!("the endpoint wasn't made of untyped memory: {seen:#}"));
    }
    let unbadged = json!({ "kind": "endpoint", "address": seen["address"], "data": "0x0" });
    let badge = json!({ "kind": "endpoint", "address": seen["address"], "data": BADGE });
    let expected = json!([
        { "cnode": root["address"], "slot": endpoint, "rights": "rwga", "data": "0x0", "from": untyped },
        { "cnode": root["address"], "slot": badged, "rights": "w", "data": BADGE, "from": unbadged },
        { "cnode": node["address"], "slot": "0x9", "rights": "w", "data": BADGE, "from": badge },
    ]);
    if seen["holders"] != expected {
        return Err(format!("the holders should be {expected:#}, but are {:#}", seen["holders"]));
    }
    let observed = only(objects, "thread of that name", |object| object["name"] == NAME)?;
    if holders(observed).first().is_none_or(|holder| holder["slot"] != thread) {
        return Err(format!("the thread isn't in slot {thread}: {observed:#}"));
    }
    // The thread holds its spaces.
    let held = |object: &Value, slot: &str| {
        let holds = |holder: &&Value| holder["thread"] == observed["address"] && holder["slot"] == slot;
        holders(object).iter().find(holds).is_some()
    };
    if !held(node, "cspace") || holders(node).first().is_none_or(|holder| holder["slot"] != cnode) {
        return Err(format!("the CNode should be in slot {cnode} and be the thread's: {node:#}"));
    }
    only(objects, "address space of the thread", |object| {
        object["kind"] == "vspace" && held(object, "vspace")
    })?;
    Ok(())
}

/// Texts of the debug build. That its calls are unknown system calls elsewhere `debug_calls_are_unknown` of `tests/kernel` says.
const TEXTS: [&str; 5] = [
    "snapshot begins",
    "snapshot ends",
    "faults without a handler",
    "halted by user level",
    ", waits for time",
];

fn release() -> Outcome {
    for (features, expected) in [(&[DEBUG][..], true), (&[], false)] {
        let image = build::bare(("kernel-tests", "kernel-tests"), features)?;
        let bytes = fs::read(&image.kernel).map_err(|error| error.to_string())?;
        for text in TEXTS {
            let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            if found != expected {
                return Err(format!("`{text}` is in the kernel with the features {features:?}: {found}"));
            }
        }
    }
    Ok(())
}
