// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the CPU and the hypervisor say of themselves.

use crate::cpu::cpuid;
use core::fmt;

/// Twelve characters from three registers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 12]);

impl Signature {
    /// From the registers in the order in which the text runs through them.
    pub fn new(registers: [u32; 3]) -> Self {
        let mut text = [0; 12];
        for (chunk, register) in text.chunks_exact_mut(4).zip(registers) {
            chunk.copy_from_slice(&register.to_le_bytes());
        }
        Self(text)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for &byte in self.0.iter().filter(|&&byte| byte != 0) {
            f.write_char(if byte.is_ascii_graphic() || byte == b' ' { byte as char } else { '?' })?;
        }
        Ok(())
    }
}

/// Postern's hypervisor leaves.
#[derive(Clone, Copy, Debug)]
pub struct Postern {
    /// Version of the interface (leaf 0x40000001).
    pub version: u32,
    /// TSC frequency in kHz.
    pub tsc_khz: u32,
    /// Local APIC timer frequency in kHz at divisor 1.
    pub apic_khz: u32,
}

/// Who made the CPU, as in leaf 0.
pub fn vendor() -> Signature {
    let leaf = cpuid(0, 0);
    Signature::new([leaf.ebx, leaf.edx, leaf.ecx])
}

/// The hypervisor's signature, if there is a hypervisor.
pub fn hypervisor() -> Option<Signature> {
    const HYPERVISOR_PRESENT: u32 = 1 << 31;
    if cpuid(1, 0).ecx & HYPERVISOR_PRESENT == 0 {
        return None;
    }
    let leaf = cpuid(0x4000_0000, 0);
    Some(Signature::new([leaf.ebx, leaf.ecx, leaf.edx]))
}

/// Postern's leaves, if Postern is the hypervisor.
pub fn postern() -> Option<Postern> {
    if hypervisor()? != Signature(*b"PosternVMM\0\0") || cpuid(0x4000_0000, 0).eax < 0x4000_0010 {
        return None;
    }
    let clocks = cpuid(0x4000_0010, 0);
    Some(Postern { version: cpuid(0x4000_0001, 0).eax, tsc_khz: clocks.eax, apic_khz: clocks.ebx })
}

/// Whether the local APIC can be put into x2APIC mode.
pub fn has_x2apic() -> bool {
    cpuid(1, 0).ecx & 1 << 21 != 0
}

/// Whether there is RDRAND.
pub fn has_rdrand() -> bool {
    cpuid(1, 0).ecx & 1 << 30 != 0
}

/// Whether there is XSAVE (whether the guest has enabled it or not).
pub fn has_xsave() -> bool {
    cpuid(1, 0).ecx & 1 << 26 != 0
}

/// Whether there is AVX.
pub fn has_avx() -> bool {
    cpuid(1, 0).ecx & 1 << 28 != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn signature_of_the_interface() {
        let signature = Signature::new([0x7473_6f50, 0x566e_7265, 0x0000_4d4d]);
        assert!(signature == Signature(*b"PosternVMM\0\0"));
        assert_eq!(signature.to_string(), "PosternVMM");
    }
}
