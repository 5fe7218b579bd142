// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which remapping unit a PCI function's DMA goes through (VT-d specification 4.1, section 8.3).
//!
//! A function that no unit covers is not translated: whatever the tables say, it reaches all of memory.

use crate::{DeviceScope, Dmar, Error, ScopeKind};
use heapless::Vec;

/// The buses beneath a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusRange {
    /// The bus right beneath it.
    pub secondary: u8,
    /// The highest bus beneath it.
    pub subordinate: u8,
}

/// A way to ask a bridge for its buses.
pub trait Bridges {
    /// The buses beneath the bridge `function` (bus in bits 8–15, device and function below), as its configuration
    /// space says; `None` if it isn't a bridge or can't be read.
    fn buses(&self, segment: u16, function: u16) -> Option<BusRange>;
}

/// A machine in which no bridge answers.
pub struct NoBridges;

impl Bridges for NoBridges {
    fn buses(&self, _segment: u16, _function: u16) -> Option<BusRange> {
        None
    }
}

/// Ranges of functions, apart from each other, that a [`Coverage`] has room for.
pub const MAX_RANGES: usize = 256;
/// Units with the rest of a segment that it has room for.
const MAX_RESTS: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Range {
    unit: u8,
    segment: u16,
    first: u16,
    last: u16,
}

/// Which unit covers which functions. Computed once, at boot, while bridges still have firmware's bus numbers.
///
/// Invariants: ranges of explicit scopes only, sorted, none meets another; what is left of a segment is in `rest`, sorted by segment, the unit that
/// the table names first before the others.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    ranges: Vec<Range, MAX_RANGES>,
    rest: Vec<(u16, u8), MAX_RESTS>,
}

impl Coverage {
    /// Nothing is covered.
    pub const fn none() -> Coverage {
        Coverage { ranges: Vec::new(), rest: Vec::new() }
    }

    /// Follows the scopes of all units. A scope whose bridges can't be followed covers nothing, so that a mistake
    /// refuses a device instead of letting it through.
    pub fn of(dmar: &Dmar<'_>, bridges: &dyn Bridges) -> Result<Coverage, Error> {
        let mut coverage = Coverage::none();
        for (number, unit) in dmar.units().enumerate() {
            let unit_number = u8::try_from(number).map_err(|_| Error::TooManyRanges { limit: MAX_RANGES })?;
            if unit.include_all {
                coverage.add_rest(unit.segment, unit_number)?;
            }
            for scope in unit.scopes() {
                let Some(target) = follow(&scope, unit.segment, bridges) else { continue };
                let mut add = |first, last| {
                    coverage.add(Range { unit: unit_number, segment: unit.segment, first, last })
                };
                match scope.kind {
                    ScopeKind::Endpoint => add(target, target)?,
                    ScopeKind::Bridge => {
                        add(target, target)?;
                        if let Some(below) = sane_buses(bridges, unit.segment, target) {
                            add(u16::from(below.secondary) << 8, u16::from(below.subordinate) << 8 | 0xff)?;
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(coverage)
    }

    /// Adds what of a scope's range no scope before it has: the gaps between the ranges that are there.
    fn add(&mut self, new: Range) -> Result<(), Error> {
        let mut at = self.behind(new.segment, new.first);
        let mut first = u32::from(new.first);
        loop {
            let met =
                self.ranges.get(at).filter(|r| r.segment == new.segment && r.first <= new.last).copied();
            let last = met.map_or(Some(new.last), |r| r.first.checked_sub(1));
            if let Some(last) = last
                && first <= u32::from(last)
            {
                let gap = Range { first: first as u16, last, ..new };
                self.ranges.insert(at, gap).map_err(|_| Error::TooManyRanges { limit: MAX_RANGES })?;
                at += 1;
            }
            let Some(met) = met else { return Ok(()) };
            first = u32::from(met.last) + 1;
            at += 1;
        }
    }

    fn add_rest(&mut self, segment: u16, unit: u8) -> Result<(), Error> {
        let at = self.rest.partition_point(|&(of, _)| of <= segment);
        self.rest.insert(at, (segment, unit)).map_err(|_| Error::TooManyRanges { limit: MAX_RESTS })
    }

    /// Where the first range is that doesn't end before a function.
    fn behind(&self, segment: u16, function: u16) -> usize {
        self.ranges.partition_point(|r| (r.segment, r.last) < (segment, function))
    }

    /// The number of the unit that covers a function (bus in bits 8–15, device and function below). The first scope
    /// that names it wins; INCLUDE_PCI_ALL comes after all scopes. The time grows with the logarithm of the scopes' number: the kernel asks for each
    /// frame and table that a device loses.
    pub fn unit_of(&self, segment: u16, function: u16) -> Option<usize> {
        let range = self.ranges.get(self.behind(segment, function));
        let named = range.filter(|r| r.segment == segment && r.first <= function).map(|r| r.unit);
        let rest = || {
            let at = self.rest.partition_point(|&(of, _)| of < segment);
            self.rest.get(at).filter(|(of, _)| *of == segment).map(|&(_, unit)| unit)
        };
        named.or_else(rest).map(usize::from)
    }
}

/// The function that a scope's path leads to.
fn follow(scope: &DeviceScope<'_>, segment: u16, bridges: &dyn Bridges) -> Option<u16> {
    let mut bus = scope.start_bus;
    let mut steps = scope.path().peekable();
    while let Some(step) = steps.next() {
        let function = u16::from_be_bytes([bus, step.devfn()]);
        if steps.peek().is_none() {
            return Some(function);
        }
        bus = sane_buses(bridges, segment, function)?.secondary;
    }
    None
}

/// The buses beneath a bridge, if they are beneath: an unset or backward secondary bus number would make a bridge
/// cover the bus that it sits on.
fn sane_buses(bridges: &dyn Bridges, segment: u16, function: u16) -> Option<BusRange> {
    let bus = (function >> 8) as u8;
    bridges
        .buses(segment, function)
        .filter(|below| below.secondary > bus && below.subordinate >= below.secondary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{dmar, drhd, qemu_dmar, scope};
    use crate::hostile_tests::Noise;

    struct Table(&'static [(u16, u8, u8)]);

    impl Bridges for Table {
        fn buses(&self, _: u16, function: u16) -> Option<BusRange> {
            self.0
                .iter()
                .find(|entry| entry.0 == function)
                .map(|&(_, secondary, subordinate)| BusRange { secondary, subordinate })
        }
    }

    /// The root port at 00:04.0 has buses 1 to 2; a bridge at 01:00.0 has bus 2.
    const PORTS: Table = Table(&[(0x0020, 1, 2), (0x0100, 2, 2)]);

    #[test]
    fn qemus_scopes_cover_bus_0_and_what_is_beneath_the_port() {
        let bytes = qemu_dmar();
        let coverage = Coverage::of(&Dmar::parse(&bytes).unwrap(), &PORTS).unwrap();
        for covered in [0x0000, 0x0020, 0x00f8, 0x00fa, 0x00fb, 0x0100, 0x01ff, 0x0200] {
            assert_eq!(coverage.unit_of(0, covered), Some(0), "{covered:#x}");
        }
        // The IOAPIC's source ID is no function; another segment, another function and another bus aren't covered.
        for bare in [0xff00, 0x0010, 0x0021, 0x00f9, 0x0300, 0x4000] {
            assert_eq!(coverage.unit_of(0, bare), None, "{bare:#x}");
        }
        assert_eq!(coverage.unit_of(1, 0x0000), None);
    }

    #[test]
    fn a_named_function_goes_before_the_unit_with_the_rest() {
        let bytes = dmar(&[
            drhd(1, 0, 0xfed9_1000, &[]),
            drhd(0, 0, 0xfed9_0000, &[scope(1, 0, 0, &[(2, 0)])]),
            drhd(1, 1, 0xfed9_2000, &[]),
        ]);
        let coverage = Coverage::of(&Dmar::parse(&bytes).unwrap(), &NoBridges).unwrap();
        assert_eq!(coverage.unit_of(0, 0x0010), Some(1));
        assert_eq!(coverage.unit_of(0, 0x0011), Some(0));
        assert_eq!(coverage.unit_of(0, 0xfffb), Some(0));
        assert_eq!(coverage.unit_of(1, 0x0010), Some(2));
        assert_eq!(coverage.unit_of(2, 0x0010), None);
    }

    #[test]
    fn a_path_goes_through_bridges() {
        let bytes = dmar(&[drhd(0, 0, 0xfed9_0000, &[scope(1, 0, 0, &[(4, 0), (0, 0), (3, 1)])])]);
        let parsed = Dmar::parse(&bytes).unwrap();
        let coverage = Coverage::of(&parsed, &PORTS).unwrap();
        assert_eq!(coverage.unit_of(0, 0x0219), Some(0));
        assert_eq!(coverage.unit_of(0, 0x0200), None);
        // With no bridge to ask, the function stays uncovered.
        assert_eq!(Coverage::of(&parsed, &NoBridges).unwrap().unit_of(0, 0x0219), None);
    }

    #[test]
    fn bridges_that_lie_cover_only_themselves() {
        let bytes = dmar(&[drhd(0, 0, 0xfed9_0000, &[scope(2, 0, 1, &[(0, 0)])])]);
        let parsed = Dmar::parse(&bytes).unwrap();
        for lie in [&[(0x0100, 0, 255)], &[(0x0100, 1, 255)], &[(0x0100, 9, 3)]] {
            let coverage = Coverage::of(&parsed, &Table(lie)).unwrap();
            assert_eq!(coverage.unit_of(0, 0x0100), Some(0));
            assert_eq!(coverage.unit_of(0, 0x0000), None);
            assert_eq!(coverage.unit_of(0, 0x0900), None);
        }
    }

    /// Scopes over, within and beside each other, and the rest: whatever is asked for, the answer is that of going through them in their order.
    #[test]
    fn every_function_has_the_first_unit_that_names_it() {
        let mut noise = Noise(0x0123_4567_89ab_cdef);
        let (mut pieces, mut split) = (0, 0);
        for round in 0..300 {
            let mut draw = |below: u64| noise.next() % below;
            let mut coverage = Coverage::none();
            // Narrow ones, then wide ones around them; up to 127 make at most 253 pieces.
            let count = draw(128);
            let scopes: std::vec::Vec<Range> = (0..count)
                .map(|number| {
                    let width = if number > count * 3 / 4 { 65_536 } else { [4, 300, 65_536][round % 3] };
                    let first =
                        if draw(8) == 0 { 65_535 - draw(40) } else { draw(width * 40) % 65_536 } as u16;
                    let last = first.saturating_add(draw(width) as u16);
                    Range { unit: draw(16) as u8, segment: draw(3) as u16 * 0x7fff, first, last }
                })
                .collect();
            let rest: std::vec::Vec<(u16, u8)> =
                (0..draw(4)).map(|_| (draw(3) as u16 * 0x7fff, draw(16) as u8)).collect();
            for &scope in &scopes {
                coverage.add(scope).unwrap();
            }
            for &(segment, unit) in &rest {
                coverage.add_rest(segment, unit).unwrap();
            }
            let plain = |segment, function| {
                let named = scopes
                    .iter()
                    .find(|r| r.segment == segment && r.first <= function && function <= r.last)
                    .map(|range| range.unit);
                let rest = || rest.iter().find(|(of, _)| *of == segment).map(|&(_, unit)| unit);
                named.or_else(rest).map(usize::from)
            };
            let edges = scopes.iter().flat_map(|r| {
                [r.first.saturating_sub(1), r.first, r.last, r.last.saturating_add(1)].map(|f| (r.segment, f))
            });
            let anywhere = (0..200).map(|_| (draw(3) as u16 * 0x7fff, draw(65_536) as u16));
            for (segment, function) in edges.chain(anywhere) {
                let expected = plain(segment, function);
                assert_eq!(coverage.unit_of(segment, function), expected, "{segment:#x} {function:#x}");
            }
            let sorted = coverage.ranges.is_sorted_by(|a, b| (a.segment, a.last) < (b.segment, b.first));
            assert!(sorted && coverage.ranges.iter().all(|r| r.first <= r.last));
            pieces = pieces.max(coverage.ranges.len());
            split += usize::from(coverage.ranges.len() > scopes.len());
        }
        assert!(pieces > 100 && split > 10, "at most {pieces} pieces, {split} times more than scopes");
    }

    #[test]
    fn a_scope_that_others_have_needs_no_room() {
        let scopes: std::vec::Vec<_> =
            (0..=255u8).chain(0..=255).map(|bus| scope(1, 0, bus, &[(0, 0)])).collect();
        let bytes = dmar(&[drhd(0, 0, 0xfed9_0000, &scopes)]);
        let coverage = Coverage::of(&Dmar::parse(&bytes).unwrap(), &NoBridges).unwrap();
        assert_eq!(coverage.unit_of(0, 0xff00), Some(0));
        assert_eq!(coverage.unit_of(0, 0xff01), None);
    }

    #[test]
    fn too_many_scopes_are_an_error() {
        let scopes: std::vec::Vec<_> =
            (0..=255u8).map(|bus| scope(1, 0, bus, &[(0, 0)])).chain([scope(1, 0, 0, &[(1, 0)])]).collect();
        let bytes = dmar(&[drhd(0, 0, 0xfed9_0000, &scopes)]);
        let error = Coverage::of(&Dmar::parse(&bytes).unwrap(), &NoBridges).unwrap_err();
        assert_eq!(error, Error::TooManyRanges { limit: MAX_RANGES });
    }
}
