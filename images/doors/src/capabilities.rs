// SPDX-License-Identifier: MIT OR Apache-2.0
//! What configuration space shows behind the header: known capabilities, and nothing else.

use guest_runtime::checks::Checks;
use guest_runtime::mmio::Mmio;
use guest_runtime::pci::Function;
use guest_runtime::println;

const VENDOR: u8 = 0x09;
/// Virtio's capability that reads and writes BARs (Virtio 1.2, section 4.1.4.9).
const DOOR: u8 = 5;
const VIRTIO: u16 = 0x1af4;
const SERIAL_NUMBER: u16 = 3;
/// Most capabilities of a list.
const MOST: usize = 48;

/// Bytes that a capability takes at most; 0 for an unknown one.
fn length(config: &Mmio, at: usize) -> usize {
    match config.read8(at) {
        0x01 => 8,
        0x05 => 24,
        VENDOR => config.read8(at + 2).into(),
        0x10 => 0x3c,
        0x11 => 12,
        0x13 => 6,
        _ => 0,
    }
}

/// The list's offsets.
fn list(config: &Mmio) -> impl Iterator<Item = usize> {
    let next = |at: usize| Some(usize::from(config.read8(at) & !3)).filter(|at| *at >= 0x40);
    core::iter::successors(next(0x34), move |at| next(at + 1)).take(MOST)
}

/// Extended capabilities: ID and offset.
fn extended(config: &Mmio) -> impl Iterator<Item = (u16, usize)> {
    let at = |at: usize| (config.read16(at), at);
    let next = move |(_, from): &(u16, usize)| {
        let next = usize::from(config.read16(from + 2) >> 4 & !3);
        (next >= 0x100).then(|| at(next))
    };
    core::iter::successors(Some(at(0x100)), next).take(MOST)
}

/// A double word that isn't zero outside the capabilities; 0 if there is none.
fn stray(config: &Mmio) -> usize {
    let in_list = |at: usize| list(config).any(|start| (start..start + length(config, start)).contains(&at));
    let in_extended = |at: usize| {
        extended(config)
            .any(|(id, start)| (start..start + if id == SERIAL_NUMBER { 12 } else { 4 }).contains(&at))
    };
    let stray = |at: &usize| !in_list(*at) && (*at < 0x100 || !in_extended(*at)) && config.read32(*at) != 0;
    (0x40..0x1000).step_by(4).find(stray).unwrap_or(0)
}

/// A double word of those from `first` on that a write changed; 0 if there is none.
fn changed(config: &Mmio, first: usize, bytes: usize) -> usize {
    let changes = |at: &usize| {
        let before = config.read32(*at);
        config.write32(*at, !before);
        config.read32(*at) != before
    };
    (first..first + bytes).step_by(4).find(changes).unwrap_or(0)
}

pub fn run(function: &Function, checks: &mut Checks) {
    let config = function.config();
    for at in list(config) {
        println!("doors: capability {:02x} at {at:02x}", config.read8(at));
    }
    for (id, at) in extended(config) {
        println!("doors: extended capability {id:04x} at {at:03x}");
    }
    checks.equal("capabilities-are-known", list(config).all(|at| length(config, at) > 0), true);
    let vendors = || list(config).filter(|at| config.read8(*at) == VENDOR);
    let is_door = |at: usize| config.read16(0) == VIRTIO && config.read8(at + 3) == DOOR;
    checks.equal("capabilities-have-no-door", vendors().any(is_door), false);
    let writable = vendors().map(|at| changed(config, at, length(config, at))).find(|at| *at != 0);
    checks.equal("capabilities-of-vendors-are-read-only", writable, None);
    let unknown = extended(config).find(|(id, _)| ![0, SERIAL_NUMBER].contains(id));
    checks.equal("extended-capabilities-are-known", unknown, None);
    checks.equal("extended-space-is-read-only", changed(config, 0x100, 0xf00), 0);
    checks.equal("nothing-is-outside-of-capabilities", stray(config), 0);
}
