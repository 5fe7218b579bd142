// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual CPUs and nested tables: what the invocations refuse, and a guest of two instructions.

use kernel_tests::env::{HIGH, at};
use kernel_tests::{Env, Failure, Me, Outcome, check, check_eq, expect_error, thread};
use sel4::abi::{bootinfo, vmcb};
use sel4::init_thread::slot;
use sel4::{CapRights, EptVmAttributes, Error, VmAttributes, VmEnterResult, cap, cap_type};

kernel_tests::checks! {
    vmcb_fields_are_those_of_the_list,
    vmcs_is_not_for_svm,
    vmcb_fields_are_read_as_written,
    io_ports_need_a_map_of_ones_own,
    nested_tables_tell_the_missing_level,
    nested_page_needs_an_address_that_fits,
    ept_root_must_be_one,
    vcpu_binds_to_a_thread,
    guest_exits_with_its_registers,
    guest_sees_only_its_memory,
    notification_ends_the_entry,
    deleted_vcpu_is_unbound,
}

const ATTRS: EptVmAttributes = EptVmAttributes::DEFAULT;
const RW: CapRights = CapRights::read_write();

fn need_svm(env: &Env) -> Outcome {
    match env.bootinfo.extensions() {
        Some(extensions) if extensions.vcpu_backend == bootinfo::BACKEND_SVM => Ok(()),
        _ => Err(Failure::skip("no SVM")),
    }
}

fn vcpu(env: &mut Env) -> Outcome<cap::VCpu> {
    need_svm(env)?;
    env.make()
}

fn vmcb_fields_are_those_of_the_list(env: &mut Env) -> Outcome {
    let vcpu = vcpu(env)?;
    // Intercepts, permission maps, ASID, nested CR3, host state area, beyond the end.
    for field in [0x000, 0x00c, 0x010, 0x040, 0x048, 0x058, 0x05c, 0x090, 0x0b0, 0x3ff, 0x1008, u64::MAX] {
        expect_error(vcpu.vcpu_read_vmcb(field), Error::IllegalOperation, &[])?;
        expect_error(vcpu.vcpu_write_vmcb(field, 0), Error::IllegalOperation, &[])?;
    }
    Ok(())
}

fn vmcs_is_not_for_svm(env: &mut Env) -> Outcome {
    let vcpu = vcpu(env)?;
    expect_error(vcpu.vcpu_read_vmcs(0x6800), Error::IllegalOperation, &[])?;
    expect_error(vcpu.vcpu_write_vmcs(0x6800, 0), Error::IllegalOperation, &[])
}

fn vmcb_fields_are_read_as_written(env: &mut Env) -> Outcome {
    let vcpu = vcpu(env)?;
    for (field, value) in [
        (vmcb::CR3, 0x1234_5000),
        (vmcb::RSP, 0x8000),
        (vmcb::RAX, 0x1122_3344_5566_7788),
        (vmcb::TSC_OFFSET, 0x77),
        (vmcb::CR2, 0xabcd_e000),
    ] {
        check_eq!(vcpu.vcpu_write_vmcb(field, value)?, value, "value as stored");
        check_eq!(vcpu.vcpu_read_vmcb(field)?, value, "value as read");
    }
    // The guest may not leave SVM off: EFER.SVME stays set.
    let stored = vcpu.vcpu_write_vmcb(vmcb::EFER, 0)?;
    check_eq!(vcpu.vcpu_read_vmcb(vmcb::EFER)?, stored, "EFER");
    Ok(())
}

fn io_ports_need_a_map_of_ones_own(env: &mut Env) -> Outcome {
    let vcpu = vcpu(env)?;
    let ports = env.empty::<cap_type::IOPort>()?;
    slot::IO_PORT_CONTROL.cap().ioport_control_issue(0x1000, 0x100f, &at(ports))?;
    check!(vcpu.vcpu_enable_ioport(ports, 0x1000, 0x100f).is_err(), "enabled in the common map");
    let map: cap::IOPermissionMap = env.make()?;
    vcpu.vcpu_set_io_permission_map(map)?;
    vcpu.vcpu_enable_ioport(ports, 0x1000, 0x1007)?;
    check!(vcpu.vcpu_enable_ioport(ports, 0x1000, 0x1010).is_err(), "enabled beyond the capability");
    vcpu.vcpu_disable_ioport(0x1000, 0x1007)?;
    Ok(())
}

fn nested_tables_tell_the_missing_level(env: &mut Env) -> Outcome {
    need_svm(env)?;
    let root: cap::EptPml4 = env.make()?;
    let frame: cap::Granule = env.make()?;
    // A root without identifier may be refused as such; the pool gives one.
    let _ = slot::ASID_POOL.cap().asid_pool_assign(cap::VSpace::from_bits(root.bits()));
    expect_error(frame.frame_map_ept(root, 0x1000, RW, ATTRS), Error::FailedLookup, &[])?;
    let pdpt: cap::EptPdpt = env.make()?;
    pdpt.ept_pdpt_map(root, 0, ATTRS)?;
    expect_error(frame.frame_map_ept(root, 0x1000, RW, ATTRS), Error::FailedLookup, &[])?;
    let directory: cap::EptPageDirectory = env.make()?;
    directory.ept_page_directory_map(root, 0, ATTRS)?;
    expect_error(frame.frame_map_ept(root, 0x1000, RW, ATTRS), Error::FailedLookup, &[])?;
    let table: cap::EptPageTable = env.make()?;
    table.ept_page_table_map(root, 0, ATTRS)?;
    frame.frame_map_ept(root, 0x1000, RW, ATTRS)?;
    let second: cap::EptPageTable = env.make()?;
    expect_error(second.ept_page_table_map(root, 0, ATTRS), Error::DeleteFirst, &[])?;
    let other: cap::Granule = env.make()?;
    expect_error(other.frame_map_ept(root, 0x1000, RW, ATTRS), Error::DeleteFirst, &[])
}

/// A nested address space of its own with the tables for its first 2 MiB.
fn nested(env: &mut Env) -> Outcome<cap::EptPml4> {
    let root: cap::EptPml4 = env.make()?;
    let _ = slot::ASID_POOL.cap().asid_pool_assign(cap::VSpace::from_bits(root.bits()));
    env.make::<cap_type::EptPdpt>()?.ept_pdpt_map(root, 0, ATTRS)?;
    env.make::<cap_type::EptPageDirectory>()?.ept_page_directory_map(root, 0, ATTRS)?;
    env.make::<cap_type::EptPageTable>()?.ept_page_table_map(root, 0, ATTRS)?;
    Ok(root)
}

fn nested_page_needs_an_address_that_fits(env: &mut Env) -> Outcome {
    need_svm(env)?;
    let root = nested(env)?;
    let frame: cap::Granule = env.make()?;
    expect_error(frame.frame_map_ept(root, 0x1008, RW, ATTRS), Error::AlignmentError, &[])?;
    let result = frame.frame_map_ept(cap::EptPml4::from_bits(slot::TCB.cap().bits()), 0x1000, RW, ATTRS);
    expect_error(result, Error::InvalidCapability, &[1])?;
    frame.frame_map_ept(root, 0x1000, RW, ATTRS)?;
    // A frame that is mapped for a guest isn't mapped for a thread by the same capability.
    let result = frame.frame_map(slot::VSPACE.cap(), super::vspace::BASE, RW, VmAttributes::DEFAULT);
    check!(result.is_err(), "one capability, two mappings");
    Ok(())
}

fn ept_root_must_be_one(env: &mut Env) -> Outcome {
    need_svm(env)?;
    let tcb: cap::Tcb = env.make()?;
    let wrong = tcb.tcb_set_ept_root(cap::EptPml4::from_bits(slot::VSPACE.cap().bits()));
    check!(wrong.is_err(), "an address space as nested root");
    let root = nested(env)?;
    tcb.tcb_set_ept_root(root)?;
    Ok(())
}

fn vcpu_binds_to_a_thread(env: &mut Env) -> Outcome {
    let vcpu = vcpu(env)?;
    let tcb: cap::Tcb = env.make()?;
    let endpoint: cap::Endpoint = env.make()?;
    let wrong = vcpu.vcpu_set_tcb(cap::Tcb::from_bits(endpoint.bits()));
    check!(wrong.is_err(), "bound to an endpoint");
    vcpu.vcpu_set_tcb(tcb)?;
    at(tcb).delete()?;
    let other: cap::Tcb = env.make()?;
    vcpu.vcpu_set_tcb(other)?;
    Ok(())
}

/// Guest-physical address of the page with the guest's code.
const CODE: u64 = 0x1000;

/// A virtual CPU in real mode with `code` at [`CODE`], bound to `tcb`.
fn guest(env: &mut Env, tcb: cap::Tcb, code: &[u8]) -> Outcome<cap::VCpu> {
    let vcpu = vcpu(env)?;
    let root = nested(env)?;
    let page = super::vspace::Window::new(env)?;
    let frame: cap::Granule = env.make()?;
    let copy = env.copy(frame, CapRights::all())?;
    page.map(copy, RW)?;
    for (i, chunk) in code.chunks(8).enumerate() {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        page.write(i, u64::from_le_bytes(word));
    }
    frame.frame_map_ept(root, CODE as usize, RW, ATTRS)?;
    vcpu.vcpu_set_tcb(tcb)?;
    tcb.tcb_set_ept_root(root)?;
    real_mode(vcpu)?;
    vcpu.vcpu_write_vmcb(vmcb::RFLAGS, env.guest_flags())?;
    Ok(vcpu)
}

fn real_mode(vcpu: cap::VCpu) -> Outcome {
    for n in 0..6 {
        let segment = vmcb::ES_SELECTOR + vmcb::SEGMENT_STRIDE * n;
        let attributes = if n == 1 { 0x9b } else { 0x93 };
        vcpu.vcpu_write_vmcb(segment, 0)?;
        vcpu.vcpu_write_vmcb(segment + 2, attributes)?;
        vcpu.vcpu_write_vmcb(segment + 4, 0xffff)?;
        vcpu.vcpu_write_vmcb(segment + 8, 0)?;
    }
    vcpu.vcpu_write_vmcb(vmcb::CR0, 0x10)?;
    vcpu.vcpu_write_vmcb(vmcb::RSP, 0x1ff0)?;
    Ok(())
}

/// Enters at [`CODE`] once with RBX 0x1b1b and R15 0xf5f5; cells: 0 exit code, 1 RIP, 2 EXITINFO1, 3 EXITINFO2, 4 RBX,
/// 5 R15, 6 kind (1 exit, 2 notification), 7 badge, 8 instruction length.
fn body_enter(me: &mut Me) {
    let words = me.ipc.msg_regs_mut();
    words[10..25].fill(0);
    words[11] = 0x1b1b;
    words[24] = 0xf5f5;
    match sel4::vm_enter_with(me.ipc, CODE, 0, 0, true) {
        VmEnterResult::Exit { rip, exit_code, .. } => {
            let words = me.ipc.msg_regs();
            thread::put(0, exit_code);
            thread::put(1, rip);
            thread::put(2, words[4]);
            thread::put(3, words[6]);
            thread::put(4, words[11]);
            thread::put(5, words[24]);
            thread::put(8, words[5]);
            thread::put(6, 1);
        }
        VmEnterResult::Notification { badge, .. } => {
            thread::put(7, badge);
            thread::put(6, 2);
        }
    }
}

fn guest_exits_with_its_registers(env: &mut Env) -> Outcome {
    let thread = env.thread(body_enter, [0; 4])?;
    // inc bx; cpuid
    guest(env, thread.tcb, &[0x43, 0x0f, 0xa2])?;
    env.start(thread, HIGH)?;
    env.join(&[thread])?;
    check_eq!(thread::get(6), 1, "kind of return");
    check_eq!(thread::get(0), 0x72, "exit code (CPUID)");
    check_eq!(thread::get(1), CODE + 1, "RIP");
    check_eq!((thread::get(4), thread::get(5)), (0x1b1c, 0xf5f5), "RBX and R15");
    check_eq!(thread::get(8), 2, "instruction length");
    Ok(())
}

fn guest_sees_only_its_memory(env: &mut Env) -> Outcome {
    let thread = env.thread(body_enter, [0; 4])?;
    // mov al, [0x5678]
    guest(env, thread.tcb, &[0xa0, 0x78, 0x56])?;
    env.start(thread, HIGH)?;
    env.join(&[thread])?;
    check_eq!(thread::get(0), 0x400, "exit code (nested page fault)");
    check_eq!(thread::get(3) & !0xfff, 0x5000, "guest-physical page");
    check_eq!(thread::get(1), CODE, "RIP");
    Ok(())
}

fn notification_ends_the_entry(env: &mut Env) -> Outcome {
    let thread = env.thread(body_enter, [0; 4])?;
    // jmp $
    guest(env, thread.tcb, &[0xeb, 0xfe])?;
    let notification: cap::Notification = env.make()?;
    thread.tcb.tcb_bind_notification(notification)?;
    let badged = env.mint(notification, CapRights::all(), 0x4242)?;
    // While it waits for its turn.
    badged.signal();
    env.start(thread, HIGH)?;
    env.join(&[thread])?;
    check_eq!((thread::get(6), thread::get(7)), (2, 0x4242), "kind and badge");
    // While the guest runs: the thread is the initial thread's equal, and so is preempted in the guest.
    thread.tcb.tcb_suspend()?;
    thread::put(6, 0);
    let registers = thread::prepare(thread.id, body_enter, [0; 4], thread.tcb, env.done_of(thread.id)?);
    thread.tcb.tcb_set_priority(slot::TCB.cap(), kernel_tests::env::MAIN)?;
    thread.tcb.tcb_write_all_registers(true, &registers)?;
    for _ in 0..5 {
        sel4::yield_();
    }
    check_eq!(thread::get(6), 0, "kind of return before the signal");
    badged.signal();
    env.wait_until(3_000_000, || {
        sel4::yield_();
        thread::get(6) != 0
    })?;
    check_eq!((thread::get(6), thread::get(7)), (2, 0x4242), "kind and badge");
    Ok(())
}

fn deleted_vcpu_is_unbound(env: &mut Env) -> Outcome {
    let thread = env.thread(body_enter, [0; 4])?;
    let vcpu = guest(env, thread.tcb, &[0xf4])?;
    at(vcpu).delete()?;
    env.start(thread, HIGH)?;
    let fault = env.fault_of(thread)?;
    check!(matches!(fault, sel4::Fault::UnknownSyscall(_)), "{fault:x?}");
    Ok(())
}
