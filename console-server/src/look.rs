// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands and their answers, a line at a time, so that the log goes on between them.

use protocol::config::RingOwner;
use protocol::look::{Held, ListHeld};

use crate::command::{Command, HELP, NoCommand};
use crate::json::{self, Caps};
use crate::text::Text;

/// The name before the lines of answers.
pub const NAME: &str = "console-server";

/// Those who are asked.
pub trait Inside {
    /// What a part holds from a slot on; `None` if that isn't told.
    fn held(&mut self, ask: ListHeld) -> Option<Held>;
}

/// What is being answered.
enum Answer {
    /// Nothing.
    Idle,
    /// The line typed was no command.
    Wrong(NoCommand),
    /// Help from this line on.
    Help(usize),
    /// Capabilities.
    Caps(CapsAnswer),
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

    /// Says that there may have been something to answer, which nobody knows any more.
    pub fn begin_anew(&mut self) {
        self.answer = Answer::Wrong(NoCommand::Forgotten);
    }

    /// Begins to answer a line; `None` is one that is too long or no text.
    pub fn ask(&mut self, line: Option<&str>) {
        let command = line.ok_or(NoCommand::NotALine).and_then(|line| Command::read(line, self.owners));
        self.answer = match command {
            Err(wrong) => Answer::Wrong(wrong),
            Ok(Command::Help) => Answer::Help(0),
            Ok(Command::Caps(place)) => {
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
                None => {
                    let why = "{\"look\":\"caps\",\"error\":\"the root task doesn't tell\"}";
                    text.set_formatted(NAME, format_args!("{why}"));
                    self.answer = Answer::Idle;
                }
            },
        }
        true
    }

    fn done(&mut self, look: &str, text: &mut Text) {
        text.set_formatted(NAME, format_args!("{{\"look\":\"{look}\",\"done\":true}}"));
        self.answer = Answer::Idle;
    }
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
mod tests {
    use super::*;
    use protocol::look::Run;

    struct Fake(Vec<ListHeld>);

    impl Inside for Fake {
        fn held(&mut self, ask: ListHeld) -> Option<Held> {
            self.0.push(ask);
            let mut held = Held::default();
            if ask.part == 8 && ask.slot < 200 {
                let run = Run { slot: ask.slot, count: 1, tag: 2, size_bits: 12, ..Run::default() };
                held.runs.push(run).unwrap();
                held.next = Some(ask.slot + 100);
            }
            (ask.part != 9).then_some(held)
        }
    }

    fn owners() -> Vec<RingOwner> {
        [("root-task", 0), ("web", 8), ("dumb", 9)]
            .map(|(name, index)| RingOwner { index, name: name.try_into().unwrap(), is_vm: index >= 8 })
            .to_vec()
    }

    fn answer(line: Option<&str>) -> Vec<String> {
        let (owners, mut text, mut inside) = (owners(), Text::new(), Fake(Vec::new()));
        let mut looker = Looker::new(&owners);
        looker.ask(line);
        let mut lines = Vec::new();
        while looker.next(&mut inside, &mut text) {
            let line = String::from_utf8(text.bytes().to_vec()).unwrap();
            lines.push(line.trim_end().strip_prefix("[console-server] ").unwrap().to_owned());
        }
        assert!(looker.is_idle());
        lines
    }

    #[test]
    fn capabilities_are_asked_for_until_none_is_left() {
        let lines = answer(Some("caps web"));
        assert_eq!(lines.len(), 3);
        assert!(lines[0].contains("\"slot\":\"0x0\"") && lines[1].contains("\"slot\":\"0x64\""));
        assert_eq!(lines[2], r#"{"look":"caps","done":true}"#);
    }

    #[test]
    fn what_is_not_told_ends_the_answer() {
        let lines = answer(Some("caps"));
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2], r#"{"look":"caps","error":"the root task doesn't tell"}"#);
    }

    #[test]
    fn each_line_gets_an_answer() {
        assert_eq!(answer(Some("help")).len(), HELP.len() + 1);
        for line in [Some("what"), Some("caps nobody"), Some(""), None] {
            let lines = answer(line);
            assert!(lines.len() == 1 && lines[0].starts_with("{\"error\":\""), "{lines:?}");
        }
    }
}
