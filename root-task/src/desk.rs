// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one question about the inside that is under way: who is asked, and what was shown.

use alloc::boxed::Box;

use protocol::look::ask::{Question, Shown, View};

/// The question.
#[derive(Debug, Default)]
pub struct Desk {
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Asked {
    client: u64,
    question: Question,
    view: Option<Box<View>>,
}

impl Desk {
    /// Nothing is asked.
    pub const fn new() -> Self {
        Self { asked: None }
    }

    /// A client is asked. What was asked before is forgotten.
    pub fn ask(&mut self, client: u64, question: Question) {
        self.asked = Some(Asked { client, question, view: None });
    }

    /// What a client is asked and hasn't answered.
    pub fn question(&self, client: u64) -> Option<Question> {
        let asked = self.asked.as_ref().filter(|asked| asked.client == client && asked.view.is_none());
        asked.map(|asked| asked.question)
    }

    /// A client shows something. False if that isn't what it was asked, or it has answered.
    pub fn show(&mut self, client: u64, view: Box<View>) -> bool {
        let waits = |asked: &&mut Asked| {
            asked.client == client && asked.view.is_none() && view.answers(asked.question)
        };
        match self.asked.as_mut().filter(waits) {
            Some(asked) => {
                asked.view = Some(view);
                true
            }
            None => false,
        }
    }

    /// A client has ended. True if it was asked and hasn't answered.
    pub fn gone(&mut self, client: u64) -> bool {
        let waited = self.question(client).is_some();
        if waited {
            self.asked = None;
        }
        waited
    }

    /// What has become of the question. An answer is given once.
    pub fn shown(&mut self) -> Shown {
        match self.asked.take() {
            None => Shown::Gone,
            Some(Asked { view: Some(view), .. }) => Shown::View(*view),
            asked => {
                self.asked = asked;
                Shown::NotYet
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::look::device::Devices;
    use protocol::look::guest::Exits;

    fn exits() -> Box<View> {
        Box::new(View::Exits(Exits { dma_faults: 7, ..Exits::default() }))
    }

    #[test]
    fn an_answer_is_given_once() {
        let mut desk = Desk::new();
        desk.ask(0x101, Question::Exits);
        assert_eq!(desk.question(0x101), Some(Question::Exits));
        assert_eq!(desk.shown(), Shown::NotYet);
        assert!(desk.show(0x101, exits()));
        assert_eq!(desk.question(0x101), None);
        assert!(!desk.show(0x101, exits()), "it has answered");
        assert_eq!(desk.shown(), Shown::View(*exits()));
        assert_eq!(desk.shown(), Shown::Gone);
    }

    #[test]
    fn only_who_is_asked_answers_and_only_that() {
        let mut desk = Desk::new();
        assert!(!desk.show(0x101, exits()) && desk.question(0x101).is_none());
        desk.ask(0x101, Question::Exits);
        assert!(!desk.show(0x100, exits()) && desk.question(0x100).is_none());
        assert!(!desk.show(0x101, Box::new(View::Devices(Devices::default()))));
        assert_eq!(desk.shown(), Shown::NotYet);
        desk.ask(0x100, Question::Exits);
        assert!(!desk.show(0x101, exits()), "too late");
        assert!(desk.show(0x100, exits()));
    }

    #[test]
    fn who_has_ended_does_not_answer() {
        let mut desk = Desk::new();
        desk.ask(0x101, Question::Exits);
        assert!(!desk.gone(0x100));
        assert!(desk.gone(0x101) && !desk.gone(0x101));
        assert_eq!(desk.shown(), Shown::Gone);
        desk.ask(0x101, Question::Exits);
        assert!(desk.show(0x101, exits()));
        assert!(!desk.gone(0x101));
        assert_eq!(desk.shown(), Shown::View(*exits()), "it has answered before");
    }
}
