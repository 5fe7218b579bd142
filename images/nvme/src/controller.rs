// SPDX-License-Identifier: MIT OR Apache-2.0
//! The controller: found, started, its queues made, its namespace read and written (NVM Express Base Specification 1.4, sections 3.1 and 7.6).

use crate::command::{Command, Status, Subject, Transfer};
use crate::identify::{self, Namespace};
use crate::prp;
use crate::queue::{ENTRIES, Queue};
use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};
use guest_runtime::dma::Buffer;
use guest_runtime::irq;
use guest_runtime::mmio::Mmio;
use guest_runtime::pci::{self, Address, Function, Message, MsiX};
use guest_runtime::{println, time};

/// Class, subclass and programming interface of an NVMe I/O controller.
const CLASS: u32 = 0x01_08_02;

mod register {
    pub const CAPABILITIES: usize = 0x00;
    pub const CONFIGURATION: usize = 0x14;
    pub const STATUS: usize = 0x1c;
    pub const ADMIN_SIZES: usize = 0x24;
    pub const ADMIN_SUBMISSIONS: usize = 0x28;
    pub const ADMIN_COMPLETIONS: usize = 0x30;
    pub const DOORBELLS: usize = 0x1000;
}

const READY: u32 = 1;
const FATAL: u32 = 1 << 1;
/// On, pages of 4 KiB, commands of 2^6 and completions of 2^4 bytes.
const ENABLED: u32 = 1 | 6 << 16 | 4 << 20;
const SHUT_DOWN: u32 = 1 << 14;
const SHUTDOWN_STATUS: u32 = 0b11 << 2;
const SHUTDOWN_DONE: u32 = 0b10 << 2;

/// The I/O queues' number; the admin queues have 0. MSI-X vectors have the numbers of their queues.
const IO: u16 = 1;

/// The most commands that [`Controller::transfer`] can run at once: each has a page for its list.
pub const AT_ONCE: usize = 16;

/// Blocks to move, and where they lie in RAM.
pub struct Blocks {
    /// The first block.
    pub first: u64,
    /// How many, at least one.
    pub blocks: u16,
    /// Where their bytes lie, all together.
    pub address: u64,
}

/// A controller with its admin queue.
pub struct Started {
    /// Its function.
    pub function: Function,
    registers: Mmio,
    table: MsiX,
    stride: usize,
    /// The admin queue.
    pub admin: Queue,
}

impl Started {
    /// Finds the first controller and starts it, or says what is wrong.
    pub fn find(is_virtual: bool) -> Result<Self, String> {
        let mut found = None;
        pci::for_each(|function| {
            if found.is_none() && function.ids().class == CLASS {
                found = Some(function);
            }
        });
        let function = found.ok_or("there is no NVMe controller")?;
        let registers = function.bar(0).ok_or("BAR 0 is missing")?.registers();
        function.enable();
        if is_virtual {
            wait_online(&function, &registers)?;
        }
        let table = MsiX::of(&function).ok_or("the controller has no MSI-X")?;
        table.enable();
        let capabilities = registers.read64(register::CAPABILITIES);
        let stride = 4 << (capabilities >> 32 & 0xf);
        if (capabilities & 0xffff) + 1 < u64::from(ENTRIES) || capabilities >> 48 & 0xf != 0 {
            return Err(format!(
                "capabilities {capabilities:#x}: queues of {ENTRIES} or pages of 4 KiB don't fit"
            ));
        }
        let admin = queue(&registers, &table, stride, 0, None)?;
        start(&registers, &admin)?;
        Ok(Self { function, registers, table, stride, admin })
    }

    /// Ends the controller in order.
    pub fn shut_down(&mut self) -> Result<(), String> {
        shut_down(&self.registers)
    }
}

/// Makes the queue of this number, with a vector of its own unless it shares one.
fn queue(
    registers: &Mmio,
    table: &MsiX,
    stride: usize,
    number: u16,
    shared: Option<u8>,
) -> Result<Queue, String> {
    let vector = match shared {
        Some(vector) => vector,
        None => {
            let vector = irq::register(|_| ()).ok_or("there is no free vector")?;
            table.set(usize::from(number), Message::to_this_cpu(vector));
            vector
        }
    };
    let place = |index: usize| registers.part(register::DOORBELLS + index * stride, 4);
    let first = usize::from(number) * 2;
    let doorbells = place(first).zip(place(first + 1)).ok_or("BAR 0 ends before the doorbells")?;
    Ok(Queue::new(doorbells.into(), vector))
}

/// Waits until a virtual function's controller is online, for which there are no interrupts. One that reads all ones went away when its
/// physical function was reset, and comes back by a reset of its own.
fn wait_online(function: &Function, registers: &Mmio) -> Result<(), String> {
    const PAUSE_NS: u64 = 10_000_000;
    loop {
        match registers.read32(register::STATUS) {
            u32::MAX => {
                println!("nvme: the function is gone: resetting it");
                if !function.reset() {
                    return Err("the function can't be reset".into());
                }
                function.enable();
            }
            status if status & FATAL != 0 => time::sleep_until(time::now() + PAUSE_NS),
            _ => return Ok(()),
        }
    }
}

/// A controller that runs.
pub struct Controller {
    function: Function,
    registers: Mmio,
    admin: Queue,
    io: Queue,
    identity: identify::Controller,
    number: u32,
    namespace: Namespace,
    /// A page for each command's list.
    lists: Buffer,
}

impl Controller {
    /// Finds the first controller, starts it and makes a queue for a namespace, or says what is wrong. `is_virtual`: it is a virtual
    /// function's, which works once the owner of the physical one has brought it online.
    pub fn find(number: u32, is_virtual: bool) -> Result<Self, String> {
        let Started { function, registers, table, stride, mut admin } = Started::find(is_virtual)?;
        // With one vector for both, each looks whether it was meant.
        let vector = if table.vectors() > usize::from(IO) { IO } else { 0 };
        let mut io = queue(&registers, &table, stride, IO, (vector == 0).then_some(admin.vector()))?;
        let identity = identify::Controller::decode(&*identify(&mut admin, Subject::Controller, 0)?);
        let namespace =
            Namespace::decode(&*identify(&mut admin, Subject::Namespace, number)?).ok_or_else(|| {
                format!("namespace {number} is missing, or has blocks that this driver can't use")
            })?;
        one(&mut admin, Command::create_completion_queue(IO, ENTRIES, io.completions(), vector))
            .map_err(|status| format!("no completion queue: {status}"))?;
        one(&mut admin, Command::create_submission_queue(IO, ENTRIES, io.submissions()))
            .map_err(|status| format!("no submission queue: {status}"))?;
        // A flush proves that the queue works.
        one(&mut io, Command::flush(number)).map_err(|status| format!("no flush: {status}"))?;
        let lists = Buffer::new(AT_ONCE * prp::PAGE as usize);
        Ok(Self { function, registers, admin, io, identity, number, namespace, lists })
    }

    /// Where it sits.
    pub fn address(&self) -> Address {
        self.function.address()
    }

    /// Model and serial number.
    pub fn identity(&self) -> String {
        format!("\"{}\", serial number \"{}\"", self.identity.model, self.identity.serial)
    }

    /// The namespace's number.
    pub fn namespace(&self) -> u32 {
        self.number
    }

    /// Blocks of the namespace.
    pub fn blocks(&self) -> u64 {
        self.namespace.blocks
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> usize {
        self.namespace.block_bytes as usize
    }

    /// The longest transfer in bytes.
    pub fn longest_transfer(&self) -> u64 {
        let list = prp::LONGEST_LIST as u64 * prp::PAGE;
        self.identity.longest_transfer.map_or(list, |limit| limit.min(list))
    }

    /// The CPU's vectors of the admin and of the I/O queue.
    pub fn vectors(&self) -> (u8, u8) {
        (self.admin.vector(), self.io.vector())
    }

    /// Moves all of them at once; how each ended.
    ///
    /// # Panics
    /// If there are more than [`AT_ONCE`], or one is longer than one page of list can say.
    pub fn transfer(&mut self, direction: Transfer, what: &[Blocks]) -> Vec<Status> {
        assert!(what.len() <= AT_ONCE, "more commands than pages for lists");
        let mut commands = Vec::new();
        for (index, blocks) in what.iter().enumerate() {
            let bytes = u64::from(blocks.blocks) * self.namespace.block_bytes;
            let offset = index * prp::PAGE as usize;
            let list = self.lists.address() + offset as u64;
            let prps = prp::describe(blocks.address, bytes, list).expect("a transfer of one list");
            let entries: Vec<u8> = prps.list.iter().flat_map(|page| page.to_le_bytes()).collect();
            self.lists.write(offset, &entries);
            commands.push(Command::transfer(
                direction,
                self.number,
                blocks.first,
                blocks.blocks,
                prps.pointers,
            ));
        }
        self.io.run(&commands)
    }

    /// Has everything that was written reach the disk.
    pub fn flush(&mut self) -> Result<(), Status> {
        one(&mut self.io, Command::flush(self.number))
    }

    /// Ends the controller in order; it takes no commands any more.
    pub fn shut_down(&mut self) -> Result<(), String> {
        shut_down(&self.registers)
    }
}

fn shut_down(registers: &Mmio) -> Result<(), String> {
    let configuration = registers.read32(register::CONFIGURATION);
    registers.write32(register::CONFIGURATION, configuration | SHUT_DOWN);
    wait(registers, |status| status & SHUTDOWN_STATUS == SHUTDOWN_DONE)
}

/// Turns the controller off and on with this admin queue.
fn start(registers: &Mmio, admin: &Queue) -> Result<(), String> {
    registers.write32(register::CONFIGURATION, 0);
    wait(registers, |status| status & READY == 0)?;
    let last = u32::from(ENTRIES - 1);
    registers.write32(register::ADMIN_SIZES, last << 16 | last);
    registers.write64(register::ADMIN_SUBMISSIONS, admin.submissions());
    registers.write64(register::ADMIN_COMPLETIONS, admin.completions());
    registers.write32(register::CONFIGURATION, ENABLED);
    wait(registers, |status| status & READY != 0)
}

/// Waits for a status, for which there are no interrupts.
fn wait(registers: &Mmio, done: impl Fn(u32) -> bool) -> Result<(), String> {
    loop {
        let status = registers.read32(register::STATUS);
        if status == u32::MAX || status & FATAL != 0 {
            return Err(format!("the controller has failed, status {status:#x}"));
        }
        if done(status) {
            return Ok(());
        }
        core::hint::spin_loop();
    }
}

/// Runs one command.
pub fn one(queue: &mut Queue, command: Command) -> Result<(), Status> {
    match queue.run(&[command])[..] {
        [status] if status.is_success() => Ok(()),
        [status, ..] => Err(status),
        [] => unreachable!("one command, one status"),
    }
}

/// Asks the controller about a subject; `namespace` is 0 for subjects that aren't one.
pub fn identify(
    admin: &mut Queue,
    subject: Subject,
    namespace: u32,
) -> Result<alloc::boxed::Box<[u8; identify::BYTES]>, String> {
    let page = Buffer::new(identify::BYTES);
    one(admin, Command::identify(subject, namespace, page.address()))
        .map_err(|status| format!("no identification: {status}"))?;
    let mut data = vec![0; identify::BYTES];
    page.read(0, &mut data);
    data.into_boxed_slice().try_into().map_err(|_| "a page of another length".into())
}
