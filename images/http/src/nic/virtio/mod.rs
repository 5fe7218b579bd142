// SPDX-License-Identifier: MIT OR Apache-2.0
//! The network card: a modern virtio network device (Virtual I/O Device 1.2, section 5.1) with one receive and one transmit queue, as a
//! `smoltcp` device.

mod hal;
mod phy;
mod ring;
mod transport;

use super::{Card, NicError, Vectors};
use core::sync::atomic::{Ordering, fence};
use guest_runtime::pci::{self, Function, Message, MsiX};
use guest_runtime::println;
use ring::{BUFFER, Direction, Ring, SIZE};
use transport::PciTransport;
pub use transport::SetupError;
use virtio_drivers::transport::{DeviceStatus, DeviceType, Transport};

/// The card.
pub struct Nic {
    transport: PciTransport,
    receive: Ring,
    transmit: Ring,
    mac: [u8; 6],
    vectors: Vectors,
    /// Frames were given to the device since its last doorbell.
    to_send: bool,
    to_receive: bool,
    /// The device asks for a reset.
    needs_reset: bool,
    /// The device broke the rules; it isn't used any more.
    broken: Option<virtio_drivers::Error>,
}

impl Nic {
    /// The first card's function.
    pub fn find() -> Option<Function> {
        const VENDOR: u16 = 0x1af4;
        const MODERN_NETWORK: u16 = 0x1041;
        const TRANSITIONAL_NETWORK: u16 = 0x1000;
        pci::find(VENDOR, MODERN_NETWORK).or_else(|| pci::find(VENDOR, TRANSITIONAL_NETWORK))
    }

    /// Brings the card up.
    pub fn new(function: &Function) -> Result<Self, NicError> {
        function.enable();
        let table = MsiX::of(function).filter(|table| table.vectors() >= 3).ok_or(NicError::NoMsiX)?;
        let vectors = Vectors::take()?;

        table.enable();
        for (index, vector) in [vectors.config, vectors.receive, vectors.transmit].into_iter().enumerate() {
            table.set(index, Message::to_this_cpu(vector));
        }

        const MAC: u64 = 1 << 5;
        let mut transport = PciTransport::new(function, DeviceType::Network, [1, 2])?;
        let features = transport.negotiate(MAC)?;
        println!("http: network device {} with features {features:#x}", function.address());
        transport.set_config_vector(0)?;
        let mut receive = Ring::new(&mut transport, 0, Direction::Receive)?;
        let mut transmit = Ring::new(&mut transport, 1, Direction::Transmit)?;
        transport.queues_have_vectors()?;
        let mac = transport.read_config_space(0)?;
        transport.finish_init();

        for _ in 0..SIZE {
            let buffer = receive.take().expect("all buffers are free");
            receive.give(buffer, BUFFER)?;
        }
        receive.set_interrupts(false);
        transmit.set_interrupts(false);
        receive.ring_doorbell(&mut transport);
        Ok(Self {
            transport,
            receive,
            transmit,
            mac,
            vectors,
            to_send: false,
            to_receive: false,
            needs_reset: false,
            broken: None,
        })
    }
}

impl Card for Nic {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn vectors(&self) -> Vectors {
        self.vectors
    }

    fn flush(&mut self) {
        if core::mem::take(&mut self.to_send) {
            self.transmit.ring_doorbell(&mut self.transport);
        }
        if core::mem::take(&mut self.to_receive) {
            self.receive.ring_doorbell(&mut self.transport);
        }
    }

    fn is_stuck(&self) -> bool {
        !self.transmit.has_free() && !self.transmit.has_used()
    }

    fn prepare_to_sleep(&mut self) -> bool {
        self.receive.set_interrupts(true);
        let stuck = !self.transmit.has_free();
        self.transmit.set_interrupts(stuck);
        // The device must see the wish before we look at the rings for the last time.
        fence(Ordering::SeqCst);
        let work = self.receive.has_used() || (stuck && self.transmit.has_used());
        !work
    }

    fn woken(&mut self) {
        self.receive.set_interrupts(false);
        self.transmit.set_interrupts(false);
    }

    fn configuration_changed(&mut self) {
        self.needs_reset |= self.transport.get_status().contains(DeviceStatus::DEVICE_NEEDS_RESET);
    }

    fn failure(&self) -> Option<NicError> {
        self.broken.map(NicError::Queue).or(self.needs_reset.then_some(NicError::NeedsReset))
    }
}
