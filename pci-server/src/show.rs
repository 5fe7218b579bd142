// SPDX-License-Identifier: MIT OR Apache-2.0
//! What pci-server shows of the machine's functions. Only configuration space is read, and of that nothing that changes by reading.

use heapless::Vec;
use pci::reset::Methods;
use pci::topology::Topology;
use protocol::look::device::{Device, Devices, Owner, Resets};

use crate::passthrough::Passthrough;
use crate::platform::Platform;

impl<P: Platform> Passthrough<P> {
    /// Functions from an index on, as many as fit.
    pub fn show(&mut self, topology: &Topology, from: u16) -> Devices {
        let mut devices = Vec::new();
        for index in from..topology.functions().len() as u16 {
            if devices.is_full() {
                return Devices { devices, next: Some(index) };
            }
            if let Some(device) = self.show_one(topology, index) {
                // There is room.
                let _ = devices.push(device);
            }
        }
        Devices { devices, next: None }
    }

    fn show_one(&mut self, topology: &Topology, index: u16) -> Option<Device> {
        let function = topology.get(index)?;
        let others = || topology.group_members(index).filter_map(|other| topology.get(other));
        let mut group = Vec::new();
        // Those without room are counted.
        let _ = others().try_for_each(|other| group.push(other.address));
        let grouped = others().count() as u16;
        let promised = self.promised(function.address).map(|(device, faults)| {
            let owner = Owner {
                vm: device.vm,
                index: device.index,
                slot: device.slot,
                vectors: device.vectors,
                state: device.life.state(),
                resetting: device.resetting.is_some() || device.waits,
                faults,
            };
            (device.methods, owner)
        });
        let (methods, owner) = match promised {
            Some((methods, owner)) => (methods, Some(owner)),
            None => {
                let own = Methods::read(self.platform.config(), function.address);
                (Methods { bus: topology.bus_reset(index), ..own }, None)
            }
        };
        let Methods { express, advanced, power, bus } = methods;
        let resets = Resets {
            function: express.is_some(),
            advanced: advanced.is_some(),
            power: power.is_some(),
            bus: bus.is_some(),
        };
        let (address, path, identity) = (function.address, function.path.clone(), function.identity);
        Some(Device { address, path, identity, resets, group, grouped, owner })
    }
}
