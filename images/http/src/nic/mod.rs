// SPDX-License-Identifier: MIT OR Apache-2.0
//! The network card: a modern virtio network device (Virtual I/O Device 1.2, section 5.1) with one receive and one transmit queue, as a
//! `smoltcp` device.
//!
//! Built for few interrupts and few exits: frames are taken by polling while there are any, and the device is asked for an
//! interrupt only before the guest goes to sleep; the transmit queue interrupts only when it ran full. Doorbells are one write each
//! for any number of frames.

mod hal;
mod phy;
mod ring;
mod transport;

use core::sync::atomic::{Ordering, fence};
use guest_runtime::pci::{self, Message, MsiX};
use guest_runtime::{irq, println};
use ring::{BUFFER, Direction, Ring, SIZE};
use transport::{PciTransport, SetupError};
use virtio_drivers::transport::{DeviceStatus, DeviceType, Transport};

/// The device's MSI-X vectors by use, and the CPU's vectors that they raise.
#[derive(Clone, Copy)]
pub struct Vectors {
    /// Changes of the device's configuration.
    pub config: u8,
    /// Frames received.
    pub receive: u8,
    /// Room to transmit.
    pub transmit: u8,
}

/// Why there is no network.
#[derive(Debug)]
pub enum NicError {
    /// There is no virtio network device.
    NoDevice,
    /// The function has no MSI-X, or too few vectors.
    NoMsiX,
    /// All CPU vectors are taken.
    NoFreeVector,
    /// The device can't be set up.
    Setup(SetupError),
    /// A queue can't be set up, or misbehaves.
    Queue(virtio_drivers::Error),
}

impl core::fmt::Display for NicError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoDevice => write!(f, "there is no modern virtio network device"),
            Self::NoMsiX => write!(f, "the network device has no MSI-X with at least three vectors"),
            Self::NoFreeVector => write!(f, "there is no free interrupt vector"),
            Self::Setup(error) => write!(f, "{error}"),
            Self::Queue(error) => write!(f, "the device's queue: {error}"),
        }
    }
}

impl From<SetupError> for NicError {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

impl From<virtio_drivers::Error> for NicError {
    fn from(error: virtio_drivers::Error) -> Self {
        Self::Queue(error)
    }
}

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
    /// The device broke the rules; it isn't used any more.
    broken: Option<virtio_drivers::Error>,
}

/// Interrupts of the card only have to wake the guest; the runtime counts them.
fn wake(_: u8) {}

impl Nic {
    /// Finds the first card and brings it up.
    pub fn find() -> Result<Self, NicError> {
        const VENDOR: u16 = 0x1af4;
        const MODERN_NETWORK: u16 = 0x1041;
        const TRANSITIONAL_NETWORK: u16 = 0x1000;
        let function = pci::find(VENDOR, MODERN_NETWORK)
            .or_else(|| pci::find(VENDOR, TRANSITIONAL_NETWORK))
            .ok_or(NicError::NoDevice)?;
        function.enable();
        let table = MsiX::of(&function).filter(|table| table.vectors() >= 3).ok_or(NicError::NoMsiX)?;
        let vector = || irq::register(wake).ok_or(NicError::NoFreeVector);
        let vectors = Vectors { config: vector()?, receive: vector()?, transmit: vector()? };

        table.enable();
        for (index, vector) in [vectors.config, vectors.receive, vectors.transmit].into_iter().enumerate() {
            table.set(index, Message::to_this_cpu(vector));
        }

        const MAC: u64 = 1 << 5;
        let mut transport = PciTransport::new(&function, DeviceType::Network, [1, 2])?;
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
            broken: None,
        })
    }

    /// The hardware address.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Which CPU vectors the card raises.
    pub fn vectors(&self) -> Vectors {
        self.vectors
    }

    /// Rings the doorbells for everything since the last time.
    pub fn flush(&mut self) {
        if core::mem::take(&mut self.to_send) {
            self.transmit.ring_doorbell(&mut self.transport);
        }
        if core::mem::take(&mut self.to_receive) {
            self.receive.ring_doorbell(&mut self.transport);
        }
    }

    /// Whether there is no buffer to send from until the device returns one.
    pub fn is_stuck(&self) -> bool {
        !self.transmit.has_free() && !self.transmit.has_used()
    }

    /// Asks for interrupts before the guest sleeps; `false` if there is work already, and then it must not sleep. Call it with interrupts off.
    pub fn prepare_to_sleep(&mut self) -> bool {
        self.receive.set_interrupts(true);
        let stuck = !self.transmit.has_free();
        self.transmit.set_interrupts(stuck);
        // The device must see the wish before we look at the rings for the last time.
        fence(Ordering::SeqCst);
        let work = self.receive.has_used() || (stuck && self.transmit.has_used());
        !work
    }

    /// The guest is up again and polls: no interrupts needed.
    pub fn woken(&mut self) {
        self.receive.set_interrupts(false);
        self.transmit.set_interrupts(false);
    }

    /// What the device did wrong, if it did; or that it asks to be reset.
    pub fn failure(&self) -> Option<virtio_drivers::Error> {
        self.broken
    }

    /// Whether the device asks for a reset: for after a configuration interrupt.
    pub fn needs_reset(&self) -> bool {
        self.transport.get_status().contains(DeviceStatus::DEVICE_NEEDS_RESET)
    }
}
