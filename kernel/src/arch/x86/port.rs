// SPDX-License-Identifier: MIT OR Apache-2.0
//! I/O ports.

use core::arch::asm;

/// Reads 1, 2 or 4 bytes.
pub fn port_read(port: u16, bytes: u8) -> u32 {
    let value: u32;
    // SAFETY: the caller showed the capability of the port, or it is one of the kernel's own devices.
    unsafe {
        match bytes {
            1 => {
                asm!("in al, dx", in("dx") port, inout("eax") 0 => value, options(nomem, nostack, preserves_flags))
            }
            2 => {
                asm!("in ax, dx", in("dx") port, inout("eax") 0 => value, options(nomem, nostack, preserves_flags))
            }
            _ => {
                asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack, preserves_flags))
            }
        }
    }
    value
}

/// Writes 1, 2 or 4 bytes.
pub fn port_write(port: u16, bytes: u8, value: u32) {
    // SAFETY: as for `port_read`.
    unsafe {
        match bytes {
            1 => asm!("out dx, al", in("dx") port, in("eax") value, options(nostack, preserves_flags)),
            2 => asm!("out dx, ax", in("dx") port, in("eax") value, options(nostack, preserves_flags)),
            _ => asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags)),
        }
    }
}
