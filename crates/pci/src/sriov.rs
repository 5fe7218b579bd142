// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual functions: what the capability of a physical function says of them, where their BARs lie, how they are enabled (PCI Express
//! Base 4.0, section 9.3.3).
//!
//! Routing IDs are used as a device without Alternative Routing-ID has them: an offset that leaves the physical function's bus, or its
//! device number where a port above asks device 0 only, is refused.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::address::{Address, DevFn};
use crate::bar::{self, Bar, Bars, Kind};
use crate::capability::{self, extended_id};
use crate::config::ConfigSpace;

/// Milliseconds until virtual functions that were enabled may be accessed (section 9.3.3.3.1).
pub const ENABLE_MS: u64 = 100;
/// Milliseconds until the capability may be read after they were disabled (ibid.).
pub const DISABLE_MS: u64 = 1000;

/// Bytes of the capability.
const LENGTH: u16 = 0x40;

/// Offsets in the capability.
mod register {
    pub const CONTROL: u16 = 0x08;
    pub const TOTAL: u16 = 0x0e;
    pub const COUNT: u16 = 0x10;
    pub const DEPENDENCY: u16 = 0x12;
    pub const FIRST: u16 = 0x14;
    pub const STRIDE: u16 = 0x16;
    pub const DEVICE: u16 = 0x1a;
    pub const PAGE_SIZES: u16 = 0x1c;
    pub const PAGE_SIZE: u16 = 0x20;
    pub const BARS: u16 = 0x24;
}

/// Bits of the control register. Migration, and the hierarchy with Alternative Routing-ID, stay off.
mod control {
    pub const ENABLE: u16 = 1 << 0;
    pub const MEMORY: u16 = 1 << 3;
}

/// Pages of 4 KiB, in both registers.
const PAGES_OF_4_KIB: u32 = 1;

/// Why a function's virtual functions can't be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Problem {
    /// It isn't a physical function.
    NoCapability,
    /// It has fewer.
    TooMany {
        /// How many are wanted.
        wanted: u16,
        /// How many there are.
        total: u16,
    },
    /// They depend on another function's.
    Dependent,
    /// It doesn't know pages of 4 KiB.
    PageSize,
    /// The last one lies beyond the bus, or beside the device.
    Routing {
        /// First VF Offset.
        first: u16,
        /// VF Stride.
        stride: u16,
    },
    /// A BAR that makes no sense.
    BadBar(u8),
    /// No place for a BAR.
    NoRoom(u8),
    /// The physical function didn't come back from the reset that comes first.
    ResetFailed,
    /// One didn't appear.
    Absent(u16),
    /// The table of functions, or that of physical ones, is full.
    Full,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of virtual functions, whose physical one is named before.
        f.write_str(match self {
            Self::NoCapability => "it has no SR-IOV capability",
            Self::TooMany { wanted, total } => return write!(f, "{wanted} are wanted, and it has {total}"),
            Self::Dependent => "they depend on another function's (Function Dependency Link)",
            Self::PageSize => "they don't know pages of 4 KiB",
            Self::Routing { first, stride } => {
                return write!(
                    f,
                    "they lie beyond its bus, or need Alternative Routing-ID (ARI), which stays off (offset {first:#x}, stride \
                     {stride:#x})"
                );
            }
            Self::BadBar(bar) => return write!(f, "their BAR {bar} makes no sense"),
            Self::NoRoom(bar) => {
                return write!(
                    f,
                    "the bridge above has no room for their BAR {bar}"
                );
            }
            Self::ResetFailed => "it didn't come back after its reset",
            Self::Absent(number) => return write!(f, "number {number} did not appear"),
            Self::Full => "the table of functions has no room for them",
        })
    }
}

/// A physical function's virtual functions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sriov {
    offset: u16,
    count: u16,
    first: u16,
    stride: u16,
    device: u16,
    /// Of number 1; the others' follow.
    bars: Bars,
}

/// The offset of a function's capability.
fn find<C: ConfigSpace + ?Sized>(space: &C, at: Address) -> Option<u16> {
    capability::find_extended(space, at, extended_id::SRIOV).filter(|offset| offset + LENGTH <= 0x1000)
}

/// Turns a physical function's virtual functions off. True if there were any; then [`DISABLE_MS`] have to pass.
pub fn turn_off<C: ConfigSpace + ?Sized>(space: &C, at: Address) -> bool {
    let Some(offset) = find(space, at) else { return false };
    let old = space.read16(at, offset + register::CONTROL);
    space.write16(at, offset + register::CONTROL, 0);
    old & control::ENABLE != 0
}

impl Sriov {
    /// Reads the capability for `count` virtual functions, which are off. `below_port`: a port is above, which asks for device 0 only.
    ///
    /// # Errors
    /// [`Problem`].
    pub fn read<C: ConfigSpace + ?Sized>(
        space: &C,
        at: Address,
        count: u16,
        below_port: bool,
    ) -> Result<Self, Problem> {
        let offset = find(space, at).ok_or(Problem::NoCapability)?;
        let total = space.read16(at, offset + register::TOTAL);
        if count == 0 || count > total {
            return Err(Problem::TooMany { wanted: count, total });
        }
        // Without a dependency it is the function's own number.
        if space.read8(at, offset + register::DEPENDENCY) & 7 != at.devfn.function() {
            return Err(Problem::Dependent);
        }
        if space.read32(at, offset + register::PAGE_SIZES) & PAGES_OF_4_KIB == 0 {
            return Err(Problem::PageSize);
        }
        space.write32(at, offset + register::PAGE_SIZE, PAGES_OF_4_KIB);
        // Offset and stride may depend on the number.
        space.write16(at, offset + register::COUNT, count);
        let (first, stride) =
            (space.read16(at, offset + register::FIRST), space.read16(at, offset + register::STRIDE));
        let device = space.read16(at, offset + register::DEVICE);
        let bars = bar::probe_registers(space, at, offset + register::BARS, 6);
        if bars.bad != 0 {
            return Err(Problem::BadBar(bars.bad.trailing_zeros() as u8));
        }
        if let Some(bar) = bars.iter().find(|bar| !bar.is_memory() || bar.size < 0x1000) {
            return Err(Problem::BadBar(bar.index));
        }
        let sriov = Self { offset, count, first, stride, device, bars };
        let mut all = 1..=count;
        if all.all(|number| sriov.address(at, number).is_some_and(|vf| !below_port || beside(at, vf))) {
            Ok(sriov)
        } else {
            Err(Problem::Routing { first, stride })
        }
    }

    /// How many.
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// The device ID of each; their vendor is the physical function's.
    pub const fn device(&self) -> u16 {
        self.device
    }

    /// Where number `number` (from 1 on) of the physical function at `at` answers; `None` beyond its bus, or where that itself is.
    pub const fn address(&self, at: Address, number: u16) -> Option<Address> {
        let before = number.wrapping_sub(1) as u32;
        let devfn = at.devfn.0 as u32 + self.first as u32 + before * self.stride as u32;
        if number == 0 || self.first == 0 || devfn > 0xff || number > 1 && self.stride == 0 {
            return None;
        }
        Some(Address { devfn: DevFn(devfn as u8), ..at })
    }

    /// The BARs of number 1.
    pub const fn bars(&self) -> &Bars {
        &self.bars
    }

    /// The BARs of number `number` (from 1 on).
    pub fn bars_of(&self, number: u16) -> Bars {
        let before = u64::from(number.saturating_sub(1));
        self.bars.moved(|bar| bar.base.wrapping_add(before.wrapping_mul(bar.size)))
    }

    /// First and last address of a BAR of all of them; `None` if that wraps around, or isn't assigned.
    pub fn span(&self, bar: &Bar) -> Option<(u64, u64)> {
        let bytes = bar.size.checked_mul(self.count.into())?;
        let last = bar.base.checked_add(bytes - 1)?;
        let reaches = bar.kind == Kind::Memory64 || last <= u64::from(u32::MAX);
        (bar.is_assigned() && reaches).then_some((bar.base, last))
    }

    /// Gives each BAR the place that `choose` says, and `None` nowhere.
    ///
    /// # Errors
    /// [`Problem::NoRoom`].
    pub fn place(&mut self, mut choose: impl FnMut(&Self, &Bar) -> Option<u64>) -> Result<(), Problem> {
        for bar in self.bars.iter().copied().collect::<heapless::Vec<Bar, 6>>() {
            let base = choose(self, &bar).ok_or(Problem::NoRoom(bar.index))?;
            self.bars = self.bars.moved(|other| if other.index == bar.index { base } else { other.base });
            if self.bars.get(bar.index).and_then(|bar| self.span(bar)).is_none() {
                return Err(Problem::NoRoom(bar.index));
            }
        }
        Ok(())
    }

    /// Enables them. They may be accessed after [`ENABLE_MS`].
    pub fn enable<C: ConfigSpace + ?Sized>(&self, space: &C, at: Address) {
        // A reset ends them, and on some devices leaves the bit behind.
        space.write16(at, self.offset + register::CONTROL, 0);
        space.write32(at, self.offset + register::PAGE_SIZE, PAGES_OF_4_KIB);
        space.write16(at, self.offset + register::COUNT, self.count);
        for bar in self.bars.iter() {
            let offset = self.offset + register::BARS + 4 * u16::from(bar.index);
            space.write32(at, offset, bar.base as u32);
            if bar.kind == Kind::Memory64 {
                space.write32(at, offset + 4, (bar.base >> 32) as u32);
            }
        }
        space.write16(at, self.offset + register::CONTROL, control::ENABLE | control::MEMORY);
    }

    /// The number of the first that doesn't answer.
    pub fn absent<C: ConfigSpace + ?Sized>(&self, space: &C, at: Address) -> Option<u16> {
        (1..=self.count).find(|number| {
            !self.address(at, *number).is_some_and(|vf| crate::config::virtual_present(space, vf))
        })
    }
}

/// The same device number: a port without Alternative Routing-ID asks for no other.
fn beside(one: Address, other: Address) -> bool {
    one.devfn.device() == other.devfn.device()
}

/// The lowest multiple of `align` (a power of two) in a window from which `bytes` are free of everything in `taken`. Windows and what
/// is taken are first and last addresses.
pub fn lowest_gap(
    (first, last): (u64, u64),
    taken: impl Iterator<Item = (u64, u64)> + Clone,
    bytes: u64,
    align: u64,
) -> Option<u64> {
    let mut base = first.checked_next_multiple_of(align)?;
    loop {
        let end = base.checked_add(bytes.checked_sub(1)?)?;
        if base < first || end > last {
            return None;
        }
        // Each round lies beyond one more of them.
        match taken.clone().find(|(from, to)| *from <= end && base <= *to) {
            Some((_, to)) => base = to.checked_add(1)?.checked_next_multiple_of(align)?,
            None => return Some(base),
        }
    }
}

#[cfg(test)]
#[path = "sriov_tests.rs"]
mod tests;
