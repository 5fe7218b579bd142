// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a program can do to the kernel by asking for nonsense: nothing. The sequences are the same in every run.

use kernel_tests::env::{HIGH, at};
use kernel_tests::{Env, Outcome, check, space};
use sel4::init_thread::slot;
use sel4::{CNodeCapData, CPtr, CapRights, ObjectBlueprint, UserContext, cap, cap_type};

super::checks! {
    random_invocations_leave_the_kernel_alive,
    random_invocations_with_likely_arguments,
    random_system_calls_leave_the_kernel_alive,
    random_registers_leave_the_kernel_alive,
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }
    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
    /// A word that is likely to mean something, or at the edge of what does.
    fn word(&mut self) -> u64 {
        match self.below(8) {
            0 => self.below(8),
            1 => self.below(256),
            2 => 1 << self.below(64),
            3 => (1u64 << self.below(64)).wrapping_sub(1),
            4 => super::vspace::BASE as u64 + (self.below(1 << 12) << 12),
            5 => self.below(1 << 9) << 21,
            6 => self.next(),
            _ => self.below(64),
        }
    }
}

/// Log2 of the slots of the CNode in which the nonsense lands.
const SLOTS: usize = 6;

/// An object of each kind, none of them in use by anybody else. The first is a CNode of 2^[`SLOTS`] slots.
fn objects(env: &mut Env) -> Outcome<heapless::Vec<u64, 40>> {
    let mut all = heapless::Vec::new();
    let mut add = |bits: u64| {
        let _ = all.push(bits);
    };
    add(env.cnode(SLOTS)?.bits());
    add(env.untyped(16)?.bits());
    add(env.untyped(12)?.bits());
    add(env.make::<cap_type::Tcb>()?.bits());
    add(env.make::<cap_type::Tcb>()?.bits());
    add(env.sched_context()?.bits());
    add(env.make_of::<cap_type::SchedContext>(ObjectBlueprint::SchedContext { size_bits: 7 })?.bits());
    add(env.make::<cap_type::Notification>()?.bits());
    add(space::empty(env)?.bits());
    add(env.make::<cap_type::Pml4>()?.bits());
    for _ in 0..2 {
        add(env.make::<cap_type::Pdpt>()?.bits());
        add(env.make::<cap_type::PageDirectory>()?.bits());
        add(env.make::<cap_type::PageTable>()?.bits());
        add(env.make::<cap_type::_4k>()?.bits());
    }
    add(env.make::<cap_type::LargePage>()?.bits());
    add(env.make::<cap_type::EptPml4>()?.bits());
    add(env.make::<cap_type::EptPdpt>()?.bits());
    add(env.make::<cap_type::EptPageDirectory>()?.bits());
    add(env.make::<cap_type::EptPageTable>()?.bits());
    add(env.make::<cap_type::IOPageTable>()?.bits());
    if env.bootinfo.extensions().unwrap_or_default().vcpu_backend != 0 {
        add(env.make::<cap_type::VCpu>()?.bits());
        add(env.make::<cap_type::IOPermissionMap>()?.bits());
    }
    let ports = env.empty::<cap_type::IOPort>()?;
    slot::IO_PORT_CONTROL.cap().ioport_control_issue(0x1000, 0x100f, &at(ports))?;
    add(ports.bits());
    let handler = env.empty::<cap_type::IrqHandler>()?;
    slot::IRQ_CONTROL.cap().irq_control_get_ioapic(0, 20, 0, 0, 15, &at(handler))?;
    add(handler.bits());
    add(env.sched_control.bits());
    add(slot::ASID_CONTROL.cap().bits());
    add(slot::DOMAIN_SET.cap().bits());
    Ok(all)
}

/// Invokes at random. An endpoint or a reply object would not come back, so they are arguments only.
/// Returns how many succeeded.
fn invoke_at_random(env: &mut Env, seed: u64, rounds: usize, likely: bool) -> Outcome<usize> {
    let services = objects(env)?;
    let mut arguments: heapless::Vec<u64, 48> = heapless::Vec::from_slice(&services).unwrap_or_default();
    let endpoint: cap::Endpoint = env.make()?;
    let reply: cap::Reply = env.make()?;
    let nothing = env.slot()? as u64;
    for more in [endpoint.bits(), reply.bits(), nothing, 0] {
        let _ = arguments.push(more);
    }
    let cnode = services[0];
    let mut random = Random(seed);
    let mut succeeded = 0;
    for _ in 0..rounds {
        let service = random.of(&services);
        let label = if random.below(8) == 0 { 1024 + random.below(12) } else { random.below(80) };
        let mut words = [0; 24];
        words.iter_mut().for_each(|word| *word = random.word());
        let mut extra = [0; 3];
        extra.iter_mut().for_each(|cap| *cap = random.of(&arguments));
        if likely {
            // A destination that exists: the small CNode, addressed with its own bits or as a whole.
            extra[0] = if random.below(2) == 0 { cnode } else { extra[0] };
            words[0] = if random.below(2) == 0 { random.below(1 << SLOTS) } else { words[0] };
            words[1] = random.of(&[SLOTS as u64, 0, 64, words[1]]);
            words[3] = random.of(&[SLOTS as u64, 0, words[3]]);
        }
        // The initial thread's own CNode and TCB are never at stake: they are no argument.
        let length = random.below(24) as usize;
        let caps = random.below(4) as usize;
        let service = cap::Untyped::from_bits(service);
        let (info, _) = service.invoke_raw(label, &words[..length], &extra[..caps]);
        succeeded += usize::from(info.label() == 0);
    }
    Ok(succeeded)
}

fn random_invocations_leave_the_kernel_alive(env: &mut Env) -> Outcome {
    let succeeded = invoke_at_random(env, 0x9e37_79b9_7f4a_7c15, 40_000, false)?;
    check!(succeeded > 1000000, "only {succeeded} made sense");
    Ok(())
}

fn random_invocations_with_likely_arguments(env: &mut Env) -> Outcome {
    let succeeded = invoke_at_random(env, 0xd1b5_4a32_d192_ed03, 40_000, true)?;
    check!(succeeded > 1000000, "only {succeeded} made sense");
    Ok(())
}

core::arch::global_asm!(".global kernel_tests_gadget", "kernel_tests_gadget:", "syscall", "ud2");

unsafe extern "C" {
    fn kernel_tests_gadget();
}

/// A CNode of 256 slots with a copy of each object in it, and the guard that makes it a CSpace root.
fn cspace(env: &mut Env) -> Outcome<(cap::CNode, CNodeCapData)> {
    let cnode = env.cnode(8)?;
    let objects = objects(env)?;
    // Tables are copied only while they are mapped, so some stay out.
    for (i, object) in objects.iter().enumerate() {
        let to = cnode.absolute_cptr_from_bits_with_depth(i as u64 + 1, 8);
        let _ = to.copy(&at(cap::Untyped::from_bits(*object)), CapRights::all());
    }
    let end = objects.len() as u64 + 1;
    let into = cnode.absolute_cptr_for_self();
    for (i, blueprint) in [ObjectBlueprint::Endpoint, ObjectBlueprint::Reply, ObjectBlueprint::Notification]
        .into_iter()
        .enumerate()
    {
        env.arena.untyped_retype(&blueprint, &into, end as usize + 3 * i, 3)?;
    }
    Ok((cnode, CNodeCapData::skip_high_bits(8)))
}

fn random_system_calls_leave_the_kernel_alive(env: &mut Env) -> Outcome {
    let (cnode, guard) = cspace(env)?;
    let thread = env.thread(|_| (), [0; 4])?;
    let vspace = slot::VSPACE.cap();
    thread.tcb.tcb_set_space(CPtr::from_bits(0), cnode, guard, vspace)?;
    // Without an IPC buffer that another thread's words could be in.
    thread.tcb.tcb_set_priority(slot::TCB.cap(), HIGH)?;
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..4000 {
        // Not the debug calls: one of them stops the machine.
        let number = random.of(&[-1i64, -2, -3, -4, -5, -6, -7, -8, -9, -10, -11, -32, -33, -40, 5]);
        let info = if random.below(4) == 0 {
            random.next()
        } else {
            random.below(80) << 12 | random.below(4) << 7 | random.below(30)
        };
        let registers = UserContext {
            rip: kernel_tests_gadget as *const () as u64,
            rflags: 0x202,
            rdx: number as u64,
            rdi: random.below(70),
            rsi: info,
            r10: random.word(),
            r8: random.word(),
            r9: random.word(),
            r15: random.word(),
            r12: random.below(70),
            r13: random.below(70),
            ..UserContext::default()
        };
        thread.tcb.tcb_suspend()?;
        thread.tcb.tcb_write_all_registers(false, &registers)?;
        // The nonsense may have taken its context, or given it to somebody.
        let _ = thread.sc.sched_context_unbind();
        let full = env.sched_control.sched_control_configure_flags(thread.sc, 10_000, 10_000, 0, 0, 0);
        check!(full.is_ok(), "the scheduling context is gone");
        let _ = thread.sc.sched_context_bind(thread.tcb);
        thread.tcb.tcb_resume()?;
    }
    thread.tcb.tcb_suspend()?;
    Ok(())
}

fn random_registers_leave_the_kernel_alive(env: &mut Env) -> Outcome {
    let thread = env.thread(|_| (), [0; 4])?;
    thread.tcb.tcb_set_priority(slot::TCB.cap(), HIGH)?;
    thread.sc.sched_context_bind(thread.tcb)?;
    let mut random = Random(0x94d0_49bb_1331_11eb);
    for round in 0..3000 {
        let mut words: [u64; 20] = core::array::from_fn(|_| random.word());
        for word in &mut words {
            // Addresses at the edges of what is canonical.
            if random.below(4) == 0 {
                *word = random.of(&[
                    0x7fff_ffff_f000,
                    0x7fff_ffff_ffff,
                    0x8000_0000_0000,
                    u64::MAX << 47,
                    u64::MAX,
                ]);
            }
        }
        if round % 2 == 0 {
            words[0] = kernel_tests_gadget as *const () as u64;
            // A system call that ends: to no capability at all.
            words[8] = 1 << 62;
            words[6] = (-6i64) as u64;
        } else {
            // Nowhere in the image.
            words[0] |= 1 << 46;
        }
        thread.tcb.tcb_suspend()?;
        thread.tcb.tcb_write_all_registers(true, &UserContext::from_words(words))?;
    }
    Ok(())
}
