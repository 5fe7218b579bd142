// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands and their answers, a line at a time, so that the log goes on between them.

use protocol::client::FIRST_VM_INDEX;
use protocol::config::RingOwner;
use protocol::look::ask::{Question, Shown};
use protocol::look::guest::Vm;
use protocol::look::{Held, ListHeld};

use crate::asked::{Asked, Step};
use crate::command::{Command, HELP, NoCommand};
use crate::json::{self, Caps};
use crate::objects;
use crate::text::Text;

/// The name before the lines of answers.
pub const NAME: &str = "console-server";

/// Those who are asked.
pub trait Inside {
    /// What a part holds from a slot on; `None` if that isn't told.
    fn held(&mut self, ask: ListHeld) -> Option<Held>;
    /// What is known of a VM; `None` if that isn't told.
    fn vm(&mut self, vm: u16) -> Option<Vm>;
    /// Has a part asked something; false if it doesn't run.
    fn ask(&mut self, part: u8, question: Question) -> bool;
    /// What has become of the question.
    fn shown(&mut self) -> Shown;
}

const NOT_TOLD: &str = "the root task doesn't tell";
/// Whoever is asked hasn't answered when the next line was typed.
const NO_ANSWER: &str = "it hasn't answered";

/// What is being answered.
#[expect(clippy::large_enum_variant, reason = "servers have no allocator to box it with")]
enum Answer {
    /// Nothing.
    Idle,
    /// The line typed was no command.
    Wrong(NoCommand),
    /// Help from this line on.
    Help(usize),
    /// Capabilities.
    Caps(CapsAnswer),
    /// VMs, from this place on.
    Vms(usize),
    /// What others are asked for, for the command of this name.
    Asked(&'static str, Asked),
    /// What ends the answer to the command of this name.
    Failed(&'static str, &'static str),
}

struct CapsAnswer {
    /// Place of the part that is looked at.
    place: usize,
    /// The place behind the last.
    end: usize,
    /// How much was shown of what it holds in the slots looked at last.
    shown: usize,
}

/// As if the slots before the first had been looked at, and nothing was in them.
const BEFORE_ALL: Held = Held { runs: heapless::Vec::new(), next: Some(0) };

/// Answers commands.
pub struct Looker<'a> {
    owners: &'a [RingOwner],
    answer: Answer,
    /// What a part holds in the slots looked at last.
    held: Held,
}

impl<'a> Looker<'a> {
    /// For a system with these parts.
    pub const fn new(owners: &'a [RingOwner]) -> Self {
        Self { owners, answer: Answer::Idle, held: BEFORE_ALL }
    }

    /// Whether there is nothing to answer.
    pub const fn is_idle(&self) -> bool {
        matches!(self.answer, Answer::Idle)
    }

    /// Whether nothing comes until somebody shows something.
    pub const fn is_waiting(&self) -> bool {
        match &self.answer {
            Answer::Asked(_, asked) => asked.is_waiting(),
            _ => false,
        }
    }

    /// Somebody may have shown something.
    pub fn wake(&mut self) {
        if let Answer::Asked(_, asked) = &mut self.answer {
            asked.wake();
        }
    }

    /// Ends a wait.
    pub fn give_up(&mut self) {
        if let Answer::Asked(look, asked) = &self.answer
            && asked.is_waiting()
        {
            self.answer = Answer::Failed(look, NO_ANSWER);
        }
    }

    /// Says that there may have been something to answer, which nobody knows any more.
    pub fn begin_anew(&mut self) {
        self.answer = Answer::Wrong(NoCommand::Forgotten);
    }

    /// Begins to answer a line; `None` is one that is too long or no text.
    pub fn ask(&mut self, line: Option<&str>) {
        let command = line.ok_or(NoCommand::NotALine).and_then(|line| Command::read(line, self.owners));
        let Ok(command) = command.inspect_err(|wrong| self.answer = Answer::Wrong(*wrong)) else { return };
        let asked = |asked| Answer::Asked(command.name(), asked);
        self.answer = match command {
            Command::Help => Answer::Help(0),
            Command::Vms => Answer::Vms(0),
            Command::Devices => asked(Asked::devices()),
            Command::Exits(place) => asked(Asked::vmm(place, self.owners, Question::Exits)),
            Command::Memory(place) => asked(Asked::vmm(place, self.owners, Question::Memory(0))),
            Command::Registers(place) => asked(Asked::vmm(place, self.owners, Question::Registers)),
            Command::Caps(place) => {
                let (place, end) = place.map_or((0, self.owners.len()), |place| (place, place + 1));
                self.held = BEFORE_ALL;
                Answer::Caps(CapsAnswer { place, end, shown: 0 })
            }
        };
    }

    /// Puts the next line of the answer into `text`; false if there is none.
    pub fn next(&mut self, inside: &mut impl Inside, text: &mut Text) -> bool {
        match &mut self.answer {
            Answer::Idle => return false,
            Answer::Wrong(wrong) => {
                let why = json::Text(wrong.text());
                text.set_formatted(NAME, format_args!("{{\"error\":{why}}}"));
                self.answer = Answer::Idle;
            }
            Answer::Help(line) => match HELP.get(*line) {
                Some((command, shows)) => {
                    let (command, shows) = (json::Text(command), json::Text(shows));
                    let object =
                        format_args!("{{\"look\":\"help\",\"command\":{command},\"shows\":{shows}}}");
                    text.set_formatted(NAME, object);
                    *line += 1;
                }
                None => self.done("help", text),
            },
            Answer::Caps(caps) => match caps.next(self.owners, &mut self.held, inside, text) {
                Some(true) => {}
                Some(false) => self.done("caps", text),
                None => self.failed("caps", NOT_TOLD, text),
            },
            Answer::Vms(place) => match next_vm(self.owners, place, inside) {
                None => self.done("vms", text),
                Some((name, Some(vm))) => {
                    text.set_formatted(NAME, format_args!("{}", objects::Vm { name, vm }));
                }
                Some((_, None)) => self.failed("vms", NOT_TOLD, text),
            },
            Answer::Asked(look, asked) => {
                let look = *look;
                match asked.next(self.owners, inside, text) {
                    Step::Line => {}
                    Step::Wait => return false,
                    Step::Done => self.done(look, text),
                    Step::Failed(why) => self.failed(look, why, text),
                }
            }
            Answer::Failed(look, why) => {
                let (look, why) = (*look, *why);
                self.failed(look, why, text);
            }
        }
        true
    }

    fn failed(&mut self, look: &str, why: &str, text: &mut Text) {
        text.set_formatted(NAME, format_args!("{{\"look\":\"{look}\",\"error\":{}}}", json::Text(why)));
        self.answer = Answer::Idle;
    }

    fn done(&mut self, look: &str, text: &mut Text) {
        text.set_formatted(NAME, format_args!("{{\"look\":\"{look}\",\"done\":true}}"));
        self.answer = Answer::Idle;
    }
}

/// The next VM from a place on, and what is known of it.
fn next_vm<'a>(
    owners: &'a [RingOwner],
    place: &mut usize,
    inside: &mut impl Inside,
) -> Option<(&'a str, Option<Vm>)> {
    let (found, owner) = owners.iter().enumerate().skip(*place).find(|(_, owner)| owner.is_vm)?;
    *place = found + 1;
    let number = usize::from(owner.index).checked_sub(FIRST_VM_INDEX);
    Some((&owner.name, number.and_then(|number| inside.vm(number as u16))))
}

impl CapsAnswer {
    /// Shows the next run; false if there is none left, `None` if it isn't told.
    fn next(
        &mut self,
        owners: &[RingOwner],
        held: &mut Held,
        inside: &mut impl Inside,
        text: &mut Text,
    ) -> Option<bool> {
        while self.place < self.end {
            let owner = &owners[self.place];
            if let Some(run) = held.runs.get(self.shown) {
                self.shown += 1;
                text.set_formatted(NAME, format_args!("{}", Caps { part: &owner.name, run }));
                return Some(true);
            }
            self.shown = 0;
            match held.next {
                Some(slot) => *held = inside.held(ListHeld { part: owner.index, slot })?,
                None => {
                    self.place += 1;
                    *held = BEFORE_ALL;
                }
            }
        }
        Some(false)
    }
}

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;
