// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is to be known of a function before anyone gets it.

use heapless::Vec;
use pci::bar::{self, Bar};
use pci::config::{self, command};
use pci::reset::Methods;
use pci::topology::Topology;
use pci::view::Interrupts;
use pci::{Bars, ConfigSpace, Header, Msi, MsiX};

/// BARs of all functions together.
pub const MAX_CLAIMS: usize = 192;

/// A function's resources.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Its BARs; a bridge's aren't looked at.
    pub bars: Bars,
    /// How it interrupts: MSI-X before MSI.
    pub interrupts: Interrupts,
    /// Ways to reset it.
    pub methods: Methods,
    /// It says things that can't be: BARs of no size, an MSI-X table outside its BARs.
    pub bad: bool,
}

/// Reads a function's resources. Its BARs are sized with decoding off, so nobody may be using it.
pub fn survey<C: ConfigSpace + ?Sized>(space: &C, topology: &Topology, index: u16) -> Option<Survey> {
    let function = topology.get(index)?;
    let at = function.address;
    let bars = match function.header {
        Header::Endpoint => bar::probe(space, at, 6),
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
    Some(Survey { bars, interrupts, methods, bad: endpoint && (bars.bad != 0 || msix.is_err()) })
}

/// Turns bus mastering off everywhere but on bridges.
pub fn quiet_all<C: ConfigSpace + ?Sized>(space: &C, topology: &Topology) {
    for function in topology.functions().iter().filter(|f| f.header != Header::Bridge) {
        config::update_command(space, function.address, 0, command::BUS_MASTER);
    }
}

/// Lets the bridges above a function pass its requests and its registers' accesses.
pub fn open_bridges<C: ConfigSpace + ?Sized>(space: &C, topology: &Topology, index: u16) {
    let mut parent = topology.get(index).and_then(|f| f.parent);
    while let Some(bridge) = parent.and_then(|parent| topology.get(parent)) {
        config::update_command(space, bridge.address, command::MEMORY | command::BUS_MASTER, 0);
        parent = bridge.parent;
    }
}

/// A place that a BAR takes, small: there are many.
#[derive(Debug, Clone, Copy)]
struct Claim {
    base: u64,
    function: u16,
    size_bits: u8,
    memory: bool,
}

/// The BARs of all functions, to see who shares.
#[derive(Debug, Default)]
pub struct Claims {
    claims: Vec<Claim, MAX_CLAIMS>,
}

impl Claims {
    /// Reads all functions' BARs.
    pub fn read<C: ConfigSpace + ?Sized>(space: &C, topology: &Topology) -> Self {
        let mut claims = Vec::new();
        for function in 0..topology.functions().len() as u16 {
            let Some(survey) = survey(space, topology, function) else { continue };
            for bar in survey.bars.iter().filter(|bar| bar.is_assigned()) {
                let size_bits = bar.size.trailing_zeros() as u8;
                // One that has no room here still can't be given away twice: frames are made once.
                let _ = claims.push(Claim { base: bar.base, function, size_bits, memory: bar.is_memory() });
            }
        }
        Self { claims }
    }

    /// Whether another function claims a part of a BAR.
    pub fn shared(&self, function: u16, bar: &Bar) -> bool {
        self.claims.iter().any(|claim| {
            claim.function != function
                && claim.memory == bar.is_memory()
                && claim.base < bar.base.saturating_add(bar.size)
                && bar.base < claim.base.saturating_add(1 << claim.size_bits)
        })
    }
}
