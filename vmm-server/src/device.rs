// SPDX-License-Identifier: MIT OR Apache-2.0
//! One passed-through device: what pci-server says it is, where its BARs are, its messages.
use crate::nested::{Nested, unmap_device};
use crate::ports::Ports;
use component::Memory;
use core::fmt;
use core::ops::Range;
use protocol::message::Request;
use protocol::pci::{
    self, Attach, BarRead, BarWrite, ConfigRead, ConfigWrite, Describe, Description, Detach, Effect,
    FrameRun, Interrupts, MAX_RUNS, MaskVector, PortRange,
};
use protocol::start::{cptr, mount};
use protocol::{CallError, Refusal};
use sel4::cap;
use vmm_devices::acpi::Route;
use vmm_devices::bars::{Claim, Space};
use vmm_devices::boot;
use vmm_devices::ecam::Placement;
use vmm_devices::ioapic::FIRST_DEVICE_PIN;
use vmm_devices::map::Area;
use vmm_devices::msi::{MAX_VECTORS, Messages};
use vmm_devices::trapped::{Layout, Trapped};

/// Configuration offsets (PCI Local Bus 3.0, section 6.1).
const COMMAND: u16 = 4;
const FIRST_BAR: u16 = 0x10;
const ROM: u16 = 0x30;
/// Index of the expansion ROM.
const ROM_INDEX: u8 = 6;
const COMMAND_IO: u32 = 1 << 0;
const INTERRUPT_LINE: u16 = 0x3c;
const COMMAND_MEMORY: u32 = 1 << 1;

/// How often pci-server is asked the same if it dies of it.
const ATTEMPTS: usize = 3;

/// Asks for what can be done twice: if pci-server dies with the request it is asked again.
fn ask<R: Request<Error = pci::Error>>(server: cap::Endpoint, request: &R) -> Result<R::Reply, DeviceError> {
    let mut answer = component::call(server, request);
    for _ in 1..ATTEMPTS {
        if !matches!(answer, Err(CallError::Refused(Refusal::Restarted))) {
            break;
        }
        answer = component::call(server, request);
    }
    Ok(answer?)
}

/// Why a device can't be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceError {
    /// Its reset isn't over yet.
    Resetting,
    /// pci-server refuses.
    Pci(pci::Error),
    /// pci-server died with the request.
    Restarted,
    /// pci-server and this VMM don't understand each other.
    Protocol,
    /// The BARs don't fit the guest's window, or there are no slots left.
    NoRoom,
    /// The device shows more vectors than a VMM keeps.
    TooManyVectors(u16),
    /// The kernel refused a mapping or binding.
    Kernel(sel4::Error),
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resetting => f.write_str("the device is being reset"),
            Self::Pci(error) => error.fmt(f),
            Self::Restarted => f.write_str("pci-server failed when it was asked"),
            Self::Protocol => f.write_str("pci-server speaks another version of its protocol"),
            Self::NoRoom => f.write_str("its BARs don't fit the guest's PCI window, or slots are used up"),
            Self::TooManyVectors(count) => {
                write!(f, "it shows {count} vectors, more than {MAX_VECTORS}: lower vm.device.vectors")
            }
            Self::Kernel(error) => write!(f, "the kernel refused a mapping: {error:?}"),
        }
    }
}

impl From<CallError<pci::Error>> for DeviceError {
    fn from(error: CallError<pci::Error>) -> Self {
        match error {
            CallError::Failed(pci::Error::Resetting) => Self::Resetting,
            CallError::Failed(error) => Self::Pci(error),
            CallError::Refused(Refusal::Restarted) => Self::Restarted,
            _ => Self::Protocol,
        }
    }
}

impl From<sel4::Error> for DeviceError {
    fn from(error: sel4::Error) -> Self {
        Self::Kernel(error)
    }
}

/// A BAR as the guest has it.
struct Bar {
    index: u8,
    bytes: u64,
    /// It has a second register, with the upper half of its address.
    wide: bool,
    /// It is an I/O BAR: the device's own first port.
    port: Option<u16>,
    /// Where it was put at first.
    home: u64,
    /// What the guest's register says.
    register: u64,
    /// Where its frames are mapped and its other pages trapped; `None`: nowhere.
    base: Option<u64>,
    /// The guest has its ports without an exit.
    open: bool,
}

impl Bar {
    /// The ports, if it lies where the device's own are.
    fn own_ports(&self) -> Option<(u16, u16)> {
        let first = self.port.filter(|port| self.base == Some(u64::from(*port)))?;
        Some((first, (u64::from(first) + self.bytes - 1) as u16))
    }
}

/// What follows from a write to configuration space, beyond the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follows {
    /// Nothing.
    Nothing,
    /// BARs may have to move.
    Settle,
    /// The guest asked for a reset.
    Reset,
}

fn layout(interrupts: Interrupts) -> Option<Layout> {
    match interrupts {
        Interrupts::MsiX { table_bar, table_offset, pba_bar, pba_offset, table_size: entries } => {
            Some(Layout { table_bar, table_offset, pba_bar, pba_offset, entries })
        }
        _ => None,
    }
}

/// Addresses where devices don't reach RAM: first and last byte.
pub type Reserved = heapless::Vec<(u64, u64), { boot::MAX_RESERVED }>;

/// A device.
pub struct Device {
    server: cap::Endpoint,
    number: u8,
    devfn: u8,
    bars: heapless::Vec<Bar, 7>,
    frames: heapless::Vec<FrameRun, MAX_RUNS>,
    ports: heapless::Vec<PortRange, 6>,
    /// The pin that the guest sees, of a device that interrupts by its line.
    line: Option<u8>,
    /// Where the table is, of a device with MSI-X.
    layout: Option<Layout>,
    memory_enabled: bool,
    ports_enabled: bool,
    rom_enabled: bool,
    /// The guest's messages.
    pub messages: Messages,
    /// Slot in `irqs` of vector 0.
    pub first_vector: u16,
}

impl Device {
    /// Asks what the device is and puts its BARs into the guest's window. What its DMA reaches instead of RAM goes to `reserved`.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn describe(
        server: cap::Endpoint,
        number: u8,
        placement: &mut Placement,
        reserved: &mut Reserved,
    ) -> Result<Self, DeviceError> {
        let description = ask(server, &Describe { device: number })?;
        if usize::from(description.vectors) > MAX_VECTORS {
            return Err(DeviceError::TooManyVectors(description.vectors));
        }
        let mut device = Self {
            server,
            number,
            devfn: description.slot.devfn.0,
            bars: heapless::Vec::new(),
            frames: heapless::Vec::new(),
            ports: heapless::Vec::new(),
            line: match description.interrupts {
                Interrupts::Line { pin } => Some(pin),
                _ => None,
            },
            layout: layout(description.interrupts),
            memory_enabled: false,
            ports_enabled: false,
            rom_enabled: false,
            messages: Messages::new(0),
            first_vector: 0,
        };
        for range in description.reserved.iter().map(|range| (range.first, range.last)) {
            // There is room for all ranges of as many devices as there can be.
            if !reserved.contains(&range) {
                let _ = reserved.push(range);
            }
        }
        device.place_bars(&description, placement)?;
        Ok(device)
    }

    fn place_bars(
        &mut self,
        description: &Description,
        placement: &mut Placement,
    ) -> Result<(), DeviceError> {
        for bar in &description.bars {
            let base = match bar.port {
                Some(port) => port.into(),
                None => placement.place(bar.size, bar.wide).ok_or(DeviceError::NoRoom)?,
            };
            let placed = Bar {
                index: bar.index,
                bytes: bar.size,
                wide: bar.wide,
                port: bar.port,
                home: base,
                register: base,
                base: None,
                open: false,
            };
            // The description has at most seven.
            let _ = self.bars.push(placed);
            let (number, index, size) = (self.number, bar.index, bar.size);
            match bar.port {
                Some(_) => {
                    component::log!("vmm: device {number}: BAR {index} of {size:#x} ports at {base:#x}")
                }
                None if index == ROM_INDEX => {
                    component::log!(
                        "vmm: device {number}: expansion ROM of {size:#x} bytes at {base:#x}, off"
                    );
                }
                None => component::log!("vmm: device {number}: BAR {index} of {size:#x} bytes at {base:#x}"),
            }
        }
        self.write_bars()
    }

    /// Writes the virtual BAR registers and the interrupt line, as firmware would.
    fn write_bars(&mut self) -> Result<(), DeviceError> {
        for n in 0..self.bars.len() {
            let Bar { index, register, wide, .. } = self.bars[n];
            let offset = if index == ROM_INDEX { ROM } else { FIRST_BAR + 4 * u16::from(index) };
            let write = |offset, value| ConfigWrite { device: self.number, offset, width: 4, value };
            self.call(&write(offset, register as u32))?;
            if wide {
                self.call(&write(offset + 4, (register >> 32) as u32))?;
            }
        }
        if let Some(Route { interrupt, .. }) = self.route() {
            let (offset, value) = (INTERRUPT_LINE, interrupt.into());
            self.call(&ConfigWrite { device: self.number, offset, width: 1, value })?;
        }
        Ok(())
    }

    /// Where its interrupt line leads, if it has one: pin of the I/O APIC, and how that is found.
    pub fn route(&self) -> Option<Route> {
        let interrupt = FIRST_DEVICE_PIN + self.number;
        self.line.map(|pin| Route { device: self.devfn >> 3, pin, interrupt })
    }

    /// Device and function in the guest.
    pub fn devfn(&self) -> u8 {
        self.devfn
    }

    /// Asks for what can be done twice.
    fn call<R: Request<Error = pci::Error>>(&self, request: &R) -> Result<R::Reply, DeviceError> {
        ask(self.server, request)
    }

    /// Asks for what mustn't be done twice.
    fn call_once<R: Request<Error = pci::Error>>(&self, request: &R) -> Result<R::Reply, DeviceError> {
        Ok(component::call(self.server, request)?)
    }

    /// Makes the device usable: reset, DMA, interrupts and registers. The BARs are then to be settled, the handlers bound.
    ///
    /// # Errors
    /// [`DeviceError::Resetting`]: try again after the control signal. Any other: the device can't be had.
    pub fn attach(&mut self) -> Result<(), DeviceError> {
        let attached = self.call(&Attach { device: self.number })?;
        self.frames = attached.frames;
        self.ports = attached.ports;
        self.first_vector = attached.first_vector;
        self.messages = Messages::new(usize::from(attached.vectors).min(MAX_VECTORS));
        for bar in &mut self.bars {
            // Frames that were there before went away with their capabilities.
            bar.register = bar.base.take().unwrap_or(bar.home);
            bar.open = false;
        }
        self.write_bars()?;
        let value = COMMAND_MEMORY | if self.has_ports() { COMMAND_IO } else { 0 };
        self.call(&ConfigWrite { device: self.number, offset: COMMAND, width: 2, value })?;
        (self.memory_enabled, self.ports_enabled, self.rom_enabled) = (true, true, false);
        Ok(())
    }

    /// Gives the device back. Its frames go away with their capabilities.
    pub fn detach(&mut self) {
        if let Err(error) = self.call(&Detach { device: self.number }) {
            component::log!("vmm: device {}: {error}", self.number);
        }
    }

    fn runs(&self, bar: usize) -> impl Iterator<Item = FrameRun> + Clone + use<'_> {
        let index = self.bars[bar].index;
        self.frames.iter().copied().filter(move |run| run.bar == index)
    }

    fn map(&self, bar: usize, nested: &mut Nested, memory: &mut Memory) -> Result<(), DeviceError> {
        let Some(base) = self.bars[bar].base else { return Ok(()) };
        for run in self.runs(bar) {
            for n in 0..u64::from(run.count) {
                let frame = cptr(mount::VMM_BARS, u64::from(run.first) + n);
                let gpa = base + run.offset + (n << run.size_bits);
                nested.map_device(memory, frame, gpa, run.size_bits)?;
            }
        }
        Ok(())
    }

    fn unmap(&self, bar: usize) {
        for run in self.runs(bar) {
            for n in 0..u64::from(run.count) {
                unmap_device(cptr(mount::VMM_BARS, u64::from(run.first) + n), run.size_bits);
            }
        }
    }

    /// The BAR and the offset in it that lie at a guest-physical address.
    pub fn bar_at(&self, gpa: u64) -> Option<(usize, u64)> {
        self.find(gpa, |bar| bar.port.is_none())
    }

    /// The I/O BAR and the offset in it that lie at a port, while the guest has ports decoded.
    pub fn bar_of_port(&self, port: u16) -> Option<(usize, u64)> {
        self.find(port.into(), |bar| bar.port.is_some()).filter(|_| self.ports_enabled)
    }

    fn find(&self, place: u64, mut is: impl FnMut(&Bar) -> bool) -> Option<(usize, u64)> {
        self.bars.iter().enumerate().filter(|(_, bar)| is(bar)).find_map(|(n, bar)| {
            let offset = place.checked_sub(bar.base?)?;
            (offset < bar.bytes).then_some((n, offset))
        })
    }

    /// The memory BARs that lie somewhere: BAR, place, bytes, and the offsets of the parts that are mapped.
    pub fn areas(
        &self,
    ) -> impl Iterator<Item = Area<u8, impl Iterator<Item = Range<u64>> + Clone + use<'_>>> + use<'_> {
        self.bars.iter().enumerate().filter(|(_, bar)| bar.port.is_none()).filter_map(|(n, bar)| {
            let mapped = self.runs(n).map(|run| {
                let bytes = u64::from(run.count) << run.size_bits;
                run.offset..run.offset + bytes
            });
            Some(Area { start: bar.base?, bytes: bar.bytes, what: bar.index, mapped })
        })
    }

    /// Where a BAR lies.
    pub fn base(&self, index: u8) -> Option<u64> {
        self.bars.iter().find(|bar| bar.index == index)?.base
    }

    /// Whether the MSI-X table has a part of these bytes of a BAR.
    pub fn has_table(&self, bar: u8, bytes: Range<u64>) -> bool {
        self.layout.is_some_and(|layout| layout.has_table(bar, bytes))
    }

    /// It has I/O BARs.
    pub fn has_ports(&self) -> bool {
        self.bars.iter().any(|bar| bar.port.is_some())
    }

    /// Opens the ports of BARs that lie where the device's own do, and closes the others. Whatever can't be opened exits, and is forwarded.
    pub fn settle_ports(&mut self, ports: &mut Ports, memory: &mut Memory) {
        for bar in &mut self.bars {
            let wanted = bar.own_ports().filter(|_| self.ports_enabled);
            if bar.open == wanted.is_some() {
                continue;
            }
            let Some((first, last)) = wanted else {
                let first = bar.port.unwrap_or(0);
                ports.close(first, first.saturating_add((bar.bytes - 1) as u16));
                bar.open = false;
                continue;
            };
            let Some(range) = self.ports.iter().find(|range| range.bar == bar.index) else { continue };
            match ports.open(memory, cptr(mount::VMM_BARS, range.slot.into()), first, last) {
                Ok(()) => bar.open = true,
                Err(error) => component::log!(
                    "vmm: device {}: ports {first:#x} to {last:#x} exit: {error:?}",
                    self.number
                ),
            }
        }
    }

    /// Reads configuration space.
    pub fn read_config(&self, offset: u16, width: u8) -> u32 {
        self.call(&ConfigRead { device: self.number, offset, width }).unwrap_or(u32::MAX)
    }

    /// Writes configuration space and does what follows from it for this device alone; what does is the answer.
    pub fn write_config(&mut self, offset: u16, width: u8, value: u32) -> Follows {
        let write = ConfigWrite { device: self.number, offset, width, value };
        match self.call(&write) {
            Ok(Effect::None) | Err(_) => {}
            Ok(Effect::Command { memory, io, .. }) => {
                (self.memory_enabled, self.ports_enabled) = (memory, io);
                return Follows::Settle;
            }
            Ok(Effect::Bar { index, base }) => {
                if let Some(bar) = self.bars.iter_mut().find(|bar| bar.index == index) {
                    bar.register = base;
                }
                return Follows::Settle;
            }
            Ok(Effect::Rom { enabled, base }) => {
                self.rom_enabled = enabled;
                if let Some(rom) = self.bars.iter_mut().find(|bar| bar.index == ROM_INDEX) {
                    rom.register = base;
                }
                return Follows::Settle;
            }
            Ok(Effect::Msi { enabled, address, data, log2_messages, mask }) => {
                self.messages.set_msi(enabled, address, data, log2_messages, mask);
                self.tell_masks();
            }
            Ok(Effect::MsiX { enabled, masked }) => {
                self.messages.set_control(enabled, masked);
                self.tell_masks();
            }
            Ok(Effect::Reset) => return Follows::Reset,
        }
        Follows::Nothing
    }

    /// What the BARs' registers say, and where they lie.
    pub fn claims(&self) -> impl Iterator<Item = Claim> + use<'_> {
        self.bars.iter().map(|bar| Claim {
            space: match bar.port {
                Some(_) => Space::Ports,
                None if bar.wide => Space::Wide,
                None => Space::Memory,
            },
            register: bar.register,
            bytes: bar.bytes,
            decoding: match bar.port {
                Some(_) => self.ports_enabled,
                None => self.memory_enabled && (bar.index != ROM_INDEX || self.rom_enabled),
            },
            place: bar.base,
        })
    }

    /// Takes the BARs that are to lie elsewhere, or nowhere, from where they are. `claims` are this device's.
    pub fn leave(&mut self, claims: &[Claim]) {
        for (n, claim) in claims.iter().enumerate().take(self.bars.len()) {
            if self.bars[n].base.is_some() && self.bars[n].base != claim.place {
                self.unmap(n);
                self.bars[n].base = None;
            }
        }
    }

    /// Maps the BARs that aren't where they are to lie; everybody has left.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn enter(
        &mut self,
        claims: &[Claim],
        nested: &mut Nested,
        memory: &mut Memory,
    ) -> Result<(), DeviceError> {
        for (n, claim) in claims.iter().enumerate().take(self.bars.len()) {
            if self.bars[n].base != claim.place {
                self.bars[n].base = claim.place;
                self.map(n, nested, memory)?;
            }
        }
        Ok(())
    }

    /// Tells the device which vectors are masked now.
    pub fn tell_masks(&mut self) {
        while let Some((vector, masked)) = self.messages.next_to_tell() {
            if let Err(error) = self.call(&MaskVector { device: self.number, vector, masked }) {
                component::log!("vmm: device {}: vector {vector}: {error}", self.number);
            }
        }
    }

    fn trapped(&self, bar: usize, offset: u64) -> Trapped {
        self.layout.map_or(Trapped::Registers, |layout| layout.at(self.bars[bar].index, offset))
    }

    /// Reads what isn't mapped of a BAR.
    pub fn read_bar(&self, bar: usize, offset: u64, width: u8) -> u64 {
        match self.trapped(bar, offset) {
            Trapped::Table(at) => self.messages.read_table(at, width),
            // What is masked at the device waits there, the rest here.
            Trapped::Pending(at) => {
                self.messages.read_pending(at, width) | self.read_register(bar, offset, width).unwrap_or(0)
            }
            Trapped::Registers => self.read_register(bar, offset, width).unwrap_or(u64::MAX),
        }
    }

    fn read_register(&self, bar: usize, offset: u64, width: u8) -> Option<u64> {
        let bar = self.bars[bar].index;
        self.call_once(&BarRead { device: self.number, bar, offset, width }).ok()
    }

    /// Writes what isn't mapped of a BAR. `true`: the message table has changed.
    pub fn write_bar(&mut self, bar: usize, offset: u64, width: u8, value: u64) -> bool {
        match self.trapped(bar, offset) {
            Trapped::Table(at) => {
                self.messages.write_table(at, width, value);
                return true;
            }
            Trapped::Pending(_) => {}
            Trapped::Registers => {
                let write = BarWrite { device: self.number, bar: self.bars[bar].index, offset, width, value };
                // What pci-server doesn't let through has no effect, as on hardware.
                let _ = self.call_once(&write);
            }
        }
        false
    }
}
