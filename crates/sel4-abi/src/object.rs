// SPDX-License-Identifier: MIT OR Apache-2.0
//! Object types for `Untyped_Retype`, and their sizes.

/// An object type; the number is the ABI's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum ObjectType {
    /// Untyped memory, 2^4 to 2^47 bytes.
    Untyped = 0,
    /// Thread control block.
    Tcb = 1,
    /// Endpoint.
    Endpoint = 2,
    /// Notification.
    Notification = 3,
    /// CNode.
    CNode = 4,
    /// Scheduling context.
    SchedContext = 5,
    /// Reply object.
    Reply = 6,
    /// Page-directory-pointer table.
    Pdpt = 7,
    /// Top-level table.
    Pml4 = 8,
    /// 1 GiB frame.
    HugePage = 9,
    /// 4 KiB frame.
    Page4K = 10,
    /// 2 MiB frame.
    LargePage = 11,
    /// Page table.
    PageTable = 12,
    /// Page directory.
    PageDirectory = 13,
    /// I/O page table.
    IoPageTable = 14,
    /// Virtual CPU.
    Vcpu = 15,
    /// Nested top-level table.
    EptPml4 = 16,
    /// Nested page-directory-pointer table.
    EptPdpt = 17,
    /// Nested page directory.
    EptPd = 18,
    /// Nested page table.
    EptPt = 19,
    /// I/O permission map of a VCPU (extension X1).
    IoPermissionMap = 64,
}

impl ObjectType {
    /// The type with number `n`.
    pub const fn from_number(n: u64) -> Option<Self> {
        use ObjectType::*;
        Some(match n {
            0 => Untyped,
            1 => Tcb,
            2 => Endpoint,
            3 => Notification,
            4 => CNode,
            5 => SchedContext,
            6 => Reply,
            7 => Pdpt,
            8 => Pml4,
            9 => HugePage,
            10 => Page4K,
            11 => LargePage,
            12 => PageTable,
            13 => PageDirectory,
            14 => IoPageTable,
            15 => Vcpu,
            16 => EptPml4,
            17 => EptPdpt,
            18 => EptPd,
            19 => EptPt,
            64 => IoPermissionMap,
            _ => return None,
        })
    }

    /// Log2 of the object's size in bytes; `size_bits` counts for untyped, CNodes (slots) and scheduling contexts.
    pub const fn size_bits(self, size_bits: usize) -> usize {
        use ObjectType::*;
        match self {
            Untyped | SchedContext => size_bits,
            CNode => size_bits + SLOT_BITS,
            Tcb => TCB_BITS,
            Endpoint => ENDPOINT_BITS,
            Notification => NOTIFICATION_BITS,
            Reply => REPLY_BITS,
            Page4K => 12,
            LargePage => 21,
            HugePage => 30,
            Vcpu | IoPermissionMap => 14,
            _ => 12,
        }
    }
}

/// Log2 of a capability slot, bytes.
pub const SLOT_BITS: usize = 5;
/// Log2 of a TCB, bytes.
pub const TCB_BITS: usize = 11;
/// Log2 of an endpoint, bytes.
pub const ENDPOINT_BITS: usize = 4;
/// Log2 of a notification, bytes.
pub const NOTIFICATION_BITS: usize = 6;
/// Log2 of a reply object, bytes.
pub const REPLY_BITS: usize = 5;
/// Log2 of the smallest scheduling context, bytes.
pub const MIN_SCHED_CONTEXT_BITS: usize = 7;
/// Bytes of a scheduling context without extra refills.
pub const SCHED_CONTEXT_CORE_BYTES: usize = 128;
/// Bytes of one refill.
pub const REFILL_BYTES: usize = 16;
/// Log2 of the smallest untyped, bytes.
pub const MIN_UNTYPED_BITS: usize = 4;
/// Log2 of the largest untyped, bytes.
pub const MAX_UNTYPED_BITS: usize = 47;
/// Most objects of one `Untyped_Retype`.
pub const RETYPE_FAN_OUT_LIMIT: u64 = 256;

/// Type tags as `DebugCapIdentify` reports them. Tags 25 to 28 are extensions.
pub mod tag {
    #![allow(missing_docs)]
    pub const NULL: u8 = 0;
    pub const FRAME: u8 = 1;
    pub const UNTYPED: u8 = 2;
    pub const PAGE_TABLE: u8 = 3;
    pub const ENDPOINT: u8 = 4;
    pub const PAGE_DIRECTORY: u8 = 5;
    pub const NOTIFICATION: u8 = 6;
    pub const PDPT: u8 = 7;
    pub const REPLY: u8 = 8;
    pub const PML4: u8 = 9;
    pub const CNODE: u8 = 10;
    pub const ASID_CONTROL: u8 = 11;
    pub const THREAD: u8 = 12;
    pub const ASID_POOL: u8 = 13;
    pub const IRQ_CONTROL: u8 = 14;
    pub const IO_SPACE: u8 = 15;
    pub const IRQ_HANDLER: u8 = 16;
    pub const IO_PAGE_TABLE: u8 = 17;
    pub const ZOMBIE: u8 = 18;
    pub const IO_PORT: u8 = 19;
    pub const DOMAIN: u8 = 20;
    pub const VCPU: u8 = 21;
    pub const SCHED_CONTEXT: u8 = 22;
    pub const EPT_PT: u8 = 23;
    pub const SCHED_CONTROL: u8 = 24;
    pub const EPT_PD: u8 = 25;
    pub const DMA_FAULT: u8 = 26;
    pub const EPT_PDPT: u8 = 27;
    pub const IO_PERMISSION_MAP: u8 = 28;
    pub const EPT_PML4: u8 = 29;
    pub const IO_PORT_CONTROL: u8 = 31;
}

/// The name that people read of a kind of capability, one of [`tag`].
#[must_use]
pub const fn tag_name(tag: u8) -> &'static str {
    const NAMES: [&str; 32] = [
        "none",
        "frame",
        "untyped",
        "page-table",
        "endpoint",
        "page-directory",
        "notification",
        "pdpt",
        "reply",
        "vspace",
        "cnode",
        "asid-control",
        "thread",
        "asid-pool",
        "irq-control",
        "io-space",
        "irq-handler",
        "io-page-table",
        "zombie",
        "io-ports",
        "domain",
        "vcpu",
        "sched-context",
        "nested-page-table",
        "sched-control",
        "nested-page-directory",
        "dma-fault-control",
        "nested-pdpt",
        "io-permission-map",
        "nested-root",
        "unknown",
        "io-port-control",
    ];
    NAMES[(tag & 31) as usize]
}
