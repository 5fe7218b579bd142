// SPDX-License-Identifier: MIT OR Apache-2.0
//! Message words, the IPC buffer's layout, rights.

/// Message words that travel in registers.
pub const REGISTERS: usize = 4;
/// Longest message, words.
pub const MAX_WORDS: usize = 120;
/// Most capabilities in one message.
pub const MAX_CAPS: usize = 3;

/// The MessageInfo word: length bits 0..7, extra capabilities 7..9, unwrapped 9..12, label 12..64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct MessageInfo(pub u64);

impl MessageInfo {
    /// A word of the four fields; each is cut to its width.
    pub const fn new(label: u64, caps_unwrapped: u64, extra_caps: u64, length: u64) -> Self {
        Self((label << 12) | ((caps_unwrapped & 7) << 9) | ((extra_caps & 3) << 7) | (length & 0x7f))
    }
    /// The label.
    pub const fn label(self) -> u64 {
        self.0 >> 12
    }
    /// Bit i is set when capability i was unwrapped to a badge.
    pub const fn caps_unwrapped(self) -> u64 {
        (self.0 >> 9) & 7
    }
    /// Number of extra capabilities.
    pub const fn extra_caps(self) -> usize {
        ((self.0 >> 7) & 3) as usize
    }
    /// Length in words, at most [`MAX_WORDS`].
    pub const fn length(self) -> usize {
        let n = (self.0 & 0x7f) as usize;
        if n > MAX_WORDS { MAX_WORDS } else { n }
    }
}

/// Rights of a capability: write 1, read 2, grant 4, grant-reply 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct CapRights(pub u64);

impl CapRights {
    /// All four.
    pub const ALL: Self = Self(15);
    /// May send.
    pub const WRITE: Self = Self(1);
    /// May receive; may read.
    pub const READ: Self = Self(2);
    /// Both, without grant.
    pub const READ_WRITE: Self = Self(3);
    /// May send capabilities.
    pub const GRANT: Self = Self(4);
    /// May be replied to.
    pub const GRANT_REPLY: Self = Self(8);
    /// None.
    pub const NONE: Self = Self(0);
    /// Has the write right.
    pub const fn write(self) -> bool {
        self.0 & 1 != 0
    }
    /// Has the read right.
    pub const fn read(self) -> bool {
        self.0 & 2 != 0
    }
    /// Has the grant right.
    pub const fn grant(self) -> bool {
        self.0 & 4 != 0
    }
    /// Has the grant-reply right.
    pub const fn grant_reply(self) -> bool {
        self.0 & 8 != 0
    }
    /// The union.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// The rights in both.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// The IPC buffer: 1 KiB, 1 KiB aligned.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(1024))]
pub struct IpcBuffer {
    /// Not used by the kernel.
    pub tag: u64,
    /// Message words; the first four travel in registers.
    pub msg: [u64; MAX_WORDS],
    /// For the user.
    pub user_data: u64,
    /// Capability addresses on sending, badges on receiving.
    pub caps_or_badges: [u64; MAX_CAPS],
    /// CNode that receives a capability.
    pub receive_cnode: u64,
    /// Index of the receive slot.
    pub receive_index: u64,
    /// Depth of the receive slot, bits.
    pub receive_depth: u64,
}

const _: () = {
    assert!(core::mem::size_of::<IpcBuffer>() == 1024);
    assert!(core::mem::offset_of!(IpcBuffer, msg) == 8);
    assert!(core::mem::offset_of!(IpcBuffer, caps_or_badges) == 976);
    assert!(core::mem::offset_of!(IpcBuffer, receive_depth) == 1016);
};
