// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which fields of a control block a VMM may read and write, and how a value is fixed before it is stored.
//!
//! Field numbers are byte offsets (APM volume 2, appendix B). Whatever is not named here does not exist for a VMM: the
//! kernel's intercepts, the ASID, the nested root, the permission maps, the interrupt control. Values are fixed so that no
//! single field can make VMRUN refuse the block (APM 15.5.1); combinations of fields are [`crate::check`]'s.

use crate::limits::*;
use crate::vmcb::{Segment, Vmcb, segment};

/// Part of a segment register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// 16 bits.
    Selector,
    /// 12 bits.
    Attributes,
    /// 32 bits.
    Limit,
    /// 64 bits, canonical.
    Base,
}

/// A field that a VMM may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Field {
    /// Exceptions that the VMM wants, beside the kernel's own.
    ExceptionIntercepts,
    TscOffset,
    InterruptShadow,
    /// Segment register by its index in [`segment`].
    Segment(usize, Part),
    Cpl,
    Efer,
    Cr4,
    Cr3,
    Cr0,
    Dr7,
    Dr6,
    Rflags,
    Rip,
    Rsp,
    Rax,
    Star,
    Lstar,
    Cstar,
    Sfmask,
    KernelGsBase,
    SysenterCs,
    SysenterEsp,
    SysenterEip,
    Cr2,
    GPat,
    /// Not in the control block: kept by the VCPU object.
    Xcr0,
}

impl Field {
    /// The field with number `number`, `None` if there is none for a VMM.
    pub const fn from_number(number: u64) -> Option<Self> {
        use Field::*;
        Some(match number {
            0x008 => ExceptionIntercepts,
            0x050 => TscOffset,
            0x068 => InterruptShadow,
            0x400..=0x49f => {
                let part = match number & 15 {
                    0 => Part::Selector,
                    2 => Part::Attributes,
                    4 => Part::Limit,
                    8 => Part::Base,
                    _ => return None,
                };
                Segment((number as usize - 0x400) / 16, part)
            }
            0x4cb => Cpl,
            0x4d0 => Efer,
            0x548 => Cr4,
            0x550 => Cr3,
            0x558 => Cr0,
            0x560 => Dr7,
            0x568 => Dr6,
            0x570 => Rflags,
            0x578 => Rip,
            0x5d8 => Rsp,
            0x5f8 => Rax,
            0x600 => Star,
            0x608 => Lstar,
            0x610 => Cstar,
            0x618 => Sfmask,
            0x620 => KernelGsBase,
            0x628 => SysenterCs,
            0x630 => SysenterEsp,
            0x638 => SysenterEip,
            0x640 => Cr2,
            0x668 => GPat,
            0x1000 => Xcr0,
            _ => return None,
        })
    }

    /// True for what the guest's own translations depend on. The processor drops them when the guest writes it; when the VMM does, with
    /// whatever value, whoever enters has to (APM 15.16).
    pub const fn is_translation(self) -> bool {
        matches!(self, Self::Cr0 | Self::Cr3 | Self::Cr4 | Self::Efer | Self::GPat)
    }
}

/// The VCPU's state that fields live in: the control block, and what the kernel keeps beside it.
#[derive(Debug)]
pub struct State<'a> {
    /// The control block.
    pub vmcb: &'a mut Vmcb,
    /// The exceptions that the VMM wants to see.
    pub exceptions: &'a mut u32,
    /// The guest's XCR0.
    pub xcr0: &'a mut u64,
}

impl State<'_> {
    /// The value of `field`.
    pub fn read(&self, field: Field) -> u64 {
        let save = &self.vmcb.save;
        match field {
            Field::ExceptionIntercepts => u64::from(*self.exceptions),
            Field::TscOffset => self.vmcb.control.tsc_offset,
            Field::InterruptShadow => self.vmcb.control.interrupt_shadow & 1,
            Field::Segment(n, Part::Selector) => u64::from(save.segments[n].selector),
            Field::Segment(n, Part::Attributes) => u64::from(save.segments[n].attributes),
            Field::Segment(n, Part::Limit) => u64::from(save.segments[n].limit),
            Field::Segment(n, Part::Base) => save.segments[n].base,
            Field::Cpl => u64::from(save.cpl),
            Field::Efer => save.efer,
            Field::Cr4 => save.cr4,
            Field::Cr3 => save.cr3,
            Field::Cr0 => save.cr0,
            Field::Dr7 => save.dr7,
            Field::Dr6 => save.dr6,
            Field::Rflags => save.rflags,
            Field::Rip => save.rip,
            Field::Rsp => save.rsp,
            Field::Rax => save.rax,
            Field::Star => save.star,
            Field::Lstar => save.lstar,
            Field::Cstar => save.cstar,
            Field::Sfmask => save.sfmask,
            Field::KernelGsBase => save.kernel_gs_base,
            Field::SysenterCs => save.sysenter_cs,
            Field::SysenterEsp => save.sysenter_esp,
            Field::SysenterEip => save.sysenter_eip,
            Field::Cr2 => save.cr2,
            Field::GPat => save.g_pat,
            Field::Xcr0 => *self.xcr0,
        }
    }

    /// Stores `value`, fixed, and returns what [`State::read`] then gives.
    pub fn write(&mut self, field: Field, value: u64, limits: &Limits) -> u64 {
        let save = &mut self.vmcb.save;
        match field {
            // NMIs are the host's; vector 2 is no exception.
            Field::ExceptionIntercepts => *self.exceptions = value as u32 & !(1 << 2),
            Field::TscOffset => self.vmcb.control.tsc_offset = value,
            Field::InterruptShadow => self.vmcb.control.interrupt_shadow = value & 1,
            Field::Segment(n, part) => {
                write_segment(&mut save.segments[n], n, part, value);
                if n == segment::SS {
                    // The privilege level and SS.DPL are one thing; processors differ in which of them they load.
                    save.cpl = (save.segments[n].attributes >> 5) as u8 & 3;
                }
            }
            Field::Cpl => {
                save.cpl = value as u8 & 3;
                let attributes = &mut save.segments[segment::SS].attributes;
                *attributes = *attributes & !0x60 | u16::from(save.cpl) << 5;
            }
            Field::Efer => save.efer = fix_efer(value, limits),
            Field::Cr4 => save.cr4 = value & limits.cr4,
            Field::Cr3 => save.cr3 = value & limits.cr3(),
            Field::Cr0 => save.cr0 = fix_cr0(value),
            Field::Dr7 => save.dr7 = value & 0xffff_2bff | 0x400,
            Field::Dr6 => save.dr6 = value & 0x0000_e00f | 0xffff_0ff0,
            Field::Rflags => save.rflags = value & RFLAGS_DEFINED | RFLAGS_ALWAYS,
            Field::Rip => save.rip = canonical(value),
            Field::Rsp => save.rsp = value,
            Field::Rax => save.rax = value,
            Field::Star => save.star = value,
            Field::Lstar => save.lstar = canonical(value),
            Field::Cstar => save.cstar = canonical(value),
            Field::Sfmask => save.sfmask = value & 0xffff_ffff,
            Field::KernelGsBase => save.kernel_gs_base = canonical(value),
            Field::SysenterCs => save.sysenter_cs = value & 0xffff_ffff,
            Field::SysenterEsp => save.sysenter_esp = canonical(value),
            Field::SysenterEip => save.sysenter_eip = canonical(value),
            Field::Cr2 => save.cr2 = value,
            Field::GPat => save.g_pat = fix_pat(value),
            Field::Xcr0 => *self.xcr0 = fix_xcr0(value, limits),
        }
        self.read(field)
    }
}

fn write_segment(register: &mut Segment, n: usize, part: Part, value: u64) {
    match part {
        Part::Selector => register.selector = value as u16,
        Part::Attributes => {
            register.attributes = value as u16 & 0xfff;
            // 64-bit code with a 32-bit default size is refused.
            if n == segment::CS && register.attributes & segment::LONG != 0 {
                register.attributes &= !segment::DEFAULT_BIG;
            }
        }
        // The descriptor tables' limits have 16 bits.
        Part::Limit if n == segment::GDTR || n == segment::IDTR => register.limit = value as u32 & 0xffff,
        Part::Limit => register.limit = value as u32,
        Part::Base => register.base = canonical(value),
    }
}

/// EFER as VMRUN takes it: SVME always on.
pub const fn fix_efer(value: u64, limits: &Limits) -> u64 {
    value & limits.efer | EFER_SVME
}

/// CR0 as VMRUN takes it: not "not write-through" without "cache disable".
pub const fn fix_cr0(value: u64) -> u64 {
    let value = value & CR0_DEFINED | CR0_ET;
    if value & CR0_CD == 0 { value & !CR0_NW } else { value }
}

/// A page-attribute table of defined types; undefined ones become uncacheable.
pub const fn fix_pat(value: u64) -> u64 {
    let mut fixed = 0;
    let mut shift = 0;
    while shift < 64 {
        let kind = (value >> shift) & 0xff;
        if matches!(kind, 0 | 1 | 4..=7) {
            fixed |= kind << shift;
        }
        shift += 8;
    }
    fixed
}

/// XCR0 as XSETBV takes it: x87 always, AVX only with SSE.
pub const fn fix_xcr0(value: u64, limits: &Limits) -> u64 {
    let value = value & limits.xcr0 | XCR0_X87;
    if value & XCR0_SSE == 0 { value & !XCR0_AVX } else { value }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const LIMITS: Limits = Limits {
        cr4: CR4_ALWAYS | CR4_FSGSBASE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP,
        efer: EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_SVME,
        physical_bits: 40,
        xcr0: 7,
    };

    fn with<R>(f: impl FnOnce(&mut State) -> R) -> R {
        let mut vmcb = Vmcb::RESET;
        let (mut exceptions, mut xcr0) = (0, 1);
        f(&mut State { vmcb: &mut vmcb, exceptions: &mut exceptions, xcr0: &mut xcr0 })
    }

    fn all() -> Vec<(u64, Field)> {
        (0..0x1100).filter_map(|n| Field::from_number(n).map(|f| (n, f))).collect()
    }

    #[test]
    fn the_list_is_closed() {
        // Intercepts, ASID, interrupt control, nested root, permission maps, event injection.
        for number in [0, 4, 0xc, 0x10, 0x14, 0x40, 0x48, 0x58, 0x60, 0x90, 0xa8, 0xb0, 0xb8, 0xc0, 0x678] {
            assert_eq!(Field::from_number(number), None, "{number:#x}");
        }
        assert_eq!(all().len(), 3 + 10 * 4 + 21 + 1);
        assert_eq!(Field::from_number(0x4a0), None);
        assert_eq!(Field::from_number(0x406), None);
        assert_eq!(Field::from_number(0x418), Some(Field::Segment(segment::CS, Part::Base)));
        assert_eq!(Field::from_number(u64::MAX), None);
    }

    #[test]
    fn numbers_are_offsets() {
        // A write through the allow-list lands at the byte offset that the number names.
        for (number, field) in all() {
            if matches!(field, Field::Xcr0 | Field::ExceptionIntercepts) {
                continue;
            }
            let mut vmcb = Vmcb::RESET;
            let (mut exceptions, mut xcr0) = (0, 1);
            let mut state = State { vmcb: &mut vmcb, exceptions: &mut exceptions, xcr0: &mut xcr0 };
            let stored = state.write(field, 0x11, &LIMITS);
            assert_eq!(byte_of(&vmcb, number as usize), stored as u8, "{number:#x}");
        }
    }

    /// A byte of the block, through the typed fields' own offsets.
    fn byte_of(vmcb: &Vmcb, offset: usize) -> u8 {
        let save = &vmcb.save;
        let value = match offset {
            0x050 => vmcb.control.tsc_offset,
            0x068 => vmcb.control.interrupt_shadow,
            0x400..=0x49f => {
                let register = save.segments[(offset - 0x400) / 16];
                match offset & 15 {
                    0 => register.selector.into(),
                    2 => register.attributes.into(),
                    4 => register.limit.into(),
                    _ => register.base,
                }
            }
            0x4cb => save.cpl.into(),
            0x4d0 => save.efer,
            0x548 => save.cr4,
            0x550 => save.cr3,
            0x558 => save.cr0,
            0x560 => save.dr7,
            0x568 => save.dr6,
            0x570 => save.rflags,
            0x578 => save.rip,
            0x5d8 => save.rsp,
            0x5f8 => save.rax,
            0x600 => save.star,
            0x608 => save.lstar,
            0x610 => save.cstar,
            0x618 => save.sfmask,
            0x620 => save.kernel_gs_base,
            0x628 => save.sysenter_cs,
            0x630 => save.sysenter_esp,
            0x638 => save.sysenter_eip,
            0x640 => save.cr2,
            0x668 => save.g_pat,
            _ => panic!("{offset:#x}"),
        };
        value as u8
    }

    #[test]
    fn any_value_in_any_single_field_passes_the_check() {
        for (number, field) in all() {
            for value in
                [0, 1, u64::MAX, 0xffff_ffff, 1 << 63, 0x8000_0000_0000, 0x2000_0000, 0xa5a5_a5a5_a5a5_a5a5]
            {
                with(|state| {
                    let stored = state.write(field, value, &LIMITS);
                    assert_eq!(state.read(field), stored);
                    assert_eq!(
                        state.write(field, stored, &LIMITS),
                        stored,
                        "fixing is not stable: {number:#x}"
                    );
                    // CR0, CR4 and EFER need each other, so that they may be refused together, never alone for their own bits.
                    if !matches!(field, Field::Cr0 | Field::Efer) {
                        assert_eq!(crate::check::save_area(&state.vmcb.save, &LIMITS), Ok(()), "{number:#x}");
                    }
                });
            }
        }
    }

    #[test]
    fn fixing() {
        assert_eq!(fix_efer(0, &LIMITS), EFER_SVME);
        assert_eq!(fix_efer(u64::MAX, &LIMITS), LIMITS.efer);
        assert_eq!(fix_cr0(CR0_NW), CR0_ET);
        assert_eq!(fix_cr0(CR0_NW | CR0_CD), CR0_NW | CR0_CD | CR0_ET);
        assert_eq!(fix_pat(0x0203_ff08_0706_0501), 0x0000_0000_0706_0501);
        assert_eq!(fix_xcr0(4, &LIMITS), 1);
        assert_eq!(fix_xcr0(6, &LIMITS), 7);
        assert_eq!(fix_xcr0(u64::MAX, &LIMITS), 7);
    }

    #[test]
    fn what_translations_depend_on() {
        let numbers = all().into_iter().filter(|(_, field)| field.is_translation()).map(|(number, _)| number);
        assert!(numbers.eq([0x4d0, 0x548, 0x550, 0x558, 0x668]));
    }

    #[test]
    fn privilege_level_follows_the_stack_segment() {
        with(|state| {
            state.write(Field::Segment(segment::SS, Part::Attributes), 0xf3, &LIMITS);
            assert_eq!(state.read(Field::Cpl), 3);
            state.write(Field::Cpl, 0, &LIMITS);
            assert_eq!(state.read(Field::Segment(segment::SS, Part::Attributes)), 0x93);
        });
    }
}
