// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes a few things whose places it prints, and has a debug kernel print the threads, and the capability graph, for `postern inspect` to read.
#![no_std]
#![no_main]

use kernel_tests::env::at;
use kernel_tests::run::run;
use kernel_tests::{Env, Outcome};
use sel4::init_thread::slot;
use sel4::{BootInfoPtr, CapRights, cap};
use sel4_root_task::println;

sel4_root_task::declare!(main);

kernel_tests::checks! { the_graph_is_printed }

/// The badge by which the harness finds its endpoint.
const BADGE: u64 = 0x5ab;

fn main(bootinfo: &BootInfoPtr) -> ! {
    run(bootinfo, |_| &[CHECKS], || ())
}

fn the_graph_is_printed(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let badged = env.mint(endpoint, CapRights::new(false, false, false, true), BADGE)?;
    let cnode = env.cnode(4)?;
    let second = cnode.absolute_cptr_from_bits_with_depth(9, 4);
    second.copy(&at(badged), CapRights::all())?;
    let thread: cap::Tcb = env.make()?;
    thread.tcb_set_space(
        sel4::CPtr::from_bits(0),
        cnode,
        sel4::CNodeCapData::new(0, 60),
        slot::VSPACE.cap(),
    )?;
    sel4::with_ipc_buffer_mut(|buffer| sel4::debug_name_thread(thread, "observed one", buffer));
    sel4::debug_dump_scheduler();
    sel4::debug_snapshot();
    println!(
        "slots: endpoint {:#x} badged {:#x} cnode {:#x} thread {:#x}",
        endpoint.bits(),
        badged.bits(),
        cnode.bits(),
        thread.bits()
    );
    Ok(())
}
