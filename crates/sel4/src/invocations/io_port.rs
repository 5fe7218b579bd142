// SPDX-License-Identifier: MIT OR Apache-2.0
//! I/O ports.

use sel4_abi::label;

use crate::{AbsoluteCPtr, Cap, InvocationContext, Result, Word, cap_type};

impl<C: InvocationContext> Cap<cap_type::IOPortControl, C> {
    /// Makes a capability for the ports `first` to `last`, both included. Each can be issued once.
    pub fn ioport_control_issue<C1>(self, first: Word, last: Word, dst: &AbsoluteCPtr<C1>) -> Result<()> {
        self.invoke(
            label::X86_IO_PORT_CONTROL_ISSUE,
            [first, last, dst.path().bits(), dst.path().depth() as Word],
            [dst.root().bits()],
        )
        .map(drop)
    }
}

impl<C: InvocationContext> Cap<cap_type::IOPort, C> {
    /// Reads a byte.
    #[inline(always)]
    pub fn ioport_in8(self, port: u16) -> Result<u8> {
        self.invoke(label::X86_IO_PORT_IN8, [port.into()], []).map(|reply| reply[0] as u8)
    }

    /// Reads 16 bits.
    #[inline(always)]
    pub fn ioport_in16(self, port: u16) -> Result<u16> {
        self.invoke(label::X86_IO_PORT_IN16, [port.into()], []).map(|reply| reply[0] as u16)
    }

    /// Reads 32 bits.
    #[inline(always)]
    pub fn ioport_in32(self, port: u16) -> Result<u32> {
        self.invoke(label::X86_IO_PORT_IN32, [port.into()], []).map(|reply| reply[0] as u32)
    }

    /// Writes a byte.
    #[inline(always)]
    pub fn ioport_out8(self, port: u16, data: u8) -> Result<()> {
        self.invoke(label::X86_IO_PORT_OUT8, [port.into(), data.into()], []).map(drop)
    }

    /// Writes 16 bits.
    #[inline(always)]
    pub fn ioport_out16(self, port: u16, data: u16) -> Result<()> {
        self.invoke(label::X86_IO_PORT_OUT16, [port.into(), data.into()], []).map(drop)
    }

    /// Writes 32 bits.
    #[inline(always)]
    pub fn ioport_out32(self, port: u16, data: u32) -> Result<()> {
        self.invoke(label::X86_IO_PORT_OUT32, [port.into(), data.into()], []).map(drop)
    }
}
