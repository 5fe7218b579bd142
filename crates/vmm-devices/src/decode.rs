// SPDX-License-Identifier: MIT OR Apache-2.0
//! Decodes the instructions that a guest may use on a trapped address: MOV, MOVZX, MOVSX and MOVSXD with one memory operand
//! (AMD64 manual, volume 3, chapter 1 and appendix A). The nested page fault tells the address, so the operand's own is not computed.
//!
//! The guest interface names only these, which keeps this part of the attack surface a page long. The tests hold it against
//! `iced-x86`, which knows all instructions.

/// Longest instruction, in bytes.
pub const MAX_LENGTH: usize = 15;

/// Default operand and address size of the code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Real mode, or a 16-bit code segment.
    Bits16,
    /// A 32-bit code segment.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

/// A general register as the encoding names it: RAX RCX RDX RBX RSP RBP RSI RDI R8..R15, or bits 8..16 of one of the first four.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Register {
    /// 0..16.
    pub index: u8,
    /// AH, CH, DH or BH.
    pub high: bool,
}

impl Register {
    /// The number of RSP.
    pub const RSP: u8 = 4;
}

/// What a load does with the bits above those it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extend {
    /// Zeros up to the destination's width.
    Zero,
    /// Copies of the sign bit up to the destination's width.
    Sign,
}

/// What moves where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Move {
    /// Memory to register.
    Load {
        /// The destination.
        to: Register,
        /// The destination's bytes: 1, 2, 4 or 8.
        bytes: u8,
        /// How the value is widened.
        extend: Extend,
    },
    /// Register to memory.
    Store(Register),
    /// Constant to memory.
    StoreImmediate(u64),
}

/// A decoded instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instruction {
    /// Its length in bytes.
    pub length: u8,
    /// Bytes of memory that it reads or writes: 1, 2, 4 or 8.
    pub width: u8,
    /// What it does.
    pub action: Move,
}

/// The guest's general registers, numbered as the encoding numbers them.
pub trait RegisterFile {
    /// Reads register `index` (0..16).
    fn get(&self, index: u8) -> u64;
    /// Writes register `index` (0..16).
    fn set(&mut self, index: u8, value: u64);
}

impl Instruction {
    /// Whether the stack pointer is an operand, which an exit's message doesn't carry.
    #[must_use]
    pub fn uses_stack_pointer(&self) -> bool {
        match self.action {
            Move::Load { to: register, .. } | Move::Store(register) => {
                register.index == Register::RSP && !register.high
            }
            Move::StoreImmediate(_) => false,
        }
    }

    /// The value that a store writes, in the low [`Instruction::width`] bytes; `None` for a load.
    #[must_use]
    pub fn stored(&self, registers: &impl RegisterFile) -> Option<u64> {
        let value = match self.action {
            Move::Load { .. } => return None,
            Move::Store(from) if from.high => registers.get(from.index) >> 8,
            Move::Store(from) => registers.get(from.index),
            Move::StoreImmediate(value) => value,
        };
        Some(value & mask(self.width))
    }

    /// Completes a load with the value that was read from memory. Nothing happens for a store.
    pub fn loaded(&self, registers: &mut impl RegisterFile, value: u64) {
        let Move::Load { to, bytes, extend } = self.action else { return };
        let unused = 64 - 8 * u32::from(self.width);
        let value = match extend {
            Extend::Zero => (value << unused) >> unused,
            Extend::Sign => (((value << unused) as i64) >> unused) as u64,
        };
        let old = registers.get(to.index);
        let new = match (bytes, to.high) {
            (1, true) => (old & !0xff00) | ((value & 0xff) << 8),
            (1, false) => (old & !0xff) | (value & 0xff),
            (2, _) => (old & !0xffff) | (value & 0xffff),
            // A 32-bit destination clears the upper half.
            (4, _) => value & 0xffff_ffff,
            _ => value,
        };
        registers.set(to.index, new);
    }
}

/// The low `width` bytes.
#[must_use]
pub fn mask(width: u8) -> u64 {
    if width >= 8 { u64::MAX } else { (1 << (8 * width)) - 1 }
}

/// Prefixes of an instruction.
#[derive(Default)]
struct Prefixes {
    operand: bool,
    address: bool,
    lock: bool,
    rex: u8,
}

/// A reader over the instruction's bytes, at most 15.
struct Bytes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        (self.at <= MAX_LENGTH).then_some(byte)
    }
    fn skip(&mut self, count: usize) -> Option<()> {
        self.at += count;
        (self.at <= self.bytes.len().min(MAX_LENGTH)).then_some(())
    }
    /// A little-endian constant of `count` bytes, sign-extended.
    fn signed(&mut self, count: usize) -> Option<u64> {
        let mut value = 0u64;
        for n in 0..count {
            value |= u64::from(self.next()?) << (8 * n);
        }
        let unused = 64 - 8 * count as u32;
        Some((((value << unused) as i64) >> unused) as u64)
    }

    /// Skips the prefixes and gives the first opcode byte.
    fn prefixes(&mut self, mode: Mode) -> Option<(Prefixes, u8)> {
        let mut prefixes = Prefixes::default();
        loop {
            let byte = self.next()?;
            match byte {
                0x66 => prefixes.operand = true,
                0x67 => prefixes.address = true,
                0xf0 => prefixes.lock = true,
                0xf2 | 0xf3 | 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 => {}
                0x40..=0x4f if mode == Mode::Bits64 => {
                    // Counts only directly before the opcode.
                    prefixes.rex = byte;
                    continue;
                }
                _ => return Some((prefixes, byte)),
            }
            prefixes.rex = 0;
        }
    }
}

/// Decodes one instruction from `bytes`, which may hold more than it. `None`: not of the MOV family, or cut off.
#[must_use]
pub fn decode(bytes: &[u8], mode: Mode) -> Option<Instruction> {
    let mut bytes = Bytes { bytes, at: 0 };
    let (prefixes, opcode) = bytes.prefixes(mode)?;
    if prefixes.lock {
        return None;
    }
    let operand = match (mode, prefixes.rex & 8 != 0, prefixes.operand) {
        (Mode::Bits64, true, _) => 8,
        (Mode::Bits16, _, false) | (Mode::Bits32 | Mode::Bits64, _, true) => 2,
        _ => 4,
    };
    let rex = prefixes.rex;
    let load = |to, bytes, extend| Move::Load { to, bytes, extend };
    let (width, action) = match opcode {
        0x88..=0x8b => {
            let width = if opcode & 1 == 0 { 1 } else { operand };
            let register = register(bytes.modrm(mode, &prefixes)?, rex, width);
            (width, if opcode & 2 == 0 { Move::Store(register) } else { load(register, width, Extend::Zero) })
        }
        0xa0..=0xa3 => {
            let width = if opcode & 1 == 0 { 1 } else { operand };
            bytes.skip(match (mode, prefixes.address) {
                (Mode::Bits64, false) => 8,
                (Mode::Bits32, false) | (Mode::Bits64 | Mode::Bits16, true) => 4,
                _ => 2,
            })?;
            let rax = Register { index: 0, high: false };
            (width, if opcode & 2 == 0 { load(rax, width, Extend::Zero) } else { Move::Store(rax) })
        }
        0xc6 | 0xc7 => {
            let width = if opcode == 0xc6 { 1 } else { operand };
            if bytes.modrm(mode, &prefixes)? != 0 {
                return None;
            }
            (width, Move::StoreImmediate(bytes.signed(usize::from(width.min(4)))?))
        }
        0x63 if mode == Mode::Bits64 => {
            let to = register(bytes.modrm(mode, &prefixes)?, rex, operand);
            (operand.min(4), load(to, operand, Extend::Sign))
        }
        0x0f => {
            let opcode = bytes.next()?;
            let extend = match opcode {
                0xb6 | 0xb7 => Extend::Zero,
                0xbe | 0xbf => Extend::Sign,
                _ => return None,
            };
            let to = register(bytes.modrm(mode, &prefixes)?, rex, operand);
            (if opcode & 1 == 0 { 1 } else { 2 }, load(to, operand, extend))
        }
        _ => return None,
    };
    Some(Instruction { length: bytes.at as u8, width, action })
}

/// The register that ModRM's `reg` field names in an operand of `width` bytes.
fn register(reg: u8, rex: u8, width: u8) -> Register {
    if width == 1 && rex == 0 && reg >= 4 {
        return Register { index: reg - 4, high: true };
    }
    Register { index: reg | ((rex & 4) << 1), high: false }
}

impl Bytes<'_> {
    /// Skips ModRM with what belongs to a memory operand and gives its `reg` field; `None` for a register operand.
    fn modrm(&mut self, mode: Mode, prefixes: &Prefixes) -> Option<u8> {
        let modrm = self.next()?;
        let (form, reg, rm) = (modrm >> 6, (modrm >> 3) & 7, modrm & 7);
        if form == 3 {
            return None;
        }
        let short = (mode == Mode::Bits16) != prefixes.address && mode != Mode::Bits64;
        if short {
            self.skip(match (form, rm) {
                (0, 6) | (2, _) => 2,
                (1, _) => 1,
                _ => 0,
            })?;
            return Some(reg);
        }
        let base = if rm == 4 { self.next()? & 7 } else { rm };
        self.skip(match (form, base) {
            (0, 5) | (2, _) => 4,
            (1, _) => 1,
            _ => 0,
        })?;
        Some(reg)
    }
}

/// A MOV between a control register and a general one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MoveControl {
    /// Its length in bytes.
    pub length: u8,
    /// The general register.
    pub register: u8,
}

/// Decodes a MOV to or from control register `number` (AMD64 manual, volume 3, "MOV CRn").
#[must_use]
pub fn move_control(bytes: &[u8], mode: Mode, number: u8) -> Option<MoveControl> {
    let mut bytes = Bytes { bytes, at: 0 };
    let (prefixes, opcode) = bytes.prefixes(mode)?;
    let second = bytes.next()?;
    let modrm = bytes.next()?;
    // LOCK stands for REX.R where there is no REX.
    let control = (modrm >> 3) & 7 | if prefixes.lock || prefixes.rex & 4 != 0 { 8 } else { 0 };
    let register = modrm & 7 | (prefixes.rex & 1) << 3;
    let is_move = opcode == 0x0f && matches!(second, 0x20 | 0x22);
    (is_move && control == number).then_some(MoveControl { length: bytes.at as u8, register })
}

/// The length of an instruction known to be `opcode` (all its bytes, without prefixes); `None` if `bytes` hold something else.
#[must_use]
pub fn length_of(bytes: &[u8], mode: Mode, opcode: &[u8]) -> Option<u8> {
    // Nearly always there are no prefixes.
    if bytes.starts_with(opcode) {
        return Some(opcode.len() as u8);
    }
    let mut bytes = Bytes { bytes, at: 0 };
    let (_, first) = bytes.prefixes(mode)?;
    let (&expected, rest) = opcode.split_first()?;
    if first != expected {
        return None;
    }
    for &expected in rest {
        if bytes.next()? != expected {
            return None;
        }
    }
    Some(bytes.at as u8)
}

const CACHE: usize = 16;

#[derive(Clone, Copy)]
struct Entry {
    bytes: u128,
    mask: u128,
    mode: Mode,
    instruction: Instruction,
}

/// Instructions decoded before, found again by address and compared by their bytes, since the guest may have rewritten them.
pub struct Cache {
    entries: [Option<Entry>; CACHE],
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: [None; CACHE] }
    }

    /// What [`decode`] gives for the first `available` of `bytes` (little-endian, the rest zero). `rip` only chooses the place.
    pub fn decode(&mut self, rip: u64, bytes: u128, available: usize, mode: Mode) -> Option<Instruction> {
        let slot = &mut self.entries[(rip ^ (rip >> 4)) as usize % CACHE];
        if let Some(entry) = slot
            && bytes & entry.mask == entry.bytes
            && entry.mode == mode
            && usize::from(entry.instruction.length) <= available
        {
            return Some(entry.instruction);
        }
        let all = bytes.to_le_bytes();
        let instruction = decode(&all[..available.min(MAX_LENGTH)], mode)?;
        let mask = (1u128 << (8 * u32::from(instruction.length))) - 1;
        *slot = Some(Entry { bytes: bytes & mask, mask, mode, instruction });
        Some(instruction)
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
