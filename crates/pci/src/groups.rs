// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who can reach whom without the remapping unit's seeing it (isolation groups), and who is reset with whom.

use crate::capability::Express;
use crate::topology::{Function, Topology};

impl Topology {
    /// Whether two functions of one bus lie side by side: ports of one switch, or functions of one device.
    fn beside(&self, one: &Function, other: &Function) -> bool {
        let inside_switch = one
            .parent
            .and_then(|parent| self.get(parent))
            .is_some_and(|bridge| bridge.express == Some(Express::Upstream));
        inside_switch || one.address.devfn.device() == other.address.devfn.device()
    }

    /// Those beside a function, itself included.
    fn row(&self, index: u16) -> impl Iterator<Item = (u16, &Function)> {
        let one = self.get(index);
        self.siblings(index).filter(move |(_, other)| one.is_some_and(|one| self.beside(one, other)))
    }

    /// One of those beside a function that doesn't isolate, by which all of them can be reached. One that doesn't
    /// isolate itself and has nobody beside it matters to those behind it only.
    fn opening(&self, index: u16) -> Option<u16> {
        self.row(index).find(|(_, function)| !function.isolates).map(|(index, _)| index)
    }

    /// The highest row that is open, on the way from a function to its root bus: its least member, and who opens it.
    fn highest(&self, index: u16) -> Option<(u16, u16)> {
        let mut highest = None;
        let mut at = Some(index);
        while let Some(here) = at.filter(|here| self.get(*here).is_some()) {
            if let Some(opening) = self.opening(here) {
                let least = self.row(here).map(|(index, _)| index).min().unwrap_or(here);
                highest = Some((least, opening));
            }
            at = self.get(here).and_then(|function| function.parent);
        }
        highest
    }

    /// The isolation group of a function, named by its least member: functions of one group can reach each other, or be
    /// mistaken for each other, without the remapping unit's seeing it.
    pub fn group(&self, index: u16) -> u16 {
        self.highest(index).map_or(index, |(least, _)| least)
    }

    /// The function whose lack of access control makes the group of `index` larger than itself, the highest one.
    pub fn opened_by(&self, index: u16) -> Option<u16> {
        self.highest(index).map(|(_, opening)| opening)
    }

    /// The others in a function's isolation group.
    pub fn group_members(&self, index: u16) -> impl Iterator<Item = u16> {
        let group = self.group(index);
        let all = 0..self.functions().len() as u16;
        all.filter(move |other| *other != index && self.group(*other) == group)
    }

    /// The others that a reset of the bus of `index` resets: everything behind the bridge above it. Nobody on a root bus,
    /// which has no reset.
    pub fn reset_domain(&self, index: u16) -> impl Iterator<Item = u16> {
        let bridge = self.get(index).and_then(|function| function.parent);
        let all = 0..self.functions().len() as u16;
        all.filter(move |other| {
            *other != index && bridge.is_some_and(|bridge| self.is_behind(*other, bridge))
        })
    }

    /// Whether a function is behind a bridge, at any depth.
    pub fn is_behind(&self, index: u16, bridge: u16) -> bool {
        let mut at = self.get(index).and_then(|function| function.parent);
        while let Some(parent) = at {
            if parent == bridge {
                return true;
            }
            at = self.get(parent).and_then(|function| function.parent);
        }
        false
    }
}

#[cfg(test)]
#[path = "groups_tests.rs"]
mod tests;
