// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measures system calls. Under QEMU's `-icount shift=0` a tick of the time-stamp counter is an instruction.
//!
//! Prints `bench <name> <median> min <minimum>` for each, in ticks without those of reading the counter, then how many groups
//! of them went well, and switches the machine off.
#![no_std]
#![no_main]

use kernel_tests::env::{HIGH, MAIN, root_guard};
use kernel_tests::machine::rdtsc;
use kernel_tests::{Env, Me, Outcome, machine, space, thread};
use sel4::init_thread::slot;
use sel4::{
    BootInfoPtr, CPtr, CapRights, MessageInfo, ObjectBlueprint, ObjectBlueprintX86, VmAttributes, cap,
};
use sel4_root_task::println;

sel4_root_task::declare!(main);

/// Measurements of each.
const N: usize = 1001;
/// Cell in which a server leaves the counter.
const STAMP: usize = 5;

fn main(bootinfo: &BootInfoPtr) -> ! {
    let mut env = match Env::new(bootinfo) {
        Ok(env) => env,
        Err(why) => panic!("no environment: {why}"),
    };
    let (mut passed, mut failed) = (0, 0);
    for group in [null, call_reply, call_reply_in_one_space, one_way, passive, signal, invocations] {
        match env.run(group) {
            Ok(()) => passed += 1,
            Err(why) => {
                failed += 1;
                println!("FAILED: {why}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    machine::exit(env.last_slot(), failed == 0)
}

/// Measures `N` times after a few in vain, and prints. The number of message words is part of the name if it isn't 0.
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

/// Measures `N` times after a few in vain, and prints.
fn bench(name: &str, overhead: u64, mut measure: impl FnMut() -> u64) {
    let mut ticks = [0; N];
    (0..20).for_each(|_| {
        measure();
    });
    ticks.iter_mut().for_each(|ticks| *ticks = measure().saturating_sub(overhead));
    ticks.sort_unstable();
    println!("bench {name} {} min {}", ticks[N / 2], ticks[0]);
}

/// Ticks that reading the counter takes.
fn overhead() -> u64 {
    (0..100).fold(u64::MAX, |least, _| {
        let start = rdtsc();
        least.min(rdtsc() - start)
    })
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

/// As [`server`], and leaves the counter in a cell as soon as it has received.
fn stamping_server(me: &mut Me) {
    let (endpoint, reply) = (cap::Endpoint::from_bits(me.args[0]), cap::Reply::from_bits(me.args[1]));
    let info = MessageInfo::new(0, 0, 0, me.args[2] as usize);
    let mut msg = endpoint.recv_with_mrs(reply).msg;
    loop {
        let now = rdtsc();
        thread::put(STAMP, now);
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
        let vspace = space::with_image(env)?;
        let guard = root_guard(&env.bootinfo);
        server.tcb.tcb_set_space(CPtr::from_bits(0), slot::CNODE.cap(), guard, vspace)?;
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
        let endpoint = serve(env, stamping_server, words, true)?;
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
    let overhead = overhead();
    for (name, other_space) in [("", true), ("-one-space", false)] {
        let endpoint = serve_passively(env, server, 0, other_space)?;
        bench_named("ipc-passive-call-reply", name, overhead, || measure_call(endpoint, 0));
        let endpoint = serve_passively(env, stamping_server, 0, other_space)?;
        let info = MessageInfo::new(0, 0, 0, 0);
        bench_named("ipc-passive-call", name, overhead, || {
            let start = rdtsc();
            endpoint.call_with_mrs(info, [1, 2, 3, 4]);
            thread::get(STAMP) - start
        });
        bench_named("ipc-passive-reply", name, overhead, || {
            endpoint.call_with_mrs(info, [1, 2, 3, 4]);
            rdtsc() - thread::get(STAMP + 1)
        });
    }
    Ok(())
}

/// Waits on args[0], and leaves the counter.
fn waiter(me: &mut Me) {
    let notification = cap::Notification::from_bits(me.args[0]);
    loop {
        notification.wait();
        thread::put(STAMP, rdtsc());
    }
}

fn signal(env: &mut Env) -> Outcome {
    let overhead = overhead();
    let idle: cap::Notification = env.make()?;
    bench("signal-nobody", overhead, || {
        let start = rdtsc();
        idle.signal();
        rdtsc() - start
    });
    let awaited: cap::Notification = env.make()?;
    let thread = env.thread(waiter, [awaited.bits(), 0, 0, 0])?;
    let vspace = space::with_image(env)?;
    thread.tcb.tcb_set_space(CPtr::from_bits(0), slot::CNODE.cap(), root_guard(&env.bootinfo), vspace)?;
    env.start(thread, HIGH)?;
    bench("signal-to-waiter", overhead, || {
        let start = rdtsc();
        awaited.signal();
        thread::get(STAMP) - start
    });
    bench("signal-and-wait-again", overhead, || {
        let start = rdtsc();
        awaited.signal();
        rdtsc() - start
    });
    bench("yield-alone", overhead, || {
        let start = rdtsc();
        sel4::yield_();
        rdtsc() - start
    });
    Ok(())
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
    const BASE: usize = 0x80_0000_0000;
    let vspace = slot::VSPACE.cap();
    space::map_tables(env, vspace, BASE)?;
    bench("page-map-unmap", overhead, || {
        let start = rdtsc();
        let _ = frame.frame_map(vspace, BASE, CapRights::read_write(), VmAttributes::DEFAULT);
        let _ = frame.frame_unmap();
        rdtsc() - start
    });
    let untyped = env.untyped(12)?;
    let slot = env.slot()?;
    let own = kernel_tests::env::own_cnode();
    bench("retype-4k-delete", overhead, || {
        let start = rdtsc();
        let _ = untyped.untyped_retype(&ObjectBlueprint::Arch(ObjectBlueprintX86::_4k), &own, slot, 1);
        let _ = kernel_tests::env::at(cap::Granule::from_bits(slot as u64)).delete();
        rdtsc() - start
    });
    Ok(())
}
