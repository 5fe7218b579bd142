// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fetches the bytes of the instruction that exited.
use crate::memory::GuestMemory;
use crate::walk::{Paging, translate};

/// Up to 16 bytes of code, little-endian, and how many of them are real.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code {
    /// The bytes; those that aren't real are zero.
    pub bytes: u128,
    /// How many could be fetched.
    pub available: usize,
}

/// Bytes looked at: the longest instruction and one.
const FETCH: u64 = 16;

/// Fetches code at a linear address. Less than 16 bytes if the next page isn't mapped, none if the address itself isn't.
#[must_use]
pub fn fetch(memory: &impl GuestMemory, paging: Paging, cr3: u64, linear: u64) -> Code {
    let nothing = Code { bytes: 0, available: 0 };
    let Some(gpa) = translate(memory, paging, cr3, linear) else { return nothing };
    let in_page = 0x1000 - (linear & 0xfff);
    if in_page >= FETCH
        && let (Some(low), Some(high)) = (memory.read_u64(gpa), memory.read_u64(gpa + 8))
    {
        return Code { bytes: u128::from(low) | u128::from(high) << 64, available: FETCH as usize };
    }
    let mut bytes = [0; FETCH as usize];
    let first = in_page.min(FETCH) as usize;
    if memory.read(gpa, &mut bytes[..first]).is_none() {
        return nothing;
    }
    let rest = if first == bytes.len() {
        None
    } else {
        translate(memory, paging, cr3, linear.wrapping_add(first as u64))
    };
    let available = match rest {
        Some(next) if memory.read(next, &mut bytes[first..]).is_some() => bytes.len(),
        _ => first,
    };
    Code { bytes: u128::from_le_bytes(bytes), available }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::tests::Ram;

    #[test]
    fn within_across_and_at_the_end() {
        let mut ram = Ram::new(0x4000);
        for n in 0..0x4000u64 {
            ram.write(n, &[n as u8]).unwrap();
        }
        let code = fetch(&ram, Paging::Off, 0, 0x1001);
        assert_eq!((code.bytes as u64, code.available), (0x0807_0605_0403_0201, 16));
        let code = fetch(&ram, Paging::Off, 0, 0x3ffd);
        assert_eq!((code.bytes, code.available), (0xff_fefd, 3));
        assert_eq!(fetch(&ram, Paging::Off, 0, 0x4000).available, 0);
        assert_eq!(fetch(&ram, Paging::Off, 0, 0x1ffe).available, 16);
    }

    #[test]
    fn two_pages_of_different_frames() {
        let mut ram = Ram::new(0x8000);
        for (at, value) in
            [(0x1000u64, 0x2003u64), (0x2000, 0x3003), (0x3000, 0x4003), (0x4000, 0x6003), (0x4008, 0x5003)]
        {
            ram.write(at, &value.to_le_bytes()).unwrap();
        }
        ram.write(0x6fff, &[0x0f]).unwrap();
        ram.write(0x5000, &[0xa2]).unwrap();
        let code = fetch(&ram, Paging::Long, 0x1000, 0xfff);
        assert_eq!((code.bytes & 0xffff, code.available), (0xa20f, 16));
        ram.write(0x4008, &[0]).unwrap();
        assert_eq!(fetch(&ram, Paging::Long, 0x1000, 0xfff).available, 1);
    }
}
