// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the start page to promised devices: enumeration, judgement, frames, the device table, the refusals.

use core::fmt::Write;

use component::protocol::supervisor::{REASON_BYTES, reason};
use heapless::{String, Vec};
use pci::Location;
use pci::reset::{Progress, Saved, Sequence};
use pci::sriov::{self, Sriov};
use pci::topology::Topology;
use pci_server::device::{Device, PortBars, Ports};
use pci_server::judge::{self, Machine};
use pci_server::passthrough::Passthrough;
use pci_server::promise;
use pci_server::recover::Recovered;
use pci_server::survey::{self, Claims, Survey};
use pci_server::table::{Owner, Places, Row};
use pci_server::virtuals::{self, Missing};
use protocol::iommu::{Coverage, Probe, ProbeLine};
use protocol::pci::{MAX_PROMISED, PciConfig, PciDevice, Problem, Refusal, ReservedRegion, Told, Virtuals};
use protocol::start::RangeKind;

use crate::frames::Frames;
use crate::machine::Real;

/// What became of a device of the description: the function, or why not.
struct Verdict {
    vm: u16,
    index: u8,
    function: Result<u16, Refusal>,
}

type Verdicts = Vec<Verdict, MAX_PROMISED>;

/// Everything before `ready`: at first from what the machine shows, later from what the life before has left. The functions that this calls
/// are kept apart, so that what only one needs doesn't take stack from the others.
#[inline(never)]
pub fn start(passthrough: &mut Passthrough<Real>, topology: &mut Topology) -> Result<(), &'static str> {
    let Ok(config) = passthrough.platform.part.config::<PciConfig>() else {
        return Err("the configuration can't be read");
    };
    let real = &mut passthrough.platform;
    real.ecam.fill(&mut real.part, &config.ecam).ok_or("configuration space isn't mapped")?;
    for range in &config.ecam {
        topology.enumerate(&real.ecam, range.segment, range.first_bus, range.last_bus);
    }
    if real.part.restarts() > 0 {
        start_anew(passthrough, topology, &config);
        return Ok(());
    }
    prepare(passthrough, topology, &config)?;
    passthrough.platform.settled();
    passthrough.settled();
    Ok(())
}

#[inline(never)]
fn start_anew(passthrough: &mut Passthrough<Real>, topology: &mut Topology, config: &PciConfig) {
    if !passthrough.platform.recover() {
        component::log!("nothing is known of the life before this one");
    }
    let Recovered { kept, again, lost } = passthrough.recover(config);
    component::log!("started anew: {kept} device(s) as before, {again} to be reset, {lost} lost");
    // The tree is only looked at from now on, so one that isn't whole does no harm.
    let (real, devices) = passthrough.parts();
    for device in devices {
        if let Some(virtuals) = device.saved.virtuals()
            && let Ok(index) = topology.find(&Location::Address(device.address))
        {
            let _ = topology.add_virtual(&real.ecam, index, *virtuals);
        }
    }
}

#[inline(never)]
fn prepare(
    passthrough: &mut Passthrough<Real>,
    topology: &mut Topology,
    config: &PciConfig,
) -> Result<(), &'static str> {
    let real = &mut passthrough.platform;
    for range in real.part.all(RangeKind::DeviceUntyped) {
        real.frames.add(range.first, range.physical, range.bytes.checked_ilog2().unwrap_or(0) as u8);
    }
    let had_virtual = survey::quiet_all(&real.ecam, topology, |address| {
        component::log!("{address}: firmware left bus mastering on; it is off now");
    });
    topology.harden(&real.ecam);
    if had_virtual {
        real.wait(sriov::DISABLE_MS)?;
    }
    let missing = enable_virtuals(real, topology, config)?;
    let claims = Claims::read(&real.ecam, topology, |index| survey::wants_rom(config, topology, index));
    let windows = real.frames.windows();
    let machine = Machine { topology, claims: &claims, config, windows: &windows };
    let mut verdicts = settle(passthrough, &machine, &missing)?;
    make_frames(passthrough, &mut verdicts);
    log_table(&passthrough.platform, &machine, &verdicts);
    refuse(passthrough, config, &verdicts);
    Ok(())
}

/// Enables the virtual functions of the description: those of each physical one, or why there are none. Nobody is served yet, so this
/// waits for the timer itself.
#[inline(never)]
fn enable_virtuals(
    real: &mut Real,
    topology: &mut Topology,
    config: &PciConfig,
) -> Result<Missing, &'static str> {
    let mut missing = Missing::new();
    for wanted in &config.virtuals {
        match enable(real, topology, config, wanted)? {
            Ok(()) => component::log!("{}: {} virtual functions", wanted.location, wanted.count),
            Err(reason) => {
                match reason {
                    Refusal::Virtual(problem) => {
                        component::log!("{}: no virtual functions: {problem}", wanted.location);
                    }
                    _ => component::log!("{}: no virtual functions: {reason}", wanted.location),
                }
                // There is room for each.
                let _ = missing.push((wanted.location.clone(), reason));
            }
        }
    }
    Ok(missing)
}

/// Resets a physical function, and enables its virtual ones.
fn enable(
    real: &mut Real,
    topology: &mut Topology,
    config: &PciConfig,
    wanted: &Virtuals,
) -> Result<Result<(), Refusal>, &'static str> {
    let planned = plan(real, topology, config, wanted);
    let (index, survey, sriov) = match planned {
        Ok(planned) => planned,
        Err(reason) => return Ok(Err(reason)),
    };
    let Some(address) = topology.get(index).map(|function| function.address) else {
        return Ok(Err(Refusal::NoSuchDevice));
    };
    survey::open_bridges(&real.ecam, topology, index, false);
    let saved = Saved::read(&real.ecam, address).with_virtuals(Some(sriov));
    let mut progress = match Sequence::begin(&real.ecam, address, &survey.methods, &saved) {
        Some((sequence, progress)) => (Some(sequence), progress),
        None => {
            sriov.enable(&real.ecam, address);
            (None, Progress::Wait(sriov::ENABLE_MS))
        }
    };
    loop {
        match progress {
            (_, Progress::Failed) => return Ok(Err(Refusal::Virtual(Problem::ResetFailed))),
            (_, Progress::Done) => break,
            (sequence, Progress::Wait(milliseconds)) => {
                real.wait(milliseconds)?;
                let Some(mut sequence) = sequence else { break };
                let step = sequence.go_on(&real.ecam, address, &survey.methods, &saved);
                progress = (Some(sequence), step);
            }
        }
    }
    Ok(topology.add_virtual(&real.ecam, index, sriov).map_err(Refusal::Virtual))
}

/// What a physical function's virtual ones are to be. Against the function itself nothing may speak.
#[inline(never)]
fn plan(
    real: &Real,
    topology: &Topology,
    config: &PciConfig,
    wanted: &Virtuals,
) -> Result<(u16, Survey, Sriov), Refusal> {
    let claims = Claims::read(&real.ecam, topology, |index| survey::wants_rom(config, topology, index));
    let windows = real.frames.windows();
    let machine = Machine { topology, claims: &claims, config, windows: &windows };
    let index = machine.find(&wanted.location)?;
    let survey = survey::survey(&real.ecam, topology, index).ok_or(Refusal::NoSuchDevice)?;
    machine.judge(index, &survey, coverage(real, topology, index), false)?;
    let planned = virtuals::plan(&real.ecam, topology, index, &claims, wanted.count.into());
    Ok((index, survey, planned.map_err(Refusal::Virtual)?))
}

/// What the IOMMU says of a function. Without an answer there is no IOMMU.
fn coverage(real: &Real, topology: &Topology, function: u16) -> Coverage {
    let nothing = Coverage { dma_remapping: false, interrupt_remapping: false, covered: false };
    let Some((place, requester)) = topology.get(function).zip(topology.requester(function)) else {
        return nothing;
    };
    real.ask(&Probe { segment: place.address.segment, requester }).unwrap_or(nothing)
}

/// Judges every device of the description, and promises those that nothing speaks against.
#[inline(never)]
fn settle(
    passthrough: &mut Passthrough<Real>,
    machine: &Machine,
    missing: &Missing,
) -> Result<Verdicts, &'static str> {
    let mut verdicts = Verdicts::new();
    for wanted in &machine.config.devices {
        let (vm, index) = (wanted.vm, wanted.index);
        let device = consider(&mut passthrough.platform, machine, wanted, &verdicts);
        let device = device.map_err(|reason| virtuals::explain(reason, wanted, missing));
        let function = device.as_ref().map(|device| device.function).map_err(|reason| *reason);
        let full = verdicts.push(Verdict { vm, index, function }).is_err();
        if full || device.is_ok_and(|device| !passthrough.add(device)) {
            return Err("the description has more devices than pci-server can serve");
        }
    }
    // A VM gets all of its devices or isn't started, so nothing is made for one that lacks another.
    for verdict in verdicts.iter().filter(|verdict| verdict.function.is_err()) {
        passthrough.refuse(verdict.vm);
    }
    Ok(verdicts)
}

fn consider(
    real: &mut Real,
    machine: &Machine,
    wanted: &PciDevice,
    before: &Verdicts,
) -> Result<Device, Refusal> {
    let function = machine.find(&wanted.location)?;
    let mut survey = machine.survey(&real.ecam, function, wanted)?;
    machine.judge(function, &survey, coverage(real, machine.topology, function), wanted.unsafe_interrupts)?;
    machine.judge_regions(function, Some(wanted))?;
    let reserved = machine.reserved(function, wanted);
    Machine::judge_ram(&reserved, wanted.reserved.ram)?;
    let given = before.iter().filter_map(|verdict| Some((verdict.function.ok()?, verdict.vm)));
    machine.judge_neighbours(function, wanted.vm, given)?;
    if wanted.intx.is_some() {
        judge::judge_line(&real.ecam, machine.topology, function)?;
        real.ask(&ProbeLine { vm: wanted.vm, device: wanted.index }).map_err(Refusal::Line)?;
    }
    let ports = ports(real, machine, function, &mut survey);
    survey::open_bridges(&real.ecam, machine.topology, function, !ports.is_empty());
    let mut device = promise::promise(&real.ecam, machine.topology, function, &survey, ports, wanted)?;
    device.reserved = reserved;
    if promise::has_company(machine.config, wanted) {
        device.view.has_several_functions();
    }
    Ok(device)
}

/// Gets the ports of a function's I/O BARs. What can't be had is hidden from the guest: most devices have the same registers in memory.
fn ports(real: &mut Real, machine: &Machine, function: u16, survey: &mut Survey) -> PortBars {
    let mut ports = PortBars::new();
    let bars = survey.bars;
    for bar in bars.iter().filter(|bar| !bar.is_memory()) {
        let (first, last) = (bar.base as u16, bar.base.wrapping_add(bar.size - 1) as u16);
        let mine = survey.ports & 1 << bar.index != 0 && machine.claims.shared(function, bar).is_none();
        match mine.then(|| real.ports(first, last)).flatten() {
            // There are six at most.
            Some(capability) => _ = ports.push(Ports { bar: bar.index, first, capability }),
            None => survey.bars.hide(bar.index),
        }
    }
    ports
}

/// Makes the frames of all promised BARs, in the order of their addresses: an untyped's watermark only moves forward.
#[inline(never)]
fn make_frames(passthrough: &mut Passthrough<Real>, verdicts: &mut Verdicts) {
    let (real, devices) = passthrough.parts();
    let mut done = None;
    while let Some((base, number, bar)) = promise::next_bar(devices, done) {
        done = Some((base, number, bar));
        let device = &mut devices[number];
        if make_bar(&mut real.frames, device, base, bar).is_err() {
            let mine = |verdict: &&mut Verdict| (verdict.vm, verdict.index) == (device.vm, device.index);
            if let Some(verdict) = verdicts.iter_mut().find(mine) {
                verdict.function = Err(Refusal::NoRoom);
            }
        }
    }
    for verdict in verdicts.iter().filter(|verdict| verdict.function.is_err()) {
        passthrough.refuse(verdict.vm);
    }
}

fn make_bar(
    frames: &mut Frames,
    device: &mut Device,
    base: u64,
    bar: u8,
) -> Result<(), component::sel4::Error> {
    for part in device.parts.iter_mut().filter(|part| part.bar == bar) {
        let address = base + part.run.offset;
        if part.run.open {
            part.frame = frames.make(address, part.run.count, part.run.size_bits)?;
            continue;
        }
        // A BAR smaller than a page needn't begin with one.
        part.page = frames.pages(address & !0xfff, part.run.count)?;
    }
    Ok(())
}

/// A line for each function. What isn't in the description is judged as well, for whoever wants to add it.
#[inline(never)]
fn log_table(real: &Real, machine: &Machine, verdicts: &Verdicts) {
    let topology = machine.topology;
    component::log!("{} PCI functions", topology.functions().len());
    for ReservedRegion { base, limit, device, .. } in &machine.config.regions {
        component::log!("memory {base:#x} to {limit:#x} is reserved by firmware for DMA of {device}");
    }
    if topology.dropped > 0 {
        component::log!("{} more were found and have no room in the table", topology.dropped);
    }
    for (index, function) in topology.functions().iter().enumerate() {
        let index = index as u16;
        let Some(mut survey) = survey::survey(&real.ecam, topology, index) else { continue };
        if survey::wants_rom(machine.config, topology, index) {
            survey::add_rom(&real.ecam, topology, index, &mut survey);
        }
        let mine = |verdict: &&Verdict| named(machine, verdict) == Some(index);
        let told = |refusal| Owner::Refused(Told { refusal, devices: &machine.config.devices });
        let owner = match verdicts.iter().find(mine) {
            Some(Verdict { function: Err(reason), .. }) => told(*reason),
            Some(verdict) => Owner::Vm(wanted(machine.config, verdict).map_or("?", |wanted| &wanted.owner)),
            None => {
                let judged = machine.judge(index, &survey, coverage(real, topology, index), false);
                let judged = judged.and_then(|()| machine.judge_regions(index, None));
                judged.map_or_else(told, |()| Owner::Nobody)
            }
        };
        component::log!("{}", Row { topology, index, function, survey: &survey, owner });
        if let Some(wanted) =
            verdicts.iter().find(mine).filter(|v| v.function.is_ok()).and_then(|v| wanted(machine.config, v))
        {
            log_memory(machine, index, function.address, wanted);
        }
    }
}

/// Where a device's DMA doesn't reach its VM's RAM, and what of firmware's memory it loses.
fn log_memory(machine: &Machine, index: u16, address: pci::Address, wanted: &PciDevice) {
    component::log!("{address}: no RAM of its VM's {}", Places(&machine.reserved(index, wanted)));
    for ReservedRegion { base, limit, .. } in machine.lost(index, wanted) {
        component::log!(
            "{address}: the memory {base:#x} to {limit:#x} that firmware reserves for it is not mapped, as the description accepts"
        );
    }
}

fn wanted<'a>(config: &'a PciConfig, verdict: &Verdict) -> Option<&'a PciDevice> {
    config.devices.iter().find(|wanted| (wanted.vm, wanted.index) == (verdict.vm, verdict.index))
}

fn named(machine: &Machine, verdict: &Verdict) -> Option<u16> {
    machine.find(&wanted(machine.config, verdict)?.location).ok()
}

/// Tells the root task which VMs lack a device, of each the first that it lacks.
#[inline(never)]
fn refuse(passthrough: &mut Passthrough<Real>, config: &PciConfig, verdicts: &Verdicts) {
    let mut told = None;
    for verdict in verdicts {
        let (Err(error), Some(device)) = (verdict.function, wanted(config, verdict)) else { continue };
        if told.replace(verdict.vm) != Some(verdict.vm) {
            passthrough.refuse(verdict.vm);
            let mut text: String<REASON_BYTES> = String::new();
            // Longer texts are cut.
            let told = Told { refusal: error, devices: &config.devices };
            let _ = write!(text, "device {}: {told}", device.location);
            component::refuse(verdict.vm, reason(&text));
        }
    }
}
