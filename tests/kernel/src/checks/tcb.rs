// SPDX-License-Identifier: MIT OR Apache-2.0
//! Thread control blocks: registers, states, configuration.

use kernel_tests::env::{HIGH, LOW, MAIN, at, root_guard};
use kernel_tests::{Env, Me, Outcome, check, check_eq, expect_error, expect_reply, thread};
use sel4::abi::label;
use sel4::init_thread::slot;
use sel4::{CNodeCapData, CPtr, CopyRegisters, Error, UserContext, cap};

kernel_tests::checks! {
    registers_are_read_as_written,
    register_counts_are_1_to_20,
    own_registers_are_out_of_reach,
    flags_that_are_not_the_users_are_kept,
    registers_reach_the_thread,
    copy_registers_takes_frame_and_integers,
    suspended_thread_stands_still,
    suspended_sender_sends_anew,
    instruction_pointer_outside_the_users_space_is_contained,
    tls_base_outside_the_users_space_is_contained,
    tls_base_is_set_by_invocation_and_by_system_call,
    tls_base_is_set_by_wrfsbase,
    tcb_flags_are_set_and_cleared,
    configure_checks_its_capabilities,
    ipc_buffer_must_be_aligned,
    fault_endpoint_needs_its_rights,
    deleted_tcb_stops,
}

/// A register set of which each has a value of its own, all of them a user's.
fn marked() -> UserContext {
    let mut words: [u64; 20] = core::array::from_fn(|i| 0x1_0000 + 0x111 * i as u64);
    words[2] = 0x202;
    UserContext::from_words(words)
}

fn registers_are_read_as_written(env: &mut Env) -> Outcome {
    let tcb: cap::Tcb = env.make()?;
    tcb.tcb_write_all_registers(false, &marked())?;
    let read = tcb.tcb_read_all_registers(false)?;
    for (i, (got, expected)) in read.to_words().into_iter().zip(marked().to_words()).enumerate() {
        check!(got == expected, "register {i} is {got:#x}, not {expected:#x}");
    }
    // Three words change three registers.
    let mut other = marked();
    (other.rip, other.rsp, other.rax) = (0x99_0000, 0x99_1000, 0x99_2000);
    tcb.tcb_write_registers(false, 2, &other)?;
    let read = tcb.tcb_read_all_registers(false)?;
    check_eq!((read.rip, read.rsp, read.rax), (0x99_0000, 0x99_1000, marked().rax), "registers");
    Ok(())
}

fn register_counts_are_1_to_20(env: &mut Env) -> Outcome {
    let tcb: cap::Tcb = env.make()?;
    for count in [0, 21, u64::MAX] {
        let reply = tcb.invoke_raw(label::TCB_READ_REGISTERS, &[0, count], &[]);
        expect_reply(reply, Error::RangeError, &[1, 20])?;
    }
    expect_reply(tcb.invoke_raw(label::TCB_READ_REGISTERS, &[0], &[]), Error::TruncatedMessage, &[])?;
    // More registers than the message has.
    expect_reply(tcb.invoke_raw(label::TCB_WRITE_REGISTERS, &[0, 3, 1, 2], &[]), Error::TruncatedMessage, &[])
}

fn own_registers_are_out_of_reach(_: &mut Env) -> Outcome {
    let own = slot::TCB.cap();
    expect_error(own.tcb_read_all_registers(false), Error::IllegalOperation, &[])?;
    expect_error(own.tcb_write_all_registers(false, &marked()), Error::IllegalOperation, &[])
}

fn flags_that_are_not_the_users_are_kept(env: &mut Env) -> Outcome {
    let tcb: cap::Tcb = env.make()?;
    let mut registers = marked();
    for flags in [0u64, 0x3000, u64::MAX] {
        registers.rflags = flags;
        tcb.tcb_write_all_registers(false, &registers)?;
        let read = tcb.tcb_read_all_registers(false)?.rflags;
        // Interrupts on, bit 1 set; no I/O privilege, no nested task, no virtual-8086 mode, nothing reserved.
        check_eq!(read & !0xcd5 & !0x1_0000 & !0x24_0100, 0x202, "flags but the user's");
    }
    Ok(())
}

fn registers_reach_the_thread(env: &mut Env) -> Outcome {
    let thread = env.spawn(HIGH, |me| thread::put(0, me.args.iter().sum()), [1, 20, 300, 4000])?;
    env.join(&[thread])?;
    check_eq!(thread::get(0), 4321, "sum");
    Ok(())
}

fn copy_registers_takes_frame_and_integers(env: &mut Env) -> Outcome {
    let (from, to): (cap::Tcb, cap::Tcb) = (env.make()?, env.make()?);
    from.tcb_write_all_registers(false, &marked())?;
    let frame = CopyRegisters { transfer_frame: true, ..CopyRegisters::default() };
    to.tcb_copy_registers(from, frame)?;
    let read = to.tcb_read_all_registers(false)?;
    let bases = |context: &UserContext| (context.fs_base, context.gs_base);
    check_eq!((read.rip, read.rsp, read.rcx), (marked().rip, marked().rsp, marked().rcx), "the frame");
    check_eq!(bases(&read), (0, 0), "bases after the frame");
    let integer = CopyRegisters { transfer_integer: true, ..CopyRegisters::default() };
    to.tcb_copy_registers(from, integer)?;
    let read = to.tcb_read_all_registers(false)?;
    check_eq!(bases(&read), bases(&marked()), "bases after the integers");
    let endpoint: cap::Endpoint = env.make()?;
    let wrong = to.tcb_copy_registers(cap::Tcb::from_bits(endpoint.bits()), frame);
    expect_error(wrong, Error::InvalidCapability, &[1])
}

fn body_count(_: &mut Me) {
    loop {
        thread::add(0, 1);
        sel4::yield_();
    }
}

fn suspended_thread_stands_still(env: &mut Env) -> Outcome {
    let thread = env.spawn(MAIN, body_count, [0; 4])?;
    let yields = || (0..10).for_each(|_| sel4::yield_());
    yields();
    check!(thread::get(0) > 0, "it does not run");
    thread.tcb.tcb_suspend()?;
    let before = thread::get(0);
    yields();
    check_eq!(thread::get(0), before, "count while suspended");
    thread.tcb.tcb_resume()?;
    yields();
    check!(thread::get(0) > before, "it does not run on");
    Ok(())
}

fn suspended_sender_sends_anew(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let sender = env.spawn(
        HIGH,
        |me| {
            let info = sel4::MessageInfo::new(0, 0, 0, 1);
            cap::Endpoint::from_bits(me.args[0]).send_with_mrs(info, [0x5e]);
        },
        [endpoint.bits(), 0, 0, 0],
    )?;
    sender.tcb.tcb_suspend()?;
    check_eq!(
        endpoint.nb_recv_with_mrs(env.reply).msg[0] == 0x5e,
        false,
        "presence of the suspended message"
    );
    sender.tcb.tcb_resume()?;
    check_eq!(env.recv(endpoint)?.msg[0], 0x5e, "word");
    env.join(&[sender])
}

fn instruction_pointer_outside_the_users_space_is_contained(env: &mut Env) -> Outcome {
    for address in [0x8000_0000_0000u64, 0x7fff_ffff_ffff, 0xffff_ff80_0010_0000, u64::MAX] {
        let thread = env.thread(|_| (), [0; 4])?;
        let mut registers = thread.tcb.tcb_read_all_registers(false)?;
        registers.rip = address;
        registers.rsp = address;
        // The kernel may refuse the value, or the thread faults. Nothing else may happen.
        if thread.tcb.tcb_write_all_registers(false, &registers).is_ok() {
            env.start(thread, LOW)?;
            env.fault_of(thread)?;
        }
    }
    Ok(())
}

fn tls_base_outside_the_users_space_is_contained(env: &mut Env) -> Outcome {
    for address in [0x8000_0000_0000u64, 0xffff_8000_0000_0000, u64::MAX] {
        let thread = env.thread(|_| (), [0; 4])?;
        let mut registers = thread.tcb.tcb_read_all_registers(false)?;
        (registers.fs_base, registers.gs_base) = (address, address);
        let _ = thread.tcb.tcb_set_tls_base(address as usize);
        let _ = thread.tcb.tcb_write_all_registers(false, &registers);
        env.start(thread, HIGH)?;
        env.join(&[thread])?;
        env.reuse_threads();
    }
    // By system call, of a thread of its own: it may fault, and the kernel lives.
    let thread = env.spawn(HIGH, |_| sel4::set_tls_base(0x8000_0000_0000), [0; 4])?;
    let _ = env.join(&[thread]);
    Ok(())
}

fn read_fs(offset: u64) -> u64 {
    let value;
    // SAFETY: the check has set the FS base to memory of its own.
    unsafe {
        core::arch::asm!("mov {}, fs:[{}]", out(reg) value, in(reg) offset, options(nostack, readonly))
    };
    value
}

fn tls_base_is_set_by_invocation_and_by_system_call(env: &mut Env) -> Outcome {
    thread::put(10, 0xaa);
    thread::put(20, 0xbb);
    let (ten, twenty) = (thread::cell(10) as *const _ as u64, thread::cell(20) as *const _ as u64);
    let thread = env.thread(
        |me| {
            thread::put(0, read_fs(0));
            sel4::set_tls_base(me.args[0] as usize);
            thread::put(1, read_fs(0));
            sel4::yield_();
            thread::put(2, read_fs(0));
        },
        [twenty, 0, 0, 0],
    )?;
    thread.tcb.tcb_set_tls_base(ten as usize)?;
    env.start(thread, HIGH)?;
    env.join(&[thread])?;
    check_eq!((thread::get(0), thread::get(1), thread::get(2)), (0xaa, 0xbb, 0xbb), "words at FS:0");
    check_eq!(thread.tcb.tcb_read_all_registers(false)?.fs_base, twenty, "FS base");
    Ok(())
}

fn tls_base_is_set_by_wrfsbase(env: &mut Env) -> Outcome {
    // CPUID leaf 7, EBX bit 0.
    if kernel_tests::machine::cpuid(7)[1] & 1 == 0 {
        return Err(kernel_tests::Failure::skip("no FSGSBASE"));
    }
    let body = |me: &mut Me| {
        // SAFETY: nothing in the image uses the FS base.
        unsafe { core::arch::asm!("wrfsbase {}", in(reg) me.args[0], options(nostack, nomem)) };
        for _ in 0..5 {
            sel4::yield_();
            thread::add(me.args[1] as usize, read_fs(0));
        }
    };
    thread::put(10, 1);
    thread::put(20, 100);
    let address = |index| thread::cell(index) as *const _ as u64;
    let a = env.spawn(MAIN, body, [address(10), 0, 0, 0])?;
    let b = env.spawn(MAIN, body, [address(20), 1, 0, 0])?;
    env.join(&[a, b])?;
    check_eq!((thread::get(0), thread::get(1)), (5, 500), "sums of the words at FS:0");
    Ok(())
}

fn tcb_flags_are_set_and_cleared(env: &mut Env) -> Outcome {
    let tcb: cap::Tcb = env.make()?;
    check_eq!(tcb.tcb_set_flags(0, 0)?, 0, "flags");
    check_eq!(tcb.tcb_set_flags(0, 1)?, 1, "flags");
    check_eq!(tcb.tcb_set_flags(0, 0)?, 1, "flags");
    check_eq!(tcb.tcb_set_flags(1, 0)?, 0, "flags");
    Ok(())
}

fn configure_checks_its_capabilities(env: &mut Env) -> Outcome {
    let tcb: cap::Tcb = env.make()?;
    let guard = root_guard(&env.bootinfo);
    let (cnode, vspace) = (slot::CNODE.cap(), slot::VSPACE.cap());
    let none = cap::Granule::from_bits(0);
    let reply = tcb.invoke_raw(label::TCB_CONFIGURE, &[0, 0], &[cnode.bits(), vspace.bits(), 0]);
    expect_reply(reply, Error::TruncatedMessage, &[])?;
    let wrong = cap::CNode::from_bits(vspace.bits());
    expect_error(tcb.tcb_configure(wrong, guard, vspace, 0, none), Error::IllegalOperation, &[])?;
    let wrong = cap::VSpace::from_bits(cnode.bits());
    expect_error(tcb.tcb_configure(cnode, guard, wrong, 0, none), Error::IllegalOperation, &[])?;
    let endpoint: cap::Endpoint = env.make()?;
    let wrong = cap::Granule::from_bits(endpoint.bits());
    let result = tcb.tcb_configure(cnode, guard, vspace, 0x1000, wrong);
    expect_error(result, Error::IllegalOperation, &[])?;
    // Address 0: no buffer, whatever the capability is.
    tcb.tcb_configure(cnode, guard, vspace, 0, none)?;
    let result = tcb.tcb_set_space(CPtr::from_bits(0), cnode, CNodeCapData::new(0, 60), vspace);
    expect_error(result, Error::IllegalOperation, &[])
}

fn ipc_buffer_must_be_aligned(env: &mut Env) -> Outcome {
    let tcb: cap::Tcb = env.make()?;
    let frame: cap::Granule = env.make()?;
    for address in [0x1000_0200, 0x1000_0001, 0x1000_03ff] {
        expect_error(tcb.tcb_set_ipc_buffer(address, frame), Error::AlignmentError, &[])?;
    }
    tcb.tcb_set_ipc_buffer(0x1000_0400, frame)?;
    Ok(())
}

fn fault_endpoint_needs_its_rights(env: &mut Env) -> Outcome {
    let tcb: cap::Tcb = env.make()?;
    let endpoint: cap::Endpoint = env.make()?;
    let weak = env.copy(endpoint, sel4::CapRights::read_write())?;
    let guard = root_guard(&env.bootinfo);
    let (cnode, vspace) = (slot::CNODE.cap(), slot::VSPACE.cap());
    expect_error(tcb.tcb_set_space(weak.cptr(), cnode, guard, vspace), Error::InvalidCapability, &[1])?;
    let none = cap::SchedContext::from_bits(0);
    let result = tcb.tcb_set_sched_params(slot::TCB.cap(), 1, 1, none, weak);
    expect_error(result, Error::InvalidCapability, &[3])?;
    let notification: cap::Notification = env.make()?;
    let result = tcb.tcb_set_space(notification.cptr(), cnode, guard, vspace);
    expect_error(result, Error::InvalidCapability, &[1])?;
    tcb.tcb_set_space(endpoint.cptr(), cnode, guard, vspace)?;
    tcb.tcb_set_space(CPtr::from_bits(0), cnode, guard, vspace)?;
    Ok(())
}

fn deleted_tcb_stops(env: &mut Env) -> Outcome {
    let thread = env.spawn(MAIN, body_count, [0; 4])?;
    for _ in 0..10 {
        sel4::yield_();
    }
    at(thread.tcb).delete()?;
    let before = thread::get(0);
    for _ in 0..10 {
        sel4::yield_();
    }
    check_eq!(thread::get(0), before, "count");
    thread.sc.sched_context_consumed()?;
    Ok(())
}
