// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is to be known of a function before anyone gets it.

use heapless::Vec;
use pci::bar::{self, Bar};
use pci::capability;
use pci::config::{self, command, register};
use pci::reset::Methods;
use pci::sriov;
use pci::topology::{Function, MAX_FUNCTIONS, Topology};
use pci::view::Interrupts;
use pci::{Address, Bars, ConfigSpace, Header, Msi, MsiX};
use protocol::pci::PciConfig;

/// BARs of all functions together: two of each, for most have one or none.
pub const MAX_CLAIMS: usize = 2 * MAX_FUNCTIONS;

/// Ports below are the chipset's and of devices older than PCI.
const FIRST_PORT: u64 = 0x1000;
const LAST_PORT: u64 = 0xffff;
/// The most that one BAR can have (PCI Local Bus 3.0, section 6.2.5.1).
const MAX_PORTS: u64 = 256;

/// A function's resources.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Its BARs; a bridge's aren't looked at.
    pub bars: Bars,
    /// How it interrupts: MSI-X before MSI.
    pub interrupts: Interrupts,
    /// Ways to reset it.
    pub methods: Methods,
    /// Memory BARs at places that a bridge above doesn't pass on, a bit each: what answers there isn't this function.
    pub beyond: u8,
    /// I/O BARs that can be reached, a bit each: assigned, above the ports that are older than PCI, passed on by the bridges above.
    pub ports: u8,
    /// It says things that can't be (BARs of no size, an MSI-X table outside its BARs): offset in configuration space, and
    /// the four bytes there.
    pub bad: Option<(u16, u32)>,
}

/// Reads a function's resources. Its BARs are sized with decoding off, so nobody may be using it.
pub fn survey<C: ConfigSpace + ?Sized>(space: &C, topology: &Topology, index: u16) -> Option<Survey> {
    let function = topology.get(index)?;
    let at = function.address;
    let bars = match (function.header, function.physical) {
        (_, Some(_)) => topology.virtual_bars(index)?,
        (Header::Endpoint, None) => bar::probe(space, at, 6),
        _ => Bars::default(),
    };
    let msix = MsiX::read(space, at, &bars);
    let interrupts = match msix {
        Ok(Some(msix)) => Interrupts::MsiX(msix),
        _ => Msi::read(space, at).map_or(Interrupts::None, Interrupts::Msi),
    };
    let mut methods = Methods::read(space, at);
    methods.bus = topology.bus_reset(index);
    let endpoint = function.header == Header::Endpoint;
    let is_beyond = |bar: &&Bar| {
        bar.is_memory()
            && bar.is_assigned()
            && !topology.is_passed(space, index, bar.base, bar.base + (bar.size - 1))
    };
    let beyond = bars.iter().filter(is_beyond).fold(0, |set, bar| set | 1 << bar.index);
    let reaches = |bar: &&Bar| {
        !bar.is_memory()
            && bar.size <= MAX_PORTS
            && (FIRST_PORT..=LAST_PORT + 1 - bar.size).contains(&bar.base)
            && bar.is_assigned()
            && topology.are_ports_passed(space, index, bar.base as u16, (bar.base + bar.size - 1) as u16)
    };
    let ports = bars.iter().filter(reaches).fold(0, |set, bar| set | 1 << bar.index);
    let bad = match (bars.bad, msix.is_err()) {
        (0, false) => None,
        (0, true) => capability::find(space, at, capability::id::MSI_X).map(|offset| (offset + 4).min(0xfc)),
        (bars, _) => Some(register::BAR + 4 * bars.trailing_zeros() as u16),
    };
    let bad = bad.filter(|_| endpoint).map(|offset| (offset, space.read32(at, offset)));
    Some(Survey { bars, interrupts, methods, beyond, ports, bad })
}

/// Whether the description wants a function's expansion ROM.
pub fn wants_rom(config: &PciConfig, topology: &Topology, index: u16) -> bool {
    let mut wanted = config.devices.iter().filter(|wanted| wanted.rom);
    wanted.any(|wanted| topology.find(&wanted.location) == Ok(index))
}

/// Adds a function's expansion ROM; false if it has none.
pub fn add_rom<C: ConfigSpace + ?Sized>(
    space: &C,
    topology: &Topology,
    index: u16,
    survey: &mut Survey,
) -> bool {
    let Some(function) = topology.get(index).filter(|function| function.header == Header::Endpoint) else {
        return false;
    };
    let Some(rom) = bar::probe_rom(space, function.address) else { return false };
    if rom.is_assigned() && !topology.is_passed(space, index, rom.base, rom.base + (rom.size - 1)) {
        survey.beyond |= 1 << bar::ROM;
    }
    survey.bars.add_rom(rom);
    true
}

/// Turns bus mastering off everywhere but on bridges, expansion ROMs too, and interrupt lines everywhere; `found` is told where bus
/// mastering was on. Turns all virtual functions off as well: true if there were any.
pub fn quiet_all<C: ConfigSpace + ?Sized>(
    space: &C,
    topology: &Topology,
    mut found: impl FnMut(Address),
) -> bool {
    let mut had_virtual = false;
    for Function { address, header, .. } in topology.functions() {
        let bridge = *header == Header::Bridge;
        let clear = if bridge { 0 } else { command::BUS_MASTER };
        if space.read16(*address, register::COMMAND) & clear != 0 {
            found(*address);
        }
        config::update_command(space, *address, command::INTX_DISABLE, clear);
        had_virtual |= !bridge && sriov::turn_off(space, *address);
        if *header == Header::Endpoint {
            bar::turn_off_rom(space, *address);
        }
    }
    had_virtual
}

/// Lets the bridges above a function pass its requests and its registers' accesses, and those of ports if it `has_ports`.
pub fn open_bridges<C: ConfigSpace + ?Sized>(space: &C, topology: &Topology, index: u16, has_ports: bool) {
    let io = if has_ports { command::IO } else { 0 };
    let mut parent = topology.get(index).and_then(|f| f.parent);
    while let Some(bridge) = parent.and_then(|parent| topology.get(parent)) {
        config::update_command(space, bridge.address, io | command::MEMORY | command::BUS_MASTER, 0);
        parent = bridge.parent;
    }
}

/// A place that a BAR takes, small: there are many.
#[derive(Debug, Clone, Copy)]
struct Claim {
    base: u64,
    function: u16,
    index: u8,
    size_bits: u8,
    memory: bool,
}

/// The BARs of all functions, to see who shares.
#[derive(Debug, Default)]
pub struct Claims {
    claims: Vec<Claim, MAX_CLAIMS>,
    /// There were more: nobody knows who shares.
    full: bool,
}

impl Claims {
    /// Reads all functions' BARs, and the expansion ROMs of those for which that `has_rom` says so: the others' stay off.
    pub fn read<C: ConfigSpace + ?Sized>(
        space: &C,
        topology: &Topology,
        has_rom: impl Fn(u16) -> bool,
    ) -> Self {
        let mut claims = Vec::new();
        let mut full = topology.dropped > 0;
        for function in 0..topology.functions().len() as u16 {
            let Some(mut survey) = survey(space, topology, function) else { continue };
            if has_rom(function) {
                add_rom(space, topology, function, &mut survey);
            }
            for bar in survey.bars.iter().filter(|bar| bar.is_assigned()) {
                let size_bits = bar.size.trailing_zeros() as u8;
                let (index, memory) = (bar.index, bar.is_memory());
                let claim = Claim { base: bar.base, function, index, size_bits, memory };
                full |= claims.push(claim).is_err();
            }
        }
        Self { claims, full }
    }

    /// First and last address of everything that memory BARs claim.
    pub fn memory(&self) -> impl Iterator<Item = (u64, u64)> + Clone {
        let memory = self.claims.iter().filter(|claim| claim.memory);
        memory.map(|claim| (claim.base, claim.base.saturating_add((1 << claim.size_bits) - 1)))
    }

    /// There is no room for all BARs, or not all functions are known.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// The memory BARs of a function: first and last byte.
    pub fn memory_of(&self, function: u16) -> impl Iterator<Item = (u64, u64)> {
        let mine = self.claims.iter().filter(move |claim| claim.function == function && claim.memory);
        mine.map(|claim| (claim.base, claim.base.saturating_add((1 << claim.size_bits) - 1)))
    }

    /// What else claims a part of a BAR: another function, or another BAR of this one. Function and BAR.
    pub fn shared(&self, function: u16, bar: &Bar) -> Option<(u16, u8)> {
        let found = self.claims.iter().find(|claim| {
            (claim.function, claim.index) != (function, bar.index)
                && claim.memory == bar.is_memory()
                && claim.base < bar.base.saturating_add(bar.size)
                && bar.base < claim.base.saturating_add(1 << claim.size_bits)
        });
        found.map(|claim| (claim.function, claim.index))
    }
}
