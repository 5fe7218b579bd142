// SPDX-License-Identifier: MIT OR Apache-2.0
//! The expansion ROM of a device whose contents the host knows: word *n* is *n* times a constant.

use guest_runtime::checks::Checks;
use guest_runtime::mmio::Mmio;
use guest_runtime::pci::Function;

const ROM: usize = 0x30;
const ENABLE: u32 = 1;
const FACTOR: u32 = 0x9e37_79b9;
/// A place in the guest's PCI window where nobody is.
const ELSEWHERE: u32 = 0xd456_0000;

/// Reads all of it at `address`.
fn has_its_contents(address: u32, bytes: u32) -> Result<(), &'static str> {
    // SAFETY: the device's own memory, mapped one to one; only read.
    let rom = unsafe { Mmio::new(address.into(), bytes as usize) };
    let wrong = (0..bytes / 4).find(|n| rom.read32(*n as usize * 4) != n.wrapping_mul(FACTOR));
    if wrong.is_none() { Ok(()) } else { Err("a word is wrong") }
}

pub fn run(function: &Function, checks: &mut Checks) {
    let config = function.config();
    let home = config.read32(ROM);
    checks.equal("rom-is-off-at-first", home & ENABLE, 0);
    config.write32(ROM, !0x7ff);
    let bytes = (!config.read32(ROM)).wrapping_add(1);
    checks.equal("rom-size", bytes, 0x1_0000);
    for place in [home, ELSEWHERE, home] {
        config.write32(ROM, place | ENABLE);
        checks.equal("rom-register", config.read32(ROM), place | ENABLE);
        checks.report("rom-has-its-contents", has_its_contents(place, bytes));
    }
    config.write32(ROM, home);
    checks.equal("rom-is-off-again", config.read32(ROM), home);
}
