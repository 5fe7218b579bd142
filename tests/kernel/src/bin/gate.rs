// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread calls before it does anything else, so it has come out of the kernel by IRET, and its server by SYSRET. What the first has left in the
//! gate of an isolated kernel the harness looks at, where the server is at [`seen`]'s instruction.
#![no_std]
#![no_main]

use kernel_tests::run::run;
use kernel_tests::{Env, Me, Outcome};
use sel4::{BootInfoPtr, MessageInfo, cap};

sel4_root_task::declare!(main);

kernel_tests::checks! { a_beginner_is_served }

/// Above the one that makes them, and one more.
const CLIENT: u64 = kernel_tests::env::HIGH;
const SERVER: u64 = CLIENT + 1;

fn main(bootinfo: &BootInfoPtr) -> ! {
    run(bootinfo, |_| &[CHECKS], || ())
}

/// The harness finds this instruction by its bytes: it is nowhere else.
#[inline(never)]
fn seen() {
    // SAFETY: does nothing.
    unsafe {
        core::arch::asm!("nop dword ptr [rax + rax + 0x65746167]", options(nomem, nostack, preserves_flags))
    }
}

/// Answers on args[0] with the reply object args[1].
fn server(me: &mut Me) {
    let (endpoint, reply) = (cap::Endpoint::from_bits(me.args[0]), cap::Reply::from_bits(me.args[1]));
    let mut msg = endpoint.recv_with_mrs(reply).msg;
    loop {
        seen();
        msg = endpoint.reply_recv_with_mrs(MessageInfo::new(0, 0, 0, 0), msg, reply).msg;
    }
}

fn client(me: &mut Me) {
    cap::Endpoint::from_bits(me.args[0]).call_with_mrs(MessageInfo::new(0, 0, 0, 0), [0; 4]);
}

fn a_beginner_is_served(env: &mut Env) -> Outcome {
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (env.make()?, env.make()?);
    env.spawn(SERVER, server, [endpoint.bits(), reply.bits(), 0, 0])?;
    let client = env.spawn(CLIENT, client, [endpoint.bits(), 0, 0, 0])?;
    env.join(&[client])
}
