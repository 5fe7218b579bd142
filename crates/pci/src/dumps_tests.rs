// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices as the emulator's configuration spaces show them, each judged byte by byte: every byte that a guest reads is one that
//! is promised here.

use std::vec::Vec as List;

use super::tests::{list, view};
use super::*;
use crate::testing::Machine;

const AT: &str = "01:00.0";

/// A device from its dump, with the sizes of its BARs.
fn device(dump: &str, bars: &[(u16, u64)]) -> (Machine, Address) {
    let machine = Machine::new();
    let at = machine.dump(AT, dump);
    for &(index, size) in bars {
        let register = 0x10 + 4 * index;
        let low = machine.read32(at, register);
        let high = if low & 7 == 4 { machine.read32(at, register + 4) } else { 0 };
        let (flags, base) = if low & 1 != 0 { (low & 3, low & !3) } else { (low & 0xf, low & !0xf) };
        machine.bar(at, index, flags, u64::from(high) << 32 | u64::from(base), size);
    }
    (machine, at)
}

/// The words from 0x40 on that a guest doesn't read as zero.
fn shown(view: &View) -> List<(u16, u32)> {
    let word = |offset| (offset, view.read(offset, Width::Dword).unwrap());
    (0x40..0x1000).step_by(4).map(word).filter(|(_, word)| *word != 0).collect()
}

/// The words that a guest can change, and which bits of them.
fn changeable(view: &View) -> List<(u16, u32)> {
    let word = |at: usize| u32::from_le_bytes(view.writable[at..at + 4].try_into().unwrap());
    (0..SIZE).step_by(4).map(|at| (at as u16, word(at))).filter(|(_, mask)| *mask != 0).collect()
}

/// What every function's header lets the guest change.
const HEADER: [(u16, u32); 3] = [(4, 0x406), (0xc, 0xff), (0x3c, 0xff)];

fn changes_only(view: &View, words: &[(u16, u32)]) {
    let known = |at: &u16| words.iter().any(|(offset, _)| offset == at);
    let header = HEADER.iter().filter(|(offset, _)| !known(offset));
    let mut expected: List<_> = header.chain(words).copied().collect();
    expected.sort_unstable();
    assert_eq!(changeable(view), expected);
}

const XHCI_BAR: [(u16, u64); 1] = [(0, 0x4000)];

#[test]
fn virtio_net() {
    let (machine, at) = device(include_str!("dumps/virtio-net.txt"), &[(1, 0x1000), (4, 0x4000)]);
    let view = view(&machine, at, 3);
    // Not the door to the BARs at 0xc8.
    assert_eq!(list(&view), [0xdc, 0xb4, 0xa4, 0x94, 0x84, 0x7c, 0x40]);
    let places =
        [(0x84, 0x0110_7c09), (0x88, 4), (0x90, 0x1000), (0x94, 0x0310_8409), (0x98, 4), (0x9c, 0x1000)];
    let more = [(0xa0, 0x1000), (0xa4, 0x0410_9409), (0xa8, 4), (0xac, 0x2000), (0xb0, 0x1000)];
    let notify = [(0xb4, 0x0214_a409), (0xb8, 4), (0xbc, 0x3000), (0xc0, 0x1000), (0xc4, 4)];
    let first = [(0x40, 0x0092_0010), (0x44, 0x1000_8000), (0x7c, 0x0003_4001), (0x80, 8)];
    let msix = [(0xdc, 0x0002_b411), (0xe0, 1), (0xe4, 0x801)];
    assert_eq!(shown(&view), [&first[..], &places, &more, &notify, &msix].concat());
    let bars = [(0x14, 0xffff_f000), (0x20, 0xffff_c000), (0x24, 0xffff_ffff)];
    changes_only(&view, &[&bars[..], &[(0x48, 0x7fff), (0xdc, 0xc000_0000)]].concat());
}

#[test]
fn e1000e() {
    let bars = [(0, 0x2_0000), (1, 0x2_0000), (2, 32), (3, 0x4000)];
    let (machine, at) = device(include_str!("dumps/e1000e.txt"), &bars);
    let view = view(&machine, at, 32);
    // MSI-X is there, so MSI isn't.
    assert_eq!(list(&view), [0xc8, 0xe0, 0xa0]);
    let messages = [(0xa0, 0x0004_0011), (0xa4, 3), (0xa8, 0x2003)];
    let rest = [(0xc8, 0x0022_e001), (0xcc, 8), (0xe0, 0x0091_a010), (0xe4, 0x8000)];
    // Error reporting is hidden, but the list begins where it was.
    let serial = [(0x100, 0x1400_0000), (0x140, 0x0001_0003), (0x144, 0xff12_3457), (0x148, 0x5254_00ff)];
    assert_eq!(shown(&view), [&messages[..], &rest, &serial].concat());
    assert_eq!(view.read(0x146, Width::Word), Some(0xff12));
    assert_eq!(view.read(0x18, Width::Dword), Some(1), "the I/O BAR");
    // Which the command register turns on.
    let bars = [(4, 0x407), (0x10, 0xfffe_0000), (0x14, 0xfffe_0000), (0x18, 0xffe0), (0x1c, 0xffff_c000)];
    changes_only(&view, &[&bars[..], &[(0xa0, 0xc000_0000), (0xe8, 0x7fff)]].concat());
}

#[test]
fn nvme() {
    let (machine, at) = device(include_str!("dumps/nvme.txt"), &[(0, 0x4000)]);
    let view = view(&machine, at, 4);
    assert_eq!(list(&view), [0x40, 0x80, 0x60]);
    let messages = [(0x40, 0x0003_8011), (0x44, 0x2000), (0x48, 0x3000)];
    let rest = [(0x60, 0x0003_0001), (0x64, 8), (0x80, 0x0092_6010), (0x84, 0x1000_8000)];
    assert_eq!(shown(&view), [&messages[..], &rest].concat());
    changes_only(&view, &[(0x10, 0xffff_c000), (0x14, !0), (0x40, 0xc000_0000), (0x88, 0x7fff)]);
}

#[test]
fn qemu_xhci() {
    let (machine, at) = device(include_str!("dumps/qemu-xhci.txt"), &XHCI_BAR);
    let view = view(&machine, at, 16);
    let messages = [(0x90, 0x000f_a011), (0x94, 0x3000), (0x98, 0x3800)];
    // 0x60 is a register outside the capabilities.
    assert_eq!(shown(&view), [&messages[..], &[(0xa0, 0x0092_0010), (0xa4, 0x8000)]].concat());
    changes_only(&view, &[(0x10, 0xffff_c000), (0x14, !0), (0x90, 0xc000_0000), (0xa8, 0x7fff)]);
}

#[test]
fn nec_usb_xhci_without_msix() {
    let (machine, at) = device(include_str!("dumps/nec-usb-xhci.txt"), &XHCI_BAR);
    machine.set8(at, register::CAPABILITIES, 0xa0);
    let view = view(&machine, at, 11);
    assert_eq!(list(&view), [0xa0, 0x70]);
    // Eight of sixteen messages: MSI has powers of two only.
    assert_eq!(shown(&view), [(0x70, 0x0086_0005), (0xa0, 0x0092_7010), (0xa4, 0x8000)]);
    let msi = [(0x70, 0x0071_0000), (0x74, !3), (0x78, !0), (0x7c, 0xffff)];
    changes_only(&view, &[&[(0x10, 0xffff_c000), (0x14, !0)][..], &msi, &[(0xa8, 0x7fff)]].concat());
}

/// An unknown capability, ATS and SR-IOV in the lists of a device: none of it is seen, nor does it hide what follows.
#[test]
fn the_unknown_is_passed_over() {
    let (machine, at) = device(include_str!("dumps/qemu-xhci.txt"), &XHCI_BAR);
    for id in (0..=0xfe).filter(|id| ![1, 5, 9, 0x10, 0x11, 0x13].contains(id)) {
        machine.capabilities(at, &[(0xe0, id), (0x90, id::MSI_X), (0xa0, id::EXPRESS)]);
        machine.set32(at, 0xe4, u32::MAX);
        assert_eq!(list(&view(&machine, at, 16)), [0x90, 0xa0], "{id:#x}");
        assert_eq!(view(&machine, at, 16).read(0xe4, Width::Dword), Some(0));
    }
    for id in (0..0x40).filter(|id| *id != 3) {
        machine.set32(at, 0x100, 0x1401_0000 | id);
        machine.set32(at, 0x104, u32::MAX);
        machine.set32(at, 0x140, 0x0001_000f);
        assert_eq!(
            shown(&view(&machine, at, 16)).iter().find(|(offset, _)| *offset >= 0x100),
            None,
            "{id:#x}"
        );
    }
}
