// SPDX-License-Identifier: MIT OR Apache-2.0
//! A look inside, by commands on COM1: who holds what, whose the devices are, what VMs do.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::authority::Authority;
use crate::build;
use crate::machine::Machine;
use crate::qtest::Function;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("inspect::no_part_holds_more_than_its_job_needs", authority),
    Case::new("inspect::devices_and_vms_are_shown_as_they_are", devices_and_vms),
    Case::new("inspect::registers_and_memory_are_shown_as_they_are", registers_and_memory),
    Case::new("inspect::a_guest_that_is_looked_at_goes_on", looked_at),
    Case::new("inspect::a_vmm_that_does_not_answer_holds_nobody_up", silent),
];

/// The host bridge's register for the base of configuration space (Intel 3 Series Express Chipset, PCIEXBAR).
const PCIEXBAR: u64 = 0x60;
/// Bytes of configuration space.
const ECAM: u64 = 256 << 20;
/// Who owns which device (`gate-audit.toml`).
const OWNERS: [(u64, &str); 2] = [(0x100, "a"), (0x200, "web")];

fn authority() -> Outcome {
    let system = build::system("gate-audit")?;
    let (machine, mut qtest) = Machine::start_with_qtest(&system.arguments())?;
    with(machine, |machine| {
        for running in ["[a] edu: watching", "[web] http: listening on ", "[hello] hello: second 1 of 10"] {
            machine.expect_anywhere(running)?;
        }
        let caps = Authority::read(&machine.look("caps")?)?;
        // The walk has come by everybody, and by what is known of them from elsewhere.
        let parts = ["a", "console-server", "hello", "iommu-server", "pci-server", "timer-server", "web"];
        if !caps.parts().into_iter().eq(parts) {
            return Err(format!("the parts are {:?}", caps.parts()));
        }
        for vmm in caps.vmms() {
            let ram = caps.guest_ram(vmm, 0, u64::MAX);
            if ram != 64 << 20 {
                return Err(format!("{vmm} has {ram:#x} bytes of RAM in its nested tables"));
            }
        }
        let base = u64::from(Function(0).read(&mut qtest, PCIEXBAR)? & 0xf000_0000);
        caps.keeps_to_the_rules((base, ECAM), &OWNERS)
    })
}

/// The one object with this value.
fn one<'a>(objects: &'a [Value], key: &str, value: &str) -> Result<&'a Value, String> {
    let found: Vec<_> = objects.iter().filter(|object| object[key] == value).collect();
    match found[..] {
        [one] => Ok(one),
        _ => Err(format!("not one object with \"{key}\": \"{value}\" in {objects:#?}")),
    }
}

/// Fails if an object doesn't have all that `expected` has.
fn has(object: &Value, expected: &Value) -> Outcome {
    let wrong = expected.as_object().into_iter().flatten().find(|(key, value)| object[key] != **value);
    wrong.map_or(Ok(()), |(key, value)| Err(format!("\"{key}\" isn't {value}: {object}")))
}

/// Fails if the number `key` of an object isn't positive.
fn positive(object: &Value, key: &str) -> Outcome {
    match object.pointer(key).and_then(Value::as_u64) {
        Some(1..) => Ok(()),
        _ => Err(format!("{key} isn't positive: {object}")),
    }
}

fn devices_and_vms() -> Outcome {
    let system = build::system("inspect")?;
    with(Machine::start(&system.arguments())?, |machine| {
        for line in [
            "[stays] edu: watching",
            "[root-task] vm ends: its memory is taken back",
            "[pci-server] 0000:02:00.0: reset, quiet",
        ] {
            machine.expect_anywhere(line)?;
        }
        let devices = machine.look("devices")?;
        let count = machine.expect_anywhere(" PCI functions")?;
        if !count.contains(&format!(" {} PCI functions", devices.len())) {
            return Err(format!("{count}, and shown are {}", devices.len()));
        }
        let stays = one(&devices, "path", "/00:04.0/00.0")?;
        let expected = serde_json::json!({
            "look": "devices", "address": "0000:01:00.0", "id": "1234:11e8", "subsystem": "1af4:1100",
            "class": "00ff00", "reset": ["bus"], "group": [], "grouped": 0, "owner": "stays", "device": 0,
            "slot": "00:08.0", "vectors": 1, "state": "attached", "resetting": false,
        });
        has(stays, &expected)?;
        positive(stays, "/faults")?;
        let ends = one(&devices, "path", "/00:05.0/00.0")?;
        has(ends, &serde_json::json!({ "owner": "ends", "slot": "00:09.0", "state": "quiet", "faults": 0 }))?;
        let port = one(&devices, "path", "/00:04.0")?;
        has(port, &serde_json::json!({ "id": "1b36:000c", "class": "060400", "owner": null }))?;

        let vms = machine.look("vms")?;
        let stays = serde_json::json!({
            "look": "vms", "state": "running", "memory": 64 << 20, "priority": 100, "devices": 1, "starts": 1, "code": null,
        });
        has(one(&vms, "vm", "stays")?, &stays)?;
        let ends = serde_json::json!({ "state": "ended", "memory": 32 << 20, "priority": 90, "starts": 1, "code": 0 });
        has(one(&vms, "vm", "ends")?, &ends)?;

        let exits = machine.look("exits stays")?;
        let exits = one(&exits, "vm", "stays")?;
        for counted in ["/exits/cpuid", "/exits/io", "/exits/npf", "/exits/hlt", "/exits/msr", "/dma-faults"]
        {
            positive(exits, counted)?;
        }
        let interrupts = exits["interrupts"].as_object().into_iter().flatten();
        if !interrupts.map(|(_, count)| count.as_u64().unwrap_or(0)).any(|count| count > 1) {
            return Err(format!("no interrupts: {exits}"));
        }
        // Looking has changed nothing; the guest goes on, and is shown again.
        let again = machine.look("exits stays")?;
        has(one(&again, "vm", "stays")?, &serde_json::json!({ "interrupts": exits["interrupts"] }))?;
        match machine.look("exits ends") {
            Err(why) if why.contains("it doesn't run") => Ok(()),
            other => Err(format!("a VM that has ended: {other:?}")),
        }
    })
}

/// Opcode of HLT.
const HLT: u8 = 0xf4;
/// PE and PG; LME and LMA; where the PVH entry's 64-bit guests end up.
const CR0: u64 = 1 << 31 | 1;
const EFER: u64 = 1 << 10 | 1 << 8;
const RAM: u64 = 64 << 20;

/// The number behind `key`, which is a text in hexadecimal digits.
fn hex(object: &Value, key: &str) -> Result<u64, String> {
    let text = object.pointer(key).and_then(Value::as_str).and_then(|text| text.strip_prefix("0x"));
    let number = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    number.ok_or_else(|| format!("{key} is no number: {object}"))
}

/// Ranges in ascending order, those that touch as one.
fn joined(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, bytes) in ranges {
        match joined.last_mut() {
            Some((first, before)) if *first + *before == start => *before += bytes,
            _ => joined.push((start, bytes)),
        }
    }
    joined
}

/// Where a VM's nested tables lead, as the kernel says: guest-physical address, bytes, physical address.
fn nested(machine: &mut Machine, vm: &str) -> Result<Vec<(u64, u64, u64)>, String> {
    let caps = machine.look(&format!("caps {vm}"))?;
    let frames = caps.iter().filter(|cap| cap["kind"] == "frame" && cap["mapped"]["in"] == "nested");
    let number = |cap: &Value, key: &str| cap[key].as_u64().unwrap_or(0);
    let place = |cap: &Value| {
        let bytes = number(cap, "bytes") * number(cap, "count");
        Ok((hex(cap, "/mapped/at")?, bytes, hex(cap, "/address")?))
    };
    frames.map(place).collect()
}

/// Address and bytes of the ranges that are reached like this.
fn with_access(ranges: &[Value], access: &str) -> Result<Vec<(u64, u64)>, String> {
    let those = ranges.iter().filter(|range| range["access"] == access);
    those.map(|range| Ok((hex(range, "/start")?, range["bytes"].as_u64().unwrap_or(0)))).collect()
}

fn registers_and_memory() -> Outcome {
    let system = build::system("gate-audit")?;
    with(Machine::start(&system.arguments())?, |machine| {
        for running in ["[a] edu: watching", "[web] http: listening on "] {
            machine.expect_anywhere(running)?;
        }
        for vm in ["a", "web"] {
            let ranges = machine.look(&format!("memory {vm}"))?;
            let mapped = with_access(&ranges, "mapped")?;
            let trapped = with_access(&ranges, "trapped")?;
            let kernel = nested(machine, vm)?.into_iter().map(|(start, bytes, _)| (start, bytes)).collect();
            if joined(mapped.clone()) != joined(kernel) {
                return Err(format!("the kernel says something else than {ranges:#?}"));
            }
            if let Some(both) = trapped.iter().find(|(start, bytes)| {
                mapped.iter().any(|(other, length)| *other < start + bytes && *start < other + length)
            }) {
                return Err(format!("{both:x?} is mapped and trapped"));
            }
            for (what, start, bytes) in [
                ("configuration space", "0xe0000000", 1 << 20),
                ("i/o apic", "0xfec00000", 4096),
                ("local apic", "0xfee00000", 4096),
            ] {
                let expected =
                    serde_json::json!({ "start": start, "bytes": bytes, "access": "trapped", "vm": vm });
                has(one(&ranges, "what", what)?, &expected)?;
            }
            has(
                one(&ranges, "what", "ram")?,
                &serde_json::json!({ "start": "0x0", "bytes": RAM, "access": "mapped" }),
            )?;
            let table = ranges.iter().find(|range| range["what"] == "msi-x table");
            match (vm, table) {
                ("a", None) => {}
                // The network card has it in a BAR of its own.
                ("web", Some(table)) => {
                    let expected =
                        serde_json::json!({ "bytes": 4096, "access": "trapped", "device": 0, "bar": 1 });
                    has(table, &expected)?;
                    let bar =
                        serde_json::json!({ "bytes": 16 << 10, "access": "mapped", "device": 0, "bar": 4 });
                    has(one(&ranges, "what", "bar")?, &bar)?;
                }
                (_, table) => return Err(format!("the MSI-X table of {vm}: {table:?}")),
            }
        }
        let registers = machine.look("registers a")?;
        let registers = one(&registers, "vm", "a")?;
        let value = |key| hex(registers, key);
        let is_long_mode = value("/control/cr0")? & CR0 == CR0 && value("/control/efer")? & EFER == EFER;
        let in_ram = |address: u64| (1..RAM).contains(&address);
        if !is_long_mode
            || !in_ram(value("/general/rsp")?)
            || !in_ram(value("/control/cr3")?)
            || value("/control/cpl")? != 0
        {
            return Err(format!("no 64-bit guest: {registers}"));
        }
        // It waits for interrupts; the runtime's page tables are one-to-one.
        let rip = value("/control/rip")?;
        let frames = nested(machine, "a")?;
        let frame = frames.iter().find(|(start, bytes, _)| (*start..start + bytes).contains(&rip));
        let (start, _, address) = frame.ok_or_else(|| format!("nothing is at {rip:#x}"))?;
        match machine.monitor()?.memory(address + (rip - start), 1)?[..] {
            [HLT] => Ok(()),
            ref other => Err(format!("the guest stands on {other:x?} at {rip:#x}")),
        }
    })
}

/// Looks at a guest that computes without a pause.
const LOOKS: usize = 60;

/// A guest is stopped at every look, wherever it is: it must go on as if nothing had been.
fn looked_at() -> Outcome {
    let system = build::system("inspect-sums")?;
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect("[sums] hostile: 32 sums")?;
        let (mut states, mut exits) = (BTreeSet::new(), 0);
        for _ in 0..LOOKS {
            let registers = machine.look("registers sums")?;
            states.insert(one(&registers, "vm", "sums")?["general"].to_string());
            let counts = machine.look("exits sums")?;
            let signals = one(&counts, "vm", "sums")?["exits"]["signal"].as_u64().unwrap_or(0);
            if signals <= exits {
                return Err(format!("it was not stopped: {signals} signals after {exits}"));
            }
            exits = signals;
        }
        if states.len() < LOOKS / 2 {
            return Err(format!("it was mostly stopped in the same states: {states:?}"));
        }
        machine.expect_after_all("[sums] hostile: ")?;
        machine.refute("BROKEN")
    })
}

fn silent() -> Outcome {
    let system = build::system_with("inspect-silent", Some(("vmm-server", "hostile-vmm")))?;
    with(Machine::start(&system.arguments())?, |machine| {
        // The VMM isn't refused where it may ask, and is where it may not.
        machine.expect_anywhere("[liar] liar: refused [true, true, true, true, true, true]")?;
        machine.type_in(b"exits silent")?;
        // It knows, and the log goes on.
        machine.expect("[silent] silent: somebody wants to look")?;
        machine.refute("[console-server] {")?;
        let vms = machine.look_after("vms", r#"{"look":"exits","error":"it hasn't answered"}"#)?;
        for vm in ["silent", "liar"] {
            has(one(&vms, "vm", vm)?, &serde_json::json!({ "state": "running", "memory": 16 << 20 }))?;
        }
        let exits = machine.look("exits liar")?;
        has(one(&exits, "vm", "liar")?, &serde_json::json!({ "dma-faults": u64::MAX, "interrupts": {} }))?;
        machine.expect_anywhere("[liar] liar: [true, true, true, true] liar")?;
        machine.refute("has failed")
    })
}
