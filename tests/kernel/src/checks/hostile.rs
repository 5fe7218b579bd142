// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a program can do to the kernel by asking for nonsense: nothing. The sequences are the same in every run.

use kernel_tests::env::{HIGH, at};
use kernel_tests::random::Random;
use kernel_tests::{Env, Outcome, check, space, thread};
use sel4::init_thread::slot;
use sel4::{CNodeCapData, CPtr, CapRights, IOSpaceCapData, ObjectBlueprint, UserContext, cap, cap_type};

kernel_tests::checks! {
    random_invocations_leave_the_kernel_alive,
    random_invocations_with_likely_arguments,
    random_system_calls_leave_the_kernel_alive,
    random_registers_leave_the_kernel_alive,
}

/// A word that is likely to mean something, or at the edge of what does.
fn word(random: &mut Random) -> u64 {
    match random.below(8) {
        0 => random.below(8),
        1 => random.below(256),
        2 => 1 << random.below(64),
        3 => (1u64 << random.below(64)).wrapping_sub(1),
        4 => super::vspace::BASE as u64 + (random.below(1 << 12) << 12),
        5 => random.below(1 << 9) << 21,
        6 => random.number(),
        _ => random.below(64),
    }
}

/// Log2 of the slots of the CNode in which the nonsense lands.
const SLOTS: usize = 6;

/// A capability, and the labels that mean something to it.
type Service = (u64, &'static [u64]);

/// An object of each kind, none of them in use by anybody else. The first is a CNode of 2^[`SLOTS`] slots.
fn objects(env: &mut Env) -> Outcome<heapless::Vec<Service, 40>> {
    const PAGE: &[u64] = &[49, 50, 51, 52, 53];
    const TCB: &[u64] = &[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 65];
    const CONTEXT: &[u64] = &[34, 35, 36, 37, 38];
    let mut all = heapless::Vec::new();
    let mut add = |bits: u64, labels: &'static [u64]| {
        let _ = all.push((bits, labels));
    };
    add(env.cnode(SLOTS)?.bits(), &[18, 19, 20, 21, 22, 23, 24, 25]);
    add(env.untyped(16)?.bits(), &[1]);
    add(env.untyped(12)?.bits(), &[1]);
    for _ in 0..2 {
        add(env.make::<cap_type::Tcb>()?.bits(), TCB);
        add(env.make::<cap_type::Pdpt>()?.bits(), &[39, 40]);
        add(env.make::<cap_type::PageDirectory>()?.bits(), &[43, 44]);
        add(env.make::<cap_type::PageTable>()?.bits(), &[45, 46]);
        add(env.make::<cap_type::_4k>()?.bits(), PAGE);
        add(env.make::<cap_type::LargePage>()?.bits(), PAGE);
        add(env.make::<cap_type::IOPageTable>()?.bits(), &[47, 48]);
    }
    add(env.sched_context()?.bits(), CONTEXT);
    add(
        env.make_of::<cap_type::SchedContext>(ObjectBlueprint::SchedContext { size_bits: 7 })?.bits(),
        CONTEXT,
    );
    add(env.make::<cap_type::Notification>()?.bits(), &[0]);
    add(space::empty(env)?.bits(), &[0]);
    add(env.make::<cap_type::Pml4>()?.bits(), &[0]);
    add(env.make::<cap_type::EptPml4>()?.bits(), &[0]);
    add(env.make::<cap_type::EptPdpt>()?.bits(), &[72, 73]);
    add(env.make::<cap_type::EptPageDirectory>()?.bits(), &[74, 75]);
    add(env.make::<cap_type::EptPageTable>()?.bits(), &[76, 77]);
    let extensions = env.bootinfo.extensions().unwrap_or_default();
    if extensions.vcpu_backend != 0 {
        let labels = &[41, 42, 66, 67, 68, 69, 70, 71, 1026, 1027, 1028];
        add(env.make::<cap_type::VCpu>()?.bits(), labels);
        add(env.make::<cap_type::IOPermissionMap>()?.bits(), &[0]);
    }
    if extensions.features & sel4::abi::bootinfo::FEATURE_DMA_REMAPPING != 0 {
        let space = env.empty::<cap_type::IOSpace>()?;
        let data = IOSpaceCapData::new(201, super::io_space::REQUESTER);
        at(space).mint(&at(slot::IO_SPACE.cap()), CapRights::all(), data.into_word())?;
        add(space.bits(), &[1024, 1025]);
    }
    let ports = env.empty::<cap_type::IOPort>()?;
    slot::IO_PORT_CONTROL.cap().ioport_control_issue(0x1000, 0x100f, &at(ports))?;
    add(ports.bits(), &[57, 58, 59, 60, 61, 62]);
    let handler = env.empty::<cap_type::IrqHandler>()?;
    slot::IRQ_CONTROL.cap().irq_control_get_ioapic(0, 20, 0, 0, 15, &at(handler))?;
    add(handler.bits(), &[27, 28, 29, 1029, 1030]);
    add(env.sched_control.bits(), &[33]);
    add(slot::ASID_CONTROL.cap().bits(), &[54]);
    add(slot::DOMAIN_SET.cap().bits(), &[30, 31, 32]);
    Ok(all)
}

/// Invokes at random. An endpoint or a reply object would not come back, so they are arguments only.
/// Returns how many succeeded.
fn invoke_at_random(env: &mut Env, seed: u64, rounds: usize, likely: bool) -> Outcome<usize> {
    let services = objects(env)?;
    let mut arguments: heapless::Vec<u64, 48> = services.iter().map(|service| service.0).collect();
    let endpoint: cap::Endpoint = env.make()?;
    let reply: cap::Reply = env.make()?;
    let nothing = env.slot()? as u64;
    for more in [endpoint.bits(), reply.bits(), nothing, 0] {
        let _ = arguments.push(more);
    }
    let cnode = services[0].0;
    let mut random = Random(seed);
    let mut succeeded = 0;
    for _ in 0..rounds {
        let (service, labels) = random.of(&services);
        let mut label = if random.below(8) == 0 { 1024 + random.below(12) } else { random.below(80) };
        let mut words = [0; 24];
        words.fill_with(|| word(&mut random));
        let mut extra = [0; 3];
        extra.iter_mut().for_each(|cap| *cap = random.of(&arguments));
        if likely {
            // A destination that exists: the small CNode, addressed with its own bits or as a whole.
            extra[0] = if random.below(4) == 0 { cnode } else { extra[0] };
            label = random.of(labels);
            words[0] = if random.below(2) == 0 { random.below(1 << SLOTS) } else { words[0] };
            words[1] = random.of(&[SLOTS as u64, 0, 64, words[1]]);
            words[3] = random.of(&[SLOTS as u64, 0, words[3]]);
        }
        // The initial thread's own CNode and TCB are never at stake: they are no argument.
        let (length, caps) =
            if likely { (24, 3) } else { (random.below(24) as usize, random.below(4) as usize) };
        let service = cap::Untyped::from_bits(service);
        let (info, _) = service.invoke_raw(label, &words[..length], &extra[..caps]);
        succeeded += usize::from(info.label() == 0);
    }
    Ok(succeeded)
}

fn random_invocations_leave_the_kernel_alive(env: &mut Env) -> Outcome {
    let succeeded = invoke_at_random(env, 0x9e37_79b9_7f4a_7c15, 40_000, false)?;
    check!(succeeded > 500, "only {succeeded} made sense");
    Ok(())
}

fn random_invocations_with_likely_arguments(env: &mut Env) -> Outcome {
    let succeeded = invoke_at_random(env, 0xd1b5_4a32_d192_ed03, 40_000, true)?;
    check!(succeeded > 4000, "only {succeeded} made sense");
    Ok(())
}

core::arch::global_asm!(".global kernel_tests_gadget", "kernel_tests_gadget:", "syscall", "ud2");

unsafe extern "C" {
    fn kernel_tests_gadget();
}

/// A CSpace of 256 slots for threads that make system calls at random.
struct Space {
    cnode: cap::CNode,
    guard: CNodeCapData,
    originals: heapless::Vec<u64, 64>,
}

impl Space {
    /// Holds a copy of each object, three endpoints, reply objects and notifications, and itself.
    fn new(env: &mut Env) -> Outcome<Self> {
        let cnode = env.cnode(8)?;
        let guard = CNodeCapData::skip_high_bits(8);
        let mut originals: heapless::Vec<u64, 64> = objects(env)?.iter().map(|object| object.0).collect();
        for _ in 0..3 {
            let more = [
                env.make::<cap_type::Endpoint>()?.bits(),
                env.make::<cap_type::Reply>()?.bits(),
                env.make::<cap_type::Notification>()?.bits(),
            ];
            let _ = originals.extend_from_slice(&more);
        }
        let _ = originals.push(env.mint(cnode, CapRights::all(), guard.into_word())?.bits());
        let space = Self { cnode, guard, originals };
        (0..LIVE).for_each(|slot| space.fill(slot, slot as usize));
        Ok(space)
    }

    fn slot(&self, slot: u64) -> sel4::AbsoluteCPtr {
        self.cnode.absolute_cptr_from_bits_with_depth(slot, 8)
    }

    /// Address, in the CSpace, of the capability to itself, as long as it is there.
    fn itself(&self) -> u64 {
        self.originals.len() as u64 - 1
    }

    /// Puts a copy of an original into a slot, if it is empty and the original can be copied: tables only while they are mapped.
    fn fill(&self, slot: u64, original: usize) {
        let original = self.originals[original % self.originals.len()];
        let badge = if slot.is_multiple_of(3) { slot } else { 0 };
        let source = at(cap::Untyped::from_bits(original));
        let _ = match badge {
            0 => self.slot(slot).copy(&source, CapRights::all()),
            badge => self.slot(slot).mint(&source, CapRights::all(), badge),
        };
    }
}

/// Slots of the CSpace in which there is something.
const LIVE: u64 = 128;

/// Registers of a thread that makes one system call at random, and then ends in an exception.
fn system_call(random: &mut Random) -> UserContext {
    // Not the debug calls: one of them stops the machine.
    let number = random.of(&[-1i64, -2, -3, -4, -5, -6, -7, -8, -9, -10, -11, -32, -33, -40, 5]);
    let info = match random.below(4) {
        0 => random.number(),
        _ => random.below(80) << 12 | random.below(4) << 7 | random.below(30),
    };
    UserContext {
        rip: kernel_tests_gadget as *const () as u64,
        rflags: 0x202,
        rdx: number as u64,
        rdi: random.below(LIVE + 4),
        rsi: info,
        r10: word(random),
        r8: word(random),
        r9: word(random),
        r15: word(random),
        r12: random.below(LIVE + 4),
        r13: random.below(LIVE + 4),
        ..UserContext::default()
    }
}

/// Fills the capability words of a thread's IPC buffer.
fn scribble(random: &mut Random, id: usize, space: u64) {
    let buffer = thread::ipc_buffer_address(id) as *mut u64;
    // Three capabilities; then receive root, index and depth (`abi::message::IpcBuffer`).
    let words = [
        random.below(LIVE),
        random.below(LIVE),
        random.below(LIVE),
        space,
        random.below(256),
        random.of(&[8, 64]),
    ];
    for (i, word) in words.into_iter().enumerate() {
        // SAFETY: the page of a thread that stands still or runs the gadget: only the kernel looks at it.
        unsafe { buffer.add(976 / 8 + i).write_volatile(word) };
    }
}

fn random_system_calls_leave_the_kernel_alive(env: &mut Env) -> Outcome {
    let space = Space::new(env)?;
    let mut threads: heapless::Vec<kernel_tests::Thread, 6> = heapless::Vec::new();
    for i in 0..6 {
        let thread = env.thread(|_| (), [0; 4])?;
        thread.tcb.tcb_set_space(CPtr::from_bits(0), space.cnode, space.guard, slot::VSPACE.cap())?;
        thread.tcb.tcb_set_priority(slot::TCB.cap(), HIGH + i % 3)?;
        let _ = threads.push(thread);
    }
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..12_000 {
        let thread = random.of(&threads);
        if random.below(2) == 0 {
            thread.tcb.tcb_suspend()?;
        }
        scribble(&mut random, thread.id, space.itself());
        thread.tcb.tcb_write_all_registers(false, &system_call(&mut random))?;
        // Its context may have been lent, and its holder deleted: it is taken back by force.
        let _ = thread.sc.sched_context_unbind();
        env.sched_control.sched_control_configure_flags(thread.sc, 10_000, 10_000, 0, 0, 0)?;
        let _ = thread.sc.sched_context_bind(thread.tcb);
        thread.tcb.tcb_resume()?;
        let target = random.below(LIVE);
        match random.below(12) {
            0 => space.slot(target).delete()?,
            1 => space.slot(target).revoke()?,
            2 => {
                let _ = space.slot(target).cancel_badged_sends();
            }
            3..6 => space.fill(target, random.below(64) as usize),
            _ => {}
        }
    }
    for thread in threads {
        thread.tcb.tcb_suspend()?;
    }
    Ok(())
}

fn random_registers_leave_the_kernel_alive(env: &mut Env) -> Outcome {
    let thread = env.thread(|_| (), [0; 4])?;
    thread.tcb.tcb_set_priority(slot::TCB.cap(), HIGH)?;
    thread.sc.sched_context_bind(thread.tcb)?;
    let mut random = Random(0x94d0_49bb_1331_11eb);
    for round in 0..3000 {
        let mut words: [u64; 20] = core::array::from_fn(|_| word(&mut random));
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
