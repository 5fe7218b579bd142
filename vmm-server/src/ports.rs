// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ports of devices that the guest reaches without an exit: those of I/O BARs that lie where the devices' own do.
use component::Memory;
use sel4::{Error, cap, cap_type};

/// The virtual CPU's permission map, made when the first port is opened.
pub struct Ports {
    vcpu: cap::VCpu,
    has_map: bool,
}

impl Ports {
    /// Every port exits.
    pub fn new(vcpu: cap::VCpu) -> Self {
        Self { vcpu, has_map: false }
    }

    /// Opens `first..=last`, which lie within the ports of the capability at `capability`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(&mut self, memory: &mut Memory, capability: u64, first: u16, last: u16) -> Result<(), Error> {
        if !self.has_map {
            let map = memory.make::<cap_type::IOPermissionMap>()?;
            self.vcpu.vcpu_set_io_permission_map(map)?;
            self.has_map = true;
        }
        self.vcpu.vcpu_enable_ioport(cap::IOPort::from_bits(capability), first.into(), last.into())
    }

    /// Makes them exit again.
    pub fn close(&self, first: u16, last: u16) {
        if let Err(error) = self.vcpu.vcpu_disable_ioport(first.into(), last.into()) {
            component::log!("vmm: ports {first:#x} to {last:#x} can't be closed: {error:?}");
        }
    }
}
