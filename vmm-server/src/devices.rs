// SPDX-License-Identifier: MIT OR Apache-2.0
//! All passed-through devices of the VM: who is addressed, who has interrupted.
use crate::device::{Device, DeviceError, Follows};
use crate::nested::Nested;
use crate::ports::Ports;
use component::memory::slot_at;
use component::{Memory, slot};
use protocol::config::MAX_DEVICES;
use protocol::start::{Range, cptr, mount, signal};
use sel4::{CapRights, cap};
use vmm_devices::acpi::Route;
use vmm_devices::apic::LocalApic;
use vmm_devices::bars::{self, Claim, Space};
use vmm_devices::ecam::{self, Target};
use vmm_devices::ioapic::{IoApic, Pins};
use vmm_devices::map::{self, Piece};
use vmm_devices::msi::Arrival;

/// Bits of the notification that vectors have.
const BITS: usize = 56;
/// Most slots of `irqs`.
const MAX_SLOTS: usize = 512;
/// Nobody's slot.
const NOBODY: Vector = Vector { device: u8::MAX, number: 0 };

/// Whose vector a slot of `irqs` is.
#[derive(Clone, Copy)]
struct Vector {
    device: u8,
    number: u8,
}

/// A trapped place in a BAR.
#[derive(Clone, Copy)]
pub struct BarPlace {
    device: usize,
    bar: usize,
    offset: u64,
}

/// The devices, and what mapping them takes.
pub struct Devices {
    devices: heapless::Vec<Device, MAX_DEVICES>,
    vectors: heapless::Vec<Vector, MAX_SLOTS>,
    /// Copies of the VM's notification, by bit; 0: not made yet.
    badged: [u64; BITS],
    /// Some device has I/O BARs.
    has_ports: bool,
    ports: Ports,
    /// Where the devices' lines end.
    io_apic: IoApic,
    nested: Nested,
    memory: Memory,
}

impl Devices {
    /// None yet.
    // In its place: it is too large for the stack to hold it twice.
    #[inline(always)]
    pub fn new(nested: cap::EptPml4, vcpu: cap::VCpu, memory: Memory) -> Self {
        Self {
            devices: heapless::Vec::new(),
            vectors: heapless::Vec::new(),
            badged: [0; BITS],
            has_ports: false,
            ports: Ports::new(vcpu),
            io_apic: IoApic::new(),
            nested: Nested::new(nested),
            memory,
        }
    }

    /// Maps all of RAM.
    ///
    /// # Errors
    /// As [`Nested::map_ram`].
    pub fn map_ram(&mut self, ram: &Range) -> Result<(), sel4::Error> {
        self.nested.map_ram(&mut self.memory, ram)
    }

    /// Adds the next device; its number. Not yet attached.
    pub fn add(&mut self, device: Device) -> usize {
        self.has_ports |= device.has_ports();
        // The configuration has no more than fit.
        let _ = self.devices.push(device);
        self.devices.len() - 1
    }

    /// Attaches a device and binds its interrupts.
    ///
    /// # Errors
    /// [`DeviceError`]; [`DeviceError::Resetting`]: again after the control signal.
    pub fn attach(&mut self, number: usize) -> Result<(), DeviceError> {
        let Some(device) = self.devices.get_mut(number) else { return Err(DeviceError::Protocol) };
        device.attach()?;
        let (first, count) = (usize::from(device.first_vector), device.messages.count());
        self.settle()?;
        for vector in 0..count {
            self.bind(number, vector, first + vector)?;
        }
        if let Some(pin) = self.pin(number) {
            self.bind(number, 0, first)?;
            // It may have fired before anybody could hear of it.
            let pins = self.io_apic.renew(pin);
            self.arm(pins);
        }
        Ok(())
    }

    /// Puts all BARs where their registers say: first everybody leaves, then everybody enters.
    fn settle(&mut self) -> Result<(), DeviceError> {
        let mut claims: heapless::Vec<Claim, { 7 * MAX_DEVICES }> = heapless::Vec::new();
        for claim in self.devices.iter().flat_map(Device::claims) {
            // Six of each device and its ROM, at most.
            let _ = claims.push(claim);
        }
        bars::settle(&mut claims);
        let mut rest = claims.as_slice();
        for device in &mut self.devices {
            let (own, others) = rest.split_at(device.claims().count().min(rest.len()));
            device.leave(own);
            rest = others;
        }
        let covers = |claim: &Claim, first, behind| {
            let place = claim.place.filter(|_| claim.space != Space::Ports);
            place.is_some_and(|place| place < behind && first < place.saturating_add(claim.bytes))
        };
        self.nested.tidy(|first, behind| claims.iter().any(|claim| covers(claim, first, behind)));
        let (mut rest, mut outcome) = (claims.as_slice(), Ok(()));
        for device in &mut self.devices {
            let (own, others) = rest.split_at(device.claims().count().min(rest.len()));
            outcome = outcome.and(device.enter(own, &mut self.nested, &mut self.memory));
            device.settle_ports(&mut self.ports, &mut self.memory);
            rest = others;
        }
        outcome
    }

    fn bind(&mut self, device: usize, vector: usize, place: usize) -> Result<(), DeviceError> {
        if place >= self.vectors.len() {
            self.vectors.resize(place + 1, NOBODY).map_err(|()| DeviceError::NoRoom)?;
        }
        self.vectors[place] = Vector { device: device as u8, number: vector as u8 };
        handler(place).irq_handler_set_notification(self.badged(place % BITS)?)?;
        Ok(())
    }

    fn badged(&mut self, bit: usize) -> Result<cap::Notification, DeviceError> {
        if self.badged[bit] == 0 {
            let address = self.memory.slots.take().ok_or(DeviceError::NoRoom)?;
            let own = slot_at(slot::NOTIFICATION.bits());
            slot_at(address).mint(&own, CapRights::all(), signal::vmm_vector(bit))?;
            self.badged[bit] = address;
        }
        Ok(cap::Notification::from_bits(self.badged[bit]))
    }

    /// Gives a device back.
    pub fn detach(&mut self, number: usize) {
        if let Some(device) = self.devices.get_mut(number) {
            device.detach();
        }
    }

    /// Vectors have interrupted: bit *n* is those of slots *n*, *n* + 56, …
    #[inline]
    pub fn interrupted(&mut self, mut bits: u64, apic: &mut LocalApic) {
        while bits != 0 {
            let mut place = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            while let Some(vector) = self.vectors.get(place) {
                // No IRQHandler_Ack: a message is never held, and a line until the guest has dealt with it.
                if let Some(device) = self.devices.get_mut(usize::from(vector.device)) {
                    match device.messages.arrive(vector.number.into()) {
                        Arrival::Deliver(vector) => _ = apic.raise(vector),
                        // A device with a line has no messages that could be anything else.
                        Arrival::Pending => {
                            if let Some(route) = device.route() {
                                self.io_apic.raise(route.interrupt, apic);
                            }
                        }
                        Arrival::Dropped => {}
                    }
                }
                place += BITS;
            }
        }
    }

    fn pin(&self, device: usize) -> Option<u8> {
        Some(self.devices.get(device)?.route()?.interrupt)
    }

    /// Where the devices' interrupt lines lead, for the guest's tables.
    pub fn routes(&self) -> heapless::Vec<Route, MAX_DEVICES> {
        self.devices.iter().filter_map(Device::route).collect()
    }

    /// Lets lines interrupt again: those that are high do at once.
    fn arm(&self, pins: Pins) {
        for device in self
            .devices
            .iter()
            .filter(|device| device.route().is_some_and(|route| pins & 1 << route.interrupt != 0))
        {
            if let Err(error) = handler(device.first_vector.into()).irq_handler_ack() {
                component::log!("vmm: an interrupt line is dead: {error:?}");
            }
        }
    }

    /// The guest has ended a level-triggered interrupt.
    #[cold]
    pub fn end_of_interrupt(&mut self, vector: u8) {
        let pins = self.io_apic.end(vector);
        self.arm(pins);
    }

    /// Reads the I/O APIC's page.
    pub fn read_io_apic(&self, offset: u32, width: u8) -> u32 {
        self.io_apic.read(offset, width)
    }

    /// Writes the I/O APIC's page.
    pub fn write_io_apic(&mut self, offset: u32, width: u8, value: u32) {
        let pins = self.io_apic.write(offset, width, value);
        self.arm(pins);
    }

    /// The first range of a BAR, mapped or trapped, at `from` or behind it: number of the device, range, and whether it holds the MSI-X table.
    pub fn piece(&self, from: u64) -> Option<(usize, Piece<u8>, bool)> {
        let pieces = self.devices.iter().enumerate().filter_map(|(number, device)| {
            let piece = map::next(device.areas(), from)?;
            let start = piece.start - device.base(piece.what)?;
            let has_table = !piece.mapped && device.has_table(piece.what, start..start + piece.bytes);
            Some((number, piece, has_table))
        });
        pieces.min_by_key(|(_, piece, _)| piece.start)
    }

    /// The trapped place of a BAR at a guest-physical address.
    pub fn place(&self, gpa: u64) -> Option<BarPlace> {
        self.devices.iter().enumerate().find_map(|(device, d)| {
            let (bar, offset) = d.bar_at(gpa)?;
            Some(BarPlace { device, bar, offset })
        })
    }

    /// Reads a port that exits; all ones if no device has it.
    #[inline]
    pub fn read_port(&self, port: u16, width: u8) -> u32 {
        match self.port(port) {
            Some(place) => self.read_bar(place, width) as u32,
            None => u32::MAX,
        }
    }

    /// Writes a port that exits.
    #[inline]
    pub fn write_port(&mut self, port: u16, width: u8, value: u32) {
        if let Some(place) = self.port(port)
            && let Some(device) = self.devices.get_mut(place.device)
        {
            device.write_bar(place.bar, place.offset, width, value.into());
        }
    }

    fn port(&self, port: u16) -> Option<BarPlace> {
        if !self.has_ports {
            return None;
        }
        self.devices.iter().enumerate().find_map(|(device, d)| {
            let (bar, offset) = d.bar_of_port(port)?;
            Some(BarPlace { device, bar, offset })
        })
    }

    fn at(&self, devfn: u8) -> Option<usize> {
        self.devices.iter().position(|device| device.devfn() == devfn)
    }

    /// Reads configuration space. What isn't there reads all ones.
    pub fn read_config(&self, target: Target, width: u8) -> u64 {
        match self.at(target.devfn) {
            Some(device) => self.devices[device].read_config(target.offset, width).into(),
            None => ecam::others(target, width, self.devices.iter().map(Device::devfn)),
        }
    }

    /// Writes configuration space. A device that the guest wants reset is named.
    pub fn write_config(
        &mut self,
        target: Target,
        width: u8,
        value: u32,
        apic: &mut LocalApic,
    ) -> Option<usize> {
        let number = self.at(target.devfn)?;
        let device = &mut self.devices[number];
        let follows = device.write_config(target.offset, width, value);
        deliver_unmasked(device, apic);
        if follows == Follows::Settle
            && let Err(error) = self.settle()
        {
            component::log!("vmm: device {number}: BAR moved, but {error}");
        }
        (follows == Follows::Reset).then_some(number)
    }

    /// Reads a trapped place.
    pub fn read_bar(&self, place: BarPlace, width: u8) -> u64 {
        self.devices
            .get(place.device)
            .map_or(u64::MAX, |device| device.read_bar(place.bar, place.offset, width))
    }

    /// Writes a trapped place.
    pub fn write_bar(&mut self, place: BarPlace, width: u8, value: u64, apic: &mut LocalApic) {
        let Some(device) = self.devices.get_mut(place.device) else { return };
        if device.write_bar(place.bar, place.offset, width, value) {
            device.tell_masks();
            deliver_unmasked(device, apic);
        }
    }
}

/// Delivers what was pending and isn't masked any more.
fn deliver_unmasked(device: &mut Device, apic: &mut LocalApic) {
    while let Some(vector) = device.messages.next_unmasked() {
        if let Arrival::Deliver(vector) = device.messages.arrive(vector) {
            apic.raise(vector);
        }
    }
}

fn handler(place: usize) -> cap::IrqHandler {
    cap::IrqHandler::from_bits(cptr(mount::VMM_IRQS, place as u64))
}
