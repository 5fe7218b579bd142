// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest's CPUID shows: the machine's, without what a guest can't use (AMD64 manual, volume 3, appendix E; `docs/guest-abi.md`).

/// EAX, EBX, ECX, EDX.
pub type Leaf = [u32; 4];

/// First of the hypervisor's leaves.
pub const HYPERVISOR_FIRST: u32 = 0x4000_0000;
/// Last of the hypervisor's leaves.
pub const HYPERVISOR_LAST: u32 = 0x4000_0010;
/// Version of the guest interface.
pub const INTERFACE_VERSION: u32 = 1;
/// Highest basic leaf that is shown.
const BASIC_LAST: u32 = 0xd;
/// Highest extended leaf that is shown.
const EXTENDED_LAST: u32 = 0x8000_0008;

/// CR4: the guest's system turned XSAVE on.
const CR4_OSXSAVE: u64 = 1 << 18;
/// x87, SSE and AVX state: the most that a guest is shown.
const XSAVE_FEATURES: u32 = 7;
const XCR0_SSE: u64 = 1 << 1;
const XCR0_AVX: u64 = 1 << 2;
/// Leaf 1 ECX: FMA, AVX, F16C.
const NEED_AVX: u32 = 1 << 12 | 1 << 28 | 1 << 29;
/// Leaf 7 EBX: AVX2; ECX: VAES, VPCLMULQDQ; leaf 0x8000_0001 ECX: XOP, FMA4.
const NEED_AVX_STRUCTURED: (u32, u32) = (1 << 5, 1 << 9 | 1 << 10);
const NEED_AVX_EXTENDED: u32 = 1 << 11 | 1 << 16;
const XSAVE: u32 = 1 << 26;

/// Bits that are hidden, per register.
mod hidden {
    /// Leaf 1 ECX: DTES64, MONITOR, DS-CPL, VMX, SMX, EIST, TM2, SDBG, xTPR, PDCM, PCID, DCA, TSC deadline, OSXSAVE (shown by CR4).
    pub const BASIC_C: u32 = 1 << 2 | 0x1f8 | 1 << 11 | 0x3 << 14 | 1 << 17 | 1 << 18 | 1 << 24 | 1 << 27;
    /// Leaf 1 EDX: MCE, MTRR, MCA, PSN, DS, ACPI, HTT, TM, PBE.
    pub const BASIC_D: u32 =
        1 << 7 | 1 << 12 | 1 << 14 | 1 << 18 | 1 << 21 | 1 << 22 | 1 << 28 | 1 << 29 | 1 << 31;
    /// Leaf 0x8000_0001 ECX: CmpLegacy, SVM, extended APIC space, OSVW, IBS, SKINIT, WDT, LWP, node ID, topology, counters, MWAITX.
    pub const EXTENDED_C: u32 = 1 << 1
        | 1 << 2
        | 1 << 3
        | 1 << 9
        | 1 << 10
        | 1 << 12
        | 1 << 13
        | 1 << 15
        | 1 << 19
        | 1 << 22
        | 0x3 << 23
        | 1 << 26
        | 1 << 27
        | 1 << 28
        | 1 << 29;
    /// Leaf 0x8000_0001 EDX: MCE, MTRR, MCA.
    pub const EXTENDED_D: u32 = 1 << 7 | 1 << 12 | 1 << 14;
}

/// Leaf 7 EBX, of which a guest sees: FSGSBASE, BMI1, AVX2, SMEP, BMI2, ERMS, RDSEED, ADX, SMAP, CLFLUSHOPT, CLWB, SHA.
const STRUCTURED_B: u32 = 1
    | 1 << 3
    | 1 << 5
    | 1 << 7
    | 1 << 8
    | 1 << 9
    | 1 << 18
    | 1 << 19
    | 1 << 20
    | 1 << 23
    | 1 << 24
    | 1 << 29;
/// Leaf 7 ECX: UMIP, GFNI, VAES, VPCLMULQDQ.
const STRUCTURED_C: u32 = 1 << 2 | 1 << 8 | 1 << 9 | 1 << 10;
/// Leaf 7 EDX: fast short REP MOV.
const STRUCTURED_D: u32 = 1 << 4;
const X2APIC: u32 = 1 << 21;
const OSXSAVE: u32 = 1 << 27;
const HYPERVISOR: u32 = 1 << 31;
const INVARIANT_TSC: u32 = 1 << 8;

/// State of the guest that some leaves show.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// CR4.
    pub cr4: u64,
    /// XCR0.
    pub xcr0: u64,
    /// Bits that its XCR0 may hold; without SSE among them there is no XSAVE, without AVX no instruction that needs it.
    pub xcr0_offered: u64,
    /// Frequency of the time-stamp counter, and of the local APIC's timer, in kHz.
    pub tsc_khz: u32,
}

impl Guest {
    fn may(&self, feature: u64) -> bool {
        self.xcr0_offered & feature != 0
    }
}

/// Whether a leaf shows CR4 or XCR0, so that [`filter`] needs them.
#[must_use]
pub fn needs_registers(leaf: u32) -> bool {
    matches!(leaf, 1 | 0xd)
}

/// What the guest sees. `host` reads the machine's CPUID.
#[must_use]
pub fn filter(leaf: u32, subleaf: u32, guest: &Guest, host: impl Fn(u32, u32) -> Leaf) -> Leaf {
    match leaf {
        HYPERVISOR_FIRST..=0x4fff_ffff => hypervisor(leaf, guest),
        0 => {
            let [a, b, c, d] = host(0, 0);
            [a.min(BASIC_LAST), b, c, d]
        }
        1 => {
            let [a, b, mut c, d] = host(1, 0);
            if !guest.may(XCR0_AVX) {
                c &= !NEED_AVX;
            }
            if !guest.may(XCR0_SSE) {
                c &= !XSAVE;
            }
            let os = if guest.cr4 & CR4_OSXSAVE != 0 && c & XSAVE != 0 { OSXSAVE } else { 0 };
            // One logical processor with APIC ID 0; brand and CLFLUSH size as they are.
            [a, b & 0xffff | 1 << 16, c & !hidden::BASIC_C | X2APIC | HYPERVISOR | os, d & !hidden::BASIC_D]
        }
        2 => host(2, 0),
        4 => {
            // Caches, without how many share them.
            let [a, b, c, d] = host(4, subleaf);
            [a & 0x3fff, b, c, d]
        }
        7 if subleaf == 0 => {
            let [_, b, c, d] = host(7, 0);
            let (no_b, no_c) = if guest.may(XCR0_AVX) { (0, 0) } else { NEED_AVX_STRUCTURED };
            [0, b & STRUCTURED_B & !no_b, c & STRUCTURED_C & !no_c, d & STRUCTURED_D]
        }
        // Topology: one thread, one core.
        0xb => match subleaf {
            0 => [0, 1, 0x100, 0],
            1 => [0, 1, 0x201, 0],
            _ => [0, 0, subleaf & 0xff, 0],
        },
        0xd => xsave(subleaf, guest, host),
        0x8000_0000 => {
            let [a, b, c, d] = host(leaf, 0);
            [a.min(EXTENDED_LAST), b, c, d]
        }
        0x8000_0001 => {
            let [a, b, c, d] = host(leaf, 0);
            let no = if guest.may(XCR0_AVX) { 0 } else { NEED_AVX_EXTENDED };
            [a, b, c & !hidden::EXTENDED_C & !no, d & !hidden::EXTENDED_D]
        }
        0x8000_0002..=0x8000_0006 => host(leaf, 0),
        0x8000_0007 => [0, 0, 0, INVARIANT_TSC],
        // Address widths; no core count, no extended features.
        EXTENDED_LAST => [host(leaf, 0)[0] & 0xffff, 0, 0, 0],
        _ => [0; 4],
    }
}

fn hypervisor(leaf: u32, guest: &Guest) -> Leaf {
    let word = |at: usize| {
        let text = b"PosternVMM\0\0";
        u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]])
    };
    match leaf {
        HYPERVISOR_FIRST => [HYPERVISOR_LAST, word(0), word(4), word(8)],
        0x4000_0001 => [INTERFACE_VERSION, 0, 0, 0],
        HYPERVISOR_LAST => [guest.tsc_khz, guest.tsc_khz, 0, 0],
        _ => [0; 4],
    }
}

/// Leaf 0xd: the state that a guest may have, and the bytes it takes.
fn xsave(subleaf: u32, guest: &Guest, host: impl Fn(u32, u32) -> Leaf) -> Leaf {
    /// Legacy region and header.
    const FIRST_BYTES: u32 = 576;
    let bytes = |features: u32| {
        let extended = (2..32).filter(|n| features & 1 << n != 0).map(|n| {
            let [size, offset, _, _] = host(0xd, n);
            offset.saturating_add(size)
        });
        extended.fold(FIRST_BYTES, u32::max)
    };
    let features = if guest.may(XCR0_SSE) { XSAVE_FEATURES & guest.xcr0_offered as u32 } else { 0 };
    let [a, _, _, _] = host(0xd, subleaf);
    match subleaf {
        _ if features == 0 || host(0xd, 0)[0] == 0 => [0; 4],
        0 => {
            let offered = a & features;
            [offered, bytes(guest.xcr0 as u32 & offered), bytes(offered), 0]
        }
        // XSAVEOPT and XGETBV with ECX = 1; no compacted form, no supervisor state.
        1 => [a & 0b101, 0, 0, 0],
        2..32 if features & 1 << subleaf != 0 => host(0xd, subleaf),
        _ => [0; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUEST: Guest = Guest { cr4: 0, xcr0: 3, xcr0_offered: 7, tsc_khz: 1_000_000 };
    fn all_ones(_: u32, _: u32) -> Leaf {
        [u32::MAX; 4]
    }

    #[test]
    fn signature_and_clock() {
        assert_eq!(
            filter(0x4000_0000, 0, &GUEST, all_ones),
            [0x4000_0010, 0x7473_6f50, 0x566e_7265, 0x0000_4d4d]
        );
        assert_eq!(filter(0x4000_0001, 9, &GUEST, all_ones), [1, 0, 0, 0]);
        assert_eq!(filter(0x4000_0010, 0, &GUEST, all_ones), [1_000_000, 1_000_000, 0, 0]);
        assert_eq!(filter(0x4000_0011, 0, &GUEST, all_ones), [0; 4]);
    }

    #[test]
    fn what_a_guest_cannot_use_is_hidden() {
        let [_, b, c, d] = filter(1, 0, &GUEST, all_ones);
        assert_eq!(b >> 16, 1);
        for (bit, name) in
            [(3, "MONITOR"), (5, "VMX"), (15, "PDCM"), (17, "PCID"), (24, "deadline"), (27, "OSXSAVE")]
        {
            assert_eq!(c & 1 << bit, 0, "{name}");
        }
        for bit in [0, 9, 19, 20, 21, 23, 25, 26, 28, 30, 31] {
            assert_ne!(c & 1 << bit, 0, "{bit}");
        }
        assert_eq!(d & (1 << 12 | 1 << 28), 0);
        assert_ne!(d & (1 << 9 | 1 << 25 | 1 << 16), 0);
        let [_, _, c, d] = filter(0x8000_0001, 0, &GUEST, all_ones);
        assert_eq!(c & (1 << 2 | 1 << 10 | 1 << 12 | 1 << 22 | 1 << 29), 0);
        assert_ne!(d & 1 << 29, 0);
        for leaf in [
            3,
            5,
            6,
            9,
            0xa,
            0xc,
            0xe,
            0x10,
            0x1000,
            0x8000_0009,
            0x8000_000a,
            0x8000_001f,
            0xc000_0000,
            u32::MAX,
        ] {
            assert_eq!(filter(leaf, 0, &GUEST, all_ones), [0; 4], "{leaf:x}");
        }
        assert_eq!(filter(0, 0, &GUEST, all_ones)[0], 0xd);
        assert_eq!(filter(0x8000_0000, 0, &GUEST, all_ones)[0], 0x8000_0008);
        assert_eq!(filter(7, 0, &GUEST, all_ones)[1] & (1 << 10 | 1 << 1 | 1 << 16), 0);
        assert_eq!(filter(7, 1, &GUEST, all_ones), [0; 4]);
    }

    #[test]
    fn without_avx_state_no_avx() {
        let sse = Guest { xcr0_offered: 3, ..GUEST };
        assert_eq!(filter(1, 0, &sse, all_ones)[2] & (1 << 28 | 1 << 12 | XSAVE), XSAVE);
        assert_eq!(filter(7, 0, &sse, all_ones)[1] & 1 << 5, 0);
        assert_eq!(filter(0xd, 0, &sse, all_ones)[0], 3);
        let none = Guest { xcr0_offered: 1, cr4: CR4_OSXSAVE, ..GUEST };
        assert_eq!(filter(1, 0, &none, all_ones)[2] & (XSAVE | OSXSAVE), 0);
        assert_eq!(filter(0xd, 0, &none, all_ones), [0; 4]);
    }

    #[test]
    fn xsave_follows_the_guest() {
        let host = |leaf, subleaf| match (leaf, subleaf) {
            (1, _) => [0, 0, 1 << 26, 0],
            (0xd, 0) => [0x2e7, 1, 2, 3],
            (0xd, 1) => [0xf, 1, 2, 3],
            (0xd, 2) => [256, 576, 0, 0],
            _ => [9; 4],
        };
        let on = Guest { cr4: CR4_OSXSAVE, xcr0: 7, ..GUEST };
        assert_eq!(filter(1, 0, &on, host)[2] & OSXSAVE, OSXSAVE);
        assert_eq!(filter(1, 0, &on, |_, _| [0; 4])[2] & OSXSAVE, 0);
        assert_eq!(filter(0xd, 0, &GUEST, host), [7, 576, 832, 0]);
        assert_eq!(filter(0xd, 0, &on, host), [7, 832, 832, 0]);
        assert_eq!(filter(0xd, 1, &on, host), [5, 0, 0, 0]);
        assert_eq!(filter(0xd, 2, &on, host), [256, 576, 0, 0]);
        assert_eq!(filter(0xd, 9, &on, host), [0; 4]);
        assert_eq!(filter(0xd, 0, &on, |_, _| [0; 4]), [0; 4]);
        assert_eq!(filter(0xd, u32::MAX, &on, host), [0; 4]);
    }
}
