// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device `edu` (QEMU's docs/specs/edu): a buffer of 4 KiB that it copies from and to memory, and an MSI.

use crate::env::{at, own_cnode};
use crate::{Env, Failure, Outcome, check, machine};
use sel4::init_thread::{Slot, slot};
use sel4::{CapRights, CapTypeForObjectOfFixedSize, ObjectBlueprint, VmAttributes, cap, cap_type};

const ID: u32 = 0x11e8_1234;
const COMMAND: u16 = 0x04;
const BAR0: u16 = 0x10;
const CAPABILITIES: u16 = 0x34;
/// Memory space and bus mastering.
const ENABLE: u32 = 0x6;
/// Capability ID of MSIs.
const MSI: u32 = 0x05;
/// Where the device sees its own buffer.
const BUFFER: u64 = 0x4_0000;

/// The registers, by offset.
mod register {
    pub const RAISE: usize = 0x60;
    pub const ACKNOWLEDGE: usize = 0x64;
    pub const SOURCE: usize = 0x80;
    pub const DESTINATION: usize = 0x88;
    pub const COUNT: usize = 0x90;
    pub const COMMAND: usize = 0x98;
}

/// Configuration space by its ports.
#[derive(Clone, Copy)]
pub struct Config(cap::IOPort);

impl Config {
    /// Takes the ports.
    pub fn open(env: &mut Env) -> Outcome<Self> {
        let ports = env.empty::<cap_type::IOPort>()?;
        slot::IO_PORT_CONTROL.cap().ioport_control_issue(0xcf8, 0xcff, &at(ports))?;
        Ok(Self(ports))
    }

    fn select(self, bus: u8, offset: u16) -> Outcome {
        // Both devices are function 0 of device 0 of their bus.
        Ok(self.0.ioport_out32(0xcf8, 1 << 31 | u32::from(bus) << 16 | u32::from(offset & 0xfc))?)
    }

    fn read(self, bus: u8, offset: u16) -> Outcome<u32> {
        self.select(bus, offset)?;
        Ok(self.0.ioport_in32(0xcfc)?)
    }

    fn write(self, bus: u8, offset: u16, value: u32) -> Outcome {
        self.select(bus, offset)?;
        Ok(self.0.ioport_out32(0xcfc, value)?)
    }
}

/// One device.
#[derive(Clone, Copy)]
pub struct Edu {
    config: Config,
    /// Its bus.
    pub bus: u8,
    registers: usize,
}

/// Bits of the command: from the device to memory, with a message at the end.
const TO_MEMORY: u32 = 2;
const TELL: u32 = 4;

impl Edu {
    /// Maps the registers of the device on `bus` at `vaddr`, which needs its tables, and turns bus mastering on.
    pub fn take(
        env: &mut Env,
        memory: &mut DeviceMemory,
        config: Config,
        bus: u8,
        vaddr: usize,
    ) -> Outcome<Self> {
        if config.read(bus, 0)? != ID {
            return Err(Failure::skip("no edu device there"));
        }
        let bar = u64::from(config.read(bus, BAR0)? & !0xf);
        let frame = memory.frame(env, bar)?;
        let uncached = VmAttributes::CACHE_DISABLED;
        frame.frame_map(slot::VSPACE.cap(), vaddr, CapRights::read_write(), uncached)?;
        config.write(bus, COMMAND, ENABLE)?;
        Ok(Self { config, bus, registers: vaddr })
    }

    /// Its requester ID.
    pub fn requester(self) -> u16 {
        u16::from(self.bus) << 8
    }

    fn write(self, register: usize, value: u32) {
        let at = (self.registers + register) as *mut u32;
        // SAFETY: the frame of the device's registers is mapped there.
        unsafe { at.write_volatile(value) };
    }

    fn write_wide(self, register: usize, value: u64) {
        let at = (self.registers + register) as *mut u64;
        // SAFETY: as in `write`.
        unsafe { at.write_volatile(value) };
    }

    fn busy(self) -> bool {
        let at = (self.registers + register::COMMAND) as *const u32;
        // SAFETY: as in `write`.
        unsafe { at.read_volatile() & 1 != 0 }
    }

    fn begin(self, from: u64, to: u64, bytes: u64, command: u32) {
        self.write_wide(register::SOURCE, from);
        self.write_wide(register::DESTINATION, to);
        self.write_wide(register::COUNT, bytes);
        self.write(register::COMMAND, command | 1);
    }

    fn copy(self, env: &Env, from: u64, to: u64, bytes: u64, command: u32) -> Outcome {
        self.begin(from, to, bytes, command);
        env.wait_until(5_000_000, || !self.busy())
    }

    /// Begins to copy `bytes` (at most 4095) from the device to memory; the tick at which that happens. The device counts 100 ms from the
    /// millisecond in which it gets the command, and where instructions are counted one is a nanosecond and a tick.
    pub fn begin_write(self, iova: u64, bytes: u64) -> u64 {
        self.begin_timed(iova, bytes, TO_MEMORY)
    }

    /// The same with a message at that tick.
    pub fn begin_write_and_tell(self, iova: u64, bytes: u64) -> u64 {
        self.begin_timed(iova, bytes, TO_MEMORY | TELL)
    }

    fn begin_timed(self, iova: u64, bytes: u64, command: u32) -> u64 {
        const MILLISECOND: u64 = 1_000_000;
        while machine::rdtsc() % MILLISECOND > MILLISECOND / 2 {}
        let begun = machine::rdtsc() / MILLISECOND;
        self.begin(BUFFER, iova, bytes, command);
        (begun + 100) * MILLISECOND
    }

    /// Copies `bytes` (at most 4095) from memory into the device.
    pub fn read_memory(self, env: &Env, iova: u64, bytes: u64) -> Outcome {
        self.copy(env, iova, BUFFER, bytes, 0)
    }

    /// Copies `bytes` (at most 4095) from the device to memory.
    pub fn write_memory(self, env: &Env, iova: u64, bytes: u64) -> Outcome {
        self.copy(env, BUFFER, iova, bytes, TO_MEMORY)
    }

    /// Lets the device send remappable messages with this handle.
    pub fn set_message(self, handle: u64) -> Outcome {
        let mut at = (self.config.read(self.bus, CAPABILITIES)? & 0xfc) as u16;
        for _ in 0..48 {
            check!(at != 0, "the device has no MSI capability");
            let head = self.config.read(self.bus, at)?;
            if head & 0xff == MSI {
                let handle = handle as u32;
                let address = 0xfee0_0010 | (handle & 0x7fff) << 5 | handle >> 15 << 2;
                self.config.write(self.bus, at + 4, address)?;
                self.config.write(self.bus, at + 8, 0)?;
                self.config.write(self.bus, at + 12, 0)?;
                return self.config.write(self.bus, at, head | 1 << 16);
            }
            at = (head >> 8 & 0xfc) as u16;
        }
        Err(Failure::new(format_args!("the capability list has no end")))
    }

    /// Takes note of the end of a transfer that was told.
    pub fn acknowledge_transfer(self) {
        const ENDED: u32 = 0x100;
        self.write(register::ACKNOWLEDGE, ENDED);
    }

    /// Sends a message.
    pub fn raise(self) {
        self.write(register::RAISE, 1);
        self.write(register::ACKNOWLEDGE, 1);
    }
}

/// Device memory of a check: pieces of the boot information's untypeds, cut by halves.
#[derive(Default)]
pub struct DeviceMemory {
    /// What is left over: slot, physical address, logarithm of the bytes.
    pieces: heapless::Vec<(usize, u64, usize), 128>,
}

impl DeviceMemory {
    /// The frame of device memory at `paddr`.
    pub fn frame(&mut self, env: &mut Env, paddr: u64) -> Outcome<cap::Granule> {
        let (mut slot, mut base, size_bits) = self.piece_with(env, paddr)?;
        for bits in (12..size_bits).rev() {
            let halves = env.slots(2)?;
            let blueprint = ObjectBlueprint::Untyped { size_bits: bits };
            untyped(slot).untyped_retype(&blueprint, &own_cnode(), halves, 2)?;
            let upper = (paddr - base) >> bits & 1;
            let left_over = (halves + (upper ^ 1) as usize, base + ((upper ^ 1) << bits), bits);
            check!(self.pieces.push(left_over).is_ok(), "too many pieces of device memory");
            base += upper << bits;
            slot = halves + upper as usize;
        }
        let frame = env.empty::<cap_type::Granule>()?;
        let blueprint = cap_type::Granule::BLUEPRINT;
        untyped(slot).untyped_retype(&blueprint, &own_cnode(), frame.bits() as usize, 1)?;
        Ok(frame)
    }

    /// Takes the piece that has `paddr`, or the untyped of the boot information.
    fn piece_with(&mut self, env: &Env, paddr: u64) -> Outcome<(usize, u64, usize)> {
        let within = |base: u64, bits: usize| base <= paddr && paddr - base < 1 << bits;
        if let Some(at) = self.pieces.iter().position(|&(_, base, bits)| within(base, bits)) {
            return Ok(self.pieces.swap_remove(at));
        }
        let mut untypeds = env.bootinfo.untypeds();
        untypeds
            .find(|(_, desc)| desc.is_device != 0 && within(desc.paddr, desc.size_bits.into()))
            .map(|(slot, desc)| (slot.index(), desc.paddr, desc.size_bits.into()))
            .ok_or(Failure::new(format_args!("no untyped has {paddr:#x}")))
    }
}

fn untyped(slot: usize) -> cap::Untyped {
    Slot::from_index(slot).cap()
}
