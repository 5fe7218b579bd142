// SPDX-License-Identifier: MIT OR Apache-2.0
//! 64-bit BARs above 4 GiB: BAR 2 of QEMU's `ivshmem-plain`, which is memory.

use guest_runtime::checks::Checks;
use guest_runtime::memory::map_gib;
use guest_runtime::mmio::Mmio;
use guest_runtime::pci::Function;

const BAR: usize = 0x18;
/// Above 4 GiB: the first place, one in the middle, another in the same GiB, the last.
const PLACES: [u64; 4] = [0x1_0000_0000, 0x12_3450_0000, 0x12_3560_0000, 0x7f_fff0_0000];
/// Places a GiB apart from each other.
const WANDERS: u64 = 100;
/// Beyond the window.
const BEYOND: u64 = 0x80_0000_0000;

fn place(config: &Mmio, place: u64, high_first: bool) {
    let halves = [(BAR, place as u32), (BAR + 4, (place >> 32) as u32)];
    for n in [usize::from(high_first), usize::from(!high_first)] {
        let (offset, value) = halves[n];
        config.write32(offset, value);
    }
}

fn address(config: &Mmio) -> u64 {
    u64::from(config.read32(BAR + 4)) << 32 | u64::from(config.read32(BAR) & !0xf)
}

fn bytes(config: &Mmio) -> u64 {
    let home = address(config);
    place(config, u64::MAX, true);
    let mask = address(config);
    place(config, home, true);
    (!mask).wrapping_add(1)
}

/// The BAR's memory at `address`.
fn memory(address: u64, bytes: u64) -> Result<Mmio, &'static str> {
    if address >> 32 != 0 && !map_gib(address) {
        return Err("it can't be mapped");
    }
    // SAFETY: the device's own memory, mapped one to one.
    Ok(unsafe { Mmio::new(address, bytes as usize) })
}

/// What was written at the last place is read at the next, and something else is left for the one after that.
fn carries(memory: &Mmio, sign: &mut u32) -> Result<(), &'static str> {
    let last = memory.bytes() - 4;
    if memory.read32(0) != *sign || memory.read32(last) != !*sign {
        return Err("its contents aren't there");
    }
    leave(memory, sign, 0x9e37_79b9);
    Ok(())
}

fn leave(memory: &Mmio, sign: &mut u32, step: u32) {
    *sign = sign.wrapping_add(step);
    memory.write32(0, *sign);
    memory.write32(memory.bytes() - 4, !*sign);
}

pub fn run(function: &Function, checks: &mut Checks) {
    let config = function.config();
    let (home, bytes) = (address(config), bytes(config));
    checks.equal("wide-comes-back-from-sizing", address(config), home);
    let mut sign = 1;
    let mut visit = |at, high_first, checks: &mut Checks| {
        place(config, at, high_first);
        checks.report("wide-is-there", memory(at, bytes).and_then(|memory| carries(&memory, &mut sign)));
    };
    match memory(home, bytes) {
        Ok(memory) => leave(&memory, &mut 0, 1),
        Err(why) => return checks.report("wide-home", Err::<(), _>(why)),
    }
    for at in PLACES {
        visit(at, true, checks);
        visit(home, false, checks);
        visit(at, false, checks);
    }
    // Each takes tables of the VMM's, which has far fewer than that.
    for n in 0..WANDERS {
        place(config, (8 + n) << 30, true);
    }
    visit(WANDERS << 30, true, checks);
    place(config, PLACES[3], true);
    place(config, BEYOND, true);
    checks.equal("wide-beyond-is-kept", address(config), BEYOND);
    // But it stays where it was.
    let stayed = memory(PLACES[3], bytes).and_then(|memory| carries(&memory, &mut sign));
    checks.report("wide-stays-where-it-was", stayed);
}

/// A BAR that doesn't fit below 4 GiB begins above.
pub fn large(function: &Function, checks: &mut Checks) {
    let config = function.config();
    let (home, bytes) = (address(config), bytes(config));
    checks.equal("large-is-above", home >> 32 != 0, true);
    checks.equal("large-has-its-size", bytes, 1 << 30);
    let mut sign = 0;
    let found = memory(home, bytes).and_then(|memory| {
        leave(&memory, &mut sign, 0x1234_5678);
        carries(&memory, &mut sign)
    });
    checks.report("large-is-there", found);
}
