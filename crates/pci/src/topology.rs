// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tree of buses: enumeration through bridges, physical paths, and whose requests bear which requester ID.

use heapless::Vec;

use crate::access;
use crate::address::{Address, DevFn, RequesterId};
use crate::bar::Bars;
use crate::bridge;
use crate::capability::{self, Express};
use crate::config::{self, ConfigSpace, Header, command, register};
use crate::matching::Identity;
use crate::path::{Location, Path};
use crate::sriov::{Problem, Sriov};

/// Functions that a machine's tree can hold; what is beyond is counted in [`Topology::dropped`].
pub const MAX_FUNCTIONS: usize = 256;
/// Physical functions whose virtual ones it can hold.
pub const MAX_PHYSICAL: usize = 4;

/// A function that was found.
#[derive(Clone, Debug)]
pub struct Function {
    /// Where it answers.
    pub address: Address,
    /// Where it sits.
    pub path: Path,
    /// Index of the bridge above it in the tree; `None` on a root bus.
    pub parent: Option<u16>,
    /// IDs and class.
    pub identity: Identity,
    /// Kind of header.
    pub header: Header,
    /// Kind of PCI Express function; `None` for a conventional one.
    pub express: Option<Express>,
    /// Bus behind it, if it is a bridge that leads somewhere.
    pub secondary: Option<u8>,
    /// It separates the traffic of what is behind or beside it (see [`Topology::group`]).
    pub isolates: bool,
    /// Of a virtual function: the index of its physical one, and its number from 1 on.
    pub physical: Option<(u16, u16)>,
}

/// The tree.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    functions: Vec<Function, MAX_FUNCTIONS>,
    /// Physical functions whose virtual ones are in the tree.
    physical: Vec<(u16, Sriov), MAX_PHYSICAL>,
    /// Functions that were found and had no room.
    pub dropped: u16,
}

impl Topology {
    /// Walks a segment from the root buses `first` to `last`. A bus that no bridge leads to and that has functions is a
    /// root bus. Bridges count only with bus numbers that make sense: beyond their own bus, within `last`, used once.
    pub fn enumerate<C: ConfigSpace + ?Sized>(&mut self, space: &C, segment: u16, first: u8, last: u8) {
        let mut seen = [false; 256];
        for bus in first..=last {
            if !seen[usize::from(bus)] {
                self.walk(space, segment, bus, last, &mut seen);
            }
        }
    }

    /// A root bus and everything behind it, without recursion: functions that were found are themselves the queue.
    fn walk<C: ConfigSpace + ?Sized>(
        &mut self,
        space: &C,
        segment: u16,
        root: u8,
        last: u8,
        seen: &mut [bool; 256],
    ) {
        let mut next = self.functions.len();
        seen[usize::from(root)] = true;
        self.scan(space, segment, root, None);
        while let Some(function) = self.functions.get_mut(next) {
            if let (Header::Bridge, Some(bus)) = (function.header, function.secondary) {
                if bus > function.address.bus && bus <= last && !seen[usize::from(bus)] {
                    seen[usize::from(bus)] = true;
                    self.scan(space, segment, bus, Some(next as u16));
                } else {
                    function.secondary = None;
                }
            }
            next += 1;
        }
    }

    /// All functions of a bus.
    fn scan<C: ConfigSpace + ?Sized>(&mut self, space: &C, segment: u16, bus: u8, parent: Option<u16>) {
        for device in 0..32 {
            for function in 0..8 {
                let address = Address { segment, bus, devfn: DevFn(device << 3 | function) };
                if !config::present(space, address) {
                    // Without function 0 there are no others.
                    if function == 0 {
                        break;
                    }
                    continue;
                }
                self.add(space, address, parent);
                if function == 0 && !config::header(space, address).1 {
                    break;
                }
            }
        }
    }

    fn add<C: ConfigSpace + ?Sized>(&mut self, space: &C, address: Address, parent: Option<u16>) {
        let path = match parent.and_then(|p| self.functions.get(usize::from(p))) {
            Some(bridge) => bridge.path.behind(address.devfn),
            None => Some(Path::root(address)),
        };
        let header = config::header(space, address).0;
        let secondary = match header {
            Header::Bridge => Some(space.read8(address, register::BUSES + 1)).filter(|bus| *bus != 0),
            _ => None,
        };
        let express = capability::express(space, address);
        let isolates = access::isolates(space, address, header, express);
        let identity = config::identity(space, address);
        let function = |path| Function {
            address,
            path,
            parent,
            identity,
            header,
            express,
            secondary,
            isolates,
            physical: None,
        };
        if path.and_then(|path| self.functions.push(function(path)).ok()).is_none() {
            self.dropped = self.dropped.saturating_add(1);
            // Nobody will look at it again.
            if header != Header::Bridge {
                config::update_command(space, address, 0, command::BUS_MASTER);
            }
        }
    }

    /// Adds the virtual functions of a physical one, which were enabled.
    ///
    /// # Errors
    /// [`Problem::Absent`] and [`Problem::Full`], and then none is added.
    pub fn add_virtual<C: ConfigSpace + ?Sized>(
        &mut self,
        space: &C,
        index: u16,
        sriov: Sriov,
    ) -> Result<(), Problem> {
        let Some(above) = self.get(index).cloned() else { return Err(Problem::NoCapability) };
        if let Some(number) = sriov.absent(space, above.address) {
            return Err(Problem::Absent(number));
        }
        let room = self.functions.capacity() - self.functions.len();
        if room < sriov.count().into() || self.physical.push((index, sriov)).is_err() {
            return Err(Problem::Full);
        }
        for number in 1..=sriov.count() {
            let Some(address) = sriov.address(above.address, number) else { continue };
            let mut path = above.path.clone();
            if let Some(last) = path.hops.last_mut() {
                *last = address.devfn;
            }
            let identity = Identity {
                vendor: above.identity.vendor,
                device: sriov.device(),
                ..config::identity(space, address)
            };
            let express = capability::express(space, address);
            access::harden(space, address, Header::Endpoint, express);
            let _ = self.functions.push(Function {
                address,
                path,
                parent: above.parent,
                identity,
                header: Header::Endpoint,
                express,
                secondary: None,
                isolates: access::isolates_among_virtual(space, address),
                physical: Some((index, number)),
            });
        }
        if let Some(function) = self.functions.get_mut(usize::from(index))
            && function.isolates
        {
            function.isolates = access::isolates_among_virtual(space, function.address);
        }
        Ok(())
    }

    /// The virtual functions of a physical one, if they are in the tree.
    pub fn virtuals(&self, index: u16) -> Option<&Sriov> {
        self.physical.iter().find(|(physical, _)| *physical == index).map(|(_, sriov)| sriov)
    }

    /// The BARs of a virtual function, which are in its physical one's capability.
    pub fn virtual_bars(&self, index: u16) -> Option<Bars> {
        let (physical, number) = self.get(index)?.physical?;
        Some(self.virtuals(physical)?.bars_of(number))
    }

    /// Turns access control on and the ways past it off at every function, and looks again at who isolates.
    pub fn harden<C: ConfigSpace + ?Sized>(&mut self, space: &C) {
        for Function { address, header, express, .. } in &self.functions {
            access::harden(space, *address, *header, *express);
        }
        for function in &mut self.functions {
            function.isolates = access::isolates(space, function.address, function.header, function.express);
        }
    }

    /// All functions, parents before what is behind them.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The function with this index.
    pub fn get(&self, index: u16) -> Option<&Function> {
        self.functions.get(usize::from(index))
    }

    /// Finds what a description names. For a path that leads nowhere: which of its elements isn't there, counted from 0.
    pub fn find(&self, location: &Location) -> Result<u16, usize> {
        let index = |found: Option<usize>| found.map(|index| index as u16);
        match location {
            Location::Address(address) => {
                index(self.functions.iter().position(|f| f.address == *address)).ok_or(0)
            }
            Location::Path(path) => {
                index(self.functions.iter().position(|f| f.path == *path)).ok_or_else(|| {
                    let common = |f: &Function| {
                        let same_root = (f.path.segment, f.path.bus) == (path.segment, path.bus);
                        let same = f.path.hops.iter().zip(&path.hops).take_while(|(a, b)| a == b).count();
                        if same_root { same } else { 0 }
                    };
                    let furthest = self.functions.iter().map(common).max().unwrap_or(0);
                    furthest.min(path.hops.len().saturating_sub(1))
                })
            }
        }
    }

    /// Finds what firmware's tables name: the first of the hops lies on the bus that has the number `bus` now, root bus or not; each
    /// other one is behind the bridge before it.
    pub fn find_by_bus_number(&self, path: &Path) -> Option<u16> {
        let mut found: Option<u16> = None;
        for hop in &path.hops {
            let next = self.functions.iter().position(|f| {
                let behind = match found {
                    None => (f.address.segment, f.address.bus) == (path.segment, path.bus),
                    Some(bridge) => f.parent == Some(bridge),
                };
                behind && f.address.devfn == *hop
            })?;
            found = Some(next as u16);
        }
        found
    }

    /// The functions directly on the bus that `index` is on, itself included.
    pub fn siblings(&self, index: u16) -> impl Iterator<Item = (u16, &Function)> {
        let place = self.get(index).map(|f| (f.address.segment, f.address.bus));
        let all = self.functions.iter().enumerate();
        all.filter(move |(_, f)| Some((f.address.segment, f.address.bus)) == place)
            .map(|(i, f)| (i as u16, f))
    }

    /// The bridge by which the bus of a function can be reset without harming others: the function is alone on it, but for its own
    /// virtual functions, which any reset of it ends.
    pub fn bus_reset(&self, index: u16) -> Option<Address> {
        let parent = self.get(index)?.parent?;
        let is_own = |other: &Function| other.physical.is_some_and(|(physical, _)| physical == index);
        (self.siblings(index).filter(|(_, other)| !is_own(other)).count() == 1)
            .then(|| self.get(parent).map(|bridge| bridge.address))
            .flatten()
    }

    /// Whether accesses to `first..=last` get through all bridges above a function.
    pub fn is_passed<C: ConfigSpace + ?Sized>(&self, space: &C, index: u16, first: u64, last: u64) -> bool {
        self.bridges(index).all(|bridge| bridge::passes(space, bridge, first, last))
    }

    /// Whether accesses to the ports `first..=last`, which lie in 256 aligned ones, get through all bridges above a function.
    pub fn are_ports_passed<C: ConfigSpace + ?Sized>(
        &self,
        space: &C,
        index: u16,
        first: u16,
        last: u16,
    ) -> bool {
        self.bridges(index).all(|bridge| bridge::passes_ports(space, bridge, first, last))
    }

    /// The bridges above a function, the nearest first.
    fn bridges(&self, index: u16) -> impl Iterator<Item = Address> {
        let parent = |index: u16| self.get(index)?.parent;
        core::iter::successors(parent(index), move |index| parent(*index))
            .filter_map(|index| self.get(index).map(|bridge| bridge.address))
    }

    /// What the requests of a function bear as their source when they reach the remapping unit: a bridge from PCI Express
    /// to PCI puts its own secondary bus with device 0 there, an old PCI bridge on the way itself.
    pub fn requester(&self, index: u16) -> Option<RequesterId> {
        let function = self.get(index)?;
        let mut requester = function.address.requester();
        let mut at = function.parent;
        while let Some(bridge) = at.and_then(|parent| self.get(parent)) {
            match (bridge.express, bridge.secondary) {
                (Some(Express::ToPci), Some(bus)) => requester = RequesterId(u16::from(bus) << 8),
                (None | Some(Express::FromPci), _) => requester = bridge.address.requester(),
                _ => {}
            }
            at = bridge.parent;
        }
        Some(requester)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::id;
    use crate::testing::{Machine, Random, at};

    fn express_port(machine: &Machine, address: Address, kind: u16, acs: bool) {
        machine.capabilities(address, &[(0x40, id::EXPRESS)]);
        machine.set16(address, 0x42, kind << 4 | 2);
        if acs {
            machine.set32(address, 0x100, 0x0001_000d);
            machine.set16(address, 0x104, 0x5d);
            machine.writable32(address, 0x104, 0xffff_0000);
        }
    }

    fn tree(machine: &Machine) -> Topology {
        let mut topology = Topology::default();
        topology.enumerate(machine, 0, 0, 255);
        topology.harden(machine);
        topology
    }

    /// Root bus, two root ports (one without ACS), a multifunction device, a PCI bridge with two devices behind it.
    fn machine() -> Machine {
        let machine = Machine::new();
        machine.endpoint("00:00.0", 0x8086, 0x29c0);
        express_port(&machine, machine.bridge("00:04.0", 1, 1), 4, true);
        machine.endpoint("01:00.0", 0x1234, 0x11e8);
        express_port(&machine, machine.bridge("00:05.0", 2, 4), 4, false);
        for function in ["02:00.0", "02:00.1"] {
            let address = machine.endpoint(function, 0x1af4, 0x1044);
            machine.set8(address, register::HEADER_TYPE, 0x80);
        }
        express_port(&machine, machine.bridge("02:01.0", 3, 3), 7, false);
        machine.endpoint("03:01.0", 0x10ec, 0x8139);
        machine.endpoint("03:02.0", 0x10ec, 0x8139);
        // Without function 0, and beyond a single function: nobody looks.
        machine.endpoint("00:07.1", 1, 1);
        machine.endpoint("01:00.1", 1, 1);
        machine
    }

    #[test]
    fn functions_are_found_with_their_paths() {
        let paths: std::vec::Vec<_> =
            tree(&machine()).functions().iter().map(|f| f.path.to_string()).collect();
        assert_eq!(
            paths,
            [
                "/00:00.0",
                "/00:04.0",
                "/00:05.0",
                "/00:04.0/00.0",
                "/00:05.0/00.0",
                "/00:05.0/00.1",
                "/00:05.0/01.0",
                "/00:05.0/01.0/01.0",
                "/00:05.0/01.0/02.0"
            ]
        );
    }

    #[test]
    fn paths_and_addresses_are_found() {
        let topology = tree(&machine());
        let find = |text: &str| topology.find(&text.parse().unwrap());
        assert_eq!(find("/00:04.0/00.0"), Ok(3));
        assert_eq!(find("01:00.0"), Ok(3));
        assert_eq!(find("/00:04.0/01.0"), Err(1), "the bridge is there, the device isn't");
        assert_eq!(find("/00:06.0/00.0"), Err(0));
        assert_eq!(find("/00:04.0/00.0/00.0"), Err(2));
        assert_eq!(find("/01:00.0"), Err(0));
        assert_eq!(find("01:00.1"), Err(0));
    }

    #[test]
    fn requester_ids_behind_bridges() {
        let topology = tree(&machine());
        let requester =
            |text: &str| topology.requester(topology.find(&text.parse().unwrap()).unwrap()).unwrap();
        assert_eq!(requester("01:00.0").to_string(), "01:00.0");
        assert_eq!(requester("03:01.0").to_string(), "03:00.0");
        assert_eq!(requester("03:02.0").to_string(), "03:00.0");
    }

    #[test]
    fn a_conventional_bridge_speaks_for_what_is_behind_it() {
        let machine = Machine::new();
        machine.bridge("00:1e.0", 1, 2);
        machine.bridge("01:03.0", 2, 2);
        machine.endpoint("02:00.0", 1, 1);
        let topology = tree(&machine);
        assert_eq!(topology.requester(2).unwrap().to_string(), "00:1e.0");
    }

    #[test]
    fn bus_reset_only_for_a_function_alone() {
        let topology = tree(&machine());
        let bus_reset = |text: &str| topology.bus_reset(topology.find(&text.parse().unwrap()).unwrap());
        assert_eq!(bus_reset("01:00.0"), Some(at("00:04.0")));
        assert_eq!(bus_reset("02:00.0"), None);
        assert_eq!(bus_reset("00:00.0"), None);
    }

    #[test]
    fn groups() {
        let topology = tree(&machine());
        let group = |text: &str| topology.group(topology.find(&text.parse().unwrap()).unwrap());
        assert_ne!(group("01:00.0"), group("00:04.0"), "behind a port with ACS");
        for member in ["02:00.0", "02:00.1", "02:01.0", "03:01.0", "03:02.0"] {
            assert_eq!(group(member), group("00:05.0"), "{member}: behind a port without ACS");
        }
    }

    #[test]
    fn hostile_bridges_end() {
        let machine = Machine::new();
        machine.bridge("00:01.0", 0, 0);
        machine.bridge("00:02.0", 1, 1);
        machine.bridge("00:03.0", 1, 1);
        machine.bridge("01:00.0", 1, 0);
        machine.bridge("01:01.0", 0xff, 0xff);
        machine.bridge("ff:00.0", 0x01, 0xff);
        machine.endpoint("40:00.0", 1, 1);
        let topology = tree(&machine);
        assert_eq!(topology.functions().len(), 7);
        assert_eq!(topology.find(&"/40:00.0".parse().unwrap()), Ok(6));
    }

    #[test]
    fn random_trees_never_panic_and_have_each_function_once() {
        let mut random = Random(11);
        for _ in 0..200 {
            let machine = Machine::new();
            for _ in 0..random.next() % 40 {
                let (bus, device) = (random.next() % 6, random.next() % 32);
                let text = format!("{bus:02x}:{device:02x}.{}", random.next() % 8);
                if random.next() & 1 == 0 {
                    let bridge = machine.bridge(&text, random.next() as u8 % 7, random.next() as u8);
                    express_port(&machine, bridge, random.next() as u16 % 16, random.next() & 1 == 0);
                } else {
                    machine.endpoint(&text, 1, 1);
                }
            }
            let topology = tree(&machine);
            for (index, function) in topology.functions().iter().enumerate() {
                assert_eq!(topology.find(&Location::Path(function.path.clone())), Ok(index as u16));
                assert_eq!(topology.find(&Location::Address(function.address)), Ok(index as u16));
                assert!(function.parent.is_none_or(|parent| usize::from(parent) < index));
                let _ = (topology.requester(index as u16), topology.bus_reset(index as u16));
                assert!(topology.group(index as u16) <= index as u16);
            }
        }
    }

    #[test]
    fn a_full_tree_counts_what_it_drops() {
        let machine = Machine::new();
        for bus in 0..2 {
            for device in 0..32 {
                for function in 0..8 {
                    let address = machine.endpoint(&format!("{bus:02x}:{device:02x}.{function}"), 1, 1);
                    machine.set8(address, register::HEADER_TYPE, 0x80);
                }
            }
        }
        let topology = tree(&machine);
        assert_eq!((topology.functions().len(), topology.dropped), (MAX_FUNCTIONS, 256));
    }
}
