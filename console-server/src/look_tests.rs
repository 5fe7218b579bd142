// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines and their answers.

use super::*;
use protocol::look::Run;
use protocol::look::ask::View;
use protocol::look::device::Devices;
use protocol::look::guest::{Exits, VmState};

/// Part 8 holds something, part 9 isn't told of. Part 8 answers questions, part 9 doesn't; part 10 doesn't run.
#[derive(Default)]
struct Fake {
    asked: Vec<(u8, Question)>,
    shown: Vec<Shown>,
}

impl Inside for Fake {
    fn held(&mut self, ask: ListHeld) -> Option<Held> {
        let mut held = Held::default();
        if ask.part == 8 && ask.slot < 200 {
            let run = Run { slot: ask.slot, count: 1, tag: 2, size_bits: 12, ..Run::default() };
            held.runs.push(run).unwrap();
            held.next = Some(ask.slot + 100);
        }
        (ask.part != 9).then_some(held)
    }

    fn vm(&mut self, vm: u16) -> Option<Vm> {
        let (memory, priority, devices, starts) = (1 << 21, 100, 0, 1);
        let vm_0 = Vm { state: VmState::Running, memory, priority, devices, starts, code: None };
        (vm == 0).then_some(vm_0)
    }

    fn ask(&mut self, part: u8, question: Question) -> bool {
        self.asked.push((part, question));
        part != 10
    }

    fn shown(&mut self) -> Shown {
        self.shown.pop().unwrap_or(Shown::NotYet)
    }
}

fn owners() -> Vec<RingOwner> {
    [("root-task", 0), ("web", 8), ("dumb", 9), ("ended", 10)]
        .map(|(name, index)| RingOwner { index, name: name.try_into().unwrap(), is_vm: index >= 8 })
        .to_vec()
}

/// The lines that come now.
fn lines(looker: &mut Looker, inside: &mut Fake) -> Vec<String> {
    let mut text = Text::new();
    let mut lines = Vec::new();
    while looker.next(inside, &mut text) {
        let line = String::from_utf8(text.bytes().to_vec()).unwrap();
        lines.push(line.trim_end().strip_prefix("[console-server] ").unwrap().to_owned());
    }
    lines
}

fn answer(line: Option<&str>) -> Vec<String> {
    let (owners, mut inside) = (owners(), Fake::default());
    let mut looker = Looker::new(&owners);
    looker.ask(line);
    let lines = lines(&mut looker, &mut inside);
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
    let lines = answer(Some("vms"));
    assert!(lines[0].contains("\"vm\":\"web\"") && lines.len() == 2, "{lines:?}");
    assert_eq!(lines[1], r#"{"look":"vms","error":"the root task doesn't tell"}"#);
}

#[test]
fn each_line_gets_an_answer() {
    assert_eq!(answer(Some("help")).len(), HELP.len() + 1);
    for line in [Some("what"), Some("caps nobody"), Some("exits root-task"), Some(""), None] {
        let lines = answer(line);
        assert!(lines.len() == 1 && lines[0].starts_with("{\"error\":\""), "{lines:?}");
    }
    assert_eq!(answer(Some("exits ended")), [r#"{"look":"exits","error":"it doesn't run"}"#]);
}

#[test]
fn an_answer_comes_when_it_is_shown() {
    let (owners, mut inside) = (owners(), Fake::default());
    let mut looker = Looker::new(&owners);
    looker.ask(Some("exits web"));
    assert!(lines(&mut looker, &mut inside).is_empty() && looker.is_waiting());
    assert_eq!(inside.asked, [(8, Question::Exits)]);
    // A sign that was for somebody else changes nothing.
    looker.wake();
    assert!(lines(&mut looker, &mut inside).is_empty() && looker.is_waiting());
    inside.shown.push(Shown::View(View::Exits(Exits::default())));
    assert!(lines(&mut looker, &mut inside).is_empty(), "nobody asks without a sign");
    looker.wake();
    let lines = lines(&mut looker, &mut inside);
    assert!(lines[0].starts_with(r#"{"look":"exits","vm":"web","exits":{"cpuid":0,"#), "{lines:?}");
    assert_eq!(lines[1..], [r#"{"look":"exits","done":true}"#]);
    assert!(looker.is_idle() && inside.asked.len() == 1);
}

#[test]
fn who_does_not_answer_holds_nobody_up() {
    let (owners, mut inside) = (owners(), Fake::default());
    let mut looker = Looker::new(&owners);
    looker.ask(Some("exits dumb"));
    assert!(lines(&mut looker, &mut inside).is_empty());
    looker.give_up();
    assert_eq!(lines(&mut looker, &mut inside), [r#"{"look":"exits","error":"it hasn't answered"}"#]);
    assert!(looker.is_idle());
    // It ends instead.
    looker.ask(Some("exits dumb"));
    assert!(lines(&mut looker, &mut inside).is_empty());
    inside.shown.push(Shown::Gone);
    looker.wake();
    assert_eq!(lines(&mut looker, &mut inside), [r#"{"look":"exits","error":"it has ended"}"#]);
    // Whoever doesn't wait doesn't give up.
    looker.ask(Some("help"));
    looker.give_up();
    assert_eq!(lines(&mut looker, &mut inside).len(), HELP.len() + 1);
}

#[test]
fn an_answer_may_come_in_pieces() {
    let (owners, mut inside) = (owners(), Fake::default());
    let mut looker = Looker::new(&owners);
    looker.ask(Some("devices"));
    assert!(lines(&mut looker, &mut inside).is_empty());
    let piece = |next| Shown::View(View::Devices(Devices { next, ..Devices::default() }));
    inside.shown.push(piece(Some(10)));
    looker.wake();
    assert!(lines(&mut looker, &mut inside).is_empty() && looker.is_waiting());
    assert_eq!(inside.asked, [(1, Question::Devices(0)), (1, Question::Devices(10))]);
    inside.shown.push(piece(None));
    looker.wake();
    assert_eq!(lines(&mut looker, &mut inside), [r#"{"look":"devices","done":true}"#]);
}
