// SPDX-License-Identifier: MIT OR Apache-2.0
//! The web server behind a passed-through network card, asked from the host.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use postern_cli::fetch::{self, Response};

use crate::build::{self, System};
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};
use crate::vtd;

pub(super) const CASES: &[Case] = &[
    Case::new("http::two_hundred_requests_in_a_row_with_correct_bytes", in_a_row),
    Case::new("http::eight_connections_at_once", at_once),
    Case::new("http::an_e1000e_serves_requests_in_a_row_and_eight_connections_at_once", through_an_e1000e),
    Case::new("http::dma_and_interrupts_are_remapped_and_nothing_else_is_open", remapped),
    Case::new("http::no_access_to_the_notify_isr_and_configuration_bar_exits", no_bar_exits),
];

const LIMIT: Duration = Duration::from_secs(30);
/// Rows of the page whose values change from request to request.
const CHANGING: [&str; 4] =
    ["<tr><td>Memory<", "<tr><td>Uptime<", "<tr><td>Requests<", "<tr><td>Interrupts: "];

fn start(name: &str) -> Result<(System, Machine), String> {
    let system = build::system(name)?;
    let machine = Machine::start(&system.arguments())?;
    Ok((system, machine))
}

/// A page without what changes; compared byte by byte.
fn constant_part(response: &Response) -> Result<String, String> {
    let page = String::from_utf8(response.body.clone()).map_err(|_| "the page is no UTF-8")?;
    if response.status != 200 || !page.starts_with("<!DOCTYPE html>") || !page.ends_with("</html>\n") {
        return Err(format!("status {}, and this is no page:\n{page}", response.status));
    }
    let mut constant = String::new();
    for line in page.split_inclusive('\n') {
        constant.push_str(CHANGING.iter().find(|row| line.starts_with(**row)).unwrap_or(&line));
    }
    Ok(constant)
}

/// The number in a row of the page.
fn number(response: &Response, row: &str) -> Result<u64, String> {
    let page = String::from_utf8_lossy(&response.body).into_owned();
    let start = format!("<tr><td>{row}<td>");
    let value = page.lines().find_map(|line| line.strip_prefix(&start)?.trim().parse().ok());
    value.ok_or_else(|| format!("no number in the row `{row}` of\n{page}"))
}

/// Asks `requests` times; each page must be the first but for its counters, and name `device`.
fn asked_in_a_row(port: u16, device: &str, requests: u64) -> Outcome {
    let first = fetch::get(port, "/", LIMIT)?;
    let expected = constant_part(&first)?;
    for wanted in [device, "PosternVMM", "00:08.0"] {
        if !expected.contains(wanted) {
            return Err(format!("`{wanted}` is missing in\n{expected}"));
        }
    }
    let before = number(&first, "Requests")?;
    for request in 1..requests {
        let response = fetch::get(port, "/", LIMIT)?;
        let page = constant_part(&response)?;
        if page != expected {
            return Err(format!("page {request} differs from the first:\n{page}\n--- first\n{expected}"));
        }
        let counted = number(&response, "Requests")? - before;
        if counted != request {
            return Err(format!("request {request} says it is number {counted}"));
        }
    }
    let last = fetch::get(port, "/", LIMIT)?;
    if number(&last, "Interrupts: frames received")? == 0 {
        return Err(format!("{requests} pages came without one interrupt"));
    }
    let other = fetch::get(port, "/favicon.ico", LIMIT)?;
    if other.status != 404 {
        return Err(format!("another path gave status {}", other.status));
    }
    Ok(())
}

fn in_a_row() -> Outcome {
    let (system, machine) = start("systems/web.toml")?;
    with(machine, |machine| {
        machine.expect("[web] http: listening on http://10.0.2.15")?;
        asked_in_a_row(system.port, "1af4:1041", 200)?;
        // The VM beside it is alive.
        machine.expect_anywhere("[hello] ")?;
        Ok(())
    })
}

/// Eight connections, all open and half asked before the first is asked whole; each gets the page.
fn asked_at_once(port: u16) -> Outcome {
    let expected = constant_part(&fetch::get(port, "/", LIMIT)?)?;
    let say = |error: std::io::Error| error.to_string();
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(say)?;
        stream.set_read_timeout(Some(LIMIT)).map_err(say)?;
        stream.write_all(b"GET / HT").map_err(say)?;
        streams.push(stream);
    }
    for stream in &mut streams {
        stream.write_all(b"TP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").map_err(say)?;
    }
    for (number, mut stream) in streams.into_iter().enumerate() {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(say)?;
        let response =
            fetch::parse(&answer).ok_or_else(|| format!("connection {number}: no whole answer"))?;
        if constant_part(&response)? != expected {
            return Err(format!("connection {number} got another page"));
        }
    }
    Ok(())
}

fn at_once() -> Outcome {
    let (system, machine) = start("systems/web.toml")?;
    with(machine, |machine| {
        machine.expect("[web] http: listening")?;
        asked_at_once(system.port)
    })
}

/// Another card with a driver of its own: registers in memory, legacy descriptors, more requests than a ring has descriptors.
fn through_an_e1000e() -> Outcome {
    let (system, machine) = start("http-e1000e")?;
    with(machine, |machine| {
        machine.expect("[web] http: network device 00:08.0 with address [52, 54, 00, 12, 34, 56]")?;
        machine.expect("[web] http: listening on http://10.0.2.15")?;
        asked_in_a_row(system.port, "8086:10d3", 200)?;
        asked_at_once(system.port)?;
        machine.refute("dma fault")
    })
}

fn remapped() -> Outcome {
    let (system, machine) = start("systems/web.toml")?;
    with(machine, |machine| {
        machine.expect("[web] http: listening")?;
        fetch::get(system.port, "/", LIMIT)?;
        let monitor = machine.monitor()?;
        let status = vtd::global_status(monitor)?;
        let on = vtd::status::TES | vtd::status::IRES | vtd::status::QIES;
        if status & on != on || status & vtd::status::CFIS != 0 {
            return Err(format!("the unit's global status is {status:#x}"));
        }

        // One requester has DMA: the card, on the bus behind the root port.
        let contexts = vtd::contexts(monitor)?;
        let [card] = contexts[..] else { return Err(format!("context entries: {contexts:x?}")) };
        if card.requester != 0x100 {
            return Err(format!("the one with DMA is {:#x}", card.requester));
        }
        // It reaches its VM's 64 MiB, at most 64 leaves, and no page twice.
        let leaves = vtd::leaves(monitor, &card)?;
        let mut reached = 0;
        for leaf in &leaves {
            if leaf.iova != reached || leaf.rights != 3 {
                return Err(format!("a hole or wrong rights at {leaf:x?}"));
            }
            reached += leaf.size;
        }
        let mut pages: Vec<_> = leaves.iter().map(|leaf| leaf.hpa).collect();
        pages.sort_unstable();
        pages.dedup();
        if reached != 64 << 20 || leaves.len() > 64 || pages.len() != leaves.len() {
            return Err(format!("{} leaves reach {reached:#x} bytes, {} pages", leaves.len(), pages.len()));
        }

        // Every entry that is present checks its requester: the card's, or the I/O APIC's for pins.
        let table = vtd::remapping_table(monitor)?;
        let present: Vec<_> = table.iter().filter(|entry| entry.present()).collect();
        let messages = present.iter().filter(|entry| entry.source() == 0x100).count();
        let pins = present.iter().filter(|entry| entry.source() == vtd::IO_APIC).count();
        if messages == 0
            || messages + pins != present.len()
            || !present.iter().all(|entry| entry.verifies_requester())
        {
            return Err(format!("remapping entries: {present:x?}"));
        }
        // What is absent is empty.
        match table.iter().position(|entry| !entry.present() && (entry.low, entry.high) != (0, 0)) {
            Some(index) => Err(format!("absent entry {index} holds {:x?}", table[index])),
            None => Ok(()),
        }
    })
}

/// Exits of one kind in the line that a VMM prints when its guest has ended.
fn exits(line: &str, kind: &str) -> Result<u64, String> {
    let start = format!(" {kind}=");
    let (_, rest) = line.split_once(&start).ok_or_else(|| format!("no `{kind}` in: {line}"))?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().map_err(|_| format!("no number after `{kind}` in: {line}"))
}

/// The guest ends after so many requests; gives its line of exits.
fn exits_after(requests: u32) -> Result<String, String> {
    let (system, machine) = start(if requests == 10 { "http-ends-after-10" } else { "http-ends-after-210" })?;
    let mut found = String::new();
    with(machine, |machine| {
        machine.expect("[web] http: listening")?;
        for _ in 0..requests {
            fetch::get(system.port, "/", LIMIT)?;
        }
        found = machine.expect("exits: ")?;
        Ok(())
    })?;
    Ok(found)
}

/// A request needs several writes to the notify register and none to the MSI-X table, so with trapped writes the number
/// of nested page faults would grow with the number of requests.
fn no_bar_exits() -> Outcome {
    let (few, many) = (exits_after(10)?, exits_after(210)?);
    let (before, after) = (exits(&few, "npf")?, exits(&many, "npf")?);
    // How many interrupts two hundred requests make depends on how many are answered before the guest goes to sleep.
    let traces = |line: &str| Ok::<_, String>(exits(line, "msi")? + exits(line, "hlt")?);
    if traces(&many)? <= traces(&few)? {
        return Err(format!("200 requests left no trace, so this judges nothing:\n{few}\n{many}"));
    }
    if before == after {
        Ok(())
    } else {
        Err(format!("200 more requests made more page faults:\n{few}\n{many}"))
    }
}
