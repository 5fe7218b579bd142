// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guests in scheduling domains, on a kernel that was booted with `domains=3`.

use kernel_tests::env::write_turns;
use kernel_tests::{Env, Failure, Outcome, Thread, check_eq, machine, thread};
use sel4::cap;
use sel4::init_thread::slot;

use crate::code::DONE;
use crate::threads::{guests, spinning};
use crate::vm::{Vm, exit};

kernel_tests::checks! {
    guests_run_in_their_domains_turns,
}

/// Where a guest counts, and the flag that ends it.
const COUNT: usize = 0x9408;
const FLAG: usize = 0x9400;
/// The schedule's first entry, and its turns: domain and microseconds.
const FIRST: u64 = 10;
const TURNS: [(u8, u64); 3] = [(0, 1000), (1, 300), (2, 400)];

fn domain_set() -> cap::DomainSet {
    slot::DOMAIN_SET.cap()
}

/// A guest that spins, in a domain that has no turn yet.
fn guest_in(env: &mut Env, domain: u8, n: usize) -> Outcome<(Thread, &'static Vm)> {
    let thread = spinning(env, n)?;
    domain_set().domain_set_set(domain, thread.tcb)?;
    let vm = guests()[n].as_ref().ok_or(Failure::new(format_args!("no guest")))?;
    Ok((thread, vm))
}

fn guests_run_in_their_domains_turns(env: &mut Env) -> Outcome {
    let ticks = machine::ticks_per_us(&env.bootinfo);
    let (first, a) = guest_in(env, 1, 0)?;
    let (_, b) = guest_in(env, 2, 1)?;
    let counts = || (a.peek(COUNT), b.peek(COUNT));
    write_turns(FIRST, &TURNS, ticks)?;
    for round in 0..5 {
        // The rest of this turn, and all turns of the guests.
        domain_set().domain_set_schedule_set_start(FIRST)?;
        let (before, began) = (counts(), machine::rdtsc());
        machine::pass_until(began + 900 * ticks);
        check_eq!(counts(), before, "what they counted in another domain's turn");
        machine::pass_until(began + 1750 * ticks);
        let (ran, other) = (counts().0 > before.0, counts().1 > before.1);
        check_eq!((ran, other), (round != 3, true), "whether they counted in their own turns");
        // In one round the first one stands still.
        match round {
            2 => first.tcb.tcb_suspend()?,
            3 => first.tcb.tcb_resume()?,
            _ => {}
        }
    }
    for (n, vm) in [a, b].into_iter().enumerate() {
        vm.poke(FLAG, 1);
        env.wait_until(5000, || thread::get(3 + n) != 0)?;
        check_eq!(thread::get(2), exit::VMMCALL, "the exit");
        // It adds up what its registers held.
        check_eq!(thread::get(3 + n), DONE, "RAX");
    }
    domain_set().domain_set_schedule_set_start(0)?;
    Ok(())
}
