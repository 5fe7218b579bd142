// SPDX-License-Identifier: MIT OR Apache-2.0
//! The network card, whichever of the two that this image drives is there, as a `smoltcp` device.
//!
//! Drivers are built for few interrupts and few exits: frames are taken by polling while there are any, and the device is asked for an
//! interrupt only before the guest goes to sleep; the transmit queue interrupts only when it ran full. Doorbells are one write each
//! for any number of frames.

pub mod e1000e;
pub mod virtio;

use guest_runtime::irq;
use smoltcp::phy::Device;

/// The longest frame: Ethernet header and 1,500 bytes.
const LONGEST_FRAME: usize = 1514;

/// The CPU's vectors that a card's MSI-X vectors raise, by use.
#[derive(Clone, Copy)]
pub struct Vectors {
    /// Changes of the device's configuration, or of the link.
    pub config: u8,
    /// Frames received.
    pub receive: u8,
    /// Room to transmit.
    pub transmit: u8,
}

impl Vectors {
    /// Takes three vectors. Their interrupts only have to wake the guest; the runtime counts them.
    fn take() -> Result<Self, NicError> {
        let vector = || irq::register(|_| ()).ok_or(NicError::NoFreeVector);
        Ok(Self { config: vector()?, receive: vector()?, transmit: vector()? })
    }
}

/// Why there is no network, or none any more.
#[derive(Debug)]
pub enum NicError {
    /// The function lacks a BAR that its driver needs.
    NoRegisters,
    /// The function has no MSI-X, or too few vectors.
    NoMsiX,
    /// All CPU vectors are taken.
    NoFreeVector,
    /// The virtio device can't be set up.
    Setup(virtio::SetupError),
    /// A virtio queue can't be set up, or misbehaves.
    Queue(virtio_drivers::Error),
    /// The device asks to be reset.
    NeedsReset,
    /// The device's registers read all ones.
    Gone,
}

impl core::fmt::Display for NicError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoRegisters => write!(f, "the network device's registers are missing"),
            Self::NoMsiX => write!(f, "the network device has no MSI-X with at least three vectors"),
            Self::NoFreeVector => write!(f, "there is no free interrupt vector"),
            Self::Setup(error) => write!(f, "{error}"),
            Self::Queue(error) => write!(f, "the device's queue: {error}"),
            Self::NeedsReset => write!(f, "the device asks to be reset"),
            Self::Gone => write!(f, "the device has gone: its registers read all ones"),
        }
    }
}

impl From<virtio::SetupError> for NicError {
    fn from(error: virtio::SetupError) -> Self {
        Self::Setup(error)
    }
}

impl From<virtio_drivers::Error> for NicError {
    fn from(error: virtio_drivers::Error) -> Self {
        Self::Queue(error)
    }
}

/// A card that runs.
pub trait Card: Device {
    /// The hardware address.
    fn mac(&self) -> [u8; 6];

    /// Which CPU vectors the card raises.
    fn vectors(&self) -> Vectors;

    /// Rings the doorbells for everything since the last time.
    fn flush(&mut self);

    /// Whether there is no buffer to send from until the device returns one.
    fn is_stuck(&self) -> bool;

    /// Asks for interrupts before the guest sleeps; `false` if there is work already, and then it must not sleep. Call it with interrupts off.
    fn prepare_to_sleep(&mut self) -> bool;

    /// The guest is up again and polls: no interrupts needed.
    fn woken(&mut self);

    /// A configuration interrupt came.
    fn configuration_changed(&mut self);

    /// Why the card can't be used any more, if so.
    fn failure(&self) -> Option<NicError>;
}
