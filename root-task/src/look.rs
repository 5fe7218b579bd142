// SPDX-License-Identifier: MIT OR Apache-2.0
//! A look inside. What the parts hold is read from their capability spaces at the moment of asking: the kernel tells, not the root task's
//! records. The lives of VMs are known here. What parts know is asked for by a signal, and shown when they get to it.

use alloc::boxed::Box;

use protocol::client;
use protocol::look::ask::{Ask, GetShown, Question, Show, View, WhatIsAsked};
use protocol::look::guest::{DescribeVm, Vm, VmState};
use protocol::look::{Held, ListHeld};
use protocol::message::{self, Refusal, Request};
use protocol::start::signal;
use protocol::supervisor::SupervisorError;
use root_task::held;
use root_task::layout::{INDEX_BITS, ROOT_RADIX};
use root_task::lifecycle::State;
use root_task::need::Role;
use sel4::cap_type;

use crate::log;
use crate::process::Process;
use crate::resources::{at, in_slot};
use crate::supervisor::{Answer, outcome};
use crate::system::System;

/// Requests about the inside.
pub enum Look {
    /// From console-server.
    Held(ListHeld),
    /// From console-server.
    Vm(DescribeVm),
    /// From console-server.
    Ask(Ask),
    /// From console-server.
    GetShown,
    /// From whoever is asked.
    WhatIsAsked,
    /// From whoever is asked.
    Show(Box<View>),
}

impl Look {
    /// Reads a request; `None` if its words are wrong.
    pub fn decode(operation: u16, words: &[u64]) -> Result<Option<Self>, Refusal> {
        Ok(match operation {
            ListHeld::OPERATION => message::decode(words).map(Self::Held),
            DescribeVm::OPERATION => message::decode(words).map(Self::Vm),
            Ask::OPERATION => message::decode(words).map(Self::Ask),
            GetShown::OPERATION => message::decode(words).map(|GetShown| Self::GetShown),
            WhatIsAsked::OPERATION => message::decode(words).map(|WhatIsAsked| Self::WhatIsAsked),
            Show::OPERATION => message::decode(words).map(|Show(view)| Self::Show(Box::new(view))),
            _ => return Err(Refusal::UnknownOperation),
        })
    }

    const fn is_console_servers(&self) -> bool {
        !matches!(self, Self::WhatIsAsked | Self::Show(_))
    }
}

fn answer<R: Request + 'static>(reply: Result<R::Reply, R::Error>) -> Answer {
    Answer::Encode(Box::new(move || outcome::<R>(&reply)))
}

impl System<'_> {
    /// Answers a request about the inside.
    pub fn look(&mut self, client: u64, look: Look) -> Answer {
        if look.is_console_servers() && client != client::CONSOLE {
            return Answer::NotYours;
        }
        match look {
            Look::Held(asked) => answer::<ListHeld>(self.held(asked)),
            Look::Vm(DescribeVm { vm }) => {
                answer::<DescribeVm>(self.describe(vm.into()).ok_or(SupervisorError::NotRunning))
            }
            Look::Ask(Ask { part, question }) => answer::<Ask>(self.ask(part.into(), question)),
            Look::GetShown => answer::<GetShown>(Ok(self.desk.shown())),
            Look::WhatIsAsked => answer::<WhatIsAsked>(Ok(self.desk.question(client))),
            Look::Show(view) => {
                if !self.desk.show(client, view) {
                    return Answer::NotYours;
                }
                self.tell_console();
                Answer::Done
            }
        }
    }

    fn describe(&self, number: usize) -> Option<Vm> {
        let (described, record) = (self.description.vms.get(number)?, self.records.get(number)?);
        let state = match self.life.state(number)? {
            State::Waiting => VmState::Waiting,
            State::Refused => VmState::Refused,
            State::Running => VmState::Running,
            State::Quieting => VmState::Quieting,
            State::Ended => VmState::Ended,
        };
        Some(Vm {
            state,
            memory: described.memory,
            priority: described.priority,
            devices: described.devices.len() as u8,
            starts: record.starts,
            code: record.code,
        })
    }

    /// Has a part that runs asked something.
    fn ask(&mut self, part: usize, question: Question) -> Result<(), SupervisorError> {
        let vm = part.checked_sub(client::FIRST_VM_INDEX);
        let (client, bit, runs) = match vm {
            Some(vm) => {
                let runs = self.life.state(vm) == Some(State::Running);
                (client::of_vm(vm as u16), signal::VMM_LOOK, runs)
            }
            // Before it is ready its signals are for nobody.
            None => {
                let server = self.servers.get(part).and_then(Option::as_ref);
                (part as u64, signal::LOOK, server.is_some_and(|server| server.ready))
            }
        };
        let process = self.process(part).filter(|_| runs).ok_or(SupervisorError::NotRunning)?;
        let notification = process.notification;
        self.desk.ask(client, question);
        self.signal(notification, bit).map_err(|failure| {
            log!("client {client:#x} can't be asked: {failure}");
            SupervisorError::NotRunning
        })
    }

    /// A part has ended: nobody needs to wait for its answer.
    pub fn gone(&mut self, client: u64) {
        if self.desk.gone(client) {
            self.tell_console();
        }
    }

    fn tell_console(&mut self) {
        let Ok(console) = self.server(client::CONSOLE) else { return };
        let notification = console.process.notification;
        if let Err(failure) = self.signal(notification, signal::SHOWN) {
            log!("console-server can't be told: {failure}");
        }
    }

    /// What a part holds from a slot on; nothing if it doesn't run.
    fn held(&self, asked: ListHeld) -> Result<Held, SupervisorError> {
        let number = usize::from(asked.part);
        let told = match asked.part {
            0 => {
                let end = self.resources.slot_count as u32;
                held::flat(asked.slot.min(end), end, |slot| at(slot as usize).describe())
            }
            _ => match self.process(number) {
                Some(process) => {
                    let root = in_slot::<cap_type::CNode>(process.object(Role::Root));
                    let describe = |bits: u32, depth| {
                        root.absolute_cptr_from_bits_with_depth(bits.into(), depth).describe()
                    };
                    let mounts = 1 << ROOT_RADIX;
                    let whole = ROOT_RADIX + INDEX_BITS;
                    held::two_levels(asked.slot, mounts, |n| describe(n, ROOT_RADIX), |n| describe(n, whole))
                }
                None => Ok(Held::default()),
            },
        };
        told.map_err(|_| SupervisorError::NotTold)
    }

    /// The process of the part with this index (`client::index`).
    fn process(&self, index: usize) -> Option<&Process> {
        match index.checked_sub(client::FIRST_VM_INDEX) {
            Some(vm) => self.vms.get(vm)?.as_ref().map(|vm| &vm.process),
            None => self.servers.get(index)?.as_ref().map(|server| &server.process),
        }
    }
}
