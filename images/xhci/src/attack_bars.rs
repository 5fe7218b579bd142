// SPDX-License-Identifier: MIT OR Apache-2.0
//! BAR 0 over the guest's own memory, over what the VMM models, over another device's BAR, and where no address is.

#![allow(unsafe_code)]

use crate::device::Xhci;
use alloc::format;
use alloc::string::String;
use guest_runtime::checks::Checks;
use guest_runtime::dma::Buffer;
use guest_runtime::mmio::Mmio;
use guest_runtime::pci::{self, Function};
use guest_runtime::{acpi, apic};

const BAR: usize = 0x10;
const CANARY: u64 = 0xca_9a_27_ca_9a_27;
/// A word of the device that never changes, and where.
const PARAMETERS: usize = 0x04;
/// The local APIC's version, and its page.
const VERSION: usize = 0x30;
const APIC: u64 = 0xfee0_0000;
/// What QEMU's `edu` says in its first register.
const IDENTIFICATION: u32 = 0x0100_00ed;

/// What must stay as it is wherever the BAR goes.
struct Witnesses {
    memory: Buffer,
    version: u32,
    identification: Option<(Mmio, u32)>,
    ids: u32,
}

pub fn run(xhci: &Xhci, checks: &mut Checks) {
    let (function, config) = (xhci.function(), xhci.function().config());
    let Some(bar) = function.bar(0) else {
        checks.report("bar-attack", Err("BAR 0 is missing"));
        return;
    };
    if apic::is_x2apic() {
        apic::leave_x2apic();
    }
    // The BAR can't lie where it isn't aligned, so the canary fills as much as it takes.
    let mut memory = Buffer::new(2 * bar.bytes as usize);
    (0..memory.bytes()).step_by(8).for_each(|at| memory.write(at, &CANARY.to_le_bytes()));
    let other = pci::find(0x1234, 0x11e8);
    if let Some(other) = &other {
        other.enable();
    }
    let registers = other.and_then(|other| other.bar(0)).map(|bar| bar.registers());
    let witnesses = Witnesses {
        version: apic::read(VERSION),
        identification: registers.map(|registers| (registers, IDENTIFICATION)),
        ids: config.read32(0),
        memory,
    };
    checks.equal("another-device-is-there", witnesses.identification.is_some(), true);
    let own = witnesses.memory.address().next_multiple_of(bar.bytes);
    let ecam = acpi::ecam().map_or(0, |ecam| ecam.base);
    let others = witnesses.identification.map_or(0, |(registers, _)| registers.base());
    let places = [
        ("bar-at-zero", 0),
        ("bar-over-the-program", 0x10_0000),
        ("bar-over-own-memory", own),
        ("bar-over-the-local-apic", APIC),
        ("bar-over-the-io-apic", 0xfec0_0000),
        ("bar-over-configuration-space", ecam),
        ("bar-over-another-bar", others),
        ("bar-across-the-windows-end", ecam.wrapping_sub(bar.bytes / 2)),
        ("bar-at-the-end-of-4g", 0xffff_c000),
        ("bar-above-4g", 1 << 32 | own),
        ("bar-at-the-end-of-40-bits", 0xff_ffff_c000),
        ("bar-beyond-40-bits", 1 << 40 | own),
        ("bar-at-the-end-of-all", !(bar.bytes - 1)),
    ];
    let home = bar.address;
    for (name, place) in places {
        checks.report(name, at(function, place, &witnesses));
        put(config, home);
        checks.report("bar-comes-home", came_home(function, home));
    }
}

/// Both halves, the lower one first: in between it is somewhere else again.
fn put(config: &Mmio, place: u64) {
    config.write32(BAR, place as u32);
    config.write32(BAR + 4, (place >> 32) as u32);
}

fn at(function: &Function, place: u64, witnesses: &Witnesses) -> Result<(), String> {
    put(function.config(), place);
    let mut word = [0; 8];
    for offset in (0..witnesses.memory.bytes()).step_by(512) {
        witnesses.memory.read(offset, &mut word);
        if u64::from_le_bytes(word) != CANARY {
            return Err(format!("memory at {offset} is {word:x?}"));
        }
    }
    let version = apic::read(VERSION);
    if version != witnesses.version {
        return Err(format!("the local APIC's version is {version:#x}, not {:#x}", witnesses.version));
    }
    let ids = function.config().read32(0);
    if ids != witnesses.ids {
        return Err(format!("configuration space says {ids:#x}, not {:#x}", witnesses.ids));
    }
    match witnesses.identification {
        Some((registers, wanted)) if registers.read32(0) != wanted => {
            Err(format!("the other device says {:#x}, not {wanted:#x}", registers.read32(0)))
        }
        _ => Ok(()),
    }
}

fn came_home(function: &Function, home: u64) -> Result<(), String> {
    let bar = function.bar(0).ok_or("BAR 0 is missing")?;
    let word = bar.registers().read32(PARAMETERS);
    match bar.address == home && word != 0 && word != u32::MAX {
        true => Ok(()),
        false => Err(format!("at {:#x} is {word:#x}", bar.address)),
    }
}
