// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices that go on reaching memory which firmware reserves for them: the frames of it, and who gets which.

use alloc::vec::Vec;

use protocol::pci::{MAX_REGIONS, NotMapped};
use protocol::start::{Range, RangeKind, cptr, mount};
use root_task::layout::{self, DEFAULT_VECTORS, VmSlots};
use root_task::regions::{self, Extent};
use system_spec::compiled;

use crate::log;
use crate::system::System;

impl System<'_> {
    /// Makes the frames of every region that a device is to go on reaching. A region that has none to be made is nobody's.
    pub fn take_regions(&mut self) {
        regions::judge(&mut self.firmware.regions);
        self.region_frames = self.firmware.regions.iter().map(|_| Vec::new()).collect();
        for index in 0..self.firmware.regions.len() {
            let devices = self.description.vms.iter().flat_map(|vm| &vm.devices);
            if !devices.into_iter().any(|device| self.regions_of(device).contains(&index)) {
                continue;
            }
            let region = &self.firmware.regions[index];
            let Some(extent) = Extent::of(region) else { continue };
            let same = |other: &usize| {
                let other = &self.firmware.regions[*other];
                (other.base, other.limit) == (region.base, region.limit)
            };
            if let Some(first) = (0..index).find(same).filter(|first| !self.region_frames[*first].is_empty())
            {
                self.region_frames[index] = self.region_frames[first].clone();
                continue;
            }
            for address in extent.frames() {
                match self.resources.device_frame(address, extent.size_bits) {
                    Ok(frame) => self.region_frames[index].push(frame),
                    Err(failure) => {
                        log!("reserved memory at {address:#x} can't be mapped for devices: {failure}");
                        self.firmware.regions[index].unfit = Some(NotMapped::Taken);
                        break;
                    }
                }
            }
        }
    }

    /// Which regions a device goes on reaching, by their indices.
    pub fn regions_of(&self, device: &compiled::Device) -> Vec<usize> {
        let policy = self.description.pci.policy(&device.path);
        regions::mapped(&self.firmware.regions, &device.path, policy)
    }

    /// The same, a bit each.
    pub fn mapped(&self, device: &compiled::Device) -> u16 {
        let regions = self.regions_of(device).into_iter().filter(|region| *region < MAX_REGIONS);
        regions.fold(0, |set, region| set | 1 << region)
    }

    fn extents_of(&self, device: &compiled::Device) -> impl Iterator<Item = Extent> {
        let regions = self.regions_of(device).into_iter();
        regions.filter_map(|region| Extent::of(&self.firmware.regions[region]))
    }

    /// The capability spaces of a described VM.
    pub fn slots_of(&self, vm: &compiled::Vm) -> VmSlots {
        let devices: Vec<_> =
            (vm.devices.iter()).map(|device| (handlers(device), self.extents_of(device).collect())).collect();
        layout::vm(vm.memory, &devices, self.common.io_levels)
    }

    /// What iommu-server is told of a device's regions, whose frames lie in VM `vm`'s `dma` from slot `first` on.
    pub fn region_ranges(
        &self,
        vm: u16,
        device: &compiled::Device,
        first: usize,
    ) -> impl Iterator<Item = Range> {
        let mut slot = first;
        self.extents_of(device).map(move |extent| {
            let range = Range::new(
                RangeKind::DmaFrames,
                cptr(mount::iommu_dma(vm), slot as u64),
                extent.count as u64,
            );
            slot += extent.count;
            range.mapped(extent.base, 1 << extent.size_bits)
        })
    }
}

/// Handlers that a device may have: its messages', or its line's.
fn handlers(device: &compiled::Device) -> u8 {
    if device.intx.is_some() { 1 } else { device.vectors.unwrap_or(DEFAULT_VECTORS) }
}
