// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gate itself: what the remapping unit's tables let a device do, compared with what its VM holds; and guests that try
//! to get past it by the registers they have.

use std::fs;

use postern_cli::elf::Elf;

use crate::build::{self, System};
use crate::machine::Machine;
use crate::qtest::{Edu, Function, Qtest};
use crate::runner::{Case, Outcome, with};
use crate::vtd::{self, Context, Irte, Leaf, status};

pub(super) const CASES: &[Case] = &[
    Case::new("gate::a_devices_tables_hold_its_vms_ram_and_nothing_else", tables),
    Case::new("gate::every_remapping_entry_verifies_its_requester", entries),
    Case::new("gate::dma_to_the_kernels_addresses_lands_in_the_guests_own_ram", same_numbers),
    Case::new("gate::a_guest_cannot_send_another_devices_message", foreign_handles),
    Case::new("gate::a_transfer_that_outlives_its_vm_lands_nowhere", pending_transfers),
    Case::new("gate::writes_to_configuration_space_do_not_reach_the_device", configuration),
    Case::new("gate::a_devices_memory_is_not_executed", execution),
];

/// Requester IDs: the buses behind the root ports, in their order.
const FIRST: u16 = 0x100;
const SECOND: u16 = 0x200;
const THIRD: u16 = 0x300;
const LARGE: u64 = 2 << 20;
const MIB: u64 = 1 << 20;

/// Boots `name`; the test begins when the log has a line with each of `running`.
fn scene(
    name: &str,
    running: &[&str],
    test: impl FnOnce(&System, &mut Machine, &mut Qtest) -> Outcome,
) -> Outcome {
    let system = build::system(name)?;
    let (machine, mut qtest) = Machine::start_with_qtest(&system.arguments())?;
    with(machine, |machine| {
        running.iter().try_for_each(|line| machine.expect_anywhere(line).map(drop))?;
        test(&system, machine, &mut qtest)
    })
}

/// `gate-audit`: a VM with `edu`, one with a network card, one with nothing.
fn audit(test: impl FnOnce(&System, &mut Machine, &mut Qtest) -> Outcome) -> Outcome {
    let running = ["[a] edu: watching", "[web] http: listening on ", "[hello] hello: second 1 of 10"];
    scene("gate-audit", &running, test)
}

pub(super) fn demand(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Both kinds of remapping are on, and the door for messages of the old format is shut.
fn is_on(machine: &mut Machine) -> Outcome {
    let found = vtd::global_status(machine.monitor()?)?;
    let wanted = status::TES | status::QIES | status::IRES;
    demand(found & (wanted | status::CFIS) == wanted, || format!("global status {found:#x}"))
}

/// The context entries, which must be those of these requesters, each with a domain of its own.
fn contexts(machine: &mut Machine, requesters: &[u16]) -> Result<Vec<Context>, String> {
    let contexts = vtd::contexts(machine.monitor()?)?;
    let mut found: Vec<_> = contexts.iter().map(|context| context.requester).collect();
    found.sort_unstable();
    let mut domains: Vec<_> = contexts.iter().map(|context| context.domain).collect();
    domains.sort_unstable();
    domains.dedup();
    let fits = found == requesters && domains.len() == requesters.len();
    demand(fits, || format!("context entries {contexts:x?}"))?;
    Ok(contexts)
}

/// The RAM that a requester reaches.
fn ram(machine: &mut Machine, requester: u16) -> Result<Vec<Leaf>, String> {
    let contexts = vtd::contexts(machine.monitor()?)?;
    let context = contexts.iter().find(|context| context.requester == requester);
    vtd::leaves(machine.monitor()?, context.ok_or_else(|| format!("{requester:#x} has no tables"))?)
}

fn translate(ram: &[Leaf], iova: u64) -> Option<u64> {
    let leaf = ram.iter().find(|leaf| (leaf.iova..leaf.iova + leaf.size).contains(&iova))?;
    Some(leaf.hpa + iova - leaf.iova)
}

/// The kernel's loaded segments: physical address, bytes, and what the file has of them.
fn kernel(system: &System) -> Result<Vec<(u64, u64, Vec<u8>)>, String> {
    let file = fs::read(&system.image.kernel).map_err(|error| error.to_string())?;
    let elf = Elf::parse(file.clone())?;
    let segments = elf.loads().map(|segment| {
        let bytes = &file[segment.offset as usize..(segment.offset + segment.file_size) as usize];
        (segment.paddr, segment.memory_size, bytes.to_vec())
    });
    Ok(segments.collect())
}

/// The bytes of RAM that the machine has, for searching.
fn all_memory(machine: &mut Machine, bytes: u64) -> Result<Vec<u8>, String> {
    machine.monitor()?.memory(0, bytes)
}

fn tables() -> Outcome {
    audit(|system, machine, _| {
        is_on(machine)?;
        let contexts = contexts(machine, &[FIRST, SECOND])?;
        let mut reached = Vec::new();
        for (context, args) in contexts.iter().zip([&b"watch\0"[..], b"ip=10.0.2.15/24\0"]) {
            let mut leaves = vtd::leaves(machine.monitor()?, context)?;
            leaves.sort_unstable_by_key(|leaf| leaf.iova);
            // All of the RAM, at the guest's own addresses, by large leaves, and nothing behind it.
            let whole = (leaves.iter().enumerate())
                .all(|(n, leaf)| (leaf.iova, leaf.size, leaf.rights) == (n as u64 * LARGE, LARGE, 3));
            demand(whole && leaves.len() as u64 == 64 * MIB / LARGE, || format!("leaves {leaves:x?}"))?;
            // It is this guest's: its command line lies where the guest interface says.
            let place = translate(&leaves, 0xe_0000).ok_or("the RAM has a hole")?;
            let tables = machine.monitor()?.memory(place, 0x2_0000)?;
            demand(tables.windows(args.len()).any(|window| window == args), || {
                format!("the RAM at {place:#x} is not that of the guest of {:#x}", context.requester)
            })?;
            reached.extend(leaves.into_iter().map(|leaf| leaf.hpa..leaf.hpa + leaf.size));
        }
        reached.sort_unstable_by_key(|range| range.start);
        let shared = reached.windows(2).find(|pair| pair[0].end > pair[1].start);
        demand(shared.is_none(), || format!("both devices reach {shared:x?}"))?;

        // What must lie outside.
        let mut foreign: Vec<(String, u64, u64)> = Vec::new();
        for (start, bytes, _) in kernel(system)? {
            foreign.push(("the kernel".into(), start, bytes));
        }
        let memory = all_memory(machine, 1 << 30)?;
        for (start, name) in parts(&memory)? {
            foreign.push((name, start, 4096));
        }
        // The third guest's command line: in its RAM, and where root task and VMM have it from.
        let secret = b"nobody else's business";
        let places = (0..memory.len() - secret.len()).filter(|at| memory[*at..].starts_with(secret));
        let places: Vec<_> = places.map(|at| at as u64).collect();
        demand(places.len() >= 3, || format!("the third guest's command line is only at {places:x?}"))?;
        foreign
            .extend(places.into_iter().map(|at| ("another guest's memory".into(), at, secret.len() as u64)));
        let monitor = machine.monitor()?;
        foreign.push(("the root table".into(), vtd::root_table(monitor)?, 4096));
        let (table, entries) = vtd::remapping_table_at(monitor)?;
        foreign.push(("the interrupt remapping table".into(), table, entries as u64 * 16));
        for context in &contexts {
            foreign.push((format!("the I/O page table of {:#x}", context.requester), context.table, 4096));
        }
        for (what, start, bytes) in foreign {
            let hit = reached.iter().find(|range| range.start < start + bytes && start < range.end);
            demand(hit.is_none(), || format!("a device reaches {what} at {start:#x}"))?;
        }
        Ok(())
    })
}

fn execution() -> Outcome {
    let system = build::system("gate-execute")?;
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect_anywhere("[hostile] hostile: BAR 2 holds 0xc3")?;
        machine.expect_anywhere(
            "[hostile] vmm: the guest has ended: instruction fetch from a device's registers, at guest-physical address 0x",
        )?;
        machine.expect_anywhere("[root-task] vm hostile: ended: ")?;
        machine.expect_anywhere("[hello] hello: second 1 of 10")?;
        machine.refute("STILL HERE")
    })
}

/// The start pages of all parts, with their names: each has its name after magic and version.
fn parts(memory: &[u8]) -> Result<Vec<(u64, String)>, String> {
    const NAMES: [&str; 5] = ["console-server", "timer-server", "iommu-server", "pci-server", "hello"];
    let mut found = Vec::new();
    for (index, page) in memory.chunks(4096).enumerate().filter(|(_, page)| page.starts_with(b"PSTNPART")) {
        let name = NAMES.iter().find(|name| page[..128].windows(name.len()).any(|at| at == name.as_bytes()));
        found.push((index as u64 * 4096, name.map_or("a part", |name| *name).to_owned()));
    }
    for name in NAMES {
        demand(found.iter().any(|(_, known)| known == name), || {
            format!("the start page of {name} is not to be found: {found:x?}")
        })?;
    }
    Ok(found)
}

/// The remapping entry that a device's message leads to. A message of the old format would lead past them all.
pub(super) fn entry_of(message: (u32, u32), table: &[Irte]) -> Result<(usize, Irte), String> {
    const REMAPPABLE: u32 = 1 << 4;
    let (address, data) = message;
    demand(address >> 20 == 0xfee && address & REMAPPABLE != 0, || {
        format!("the message {address:#x} is not remappable")
    })?;
    // Intel VT-d specification, section 5.1.2.2: the handle's bit 15 is the address's bit 2; a subhandle, if it is valid, is added.
    let handle = (address >> 5 & 0x7fff | (address >> 2 & 1) << 15) as usize;
    let index = if address & 1 << 3 != 0 { handle + (data & 0xffff) as usize } else { handle };
    table.get(index).map(|entry| (index, *entry)).ok_or_else(|| format!("there is no entry {index}"))
}

/// The messages in a network card's MSI-X table, which fills the beginning of its BAR 1.
fn table_of_card(qtest: &mut Qtest, card: Function, vectors: u64) -> Result<Vec<(u32, u32)>, String> {
    let bar = card.bar(qtest, 1)?;
    (0..vectors).map(|n| Ok((qtest.read32(bar + 16 * n)?, qtest.read32(bar + 16 * n + 8)?))).collect()
}

fn entries() -> Outcome {
    audit(|_, machine, qtest| {
        is_on(machine)?;
        let table = vtd::remapping_table(machine.monitor()?)?;
        let present: Vec<_> = table.iter().enumerate().filter(|(_, entry)| entry.present()).collect();
        let show = || format!("entries that are present: {present:x?}");
        // Every one, the I/O APIC's pins too: all 16 bits of one requester, a fixed interrupt to one CPU (section 9.10: destination
        // mode, delivery mode and trigger, posted).
        for (index, entry) in &present {
            demand(entry.verifies_requester(), || format!("entry {index} verifies nobody: {}", show()))?;
            let kind = entry.low & (1 << 2 | 7 << 5 | 1 << 15);
            demand(kind == 0, || format!("entry {index} is no plain interrupt: {}", show()))?;
        }
        let mut vectors: Vec<_> = present.iter().map(|(_, entry)| entry.vector()).collect();
        vectors.sort_unstable();
        vectors.dedup();
        demand(vectors.len() == present.len(), || format!("two entries share a vector: {}", show()))?;

        // Each message of a device leads to an entry of its own; nothing is present beside these and the two pins in use.
        let card = Function(SECOND);
        let mut messages = vec![(FIRST, Edu::at(qtest, FIRST)?.message(qtest)?)];
        messages.extend(table_of_card(qtest, card, 4)?.into_iter().map(|message| (SECOND, message)));
        let mut used = Vec::new();
        for (requester, message) in messages {
            let (index, entry) = entry_of(message, &table)?;
            demand(entry.present() && entry.source() == requester, || {
                format!("the message {message:x?} of {requester:#x} leads to {index}: {entry:x?}")
            })?;
            used.push(index);
        }
        used.sort_unstable();
        used.dedup();
        let pins = present.iter().filter(|(_, entry)| entry.source() == vtd::IO_APIC).count();
        demand(used.len() == 5 && pins == 2 && present.len() == 7, show)
    })
}

fn same_numbers() -> Outcome {
    audit(|system, machine, qtest| {
        let (edu, own) = (Edu::at(qtest, FIRST)?, ram(machine, FIRST)?);
        // What the device sends: something from its guest that is nowhere zero.
        let start = translate(&own, MIB).ok_or("the RAM has a hole")?;
        let words = machine.monitor()?.words(start, 0x8000)?;
        let block = words.chunks(8).position(|block| block.iter().all(|word| *word != 0));
        let block = block.ok_or("the guest's program has no 64 bytes without a zero word")?;
        let sent = words[8 * block..8 * block + 8].to_vec();
        edu.dma_read(qtest, MIB + 64 * block as u64, 64)?;

        let (text, _, bytes) =
            kernel(system)?.into_iter().nth(1).ok_or("the kernel has no second segment")?;
        let monitor = machine.monitor()?;
        let in_file: Vec<_> =
            bytes.chunks(8).take(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        demand(monitor.words(text, 8)? == in_file, || format!("the kernel does not lie at {text:#x}"))?;
        let targets = [text, vtd::root_table(monitor)?, vtd::remapping_table_at(monitor)?.0];
        let mut judged = 0;
        for target in targets {
            let Some(place) = translate(&own, target) else { continue };
            demand(place != target, || format!("IOVA {target:#x} is mapped one to one"))?;
            let before = machine.monitor()?.words(target, 8)?;
            demand(before != sent, || "the canary looks like what is sent".into())?;
            edu.dma_write(qtest, target, 64)?;
            let (landed, after) = (machine.monitor()?.words(place, 8)?, machine.monitor()?.words(target, 8)?);
            demand(after == before, || format!("{target:#x} held {before:x?} and holds {after:x?}"))?;
            demand(landed == sent, || format!("at {place:#x} is {landed:x?}, not {sent:x?}"))?;
            judged += 1;
        }
        demand(judged > 0, || format!("none of {targets:x?} is an address of the guest's"))?;
        machine.refute("dma fault")?;
        // The kernel and the others go on.
        machine.expect("[hello] hello: second 10 of 10")?;
        machine.expect_anywhere("[root-task] vm hello: ended: power-off, code 0").map(drop)
    })
}

fn foreign_handles() -> Outcome {
    const HANDLES: usize = 6;
    scene("gate-messages", &["[a] edu: watching", "[b] edu: watching"], |_, machine, qtest| {
        let (a, b) = (Edu::at(qtest, FIRST)?, Edu::at(qtest, SECOND)?);
        let table = vtd::remapping_table(machine.monitor()?)?;
        let (handle, entry) = entry_of(a.message(qtest)?, &table)?;
        demand(entry.source() == FIRST, || format!("A's message leads to {entry:x?}"))?;
        machine.expect_anywhere(&format!("[b] edu: msi-handle {handle}: 0 runs"))?;
        let lines = machine.serial.lines();
        for check in ["msi-handle-raises-nothing", "msi-handle-only-timers", "msi-works-again"] {
            let line = format!("[b] test {check} ... ok");
            let count = lines.iter().filter(|found| **found == line).count();
            demand(count == HANDLES, || format!("`{line}` is there {count} times"))?;
        }
        // What the guest wrote went into its own view; the real device sends what it always sent.
        let (_, entry) = entry_of(b.message(qtest)?, &table)?;
        demand(entry.source() == SECOND, || format!("B's message leads to {entry:x?}"))?;
        machine.refute("[a] edu: 1 runs")?;
        // The control: A's guest would have said so.
        a.ring(qtest)?;
        machine.expect_anywhere("[a] edu: 1 runs of the handler").map(drop)
    })
}

/// What `edu` sends (`images/edu`).
fn pattern() -> Vec<u8> {
    (0..64_u32).map(|index| (index.wrapping_mul(0x9e37_79b1) >> 13) as u8).collect()
}

fn pending_transfers() -> Outcome {
    let running = ["[stays] edu: 1 runs of the handler", "[dies] test dma-started ... ok"];
    scene("gate-pending", &running, |_, machine, qtest| {
        let all = ["off", "dies", "stays"];
        for guest in all {
            machine.expect_anywhere(&format!("[{guest}] test dma-started ... ok"))?;
        }
        machine.expect_anywhere("[dies] vmm: the guest has ended: triple fault")?;
        machine.expect_anywhere("[root-task] vm dies: ended: guest fault: triple fault")?;
        machine.expect_anywhere("[root-task] vm off: ended: power-off, code 0")?;
        // Many times as long as a transfer takes, whenever each began.
        machine.expect("[hello] hello: second 5 of 10")?;
        let lines = machine.serial.lines();
        for guest in ["off", "dies"] {
            let at = |what: &str| {
                let line = format!("[root-task] vm {guest}: {what}");
                lines.iter().position(|found| found.starts_with(&line)).ok_or(format!("no line `{line}`"))
            };
            let order = [at("ended: ")?, at("its devices are quiet")?, at("its memory is taken back")?];
            demand(order.is_sorted(), || {
                format!("{guest}: not quieted before its memory was taken: {order:?}")
            })?;
        }

        // What was sent lies in one place only, in the living guest's page of canaries. Pages of zeros are among those where it must
        // not be: the memory of the first was another's long before its transfer was due.
        let sent = pattern();
        let memory = all_memory(machine, 256 * MIB)?;
        let canary = b"PENDING-CANARY--".repeat(256);
        let intact = memory.chunks(4096).filter(|page| *page == canary).count();
        let landed: Vec<_> = memory.chunks(4096).filter(|page| page[1024..1088] == sent).collect();
        let written = [&canary[..1024], &sent, &canary[1088..]].concat();
        demand(intact >= 1 && landed == [written], || {
            format!("{intact} pages are intact, {} were written", landed.len())
        })?;

        for requester in [FIRST, SECOND] {
            let device = Edu::at(qtest, requester)?;
            demand(!device.is_bus_master(qtest)?, || format!("{requester:#x} is a bus master"))?;
            let msi = device.function.capability(qtest, 5)?;
            let control = device.function.read(qtest, msi)? >> 16;
            demand(control & 1 == 0, || format!("{requester:#x} has its messages on"))?;
        }
        demand(Edu::at(qtest, THIRD)?.is_bus_master(qtest)?, || "the living one is no bus master".into())?;
        contexts(machine, &[THIRD])?;
        let table = vtd::remapping_table(machine.monitor()?)?;
        let sources: Vec<_> = (table.iter().filter(|entry| entry.present()))
            .map(|entry| entry.source())
            .filter(|source| *source != vtd::IO_APIC)
            .collect();
        demand(sources == [THIRD], || format!("entries of {sources:x?} are present"))?;
        machine.refute("dma fault")
    })
}

/// The base address of a BAR, as pci-server found it before any guest ran.
fn bar_in_log(machine: &Machine, function: &str, bar: u64) -> Result<u64, String> {
    let line = machine.expect_anywhere(&format!("[pci-server] {function} "))?;
    let rest = line.split_once(&format!("BAR {bar} ")).and_then(|(_, rest)| rest.split_once(" at 0x"));
    let digits = rest.map(|(_, rest)| rest.split([',', ':']).next().unwrap_or_default());
    let base = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    base.ok_or_else(|| format!("no BAR {bar} in `{line}`"))
}

fn configuration() -> Outcome {
    scene("gate-config", &["[sweeper] hostile: staying"], |_, machine, qtest| {
        let summary = machine.expect_anywhere("[sweeper] tests: ")?;
        demand(summary.ends_with(" 0 failed"), || summary.clone())?;
        // Both devices were there to be written to.
        for slot in ["00:08.0", "00:09.0"] {
            machine.expect_anywhere(&format!("[sweeper] hostile: writing to {slot}"))?;
        }
        let table = vtd::remapping_table(machine.monitor()?)?;
        let (edu, card) = (Function(FIRST), Function(SECOND));
        for (function, name, bars) in [(edu, "0000:01:00.0", &[0][..]), (card, "0000:02:00.0", &[1, 4])] {
            for bar in bars {
                let (found, wanted) = (function.bar(qtest, *bar)?, bar_in_log(machine, name, *bar)?);
                demand(found == wanted, || format!("BAR {bar} of {name} is at {found:#x}, not {wanted:#x}"))?;
            }
            let command = function.read(qtest, 4)? & 0xffff;
            demand(command & 7 == 2, || format!("{name}: command {command:#x}, memory alone should be on"))?;
        }
        let mut messages = vec![(FIRST, Edu::at(qtest, FIRST)?.message(qtest)?)];
        messages.extend(table_of_card(qtest, card, 4)?.into_iter().map(|message| (SECOND, message)));
        for (requester, message) in messages {
            let (index, entry) = entry_of(message, &table)?;
            demand(entry.present() && entry.source() == requester, || {
                format!("the message {message:x?} of {requester:#x} leads to {index}: {entry:x?}")
            })?;
        }
        machine.expect_anywhere("[hello] hello: second 2 of 10")?;
        machine.refute("dma fault")
    })
}
