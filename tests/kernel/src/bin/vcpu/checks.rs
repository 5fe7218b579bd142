// SPDX-License-Identifier: MIT OR Apache-2.0
//! One guest at a time, run by the initial thread.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::code::entry;
use crate::vm::{End, INTERRUPT, REFUSED_EVENT, Vm, exit, reg};
use kernel_tests::{Env, Failure, Outcome, check, check_eq, expect_error, expect_reply};
use sel4::init_thread::slot;
use sel4::{CapRights, EptVmAttributes, Error, Fault, VCpuContext, cap};
use sel4_abi::{label, vcpu, vmcb};

/// Ticks of an exit to the VMM and back, at best: CPUID, OUT. 0 until measured.
pub static TICKS: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

kernel_tests::checks! {
    cpuid_is_answered_with_one_call,
    registers_are_read_as_the_guest_left_them,
    port_exits_tell_size_direction_and_length,
    efer_is_the_vmms,
    nested_fault_tells_address_and_access,
    page_without_execution_is_read_but_not_executed,
    unmapped_page_faults_again,
    read_only_page_faults_on_write,
    halt_ends_with_an_injected_interrupt,
    interrupt_window_opens_when_interrupts_do,
    instruction_interrupt_is_delivered_once,
    injected_interrupt_is_delivered_once,
    debug_registers_belong_to_the_guest,
    avx_survives_another_guest,
    xcr0_of_threads_stays,
    sse_of_the_vmm_survives,
    triple_fault_is_shutdown,
    fresh_vcpu_is_at_the_reset_vector,
    own_port_does_not_exit,
    deleted_port_capability_closes_its_ports,
    io_permission_map_is_attached_once,
    hidden_fields_do_not_exist,
    fields_are_fixed,
    other_backends_methods_are_refused,
    guest_msrs_by_number,
    spoilt_state_is_refused_with_poisoned_registers,
    spoilt_event_is_refused_with_poisoned_registers,
    exits_are_cheap,
}

const RO: CapRights = CapRights::read_only();
const RW: CapRights = CapRights::read_write();

/// Answers the CPUID exit as `guest.s` wants it.
fn answer_cpuid(vm: &mut Vm) -> Outcome {
    vm.registers[reg::RAX] = 0x01010101;
    vm.registers[reg::RBX] = 0x02020202;
    vm.registers[reg::RCX] = 0x03030303;
    vm.registers[reg::RDX] = 0x04040404;
    vm.skip(2)
}

fn cpuid_is_answered_with_one_call(env: &mut Env) -> Outcome {
    let mut vm = Vm::bound(env, 0, entry::guest_cpuid())?;
    vm.expect(exit::CPUID)?;
    check_eq!(vm.registers[reg::RAX], 0x11223344, "RAX");
    answer_cpuid(&mut vm)?;
    vm.expect_done()
}

fn registers_are_read_as_the_guest_left_them(env: &mut Env) -> Outcome {
    let mut vm = Vm::bound(env, 0, entry::guest_cpuid())?;
    let written = core::array::from_fn(|n| 0x1111_1111_0000_0000 * (n as u64 + 1));
    vm.vcpu.vcpu_write_registers(&VCpuContext::from_words(written))?;
    check_eq!(vm.vcpu.vcpu_read_registers()?.to_words(), written, "as written");
    vm.registers = written;
    vm.expect(exit::CPUID)?;
    check_eq!(vm.registers[reg::RAX], 0x11223344, "RAX");
    let read = vm.vcpu.vcpu_read_registers()?.to_words();
    check_eq!(read, vm.registers, "as at the exit");
    check_eq!(read[14], written[14], "R15");
    // What the VMM wants them to be is theirs at the next entry only, and reading has changed nothing.
    answer_cpuid(&mut vm)?;
    check_eq!(vm.vcpu.vcpu_read_registers()?.rax, 0x11223344, "RAX before the next entry");
    vm.expect_done()
}

/// EXITINFO1 without the size of addresses, which emulators tell of string instructions only, or of all.
fn port_access(vm: &Vm) -> u64 {
    vm.word(vcpu::MR_EXIT_INFO1) & !0x380
}

fn port_exits_tell_size_direction_and_length(env: &mut Env) -> Outcome {
    let mut vm = Vm::bound(env, 0, entry::guest_ports())?;
    vm.expect(exit::IOIO)?;
    check_eq!(port_access(&vm), 0x3f8_0010, "EXITINFO1 of OUT");
    check_eq!(vm.registers[reg::RAX], 0x41, "the byte");
    vm.skip(1)?;
    vm.expect(exit::IOIO)?;
    check_eq!(port_access(&vm), 0x3f8_0011, "EXITINFO1 of IN");
    vm.registers[reg::RAX] = 0x5a;
    vm.skip(1)?;
    vm.expect(exit::IOIO)?;
    check_eq!(vm.word(vcpu::MR_EXIT_INFO1) & 0xffff_00ff, 0x60_0021, "EXITINFO1 of a 16-bit IN");
    vm.registers[reg::RAX] = 0x1234;
    vm.skip(3)?;
    vm.expect_done()
}

fn efer_is_the_vmms(env: &mut Env) -> Outcome {
    let mut vm = Vm::bound(env, 0, entry::guest_msrs())?;
    vm.expect_call(9)?;
    check_eq!(vm.vcpu.vcpu_read_vmcb(vmcb::LSTAR)?, 0x12345678, "LSTAR");
    check_eq!(vm.vcpu.vcpu_read_vmcb(vmcb::KERNEL_GS_BASE)?, 0x77777000, "KernelGSBase");
    vm.expect(exit::MSR)?;
    check_eq!(vm.registers[reg::RCX], 0xc000_0080, "the MSR");
    check_eq!(vm.word(vcpu::MR_EXIT_INFO1), 0, "EXITINFO1 of RDMSR");
    vm.registers[reg::RAX] = 0xd00;
    vm.registers[reg::RDX] = 0;
    vm.skip(2)?;
    vm.expect_done()
}

fn nested_fault_tells_address_and_access(env: &mut Env) -> Outcome {
    let mut vm = Vm::bound(env, 0, entry::guest_memory())?;
    vm.expect(exit::NESTED_PAGE_FAULT)?;
    check_eq!(vm.word(vcpu::MR_EXIT_INFO2), 0x3000_0008, "the guest-physical address");
    check_eq!(vm.word(vcpu::MR_EXIT_INFO1) & 0x1f, 4, "the error code");
    check_eq!(vm.word(vcpu::MR_CR3), 0x1000, "CR3");
    vm.map(env, 0x3000_0000, RW)?;
    vm.expect(exit::VMMCALL)?;
    check_eq!(vm.registers[reg::RCX], 0x1122_3344_5566_7788, "what the guest read");
    Ok(())
}

fn unmapped_page_faults_again(env: &mut Env) -> Outcome {
    let mut vm = Vm::bound(env, 0, entry::guest_memory())?;
    let frame = vm.map(env, 0x3000_0000, RW)?;
    vm.expect(exit::VMMCALL)?;
    frame.frame_unmap()?;
    vm.skip(3)?;
    vm.expect(exit::NESTED_PAGE_FAULT)?;
    check_eq!(vm.word(vcpu::MR_EXIT_INFO2), 0x3000_0008, "the guest-physical address");
    Ok(())
}

fn read_only_page_faults_on_write(env: &mut Env) -> Outcome {
    let mut vm = Vm::bound(env, 0, entry::guest_write())?;
    vm.map(env, 0x3000_0000, RO)?;
    vm.expect(exit::NESTED_PAGE_FAULT)?;
    check_eq!(vm.word(vcpu::MR_EXIT_INFO1) & 0x1f, 7, "the error code");
    Ok(())
}

fn page_without_execution_is_read_but_not_executed(env: &mut Env) -> Outcome {
    const RET: u64 = 0xc3;
    let mut vm = Vm::bound(env, 0, entry::guest_execute())?;
    let frame = vm.page(env, RET)?;
    for attributes in [EptVmAttributes::DEFAULT, EptVmAttributes::UNCACHEABLE] {
        frame.frame_map_ept(vm.root, 0x3000_0000, RW, attributes.without_execution())?;
        vm.expect(exit::NESTED_PAGE_FAULT)?;
        check_eq!(vm.registers[reg::RCX], RET, "what the guest read");
        check_eq!(vm.word(vcpu::MR_EXIT_INFO2), 0x3000_0008, "the guest-physical address");
        check_eq!(vm.word(vcpu::MR_EXIT_INFO1) & 0x1f, 0x15, "the error code");
        frame.frame_unmap()?;
    }
    frame.frame_map_ept(vm.root, 0x3000_0000, RW, EptVmAttributes::DEFAULT)?;
    vm.expect_done()
}

fn halt_ends_with_an_injected_interrupt(env: &mut Env) -> Outcome {
    let mut vm = Vm::bound(env, 0, entry::guest_halt())?;
    vm.expect(exit::HLT)?;
    check!(vm.word(vcpu::MR_RFLAGS) & 1 << 9 != 0, "interrupts are off in HLT");
    vm.event = INTERRUPT;
    vm.skip(1)?;
    vm.expect_done()
}

fn interrupt_window_opens_when_interrupts_do(env: &mut Env) -> Outcome {
    let mut vm = Vm::bound(env, 0, entry::guest_window())?;
    vm.expect_call(5)?;
    vm.control = vcpu::CONTROL_INTERRUPT_WINDOW;
    vm.expect(exit::VINTR)?;
    check!(vm.word(vcpu::MR_RFLAGS) & 1 << 9 != 0, "interrupts are off in the window");
    check_eq!(vm.word(vcpu::MR_CONTROL), vcpu::CONTROL_INTERRUPT_WINDOW, "MR1");
    vm.event = INTERRUPT;
    vm.expect_done()
}

/// The handler's frame goes to a page that is not there yet.
fn instruction_interrupt_is_delivered_once(env: &mut Env) -> Outcome {
    env.not_in_bochs("Bochs tells of the event before")?;
    let mut vm = Vm::bound(env, 0, entry::guest_soft_interrupt())?;
    vm.expect(exit::NESTED_PAGE_FAULT)?;
    check_eq!(vm.event, 0, "the event, which INT n brings about again");
    vm.map(env, 0x3000_0000, RW)?;
    vm.expect_done()
}

fn injected_interrupt_is_delivered_once(env: &mut Env) -> Outcome {
    let mut vm = Vm::bound(env, 0, entry::guest_hard_interrupt())?;
    vm.expect_call(11)?;
    vm.event = INTERRUPT;
    vm.expect(exit::NESTED_PAGE_FAULT)?;
    check_eq!(vm.event, INTERRUPT, "the event to give back");
    vm.map(env, 0x3000_0000, RW)?;
    vm.expect_done()?;
    check_eq!(vm.peek(0x9000), 1, "the number of interrupts");
    Ok(())
}

fn debug_registers_belong_to_the_guest(env: &mut Env) -> Outcome {
    let mut a = Vm::bound(env, 0, entry::guest_debug())?;
    let mut b = Vm::new(env, 1, entry::guest_debug())?;
    a.expect_call(10)?;
    b.bind(slot::TCB.cap())?;
    b.expect_call(10)?;
    b.expect_done()?;
    a.bind(slot::TCB.cap())?;
    a.expect_done()
}

fn avx_survives_another_guest(env: &mut Env) -> Outcome {
    let mut a = Vm::bound(env, 0, entry::guest_avx())?;
    let mut b = Vm::new(env, 1, entry::guest_avx())?;
    a.allow_xsave()?;
    b.allow_xsave()?;
    a.expect_call_behind_xsetbv(8)?;
    check_eq!(a.vcpu.vcpu_read_vmcb(vmcb::XCR0)?, 7, "XCR0");
    b.bind(slot::TCB.cap())?;
    b.expect_call_behind_xsetbv(8)?;
    b.expect_done()?;
    a.bind(slot::TCB.cap())?;
    a.expect_done()
}

/// XCR0 as user level sees it.
fn xcr0() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a register; the kernel has set CR4.OSXSAVE where there is AVX.
    unsafe {
        core::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack))
    };
    u64::from(low) | u64::from(high) << 32
}

fn xcr0_of_threads_stays(env: &mut Env) -> Outcome {
    let mut vm = Vm::bound(env, 0, entry::guest_avx())?;
    vm.allow_xsave()?;
    check_eq!(xcr0(), 3, "XCR0 before");
    vm.expect_call_behind_xsetbv(8)?;
    check_eq!(xcr0(), 3, "XCR0 after");
    vm.set(vmcb::XCR0, 3)?;
    check_eq!(vm.vcpu.vcpu_write_vmcb(vmcb::XCR0, u64::MAX)?, 7, "XCR0 of all ones");
    vm.expect_done()
}

fn sse_of_the_vmm_survives(env: &mut Env) -> Outcome {
    const MARK: u64 = 0x5555_6666_7777_8888;
    let mut vm = Vm::bound(env, 0, entry::guest_avx())?;
    vm.allow_xsave()?;
    // SAFETY: the target's own code uses no SSE register.
    unsafe { core::arch::asm!("movq xmm7, {}", in(reg) MARK, options(nomem, nostack)) };
    vm.expect_call_behind_xsetbv(8)?;
    let found: u64;
    // SAFETY: as above.
    unsafe { core::arch::asm!("movq {}, xmm7", out(reg) found, options(nomem, nostack)) };
    check_eq!(found, MARK, "XMM7");
    vm.expect_done()
}

fn triple_fault_is_shutdown(env: &mut Env) -> Outcome {
    env.not_in_bochs("a guest's triple fault ends Bochs")?;
    let mut vm = Vm::bound(env, 0, entry::guest_triple_fault())?;
    vm.expect(exit::SHUTDOWN)
}

fn fresh_vcpu_is_at_the_reset_vector(env: &mut Env) -> Outcome {
    let mut vm = Vm::new(env, 0, 0xfff0)?;
    vm.vcpu = env.make()?;
    vm.bind(slot::TCB.cap())?;
    vm.expect(exit::NESTED_PAGE_FAULT)?;
    check_eq!(vm.word(vcpu::MR_EXIT_INFO2), 0xffff_fff0, "the address of the first fetch");
    Ok(())
}

/// Ports 0x80 and 0x81, as a capability in a fresh slot.
fn ports(env: &mut Env) -> Outcome<cap::IOPort> {
    let ports: cap::IOPort = env.empty()?;
    slot::IO_PORT_CONTROL.cap().ioport_control_issue(0x80, 0x81, &kernel_tests::env::at(ports))?;
    Ok(ports)
}

fn own_port_does_not_exit(env: &mut Env) -> Outcome {
    let mut vm = Vm::bound(env, 0, entry::guest_own_port())?;
    let ports = ports(env)?;
    expect_error(vm.vcpu.vcpu_enable_ioport(ports, 0x80, 0x80), Error::IllegalOperation, &[])?;
    let map: cap::IOPermissionMap = env.make()?;
    vm.vcpu.vcpu_set_io_permission_map(map)?;
    expect_error(vm.vcpu.vcpu_enable_ioport(ports, 0x80, 0x82), Error::InvalidArgument, &[1])?;
    vm.vcpu.vcpu_enable_ioport(ports, 0x80, 0x80)?;
    vm.expect(exit::IOIO)?;
    check_eq!(vm.word(vcpu::MR_EXIT_INFO1) >> 16, 0x81, "the port that exits");
    vm.rip = entry::guest_own_port();
    vm.vcpu.vcpu_disable_ioport(0, 0xffff)?;
    vm.expect(exit::IOIO)?;
    check_eq!(vm.word(vcpu::MR_EXIT_INFO1) >> 16, 0x80, "the port that exits now");
    // Deleting the map makes every port exit.
    vm.vcpu.vcpu_enable_ioport(ports, 0x80, 0x81)?;
    kernel_tests::env::at(map).delete()?;
    vm.rip = entry::guest_own_port();
    vm.expect(exit::IOIO)
}

fn deleted_port_capability_closes_its_ports(env: &mut Env) -> Outcome {
    let mut vm = Vm::bound(env, 0, entry::guest_own_port())?;
    let ports = ports(env)?;
    let copy = env.copy(ports, CapRights::all())?;
    let other: cap::VCpu = env.make()?;
    vm.vcpu.vcpu_set_io_permission_map(env.make()?)?;
    other.vcpu_set_io_permission_map(env.make()?)?;
    vm.vcpu.vcpu_enable_ioport(copy, 0x80, 0x81)?;
    expect_error(other.vcpu_enable_ioport(copy, 0x80, 0x80), Error::DeleteFirst, &[])?;
    other.vcpu_enable_ioport(ports, 0x80, 0x80)?;
    vm.expect_done()?;
    kernel_tests::env::at(copy).delete()?;
    vm.rip = entry::guest_own_port();
    vm.expect(exit::IOIO)?;
    check_eq!(vm.word(vcpu::MR_EXIT_INFO1) >> 16, 0x80, "the port that exits");
    Ok(())
}

fn io_permission_map_is_attached_once(env: &mut Env) -> Outcome {
    let a = Vm::new(env, 0, 0)?;
    let b: cap::VCpu = env.make()?;
    let map: cap::IOPermissionMap = env.make()?;
    let second: cap::IOPermissionMap = env.make()?;
    a.vcpu.vcpu_set_io_permission_map(map)?;
    expect_error(a.vcpu.vcpu_set_io_permission_map(second), Error::DeleteFirst, &[])?;
    expect_error(b.vcpu_set_io_permission_map(map), Error::DeleteFirst, &[])?;
    let wrong = cap::IOPermissionMap::from_bits(a.vcpu.bits());
    expect_error(b.vcpu_set_io_permission_map(wrong), Error::InvalidCapability, &[1])?;
    kernel_tests::env::at(a.vcpu).delete()?;
    b.vcpu_set_io_permission_map(map)?;
    Ok(())
}

fn hidden_fields_do_not_exist(env: &mut Env) -> Outcome {
    let vm = Vm::new(env, 0, 0)?;
    // Intercepts, permission maps, ASID, interrupt control, nested root, event injection; unaligned; past the end.
    for field in
        [0x0, 0xc, 0x10, 0x40, 0x48, 0x58, 0x60, 0x90, 0xa8, 0xb0, 0x401, 0x406, 0x4a0, 0x1008, u64::MAX]
    {
        expect_error(vm.vcpu.vcpu_read_vmcb(field), Error::IllegalOperation, &[])?;
        expect_error(vm.vcpu.vcpu_write_vmcb(field, 0), Error::IllegalOperation, &[])?;
    }
    Ok(())
}

fn fields_are_fixed(env: &mut Env) -> Outcome {
    let vm = Vm::new(env, 0, 0)?;
    let cases = [
        (vmcb::EFER, 0, 0x1000),
        (vmcb::CR0, 1 << 29 | 1 << 40, 0x10),
        (vmcb::CR3, u64::MAX, (1 << 40) - 1),
        (vmcb::DR7, u64::MAX, 0xffff_2fff),
        (vmcb::RFLAGS, 0, 2),
        (vmcb::LSTAR, 0x8000_0000_0000, 0xffff_8000_0000_0000),
        (vmcb::G_PAT, 0x0203_0405_0607_0809, 0x0000_0405_0607_0000),
        (vmcb::RAX, 0x1234, 0x1234),
        (vmcb::XCR0, 4, 1),
    ];
    for (field, value, stored) in cases {
        check_eq!(vm.vcpu.vcpu_write_vmcb(field, value)?, stored, format_args!("field {field:#x}"));
        check_eq!(vm.vcpu.vcpu_read_vmcb(field)?, stored, format_args!("field {field:#x} read"));
    }
    Ok(())
}

fn other_backends_methods_are_refused(env: &mut Env) -> Outcome {
    let vm = Vm::new(env, 0, 0)?;
    expect_error(vm.vcpu.vcpu_read_vmcs(0x681e), Error::IllegalOperation, &[])?;
    expect_error(vm.vcpu.vcpu_write_vmcs(0x681e, 0), Error::IllegalOperation, &[])
}

fn guest_msrs_by_number(env: &mut Env) -> Outcome {
    let vm = Vm::new(env, 0, 0)?;
    vm.vcpu.vcpu_write_msr(0xc000_0082, 0x4000)?;
    check_eq!(vm.vcpu.vcpu_read_msr(0xc000_0082)?, 0x4000, "LSTAR");
    check_eq!(vm.vcpu.vcpu_read_vmcb(vmcb::LSTAR)?, 0x4000, "LSTAR as a field");
    expect_error(vm.vcpu.vcpu_read_msr(0xc000_0080), Error::IllegalOperation, &[])
}

/// What the general registers are filled with: addresses where the kernel would hit itself if it took one for its own (its
/// window on memory, its image), one that no processor takes, and one of the VMM's.
const POISON: [u64; 4] =
    [0xffff_ff80_0010_0000, 0xffff_ffff_8012_0000, 0x8000_0000_0000_0000, 0x90_0000_0000];

/// A refused entry tells so, leaves nothing behind, and only a new binding brings the VCPU back.
fn refused(vm: &mut Vm) -> Outcome {
    let given = vm.registers;
    check_eq!(vm.enter(), End::Exit(exit::REFUSED), "the refused entry");
    check_eq!(vm.word(vcpu::MR_RIP), 0, "RIP");
    check_eq!(vm.word(vcpu::MR_CR3), 0, "CR3");
    for (n, (found, given)) in vm.registers.iter().zip(given).enumerate() {
        check!(
            *found == given || *found == 0,
            "register {n} is {found:#x}: neither the VMM's {given:#x} nor 0"
        );
    }
    check_eq!(vm.enter(), End::Exit(exit::REFUSED), "the next entry");
    expect_error(vm.vcpu.vcpu_read_vmcb(vmcb::CR3), Error::IllegalOperation, &[])?;
    expect_error(vm.vcpu.vcpu_write_vmcb(vmcb::CR3, 0), Error::IllegalOperation, &[])?;
    for label in [
        label::X86_VCPU_READ_MSR,
        label::X86_VCPU_WRITE_MSR,
        label::X86_VCPU_WRITE_REGISTERS,
        label::X86_VCPU_ENABLE_IO_PORT,
        label::X86_VCPU_DISABLE_IO_PORT,
        label::VCPU_READ_REGISTERS,
        label::VCPU_SET_IO_PERMISSION_MAP,
    ] {
        expect_reply(vm.vcpu.invoke_raw(label, &[0; 15], &[0]), Error::IllegalOperation, &[])?;
    }
    vm.vcpu.vcpu_set_tcb(slot::TCB.cap())?;
    check_eq!(vm.vcpu.vcpu_read_vmcb(vmcb::CR3)?, 0, "CR3 of the revived VCPU");
    vm.rip = 0xfff0;
    (vm.event, vm.control) = (0, 0);
    vm.expect(exit::NESTED_PAGE_FAULT)
}

/// Fills every register with a value of its own.
fn poison(vm: &mut Vm, value: u64) {
    for (n, register) in vm.registers.iter_mut().enumerate() {
        *register = value + 0x100 * n as u64;
    }
}

fn spoilt_state_is_refused_with_poisoned_registers(env: &mut Env) -> Outcome {
    for value in POISON {
        let mut vm = Vm::bound(env, 0, entry::guest_cpuid())?;
        // Long mode with paging, but without physical-address extension.
        vm.set(vmcb::CR4, 0)?;
        poison(&mut vm, value);
        refused(&mut vm)?;
        // Another guest runs as if nothing had been.
        let mut vm = Vm::bound(env, 1, entry::guest_cpuid())?;
        vm.expect(exit::CPUID)?;
        env.run(|_| Ok(()))?;
    }
    Ok(())
}

fn spoilt_event_is_refused_with_poisoned_registers(env: &mut Env) -> Outcome {
    for event in [REFUSED_EVENT, 0x8000_0100, 0x8000_0502] {
        for value in POISON {
            let mut vm = Vm::bound(env, 0, entry::guest_cpuid())?;
            poison(&mut vm, value);
            vm.event = event;
            refused(&mut vm)?;
            env.run(|_| Ok(()))?;
        }
    }
    Ok(())
}

fn exits_are_cheap(env: &mut Env) -> Outcome {
    let [cpuid, out] = ticks(&mut Vm::bound(env, 0, entry::guest_timing())?)?;
    TICKS[0].store(cpuid, Ordering::Relaxed);
    TICKS[1].store(out, Ordering::Relaxed);
    Ok(())
}

/// Ticks of an exit of a guest at `guest_timing` to the VMM and back, at best: CPUID, OUT.
pub fn ticks(vm: &mut Vm) -> Outcome<[u64; 2]> {
    // The initial thread has no use for the extended registers, so that they can stay the guest's.
    slot::TCB.cap().tcb_set_flags(0, sel4_abi::TCB_FLAG_FPU_DISABLED)?;
    let outcome = loop {
        match vm.enter() {
            End::Exit(exit::CPUID | exit::IOIO) => vm.rip += vm.word(vcpu::MR_INSTRUCTION_LENGTH),
            End::Exit(exit::VMMCALL) => break Ok(()),
            other => break Err(Failure::new(format_args!("{other:x?}"))),
        }
    };
    slot::TCB.cap().tcb_set_flags(sel4_abi::TCB_FLAG_FPU_DISABLED, 0)?;
    outcome?;
    let (cpuid, out) = (vm.peek(0x9500), vm.peek(0x9508));
    check!(cpuid > 0 && out > 0, "no time passed");
    Ok([cpuid, out])
}

/// Not in the list of `refused`: an entry without a VCPU is an unknown system call.
pub fn enter_without_vcpu_faults(env: &mut Env) -> Outcome {
    let thread = env.spawn(
        kernel_tests::env::HIGH,
        |me| {
            sel4::vm_enter_with(me.ipc, 0, 0, 0, false);
        },
        [0; 4],
    )?;
    match env.fault_of(thread)? {
        Fault::UnknownSyscall(_) => Ok(()),
        other => Err(Failure::new(format_args!("{other:x?}"))),
    }
}
