// SPDX-License-Identifier: MIT OR Apache-2.0
//! The capabilities of a world by name, and the words that stand for what only the running machine knows.

macro_rules! things {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// A capability of the world.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Thing {
            $($(#[$doc])* $name),*
        }

        /// All of them.
        pub const THINGS: &[Thing] = &[$(Thing::$name),*];
    };
}

things! {
    /// An empty slot.
    Nothing,
    /// 64 KiB.
    Untyped,
    /// 4 KiB, of which an endpoint was made.
    UsedUntyped,
    /// 4 KiB.
    SmallUntyped,
    /// 8 KiB of a device.
    DeviceUntyped,
    /// The initial thread.
    OwnTcb,
    /// A thread that nothing is known of.
    Tcb,
    OtherTcb,
    /// A thread with a notification, which is the next.
    BoundTcb,
    BoundNotification,
    /// A thread without a scheduling context that waits for the notification that is the next.
    WaitingTcb,
    AwaitedNotification,
    Endpoint,
    /// With badge 5.
    BadgedEndpoint,
    ReadEndpoint,
    /// Without the right to grant anything.
    WriteEndpoint,
    Notification,
    ReadNotification,
    WriteNotification,
    /// The initial thread's.
    OwnCNode,
    /// 16 slots, as in [`IN_CNODE`].
    CNode,
    /// The same with guard 0b101, three bits.
    GuardedCNode,
    /// 2^8 bytes, not configured.
    Context,
    OtherContext,
    /// The initial thread's.
    OwnContext,
    Reply,
    /// With an identifier, and nothing in it.
    Pml4,
    OtherPml4,
    /// Without an identifier.
    RawPml4,
    /// With one of a pool that is gone.
    LostPml4,
    Pdpt,
    OtherPdpt,
    Directory,
    OtherDirectory,
    Table,
    OtherTable,
    /// 4 KiB.
    Frame,
    OtherFrame,
    /// The first one's memory without the right to write it.
    ReadFrame,
    /// 2 MiB.
    LargeFrame,
    /// 4 KiB of a device.
    DeviceFrame,
    AsidControl,
    AsidPool,
    IrqControl,
    /// User interrupt 15, of pin 20.
    IrqHandler,
    /// User interrupt 50, of a message.
    MessageHandler,
    /// Another capability for it.
    MessageHandlerCopy,
    PortControl,
    /// 0x1000 to 0x100f.
    Ports,
    DomainSet,
    SchedControl,
    /// The master, which is no space.
    IoMaster,
    IoSpace,
    IoTable,
    OtherIoTable,
    ThirdIoTable,
    DmaFault,
    Vcpu,
    OtherVcpu,
    PermissionMap,
    OtherPermissionMap,
    EptPml4,
    OtherEptPml4,
    RawEptPml4,
    /// With an identifier of a pool that is gone.
    LostEptPml4,
    EptPdpt,
    OtherEptPdpt,
    EptDirectory,
    OtherEptDirectory,
    EptTable,
    OtherEptTable,
}

/// What lies in the slots of [`Thing::CNode`]. It is looked through to itself in slot 8: of index 0x8n, eight bits deep, the slot is n.
pub const IN_CNODE: &[(u64, Thing)] = &[
    (1, Thing::Endpoint),
    (2, Thing::BadgedEndpoint),
    (3, Thing::WriteEndpoint),
    (4, Thing::Notification),
    (8, Thing::CNode),
    (9, Thing::Tcb),
    (10, Thing::Reply),
    (11, Thing::IoSpace),
];
/// Slots of it that hold what can't be copied: a page table that isn't mapped, and untyped memory that was used.
pub const UNMAPPED_TABLE: u64 = 6;
pub const USED_UNTYPED: u64 = 7;
/// An empty slot of it; so are all that follow, and slot 0.
pub const FREE: u64 = 12;
/// Log2 of its slots.
pub const DEPTH: u64 = 4;

/// Words that stand for what only the running machine knows: the longest time that a context can have, and one microsecond more; the last
/// entry of the interrupt remapping table, and the one behind it.
pub const LONGEST: u64 = 0x7f00 << 48;
pub const TOO_LONG: u64 = LONGEST + 1;
pub const LAST_HANDLE: u64 = LONGEST + 2;
pub const NO_HANDLE: u64 = LONGEST + 3;
/// The first word that stands for an address.
pub const ADDRESS: u64 = LONGEST + 0x100;

/// A word that stands for the address of a capability.
pub const fn address(thing: Thing) -> u64 {
    ADDRESS + thing as u64
}
