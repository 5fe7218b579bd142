// SPDX-License-Identifier: MIT OR Apache-2.0
//! A part being built: address space, capability space, thread (`docs/architecture.md`, "Capability spaces of the parts").

use alloc::vec::Vec;

use protocol::client::ENDPOINT_MARK;
use protocol::message::Refusal;
use protocol::start::{Extensions, Facts, Range, RangeKind, cptr, mount, slot as fixed};
use root_task::elf::{self, Image};
use root_task::layout::{
    INDEX_BITS, IPC_BUFFER, KEPT, PAGE, RING, RING_PAGES, ROOT_RADIX, STACK_TOP, START_PAGE, kept_pages,
};
use root_task::need::{EXTRA_REFILLS, Need, Role};
use sel4::init_thread::slot;
use sel4::{
    AbsoluteCPtr, CNodeCapData, Cap, CapRights, CapTypeForFrameObject, MessageInfo, ObjectBlueprintX86,
    UserContext, VmAttributes, cap, cap_type,
};

use serde::Serialize;

use crate::failure::{During, Failure};
use crate::resources::{Arena, Resources, at, in_slot};

/// RFLAGS: interrupts on, and the bit that is always set.
const INTERRUPTS_ON: u64 = 0x202;
/// The guard of every part's root CNode.
const ROOT_GUARD: CNodeCapData = CNodeCapData::skip(sel4::WORD_SIZE - ROOT_RADIX - INDEX_BITS);
/// Clients may call and be answered.
const CLIENT_RIGHTS: CapRights = CapRights::new(true, false, false, true);
const START_PAGES: usize = protocol::start::MAX_BYTES / PAGE;

/// What all parts share.
#[derive(Debug, Clone, Copy)]
pub struct Common {
    /// Slot of the supervisor's endpoint.
    pub supervisor: usize,
    /// Slot of the first processor's scheduling control; the others' follow.
    pub sched_control: usize,
    /// Processors that the kernel runs on.
    pub processors: usize,
    /// Frequency of the time-stamp counter, kHz.
    pub tsc_khz: u64,
    /// Levels of I/O page tables.
    pub io_levels: u64,
    /// The kernel's extensions.
    pub extensions: Extensions,
}

/// How a part is to be.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Its client number.
    pub client: u64,
    /// Its thread's priority.
    pub priority: u8,
    /// Number of the processor on which it runs; there is such a one.
    pub cpu: u8,
    /// CPU time in each period, microseconds; both.
    pub time: (u64, u64),
    /// Slot of the endpoint that it serves.
    pub serves: Option<usize>,
    /// Log2 of the slots of its own CNode.
    pub own_radix: usize,
    /// Pages of its stack.
    pub stack_pages: usize,
    /// First slot of its log ring's frames.
    pub ring: usize,
}

/// A part being built, or built.
#[derive(Debug)]
pub struct Process {
    /// Its memory.
    pub arena: Arena,
    /// What the start page will say.
    pub ranges: Vec<Range>,
    /// Slot of its notification.
    pub notification: usize,
    client: u64,
    /// Slots of its objects.
    objects: [usize; Role::COUNT],
    own_radix: usize,
    start_frames: usize,
    entry: usize,
    next: usize,
    /// What it writes.
    written: Written,
}

/// Slots of the frames that a part writes and that are nobody else's.
#[derive(Debug, Default)]
struct Written {
    /// The first of each of its image's segments, 0 for one that is only read.
    segments: Vec<usize>,
    /// The stack's first, and how many.
    stack: (usize, usize),
    /// The IPC buffer's.
    buffer: usize,
}

/// Reads an image.
pub fn image(file: &[u8]) -> Result<Image<'_>, Failure> {
    elf::parse(file).map_err(|error| {
        crate::log!("{error}");
        Failure::new("the part's image can't be loaded")
    })
}

impl Process {
    /// Builds all but the thread's start.
    pub fn new(
        resources: &mut Resources,
        common: &Common,
        plan: &Plan,
        image: &Image,
        need: &Need,
        mut arena: Arena,
    ) -> Result<Self, Failure> {
        let made = Self::build(resources, common, plan, image, need, &mut arena);
        match made {
            Ok(mut process) => {
                process.arena = arena;
                Ok(process)
            }
            Err(failure) => {
                resources.reclaim(arena)?;
                Err(failure)
            }
        }
    }

    fn build(
        resources: &mut Resources,
        common: &Common,
        plan: &Plan,
        image: &Image,
        need: &Need,
        arena: &mut Arena,
    ) -> Result<Self, Failure> {
        let mut objects = [0; Role::COUNT];
        for (role, blueprint) in &need.objects {
            objects[*role as usize] = resources.make(arena, *blueprint, 1)?;
        }
        let mut process = Self {
            arena: Arena::default(),
            ranges: Vec::new(),
            notification: objects[Role::Notification as usize],
            client: plan.client,
            objects,
            own_radix: plan.own_radix,
            start_frames: 0,
            entry: image.entry,
            next: fixed::FIRST_DYNAMIC as usize,
            written: Written::default(),
        };
        slot::ASID_POOL
            .cap()
            .asid_pool_assign(in_slot(process.object(Role::VSpace)))
            .during("giving an address space its number")?;
        process.give_own(common, plan)?;
        process.load(resources, arena, image)?;
        process.map_memory(resources, arena, plan)?;
        process.make_thread(resources, arena, common, plan)?;
        Ok(process)
    }

    /// Slot of one of its objects; 0, where nothing is, for one that it hasn't.
    pub fn object(&self, role: Role) -> usize {
        self.objects[role as usize]
    }

    /// Capabilities at fixed addresses.
    fn give_own(&mut self, common: &Common, plan: &Plan) -> Result<(), Failure> {
        let (own, root) = (self.object(Role::Own), self.object(Role::Root));
        self.mount(mount::OWN, own, plan.own_radix)?;
        let all = CapRights::all();
        self.copy_at(fixed::TCB as usize, self.object(Role::Tcb), all)?;
        self.slot(fixed::CNODE as usize).mint_guarded(&at(root), all, ROOT_GUARD).during("giving a CNode")?;
        self.copy_at(fixed::VSPACE as usize, self.object(Role::VSpace), all)?;
        self.endpoint_at(fixed::SUPERVISOR as usize, common.supervisor)?;
        if let Some(endpoint) = plan.serves {
            self.copy_at(fixed::SERVED as usize, endpoint, CapRights::read_only())?;
        }
        self.copy_at(fixed::REPLY as usize, self.object(Role::Reply), all)?;
        self.copy_at(fixed::NOTIFICATION as usize, self.notification, CapRights::read_write())?;
        self.move_at(fixed::UNTYPED as usize, self.object(Role::Untyped))?;
        self.copy_at(fixed::SCHED_CONTEXT as usize, self.object(Role::SchedContext), all)
    }

    /// Loads the image into fresh pages. Code is read-only; the ABI has no way to forbid execution of data.
    fn load(&mut self, resources: &mut Resources, arena: &mut Arena, image: &Image) -> Result<(), Failure> {
        for segment in &image.segments {
            let rights = if segment.write { CapRights::read_write() } else { CapRights::read_only() };
            let frames = resources.make(arena, ObjectBlueprintX86::_4k.into(), segment.pages())?;
            self.written.segments.push(if segment.write { frames } else { 0 });
            for page in 0..segment.pages() {
                let (offset, bytes) = segment.page(page);
                resources.write_page(frames + page, offset, bytes)?;
                self.map_page(resources, arena, frames + page, segment.first_page() + page * PAGE, rights)?;
            }
        }
        Ok(())
    }

    /// Stack, start page and log ring.
    fn map_memory(
        &mut self,
        resources: &mut Resources,
        arena: &mut Arena,
        plan: &Plan,
    ) -> Result<(), Failure> {
        let page = ObjectBlueprintX86::_4k.into();
        let stack = resources.make(arena, page, plan.stack_pages)?;
        self.written.stack = (stack, plan.stack_pages);
        for n in 0..plan.stack_pages {
            let address = STACK_TOP - (n + 1) * PAGE;
            self.map_page(resources, arena, stack + n, address, CapRights::read_write())?;
        }
        self.start_frames = resources.make(arena, page, START_PAGES)?;
        // The ring is not the part's: it gets copies of the frames.
        for n in 0..RING_PAGES {
            let copy = resources.slot()?;
            arena.used.push(copy);
            at(copy).copy(&at(plan.ring + n), CapRights::all()).during("copying a ring's frame")?;
            self.map_page(resources, arena, copy, RING + n * PAGE, CapRights::read_write())?;
        }
        Ok(())
    }

    fn make_thread(
        &mut self,
        resources: &mut Resources,
        arena: &mut Arena,
        common: &Common,
        plan: &Plan,
    ) -> Result<(), Failure> {
        let sched_context = self.object(Role::SchedContext);
        let buffer = resources.make(arena, ObjectBlueprintX86::_4k.into(), 1)?;
        self.written.buffer = buffer;
        self.map_page(resources, arena, buffer, IPC_BUFFER, CapRights::read_write())?;
        let tcb: cap::Tcb = in_slot(self.object(Role::Tcb));
        tcb.tcb_configure(
            in_slot(self.object(Role::Root)),
            ROOT_GUARD,
            in_slot(self.object(Role::VSpace)),
            IPC_BUFFER,
            in_slot::<cap_type::_4k>(buffer),
        )
        .during("configuring a thread")?;
        // Parts are built without x87 and SSE. What they don't have is not switched, and a guest's registers stay in the processor
        // while its VMM answers an exit.
        tcb.tcb_set_flags(0, sel4::abi::TCB_FLAG_FPU_DISABLED).during("configuring a thread")?;
        let (budget, period) = plan.time;
        in_slot::<cap_type::SchedControl>(common.sched_control + usize::from(plan.cpu))
            .sched_control_configure_flags(
                in_slot(sched_context),
                budget,
                period,
                EXTRA_REFILLS,
                plan.client,
                0,
            )
            .during("configuring a scheduling context")?;
        // Faults go where calls to the supervisor go, with the same badge.
        let faults = resources.slot()?;
        arena.used.push(faults);
        at(faults)
            .mint(&at(common.supervisor), CLIENT_RIGHTS, ENDPOINT_MARK | plan.client)
            .during("making a fault endpoint")?;
        tcb.tcb_set_sched_params(
            slot::TCB.cap(),
            0,
            plan.priority.into(),
            in_slot(sched_context),
            in_slot(faults),
        )
        .during("setting a priority")?;
        tcb.tcb_bind_notification(in_slot(self.notification)).during("binding a notification")
    }

    fn map_page(
        &mut self,
        resources: &mut Resources,
        arena: &mut Arena,
        frame: usize,
        address: usize,
        rights: CapRights,
    ) -> Result<(), Failure> {
        let frame = in_slot::<cap_type::_4k>(frame);
        resources.map(
            arena,
            in_slot(self.object(Role::VSpace)),
            frame,
            address,
            rights,
            VmAttributes::DEFAULT,
        )
    }

    /// Maps the frame in the root task's slot `frame` at `address`, with tables from the part's memory.
    pub fn map<T: CapTypeForFrameObject>(
        &mut self,
        resources: &mut Resources,
        frame: Cap<T>,
        address: usize,
        rights: CapRights,
        attributes: VmAttributes,
    ) -> Result<(), Failure> {
        let mut arena = core::mem::take(&mut self.arena);
        let mapped =
            resources.map(&mut arena, in_slot(self.object(Role::VSpace)), frame, address, rights, attributes);
        self.arena = arena;
        mapped
    }

    /// The part's own CNode, as the destination of a retype.
    pub fn node(&self) -> AbsoluteCPtr {
        in_slot::<cap_type::CNode>(self.object(Role::Own)).absolute_cptr_for_self()
    }

    /// A slot of the part's own CNode.
    pub fn slot(&self, index: usize) -> AbsoluteCPtr {
        in_slot::<cap_type::CNode>(self.object(Role::Own))
            .absolute_cptr_from_bits_with_depth(index as u64, self.own_radix)
    }

    /// Gives a server that keeps something pages that stay as they are when it starts anew.
    pub fn keep(&mut self, resources: &mut Resources) -> Result<(), Failure> {
        let pages = kept_pages(self.client);
        if pages == 0 {
            return Ok(());
        }
        let mut arena = core::mem::take(&mut self.arena);
        let frames = resources.make(&mut arena, ObjectBlueprintX86::_4k.into(), pages);
        self.arena = arena;
        for (n, frame) in (frames?..).take(pages).enumerate() {
            let (frame, rights) = (in_slot::<cap_type::_4k>(frame), CapRights::read_write());
            self.map(resources, frame, KEPT + n * PAGE, rights, VmAttributes::DEFAULT)?;
        }
        self.ranges.push(Range::new(RangeKind::Kept, 0, 1).mapped(KEPT as u64, (pages * PAGE) as u64));
        Ok(())
    }

    /// Takes `count` slots of the part's own CNode; the first.
    pub fn reserve(&mut self, count: usize) -> Result<usize, Failure> {
        let first = self.next;
        self.next += count;
        if self.next > 1 << self.own_radix {
            Err(Failure::new("a part's CNode is too small"))
        } else {
            Ok(first)
        }
    }

    /// Copies the capability in the root task's slot `from` into slot `index` of the part.
    pub fn copy_at(&self, index: usize, from: usize, rights: CapRights) -> Result<(), Failure> {
        self.slot(index).copy(&at(from), rights).during("giving a part a capability")
    }

    /// Moves the capability in the root task's slot `from` into slot `index` of the part.
    pub fn move_at(&self, index: usize, from: usize) -> Result<(), Failure> {
        self.slot(index).move_(&at(from)).during("moving a capability to a part")
    }

    /// Gives the part an endpoint to call, badged with its client number.
    fn endpoint_at(&self, index: usize, endpoint: usize) -> Result<(), Failure> {
        self.slot(index)
            .mint(&at(endpoint), CLIENT_RIGHTS, ENDPOINT_MARK | self.client)
            .during("giving a part an endpoint")
    }

    /// Gives the part an endpoint to call, and says so in its start page.
    pub fn endpoint(&mut self, kind: RangeKind, endpoint: usize) -> Result<(), Failure> {
        let index = self.reserve(1)?;
        self.endpoint_at(index, endpoint)?;
        self.ranges.push(Range::new(kind, own_cptr(index), 1));
        Ok(())
    }

    /// Gives the part console-server's notification.
    pub fn console(&mut self, notification: usize, bits: u64) -> Result<(), Failure> {
        let index = self.reserve(1)?;
        self.notification_at(index, notification, bits)?;
        self.ranges.push(Range::new(RangeKind::ConsoleNotification, own_cptr(index), 1));
        Ok(())
    }

    /// Puts a notification that it may signal with `bits` into slot `index` of the part.
    pub fn notification_at(&self, index: usize, notification: usize, bits: u64) -> Result<(), Failure> {
        self.slot(index)
            .mint(&at(notification), CapRights::write_only(), bits)
            .during("giving a part a notification")
    }

    /// Moves the capability in the root task's slot `from` to the part; its index there.
    pub fn take(&mut self, from: usize) -> Result<usize, Failure> {
        let index = self.reserve(1)?;
        self.move_at(index, from)?;
        Ok(index)
    }

    /// Copies the capability in the root task's slot `from` to the part; its index there.
    pub fn share(&mut self, from: usize) -> Result<usize, Failure> {
        let index = self.reserve(1)?;
        self.copy_at(index, from, CapRights::all())?;
        Ok(index)
    }

    /// Adds empty slots, and says so in the start page.
    pub fn empty_slots(&mut self, count: usize) -> Result<(), Failure> {
        let first = self.reserve(count)?;
        self.ranges.push(Range::new(RangeKind::EmptySlots, own_cptr(first), count as u64));
        Ok(())
    }

    /// Mounts the CNode of 2^`radix` slots in the root task's slot `node`.
    pub fn mount(&self, mount: u64, node: usize, radix: usize) -> Result<(), Failure> {
        in_slot::<cap_type::CNode>(self.object(Role::Root))
            .absolute_cptr_from_bits_with_depth(mount, ROOT_RADIX)
            .mint_guarded(&at(node), CapRights::all(), CNodeCapData::skip(INDEX_BITS - radix))
            .during("mounting a CNode")
    }

    /// Writes the start page and starts the thread.
    pub fn start<T: Serialize>(
        &mut self,
        resources: &mut Resources,
        common: &Common,
        name: &str,
        config: &T,
    ) -> Result<(), Failure> {
        let facts = Facts {
            name,
            client: self.client,
            tsc_khz: common.tsc_khz,
            io_levels: common.io_levels,
            extensions: common.extensions,
        };
        let mut bytes = alloc::vec![0; protocol::start::MAX_BYTES];
        let length = protocol::start::write(&mut bytes, &facts, &self.ranges, config)
            .map_err(|_| Failure::new("a start page is too long"))?;
        let mut arena = core::mem::take(&mut self.arena);
        for n in 0..START_PAGES {
            let used = bytes[n * PAGE..(n + 1) * PAGE].get(..length.saturating_sub(n * PAGE).min(PAGE));
            resources.write_page(self.start_frames + n, 0, used.unwrap_or(&[]))?;
            let address = START_PAGE + n * PAGE;
            self.map_page(resources, &mut arena, self.start_frames + n, address, CapRights::read_only())?;
        }
        self.arena = arena;
        self.enter(0)
    }

    /// Starts the thread; `life` is how often it was started before.
    fn enter(&self, life: u64) -> Result<(), Failure> {
        let registers = UserContext {
            rip: self.entry as u64,
            rsp: STACK_TOP as u64,
            rflags: INTERRUPTS_ON,
            rdi: START_PAGE as u64,
            rsi: life,
            ..Default::default()
        };
        in_slot::<cap_type::Tcb>(self.object(Role::Tcb))
            .tcb_write_all_registers(true, &registers)
            .during("starting a thread")
    }

    /// Starts a server anew that has failed. Its capabilities stay, and with them everything that others know it by; of its memory only
    /// what it can't write stays, and its log ring. Objects that it made from its untyped are gone. `image` is the one that it was made
    /// from.
    pub fn start_again(
        &mut self,
        resources: &mut Resources,
        image: &Image,
        life: u64,
    ) -> Result<(), Failure> {
        self.suspend()?;
        // Whoever waits for its answer gets this one, before anything else can take the reply object.
        in_slot::<cap_type::Reply>(self.object(Role::Reply)).send(MessageInfo::new(
            Refusal::Restarted as u64,
            0,
            0,
            0,
        ));
        self.slot(fixed::UNTYPED as usize).revoke().during("taking a server's objects back")?;
        for (segment, frames) in image.segments.iter().zip(&self.written.segments) {
            for page in 0..if *frames == 0 { 0 } else { segment.pages() } {
                let (offset, bytes) = segment.page(page);
                resources.rewrite_page(frames + page, offset, bytes)?;
            }
        }
        let (stack, pages) = self.written.stack;
        for frame in (stack..stack + pages).chain([self.written.buffer]) {
            resources.rewrite_page(frame, 0, &[])?;
        }
        self.enter(life)
    }

    /// Lets the thread fault where it goes on: at once, or after the next message that it receives.
    #[cfg(feature = "deaths")]
    pub fn derail(&self, at_once: bool) -> Result<(), Failure> {
        in_slot::<cap_type::Tcb>(self.object(Role::Tcb))
            .tcb_write_registers(at_once, 1, &UserContext::default())
            .during("derailing a thread")
    }

    /// Stops the thread.
    pub fn suspend(&self) -> Result<(), Failure> {
        in_slot::<cap_type::Tcb>(self.object(Role::Tcb)).tcb_suspend().during("stopping a thread")
    }
}

/// The capability address of slot `index` in a part's own CNode.
pub const fn own_cptr(index: usize) -> u64 {
    cptr(mount::OWN, index as u64)
}
