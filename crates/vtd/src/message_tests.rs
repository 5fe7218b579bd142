// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every message that a device can send, against entries as they are made here, by a unit as the specification has it: an emulator doesn't
//! check what is written by DMA.

use crate::irte::Irte;
use crate::message::{remappable, remappable_block};

/// Fault reasons (section 7.1.3, "Interrupt remapping faults").
const RESERVED_IN_REQUEST: u8 = 0x20;
const BEYOND_THE_TABLE: u8 = 0x21;
const NOT_PRESENT: u8 = 0x22;
const COMPATIBILITY: u8 = 0x25;
const SOURCE: u8 = 0x26;

const ENTRIES: usize = 1024;
const A: u16 = 0x0100;
const B: u16 = 0x0200;
const PINS: u16 = 0xff00;

/// What a unit with compatibility-format interrupts off does (sections 5.1.2 to 5.1.4): the vector that is raised, or a fault.
fn unit(table: &[Irte], address: u32, data: u32, source: u16) -> Result<u8, u8> {
    assert_eq!(address >> 20, 0xfee, "no interrupt message");
    if address >> 4 & 1 == 0 {
        return Err(COMPATIBILITY);
    }
    let handle = address >> 5 & 0x7fff | (address >> 2 & 1) << 15;
    let index = if address >> 3 & 1 == 0 {
        handle
    } else if data >> 16 != 0 {
        return Err(RESERVED_IN_REQUEST);
    } else {
        handle + data
    };
    let entry = table.get(index as usize).ok_or(BEYOND_THE_TABLE)?;
    if entry.low & 1 == 0 {
        return Err(NOT_PRESENT);
    }
    // Source validation type and qualifier (section 9.10).
    let (qualifier, kind, id) = (entry.high >> 16 & 3, entry.high >> 18 & 3, entry.high as u16);
    let ignored = [0, 0b100, 0b110, 0b111][qualifier as usize];
    let passes = match kind {
        0 => true,
        1 => source & !ignored == id & !ignored,
        2 => (id >> 8..=id & 0xff).contains(&(source >> 8)),
        _ => false,
    };
    if passes { Ok((entry.low >> 16) as u8) } else { Err(SOURCE) }
}

fn table() -> Vec<Irte> {
    let mut table = vec![Irte::ABSENT; ENTRIES];
    (0..4).for_each(|n| table[n] = Irte::new(PINS, 0x30 + n as u8, 0, true));
    (40..44).for_each(|n| table[n] = Irte::new(A, 0x40 + n as u8, 0, false));
    table[44] = Irte::new(B, 0x90, 0, false);
    table[45] = Irte::new(A, 0x91, 0, false).blocked(true);
    table
}

#[test]
fn own_messages_arrive() {
    let table = table();
    for handle in 40..44 {
        let message = remappable(handle);
        assert_eq!(unit(&table, message.address, message.data, A), Ok(0x40 + handle as u8));
        let block = remappable_block(40);
        assert_eq!(unit(&table, block.address, u32::from(handle) - 40, A), Ok(0x40 + handle as u8));
    }
    assert_eq!(unit(&table, remappable(45).address, 0, A), Err(NOT_PRESENT));
}

#[test]
fn no_message_raises_anothers_interrupt() {
    let table = table();
    // The devices, other functions of one, the bus's last, the root complex's, none.
    for source in [A, B, A + 1, A + 4, A + 7, 0x01ff, 0x0000, 0xffff] {
        let own = |vector: u8| table.iter().any(|e| e.vector() == vector && e.source() == source);
        let mut raised = 0;
        for low in (0..1 << 20).filter(|low| low & 3 == 0) {
            for data in [0, 1, 2, 3, 4, 44, 0xff, 0xffff, 0x1_0000, 0x2c_0000, u32::MAX] {
                match unit(&table, 0xfee0_0000 | low, data, source) {
                    Ok(vector) => {
                        assert!(own(vector), "{source:#x} raises {vector:#x} by {low:#x}, {data:#x}");
                        raised += 1;
                    }
                    Err(fault) => assert!(low & 1 << 4 != 0 || fault == COMPATIBILITY),
                }
            }
        }
        assert_eq!(raised > 0, source == A || source == B, "{source:#x}: {raised}");
    }
}
