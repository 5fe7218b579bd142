// SPDX-License-Identifier: MIT OR Apache-2.0
//! A modern virtio device on PCI (Virtual I/O Device 1.2, section 4.1), as a transport for the queues of `virtio-drivers`.
//!
//! That crate's own PCI transport lacks three things that a passed-through device needs: it doesn't acknowledge VIRTIO_F_ACCESS_PLATFORM,
//! without which a device behind an IOMMU refuses its driver; it doesn't look whether FEATURES_OK stayed set; and it gives queues no
//! MSI-X vector.

use guest_runtime::mmio::Mmio;
use guest_runtime::pci::{Function, capability_id};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Feature bits that concern every device (section 6).
pub mod feature {
    /// The modern interface.
    pub const VERSION_1: u64 = 1 << 32;
    /// The device's accesses go through an IOMMU.
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
}

/// Why a device can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// A structure that the capabilities should describe isn't there or lies outside of its BAR.
    Missing(&'static str),
    /// The device isn't modern.
    Legacy,
    /// The device took back FEATURES_OK for this set of features.
    FeaturesRefused(u64),
    /// The device took no MSI-X vector.
    NoVector,
}

impl core::fmt::Display for SetupError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Missing(what) => write!(f, "the device's {what} is missing"),
            Self::Legacy => write!(f, "the device has only the legacy interface"),
            Self::FeaturesRefused(bits) => write!(f, "the device refuses the features {bits:#x}"),
            Self::NoVector => write!(f, "the device takes no MSI-X vector"),
        }
    }
}

/// Offsets in the common configuration structure (section 4.1.4.3).
mod common {
    pub const DEVICE_FEATURE_SELECT: usize = 0x00;
    pub const DEVICE_FEATURE: usize = 0x04;
    pub const DRIVER_FEATURE_SELECT: usize = 0x08;
    pub const DRIVER_FEATURE: usize = 0x0c;
    pub const CONFIG_VECTOR: usize = 0x10;
    pub const STATUS: usize = 0x14;
    pub const GENERATION: usize = 0x15;
    pub const QUEUE_SELECT: usize = 0x16;
    pub const QUEUE_SIZE: usize = 0x18;
    pub const QUEUE_VECTOR: usize = 0x1a;
    pub const QUEUE_ENABLE: usize = 0x1c;
    pub const QUEUE_NOTIFY_OFFSET: usize = 0x1e;
    pub const QUEUE_DESCRIPTORS: usize = 0x20;
    pub const QUEUE_DRIVER: usize = 0x28;
    pub const QUEUE_DEVICE: usize = 0x30;
    pub const BYTES: usize = 0x38;
}

/// What reading back a vector gives where the device refused it.
const NO_VECTOR: u16 = 0xffff;
/// As many queues as a network device without multiqueue has.
const QUEUES: usize = 2;

/// The device's registers.
pub struct PciTransport {
    common: Mmio,
    notify: Mmio,
    notify_multiplier: usize,
    interrupt_status: Mmio,
    device: Mmio,
    device_type: DeviceType,
    /// For each queue its MSI-X vector and, once it is set up, the offset of its doorbell.
    queues: [(u16, usize); QUEUES],
}

/// A structure's registers from the vendor-specific capability at `offset`.
fn structure(function: &Function, offset: usize) -> Option<(u8, Mmio)> {
    let config = function.config();
    let kind = config.read8(offset + 3);
    let bar = function.bar(config.read8(offset + 4))?.registers();
    let part = bar.part(config.read32(offset + 8) as usize, config.read32(offset + 12) as usize)?;
    Some((kind, part))
}

impl PciTransport {
    /// Finds the device's structures. `vectors` are the MSI-X table indices for its queues.
    pub fn new(
        function: &Function,
        device_type: DeviceType,
        vectors: [u16; QUEUES],
    ) -> Result<Self, SetupError> {
        const COMMON: u8 = 1;
        const NOTIFY: u8 = 2;
        const INTERRUPT_STATUS: u8 = 3;
        const DEVICE: u8 = 4;
        let mut found: [Option<Mmio>; 5] = [None; 5];
        let mut notify_multiplier = 0;
        for (id, offset) in function.capabilities() {
            // The type first: not every vendor capability names a structure in a BAR.
            if id != capability_id::VENDOR
                || !(COMMON..=DEVICE).contains(&function.config().read8(offset + 3))
            {
                continue;
            }
            // The first of a kind counts (section 4.1.4).
            if let Some((kind, part)) = structure(function, offset)
                && found[usize::from(kind)].is_none()
            {
                found[usize::from(kind)] = Some(part);
                if kind == NOTIFY {
                    notify_multiplier = function.config().read32(offset + 16) as usize;
                }
            }
        }
        let take = |kind: u8, name| found[usize::from(kind)].ok_or(SetupError::Missing(name));
        let common = take(COMMON, "common configuration")?;
        if common.bytes() < common::BYTES {
            return Err(SetupError::Missing("whole common configuration"));
        }
        Ok(Self {
            common,
            notify: take(NOTIFY, "notification structure")?,
            notify_multiplier,
            interrupt_status: take(INTERRUPT_STATUS, "interrupt status")?,
            device: take(DEVICE, "device configuration")?,
            device_type,
            queues: vectors.map(|vector| (vector, 0)),
        })
    }

    /// Resets the device and agrees on features: VERSION_1, ACCESS_PLATFORM where offered, and what the device offers of `wanted`
    /// (section 3.1.1, steps 1 to 6). Result: the features agreed on.
    pub fn negotiate(&mut self, wanted: u64) -> Result<u64, SetupError> {
        self.set_status(DeviceStatus::empty());
        while self.get_status() != DeviceStatus::empty() {}
        let status = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
        self.set_status(status);
        let offered = self.read_device_features();
        if offered & feature::VERSION_1 == 0 {
            return Err(SetupError::Legacy);
        }
        let agreed = offered & (wanted | feature::VERSION_1 | feature::ACCESS_PLATFORM);
        self.write_driver_features(agreed);
        self.set_status(status | DeviceStatus::FEATURES_OK);
        if !self.get_status().contains(DeviceStatus::FEATURES_OK) {
            self.set_status(DeviceStatus::FAILED);
            return Err(SetupError::FeaturesRefused(agreed));
        }
        Ok(agreed)
    }

    /// Chooses the MSI-X vector for changes of the device's configuration.
    pub fn set_config_vector(&mut self, vector: u16) -> Result<(), SetupError> {
        self.common.write16(common::CONFIG_VECTOR, vector);
        if self.common.read16(common::CONFIG_VECTOR) == vector { Ok(()) } else { Err(SetupError::NoVector) }
    }

    /// Whether all queues that were set up have their vectors.
    pub fn queues_have_vectors(&mut self) -> Result<(), SetupError> {
        for queue in 0..QUEUES as u16 {
            self.select(queue);
            if self.common.read16(common::QUEUE_VECTOR) == NO_VECTOR {
                return Err(SetupError::NoVector);
            }
        }
        Ok(())
    }

    fn select(&mut self, queue: u16) {
        self.common.write16(common::QUEUE_SELECT, queue);
    }

    /// A 64-bit field as two halves, which every device understands (section 4.1.3.1).
    fn write_address(&mut self, offset: usize, address: PhysAddr) {
        self.common.write32(offset, address as u32);
        self.common.write32(offset + 4, (address >> 32) as u32);
    }
}

impl Transport for PciTransport {
    fn device_type(&self) -> DeviceType {
        self.device_type
    }

    fn read_device_features(&mut self) -> u64 {
        let half = |index| {
            self.common.write32(common::DEVICE_FEATURE_SELECT, index);
            u64::from(self.common.read32(common::DEVICE_FEATURE))
        };
        half(0) | half(1) << 32
    }

    fn write_driver_features(&mut self, features: u64) {
        for (index, half) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.common.write32(common::DRIVER_FEATURE_SELECT, index);
            self.common.write32(common::DRIVER_FEATURE, half);
        }
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.select(queue);
        self.common.read16(common::QUEUE_SIZE).into()
    }

    #[inline]
    fn notify(&mut self, queue: u16) {
        self.notify.write16(self.queues[usize::from(queue)].1, queue);
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.common.read8(common::STATUS).into())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.common.write8(common::STATUS, status.bits() as u8);
    }

    fn set_guest_page_size(&mut self, _: u32) {
        // Legacy only.
    }

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver: PhysAddr,
        device: PhysAddr,
    ) {
        self.select(queue);
        let doorbell = usize::from(self.common.read16(common::QUEUE_NOTIFY_OFFSET)) * self.notify_multiplier;
        let (vector, offset) = &mut self.queues[usize::from(queue)];
        *offset = doorbell;
        let vector = *vector;
        self.common.write16(common::QUEUE_SIZE, size as u16);
        self.common.write16(common::QUEUE_VECTOR, vector);
        self.write_address(common::QUEUE_DESCRIPTORS, descriptors);
        self.write_address(common::QUEUE_DRIVER, driver);
        self.write_address(common::QUEUE_DEVICE, device);
        self.common.write16(common::QUEUE_ENABLE, 1);
    }

    fn queue_unset(&mut self, _: u16) {
        // A modern device forgets its queues at reset only.
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.select(queue);
        self.common.read16(common::QUEUE_ENABLE) == 1
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        // For pin interrupts; with MSI-X the device leaves it 0 and nobody needs to ask.
        InterruptStatus::from_bits_retain(self.interrupt_status.read8(0).into())
    }

    fn read_config_generation(&self) -> u32 {
        self.common.read8(common::GENERATION).into()
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, Error> {
        let field = self.device.part(offset, size_of::<T>()).ok_or(Error::ConfigSpaceTooSmall)?;
        let mut value = T::new_zeroed();
        for (index, byte) in value.as_mut_bytes().iter_mut().enumerate() {
            *byte = field.read8(index);
        }
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Result<(), Error> {
        let field = self.device.part(offset, size_of::<T>()).ok_or(Error::ConfigSpaceTooSmall)?;
        for (index, byte) in value.as_bytes().iter().enumerate() {
            field.write8(index, *byte);
        }
        Ok(())
    }
}
