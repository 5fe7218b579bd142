// SPDX-License-Identifier: MIT OR Apache-2.0
//! Capabilities: the packed form in a slot and the form that the kernel works with.
//!
//! Packed: word 0 = tag (bits 0..5), small field (5..21), physical address / 16 (21..64); word 1 depends on the kind.

use core::cell::Cell;

use sel4_abi::message::CapRights;
use sel4_abi::object::{ObjectType, tag};

use crate::object::cnode::CNode;
use crate::object::endpoint::Endpoint;
use crate::object::notification::Notification;
use crate::object::reply::Reply;
use crate::object::sched_context::SchedContext;
use crate::object::tcb::Tcb;
use crate::ptr::Ptr;

/// In the head of a CNode capability: guard and radix are 64 bits together, so that it leads from an address to a slot in one step.
const FLAT: u64 = 1 << (5 + 12);

/// The packed form. Only this module looks inside.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct RawCap {
    head: u64,
    word: u64,
}

impl RawCap {
    /// The null capability; zeroed slots hold it.
    pub const NULL: Self = Self { head: 0, word: 0 };

    const fn pack(tag: u8, small: u16, paddr: u64, word: u64) -> Self {
        Self { head: (tag as u64) | ((small as u64) << 5) | ((paddr >> 4) << 21), word }
    }
    /// Type tag (`sel4_abi::object::tag`).
    #[inline]
    pub const fn tag(self) -> u8 {
        (self.head & 31) as u8
    }
    const fn small(self) -> u16 {
        (self.head >> 5) as u16
    }
    /// Physical address of the object, or of a frame or an untyped; 0 for capabilities without memory.
    #[inline]
    pub const fn paddr(self) -> u64 {
        (self.head >> 21) << 4
    }
    /// For a frame of ordinary memory with at least `rights`: its physical address and the log2 of its bytes. Shorter than
    /// [`RawCap::decode`], for the paths that look at a thread's IPC buffer.
    #[inline]
    pub const fn memory_frame(self, rights: CapRights) -> Option<(u64, u32)> {
        // The layout of `Cap::Frame` in `encode`: two bits of size, one that says device, four of rights.
        let (device, rights) = (4 << 5, rights.0 << (5 + 3));
        let fits = self.head & (31 | device | rights) == tag::FRAME as u64 | rights;
        if fits { Some((self.paddr(), 12 + 9 * ((self.head >> 5) as u32 & 3))) } else { None }
    }
    /// For a top-level table of the kind `tag`: what names it. For the paths that leave the kernel.
    #[inline]
    pub const fn root(self, tag: u8) -> Option<Root> {
        if self.tag() == tag { Some(Root { paddr: self.paddr(), asid: self.small() }) } else { None }
    }
    /// Rights of an endpoint or a notification.
    #[inline]
    pub(crate) const fn rights(self) -> u16 {
        self.small() & 15
    }
    /// The word beside the object: a badge.
    #[inline]
    pub(crate) const fn word(self) -> u64 {
        self.word
    }
    /// The endpoint; the tag is `ENDPOINT`.
    #[inline]
    pub(crate) fn endpoint(self) -> Ptr<Endpoint> {
        debug_assert!(self.tag() == tag::ENDPOINT);
        self.object()
    }
    /// The reply object; the tag is `REPLY`.
    #[inline]
    pub(crate) fn reply(self) -> Ptr<Reply> {
        debug_assert!(self.tag() == tag::REPLY);
        self.object()
    }
    /// For a CNode whose guard and radix are a whole capability address: its slots, radix and guard.
    #[inline(always)]
    pub(crate) fn flat_cnode(self) -> Option<(u64, u64, u64)> {
        (self.head & (31 | FLAT) == tag::CNODE as u64 | FLAT)
            .then(|| (self.paddr(), self.head >> 5 & 63, self.word))
    }
    /// The CNode of a CNode capability.
    #[inline(always)]
    pub(crate) fn cnode(self) -> Option<CNode> {
        (self.tag() == tag::CNODE).then(|| CNode {
            slots: self.object(),
            radix: (self.head >> 5) as u8 & 63,
            guard_bits: (self.head >> 11) as u8 & 63,
            guard: self.word,
        })
    }
    /// The slots and the radix of a CNode without a guard.
    #[inline(always)]
    pub(crate) fn plain_cnode(self) -> Option<(Ptr<Slot>, u32)> {
        // What is left of tag, radix, guard's size and flag without the tag is the radix alone.
        let radix =
            (self.head as u32 & (2 * FLAT as u32 - 1)).wrapping_sub(tag::CNODE.into()).rotate_right(5);
        (radix < 64).then(|| (self.object(), radix))
    }
    /// True for an endpoint capability with all of `rights`.
    #[inline(always)]
    pub(crate) fn is_endpoint_with(self, rights: u64) -> bool {
        self.head & (31 | rights << 5) == tag::ENDPOINT as u64 | rights << 5
    }
    /// True for a notification capability with all of `rights`.
    #[inline(always)]
    pub(crate) fn is_notification_with(self, rights: u64) -> bool {
        self.head & (31 | rights << 5) == tag::NOTIFICATION as u64 | rights << 5
    }
    /// The notification; the tag is `NOTIFICATION`.
    #[inline]
    pub(crate) fn notification(self) -> Ptr<Notification> {
        debug_assert!(self.tag() == tag::NOTIFICATION);
        self.object()
    }
    /// The same for an object `bytes` further on in memory.
    pub(crate) const fn further(self, bytes: u64) -> Self {
        Self { head: self.head + ((bytes >> 4) << 21), word: self.word }
    }
    /// True for the null capability.
    #[inline]
    pub const fn is_null(self) -> bool {
        self.tag() == tag::NULL
    }
    /// True when both name the same object, resource or range.
    pub fn same_object(self, other: Self) -> bool {
        self.tag() == other.tag()
            && match self.tag() {
                tag::NULL => false,
                tag::IRQ_HANDLER | tag::IO_SPACE => self.word == other.word,
                // The upper half says where this one capability is used.
                tag::IO_PORT => self.word as u32 == other.word as u32,
                tag::SCHED_CONTROL => self.small() == other.small(),
                tag::FRAME => self.paddr() == other.paddr() && (self.small() & 3) == (other.small() & 3),
                tag::UNTYPED => self.paddr() == other.paddr() && (self.small() & 63) == (other.small() & 63),
                _ => self.paddr() == other.paddr(),
            }
    }
}

/// Size of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum FrameSize {
    /// 4 KiB.
    Small = 0,
    /// 2 MiB.
    Large = 1,
    /// 1 GiB.
    Huge = 2,
}

impl FrameSize {
    /// Log2 of the bytes.
    pub const fn bits(self) -> usize {
        12 + 9 * self as usize
    }
    /// Bytes.
    pub const fn bytes(self) -> u64 {
        1 << self.bits()
    }
}

/// Where a frame capability is mapped. The rule is per capability; copies may be mapped elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// Nowhere.
    None,
    /// In the address space with this ASID, at this virtual address.
    VSpace {
        /// Address-space identifier.
        asid: u16,
        /// Virtual address.
        vaddr: u64,
    },
    /// In the nested tables with this ASID, at this guest-physical address.
    Ept {
        /// Identifier of the nested top-level table.
        asid: u16,
        /// Guest-physical address.
        gpa: u64,
    },
    /// In the I/O space of this requester, at this I/O virtual address.
    Io {
        /// Requester ID: bus, device, function.
        rid: u16,
        /// I/O virtual address.
        iova: u64,
    },
}

impl Mapping {
    const fn encode(self) -> (u16, u64) {
        match self {
            Self::None => (0, 0),
            Self::VSpace { asid, vaddr } => (1, (vaddr & !0xfff) << 4 | asid as u64),
            Self::Ept { asid, gpa } => (2, (gpa & !0xfff) << 4 | asid as u64),
            Self::Io { rid, iova } => (3, (iova & !0xfff) << 4 | rid as u64),
        }
    }
    const fn decode(kind: u16, word: u64) -> Self {
        let id = word as u16;
        let address = (word >> 4) & !0xfff;
        match kind & 3 {
            0 => Self::None,
            1 => Self::VSpace { asid: id, vaddr: address },
            2 => Self::Ept { asid: id, gpa: address },
            _ => Self::Io { rid: id, iova: address },
        }
    }
}

/// What a preempted retype has made of the memory that it cleared: what isn't zeros must not become anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// Zeros.
    Zeros = 0,
    /// Threads.
    Threads = 1,
    /// Virtual CPUs.
    VirtualCpus = 2,
}

impl Made {
    /// What a retype to `ty` makes.
    pub fn of(ty: ObjectType) -> Self {
        match ty {
            ObjectType::Tcb => Self::Threads,
            ObjectType::Vcpu => Self::VirtualCpus,
            _ => Self::Zeros,
        }
    }
}

/// Untyped memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untyped {
    /// Physical address.
    pub paddr: u64,
    /// Log2 of the bytes.
    pub size_bits: u8,
    /// Device memory: only frames and untypeds are made from it, and it is never written.
    pub device: bool,
    /// Bytes used, a multiple of 16.
    pub watermark: u64,
    /// 4 KiB chunks already cleared by a retype that was preempted, counted from its first object.
    pub cleared: u32,
    /// What these hold.
    pub made: Made,
}

/// A frame of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Physical address.
    pub paddr: u64,
    /// Size.
    pub size: FrameSize,
    /// Device memory.
    pub device: bool,
    /// Read and write are meaningful.
    pub rights: CapRights,
    /// Where it is mapped.
    pub mapping: Mapping,
}

/// A paging structure below the top level: of a CPU address space or of nested tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Physical address.
    pub paddr: u64,
    /// The level: 1 page table, 2 page directory, 3 page-directory-pointer table.
    pub level: u8,
    /// `VSpace` or `Ept` mapping, or none.
    pub mapping: Mapping,
}

/// A top-level paging structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// Physical address.
    pub paddr: u64,
    /// Its identifier; 0 while none is assigned.
    pub asid: u16,
}

/// An I/O page table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoTable {
    /// Physical address.
    pub paddr: u64,
    /// Level, counted from the leaves: 1 is the table of 4 KiB pages. Meaningful while it has a place.
    pub level: u8,
    /// Its place while it is mapped or parked: requester ID and I/O virtual address.
    pub place: Option<(u16, u64)>,
    /// It was unmapped, and its place still leads to it.
    pub parked: bool,
}

impl IoTable {
    /// Requester ID and I/O virtual address while mapped.
    pub fn mapped(self) -> Option<(u16, u64)> {
        self.place.filter(|_| !self.parked)
    }

    /// The same table, nowhere.
    pub fn nowhere(self) -> Self {
        Self { level: 0, place: None, parked: false, ..self }
    }
}

/// What an object was that is being taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remains {
    /// A CNode: slots.
    CNode = 0,
    /// A thread: slots.
    Thread = 1,
    /// An endpoint: who waits.
    Endpoint = 2,
    /// A notification: who waits.
    Notification = 3,
    /// A pool of address-space identifiers: these.
    AsidPool = 4,
}

/// What is being taken apart by a preemptible deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zombie {
    /// What it was.
    pub kind: Remains,
    /// Physical address: of the first slot, or of the object.
    pub paddr: u64,
    /// Number of slots, or identifiers, of the object that may still be in use: the first `remaining` ones.
    pub remaining: u64,
    /// Physical address of the slot with the zombie beneath this one on the stack of deletions, 0 for none.
    pub below: u64,
}

/// A capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cap {
    /// None.
    Null,
    /// See [`Untyped`].
    Untyped(Untyped),
    /// Send to or receive from an endpoint.
    Endpoint {
        /// The object.
        object: Ptr<Endpoint>,
        /// Badge that the receiver sees.
        badge: u64,
        /// Rights.
        rights: CapRights,
    },
    /// Signal or wait for a notification.
    Notification {
        /// The object.
        object: Ptr<Notification>,
        /// Bits that a signal sets.
        badge: u64,
        /// Write to signal, read to wait.
        rights: CapRights,
    },
    /// A reply object.
    Reply {
        /// The object.
        object: Ptr<Reply>,
        /// May pass capabilities in a reply.
        grant: bool,
    },
    /// A table of slots.
    CNode(CNode),
    /// A thread.
    Thread(Ptr<Tcb>),
    /// A scheduling context of 2^size_bits bytes.
    SchedContext {
        /// The object.
        object: Ptr<SchedContext>,
        /// Log2 of its bytes.
        size_bits: u8,
    },
    /// Authority over the CPU time of one CPU.
    SchedControl {
        /// CPU number.
        core: u16,
    },
    /// See [`Frame`].
    Frame(Frame),
    /// Page table, directory or directory-pointer table of a CPU address space.
    Table(Table),
    /// Top-level table of a CPU address space.
    Pml4(Root),
    /// Page table, directory or directory-pointer table of nested translation.
    EptTable(Table),
    /// Top-level table of nested translation.
    EptPml4(Root),
    /// Authority to make pools of address-space identifiers.
    AsidControl,
    /// 512 address-space identifiers.
    AsidPool {
        /// Physical address of the pool.
        paddr: u64,
        /// Index of the pool.
        index: u16,
    },
    /// Authority to make interrupt handlers.
    IrqControl,
    /// One user interrupt.
    IrqHandler(u8),
    /// Authority to issue I/O-port ranges.
    IoPortControl,
    /// Ports first..=last.
    IoPort {
        /// First port.
        first: u16,
        /// Last port.
        last: u16,
        /// Identifier of the I/O permission map in which this capability opened ports, 0 for none (`ioport::MapTable`).
        map: u32,
    },
    /// Authority over scheduling domains.
    Domain,
    /// The I/O space of a requester ID under a domain ID; both 0 for the master.
    IoSpace {
        /// Requester ID.
        rid: u16,
        /// Domain ID.
        domain: u16,
    },
    /// See [`IoTable`].
    IoPageTable(IoTable),
    /// A virtual CPU, by its physical address.
    Vcpu(u64),
    /// An I/O permission map, by its physical address.
    IoPermissionMap(u64),
    /// DMA-fault control.
    DmaFault,
    /// See [`Zombie`].
    Zombie(Zombie),
}

const fn rights_small(rights: CapRights) -> u16 {
    rights.0 as u16 & 15
}

fn table_tag(level: u8, nested: bool) -> u8 {
    match (level, nested) {
        (1, false) => tag::PAGE_TABLE,
        (2, false) => tag::PAGE_DIRECTORY,
        (_, false) => tag::PDPT,
        (1, true) => tag::EPT_PT,
        (2, true) => tag::EPT_PD,
        (_, true) => tag::EPT_PDPT,
    }
}

impl Cap {
    /// The packed form.
    pub fn encode(self) -> RawCap {
        let p = RawCap::pack;
        match self {
            Self::Null => RawCap::NULL,
            Self::Untyped(u) => p(
                tag::UNTYPED,
                u16::from(u.size_bits)
                    | u16::from(u.device) << 6
                    | ((u.cleared >> 21) as u16 & 31) << 7
                    | (u.made as u16) << 12,
                u.paddr,
                u.watermark >> 4 << 21 | u64::from(u.cleared) & 0x1f_ffff,
            ),
            Self::Endpoint { object, badge, rights } => {
                p(tag::ENDPOINT, rights_small(rights), object.paddr(), badge)
            }
            Self::Notification { object, badge, rights } => {
                p(tag::NOTIFICATION, rights_small(rights), object.paddr(), badge)
            }
            Self::Reply { object, grant } => p(tag::REPLY, u16::from(grant), object.paddr(), 0),
            Self::CNode(c) => {
                let flat = c.guard_bits != 0 && c.guard_bits + c.radix == 64;
                let small = u16::from(c.radix) | u16::from(c.guard_bits) << 6 | u16::from(flat) << 12;
                p(tag::CNODE, small, c.slots.paddr(), c.guard)
            }
            Self::Thread(t) => p(tag::THREAD, 0, t.paddr(), 0),
            Self::SchedContext { object, size_bits } => {
                p(tag::SCHED_CONTEXT, u16::from(size_bits), object.paddr(), 0)
            }
            Self::SchedControl { core } => p(tag::SCHED_CONTROL, core, 0, 0),
            Self::Frame(f) => {
                let (kind, word) = f.mapping.encode();
                p(
                    tag::FRAME,
                    f.size as u16 | u16::from(f.device) << 2 | rights_small(f.rights) << 3 | kind << 7,
                    f.paddr,
                    word,
                )
            }
            Self::Table(t) => {
                let (kind, word) = t.mapping.encode();
                p(table_tag(t.level, false), kind, t.paddr, word)
            }
            Self::EptTable(t) => {
                let (kind, word) = t.mapping.encode();
                p(table_tag(t.level, true), kind, t.paddr, word)
            }
            Self::Pml4(r) => p(tag::PML4, r.asid, r.paddr, 0),
            Self::EptPml4(r) => p(tag::EPT_PML4, r.asid, r.paddr, 0),
            Self::AsidControl => p(tag::ASID_CONTROL, 0, 0, 0),
            Self::AsidPool { paddr, index } => p(tag::ASID_POOL, index, paddr, 0),
            Self::IrqControl => p(tag::IRQ_CONTROL, 0, 0, 0),
            Self::IrqHandler(irq) => p(tag::IRQ_HANDLER, 0, 0, u64::from(irq)),
            Self::IoPortControl => p(tag::IO_PORT_CONTROL, 0, 0, 0),
            Self::IoPort { first, last, map } => {
                p(tag::IO_PORT, 0, 0, u64::from(first) | u64::from(last) << 16 | u64::from(map) << 32)
            }
            Self::Domain => p(tag::DOMAIN, 0, 0, 0),
            Self::IoSpace { rid, domain } => p(tag::IO_SPACE, 0, 0, u64::from(rid) | u64::from(domain) << 16),
            Self::IoPageTable(t) => {
                let (placed, word) = match t.place {
                    None => (0, 0),
                    Some((rid, iova)) => (1, (iova & !0xfff) << 4 | u64::from(rid)),
                };
                let small = placed | u16::from(t.level) << 1 | u16::from(t.parked) << 4;
                p(tag::IO_PAGE_TABLE, small, t.paddr, word)
            }
            Self::Vcpu(paddr) => p(tag::VCPU, 0, paddr, 0),
            Self::IoPermissionMap(paddr) => p(tag::IO_PERMISSION_MAP, 0, paddr, 0),
            Self::DmaFault => p(tag::DMA_FAULT, 0, 0, 0),
            Self::Zombie(z) => {
                p(tag::ZOMBIE, z.kind as u16, z.paddr, z.below >> 5 << 30 | z.remaining & 0x3fff_ffff)
            }
        }
    }
}

/// Ties an object's type to the tag of its capabilities.
trait Object {
    const TAG: u8;
}
macro_rules! objects {
    ($($ty:ty: $tag:ident),*) => { $(impl Object for $ty { const TAG: u8 = tag::$tag; })* };
}
objects!(Endpoint: ENDPOINT, Notification: NOTIFICATION, Reply: REPLY, Slot: CNODE, Tcb: THREAD, SchedContext: SCHED_CONTEXT);

impl RawCap {
    /// The object (of a CNode: the first slot) behind a capability of memory. The tag is `T`'s.
    #[inline]
    fn object<T: Object>(self) -> Ptr<T> {
        debug_assert!(self.tag() == T::TAG);
        // SAFETY: the tag says what the object is, and a slot holds its capability only while it is live (`delete`).
        unsafe { Ptr::from_paddr(self.paddr()) }
    }

    /// The form to work with.
    #[inline]
    pub fn decode(self) -> Cap {
        let small = self.small();
        let rights = CapRights(u64::from(small & 15));
        let table = |level| Table { paddr: self.paddr(), level, mapping: Mapping::decode(small, self.word) };
        let root = || Root { paddr: self.paddr(), asid: small };
        match self.tag() {
            tag::UNTYPED => Cap::Untyped(Untyped {
                paddr: self.paddr(),
                size_bits: (small & 63) as u8,
                device: small & 64 != 0,
                watermark: self.word >> 21 << 4,
                cleared: (self.word & 0x1f_ffff) as u32 | u32::from(small >> 7 & 31) << 21,
                made: match small >> 12 & 3 {
                    0 => Made::Zeros,
                    1 => Made::Threads,
                    _ => Made::VirtualCpus,
                },
            }),
            tag::ENDPOINT => Cap::Endpoint { object: self.object(), badge: self.word, rights },
            tag::NOTIFICATION => Cap::Notification { object: self.object(), badge: self.word, rights },
            tag::REPLY => Cap::Reply { object: self.object(), grant: small & 1 != 0 },
            tag::CNODE => Cap::CNode(CNode {
                slots: self.object(),
                radix: (small & 63) as u8,
                guard_bits: (small >> 6 & 63) as u8,
                guard: self.word,
            }),
            tag::THREAD => Cap::Thread(self.object()),
            tag::SCHED_CONTEXT => Cap::SchedContext { object: self.object(), size_bits: small as u8 },
            tag::SCHED_CONTROL => Cap::SchedControl { core: small },
            tag::FRAME => Cap::Frame(Frame {
                paddr: self.paddr(),
                size: match small & 3 {
                    0 => FrameSize::Small,
                    1 => FrameSize::Large,
                    _ => FrameSize::Huge,
                },
                device: small & 4 != 0,
                rights: CapRights(u64::from(small >> 3 & 15)),
                mapping: Mapping::decode(small >> 7, self.word),
            }),
            tag::PAGE_TABLE => Cap::Table(table(1)),
            tag::PAGE_DIRECTORY => Cap::Table(table(2)),
            tag::PDPT => Cap::Table(table(3)),
            tag::EPT_PT => Cap::EptTable(table(1)),
            tag::EPT_PD => Cap::EptTable(table(2)),
            tag::EPT_PDPT => Cap::EptTable(table(3)),
            tag::PML4 => Cap::Pml4(root()),
            tag::EPT_PML4 => Cap::EptPml4(root()),
            tag::ASID_CONTROL => Cap::AsidControl,
            tag::ASID_POOL => Cap::AsidPool { paddr: self.paddr(), index: small },
            tag::IRQ_CONTROL => Cap::IrqControl,
            tag::IRQ_HANDLER => Cap::IrqHandler(self.word as u8),
            tag::IO_PORT_CONTROL => Cap::IoPortControl,
            tag::IO_PORT => Cap::IoPort {
                first: self.word as u16,
                last: (self.word >> 16) as u16,
                map: (self.word >> 32) as u32,
            },
            tag::DOMAIN => Cap::Domain,
            tag::IO_SPACE => Cap::IoSpace { rid: self.word as u16, domain: (self.word >> 16) as u16 },
            tag::IO_PAGE_TABLE => Cap::IoPageTable(IoTable {
                paddr: self.paddr(),
                level: (small >> 1 & 7) as u8,
                place: (small & 1 != 0).then_some((self.word as u16, (self.word >> 4) & !0xfff)),
                parked: small & 16 != 0,
            }),
            tag::VCPU => Cap::Vcpu(self.paddr()),
            tag::IO_PERMISSION_MAP => Cap::IoPermissionMap(self.paddr()),
            tag::DMA_FAULT => Cap::DmaFault,
            tag::ZOMBIE => Cap::Zombie(Zombie {
                kind: match small & 7 {
                    0 => Remains::CNode,
                    1 => Remains::Thread,
                    2 => Remains::Endpoint,
                    3 => Remains::Notification,
                    _ => Remains::AsidPool,
                },
                paddr: self.paddr(),
                remaining: self.word & 0x3fff_ffff,
                below: self.word >> 30 << 5,
            }),
            _ => Cap::Null,
        }
    }
}

/// A slot: a capability and its place in the derivation tree (`cdt`). Aligned to its size: links use the low bits of its address.
#[repr(C, align(32))]
pub struct Slot {
    cap: Cell<RawCap>,
    /// Address of the previous slot of the tree's order; bit 0: the capability is an original (`cdt`).
    pub(crate) prev: Cell<u64>,
    /// Address of the next slot.
    pub(crate) next: Cell<u64>,
}

const _: () = assert!(core::mem::size_of::<Slot>() == 1 << sel4_abi::object::SLOT_BITS);
const _: () = assert!(core::mem::align_of::<Slot>() == core::mem::size_of::<Slot>());

impl Slot {
    /// An empty slot.
    pub const fn empty() -> Self {
        Self { cap: Cell::new(RawCap::NULL), prev: Cell::new(0), next: Cell::new(0) }
    }
    /// The capability, packed.
    #[inline]
    pub fn raw(&self) -> RawCap {
        self.cap.get()
    }
    /// The capability.
    #[inline]
    pub fn cap(&self) -> Cap {
        self.cap.get().decode()
    }
    /// Replaces the capability; the place in the tree stays.
    pub fn set(&self, cap: Cap) {
        self.cap.set(cap.encode());
    }
    /// Replaces the capability by a packed one.
    pub(crate) fn set_raw(&self, raw: RawCap) {
        self.cap.set(raw);
    }
    /// True when there is no capability.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.cap.get().is_null()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_forms_round_trip() {
        let mapping = Mapping::VSpace { asid: 0xabc, vaddr: 0x7fff_1234_5000 };
        let caps = [
            Cap::Null,
            Cap::Untyped(Untyped {
                paddr: 0x7fff_ffff_fff0,
                size_bits: 47,
                device: true,
                watermark: (1 << 47) - 16,
                cleared: (1 << 26) - 1,
                made: Made::VirtualCpus,
            }),
            Cap::SchedControl { core: 3 },
            Cap::Frame(Frame {
                paddr: 0x7fff_c000_0000,
                size: FrameSize::Huge,
                device: true,
                rights: CapRights(3),
                mapping,
            }),
            Cap::Frame(Frame {
                paddr: 0x1000,
                size: FrameSize::Small,
                device: false,
                rights: CapRights(1),
                mapping: Mapping::Io { rid: 0x100, iova: 0xffff_ffff_f000 },
            }),
            Cap::Table(Table { paddr: 0x2000, level: 2, mapping }),
            Cap::EptTable(Table {
                paddr: 0x2000,
                level: 3,
                mapping: Mapping::Ept { asid: 7, gpa: 0xfff_f000 },
            }),
            Cap::Pml4(Root { paddr: 0x3000, asid: 4095 }),
            Cap::EptPml4(Root { paddr: 0x3000, asid: 0 }),
            Cap::AsidPool { paddr: 0x5000, index: 7 },
            Cap::IrqHandler(107),
            Cap::IoPort { first: 0x3f8, last: 0x3ff, map: 0xffff_ffff },
            Cap::IoSpace { rid: 0x1234, domain: 0xffff },
            Cap::IoPageTable(IoTable {
                paddr: 0x6000,
                level: 3,
                place: Some((0xffff, 0x7fff_ffff_f000)),
                parked: true,
            }),
            Cap::Vcpu(0x8000),
            Cap::DmaFault,
            Cap::Zombie(Zombie {
                kind: Remains::Thread,
                paddr: 0x9000,
                remaining: 77,
                below: 0x7f_ffff_ffe0,
            }),
            Cap::Zombie(Zombie { kind: Remains::AsidPool, paddr: 0x9000, remaining: 512, below: 0 }),
        ];
        for c in caps {
            assert_eq!(c.encode().decode(), c);
            let frame = match c {
                Cap::Frame(f) if !f.device => Some((f.paddr, f.size.bits() as u32)),
                _ => None,
            };
            assert_eq!(c.encode().memory_frame(CapRights::NONE), frame);
            let writable = matches!(c, Cap::Frame(f) if f.rights.write());
            assert_eq!(c.encode().memory_frame(CapRights::WRITE), frame.filter(|_| writable));
            assert_eq!(c.encode().root(tag::PML4), if let Cap::Pml4(r) = c { Some(r) } else { None });
            assert_eq!(c.encode().root(tag::EPT_PML4), if let Cap::EptPml4(r) = c { Some(r) } else { None });
        }
    }
}
