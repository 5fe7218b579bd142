// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's test socket: reads and writes of the machine's physical address space from outside, while it runs. With it a
//! test plays firmware, or a device that does what no driver asked for.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use crate::qmp;

/// Base of the PCI configuration space (ECAM) of QEMU's q35.
const ECAM: u64 = 0xb000_0000;

/// A connection.
pub struct Qtest {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Qtest {
    /// Wraps the stream that QEMU has connected.
    ///
    /// # Errors
    /// The operating system's.
    pub fn new(stream: UnixStream) -> Result<Self, String> {
        stream.set_read_timeout(Some(qmp::LIMIT)).map_err(|error| format!("test socket: {error}"))?;
        let writer = stream.try_clone().map_err(|error| format!("test socket: {error}"))?;
        Ok(Self { reader: BufReader::new(stream), writer })
    }

    fn command(&mut self, command: &str) -> Result<u64, String> {
        writeln!(self.writer, "{command}").map_err(|error| format!("test socket: {error}"))?;
        let mut line = String::new();
        self.reader.read_line(&mut line).map_err(|error| format!("test socket: {error}"))?;
        let answer =
            line.trim().strip_prefix("OK").ok_or_else(|| format!("test socket: {command}: {line}"))?;
        match answer.trim().strip_prefix("0x") {
            Some(number) => u64::from_str_radix(number, 16).map_err(|_| format!("test socket: {line}")),
            None => Ok(0),
        }
    }

    /// Reads 32 bits at a physical address.
    ///
    /// # Errors
    /// A sentence.
    pub fn read32(&mut self, address: u64) -> Result<u32, String> {
        self.command(&format!("readl {address:#x}")).map(|value| value as u32)
    }

    /// Writes 32 bits.
    ///
    /// # Errors
    /// A sentence.
    pub fn write32(&mut self, address: u64, value: u32) -> Result<(), String> {
        self.command(&format!("writel {address:#x} {value:#x}")).map(drop)
    }

    /// Reads 64 bits.
    ///
    /// # Errors
    /// A sentence.
    pub fn read64(&mut self, address: u64) -> Result<u64, String> {
        self.command(&format!("readq {address:#x}"))
    }

    /// Writes 64 bits.
    ///
    /// # Errors
    /// A sentence.
    pub fn write64(&mut self, address: u64, value: u64) -> Result<(), String> {
        self.command(&format!("writeq {address:#x} {value:#x}")).map(drop)
    }
}

/// A PCI function, seen past everything that the system does to hide it.
#[derive(Clone, Copy, Debug)]
pub struct Function(pub u16);

impl Function {
    const fn register(self, offset: u64) -> u64 {
        ECAM + ((self.0 as u64) << 12) + offset
    }

    /// Reads a register of its real configuration space.
    ///
    /// # Errors
    /// The test socket's.
    pub fn read(self, qtest: &mut Qtest, offset: u64) -> Result<u32, String> {
        qtest.read32(self.register(offset))
    }

    /// Writes one.
    ///
    /// # Errors
    /// The test socket's.
    pub fn write(self, qtest: &mut Qtest, offset: u64, value: u32) -> Result<(), String> {
        qtest.write32(self.register(offset), value)
    }

    /// Physical address of a 32-bit memory BAR.
    ///
    /// # Errors
    /// The test socket's.
    pub fn bar(self, qtest: &mut Qtest, index: u64) -> Result<u64, String> {
        Ok(u64::from(self.read(qtest, 0x10 + 4 * index)? & !0xf))
    }

    /// Offset of a capability by its ID.
    ///
    /// # Errors
    /// There is none, or the test socket's.
    pub fn capability(self, qtest: &mut Qtest, id: u32) -> Result<u64, String> {
        let mut offset = self.read(qtest, 0x34)? & 0xfc;
        for _ in 0..48 {
            let header = self.read(qtest, offset.into())?;
            if offset == 0 {
                break;
            }
            if header & 0xff == id {
                return Ok(offset.into());
            }
            offset = header >> 8 & 0xfc;
        }
        Err(format!("function {:#x} has no capability {id:#x}", self.0))
    }
}

/// Slot Control of the PCI Express capability (PCI Express Base 4.0, section 7.5.3.10), and the bit that turns the slot's power off.
const EXPRESS: u32 = 0x10;
const SLOT_CONTROL: u64 = 0x18;
const POWER_OFF: u32 = 1 << 10;

impl Function {
    /// Turns the power of this port's slot off; what its Slot Control was.
    ///
    /// # Errors
    /// The test socket's.
    pub fn power_off(self, qtest: &mut Qtest) -> Result<u32, String> {
        let control = self.capability(qtest, EXPRESS)? + SLOT_CONTROL;
        let value = self.read(qtest, control)? & 0xffff;
        self.write(qtest, control, value | POWER_OFF)?;
        Ok(value)
    }

    /// Writes Slot Control, with the power on.
    ///
    /// # Errors
    /// The test socket's.
    pub fn power_on(self, qtest: &mut Qtest, control: u32) -> Result<(), String> {
        let register = self.capability(qtest, EXPRESS)? + SLOT_CONTROL;
        self.write(qtest, register, control & !POWER_OFF)
    }
}

/// QEMU's `edu`, driven from outside.
#[derive(Clone, Copy, Debug)]
pub struct Edu {
    /// Its function.
    pub function: Function,
    bar: u64,
    msi: u64,
}

/// The device's own address of its DMA buffer.
const BUFFER: u64 = 0x4_0000;
const RAISE: u64 = 0x60;
const ACKNOWLEDGE: u64 = 0x64;
const DMA_SOURCE: u64 = 0x80;
const DMA_DESTINATION: u64 = 0x88;
const DMA_COUNT: u64 = 0x90;
const DMA_COMMAND: u64 = 0x98;

impl Edu {
    /// The device with this requester ID.
    ///
    /// # Errors
    /// It isn't there.
    pub fn at(qtest: &mut Qtest, requester: u16) -> Result<Self, String> {
        let function = Function(requester);
        let ids = function.read(qtest, 0)?;
        if ids != 0x11e8_1234 {
            return Err(format!("at {requester:#x} is {ids:#x}, not edu"));
        }
        Ok(Self { function, bar: function.bar(qtest, 0)?, msi: function.capability(qtest, 5)? })
    }

    /// Sends its message now.
    ///
    /// # Errors
    /// The test socket's.
    pub fn ring(&self, qtest: &mut Qtest) -> Result<(), String> {
        qtest.write32(self.bar + RAISE, 1)?;
        qtest.write32(self.bar + ACKNOWLEDGE, 1)
    }

    /// The message it is programmed with: address and data.
    ///
    /// # Errors
    /// The test socket's.
    pub fn message(&self, qtest: &mut Qtest) -> Result<(u32, u32), String> {
        // 64-bit capability: address at 4, its upper half at 8, data at 12.
        Ok((self.function.read(qtest, self.msi + 4)?, self.function.read(qtest, self.msi + 12)? & 0xffff))
    }

    /// Programs it with a message.
    ///
    /// # Errors
    /// The test socket's.
    pub fn program(&self, qtest: &mut Qtest, (address, data): (u32, u32)) -> Result<(), String> {
        self.function.write(qtest, self.msi + 4, address)?;
        self.function.write(qtest, self.msi + 8, 0)?;
        self.function.write(qtest, self.msi + 12, data)
    }

    /// Programs it with a message whose address has an upper half.
    ///
    /// # Errors
    /// The test socket's.
    pub fn program_wide(&self, qtest: &mut Qtest, address: u64, data: u32) -> Result<(), String> {
        self.program(qtest, (address as u32, data))?;
        self.function.write(qtest, self.msi + 8, (address >> 32) as u32)
    }

    /// Lets it write its buffer's first `bytes` to an I/O address. It takes 100 ms of the machine's time.
    ///
    /// # Errors
    /// The test socket's.
    pub fn dma_write(&self, qtest: &mut Qtest, iova: u64, bytes: u64) -> Result<(), String> {
        self.dma(qtest, BUFFER, iova, bytes, 2)
    }

    /// Lets it read from an I/O address into its buffer.
    ///
    /// # Errors
    /// The test socket's.
    pub fn dma_read(&self, qtest: &mut Qtest, iova: u64, bytes: u64) -> Result<(), String> {
        self.dma(qtest, iova, BUFFER, bytes, 0)
    }

    fn dma(&self, qtest: &mut Qtest, from: u64, to: u64, bytes: u64, direction: u64) -> Result<(), String> {
        qtest.write64(self.bar + DMA_SOURCE, from)?;
        qtest.write64(self.bar + DMA_DESTINATION, to)?;
        qtest.write64(self.bar + DMA_COUNT, bytes)?;
        qtest.write64(self.bar + DMA_COMMAND, 1 | direction)?;
        // The device's own flag; there is no event to wait for from out here.
        let deadline = std::time::Instant::now() + qmp::LIMIT;
        while qtest.read64(self.bar + DMA_COMMAND)? & 1 != 0 {
            if std::time::Instant::now() > deadline {
                return Err("the transfer doesn't end".into());
            }
        }
        Ok(())
    }

    /// Turns its bus mastering on, whatever the system thinks of it.
    ///
    /// # Errors
    /// The test socket's.
    pub fn force_bus_master(&self, qtest: &mut Qtest) -> Result<(), String> {
        let command = self.function.read(qtest, 4)? & 0xffff;
        self.function.write(qtest, 4, command | 6)
    }

    /// Whether it may be a bus master.
    ///
    /// # Errors
    /// The test socket's.
    pub fn is_bus_master(&self, qtest: &mut Qtest) -> Result<bool, String> {
        Ok(self.function.read(qtest, 4)? & 4 != 0)
    }
}
