// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ports of QEMU's `pci-testdev`: where the device's own are, and moved elsewhere. BAR 1 begins with a header that says which port to
//! write to, and how often that was done.

use guest_runtime::checks::Checks;
use guest_runtime::cpu;
use guest_runtime::mmio::Mmio;
use guest_runtime::pci::Function;

const COMMAND: usize = 0x04;
const IO: u16 = 1;
const BAR: usize = 0x14;
/// Places where nobody is.
const ELSEWHERE: [u16; 3] = [0x1000, 0x5600, 0xff00];
/// The header: which test (written), the port to write to, what to write, how often that was done, the test's name.
const TEST: u16 = 0;
const OFFSET: u16 = 4;
const DATA: u16 = 8;
const COUNT: u16 = 12;
const NAME: u16 = 16;
/// Accesses whose exits are counted.
const ACCESSES: usize = 100;
/// Asks the VMM for its counters.
const STATISTICS: u16 = 0xf5;
const STATISTICS_NOW: u16 = 0x57a7;

fn out(port: u16, value: u8) {
    // SAFETY: the device's ports lead to its own registers only.
    unsafe { cpu::out8(port, value) };
}

fn place(config: &Mmio, port: u16) {
    config.write32(BAR, port.into());
}

pub fn run(function: &Function, checks: &mut Checks) {
    let config = function.config();
    config.write16(COMMAND, config.read16(COMMAND) | IO);
    let home = config.read32(BAR) as u16 & !3;
    config.write32(BAR, u32::MAX);
    checks.equal("io-size", config.read32(BAR), 0xff01);
    place(config, home);
    checks.report("io-where-the-device-has-them", exercise(home));
    count_exits(home);
    for port in ELSEWHERE {
        place(config, port);
        checks.report("io-elsewhere", exercise(port));
        checks.equal("io-nothing-is-left-behind", cpu::in8(home + NAME), 0xff);
    }
    count_exits(ELSEWHERE[2]);
    place(config, 0x3f0);
    checks.report("io-not-below-4096", exercise(ELSEWHERE[2]));
    place(config, home);
    config.write16(COMMAND, config.read16(COMMAND) & !IO);
    checks.equal("io-off-shows-nothing", [cpu::in8(home + NAME), cpu::in8(ELSEWHERE[2] + NAME)], [0xff; 2]);
    config.write16(COMMAND, config.read16(COMMAND) | IO);
    checks.report("io-back-again", exercise(home));
}

/// Writes to the port that the device names, and sees that it counts.
fn exercise(port: u16) -> Result<(), &'static str> {
    out(port + TEST, 0);
    let name: [u8; 6] = core::array::from_fn(|n| cpu::in8(port + NAME + n as u16));
    if name != *b"portio" {
        return Err("the device isn't there");
    }
    if cpu::in16(port + NAME) != u16::from_le_bytes(*b"po")
        || cpu::in32(port + NAME) != u32::from_le_bytes(*b"port")
    {
        return Err("wider accesses differ");
    }
    let (target, data) = (port + cpu::in32(port + OFFSET) as u16, cpu::in8(port + DATA));
    let before = cpu::in32(port + COUNT);
    (0..3).for_each(|_| out(target, data));
    if cpu::in32(port + COUNT).wrapping_sub(before) == 3 { Ok(()) } else { Err("it didn't count") }
}

/// Has the log say how many exits there were before and after so many accesses.
fn count_exits(port: u16) {
    statistics();
    for _ in 0..ACCESSES {
        cpu::in8(port + NAME);
    }
    statistics();
}

fn statistics() {
    // SAFETY: it writes into the log.
    unsafe { cpu::out16(STATISTICS, STATISTICS_NOW) };
}
