// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use crate::random::Random;
use iced_x86::{Code, Decoder, DecoderOptions, Mnemonic, OpKind, Register as Iced};

struct File([u64; 16]);
impl RegisterFile for File {
    fn get(&self, index: u8) -> u64 {
        self.0[usize::from(index)]
    }
    fn set(&mut self, index: u8, value: u64) {
        self.0[usize::from(index)] = value;
    }
}

fn d(bytes: &[u8]) -> Option<Instruction> {
    decode(bytes, Mode::Bits64)
}

#[test]
fn common_forms() {
    // mov eax, [rdi+0x20]; mov [rdi+0xb0], esi; mov dword [0xfee000b0], 0; movzx ecx, byte [rax]
    let load = d(&[0x8b, 0x47, 0x20]).unwrap();
    assert_eq!((load.length, load.width), (3, 4));
    let mut file = File([u64::MAX; 16]);
    load.loaded(&mut file, 0x1234_5678);
    assert_eq!(file.0[0], 0x1234_5678);
    let store = d(&[0x89, 0xb7, 0xb0, 0, 0, 0]).unwrap();
    assert_eq!(store.stored(&file), Some(0xffff_ffff));
    assert_eq!(store.action, Move::Store(Register { index: 6, high: false }));
    let constant = d(&[0xc7, 0x04, 0x25, 0xb0, 0x00, 0xe0, 0xfe, 7, 0, 0, 0x80]).unwrap();
    assert_eq!((constant.length, constant.stored(&file)), (11, Some(0x8000_0007)));
    let wide = d(&[0x48, 0xc7, 0x00, 0xff, 0xff, 0xff, 0xff]).unwrap();
    assert_eq!(wide.stored(&file), Some(u64::MAX));
    d(&[0x0f, 0xb6, 0x08]).unwrap().loaded(&mut file, 0x80);
    assert_eq!(file.0[1], 0x80);
    d(&[0x48, 0x0f, 0xbe, 0x08]).unwrap().loaded(&mut file, 0x80);
    assert_eq!(file.0[1], 0xffff_ffff_ffff_ff80);
}

#[test]
fn narrow_loads_keep_the_rest() {
    let mut file = File([0x1111_2222_3333_4444; 16]);
    d(&[0x8a, 0x20]).unwrap().loaded(&mut file, 0xab); // mov ah, [rax]
    assert_eq!(file.0[0], 0x1111_2222_3333_ab44);
    d(&[0x66, 0x8b, 0x10]).unwrap().loaded(&mut file, 0xffff_beef); // mov dx, [rax]
    assert_eq!(file.0[2], 0x1111_2222_3333_beef);
    assert_eq!(d(&[0x88, 0x20]).unwrap().stored(&file), Some(0xab)); // mov [rax], ah
    assert_eq!(d(&[0x40, 0x88, 0x20]).unwrap().stored(&file), Some(0x44)); // mov [rax], spl
    assert!(d(&[0x40, 0x88, 0x20]).unwrap().uses_stack_pointer());
    assert!(!d(&[0x88, 0x20]).unwrap().uses_stack_pointer());
}

#[test]
fn everything_else_is_refused() {
    let refused: [&[u8]; 9] = [
        &[0x01, 0x08],             // add [rax], ecx
        &[0x87, 0x08],             // xchg
        &[0xf0, 0x89, 0x08],       // lock mov
        &[0xa4],                   // movsb
        &[0xc7, 0x48, 0, 0, 0, 0], // c7 /1
        &[0x8b, 0xc0],             // register to register
        &[0x0f, 0x11, 0x00],       // movups
        &[0x8b, 0x47],             // cut off
        &[],
    ];
    for bytes in refused {
        assert_eq!(d(bytes), None, "{bytes:x?}");
    }
    assert_eq!(d(&[0x66; 15]), None);
    assert_eq!(
        d(&[0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x8b, 0x00]),
        None
    );
}

#[test]
fn lengths_of_intercepted_instructions() {
    let cpuid = [0x0f, 0xa2];
    assert_eq!(length_of(&[0x0f, 0xa2, 0x90], Mode::Bits64, &cpuid), Some(2));
    assert_eq!(length_of(&[0x66, 0x48, 0x0f, 0xa2], Mode::Bits64, &cpuid), Some(4));
    assert_eq!(length_of(&[0x48, 0x0f, 0xa2], Mode::Bits32, &cpuid), None);
    assert_eq!(length_of(&[0x0f], Mode::Bits64, &cpuid), None);
    assert_eq!(length_of(&[0xf4], Mode::Bits16, &[0xf4]), Some(1));
}

#[test]
fn control_registers() {
    let decode = |bytes: &[u8], mode, number| {
        move_control(bytes, mode, number).map(|MoveControl { length, register }| (length, register))
    };
    // mov rax, cr8; mov cr8, r9; mov ebx, cr8 by LOCK; mov rax, cr0; mov cr4, rdx; mov cr4, esi
    assert_eq!(decode(&[0x44, 0x0f, 0x20, 0xc0], Mode::Bits64, 8), Some((4, 0)));
    assert_eq!(decode(&[0x45, 0x0f, 0x22, 0xc1, 0x90], Mode::Bits64, 8), Some((4, 9)));
    assert_eq!(decode(&[0xf0, 0x0f, 0x20, 0xc3], Mode::Bits32, 8), Some((4, 3)));
    assert_eq!(decode(&[0x0f, 0x20, 0xc0], Mode::Bits64, 8), None);
    assert_eq!(decode(&[0x44, 0x0f, 0x20], Mode::Bits64, 8), None);
    assert_eq!(decode(&[0x0f, 0x22, 0xe2], Mode::Bits64, 4), Some((3, 2)));
    assert_eq!(decode(&[0x0f, 0x22, 0xe6], Mode::Bits32, 4), Some((3, 6)));
    assert_eq!(decode(&[0x44, 0x0f, 0x22, 0xe0], Mode::Bits64, 4), None);
}

fn bytes_of(kind: OpKind, register: Iced) -> usize {
    match kind {
        OpKind::Register => register.size(),
        _ => 0,
    }
}

/// The judge: what `iced-x86` says about the same bytes.
fn judge(bytes: &[u8], mode: Mode, bits: u32) {
    let mut decoder = Decoder::new(bits, bytes, DecoderOptions::NONE);
    let theirs = decoder.decode();
    let ours = decode(bytes, mode);
    let family = matches!(theirs.mnemonic(), Mnemonic::Mov | Mnemonic::Movzx | Mnemonic::Movsx | Mnemonic::Movsxd)
        && (theirs.op0_kind() == OpKind::Memory || theirs.op1_kind() == OpKind::Memory)
        && !theirs.is_invalid()
        // MOV to and from segment registers isn't offered.
        && !matches!(theirs.code(), Code::Mov_rm16_Sreg | Code::Mov_r32m16_Sreg | Code::Mov_r64m16_Sreg
            | Code::Mov_Sreg_rm16 | Code::Mov_Sreg_r32m16 | Code::Mov_Sreg_r64m16);
    assert_eq!(ours.is_some(), family, "{bytes:x?} {mode:?} {theirs:?} {ours:?}");
    let Some(ours) = ours else { return };
    assert_eq!(usize::from(ours.length), theirs.len(), "{bytes:x?}");
    assert_eq!(usize::from(ours.width), theirs.memory_size().size(), "{bytes:x?} {theirs:?}");
    let check = |register: Register, width: usize, iced: Iced| {
        assert_eq!(width, iced.size(), "{bytes:x?} {theirs:?}");
        let high = matches!(iced, Iced::AH | Iced::BH | Iced::CH | Iced::DH);
        assert_eq!(register.high, high, "{bytes:x?}");
        assert_eq!(usize::from(register.index), iced.full_register().number(), "{bytes:x?} {theirs:?}");
    };
    match ours.action {
        Move::Load { to, bytes: width, extend } => {
            check(to, usize::from(width), theirs.op0_register());
            assert_eq!(bytes_of(theirs.op0_kind(), theirs.op0_register()), usize::from(width));
            let sign = matches!(theirs.mnemonic(), Mnemonic::Movsx | Mnemonic::Movsxd);
            assert_eq!(extend == Extend::Sign, sign);
        }
        Move::Store(from) => check(from, usize::from(ours.width), theirs.op1_register()),
        Move::StoreImmediate(value) => {
            assert_eq!(value & mask(ours.width), theirs.immediate(1) & mask(ours.width))
        }
    }
}

#[test]
fn agrees_with_a_full_decoder_on_random_bytes() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut next = || random.next();
    let opcodes =
        [0x88, 0x89, 0x8a, 0x8b, 0xa0, 0xa1, 0xa2, 0xa3, 0xc6, 0xc7, 0x63, 0x0f, 0x8c, 0x8e, 0x66, 0x67];
    let seconds = [0xb6, 0xb7, 0xbe, 0xbf];
    let prefixes = [0x66, 0x67, 0x48, 0x41, 0x4f, 0x40, 0x2e, 0x65, 0xf2, 0xf3, 0xf0, 0x44];
    for round in 0..400_000 {
        let mut bytes = [0u8; 15];
        for byte in &mut bytes {
            *byte = next() as u8;
        }
        let mut at = 0;
        for _ in 0..next() % 4 {
            bytes[at] = prefixes[(next() % 12) as usize];
            at += 1;
        }
        if round % 4 != 0 {
            bytes[at] = opcodes[(next() % 16) as usize];
            if bytes[at] == 0x0f {
                bytes[at + 1] = seconds[(next() % 4) as usize];
            } else if matches!(bytes[at], 0xc6 | 0xc7) && next() % 2 == 0 {
                bytes[at + 1] &= !0x38;
            }
        }
        let cut = if next() % 8 == 0 { (next() % 16) as usize } else { 15 };
        for (mode, bits) in [(Mode::Bits16, 16), (Mode::Bits32, 32), (Mode::Bits64, 64)] {
            judge(&bytes[..cut.min(15)], mode, bits);
        }
    }
}

#[test]
fn the_cache_compares_bytes() {
    let mut cache = Cache::new();
    let load = u128::from_le_bytes([0x8b, 0x07, 0x90, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let store = u128::from_le_bytes([0x89, 0x07, 0x90, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let first = cache.decode(0x1000, load, 15, Mode::Bits64).unwrap();
    assert_eq!(cache.decode(0x1000, load | 0xff << 32, 15, Mode::Bits64), Some(first));
    assert!(matches!(cache.decode(0x1000, store, 15, Mode::Bits64).unwrap().action, Move::Store(_)));
    assert_eq!(cache.decode(0x1000, store, 1, Mode::Bits64), None);
    let wide = u128::from_le_bytes([0x48, 0x8b, 0x07, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert!(cache.decode(0x1000, wide, 15, Mode::Bits64).is_some());
    assert_eq!(cache.decode(0x1000, wide, 15, Mode::Bits32), None);
}
