// SPDX-License-Identifier: MIT OR Apache-2.0
//! The MSI-X table by every door: messages that no guest may send, in every width, aligned or not, where the table is and where it was moved
//! to, and in the registers beside it. (XSA-128 to XSA-131, CVE-2015-4103 to CVE-2015-4106, were doors of this kind.)

#![allow(unsafe_code)]

use crate::device::Xhci;
use crate::msix::Table;
use crate::vectors::Vectors;
use alloc::format;
use alloc::string::String;
use core::arch::asm;
use guest_runtime::checks::Checks;
use guest_runtime::dma::Buffer;
use guest_runtime::irq;
use guest_runtime::pci::Message;

/// Remappable format (Intel VT-d, section 5.1.2.2), with a handle in bits 5..20 and 2, and a subhandle.
const REMAPPABLE: u64 = 0xfee0_0010;
const SUBHANDLE: u64 = 1 << 3;
const CANARY: [u8; 16] = *b"NO MESSAGE HERE!";

pub fn run(xhci: &Xhci, table: &Table, checks: &mut Checks) -> Result<(), &'static str> {
    let mut vectors = Vectors::take(2)?;
    table.enable_all();
    xhci.turn_on();
    let honest = [Message::to_this_cpu(vectors.at(0)), Message::to_this_cpu(vectors.at(1))];
    table.program(1, honest[1], false);
    checks.report("msix-foreign-messages", messages(xhci, table, &mut vectors));
    table.program(0, honest[0], false);
    checks.report("msix-works-after-foreign-messages", works(xhci, &mut vectors));
    checks.report("msix-doors", doors(table));
    table.program(0, honest[0], false);
    table.program(1, honest[1], false);
    checks.report("msix-works-after-all-doors", works(xhci, &mut vectors));
    Ok(())
}

fn works(xhci: &Xhci, vectors: &mut Vectors) -> Result<(), String> {
    for number in [0, 1, 0] {
        xhci.ring(number);
        vectors.expect(&[number])?;
    }
    Ok(())
}

/// Messages that raise nothing: of others, to others, of other kinds, exceptions' vectors, writes to memory.
fn messages(xhci: &Xhci, table: &Table, vectors: &mut Vectors) -> Result<(), String> {
    let mut memory = Buffer::new(4096);
    memory.write(0, &CANARY);
    let handles = (0..8).chain([31, 32, 33, 100, 255, 256, 0x7fff, 0xffff]).map(|handle| {
        let address = REMAPPABLE | (handle & 0x7fff) << 5 | handle >> 15 << 2;
        (address, 0)
    });
    let others = [
        (REMAPPABLE | SUBHANDLE, 0xffff),
        (REMAPPABLE | SUBHANDLE | 0x7fff << 5, 0xffff_ffff),
        // Another processor, logical destinations, the lowest priority's redirection hint.
        (0xfee0_1000, 0x31),
        (0xfee0_0004, 0x31),
        (0xfeef_f00c, 0x31),
        // SMI, NMI, INIT, ExtINT; a level.
        (0xfee0_0000, 0x231),
        (0xfee0_0000, 0x431),
        (0xfee0_0000, 0x531),
        (0xfee0_0000, 0x731),
        (0xfee0_0000, 0xc031),
        // Exceptions.
        (0xfee0_0000, 0x02),
        (0xfee0_0000, 0x08),
        (0xfee0_0000, 0x0d),
        // Not in the window at all: a write to memory.
        (memory.address(), 0x31),
        (memory.address() | 1 << 40, 0x31),
        (u64::MAX, u32::MAX),
    ];
    for (address, data) in handles.chain(others) {
        let before = irq::total() - irq::timer_count();
        table.program(0, Message { address, data }, false);
        xhci.ring(0);
        // The other vector's message comes later, so what came of the first is here by then.
        xhci.ring(1);
        vectors.expect(&[1]).map_err(|why| format!("{address:#x}, {data:#x}: {why}"))?;
        let came = irq::total() - irq::timer_count() - before;
        if came != 1 {
            return Err(format!("{address:#x}, {data:#x}: {came} interrupts, not 1"));
        }
    }
    let mut found = CANARY;
    memory.read(0, &mut found);
    if found == CANARY { Ok(()) } else { Err(format!("a message was written to memory: {found:x?}")) }
}

/// Every byte of the table, of what is behind its end and of the pending bits, in every width, at every offset.
fn doors(table: &Table) -> Result<(), String> {
    let pages = [table.table(), table.pending()];
    for page in pages {
        let bytes = page.bytes() as u64;
        for offset in (0..bytes + 8).chain(bytes + 0x100..bytes + 0x108) {
            let at = page.base() + offset;
            // SAFETY: registers of the device that this program has for itself; what is written to them is undone afterwards.
            unsafe {
                asm!("mov byte ptr [{0}], {1}", in(reg) at, in(reg_byte) 0x5au8, options(nostack));
                asm!("mov word ptr [{0}], {1:x}", in(reg) at, in(reg) 0xfee0u64, options(nostack));
                asm!("mov dword ptr [{0}], {1:e}", in(reg) at, in(reg) 0xfee0_0000u64, options(nostack));
                asm!("mov qword ptr [{0}], {1}", in(reg) at, in(reg) u64::MAX, options(nostack));
                asm!("mov {1}, qword ptr [{0}]", in(reg) at, out(reg) _, options(nostack, readonly));
            }
        }
    }
    // Entries' halves are written with whatever was there; the mask words hold only their bit.
    for number in 0..table.count() {
        let mask = table.table().read32(16 * number + 12);
        if mask & !1 != 0 {
            return Err(format!("entry {number} has the mask word {mask:#x}"));
        }
        table.mask(number, true);
    }
    Ok(())
}
