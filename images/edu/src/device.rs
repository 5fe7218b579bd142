// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's educational device (`docs/specs/edu.txt` there): a factorial unit, a DMA engine with a buffer of 4 KiB, and messages.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use guest_runtime::mmio::Mmio;
use guest_runtime::pci::{self, Function, Message, Msi};
use guest_runtime::{cpu, irq};

/// The device's own address of its DMA buffer.
const BUFFER: u64 = 0x4_0000;
/// The longest transfer in bytes. The whole buffer would be 4,096, but the device's range check is off by one, and failing it ends the emulator.
pub const LONGEST: usize = 4095;

mod register {
    pub const IDENTIFICATION: usize = 0x00;
    pub const LIVENESS: usize = 0x04;
    pub const FACTORIAL: usize = 0x08;
    pub const STATUS: usize = 0x20;
    pub const INTERRUPT_STATUS: usize = 0x24;
    pub const RAISE: usize = 0x60;
    pub const ACKNOWLEDGE: usize = 0x64;
    pub const DMA_SOURCE: usize = 0x80;
    pub const DMA_DESTINATION: usize = 0x88;
    pub const DMA_COUNT: usize = 0x90;
    pub const DMA_COMMAND: usize = 0x98;
}

/// The bit of the interrupt status that the end of a DMA sets.
const DMA_DONE: u32 = 0x100;

/// Handler runs so far.
static RUNS: AtomicU64 = AtomicU64::new(0);
/// The TSC when the handler ran last.
static STAMP: AtomicU64 = AtomicU64::new(0);

fn handler(_: u8) {
    let now = cpu::rdtsc();
    STAMP.store(now, Relaxed);
    RUNS.store(RUNS.load(Relaxed) + 1, Relaxed);
}

/// How often the handler of the device's messages ran.
pub fn runs() -> u64 {
    RUNS.load(Relaxed)
}

/// The TSC at the handler's last run.
pub fn stamp() -> u64 {
    STAMP.load(Relaxed)
}

/// Which way a DMA goes, with the address in RAM.
#[derive(Clone, Copy)]
pub enum Transfer {
    /// From RAM to the device's buffer.
    FromRam(u64),
    /// From the device's buffer to RAM.
    ToRam(u64),
}

/// The registers alone.
#[derive(Clone, Copy)]
pub struct Registers(Mmio);

impl Registers {
    /// Clears the interrupt status; what it was. A line that it pulled falls.
    pub fn acknowledge(&self) -> u32 {
        let status = self.0.read32(register::INTERRUPT_STATUS);
        self.0.write32(register::ACKNOWLEDGE, status);
        status
    }
}

/// The device, with DMA and messages on.
pub struct Edu {
    function: Function,
    registers: Mmio,
    msi: Option<Msi>,
    vector: u8,
}

impl Edu {
    /// Finds the device and sets it up, or says what is missing.
    pub fn find() -> Result<Self, &'static str> {
        let function = pci::find(0x1234, 0x11e8).ok_or("there is no edu device")?;
        let registers = function.bar(0).ok_or("BAR 0 is missing")?.registers();
        let msi = Msi::of(&function);
        if msi.is_none() && function.interrupt().is_none() {
            return Err("there is neither an MSI capability nor an interrupt line");
        }
        let vector = irq::register(handler).ok_or("there is no free vector")?;
        function.enable();
        let edu = Self { function, registers, msi, vector };
        edu.program(Message::to_this_cpu(vector));
        Ok(edu)
    }

    /// The PCI function.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// The message that the handler waits for.
    pub fn own_message(&self) -> Message {
        Message::to_this_cpu(self.vector)
    }

    /// Whether it has messages; otherwise it has a line.
    pub fn has_messages(&self) -> bool {
        self.msi.is_some()
    }

    /// Its registers, for a handler.
    pub fn registers(&self) -> Registers {
        Registers(self.registers)
    }

    /// Gives the device a message to send, if it can.
    pub fn program(&self, message: Message) {
        if let Some(msi) = &self.msi {
            msi.enable(message);
        }
    }

    /// Identification: 0xRRrr00ed, major and minor version.
    pub fn identification(&self) -> u32 {
        self.registers.read32(register::IDENTIFICATION)
    }

    /// Writes a value to the liveness register and reads the answer, which should be its complement.
    pub fn liveness(&self, value: u32) -> u32 {
        self.registers.write32(register::LIVENESS, value);
        self.registers.read32(register::LIVENESS)
    }

    /// Starts to compute n!; with a message at the end if `message`.
    pub fn start_factorial(&self, n: u32, message: bool) {
        const MESSAGE_WHEN_DONE: u32 = 0x80;
        self.registers.write32(register::STATUS, if message { MESSAGE_WHEN_DONE } else { 0 });
        self.registers.write32(register::FACTORIAL, n);
    }

    /// The factorial, once it is computed.
    pub fn factorial(&self) -> Option<u32> {
        const COMPUTING: u32 = 1;
        (self.registers.read32(register::STATUS) & COMPUTING == 0)
            .then(|| self.registers.read32(register::FACTORIAL))
    }

    /// Rings for a message at once. `value` goes into the interrupt status.
    #[inline(always)]
    pub fn raise(&self, value: u32) {
        self.registers.write32(register::RAISE, value);
    }

    /// Clears the interrupt status; what it was.
    pub fn acknowledge(&self) -> u32 {
        self.registers().acknowledge()
    }

    /// Starts a DMA of `bytes` (at most [`LONGEST`]), from or to the start of the device's buffer. It ends about 100 ms later, with a
    /// message if `message`.
    ///
    /// # Panics
    /// If it is longer.
    pub fn start_dma(&self, transfer: Transfer, bytes: usize, message: bool) {
        const START: u64 = 1;
        const TO_RAM: u64 = 2;
        const MESSAGE_WHEN_DONE: u64 = 4;
        assert!(bytes <= LONGEST, "a transfer that the emulator doesn't survive");
        let (source, destination, direction) = match transfer {
            Transfer::FromRam(address) => (address, BUFFER, 0),
            Transfer::ToRam(address) => (BUFFER, address, TO_RAM),
        };
        self.registers.write64(register::DMA_SOURCE, source);
        self.registers.write64(register::DMA_DESTINATION, destination);
        self.registers.write64(register::DMA_COUNT, bytes as u64);
        let message = if message { MESSAGE_WHEN_DONE } else { 0 };
        self.registers.write64(register::DMA_COMMAND, START | direction | message);
    }

    /// Whether a DMA is under way.
    #[inline(always)]
    pub fn dma_is_busy(&self) -> bool {
        self.registers.read32(register::DMA_COMMAND) & 1 != 0
    }

    /// Whether this interrupt status says that a DMA ended.
    pub fn says_dma_done(status: u32) -> bool {
        status & DMA_DONE != 0
    }

    /// Runs a DMA to its end, polling. The device always ends it: a transfer that is blocked ends too.
    pub fn dma(&self, transfer: Transfer, bytes: usize) {
        self.start_dma(transfer, bytes, false);
        while self.dma_is_busy() {
            core::hint::spin_loop();
        }
    }
}
