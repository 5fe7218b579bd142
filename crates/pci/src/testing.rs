// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine made of arrays, for tests.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use crate::address::Address;
use crate::config::{ConfigSpace, STATUS_CAPABILITIES, Width, register};

/// A function: its bytes, and which bits of them a write changes.
struct Function {
    bytes: Vec<u8>,
    writable: Vec<u8>,
}

/// Functions by address.
#[derive(Default)]
pub struct Machine {
    functions: RefCell<BTreeMap<Address, Function>>,
    /// Every write, in order.
    pub writes: RefCell<Vec<(Address, u16, Width, u32)>>,
    /// Where a bit that is written resets a function.
    triggers: RefCell<Vec<(Address, u16, u32, Address)>>,
    /// After how many steps (writes, and calls of [`Machine::burn`]) whoever does them dies, by a panic.
    pub fuse: Cell<Option<usize>>,
}

/// Parses an address.
pub fn at(text: &str) -> Address {
    text.parse().unwrap()
}

impl Machine {
    /// Without functions.
    pub fn new() -> Self {
        Self::default()
    }

    /// A step: of those as many are survived as the fuse says.
    pub fn burn(&self) {
        if let Some(left) = self.fuse.get() {
            self.fuse.set(left.checked_sub(1));
            if left == 0 {
                // Without a word of the panic hook.
                std::panic::resume_unwind(std::boxed::Box::new("dies here"));
            }
        }
    }

    fn add(&self, text: &str, vendor: u16, device: u16, header: u8) -> Address {
        let address = at(text);
        let mut function = Function { bytes: vec![0; 4096], writable: vec![0; 4096] };
        function.bytes[..2].copy_from_slice(&vendor.to_le_bytes());
        function.bytes[2..4].copy_from_slice(&device.to_le_bytes());
        function.bytes[register::HEADER_TYPE as usize] = header;
        function.writable[4..6].fill(0xff);
        function.writable[0x3c] = 0xff;
        self.functions.borrow_mut().insert(address, function);
        address
    }

    /// Adds an endpoint.
    pub fn endpoint(&self, text: &str, vendor: u16, device: u16) -> Address {
        self.add(text, vendor, device, 0)
    }

    /// Adds an endpoint from a dump: lines of an offset and words, in hexadecimal; `#` begins a comment.
    pub fn dump(&self, text: &str, dump: &str) -> Address {
        let hex = |word: &str| u32::from_str_radix(word, 16).unwrap();
        let address = self.endpoint(text, 0, 0);
        for line in dump.lines().filter(|line| !line.starts_with('#')) {
            let (offset, words) = line.split_once(':').unwrap();
            for (n, word) in words.split_whitespace().enumerate() {
                self.set32(address, hex(offset) as u16 + 4 * n as u16, hex(word));
            }
        }
        address
    }

    /// Adds a bridge that passes everything below 4 GiB.
    pub fn bridge(&self, text: &str, secondary: u8, subordinate: u8) -> Address {
        let address = self.add(text, 0x1b36, 0x000c, 1);
        self.set8(address, register::BUSES, address.bus);
        self.set8(address, register::BUSES + 1, secondary);
        self.set8(address, register::BUSES + 2, subordinate);
        self.set32(address, 0x20, 0xfff0_0000);
        self.set32(address, 0x24, 0x0000_fff0);
        address
    }

    /// Makes a bridge pass nothing.
    pub fn closed(&self, bridge: Address) {
        self.set32(bridge, 0x20, 0x0000_fff0);
        self.set32(bridge, 0x24, 0x0000_fff0);
    }

    /// Takes a function out, as when it doesn't answer any more.
    pub fn remove(&self, address: Address) {
        self.functions.borrow_mut().remove(&address);
    }

    /// A write of any of `bits` at `offset` of `register` clears `function`'s command register and addresses.
    pub fn resets(&self, register: Address, offset: u16, bits: u32, function: Address) {
        self.triggers.borrow_mut().push((register, offset, bits, function));
    }

    /// Links capabilities at the offsets given, in that order.
    pub fn capabilities(&self, address: Address, list: &[(u8, u8)]) {
        self.set16(address, register::STATUS, STATUS_CAPABILITIES);
        let mut link = register::CAPABILITIES;
        for &(offset, id) in list {
            self.set8(address, link, offset);
            self.set8(address, offset.into(), id);
            link = u16::from(offset) + 1;
        }
        self.set8(address, link, 0);
    }

    /// Gives a function the capability of a physical function, at 0x100: so many virtual functions, First VF Offset, VF Stride, and a
    /// 64-bit BAR 0 of `size` bytes for each that firmware has put at `base`. The virtual functions are added, and answer from the start.
    pub fn physical(
        &self,
        physical: Address,
        total: u16,
        (first, stride): (u16, u16),
        (base, size): (u64, u64),
    ) {
        self.set32(physical, 0x100, 0x0001_0010);
        self.set16(physical, 0x10e, total);
        self.set8(physical, 0x112, physical.devfn.function());
        self.set32(physical, 0x114, u32::from(stride) << 16 | u32::from(first));
        self.set16(physical, 0x11a, 0x1234);
        self.set32(physical, 0x11c, 0x553);
        self.set32(physical, 0x120, 1);
        self.set32(physical, 0x124, base as u32 | 4);
        self.set32(physical, 0x128, (base >> 32) as u32);
        self.writable32(physical, 0x108, 0x1f);
        self.writable32(physical, 0x110, 0xffff);
        self.writable32(physical, 0x120, 0x553);
        self.writable32(physical, 0x124, !(size - 1) as u32 & !0xf);
        self.writable32(physical, 0x128, (!(size - 1) >> 32) as u32);
        for number in 0..u32::from(total) {
            let devfn = u32::from(physical.devfn.0) + u32::from(first) + number * u32::from(stride);
            if let Some(devfn) = u8::try_from(devfn).ok().filter(|devfn| *devfn != physical.devfn.0) {
                let address = Address { devfn: crate::DevFn(devfn), ..physical };
                self.endpoint(&std::format!("{address}"), 0xffff, 0xffff);
                self.set32(address, register::REVISION, 0x0108_0202);
            }
        }
    }

    /// A base address register of `size` bytes with the low flag bits given; two registers if they say 64 bits.
    pub fn bar(&self, address: Address, index: u16, flags: u32, base: u64, size: u64) {
        let offset = register::BAR + 4 * index;
        self.set32(address, offset, base as u32 | flags);
        let low = if flags & 1 != 0 { !3 } else { !0xf };
        self.writable32(address, offset, !(size - 1) as u32 & low);
        if flags & 7 == 4 {
            self.set32(address, offset + 4, (base >> 32) as u32);
            self.writable32(address, offset + 4, (!(size - 1) >> 32) as u32);
        }
    }

    /// Says which bits of a register a write changes.
    pub fn writable32(&self, address: Address, offset: u16, mask: u32) {
        let mut functions = self.functions.borrow_mut();
        let bytes = &mut functions.get_mut(&address).unwrap().writable;
        bytes[offset as usize..][..4].copy_from_slice(&mask.to_le_bytes());
    }

    /// Sets a byte, whatever a write could do.
    pub fn set8(&self, address: Address, offset: u16, value: u8) {
        self.functions.borrow_mut().get_mut(&address).unwrap().bytes[offset as usize] = value;
    }

    /// Sets 16 bits.
    pub fn set16(&self, address: Address, offset: u16, value: u16) {
        for (i, byte) in value.to_le_bytes().into_iter().enumerate() {
            self.set8(address, offset + i as u16, byte);
        }
    }

    /// Sets 32 bits.
    pub fn set32(&self, address: Address, offset: u16, value: u32) {
        for (i, byte) in value.to_le_bytes().into_iter().enumerate() {
            self.set8(address, offset + i as u16, byte);
        }
    }
}

impl ConfigSpace for Machine {
    fn read(&self, at: Address, offset: u16, width: Width) -> u32 {
        assert_eq!(offset % width.bytes(), 0);
        let functions = self.functions.borrow();
        let Some(function) = functions.get(&at) else { return width.mask() };
        let mut value = [0; 4];
        let bytes = width.bytes() as usize;
        value[..bytes].copy_from_slice(&function.bytes[offset as usize..][..bytes]);
        u32::from_le_bytes(value)
    }

    fn write(&self, at: Address, offset: u16, width: Width, value: u32) {
        assert_eq!(offset % width.bytes(), 0);
        self.burn();
        self.writes.borrow_mut().push((at, offset, width, value));
        for &(trigger, place, bits, victim) in self.triggers.borrow().iter() {
            let mut functions = self.functions.borrow_mut();
            let Some(victim) = functions.get_mut(&victim) else { continue };
            if (trigger, place) == (at, offset) && value & bits != 0 {
                for index in (4..6).chain(0x10..0x28) {
                    victim.bytes[index] &= !victim.writable[index];
                }
            }
        }
        let mut functions = self.functions.borrow_mut();
        let Some(function) = functions.get_mut(&at) else { return };
        for (i, byte) in value.to_le_bytes().into_iter().take(width.bytes() as usize).enumerate() {
            let index = offset as usize + i;
            let mask = function.writable[index];
            function.bytes[index] = function.bytes[index] & !mask | byte & mask;
        }
    }
}

/// Marsaglia's xorshift: tests see the same numbers each time.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
