// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual functions of a physical one: which it could have, and where their BARs go.

use heapless::Vec;
use pci::bar::Kind;
use pci::sriov::{self, Problem, Sriov};
use pci::topology::{MAX_PHYSICAL, Topology};
use pci::{Bar, ConfigSpace, Header, Location, Path, bridge};
use protocol::pci::{PciDevice, Refusal};

use crate::survey::Claims;

/// Reads what `count` virtual functions of a physical one would be, and gives their BARs places: those that firmware has chosen, if
/// they are good, or gaps in the windows of the bridge above. Nothing may be using the function.
///
/// # Errors
/// [`Problem`].
pub fn plan<C: ConfigSpace + ?Sized>(
    space: &C,
    topology: &Topology,
    index: u16,
    claims: &Claims,
    count: u16,
) -> Result<Sriov, Problem> {
    let function = topology.get(index).ok_or(Problem::NoCapability)?;
    let port = function.parent.and_then(|parent| topology.get(parent));
    let mut sriov = Sriov::read(space, function.address, count, port.is_some())?;
    // Bridges beside the function have windows, and perhaps BARs, that no claim shows.
    let has_bridges = topology.siblings(index).any(|(_, other)| other.header != Header::Endpoint);
    let windows = port.filter(|_| !has_bridges).map(|port| bridge::windows(space, port.address));
    sriov.place(|sriov, bar| {
        // Those of lower numbers have their places already.
        let own = sriov.bars().iter().filter(|other| other.index < bar.index);
        let taken = claims.memory().chain(own.filter_map(|other| sriov.span(other)));
        let is_good = |(first, last): &(u64, u64)| {
            topology.is_passed(space, index, *first, *last)
                && !taken.clone().any(|(from, to)| from <= *last && *first <= to)
        };
        if sriov.span(bar).filter(is_good).is_some() {
            return Some(bar.base);
        }
        let bytes = bar.size.checked_mul(count.into())?;
        // Prefetchable memory may lie in either window, other memory in the first only.
        let of_kind = windows?.into_iter().take(if bar.prefetchable { 2 } else { 1 });
        of_kind
            .rev()
            .find_map(|window| sriov::lowest_gap(below(bar, window)?, taken.clone(), bytes, bar.size))
    })?;
    Ok(sriov)
}

/// Physical functions of the description that have no virtual ones, and why.
pub type Missing = Vec<(Location, Refusal), MAX_PHYSICAL>;

/// Why a device isn't there, if it could be a virtual function: one of the same device as a physical function without them.
pub fn explain(reason: Refusal, wanted: &PciDevice, missing: &Missing) -> Refusal {
    let could_be = |physical: &Location| match (physical, &wanted.location) {
        (Location::Path(physical), Location::Path(wanted)) => {
            let device = |path: &Path| path.hops.last().map(|last| last.device());
            let above = |path: &Path| (path.segment, path.bus, path.hops.len());
            let before = physical.hops.len().saturating_sub(1);
            above(physical) == above(wanted)
                && physical.hops[..before] == wanted.hops[..before]
                && device(physical) == device(wanted)
        }
        (Location::Address(physical), Location::Address(wanted)) => {
            (physical.segment, physical.bus, physical.devfn.device())
                == (wanted.segment, wanted.bus, wanted.devfn.device())
        }
        _ => false,
    };
    match reason {
        Refusal::NoSuchDevice => {
            let found =
                missing.iter().find(|(physical, _)| could_be(physical) && *physical != wanted.location);
            match found {
                Some((_, Refusal::Virtual(problem))) => Refusal::Virtual(*problem),
                _ => reason,
            }
        }
        _ => reason,
    }
}

/// The part of a window that a BAR can lie in: not at zero, and that of 32 bits below 4 GiB.
fn below(bar: &Bar, (first, last): (u64, u64)) -> Option<(u64, u64)> {
    let end = if bar.kind == Kind::Memory64 { u64::MAX } else { u64::from(u32::MAX) };
    let window = (first.max(0x1000), last.min(end));
    (window.0 <= window.1).then_some(window)
}

#[cfg(test)]
#[path = "virtuals_tests.rs"]
mod tests;
