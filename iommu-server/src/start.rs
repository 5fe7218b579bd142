// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the start page to a server that can serve.

use component::Part;
use component::memory::slot_at;
use component::protocol::start::slot;
use component::sel4::{CapRights, cap};
use iommu_server::domains::{Caps, Domains, Features, Holding, RamRun};
use iommu_server::faults::Faults;
use iommu_server::recover::Recovered;
use protocol::iommu::{IommuConfig, IommuDevice};
use protocol::kept::{self, Kept};
use protocol::start::{Range, RangeKind, cptr, mount, signal};
use sel4_abi::bootinfo::{FEATURE_DMA_REMAPPING, FEATURE_INTERRUPT_REMAPPING};

use crate::Iommu;
use crate::invocations::Invocations;

/// Reads the configuration, and asks the kernel to signal DMA faults.
pub fn start(mut part: Part) -> Result<Iommu, &'static str> {
    let config: IommuConfig = part.config().map_err(|_| "the configuration can't be read")?;
    let mut memory = part.memory().ok_or("the start page has no empty slots")?;
    let scratch = memory.slots.take().ok_or("there is no empty slot")?;
    let features = features(&part);
    let invocations = Invocations {
        master: part.find(RangeKind::IoSpaceMaster).map_or(0, |range| range.first),
        irq_control: part.cap(RangeKind::IrqControl).ok_or("there is no IRQControl")?,
    };
    let mut domains = Domains::new(invocations, features, scratch);
    let mut devices = 0;
    for vm in &config.vms {
        for (index, device) in vm.devices.iter().enumerate() {
            let io_space = memory.slots.take().ok_or("there are too few empty slots")?;
            if !domains.add(holding(&part, vm.vm, index as u8, device, io_space)?) {
                return Err("the description has more devices than iommu-server can serve");
            }
            devices += 1;
        }
    }
    let mut kept = part.kept().and_then(Kept::new);
    recover(&part, &mut domains, kept.as_mut());
    let fault_control = watch_faults(&part, &mut memory);
    component::log!(
        "DMA remapping {}, interrupt remapping {} ({} entries), DMA faults {}, {} device(s) in the description",
        on(features.dma_remapping),
        on(features.interrupt_remapping),
        features.entries,
        if fault_control.is_some() { "reported" } else { "not reported" },
        devices
    );
    let (timer, tsc_khz) = (part.cap(RangeKind::TimerEndpoint), part.facts().tsc_khz);
    Ok(Iommu { domains, faults: Faults::new(config.fault_limit), fault_control, timer, tsc_khz, part, kept })
}

/// After a death: takes over what was kept.
#[inline(never)]
fn recover(part: &Part, domains: &mut Domains<Invocations>, kept: Option<&mut Kept>) {
    if part.restarts() == 0 {
        return;
    }
    let state = kept.as_ref().and_then(|kept| kept.load(&mut [0; kept::longest(kept::IOMMU_BYTES)]));
    if state.is_none() {
        component::log!("nothing is known of the life before this one: all devices are cut off");
    }
    let Recovered { kept: devices, cut } = domains.recover(state);
    component::log!("started anew: {devices} device(s) attached as before, {cut} cut off");
    if let Some(kept) = kept {
        kept.save(&domains.state(None));
    }
}

fn on(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn features(part: &Part) -> Features {
    let extensions = part.extensions();
    let has = |bit: u32| extensions.version == 1 && extensions.features & bit != 0;
    let master = part.find(RangeKind::IoSpaceMaster).is_some();
    Features {
        dma_remapping: has(FEATURE_DMA_REMAPPING) && master,
        interrupt_remapping: has(FEATURE_INTERRUPT_REMAPPING),
        entries: if extensions.version == 1 { extensions.irte_count } else { 0 },
    }
}

/// What the ranges say of one device.
fn holding(
    part: &Part,
    vm: u16,
    index: u8,
    device: &IommuDevice,
    io_space: u64,
) -> Result<Holding, &'static str> {
    let key = u64::from(vm) << 16 | u64::from(index);
    let mine = move |kind| part.all(kind).filter(move |range: &&Range| range.physical == key);
    let caps = |kind| {
        mine(kind)
            .next()
            .map(|range| Caps { first: range.first, count: range.count as u16 })
            .unwrap_or_default()
    };
    let mut ram = heapless::Vec::new();
    for range in mine(RangeKind::DmaFrames) {
        let size_bits = range.bytes.checked_ilog2().ok_or("frames have no size")? as u8;
        let run = RamRun { first: range.first, count: range.count as u32, size_bits, base: range.address };
        ram.push(run).map_err(|_| "a VM's RAM has more holes than iommu-server can serve")?;
    }
    let irqs = cptr(mount::iommu_irqs(vm), device.irqs_first.into());
    Ok(Holding {
        vm,
        device: index,
        domain: device.domain,
        io_space,
        tables: caps(RangeKind::DmaTables),
        ram,
        handlers: caps(RangeKind::DmaHandlers),
        copies: Caps { first: irqs, count: device.irqs_count },
        pin: device.line,
    })
}

/// Has the kernel signal this part's own notification at each DMA fault.
fn watch_faults(part: &Part, memory: &mut component::Memory) -> Option<cap::DmaFault> {
    let control: cap::DmaFault = part.cap(RangeKind::DmaFaultControl)?;
    let badged = memory.slots.take()?;
    // After a death it isn't empty.
    slot_at(badged).delete().ok()?;
    slot_at(badged).mint(&slot_at(slot::NOTIFICATION), CapRights::all(), signal::DMA_FAULT).ok()?;
    control.dma_fault_set_notification(cap::Notification::from_bits(badged)).ok()?;
    Some(control)
}
