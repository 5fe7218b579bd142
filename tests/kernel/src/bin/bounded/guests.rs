// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guests whose entries fill the L1 data cache, in which interrupts are off.

use kernel_tests::{Env, Outcome, check, machine};
use mitigations::{Steps, fill};
use sel4::init_thread::slot;
use sel4_abi::{entry_flush, vmcb};

use crate::code::entry;
use crate::vm::{Vm, exit};

kernel_tests::checks! {
    interrupts_come_before_the_cache_is_filled,
}

const ENTRIES: u64 = 50;

/// Ticks of an exit of a guest that is entered like this, at best.
fn ticks(vm: &mut Vm) -> Outcome<u64> {
    let mut best = u64::MAX;
    for _ in 0..ENTRIES {
        vm.rip = entry::guest_cpuid();
        let begin = machine::rdtsc();
        vm.expect(exit::CPUID)?;
        best = best.min(machine::rdtsc() - begin);
    }
    Ok(best)
}

/// Each entry is interrupted and begun again, but fills once.
fn interrupts_come_before_the_cache_is_filled(env: &mut Env) -> Outcome {
    let mut plain = Vm::entered(env, 0, entry::guest_cpuid(), entry_flush::OFF)?;
    plain.bind(slot::TCB.cap())?;
    let without = ticks(&mut plain)?;
    let mut filled = Vm::entered(env, 1, entry::guest_cpuid(), entry_flush::ON)?;
    filled.bind(slot::TCB.cap())?;
    let growth = ticks(&mut filled)? - without;
    let most = *fill::growth(Steps::L1D_FILL).end();
    check!((most + 100..2 * most).contains(&growth), "interrupted entries are longer by {growth}");
    // What the watchdog's interrupts end goes on with another one.
    let fills = filled.vcpu.vcpu_read_vmcb(vmcb::L1D_FLUSHES)?;
    check!((ENTRIES..=ENTRIES + 5).contains(&fills), "{fills} fills at {ENTRIES} entries");
    Ok(())
}
