// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a VMM can make of a control block, through the fields that it may write: every value in every pair of fields, and all
//! combinations of those that VMRUN judges together. The verdict is compared with the manual's list; what is the kernel's must stay.

use crate::check::{Refusal, save_area};
use crate::field::tests::LIMITS;
use crate::field::{Field, Part, State};
use crate::vmcb::{Control, Save, Vmcb, segment};

/// A sentence of the manual, and the states that it forbids.
type Rule = (&'static str, fn(&Save) -> bool);

/// "Illegal guest state combinations" (APM 15.5.1), each as it stands there, with the limits of the tests' processor; and what QEMU doesn't
/// come back from.
const MANUAL: [Rule; 13] = [
    ("EFER.SVME is zero", |s| s.efer >> 12 & 1 == 0),
    ("CR0.CD is zero and CR0.NW is set", |s| s.cr0 >> 29 & 3 == 1),
    ("CR0[63:32] are not zero", |s| s.cr0 >> 32 != 0),
    ("any MBZ bit of CR3 is set", |s| s.cr3 >> 40 != 0),
    ("any MBZ bit of CR4 is set", |s| s.cr4 & !LIMITS.cr4 != 0),
    ("DR6[63:32] are not zero", |s| s.dr6 >> 32 != 0),
    ("DR7[63:32] are not zero", |s| s.dr7 >> 32 != 0),
    ("any MBZ bit of EFER is set", |s| s.efer & !LIMITS.efer != 0),
    ("EFER.LME and CR0.PG are both set and CR4.PAE is zero", |s| long(s) && s.cr4 >> 5 & 1 == 0),
    ("EFER.LME and CR0.PG are both non-zero and CR0.PE is zero", |s| long(s) && s.cr0 & 1 == 0),
    ("EFER.LME, CR0.PG, CR4.PAE, CS.L, and CS.D are all non-zero", |s| {
        long(s) && s.cr4 >> 5 & 1 == 1 && s.segments[1].attributes >> 9 & 3 == 3
    }),
    ("QEMU: EFER.LME without CR0.PG and CR4.PAE", |s| {
        s.efer >> 8 & 1 == 1 && s.cr0 >> 31 & 1 == 0 && s.cr4 >> 5 & 1 == 0
    }),
    ("G_PAT has an undefined type", |s| s.g_pat.to_le_bytes().iter().any(|kind| matches!(kind, 2 | 3 | 8..))),
];

fn long(save: &Save) -> bool {
    save.efer >> 8 & 1 == 1 && save.cr0 >> 31 & 1 == 1
}

/// Values that set, clear or half set what may be looked at.
const VALUES: [u64; 14] = [
    0,
    1,
    2,
    0x20,
    0x600,
    0x1500,
    0x2000_0000,
    0x4000_0000,
    0x8000_0001,
    0xffff_ffff,
    1 << 40,
    1 << 47,
    1 << 63,
    u64::MAX,
];

fn fields() -> Vec<Field> {
    (0..0x1100).filter_map(Field::from_number).collect()
}

struct Block {
    vmcb: Vmcb,
    exceptions: u32,
    xcr0: u64,
}

impl Block {
    fn new() -> Self {
        Self { vmcb: Vmcb::RESET, exceptions: 0, xcr0: 1 }
    }

    fn write(&mut self, field: Field, value: u64) {
        let mut state =
            State { vmcb: &mut self.vmcb, exceptions: &mut self.exceptions, xcr0: &mut self.xcr0 };
        let stored = state.write(field, value, &LIMITS);
        assert_eq!(state.read(field), stored, "{field:?}");
    }

    /// The verdict, which must be the manual's, on a block that has nothing of what VMRUN doesn't look at and processors rely on.
    fn judge(&self) -> Result<(), Refusal> {
        let save = &self.vmcb.save;
        let verdict = save_area(save, &LIMITS);
        let broken: Vec<_> = MANUAL.iter().filter(|(_, breaks)| breaks(save)).map(|(rule, _)| rule).collect();
        assert_eq!(verdict.is_err(), !broken.is_empty(), "{verdict:?}, by the manual {broken:?}");
        // What a single field holds is fixed when it is written, so only combinations are left to refuse.
        let combinations = [
            Ok(()),
            Err(Refusal::LongModeWithoutPae),
            Err(Refusal::LongModeWithoutProtection),
            Err(Refusal::LongModeWaiting),
        ];
        assert!(combinations.contains(&verdict), "{verdict:?}");
        assert_eq!(save.rflags & 0x802a, 2, "RFLAGS");
        assert_eq!(save.cpl, (save.segments[segment::SS].attributes >> 5) as u8 & 3);
        for address in save.segments.iter().map(|register| register.base).chain([save.rip, save.lstar]) {
            assert_eq!((address as i64) << 16 >> 16, address as i64, "not canonical");
        }
        assert!(self.xcr0 & 1 == 1 && self.xcr0 & 6 != 4 && self.xcr0 & !LIMITS.xcr0 == 0);
        assert_eq!(self.exceptions & 1 << 2, 0, "NMIs");
        verdict
    }
}

#[test]
fn any_values_in_any_two_fields_get_the_manuals_verdict() {
    let fields = fields();
    for first in &fields {
        for a in VALUES {
            let mut before = Block::new();
            before.write(*first, a);
            before.judge().ok();
            for second in &fields {
                let kept = before.vmcb.save.clone();
                for b in VALUES {
                    before.write(*second, b);
                    before.judge().ok();
                }
                before.vmcb.save = kept;
            }
        }
    }
}

#[test]
fn combinations_of_modes_get_the_manuals_verdict() {
    let choices = [
        (Field::Efer, &[0, 0x100, 0x400, 0x500, 0x1d01, u64::MAX][..]),
        (Field::Cr0, &[0, 1, 1 << 31, 0x8000_0001, 0xa000_0001, 0xe000_0001, 0x2000_0000, u64::MAX]),
        (Field::Cr4, &[0, 0x20, 0x7ff, 1 << 17, u64::MAX]),
        (Field::Segment(segment::CS, Part::Attributes), &[0, 0x9b, 0x29b, 0x49b, 0x69b, u64::MAX]),
        (Field::Cr3, &[0, 0x1000, 1 << 39, 1 << 40, u64::MAX]),
        (Field::Dr7, &[0, u64::MAX]),
        (Field::Dr6, &[0, u64::MAX]),
        (Field::GPat, &[0, 0x0203_0809_ff00_0102, u64::MAX]),
    ];
    let all: usize = choices.iter().map(|(_, values)| values.len()).product();
    let (mut accepted, mut refused) = (0, 0);
    // In both orders: a field's value must not depend on what was written before.
    for number in 0..2 * all {
        let (mut rest, mut block) = (number / 2, Block::new());
        let mut writes: Vec<_> = (choices.iter())
            .map(|(field, values)| {
                let value = values[rest % values.len()];
                rest /= values.len();
                (*field, value)
            })
            .collect();
        if number % 2 == 1 {
            writes.reverse();
        }
        writes.iter().for_each(|(field, value)| block.write(*field, *value));
        match block.judge() {
            Ok(()) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused");
}

#[test]
fn what_is_the_kernels_stays() {
    let mut block = Block::new();
    let ours = |control: &mut Control| {
        control.intercept_cr = 0x1111_1111;
        control.intercept_dr = 0x2222_2222;
        control.intercept_exceptions = 0x3333_3333;
        control.intercept_misc1 = 0x4444_4444;
        control.intercept_misc2 = 0x5555_5555;
        control.intercept_misc3 = 0x6666_6666;
        control.iopm_base = 0x7777_7000;
        control.msrpm_base = 0x8888_8000;
        control.asid = 9;
        control.int_ctl = 1 << 24;
        control.nested_control = 1;
        control.n_cr3 = 0xaaaa_a000;
        control.virt_ext = 0xbbbb;
    };
    ours(&mut block.vmcb.control);
    for field in fields() {
        for value in VALUES {
            block.write(field, value);
        }
    }
    let (mut wanted, found) = (Control::ZERO, &block.vmcb.control);
    ours(&mut wanted);
    // All that a VMM has of the control area.
    wanted.tsc_offset = u64::MAX;
    wanted.interrupt_shadow = 1;
    assert_eq!(format!("{found:x?}"), format!("{wanted:x?}"));
    assert_eq!(block.vmcb.save.debug_control, 0);
    assert_eq!(block.vmcb.save.last_branch, [0; 4]);
}
