// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use crate::random::Random;
use std::vec::Vec;

fn enabled() -> LocalApic {
    let mut apic = LocalApic::new();
    apic.write_page(r::SPURIOUS, 4, 0x1ff, 0);
    apic
}
fn x2() -> LocalApic {
    let mut apic = enabled();
    apic.set_base(apic.base() | BASE_X2APIC).unwrap();
    apic
}
fn eoi(apic: &mut LocalApic) {
    apic.write_page(r::EOI, 4, 0, 0);
}

#[test]
fn reset_state() {
    let apic = LocalApic::new();
    assert_eq!(apic.base(), 0xfee0_0900);
    assert_eq!(apic.read_page(r::SPURIOUS, 4, 0), 0xff);
    assert_eq!(apic.read_page(r::VERSION, 4, 0), 0x5_0014);
    for offset in (r::LVT_TIMER..=r::LVT_ERROR).step_by(16) {
        assert_eq!(apic.read_page(offset, 4, 0), MASKED);
    }
    assert_eq!(apic.read_page(r::ID, 2, 0), 0);
}

#[test]
fn disabled_takes_nothing() {
    let mut apic = LocalApic::new();
    assert!(!apic.raise(0x40));
    apic.write_page(r::SPURIOUS, 4, 0x1ff, 0);
    assert!(apic.raise(0x40));
    assert!(!apic.raise(15));
    apic.set_base(0xfee0_0100).unwrap();
    assert_eq!((apic.pending(), apic.raise(0x40)), (None, false));
    assert_eq!(apic.read_page(r::VERSION, 4, 0), u32::MAX);
}

#[test]
fn priorities() {
    let mut apic = enabled();
    apic.raise(0x41);
    apic.raise(0x52);
    assert_eq!(apic.pending(), Some(0x52));
    apic.accept(0x52);
    assert_eq!(apic.pending(), None);
    assert_eq!(apic.read_page(r::PROCESSOR_PRIORITY, 4, 0), 0x50);
    apic.raise(0x53);
    assert_eq!(apic.pending(), None, "same class waits");
    apic.raise(0x60);
    assert_eq!(apic.pending(), Some(0x60));
    apic.accept(0x60);
    eoi(&mut apic);
    assert_eq!(apic.pending(), None);
    eoi(&mut apic);
    assert_eq!(apic.pending(), Some(0x53));
    apic.write_page(r::TASK_PRIORITY, 4, 0x50, 0);
    assert_eq!(apic.pending(), None);
    apic.write_page(r::TASK_PRIORITY, 4, 0x4f, 0);
    assert_eq!(apic.pending(), Some(0x53));
    assert_eq!(apic.read_page(r::REQUEST + 0x20, 4, 0), 1 << 1 | 1 << 19);
}

#[test]
fn self_messages() {
    let mut apic = enabled();
    apic.write_page(r::COMMAND, 4, 0x0004_0055, 0);
    assert_eq!(apic.pending(), Some(0x55));
    apic.write_page(r::COMMAND_HIGH, 4, 1 << 24, 0);
    apic.write_page(r::COMMAND, 4, 0x66, 0);
    apic.write_page(r::COMMAND, 4, 0x000c_0067, 0);
    apic.write_page(r::COMMAND, 4, 0x0004_0568, 0);
    assert_eq!(apic.pending(), Some(0x55), "to another CPU, to all but self, INIT");
    apic.write_page(r::COMMAND_HIGH, 4, 0, 0);
    apic.write_page(r::COMMAND, 4, 0x69, 0);
    assert_eq!(apic.pending(), Some(0x69));
    let mut apic = x2();
    apic.write_msr(0x83f, 0x70, 0).unwrap();
    assert_eq!(apic.pending(), Some(0x70));
    apic.write_msr(0x830, 0x71, 0).unwrap();
    assert_eq!(apic.pending(), Some(0x71));
    apic.write_msr(0x830, 1 << 32 | 0x80, 0).unwrap();
    assert_eq!(apic.pending(), Some(0x71));
    assert_eq!(apic.read_msr(0x830, 0), Ok(1 << 32 | 0x80));
}

#[test]
fn modes_and_their_faults() {
    let mut apic = enabled();
    assert_eq!(apic.read_msr(0x803, 0), Err(Fault));
    assert_eq!(apic.set_base(0xfee0_1900), Err(Fault));
    assert_eq!(apic.set_base(0xfee0_0d01), Err(Fault));
    apic.set_base(0xfee0_0d00).unwrap();
    assert_eq!(apic.read_msr(0x803, 0), Ok(0x5_0014));
    assert_eq!(apic.set_base(0xfee0_0900), Err(Fault));
    for msr in [0x80b, 0x80e, 0x831, 0x83f, 0x804, 0x840, 0x8ff] {
        assert_eq!(apic.read_msr(msr, 0), Err(Fault), "{msr:x}");
    }
    for msr in [0x802, 0x803, 0x80a, 0x80d, 0x810, 0x839, 0x8ff] {
        assert_eq!(apic.write_msr(msr, 0, 0), Err(Fault), "{msr:x}");
    }
    assert_eq!(apic.write_msr(0x80b, 1, 0), Err(Fault));
    assert_eq!(apic.write_msr(0x808, 0x100, 0), Err(Fault));
    assert_eq!(apic.write_msr(0x838, 1 << 32, 0), Err(Fault));
    apic.set_base(0xfee0_0100).unwrap();
    assert_eq!(apic.set_base(0xfee0_0d00), Err(Fault));
    apic.set_base(0xfee0_0900).unwrap();
    assert_eq!(apic.read_page(r::SPURIOUS, 4, 0), 0xff);
}

#[test]
fn timer_interrupts() {
    let mut apic = enabled();
    apic.write_page(r::DIVIDE, 4, 0xb, 0);
    apic.write_page(r::LVT_TIMER, 4, 0x40, 0);
    apic.write_page(r::INITIAL_COUNT, 4, 1000, 100);
    assert_eq!(apic.deadline(), Some(1100));
    apic.tick(1099);
    assert_eq!(apic.pending(), None);
    apic.tick(1100);
    assert_eq!((apic.pending(), apic.deadline()), (Some(0x40), None));
    apic.accept(0x40);
    eoi(&mut apic);
    // Masking after it ran out doesn't unmake the interrupt.
    apic.write_page(r::INITIAL_COUNT, 4, 1000, 2000);
    apic.write_page(r::LVT_TIMER, 4, 0x1_0040, 3500);
    assert_eq!((apic.pending(), apic.deadline()), (Some(0x40), None));
    // Masked before: none.
    apic.accept(0x40);
    eoi(&mut apic);
    apic.write_page(r::INITIAL_COUNT, 4, 1000, 4000);
    apic.tick(6000);
    assert_eq!(apic.pending(), None);
    // TSC-deadline mode isn't there.
    apic.write_page(r::LVT_TIMER, 4, 0x4_0041, 6000);
    assert_eq!(apic.read_page(r::LVT_TIMER, 4, 6000), 0x41);
    apic.write_page(r::LVT_TIMER, 4, 0x2_0041, 6000);
    apic.write_page(r::INITIAL_COUNT, 4, 100_000, 6000);
    apic.tick(106_000);
    assert_eq!((apic.pending(), apic.deadline()), (Some(0x41), Some(206_000)));
    apic.write_page(r::SPURIOUS, 4, 0xff, 106_000);
    assert_eq!(apic.deadline(), None, "software-disabling masks");
}

/// Random raising, accepting and ending against a plain model: each raise that wasn't merged is delivered once.
#[test]
fn no_interrupt_is_lost_or_doubled() {
    let mut random = Random(0xdead_beef_1234_5679);
    let mut next = || random.next();
    let mut apic = enabled();
    let mut waiting = [false; 256];
    let mut service: Vec<u8> = Vec::new();
    let (mut raised, mut delivered) = (0u64, 0u64);
    for _ in 0..200_000 {
        match next() % 4 {
            0 | 1 => {
                let vector = (next() % 240 + 16) as u8;
                assert!(apic.raise(vector));
                raised += u64::from(!waiting[usize::from(vector)]);
                waiting[usize::from(vector)] = true;
            }
            2 => {
                let expected = (16..=255u8).rev().find(|&v| waiting[usize::from(v)]);
                let floor = service.last().map_or(0, |v| v >> 4);
                let expected = expected.filter(|v| v >> 4 > floor);
                assert_eq!(apic.pending(), expected);
                if let Some(vector) = expected {
                    apic.accept(vector);
                    waiting[usize::from(vector)] = false;
                    service.push(vector);
                    delivered += 1;
                }
            }
            _ => {
                eoi(&mut apic);
                service.pop();
            }
        }
    }
    while !service.is_empty() || apic.pending().is_some() {
        while let Some(vector) = apic.pending() {
            apic.accept(vector);
            service.push(vector);
            delivered += 1;
        }
        eoi(&mut apic);
        service.pop();
    }
    assert_eq!((raised, delivered), (delivered, apic.delivered()));
}
