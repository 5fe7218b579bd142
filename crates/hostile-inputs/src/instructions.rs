// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions in memory that the guest and its device write all the time, found by way of tables of the guest's own making.

use crate::bytes::Bytes;
use crate::ram::Ram;
use vmm_devices::decode::{self, Cache, Mode, Register, RegisterFile};
use vmm_devices::fetch::fetch;
use vmm_devices::memory::GuestMemory;
use vmm_devices::walk::{Paging, translate};

const RAM: usize = 0x4000;

struct File([u64; 16]);

impl RegisterFile for File {
    fn get(&self, index: u8) -> u64 {
        self.0[usize::from(index)]
    }
    fn set(&mut self, index: u8, value: u64) {
        self.0[usize::from(index)] = value;
    }
}

/// Writes, fetches and decodes, through one cache.
pub fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let (mut ram, mut cache, mut file) = (Ram(vec![0; RAM]), Cache::new(), File([0; 16]));
    while bytes.more() {
        let at = u64::from(bytes.u16()) % RAM as u64;
        let length = usize::from(bytes.u8() % 17);
        let _ = ram.write(at, bytes.take(length));
        let setting = bytes.u8();
        let mode = [Mode::Bits16, Mode::Bits32, Mode::Bits64][usize::from(setting % 3)];
        let paging = match setting >> 2 & 3 {
            0 => Paging::Off,
            1 => Paging::Legacy { large: setting & 0x10 != 0 },
            2 => Paging::Pae,
            _ => Paging::Long,
        };
        let (tables, linear) = (u64::from(setting >> 6) << 12, bytes.number());
        let place = translate(&ram, paging, tables, linear);
        let code = fetch(&ram, paging, tables, linear);
        assert!(code.available <= 16);
        assert!(place.is_some_and(|gpa| gpa < RAM as u64) || code.available == 0);
        let decoded = cache.decode(linear, code.bytes, code.available, mode);
        let raw = &code.bytes.to_le_bytes()[..code.available];
        assert_eq!(decoded, decode::decode(raw, mode), "the cache has another instruction");
        let _ = (
            decode::move_control(raw, mode, 4),
            decode::move_control(raw, mode, 8),
            decode::length_of(raw, mode, &[0x0f, 0xa2]),
        );
        let Some(instruction) = decoded else { continue };
        assert!((1..=code.available.min(15)).contains(&usize::from(instruction.length)));
        assert!(matches!(instruction.width, 1 | 2 | 4 | 8));
        let stored = instruction.stored(&file);
        assert!(stored.is_none_or(|value| value & !decode::mask(instruction.width) == 0));
        assert!(!instruction.uses_stack_pointer() || file.get(Register::RSP) == file.0[4]);
        instruction.loaded(&mut file, bytes.number());
    }
}
