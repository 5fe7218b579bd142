// SPDX-License-Identifier: MIT OR Apache-2.0
//! The IPC buffer of a thread.

use sel4_abi::message;

use crate::{AbsoluteCPtr, Badge, CPtr, CPtrBits, InvocationContext, Word};

/// The IPC buffer of a thread: 1 KiB, aligned to 1 KiB, known to kernel and thread.
///
/// Message words 0 to 3 travel in registers. The functions without `_with_mrs` take them from here and put them here.
#[derive(Debug)]
#[repr(transparent)]
pub struct IpcBuffer(message::IpcBuffer);

impl IpcBuffer {
    /// An empty buffer, for tests and for statics that become a thread's buffer.
    pub const fn new() -> Self {
        Self(message::IpcBuffer {
            tag: 0,
            msg: [0; message::MAX_WORDS],
            user_data: 0,
            caps_or_badges: [0; message::MAX_CAPS],
            receive_cnode: 0,
            receive_index: 0,
            receive_depth: 0,
        })
    }

    /// The message words.
    #[inline(always)]
    pub fn msg_regs(&self) -> &[Word; message::MAX_WORDS] {
        &self.0.msg
    }

    /// The message words, to be written.
    #[inline(always)]
    pub fn msg_regs_mut(&mut self) -> &mut [Word; message::MAX_WORDS] {
        &mut self.0.msg
    }

    /// Copies bytes into the message words from word `first` on, little endian; the last word's rest becomes zero.
    /// Returns the number of words that the message has then, `None` when the bytes don't fit.
    pub fn write_bytes(&mut self, first: usize, bytes: &[u8]) -> Option<usize> {
        let end = first.checked_add(bytes.len().div_ceil(8))?;
        let words = self.0.msg.get_mut(first..end)?;
        for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole[..chunk.len()].copy_from_slice(chunk);
            *word = u64::from_le_bytes(whole);
        }
        Some(end)
    }

    /// Copies bytes out of the message words from word `first` on; `None` when the words don't hold that many.
    pub fn read_bytes<'a>(&self, first: usize, bytes: &'a mut [u8]) -> Option<&'a [u8]> {
        let end = first.checked_add(bytes.len().div_ceil(8))?;
        let words = self.0.msg.get(first..end)?;
        for (word, chunk) in words.iter().zip(bytes.chunks_mut(8)) {
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
        Some(bytes)
    }

    /// A word that the kernel never looks at.
    pub fn user_data(&self) -> Word {
        self.0.user_data
    }

    /// Sets the word that the kernel never looks at.
    pub fn set_user_data(&mut self, data: Word) {
        self.0.user_data = data;
    }

    /// On receiving: badges of the capabilities that were unwrapped. On sending: addresses of those to be sent.
    pub fn caps_or_badges(&self) -> &[Word; message::MAX_CAPS] {
        &self.0.caps_or_badges
    }

    /// The same, to be written.
    #[inline(always)]
    pub fn caps_or_badges_mut(&mut self) -> &mut [Word; message::MAX_CAPS] {
        &mut self.0.caps_or_badges
    }

    /// The badge that extra capability `i` was unwrapped to.
    pub fn badge(&self, i: usize) -> Option<Badge> {
        self.0.caps_or_badges.get(i).copied()
    }

    /// Says where a received capability goes.
    pub fn set_recv_slot<C: InvocationContext>(&mut self, slot: &AbsoluteCPtr<C>) {
        self.set_recv_slot_raw(slot.root().cptr(), slot.path().bits(), slot.path().depth());
    }

    /// Says where a received capability goes: CNode, index in it, depth of the index in bits.
    pub fn set_recv_slot_raw(&mut self, root: CPtr, index: CPtrBits, depth: usize) {
        self.0.receive_cnode = root.bits();
        self.0.receive_index = index;
        self.0.receive_depth = depth as Word;
    }
}

impl Default for IpcBuffer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip_with_a_partial_word() {
        let mut buffer = IpcBuffer::new();
        buffer.msg_regs_mut()[2] = u64::MAX;
        assert_eq!(buffer.write_bytes(1, b"0123456789"), Some(3));
        assert_eq!(buffer.msg_regs()[1], u64::from_le_bytes(*b"01234567"));
        assert_eq!(buffer.msg_regs()[2], u64::from_le_bytes(*b"89\0\0\0\0\0\0"));
        let mut out = [0; 10];
        assert_eq!(buffer.read_bytes(1, &mut out), Some(&b"0123456789"[..]));
    }

    #[test]
    fn bytes_that_do_not_fit_are_refused() {
        let mut buffer = IpcBuffer::new();
        assert_eq!(buffer.write_bytes(1, &[0; 952]), Some(120));
        assert_eq!(buffer.write_bytes(1, &[0; 953]), None);
        assert_eq!(buffer.read_bytes(119, &mut [0; 9]), None);
        assert_eq!(buffer.write_bytes(usize::MAX, &[0; 9]), None);
    }
}
