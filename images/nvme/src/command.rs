// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands and completions as they lie in the queues (NVM Express Base Specification 1.4, sections 4.2 and 4.6).

use core::fmt;

/// Bytes of a command.
pub const COMMAND_BYTES: usize = 64;
/// Bytes of a completion.
pub const COMPLETION_BYTES: usize = 16;

mod admin {
    pub const CREATE_SUBMISSION_QUEUE: u32 = 0x01;
    pub const CREATE_COMPLETION_QUEUE: u32 = 0x05;
    pub const IDENTIFY: u32 = 0x06;
    pub const NAMESPACE_ATTACHMENT: u32 = 0x15;
    pub const VIRTUALIZATION_MANAGEMENT: u32 = 0x1c;
}

mod io {
    pub const FLUSH: u32 = 0x00;
    pub const WRITE: u32 = 0x01;
    pub const READ: u32 = 0x02;
}

/// Which way an I/O command moves data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// From the disk to RAM.
    Read,
    /// From RAM to the disk.
    Write,
}

/// What [`Command::identify`] asks about; the numbers are the specification's (CNS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A namespace.
    Namespace = 0,
    /// The controller.
    Controller = 1,
    /// The secondary controllers: those of virtual functions.
    Secondary = 0x15,
}

/// What a controller can have more or less of (section 5.22, Resource Type).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Queues, the admin queue included.
    Queues = 0,
    /// Interrupts.
    Interrupts = 1,
}

/// What is done to a controller (section 5.22, Action).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The primary one is to have so much of what could be others' from its next reset on.
    KeepFlexible = 1,
    /// A secondary one that is offline gets so much.
    Assign = 8,
    /// A secondary one begins to work.
    Online = 9,
}

/// A command, without its identifier: the queue gives it one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command([u32; COMMAND_BYTES / 4]);

impl Command {
    fn new(opcode: u32, namespace: u32, prp: (u64, u64)) -> Self {
        let mut words = [0; COMMAND_BYTES / 4];
        words[0] = opcode;
        words[1] = namespace;
        words[6] = prp.0 as u32;
        words[7] = (prp.0 >> 32) as u32;
        words[8] = prp.1 as u32;
        words[9] = (prp.1 >> 32) as u32;
        Self(words)
    }

    /// Has 4,096 bytes about the subject written to the page `to`. `namespace` is 0 for subjects that aren't one.
    pub fn identify(subject: Subject, namespace: u32, to: u64) -> Self {
        let mut command = Self::new(admin::IDENTIFY, namespace, (to, 0));
        command.0[10] = subject as u32;
        command
    }

    /// Makes a completion queue of `entries` in the page `at`, which sends the MSI-X vector `vector`.
    pub fn create_completion_queue(queue: u16, entries: u16, at: u64, vector: u16) -> Self {
        const CONTIGUOUS: u32 = 1;
        const INTERRUPTS: u32 = 2;
        let mut command = Self::new(admin::CREATE_COMPLETION_QUEUE, 0, (at, 0));
        command.0[10] = u32::from(entries - 1) << 16 | u32::from(queue);
        command.0[11] = u32::from(vector) << 16 | INTERRUPTS | CONTIGUOUS;
        command
    }

    /// Makes a submission queue of `entries` in the page `at`, whose completions go to the completion queue of the same number.
    pub fn create_submission_queue(queue: u16, entries: u16, at: u64) -> Self {
        const CONTIGUOUS: u32 = 1;
        let mut command = Self::new(admin::CREATE_SUBMISSION_QUEUE, 0, (at, 0));
        command.0[10] = u32::from(entries - 1) << 16 | u32::from(queue);
        command.0[11] = u32::from(queue) << 16 | CONTIGUOUS;
        command
    }

    /// Does something to a controller, by its identifier; the primary one has its own.
    pub fn virtualization(controller: u16, action: Action, resource: Resource, amount: u16) -> Self {
        let mut command = Self::new(admin::VIRTUALIZATION_MANAGEMENT, 0, (0, 0));
        command.0[10] = u32::from(controller) << 16 | (resource as u32) << 8 | action as u32;
        command.0[11] = amount.into();
        command
    }

    /// Lets the controllers in the list at `list` (their number, their identifiers, 16 bits each) have a namespace.
    pub fn attach_namespace(namespace: u32, list: u64) -> Self {
        Self::new(admin::NAMESPACE_ATTACHMENT, namespace, (list, 0))
    }

    /// Moves `blocks` (at least one) from or to block `first` of a namespace on; `prp` says where they lie in RAM.
    pub fn transfer(transfer: Transfer, namespace: u32, first: u64, blocks: u16, prp: (u64, u64)) -> Self {
        let opcode = match transfer {
            Transfer::Read => io::READ,
            Transfer::Write => io::WRITE,
        };
        let mut command = Self::new(opcode, namespace, prp);
        command.0[10] = first as u32;
        command.0[11] = (first >> 32) as u32;
        command.0[12] = u32::from(blocks - 1);
        command
    }

    /// Has everything that was written reach the disk itself.
    pub fn flush(namespace: u32) -> Self {
        Self::new(io::FLUSH, namespace, (0, 0))
    }

    /// The bytes for the queue.
    pub fn encode(mut self, identifier: u16) -> [u8; COMMAND_BYTES] {
        self.0[0] |= u32::from(identifier) << 16;
        let mut bytes = [0; COMMAND_BYTES];
        for (place, word) in bytes.chunks_exact_mut(4).zip(self.0) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// How a command ended: status code type and status code, (0, 0) for success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// What kind of code it is; 0 is generic.
    pub kind: u8,
    /// The code.
    pub code: u8,
}

impl Status {
    /// A block beyond the namespace's end.
    pub const OUT_OF_RANGE: Self = Self { kind: 0, code: 0x80 };

    /// Whether the command did what it should.
    pub fn is_success(self) -> bool {
        (self.kind, self.code) == (0, 0)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status type {:#x} code {:#04x}", self.kind, self.code)
    }
}

/// An entry of a completion queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Which command ended.
    pub identifier: u16,
    /// The bit that tells new entries from old ones: it changes with each round of the queue.
    pub phase: bool,
    /// How it ended.
    pub status: Status,
}

impl Completion {
    /// Reads the last four of its bytes, which hold all that is needed.
    pub fn decode(word: u32) -> Self {
        let status = Status { kind: (word >> 25) as u8 & 0b111, code: (word >> 17) as u8 };
        Self { identifier: word as u16, phase: word & 1 << 16 != 0, status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8; COMMAND_BYTES], index: usize) -> u32 {
        u32::from_le_bytes(bytes[4 * index..][..4].try_into().unwrap())
    }

    #[test]
    fn transfers() {
        let bytes =
            Command::transfer(Transfer::Write, 3, 0x1_2345_6789, 8, (0x1000, 0x9_0000_2000)).encode(7);
        assert_eq!((word(&bytes, 0), word(&bytes, 1)), (7 << 16 | 1, 3));
        assert_eq!([6, 7, 8, 9].map(|index| word(&bytes, index)), [0x1000, 0, 0x2000, 9]);
        assert_eq!([10, 11, 12].map(|index| word(&bytes, index)), [0x2345_6789, 1, 7]);
        assert_eq!(word(&Command::transfer(Transfer::Read, 1, 0, 1, (0, 0)).encode(0), 0), 2);
    }

    #[test]
    fn queues() {
        let bytes = Command::create_completion_queue(1, 64, 0x3000, 1).encode(0);
        assert_eq!([0, 6, 10, 11].map(|index| word(&bytes, index)), [5, 0x3000, 63 << 16 | 1, 1 << 16 | 3]);
        let bytes = Command::create_submission_queue(1, 64, 0x4000).encode(0);
        assert_eq!([0, 6, 10, 11].map(|index| word(&bytes, index)), [1, 0x4000, 63 << 16 | 1, 1 << 16 | 1]);
    }

    #[test]
    fn virtual_functions() {
        let bytes = Command::virtualization(2, Action::Assign, Resource::Interrupts, 1).encode(0);
        assert_eq!([0, 1, 10, 11].map(|index| word(&bytes, index)), [0x1c, 0, 2 << 16 | 1 << 8 | 8, 1]);
        let bytes = Command::attach_namespace(2, 0x5000).encode(0);
        assert_eq!([0, 1, 6, 10].map(|index| word(&bytes, index)), [0x15, 2, 0x5000, 0]);
    }

    #[test]
    fn completions() {
        let good = Completion::decode(0x0001_0005);
        assert_eq!((good.identifier, good.phase, good.status.is_success()), (5, true, true));
        // "Do not retry" and "more" don't belong to the code.
        let bad = Completion::decode((0xc080 << 17 | 9) as u32);
        assert_eq!((bad.identifier, bad.phase, bad.status), (9, false, Status::OUT_OF_RANGE));
        assert_eq!(Completion::decode(0x286 << 17).status, Status { kind: 2, code: 0x86 });
    }
}
