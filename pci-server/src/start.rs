// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the start page to promised devices: enumeration, judgement, frames, the device table, the refusals.

use component::Part;
use component::protocol::supervisor;
use core::fmt::Write;
use heapless::Vec;
use pci::carve;
use pci::config::{self, command};
use pci::reset::Saved;
use pci::topology::Topology;
use pci::{Bar, View};
use pci_server::device::{Device, Part as Piece, State};
use pci_server::judge::Machine;
use pci_server::passthrough::{MAX_DEVICES, Passthrough};
use pci_server::survey::{self, Claims, Survey};
use pci_server::table::{Owner, Row};
use pci::view::Interrupts;
use protocol::iommu::{Coverage, Probe};
use protocol::pci::{DEFAULT_VECTORS, PciConfig, PciDevice, Refusal};
use protocol::start::RangeKind;

use crate::ecam::Ecam;
use crate::frames::Frames;
use crate::machine::Real;

/// What became of a device of the description.
struct Verdict {
    vm: u16,
    index: u8,
    function: Result<u16, Refusal>,
}

type Verdicts = Vec<Verdict, MAX_DEVICES>;

/// Everything before `ready`.
pub fn start(mut part: Part) -> Result<Passthrough<Real>, &'static str> {
    let config: PciConfig = part.config().map_err(|_| "the configuration can't be read")?;
    let ecam = Ecam::new(&mut part, &config.ecam).ok_or("configuration space isn't mapped")?;
    let mut frames = Frames::new(part.memory().ok_or("the start page has no empty slots")?);
    for range in part.all(RangeKind::DeviceUntyped) {
        frames.add(range.first, range.physical, range.bytes.checked_ilog2().unwrap_or(0) as u8);
    }
    let mut topology = Topology::default();
    for range in &config.ecam {
        topology.enumerate(&ecam, range.segment, range.first_bus, range.last_bus);
    }
    survey::quiet_all(&ecam, &topology);
    let real = Real {
        ecam,
        frames,
        iommu: part.cap(RangeKind::IommuEndpoint),
        timer: part.cap(RangeKind::TimerEndpoint),
        tsc_khz: part.facts().tsc_khz,
        part,
    };
    let mut passthrough = Passthrough::new(real);
    let verdicts = settle(&mut passthrough, &topology, &config)?;
    log_table(&passthrough, &topology, &config, &verdicts);
    refuse(&mut passthrough, &config, &verdicts);
    Ok(passthrough)
}

/// Judges every device of the description, then makes the frames of those that their VMs get.
fn settle(
    passthrough: &mut Passthrough<Real>,
    topology: &Topology,
    config: &PciConfig,
) -> Result<Verdicts, &'static str> {
    let space = &passthrough.platform.ecam;
    let claims = Claims::read(space, topology);
    let windows = passthrough.platform.frames.windows();
    let machine = Machine { topology, claims: &claims, config, windows: &windows };
    let mut verdicts = Verdicts::new();
    let mut wanted: Vec<(u16, Bar), { MAX_DEVICES * 6 }> = Vec::new();
    for vm in &config.vms {
        for (index, device) in vm.devices.iter().enumerate() {
            let function = judge(&passthrough.platform, &machine, vm.vm, device, &verdicts);
            let verdict = Verdict { vm: vm.vm, index: index as u8, function };
            verdicts.push(verdict).map_err(|_| "the description has more devices than pci-server can serve")?;
        }
    }
    let mut surveys: Vec<(usize, Survey), MAX_DEVICES> = Vec::new();
    for number in 0..verdicts.len() {
        let Ok(function) = verdicts[number].function else { continue };
        // A VM gets all of its devices or isn't started, so nothing is made for one that lacks another.
        let vm = verdicts[number].vm;
        if verdicts.iter().any(|other| other.vm == vm && other.function.is_err()) {
            continue;
        }
        let Some(survey) = survey::survey(space, topology, function) else { continue };
        for bar in survey.bars.iter().filter(|bar| bar.is_memory()) {
            let _ = wanted.push((number as u16, *bar));
        }
        let _ = surveys.push((number, survey));
    }
    // An untyped's watermark only moves forward.
    wanted.sort_unstable_by_key(|(_, bar)| bar.base);
    let mut pieces: Vec<Vec<Piece, { pci_server::device::MAX_PARTS }>, MAX_DEVICES> = Vec::new();
    for _ in 0..verdicts.len() {
        let _ = pieces.push(Vec::new());
    }
    for (number, bar) in &wanted {
        let number = usize::from(*number);
        let survey = surveys.iter().find(|(owner, _)| *owner == number).map(|(_, survey)| survey);
        let Some(survey) = survey.filter(|_| verdicts[number].function.is_ok()) else { continue };
        if let Err(reason) = make(&mut passthrough.platform.frames, survey, bar, &mut pieces[number]) {
            verdicts[number].function = Err(reason);
        }
    }
    for (number, survey) in surveys {
        let Verdict { vm, index, function: Ok(function) } = verdicts[number] else { continue };
        let Some(promise) = config.vms.iter().find(|v| v.vm == vm).and_then(|v| v.devices.get(usize::from(index))) else {
            continue;
        };
        let parts = core::mem::take(&mut pieces[number]);
        verdicts[number].function = promise_device(passthrough, topology, function, vm, index, promise, survey, parts);
    }
    Ok(verdicts)
}
