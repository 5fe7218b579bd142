// SPDX-License-Identifier: MIT OR Apache-2.0
//! Floating-point and SSE state of threads. The image itself is built without either.

use kernel_tests::env::{HIGH, MAIN};
use kernel_tests::{Env, Me, Outcome, check, check_eq, thread};
use sel4::Fault;

kernel_tests::checks! {
    sse_state_is_each_threads_own,
    x87_state_is_each_threads_own,
    control_words_are_each_threads_own,
    sse_state_survives_interrupts_and_calls,
    floating_point_begins_in_its_initial_state,
    thread_without_floating_point_faults,
}

core::arch::global_asm!(
    // RDI: 16 words to load into XMM0 to XMM7. RSI: where to store them.
    ".global kernel_tests_sse_load, kernel_tests_sse_store",
    "kernel_tests_sse_load:",
    "movups xmm0, [rdi]",
    "movups xmm1, [rdi + 16]",
    "movups xmm7, [rdi + 32]",
    "movups xmm15, [rdi + 48]",
    "ret",
    "kernel_tests_sse_store:",
    "movups [rdi], xmm0",
    "movups [rdi + 16], xmm1",
    "movups [rdi + 32], xmm7",
    "movups [rdi + 48], xmm15",
    "ret",
    // An integer onto the x87 stack, and off again.
    ".global kernel_tests_x87_load, kernel_tests_x87_store",
    "kernel_tests_x87_load:",
    "fninit",
    "fild qword ptr [rdi]",
    "ret",
    "kernel_tests_x87_store:",
    "fistp qword ptr [rdi]",
    "ret",
    // RDI: {x87 control u32, MXCSR u32}.
    ".global kernel_tests_control_load, kernel_tests_control_store",
    "kernel_tests_control_load:",
    "fldcw word ptr [rdi]",
    "ldmxcsr [rdi + 4]",
    "ret",
    "kernel_tests_control_store:",
    "fnstcw word ptr [rdi]",
    "stmxcsr [rdi + 4]",
    "ret",
);

unsafe extern "C" {
    fn kernel_tests_sse_load(words: *const [u64; 8]);
    fn kernel_tests_sse_store(words: *mut [u64; 8]);
    fn kernel_tests_x87_load(value: *const i64);
    fn kernel_tests_x87_store(value: *mut i64);
    fn kernel_tests_control_load(words: *const [u32; 2]);
    fn kernel_tests_control_store(words: *mut [u32; 2]);
}

/// Loads words made of args[0], yields args[1] times, and adds to cell args[2] how often they were still there.
fn body_sse(me: &mut Me) {
    let words: [u64; 8] = core::array::from_fn(|i| me.args[0] * 0x0101_0101_0101 + i as u64);
    // SAFETY: the image is built without SSE; the registers are this thread's.
    unsafe { kernel_tests_sse_load(&words) };
    for _ in 0..me.args[1] {
        sel4::yield_();
        let mut seen = [0; 8];
        // SAFETY: as above.
        unsafe { kernel_tests_sse_store(&mut seen) };
        thread::add(me.args[2] as usize, (seen == words).into());
    }
}

fn sse_state_is_each_threads_own(env: &mut Env) -> Outcome {
    let a = env.spawn(MAIN, body_sse, [0x11, 50, 0, 0])?;
    let b = env.spawn(MAIN, body_sse, [0x22, 50, 1, 0])?;
    // One that doesn't touch them.
    let c = env.spawn(MAIN, |_| (0..50).for_each(|_| sel4::yield_()), [0; 4])?;
    env.join(&[a, b, c])?;
    check_eq!((thread::get(0), thread::get(1)), (50, 50), "times that the registers were right");
    Ok(())
}

fn x87_state_is_each_threads_own(env: &mut Env) -> Outcome {
    let body = |me: &mut Me| {
        for i in 0..50i64 {
            let value = me.args[0] as i64 * 1000 + i;
            let mut seen = 0;
            // SAFETY: the image is built without floating point; the stack is this thread's.
            unsafe { kernel_tests_x87_load(&value) };
            sel4::yield_();
            // SAFETY: as above.
            unsafe { kernel_tests_x87_store(&mut seen) };
            thread::add(me.args[1] as usize, (seen == value).into());
        }
    };
    let a = env.spawn(MAIN, body, [1, 0, 0, 0])?;
    let b = env.spawn(MAIN, body, [2, 1, 0, 0])?;
    env.join(&[a, b])?;
    check_eq!((thread::get(0), thread::get(1)), (50, 50), "times that the register was right");
    Ok(())
}

fn control_words_are_each_threads_own(env: &mut Env) -> Outcome {
    let body = |me: &mut Me| {
        let words = [me.args[0] as u32, me.args[1] as u32];
        // SAFETY: both words are valid, and this thread's.
        unsafe { kernel_tests_control_load(&words) };
        for _ in 0..20 {
            sel4::yield_();
            let mut seen = [0; 2];
            // SAFETY: as above.
            unsafe { kernel_tests_control_store(&mut seen) };
            thread::add(
                me.args[2] as usize,
                (seen[0] as u16 == words[0] as u16 && seen[1] == words[1]).into(),
            );
        }
    };
    let a = env.spawn(MAIN, body, [0x037f, 0x1f80, 0, 0])?;
    let b = env.spawn(MAIN, body, [0x0f7f, 0x7f80, 1, 0])?;
    env.join(&[a, b])?;
    check_eq!((thread::get(0), thread::get(1)), (20, 20), "times that the words were right");
    Ok(())
}

fn sse_state_survives_interrupts_and_calls(env: &mut Env) -> Outcome {
    // The threads preempt each other, by timer, in the middle.
    let body = |me: &mut Me| {
        let words: [u64; 8] = [me.args[0]; 8];
        // SAFETY: the image is built without SSE; the registers are this thread's.
        unsafe { kernel_tests_sse_load(&words) };
        for _ in 0..me.args[1] {
            let mut seen = [0; 8];
            // SAFETY: as above.
            unsafe { kernel_tests_sse_store(&mut seen) };
            thread::add(me.args[2] as usize, (seen != words).into());
        }
    };
    let threads = [env.thread(body, [7, 200_000, 0, 0])?, env.thread(body, [8, 200_000, 1, 0])?];
    for thread in threads {
        env.sched_control.sched_control_configure_flags(thread.sc, 500, 500, 0, 0, 0)?;
        env.start(thread, MAIN)?;
    }
    env.join(&threads)?;
    check_eq!((thread::get(0), thread::get(1)), (0, 0), "times that the registers were wrong");
    Ok(())
}

fn floating_point_begins_in_its_initial_state(env: &mut Env) -> Outcome {
    let first = env.spawn(MAIN, body_sse, [0x77, 1, 0, 0])?;
    env.join(&[first])?;
    let body = |_: &mut Me| {
        let (mut words, mut control) = ([1; 8], [0; 2]);
        // SAFETY: reads this thread's registers.
        unsafe {
            kernel_tests_sse_store(&mut words);
            kernel_tests_control_store(&mut control);
        }
        thread::put(1, words.iter().sum());
        thread::put(2, control[0].into());
        thread::put(3, control[1].into());
    };
    let second = env.spawn(HIGH, body, [0; 4])?;
    env.join(&[second])?;
    check_eq!(thread::get(1), 0, "sum of the registers");
    check_eq!((thread::get(2) & 0xffff, thread::get(3)), (0x37f, 0x1f80), "control words");
    Ok(())
}

fn thread_without_floating_point_faults(env: &mut Env) -> Outcome {
    let thread = env.thread(body_sse, [1, 1, 0, 0])?;
    thread.tcb.tcb_set_flags(0, sel4::abi::TCB_FLAG_FPU_DISABLED)?;
    env.start(thread, HIGH)?;
    let fault = env.fault_of(thread)?;
    check!(matches!(fault, Fault::UserException(e) if e.number == 7), "{fault:x?}");
    Ok(())
}
