// SPDX-License-Identifier: MIT OR Apache-2.0
//! Intel's 82574L, QEMU's `e1000e` (Intel 82574 GbE Controller Family Datasheet, chapters 7 and 10): one receive and one transmit queue with
//! legacy descriptors, and MSI-X.
//!
//! A vector masks its own cause when it has been sent (EIAC), so each is asked for anew before the guest sleeps.

mod descriptor;
mod phy;
mod ring;

use super::{Card, NicError, Vectors};
use guest_runtime::mmio::Mmio;
use guest_runtime::pci::{self, Function, Message, MsiX};
use guest_runtime::{println, time};
use ring::{ReceiveRing, TransmitRing};

mod register {
    pub const CONTROL: usize = 0x0000;
    pub const STATUS: usize = 0x0008;
    pub const EEPROM_CONTROL: usize = 0x0010;
    pub const EXTENDED_CONTROL: usize = 0x0018;
    pub const CAUSE: usize = 0x00c0;
    pub const MASK_SET: usize = 0x00d0;
    pub const MASK_CLEAR: usize = 0x00d8;
    pub const AUTO_CLEAR: usize = 0x00dc;
    pub const VECTOR_ALLOCATION: usize = 0x00e4;
    pub const RECEIVE_CONTROL: usize = 0x0100;
    pub const TRANSMIT_CONTROL: usize = 0x0400;
    pub const RECEIVE_RING: usize = 0x2800;
    pub const TRANSMIT_RING: usize = 0x3800;
    pub const TRANSMIT_DESCRIPTOR_CONTROL: usize = 0x3828;
    pub const MULTICAST: usize = 0x5200;
    pub const ADDRESS_LOW: usize = 0x5400;
    pub const ADDRESS_HIGH: usize = 0x5404;
}

/// Causes of interrupts (section 10.2.4).
mod cause {
    pub const LINK: u32 = 1 << 2;
    pub const RECEIVE: u32 = 1 << 20;
    pub const TRANSMIT: u32 = 1 << 22;
    pub const OTHER: u32 = 1 << 24;
    pub const ALL: u32 = u32::MAX;
}

/// The card.
pub struct Nic {
    registers: Mmio,
    receive: ReceiveRing,
    transmit: TransmitRing,
    mac: [u8; 6],
    vectors: Vectors,
    /// Its registers read all ones.
    gone: bool,
}

impl Nic {
    /// The first card's function.
    pub fn find() -> Option<Function> {
        pci::find(0x8086, 0x10d3)
    }

    /// Brings the card up.
    pub fn new(function: &Function) -> Result<Self, NicError> {
        const LAST_REGISTER: usize = register::ADDRESS_HIGH;
        let bar = function.bar(0).ok_or(NicError::NoRegisters)?.registers();
        let registers = bar.part(0, LAST_REGISTER + 4).ok_or(NicError::NoRegisters)?;
        function.enable();
        let table = MsiX::of(function).filter(|table| table.vectors() >= 3).ok_or(NicError::NoMsiX)?;
        let vectors = Vectors::take()?;
        table.enable();
        for (index, vector) in [vectors.config, vectors.receive, vectors.transmit].into_iter().enumerate() {
            table.set(index, Message::to_this_cpu(vector));
        }

        reset(&registers)?;
        let mac = hardware_address(&registers);
        let mut receive = ReceiveRing::new();
        let transmit = TransmitRing::new();
        start(&registers, &mut receive, &transmit);
        println!("http: network device {} with address {mac:02x?}", function.address());
        Ok(Self { registers, receive, transmit, mac, vectors, gone: false })
    }
}

/// Resets the card and waits until it has read its settings.
fn reset(registers: &Mmio) -> Result<(), NicError> {
    const RESET: u32 = 1 << 26;
    const SETTINGS_ARE_READ: u32 = 1 << 9;
    const RECOVERY: u64 = 1_000_000;
    registers.write32(register::MASK_CLEAR, cause::ALL);
    let control = registers.read32(register::CONTROL);
    registers.write32(register::CONTROL, control | RESET);
    // Its registers may not be touched at once (section 4.6.1.1); a millisecond is plenty.
    time::sleep_until(time::now() + RECOVERY);
    loop {
        let (control, settings) =
            (registers.read32(register::CONTROL), registers.read32(register::EEPROM_CONTROL));
        if control == u32::MAX {
            return Err(NicError::Gone);
        }
        if control & RESET == 0 && settings & SETTINGS_ARE_READ != 0 {
            break;
        }
        core::hint::spin_loop();
    }
    registers.write32(register::MASK_CLEAR, cause::ALL);
    registers.write32(register::CAUSE, cause::ALL);
    Ok(())
}

/// The address that the card has read from its settings.
fn hardware_address(registers: &Mmio) -> [u8; 6] {
    let [a, b, c, d] = registers.read32(register::ADDRESS_LOW).to_le_bytes();
    let [e, f, ..] = registers.read32(register::ADDRESS_HIGH).to_le_bytes();
    [a, b, c, d, e, f]
}

/// Turns on link, interrupts and both queues.
fn start(registers: &Mmio, receive: &mut ReceiveRing, transmit: &TransmitRing) {
    const LINK_UP: u32 = 1 << 6;
    let control = registers.read32(register::CONTROL);
    registers.write32(register::CONTROL, control | LINK_UP);
    for group in 0..128 {
        registers.write32(register::MULTICAST + 4 * group, 0);
    }

    // Vector 0 for everything else, 1 for frames received, 2 for frames sent; bit 3 of each field makes it valid.
    const ALLOCATION: u32 = 0x8 << 16 | 0x9 | 0xa << 8;
    const CLEAR_PENDING: u32 = 1 << 31;
    registers.write32(register::VECTOR_ALLOCATION, ALLOCATION);
    let extended = registers.read32(register::EXTENDED_CONTROL);
    registers.write32(register::EXTENDED_CONTROL, extended | CLEAR_PENDING);
    registers.write32(register::AUTO_CLEAR, cause::RECEIVE | cause::TRANSMIT | cause::OTHER);

    // Broadcasts and this card's own address, no more; buffers of 2,048 bytes; without the frame's checksum.
    const RECEIVE_ON: u32 = 1 << 1 | 1 << 15 | 1 << 26;
    receive.tell(registers, register::RECEIVE_RING);
    registers.write32(register::RECEIVE_CONTROL, RECEIVE_ON);
    // The owner of the first descriptors is the card once the tail has moved.
    receive.ring_doorbell(registers);

    // Descriptors are counted and written back one by one (section 10.2.7: bit 22 must be set).
    const ONE_BY_ONE: u32 = 1 << 24 | 1 << 22 | 1 << 16;
    // On, short frames are filled up, collision threshold and distance for full duplex.
    const TRANSMIT_ON: u32 = 1 << 1 | 1 << 3 | 0xf << 4 | 0x3f << 12;
    transmit.tell(registers, register::TRANSMIT_RING);
    registers.write32(register::TRANSMIT_DESCRIPTOR_CONTROL, ONE_BY_ONE);
    registers.write32(register::TRANSMIT_CONTROL, TRANSMIT_ON);
    registers.write32(register::MASK_SET, cause::OTHER | cause::LINK);
}

impl Card for Nic {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn vectors(&self) -> Vectors {
        self.vectors
    }

    fn flush(&mut self) {
        self.transmit.ring_doorbell(&self.registers);
        self.receive.ring_doorbell(&self.registers);
    }

    fn is_stuck(&self) -> bool {
        !self.transmit.has_room() && !self.transmit.has_sent()
    }

    fn prepare_to_sleep(&mut self) -> bool {
        let stuck = !self.transmit.has_room();
        let wanted = if stuck { cause::RECEIVE | cause::TRANSMIT } else { cause::RECEIVE };
        // What was taken by polling needs no interrupt any more.
        self.registers.write32(register::CAUSE, cause::RECEIVE | cause::TRANSMIT);
        self.registers.write32(register::MASK_SET, wanted);
        // The read comes back after both writes have arrived and after what the card wrote before: now the rings are looked at for the
        // last time.
        self.gone = self.registers.read32(register::STATUS) == u32::MAX;
        !(self.gone || self.receive.has_frame() || (stuck && self.transmit.has_sent()))
    }

    fn woken(&mut self) {
        self.registers.write32(register::MASK_CLEAR, cause::RECEIVE | cause::TRANSMIT);
    }

    fn configuration_changed(&mut self) {
        self.registers.write32(register::CAUSE, cause::OTHER | cause::LINK);
        self.registers.write32(register::MASK_SET, cause::OTHER | cause::LINK);
    }

    fn failure(&self) -> Option<NicError> {
        self.gone.then_some(NicError::Gone)
    }
}
