// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything that one virtual machine is.
use crate::clock::Clock;
use crate::cpu::Cpu;
use crate::devices::Devices;
use crate::ram::Ram;
use protocol::start::signal;
use vmm_devices::apic::LocalApic;
use vmm_devices::config_ports::ConfigPorts;
use vmm_devices::decode::Cache;
use vmm_devices::exits::Exits;
use vmm_devices::uart::Uart;

/// The machine.
pub struct Vm {
    /// Its CPU.
    pub cpu: Cpu,
    /// Its RAM.
    pub ram: Ram,
    /// Its local APIC.
    pub apic: LocalApic,
    /// Its serial line.
    pub uart: Uart,
    /// Its time.
    pub clock: Clock,
    /// Passed-through devices.
    pub devices: Devices,
    /// The ports that lead to their configuration space.
    pub config_ports: ConfigPorts,
    /// Instructions decoded before.
    pub cache: Cache,
    /// What exited so far.
    pub exits: Exits,
    /// Signals of blocked DMA so far.
    pub dma_faults: u64,
    /// What became of the last death that the guest wanted.
    #[cfg(feature = "deaths")]
    pub death: u32,
}

impl Vm {
    /// After a write to the local APIC: tells the I/O APIC of the end of a level-triggered interrupt.
    #[inline]
    pub fn tell_end(&mut self) {
        if let Some(vector) = self.apic.take_level_end() {
            self.devices.end_of_interrupt(vector);
        }
    }

    /// Acts on the bits of the notification.
    pub fn signals(&mut self, bits: u64) {
        if bits & signal::VMM_TIMER != 0 {
            self.clock.signalled();
            self.apic.tick(self.clock.now());
            self.clock.want(self.apic.deadline());
        }
        let vectors = bits >> 8;
        if vectors != 0 {
            self.devices.interrupted(vectors, &mut self.apic);
        }
        if bits & (signal::VMM_DMA_FAULT | signal::VMM_LOOK) != 0 {
            self.rare_signals(bits);
        }
    }

    #[cold]
    fn rare_signals(&mut self, bits: u64) {
        if bits & signal::VMM_LOOK != 0 {
            self.look();
        }
        if bits & signal::VMM_DMA_FAULT != 0 {
            // A device can be made to do it without end.
            self.dma_faults += 1;
            if self.dma_faults.is_power_of_two() {
                component::log!("vmm: DMA of a device was blocked ({} times so far)", self.dma_faults);
            }
        }
    }
}
