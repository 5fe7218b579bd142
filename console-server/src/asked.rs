// SPDX-License-Identifier: MIT OR Apache-2.0
//! The answer to a command that others are asked for. Nobody waits for them here: as long as nothing is shown there is no line.

use core::fmt;

use protocol::client::{self, FIRST_VM_INDEX};
use protocol::config::RingOwner;
use protocol::look::ask::{Question, Shown, View};

use crate::look::{Inside, NAME};
use crate::objects;
use crate::text::Text;

/// What comes next of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A line is in the text.
    Line,
    /// Nothing yet: go on when somebody has shown something.
    Wait,
    /// Nothing more.
    Done,
    /// It can't be answered, and why.
    Failed(&'static str),
}

/// Whoever is asked doesn't run.
const NOT_RUNNING: &str = "it doesn't run";
/// Whoever is asked has ended meanwhile.
const GONE: &str = "it has ended";

/// A question to a part.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The part, as `client::index` counts.
    part: u8,
    /// Its name.
    place: usize,
    state: State,
}

#[expect(clippy::large_enum_variant, reason = "servers have no allocator to box it with")]
#[derive(Debug, Clone)]
enum State {
    /// This is to be asked.
    Ask(Question),
    /// It is asked.
    Waiting {
        /// Something may have been shown.
        woken: bool,
    },
    /// This was shown, and so many lines of it are out.
    Shown(View, usize),
}

impl Asked {
    /// Asks pci-server for all functions.
    pub fn devices() -> Self {
        Self { part: client::PCI as u8, place: 0, state: State::Ask(Question::Devices(0)) }
    }

    /// Asks the VMM whose ring is at `place`.
    pub fn vmm(place: usize, owners: &[RingOwner], question: Question) -> Self {
        Self { part: owners[place].index, place, state: State::Ask(question) }
    }

    /// Whether nothing comes until somebody shows something.
    pub const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// Somebody may have shown something.
    pub fn wake(&mut self) {
        if let State::Waiting { woken } = &mut self.state {
            *woken = true;
        }
    }

    /// The next line.
    pub fn next(&mut self, owners: &[RingOwner], inside: &mut impl Inside, text: &mut Text) -> Step {
        loop {
            match &mut self.state {
                State::Ask(question) => {
                    if !inside.ask(self.part, *question) {
                        return Step::Failed(NOT_RUNNING);
                    }
                    self.state = State::Waiting { woken: false };
                }
                State::Waiting { woken } => {
                    if !core::mem::take(woken) {
                        return Step::Wait;
                    }
                    match inside.shown() {
                        Shown::NotYet => return Step::Wait,
                        Shown::Gone => return Step::Failed(GONE),
                        Shown::View(view) => self.state = State::Shown(view, 0),
                    }
                }
                State::Shown(view, line) => {
                    let name = owners.get(self.place).map_or("?", |owner| &owner.name);
                    if put(view, *line, name, owners, text) {
                        *line += 1;
                        return Step::Line;
                    }
                    match more(view) {
                        Some(question) => self.state = State::Ask(question),
                        None => return Step::Done,
                    }
                }
            }
        }
    }
}

/// Puts a line of a view; false if it has no more.
fn put(view: &View, line: usize, name: &str, owners: &[RingOwner], text: &mut Text) -> bool {
    let mut put = |object: &dyn fmt::Display| text.set_formatted(NAME, format_args!("{object}"));
    match view {
        View::Devices(devices) => {
            let Some(device) = devices.devices.get(line) else { return false };
            let owner = device.owner.and_then(|owner| {
                let index = FIRST_VM_INDEX + usize::from(owner.vm);
                owners.iter().find(|owner| usize::from(owner.index) == index)
            });
            put(&objects::Device { device, owner: owner.map_or("?", |owner| &owner.name) });
        }
        View::Memory(map) => {
            let Some(range) = map.ranges.get(line) else { return false };
            put(&objects::Memory { vm: name, range });
        }
        View::Exits(_) | View::Registers(_) if line > 0 => return false,
        View::Exits(exits) => put(&objects::Exits { vm: name, exits }),
        View::Registers(registers) => put(&objects::Registers { vm: name, registers }),
    }
    true
}

/// The question that goes on where a view ends.
const fn more(view: &View) -> Option<Question> {
    match view {
        View::Devices(devices) => match devices.next {
            Some(from) => Some(Question::Devices(from)),
            None => None,
        },
        View::Memory(map) => match map.next {
            Some(from) => Some(Question::Memory(from)),
            None => None,
        },
        View::Exits(_) | View::Registers(_) => None,
    }
}
