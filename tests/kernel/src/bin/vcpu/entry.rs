// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything that a VMM can say of an entry: whatever it is, the guest runs or the entry is refused, by a table, and the kernel lives on.

use crate::vm::{End, Vm, exit};
use kernel_tests::{Env, Failure, Outcome, check, check_eq, expect_error};
use sel4::Error;
use sel4::init_thread::slot;
use sel4_abi::vmcb;

kernel_tests::checks! {
    no_field_exists_beside_the_list,
    every_combination_of_modes_runs_or_is_refused,
    every_event_is_taken_or_refused,
    no_bit_of_the_control_word_is_taken_but_the_window,
}

/// Page of the guest that is full of HLTs: a guest in whatever mode ends there, or with an exception.
const HALTS: usize = 0xa000;
/// The fields of a VMM (`docs/abi.md`): three of the control area, ten segment registers of four parts, 21 registers, and XCR0.
const FIELDS: usize = 3 + 10 * 4 + 21 + 1;

/// Counts of the kernel's, which may be read.
const COUNTERS: [u64; 5] =
    [vmcb::L1D_FLUSHES, vmcb::BUFFER_CLEARS, vmcb::PREDICTOR_BARRIERS, vmcb::TLB_RENEWALS, vmcb::TLB_FLUSHES];

fn no_field_exists_beside_the_list(env: &mut Env) -> Outcome {
    let vm = Vm::new(env, 0, 0)?;
    let mut found = 0;
    for number in (0..0x2000).chain((13..64).map(|bit| 1 << bit)).chain((12..64).map(|bit| 1 << bit | 0x4d0))
    {
        match vm.vcpu.vcpu_read_vmcb(number) {
            Ok(_) if COUNTERS.contains(&number) => {
                expect_error(vm.vcpu.vcpu_write_vmcb(number, 0), Error::IllegalOperation, &[])?;
            }
            Ok(value) => {
                found += 1;
                let stored = vm.vcpu.vcpu_write_vmcb(number, value)?;
                check_eq!(stored, value, format_args!("field {number:#x} written as it was read"));
            }
            Err(_) => {
                expect_error(vm.vcpu.vcpu_read_vmcb(number), Error::IllegalOperation, &[])?;
                expect_error(vm.vcpu.vcpu_write_vmcb(number, u64::MAX), Error::IllegalOperation, &[])?;
            }
        }
    }
    check_eq!(found, FIELDS, "fields");
    Ok(())
}

/// A guest in long mode that halts wherever it is.
fn halting(env: &mut Env) -> Outcome<Vm> {
    let vm = Vm::bound(env, 0, HALTS as u64)?;
    (HALTS..HALTS + 0x1000).step_by(8).for_each(|at| vm.poke(at, 0xf4f4_f4f4_f4f4_f4f4));
    Ok(vm)
}

/// Long mode again; all exceptions exit, so that no mode makes a loop of them.
fn ready(vm: &Vm) -> Outcome {
    const ALL: u64 = 0xffff_ffff & !(1 << 2);
    vm.long_mode()?;
    vm.set(vmcb::EXCEPTION_INTERCEPTS, ALL)
}

/// Whether the entry is refused; then the virtual CPU is made anew.
fn is_refused(vm: &mut Vm) -> Outcome<bool> {
    match vm.enter() {
        End::Exit(exit::REFUSED) => {
            vm.vcpu.vcpu_set_tcb(slot::TCB.cap())?;
            Ok(true)
        }
        End::Exit(_) => Ok(false),
        other => Err(Failure::new(format_args!("{other:x?}"))),
    }
}

fn every_combination_of_modes_runs_or_is_refused(env: &mut Env) -> Outcome {
    env.not_in_bochs("Bochs ends at some states")?;
    /// A bit that takes part: its field, the bit.
    const BITS: [(u64, u64); 9] = [
        (vmcb::EFER, 1 << 8),
        (vmcb::EFER, 1 << 10),
        (vmcb::CR0, 1),
        (vmcb::CR0, 1 << 31),
        (vmcb::CR4, 1 << 5),
        (CODE, 1 << 9),
        (CODE, 1 << 10),
        (vmcb::RFLAGS, 1 << 17),
        (STACK, 3 << 5),
    ];
    const CODE: u64 = vmcb::ES_SELECTOR + vmcb::SEGMENT_STRIDE + 2;
    const STACK: u64 = vmcb::ES_SELECTOR + 2 * vmcb::SEGMENT_STRIDE + 2;
    const LONG: usize = 1 << 0;
    const PROTECTED: usize = 1 << 2;
    const PAGING: usize = 1 << 3;
    const EXTENDED: usize = 1 << 4;
    const LONG_PAGING: usize = LONG | PAGING;
    let mut vm = halting(env)?;
    let (mut ran, mut refused) = (0, 0);
    for mask in 0..1 << BITS.len() {
        ready(&vm)?;
        for (n, (field, bit)) in BITS.into_iter().enumerate() {
            let value = vm.vcpu.vcpu_read_vmcb(field)?;
            vm.vcpu.vcpu_write_vmcb(field, if mask & 1 << n != 0 { value | bit } else { value & !bit })?;
        }
        (vm.rip, vm.event, vm.control) = (HALTS as u64, 0, 0);
        // 64-bit code with 32-bit operands can't be stored, so that rule of the manual has nothing to refuse.
        let illegal = match mask & (LONG | PAGING) {
            LONG_PAGING => mask & EXTENDED == 0 || mask & PROTECTED == 0,
            LONG => mask & EXTENDED == 0,
            _ => false,
        };
        let was = is_refused(&mut vm)?;
        check!(was == illegal, "modes {mask:#b}: refused {was}, by the table {illegal}");
        *(if was { &mut refused } else { &mut ran }) += 1;
    }
    check!(ran > 0 && refused > 0, "{ran} ran, {refused} were refused");
    Ok(())
}

fn every_event_is_taken_or_refused(env: &mut Env) -> Outcome {
    env.not_in_bochs("Bochs takes any event")?;
    const VALID: u64 = 1 << 31;
    const ERROR_CODE: u64 = 1 << 11;
    let mut vm = halting(env)?;
    let (mut taken, mut refused) = (0, 0);
    for kind in 0..8 {
        for vector in 0..256 {
            for error in [0, ERROR_CODE | 0xffff_ffff << 32] {
                ready(&vm)?;
                (vm.rip, vm.control) = (HALTS as u64, 0);
                vm.event = VALID | kind << 8 | vector | error;
                let event = vm.event;
                let was = is_refused(&mut vm)?;
                // Interrupt, NMI, exception, INT n. An exception needs a vector that one has; processors differ in which those are.
                let verdicts = match (kind, vector) {
                    (0 | 2 | 4, _) => &[false][..],
                    (3, 2 | 32..) => &[true],
                    (3, _) => &[false, true],
                    _ => &[true],
                };
                check!(verdicts.contains(&was), "event {event:#x}: refused {was}");
                *(if was { &mut refused } else { &mut taken }) += 1;
            }
        }
    }
    check!(taken > 3 * 256 && refused > 4 * 256, "{taken} were taken, {refused} refused");
    Ok(())
}

fn no_bit_of_the_control_word_is_taken_but_the_window(env: &mut Env) -> Outcome {
    env.not_in_bochs("Bochs opens no window at the entry")?;
    const WINDOW: u64 = sel4_abi::vcpu::CONTROL_INTERRUPT_WINDOW;
    let mut vm = halting(env)?;
    for control in (0..64).map(|bit| 1 << bit).chain([u64::MAX, !WINDOW]) {
        ready(&vm)?;
        vm.set(vmcb::RFLAGS, 0x202)?;
        (vm.rip, vm.event, vm.control) = (HALTS as u64, 0, control);
        let code = if control & WINDOW != 0 { exit::VINTR } else { exit::HLT };
        vm.expect(code)?;
    }
    Ok(())
}
