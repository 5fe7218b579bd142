// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measures IPC and the shortest system calls. Under QEMU's `-icount shift=0` a tick of the time-stamp counter is an instruction.
//!
//! Prints `bench <name> <median> min <minimum>` for each, in ticks without those of reading the counter, then how many groups
//! of them went well, and switches the machine off.
#![no_std]
#![no_main]

use kernel_tests::env::{HIGH, MAIN};
use kernel_tests::machine::rdtsc;
use kernel_tests::measure::{self, STAMP, bench, move_to_own_space, overhead};
use kernel_tests::{Env, Me, Outcome, machine, thread};
use sel4::init_thread::slot;
use sel4::{BootInfoPtr, MessageInfo, cap};
use sel4_root_task::println;

sel4_root_task::declare!(main);

fn main(bootinfo: &BootInfoPtr) -> ! {
    measure::run(bootinfo, &[null, call_reply, call_reply_in_one_space, one_way, passive, send, invocations])
}

/// [`bench`]; the number of message words is part of the name if it isn't 0.
fn bench_words(name: &str, words: u64, overhead: u64, measure: impl FnMut() -> u64) {
    let mut suffix = heapless::String::<8>::new();
    if words != 0 {
        let _ = core::fmt::write(&mut suffix, format_args!("-{words}"));
    }
    bench_named(name, &suffix, overhead, measure);
}

/// The same with a name of two parts.
fn bench_named(name: &str, suffix: &str, overhead: u64, measure: impl FnMut() -> u64) {
    let mut whole = heapless::String::<48>::new();
    let _ = core::fmt::write(&mut whole, format_args!("{name}{suffix}"));
    bench(&whole, overhead, measure);
}

/// Answers on args[0] with the reply object args[1], args[2] words long.
fn server(me: &mut Me) {
    let (endpoint, reply) = (cap::Endpoint::from_bits(me.args[0]), cap::Reply::from_bits(me.args[1]));
    let info = MessageInfo::new(0, 0, 0, me.args[2] as usize);
    let mut msg = endpoint.recv_with_mrs(reply).msg;
    loop {
        msg = endpoint.reply_recv_with_mrs(info, msg, reply).msg;
    }
}

/// As [`server`], and leaves the counter in a cell as soon as it has received. With `FLOAT` it has used its SSE registers since.
fn stamping_server<const FLOAT: bool>(me: &mut Me) {
    let (endpoint, reply) = (cap::Endpoint::from_bits(me.args[0]), cap::Reply::from_bits(me.args[1]));
    let info = MessageInfo::new(0, 0, 0, me.args[2] as usize);
    let mut msg = endpoint.recv_with_mrs(reply).msg;
    loop {
        let now = rdtsc();
        thread::put(STAMP, now);
        if FLOAT {
            machine::use_sse();
        }
        thread::put(STAMP + 1, rdtsc());
        msg = endpoint.reply_recv_with_mrs(info, msg, reply).msg;
    }
}

/// Starts a server with a scheduling context of its own; returns its endpoint.
fn serve(env: &mut Env, body: fn(&mut Me), words: u64, other_space: bool) -> Outcome<cap::Endpoint> {
    start_server(env, body, words, other_space).map(|(endpoint, _)| endpoint)
}

/// The same without: it runs on its clients'.
fn serve_passively(
    env: &mut Env,
    body: fn(&mut Me),
    words: u64,
    other_space: bool,
) -> Outcome<cap::Endpoint> {
    let (endpoint, server) = start_server(env, body, words, other_space)?;
    // It is waiting by now: its priority is higher. Measured is with equal ones.
    server.sc.sched_context_unbind()?;
    server.tcb.tcb_set_priority(slot::TCB.cap(), MAIN)?;
    Ok(endpoint)
}

fn start_server(
    env: &mut Env,
    body: fn(&mut Me),
    words: u64,
    other_space: bool,
) -> Outcome<(cap::Endpoint, thread::Thread)> {
    let endpoint: cap::Endpoint = env.make()?;
    let reply: cap::Reply = env.make()?;
    let server = env.thread(body, [endpoint.bits(), reply.bits(), words, 0])?;
    if other_space {
        move_to_own_space(env, server)?;
    }
    env.start(server, HIGH)?;
    Ok((endpoint, server))
}

fn measure_call(endpoint: cap::Endpoint, words: usize) -> u64 {
    let info = MessageInfo::new(0, 0, 0, words);
    let start = rdtsc();
    endpoint.call_with_mrs(info, [1, 2, 3, 4]);
    rdtsc() - start
}

fn null(env: &mut Env) -> Outcome {
    let overhead = overhead();
    println!("bench rdtsc-pair {overhead} min {overhead}");
    let notification: cap::Notification = env.make()?;
    bench("poll", overhead, || {
        let start = rdtsc();
        notification.poll();
        rdtsc() - start
    });
    Ok(())
}

fn call_reply(env: &mut Env) -> Outcome {
    let overhead = overhead();
    for words in [0, 4, 10, 120] {
        let endpoint = serve(env, server, words, true)?;
        bench_words("ipc-call-reply", words, overhead, || measure_call(endpoint, words as usize));
    }
    Ok(())
}

fn call_reply_in_one_space(env: &mut Env) -> Outcome {
    let overhead = overhead();
    for words in [0, 10] {
        let endpoint = serve(env, server, words, false)?;
        bench_words("ipc-call-reply-one-space", words, overhead, || measure_call(endpoint, words as usize));
    }
    Ok(())
}

fn one_way(env: &mut Env) -> Outcome {
    let overhead = overhead();
    for words in [0, 10] {
        let endpoint = serve(env, stamping_server::<false>, words, true)?;
        let info = MessageInfo::new(0, 0, 0, words as usize);
        bench_words("ipc-call", words, overhead, || {
            let start = rdtsc();
            endpoint.call_with_mrs(info, [1, 2, 3, 4]);
            thread::get(STAMP) - start
        });
        bench_words("ipc-reply", words, overhead, || {
            endpoint.call_with_mrs(info, [1, 2, 3, 4]);
            rdtsc() - thread::get(STAMP + 1)
        });
    }
    Ok(())
}

/// As the groups before, with servers that have no scheduling context.
fn passive(env: &mut Env) -> Outcome {
    for (other_space, words) in [(true, 0), (true, 10), (false, 0)] {
        passive_server::<false>(env, if other_space { "" } else { "-one-space" }, other_space, words)?;
    }
    passive_server::<true>(env, "-sse", true, 0)
}

/// Both ways together and each by itself. With `FLOAT` both sides use their SSE registers in between.
fn passive_server<const FLOAT: bool>(env: &mut Env, suffix: &str, other_space: bool, words: u64) -> Outcome {
    let overhead = overhead();
    let mut name = heapless::String::<16>::new();
    let _ = if words == 0 { name.push_str(suffix) } else { name.push_str("-10") };
    let endpoint = serve_passively(env, server, words, other_space)?;
    if !FLOAT {
        bench_named("ipc-passive-call-reply", &name, overhead, || measure_call(endpoint, words as usize));
    }
    let endpoint = serve_passively(env, stamping_server::<FLOAT>, words, other_space)?;
    let info = MessageInfo::new(0, 0, 0, words as usize);
    let call = || {
        if FLOAT {
            machine::use_sse();
        }
        let start = rdtsc();
        endpoint.call_with_mrs(info, [1, 2, 3, 4]);
        (start, rdtsc())
    };
    bench_named("ipc-passive-call", &name, overhead, || {
        let (start, _) = call();
        thread::get(STAMP) - start
    });
    bench_named("ipc-passive-reply", &name, overhead, || {
        let (_, end) = call();
        end - thread::get(STAMP + 1)
    });
    Ok(())
}

/// A send to a thread of higher priority that waits.
fn send(env: &mut Env) -> Outcome {
    let overhead = overhead();
    let endpoint = serve(env, receiver, 0, true)?;
    bench("ipc-send", overhead, || {
        let start = rdtsc();
        endpoint.send(MessageInfo::new(0, 0, 0, 0));
        thread::get(STAMP) - start
    });
    Ok(())
}

/// Receives on args[0], and leaves the counter in a cell each time.
fn receiver(me: &mut Me) {
    let (endpoint, reply) = (cap::Endpoint::from_bits(me.args[0]), cap::Reply::from_bits(me.args[1]));
    loop {
        endpoint.recv_with_mrs(reply);
        thread::put(STAMP, rdtsc());
    }
}

fn invocations(env: &mut Env) -> Outcome {
    let overhead = overhead();
    let frame: cap::Granule = env.make()?;
    bench("page-get-address", overhead, || {
        let start = rdtsc();
        let _ = frame.frame_get_address();
        rdtsc() - start
    });
    let com1 = machine::com1();
    bench("ioport-in8", overhead, || {
        let start = rdtsc();
        let _ = com1.ioport_in8(0x3fd);
        rdtsc() - start
    });
    Ok(())
}
