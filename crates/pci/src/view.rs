// SPDX-License-Identifier: MIT OR Apache-2.0
//! The filtered configuration space: what a guest sees of a device that was passed through to it.
//!
//! It is a picture: 256 bytes, and for each the bits that the guest can change. It was taken once; no access of the guest
//! reaches the device by way of it. What isn't known to be harmless isn't in it, and the rest of the 4096 bytes is zero.
//! Capabilities keep their offsets and are linked anew:
//! - MSI-X, or MSI if there is no MSI-X: virtual, clipped to the vectors that the guest gets;
//! - PCI Express: as an endpoint of the root complex, since the guest sees no port above it; Device Control is virtual;
//! - power management (always D0) and advanced features: as `shown.rs` has them in its tables;
//! - vendor-specific ones, read-only; of virtio's those that say where registers are, so not the one that is a door to the
//!   BARs (Virtio 1.2, section 4.1.4.9);
//! - of the extended ones the serial number.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::bar::{self, Bars, Kind};
use crate::capability::{self, Capability, id};
use crate::config::{ConfigSpace, STATUS_CAPABILITIES, Width, command, register};
pub use crate::effect::Effect;
use crate::interrupt::{Msi, MsiX};
use crate::matching::Identity;
use crate::shown::{self, EXTENDED_WORDS, Shown};

/// Bytes that the picture has.
const SIZE: usize = 256;
/// Capabilities that can be shown.
const MAX_SHOWN: usize = 16;
/// Bytes of a vendor-specific capability that aren't the vendor's: ID, link, length (PCI Local Bus 3.0, appendix H).
const VENDOR_HEADER: u8 = 3;
/// Vendor ID of virtio devices.
const VIRTIO: u16 = 0x1af4;

/// How a device interrupts its guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Interrupts {
    /// Not at all.
    None,
    /// By MSI.
    Msi(Msi),
    /// By MSI-X.
    MsiX(MsiX),
}

impl Interrupts {
    /// Vectors of the hardware.
    pub const fn vectors(&self) -> u16 {
        match self {
            Self::None => 0,
            Self::Msi(msi) => 1 << msi.log2_messages,
            Self::MsiX(msix) => msix.entries,
        }
    }

    /// Vectors shown to a guest that may have at most `limit`: MSI only comes in powers of two.
    pub const fn shown(&self, limit: u16) -> u16 {
        let vectors = if self.vectors() < limit { self.vectors() } else { limit };
        match self {
            Self::Msi(_) if vectors > 0 => 1 << vectors.ilog2(),
            _ => vectors,
        }
    }
}

/// The picture, and what the guest has made of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct View {
    #[serde(with = "crate::image")]
    image: [u8; SIZE],
    #[serde(with = "crate::image")]
    writable: [u8; SIZE],
    bars: Bars,
    interrupts: Interrupts,
    /// Messages shown, as a power of two.
    log2_messages: u8,
    /// Bits that start a reset: byte, and mask.
    resets: Vec<(usize, u8), 2>,
    /// Words of extended space; the others are zero.
    extended: Vec<(u16, u32), EXTENDED_WORDS>,
}

impl View {
    /// Takes the picture. `vectors` are those that the guest gets, at most the hardware's.
    pub fn new<C: ConfigSpace + ?Sized>(
        space: &C,
        at: Address,
        identity: &Identity,
        bars: &Bars,
        interrupts: Interrupts,
        vectors: u16,
    ) -> Self {
        let mut view = Self {
            image: [0; SIZE],
            writable: [0; SIZE],
            bars: *bars,
            interrupts,
            log2_messages: vectors.max(1).ilog2() as u8,
            resets: Vec::new(),
            extended: shown::extended(space, at),
        };
        view.header(identity);
        view.base_addresses();
        view.list(space, at, vectors);
        view
    }

    fn header(&mut self, identity: &Identity) {
        self.put16(register::VENDOR, identity.vendor);
        self.put16(register::VENDOR + 2, identity.device);
        self.put32(register::REVISION, identity.class << 8 | u32::from(identity.revision));
        self.put16(register::SUBSYSTEM, identity.subvendor);
        self.put16(register::SUBSYSTEM + 2, identity.subdevice);
        let has_ports = self.bars.iter().any(|bar| !bar.is_memory());
        let io = if has_ports { command::IO } else { 0 };
        self.allow(register::COMMAND, &(command::MEMORY | command::BUS_MASTER | io).to_le_bytes());
        self.allow(register::COMMAND + 1, &[(command::INTX_DISABLE >> 8) as u8]);
        self.allow(register::CACHE_LINE, &[0xff]);
        self.allow(register::INTERRUPT_LINE, &[0xff]);
    }

    /// The BARs, at address 0. Of ports the upper 16 bits are zero, as there are no more.
    fn base_addresses(&mut self) {
        let bars = self.bars;
        for bar in bars.iter() {
            let offset = bar::register_of(bar.index);
            if bar.index == bar::ROM {
                let mask = !(bar.size - 1) as u32 | bar::ROM_ENABLE;
                self.allow(offset, &mask.to_le_bytes());
                continue;
            }
            if bar.kind == Kind::Io {
                self.put32(offset, 1);
                self.allow(offset, &(!(bar.size - 1) as u16 & !3).to_le_bytes());
                continue;
            }
            let wide = bar.kind == Kind::Memory64;
            self.put32(offset, u32::from(bar.prefetchable) << 3 | u32::from(wide) << 2);
            let mask = !(bar.size - 1);
            self.allow(offset, &(mask as u32 & !0xf).to_le_bytes());
            if wide {
                self.allow(offset + 4, &((mask >> 32) as u32).to_le_bytes());
            }
        }
    }

    /// Shows the capabilities that may be shown, and links them.
    fn list<C: ConfigSpace + ?Sized>(&mut self, space: &C, at: Address, vectors: u16) {
        let mut taken = [false; SIZE];
        let mut shown: Vec<Capability, MAX_SHOWN> = Vec::new();
        let virtio = self.image[..2] == VIRTIO.to_le_bytes();
        let is_free = |capability: &Capability| capability.id == id::VENDOR && !virtio;
        // What says of itself how long it is comes last: it takes nothing away from the others.
        for free in [false, true] {
            for capability in capability::capabilities(space, at).filter(|one| is_free(one) == free) {
                if vectors == 0 && matches!(capability.id, id::MSI | id::MSI_X) {
                    continue;
                }
                let offset = usize::from(capability.offset);
                let Some(length) = self.length(space, at, capability) else { continue };
                // A list whose entries lie in each other is the device's fault; the first one wins.
                let Some(bytes) = taken.get_mut(offset..offset + length) else { continue };
                if shown.is_full() || bytes.contains(&true) {
                    continue;
                }
                bytes.fill(true);
                self.show(space, at, capability, length, vectors);
                // It isn't full.
                let _ = shown.push(capability);
            }
        }
        let mut link = usize::from(register::CAPABILITIES);
        for capability in &shown {
            self.image[link] = capability.offset as u8;
            self.image[usize::from(capability.offset)] = capability.id;
            link = usize::from(capability.offset) + 1;
        }
        self.image[link] = 0;
        if !shown.is_empty() {
            self.put16(register::STATUS, STATUS_CAPABILITIES);
        }
    }

    /// How many bytes of a capability are shown; `None` if it is hidden.
    fn length<C: ConfigSpace + ?Sized>(
        &self,
        space: &C,
        at: Address,
        capability: Capability,
    ) -> Option<usize> {
        let offset = capability.offset;
        match (capability.id, self.interrupts) {
            (id::MSI_X, Interrupts::MsiX(msix)) if msix.offset == offset => Some(MsiX::LENGTH.into()),
            (id::MSI, Interrupts::Msi(msi)) if msi.offset == offset => Some(msi.length().into()),
            (id::VENDOR, _) => {
                let length = space.read8(at, offset + 2);
                let virtio = self.image[..2] == VIRTIO.to_le_bytes();
                let good = match virtio {
                    true => offset <= 0xf0 && length >= 16 && self.is_place(space, at, offset),
                    false => length >= VENDOR_HEADER,
                };
                good.then_some(length.into())
            }
            _ => shown::known(space, at, capability).map(|shown| shown.length.into()),
        }
    }

    /// A vendor-specific capability of virtio says where registers are, in a memory BAR.
    fn is_place<C: ConfigSpace + ?Sized>(&self, space: &C, at: Address, offset: u16) -> bool {
        let bar = self.bars.get(space.read8(at, offset + 4));
        shown::says_where(space.read8(at, offset + 3)) && bar.is_some_and(|bar| bar.is_memory())
    }

    fn show<C: ConfigSpace + ?Sized>(
        &mut self,
        space: &C,
        at: Address,
        capability: Capability,
        length: usize,
        vectors: u16,
    ) {
        let offset = capability.offset;
        match capability.id {
            id::MSI_X => {
                self.put16(offset + 2, vectors.saturating_sub(1) & 0x7ff);
                self.put32(offset + 4, space.read32(at, offset + 4));
                self.put32(offset + 8, space.read32(at, offset + 8));
                self.allow(offset + 3, &[((MsiX::ENABLE | MsiX::MASK_ALL) >> 8) as u8]);
            }
            id::MSI => self.show_msi(vectors),
            id::VENDOR => {
                for i in 2..length as u16 {
                    self.image[usize::from(offset + i)] = space.read8(at, offset + i);
                }
            }
            _ => {
                if let Some(shown) = shown::known(space, at, capability) {
                    self.show_known(space, at, offset, &shown);
                }
            }
        }
    }

    fn show_known<C: ConfigSpace + ?Sized>(&mut self, space: &C, at: Address, first: u16, shown: &Shown) {
        for word in shown.words {
            let offset = first + word.offset;
            let bytes = usize::from((shown.length - word.offset).min(4));
            let value = space.read32(at, offset) & word.read | word.set;
            self.image[usize::from(offset)..][..bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
            self.allow(offset, &word.write.to_le_bytes()[..bytes]);
        }
        if let Some((byte, mask)) = shown.reset {
            // One list entry each of at most two kinds; a third says nothing new.
            let _ = self.resets.push((usize::from(first + byte), mask));
        }
    }

    fn show_msi(&mut self, vectors: u16) {
        let Interrupts::Msi(msi) = self.interrupts else { return };
        let wide = u16::from(msi.wide) << 7 | u16::from(msi.maskable) << 8;
        self.put16(msi.control(), wide | u16::from(self.log2_messages) << 1);
        self.allow(msi.control(), &[Msi::ENABLE as u8 | 7 << 4]);
        self.allow(msi.address(), &(!3u32).to_le_bytes());
        if msi.wide {
            self.allow(msi.address() + 4, &u32::MAX.to_le_bytes());
        }
        self.allow(msi.data(), &u16::MAX.to_le_bytes());
        if let Some(mask) = msi.mask() {
            let bits = (1u64 << vectors.min(32)) - 1;
            self.allow(mask, &(bits as u32).to_le_bytes());
        }
    }

    /// Reads. An access that can't be gives `None`: unaligned, or beyond 4096 bytes.
    pub fn read(&self, offset: u16, width: Width) -> Option<u32> {
        if !offset.is_multiple_of(width.bytes()) || offset >= 4096 {
            return None;
        }
        let Some(bytes) = self.image.get(usize::from(offset)..usize::from(offset + width.bytes())) else {
            let word =
                self.extended.iter().find(|(place, _)| *place == offset & !3).map_or(0, |(_, word)| *word);
            return Some(word >> (8 * (offset & 3)) & width.mask());
        };
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    /// Writes what the guest may change, and says what that means. An access that can't be gives `None`.
    pub fn write(&mut self, offset: u16, width: Width, value: u32) -> Option<Effect> {
        if !offset.is_multiple_of(width.bytes()) || offset >= 4096 {
            return None;
        }
        let (first, bytes) = (usize::from(offset), usize::from(width.bytes()));
        if first + bytes > SIZE {
            return Some(Effect::None);
        }
        for (i, byte) in value.to_le_bytes().into_iter().take(bytes).enumerate() {
            let mask = self.writable[first + i];
            self.image[first + i] = self.image[first + i] & !mask | byte & mask;
            if self.resets.iter().any(|&(place, bit)| place == first + i && byte & bit != 0) {
                self.restart();
                return Some(Effect::Reset);
            }
        }
        // Registers with a meaning are in different aligned groups of four bytes, so an access touches one of them.
        Some(self.effect(offset & !3, offset))
    }

    fn effect(&self, group: u16, offset: u16) -> Effect {
        match (group, self.interrupts) {
            // The upper half is status.
            (register::COMMAND, _) if offset < register::STATUS => {
                let io = self.get16(register::COMMAND) & command::IO != 0;
                Effect::Command { memory: self.memory(), io, bus_master: self.bus_master() }
            }
            (0x10..=0x24, _) => self.moved(((group - register::BAR) / 4) as u8),
            (register::ROM, _) if self.bars.get(bar::ROM).is_some() => {
                Effect::Rom { enabled: self.rom(), base: self.bar(bar::ROM) }
            }
            (_, Interrupts::Msi(msi)) if (msi.offset..msi.offset + msi.length()).contains(&group) => {
                self.msi(&msi)
            }
            (_, Interrupts::MsiX(msix)) if group == msix.offset => {
                let control = self.get16(msix.control());
                Effect::MsiX { enabled: control & MsiX::ENABLE != 0, masked: control & MsiX::MASK_ALL != 0 }
            }
            _ => Effect::None,
        }
    }

    fn moved(&self, register: u8) -> Effect {
        let upper_of = |bar: &&crate::bar::Bar| bar.kind == Kind::Memory64 && bar.index + 1 == register;
        let bar = self.bars.get(register).or_else(|| self.bars.iter().find(upper_of));
        match bar {
            Some(bar) => Effect::Bar { index: bar.index, base: self.bar(bar.index) },
            None => Effect::None,
        }
    }

    fn msi(&self, msi: &Msi) -> Effect {
        let control = self.get16(msi.control());
        let high = if msi.wide { self.get32(msi.address() + 4) } else { 0 };
        Effect::Msi {
            enabled: control & Msi::ENABLE != 0,
            address: u64::from(high) << 32 | u64::from(self.get32(msi.address())),
            data: self.get16(msi.data()),
            log2_messages: ((control >> 4 & 7) as u8).min(self.log2_messages),
            mask: msi.mask().map_or(0, |offset| self.get32(offset)),
        }
    }

    /// Says that the device has several functions, as its function 0 must if the guest is to find the others.
    pub fn has_several_functions(&mut self) {
        self.image[usize::from(register::HEADER_TYPE)] |= 0x80;
    }

    /// Shows an interrupt pin (1 is A): the device interrupts by its line.
    pub fn has_pin(&mut self, pin: u8) {
        self.image[usize::from(register::INTERRUPT_PIN)] = pin;
    }

    /// The guest has turned the interrupt line off.
    pub fn line_off(&self) -> bool {
        self.get16(register::COMMAND) & command::INTX_DISABLE != 0
    }

    /// The device's BARs.
    pub fn bars(&self) -> &Bars {
        &self.bars
    }

    /// How the device interrupts.
    pub fn interrupts(&self) -> Interrupts {
        self.interrupts
    }

    /// The guest has turned memory decoding on.
    pub fn memory(&self) -> bool {
        self.get16(register::COMMAND) & command::MEMORY != 0
    }

    /// The guest has turned its expansion ROM on.
    pub fn rom(&self) -> bool {
        self.get32(register::ROM) & bar::ROM_ENABLE != 0
    }

    /// The guest has turned bus mastering on.
    pub fn bus_master(&self) -> bool {
        self.get16(register::COMMAND) & command::BUS_MASTER != 0
    }

    /// Where the guest has put a BAR, an address or a port; 0 for one that isn't there.
    pub fn bar(&self, index: u8) -> u64 {
        let Some(bar) = self.bars.get(index) else { return 0 };
        let offset = bar::register_of(index);
        if index == bar::ROM {
            return u64::from(self.get32(offset) & !bar::ROM_ENABLE);
        }
        if bar.kind == Kind::Io {
            return u64::from(self.get32(offset) & !3);
        }
        let high = if bar.kind == Kind::Memory64 { self.get32(offset + 4) } else { 0 };
        u64::from(high) << 32 | u64::from(self.get32(offset) & !0xf)
    }

    /// Forgets what the guest wrote, as a reset does: all bits that it can write are zero at first.
    pub fn restart(&mut self) {
        for (byte, writable) in self.image.iter_mut().zip(&self.writable) {
            *byte &= !writable;
        }
    }

    fn get16(&self, offset: u16) -> u16 {
        let at = usize::from(offset);
        u16::from_le_bytes([self.image[at], self.image[at + 1]])
    }

    fn get32(&self, offset: u16) -> u32 {
        u32::from(self.get16(offset + 2)) << 16 | u32::from(self.get16(offset))
    }

    fn put16(&mut self, offset: u16, value: u16) {
        self.image[usize::from(offset)..][..2].copy_from_slice(&value.to_le_bytes());
    }

    fn put32(&mut self, offset: u16, value: u32) {
        self.image[usize::from(offset)..][..4].copy_from_slice(&value.to_le_bytes());
    }

    fn allow(&mut self, offset: u16, mask: &[u8]) {
        self.writable[usize::from(offset)..][..mask.len()].copy_from_slice(mask);
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "dumps_tests.rs"]
mod dumps_tests;
