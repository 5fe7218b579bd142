// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ways to reset a function: which it has, how each is started and how long it takes.

mod sequence;

pub use sequence::{Progress, Sequence};

use crate::address::Address;
use crate::capability::{self, id};
use crate::config::{self, BRIDGE_BUS_RESET, ConfigSpace, command, register};
use crate::sriov::Sriov;
use serde::{Deserialize, Serialize};

/// The ways a function can be reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Methods {
    /// Function-level reset of PCI Express: offset of the capability (Base 4.0, section 6.6.2).
    pub express: Option<u16>,
    /// Function-level reset of the Advanced Features capability: its offset (PCI Advanced Capabilities ECN).
    pub advanced: Option<u16>,
    /// D3hot and back: offset of the power management capability (PCI Power Management 1.2, section 5.4), if it doesn't say that it
    /// keeps its state.
    pub power: Option<u16>,
    /// Reset of the bus that the function has to itself: the bridge above it.
    pub bus: Option<Address>,
}

impl Methods {
    /// What the function itself offers; the bus is for whoever knows the tree.
    pub fn read<C: ConfigSpace + ?Sized>(space: &C, at: Address) -> Self {
        let has =
            |id, test: &dyn Fn(u16) -> bool| capability::find(space, at, id).filter(|offset| test(*offset));
        Self {
            express: has(id::EXPRESS, &|o| o <= 0xf0 && space.read32(at, o + 4) & 1 << 28 != 0),
            advanced: has(id::ADVANCED_FEATURES, &|o| o <= 0xf8 && space.read8(at, o + 3) & 3 == 3),
            power: has(id::POWER, &|o| o <= 0xf8 && space.read16(at, o + 4) & 1 << 3 == 0),
            bus: None,
        }
    }

    /// The methods in the order in which they are tried, the function's own before the bus: the one after `method`, or the first.
    pub fn after(&self, method: Option<Reset>) -> Option<Reset> {
        let all = [
            self.express.map(Reset::Express),
            self.advanced.map(Reset::Advanced),
            self.power.map(Reset::Power),
            self.bus.map(Reset::Bus),
        ];
        let mut there = all.into_iter().flatten();
        if let Some(method) = method {
            there.by_ref().find(|found| *found == method)?;
        }
        there.next()
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.after(None).is_none()
    }
}

/// A way to reset a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reset {
    /// Function-level, by the PCI Express capability at this offset.
    Express(u16),
    /// Function-level, by the Advanced Features capability at this offset.
    Advanced(u16),
    /// To D3hot and back, by the power management capability at this offset.
    Power(u16),
    /// By this bridge.
    Bus(Address),
}

/// Milliseconds until a function may be accessed after a function-level reset.
pub const FUNCTION_LEVEL_MS: u64 = 100;
/// Milliseconds that a change between D0 and D3hot takes (PCI Power Management 1.2, section 5.6.1).
pub const POWER_MS: u64 = 10;
/// Milliseconds a bus is held in reset (Trst, PCI Local Bus 3.0, section 4.3.2).
pub const BUS_HOLD_MS: u64 = 1;
/// Milliseconds until a function may be accessed after a bus reset (PCI Express Base 4.0, section 6.6.1).
pub const BUS_RECOVERY_MS: u64 = 100;

/// What is lost in a reset and was firmware's choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Saved {
    bars: [u32; 6],
    cache_line: u8,
    interrupt_line: u8,
    /// Offset and value of PCI Express' Device Control: payload sizes must go on fitting the path.
    device_control: Option<(u16, u16)>,
    /// It is a virtual function, which has neither vendor ID nor addresses of its own.
    is_virtual: bool,
    /// Its virtual functions, which its reset ends.
    virtuals: Option<Sriov>,
}

impl Saved {
    /// Reads what has to be put back. Decoding may be on.
    pub fn read<C: ConfigSpace + ?Sized>(space: &C, at: Address) -> Self {
        let express = capability::find(space, at, id::EXPRESS).filter(|offset| *offset <= 0xf4);
        Self {
            bars: core::array::from_fn(|i| space.read32(at, register::BAR + 4 * i as u16)),
            cache_line: space.read8(at, register::CACHE_LINE),
            interrupt_line: space.read8(at, register::INTERRUPT_LINE),
            device_control: express.map(|offset| (offset + 8, space.read16(at, offset + 8) & !(1 << 15))),
            is_virtual: false,
            virtuals: None,
        }
    }

    /// Says that it is a virtual function.
    #[must_use]
    pub fn of_virtual(self) -> Self {
        Self { is_virtual: true, ..self }
    }

    /// Says that it has virtual functions, to be enabled again after each reset.
    #[must_use]
    pub fn with_virtuals(self, virtuals: Option<Sriov>) -> Self {
        Self { virtuals, ..self }
    }

    /// Its virtual functions.
    pub fn virtuals(&self) -> Option<&Sriov> {
        self.virtuals.as_ref()
    }

    /// Whether the function answers.
    pub fn is_present<C: ConfigSpace + ?Sized>(&self, space: &C, at: Address) -> bool {
        if self.is_virtual { config::virtual_present(space, at) } else { config::present(space, at) }
    }

    /// Puts it back; the function comes out with decoding, bus mastering and INTx off.
    pub fn restore<C: ConfigSpace + ?Sized>(&self, space: &C, at: Address) {
        space.write16(at, register::COMMAND, command::INTX_DISABLE);
        for (i, bar) in self.bars.into_iter().enumerate() {
            space.write32(at, register::BAR + 4 * i as u16, bar);
        }
        space.write8(at, register::CACHE_LINE, self.cache_line);
        space.write8(at, register::INTERRUPT_LINE, self.interrupt_line);
        if let Some((offset, value)) = self.device_control {
            space.write16(at, offset, value);
        }
    }

    /// Whether requests of the function are under way (Device Status, Transactions Pending).
    pub fn has_pending<C: ConfigSpace + ?Sized>(&self, space: &C, at: Address) -> bool {
        const TRANSACTIONS_PENDING: u16 = 1 << 5;
        // A function that isn't there has all bits set.
        self.device_control.is_some_and(|(control, _)| {
            self.is_present(space, at) && space.read16(at, control + 2) & TRANSACTIONS_PENDING != 0
        })
    }

    /// Whether anything is still there that a reset clears: the command register, whose INTx disable bit was set before, or an address.
    pub fn survived<C: ConfigSpace + ?Sized>(&self, space: &C, at: Address) -> bool {
        const ADDRESS: u32 = !0xf;
        let mut bars = self.bars.into_iter().enumerate();
        space.read16(at, register::COMMAND) & command::INTX_DISABLE != 0
            || bars.any(|(i, bar)| {
                bar & ADDRESS != 0
                    && space.read32(at, register::BAR + 4 * i as u16) & ADDRESS == bar & ADDRESS
            })
    }

    /// Whether the function is there again and holds what was put back.
    pub fn is_back<C: ConfigSpace + ?Sized>(&self, space: &C, at: Address) -> bool {
        self.is_present(space, at)
            && self
                .bars
                .into_iter()
                .enumerate()
                .all(|(i, bar)| space.read32(at, register::BAR + 4 * i as u16) == bar)
    }
}

impl Reset {
    /// Starts the reset of a quiet function: milliseconds to wait, and whether [`Reset::release`] follows.
    fn start<C: ConfigSpace + ?Sized>(self, space: &C, at: Address) -> (u64, bool) {
        match self {
            Self::Express(offset) => {
                let control = space.read16(at, offset + 8);
                space.write16(at, offset + 8, control | 1 << 15);
                (FUNCTION_LEVEL_MS, false)
            }
            Self::Advanced(offset) => {
                space.write8(at, offset + 4, 1);
                (FUNCTION_LEVEL_MS, false)
            }
            Self::Power(offset) => {
                const D3HOT: u16 = 3;
                set_power_state(space, at, offset, D3HOT);
                (POWER_MS, true)
            }
            Self::Bus(bridge) => {
                let control = space.read16(bridge, register::BRIDGE_CONTROL);
                space.write16(bridge, register::BRIDGE_CONTROL, control | BRIDGE_BUS_RESET);
                (BUS_HOLD_MS, true)
            }
        }
    }

    /// Ends the first half of the reset; milliseconds to wait.
    fn release<C: ConfigSpace + ?Sized>(self, space: &C, at: Address) -> u64 {
        match self {
            Self::Express(_) | Self::Advanced(_) => 0,
            Self::Power(offset) => {
                set_power_state(space, at, offset, 0);
                POWER_MS
            }
            Self::Bus(bridge) => {
                let control = space.read16(bridge, register::BRIDGE_CONTROL);
                space.write16(bridge, register::BRIDGE_CONTROL, control & !BRIDGE_BUS_RESET);
                BUS_RECOVERY_MS
            }
        }
    }
}

/// Writes the power state, and neither acknowledges nor allows a power management event.
fn set_power_state<C: ConfigSpace + ?Sized>(space: &C, at: Address, capability: u16, state: u16) {
    const STATE: u16 = 3;
    const EVENTS: u16 = 1 << 15 | 1 << 8;
    let control = space.read16(at, capability + 4);
    space.write16(at, capability + 4, control & !(STATE | EVENTS) | state);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Machine;

    #[test]
    fn methods_are_found_and_ranked() {
        let machine = Machine::new();
        let at = machine.endpoint("01:00.0", 0x1af4, 0x1041);
        assert_eq!(Methods::read(&machine, at), Methods::default());
        machine.capabilities(at, &[(0x40, id::EXPRESS), (0x80, id::ADVANCED_FEATURES), (0x90, id::POWER)]);
        assert_eq!(Methods::read(&machine, at), Methods { power: Some(0x90), ..Default::default() });
        machine.set32(at, 0x44, 1 << 28);
        machine.set8(at, 0x83, 3);
        machine.set16(at, 0x94, 1 << 3);
        let mut methods = Methods::read(&machine, at);
        assert_eq!(methods, Methods { express: Some(0x40), advanced: Some(0x80), power: None, bus: None });
        let bridge = crate::testing::at("00:04.0");
        methods.bus = Some(bridge);
        methods.power = Some(0x90);
        let mut order = std::vec::Vec::new();
        while let Some(method) = methods.after(order.last().copied()) {
            order.push(method);
        }
        let all = [Reset::Express(0x40), Reset::Advanced(0x80), Reset::Power(0x90), Reset::Bus(bridge)];
        assert_eq!(order, all);
        assert_eq!(Methods { express: None, power: None, ..methods }.after(Some(all[1])), Some(all[3]));
        assert_eq!(methods.after(Some(Reset::Express(0x44))), None, "what it doesn't have nothing follows");
        assert!(Methods::default().is_empty() && !methods.is_empty());
    }

    #[test]
    fn everything_comes_back() {
        let machine = Machine::new();
        let at = machine.endpoint("01:00.0", 0x1af4, 0x1041);
        machine.capabilities(at, &[(0x40, id::EXPRESS)]);
        machine.writable32(at, 0x48, 0xffff);
        machine.set16(at, 0x48, 0x2810);
        machine.bar(at, 0, 0, 0xfeb0_0000, 4096);
        machine.bar(at, 4, 0xc, 0x1_2340_0000, 0x4000);
        machine.set16(at, register::COMMAND, 6);
        let saved = Saved::read(&machine, at);
        assert!(saved.survived(&machine, at));
        for offset in [0x10, 0x20, 0x24] {
            machine.set32(at, offset, 0);
        }
        machine.set32(at, 0x20, 0xc);
        machine.set16(at, 0x48, 0);
        assert!(!saved.is_back(&machine, at));
        saved.restore(&machine, at);
        assert!(saved.is_back(&machine, at));
        assert_eq!(machine.read16(at, 0x48), 0x2810);
        assert_eq!(machine.read16(at, register::COMMAND), command::INTX_DISABLE);
        machine.remove(at);
        assert!(!saved.is_back(&machine, at));
    }
}
