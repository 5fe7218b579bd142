// SPDX-License-Identifier: MIT OR Apache-2.0
//! Judges the rows of a method: each answer to the word, and that what was refused changed nothing.

use kernel_tests::env::at;
use kernel_tests::{Env, Failure, Outcome};
use sel4::abi::method::Method;
use sel4::abi::object::tag;
use sel4::abi::{LookupFailure, label};
use sel4::{CapFacts, Error, cap_type};
use sel4_root_task::println;

use crate::table::{CapArgument, DONE, Gives, Group, ILLEGAL, Row, SlotArgument, capability, lookup, range};
use crate::things::{DEPTH, THINGS, Thing};
use crate::world::World;

/// How many rows there were.
#[derive(Debug, Clone, Copy, Default)]
pub struct Score {
    /// Messages that were refused.
    pub misuses: usize,
    /// Messages that did something.
    pub successes: usize,
    wrong: usize,
}

struct Judge<'a> {
    world: &'a World,
    method: &'a Method,
    label: u64,
    score: Score,
    /// The world as it was when it was looked at last.
    state: u64,
}

/// Most words of a row.
const MAX_WORDS: usize = 24;

/// Labels that are no method's.
const NO_METHODS: [u64; 7] = [
    label::INVALID_INVOCATION,
    label::X86_EPT_PT_UNMAP + 1,
    label::FIRST_EXTENSION - 1,
    label::VCPU_READ_REGISTERS + 1,
    label::CNODE_DESCRIBE + 1,
    1 << 32 | label::TCB_SUSPEND,
    (1 << 52) - 1,
];

/// Judges the rows of one method in a world of their own.
pub fn group(env: &mut Env, method: &Method, group: &Group) -> (Score, Outcome) {
    let world = match World::new(env) {
        Ok(world) => world,
        Err(why) => return (Score::default(), Err(why)),
    };
    let mut judge = Judge::new(&world, method, group.label);
    group.before.iter().for_each(|row| judge.row(row));
    judge.short(group);
    judge.unchanged("a message that is too short");
    group.slots.iter().for_each(|argument| judge.slot(&group.good, argument));
    judge.unchanged("a slot that isn't there");
    group.caps.iter().for_each(|argument| judge.cap(&group.good, argument));
    judge.unchanged("another kind of an extra capability");
    judge.others(&group.good);
    judge.unchanged("another kind of capability");
    group.misuses.iter().for_each(|row| judge.row(row));
    judge.row(&group.good);
    group.after.iter().for_each(|row| judge.row(row));
    (judge.score, judge.outcome())
}

/// Judges labels that are no method's, on everything.
pub fn no_methods(env: &mut Env) -> Outcome {
    let world = World::new(env)?;
    let method = Method { name: "no method", label: None, words: 0, caps: 0 };
    let mut judge = Judge::new(&world, &method, 0);
    for label in NO_METHODS {
        for thing in THINGS {
            if let Some(gives) = world.to_strangers(*thing) {
                judge.message(format_args!("label {label} on {thing:?}"), label, *thing, &[0; 8], &[], gives);
            }
        }
    }
    judge.unchanged("a label that is no method's");
    judge.outcome()
}

/// The answer to a message; `None` if it is no error that there is.
pub fn answer(
    on: sel4::Cap<cap_type::Unspecified>,
    label: u64,
    words: &[u64],
    caps: &[u64],
) -> Option<Gives> {
    let (info, _) = on.invoke_raw(label, words, caps);
    if info.label() == 0 {
        return Some(Gives::Words(info.length()));
    }
    let mut words = [0; 5];
    let length = info.length().min(words.len());
    sel4::with_ipc_buffer(|buffer| words[..length].copy_from_slice(&buffer.msg_regs()[..length]));
    Some(Gives::Error(Error::from_code(info.label())?, words, info.length()))
}

impl World {
    fn facts(&self, thing: Thing) -> CapFacts {
        at(self.cap::<cap_type::Unspecified>(thing)).describe().unwrap_or_default()
    }

    /// The answer to a method that isn't the capability's; `None` for what takes any message.
    fn to_strangers(&self, thing: Thing) -> Option<Gives> {
        let facts = self.facts(thing);
        let sends = facts.rights & 1 != 0;
        match facts.tag {
            tag::NULL => Some(capability(0)),
            tag::ENDPOINT | tag::NOTIFICATION => (!sends).then_some(capability(0)),
            tag::REPLY => None,
            _ => Some(ILLEGAL),
        }
    }

    /// A number that differs when a capability of the world does, the threads' registers and flags, the virtual CPU's registers, or how much
    /// memory is free.
    fn snapshot(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let mut ask = |label, of: Thing, words: &[u64], caps: &[u64]| {
            let (info, _) = self.cap::<cap_type::Unspecified>(of).invoke_raw(label, words, caps);
            sel4::with_ipc_buffer(|buffer| {
                for word in &buffer.msg_regs()[..info.length()] {
                    hash = (hash ^ word).wrapping_mul(0x100_0000_01b3);
                }
            });
        };
        for thing in THINGS {
            ask(label::CNODE_DESCRIBE, Thing::OwnCNode, &[self.address(*thing), 64], &[]);
        }
        for index in 0..1 << DEPTH {
            ask(label::CNODE_DESCRIBE, Thing::CNode, &[index, DEPTH], &[]);
        }
        for thread in [Thing::Tcb, Thing::OtherTcb, Thing::BoundTcb, Thing::WaitingTcb] {
            ask(label::TCB_READ_REGISTERS, thread, &[0, 20], &[]);
            ask(label::TCB_SET_FLAGS, thread, &[0, 0], &[]);
        }
        ask(label::VCPU_READ_REGISTERS, Thing::Vcpu, &[], &[]);
        // Too much is asked for, so what is free is told.
        let slots = [self.address(Thing::OwnCNode)];
        let nothing = self.address(Thing::Nothing);
        for memory in [Thing::Untyped, Thing::UsedUntyped, Thing::SmallUntyped, Thing::DeviceUntyped] {
            ask(label::UNTYPED_RETYPE, memory, &[0, 47, 0, 0, nothing, 1], &slots);
        }
        hash
    }
}

impl<'a> Judge<'a> {
    fn new(world: &'a World, method: &'a Method, label: u64) -> Self {
        Self { world, method, label, score: Score::default(), state: world.snapshot() }
    }

    fn outcome(&self) -> Outcome {
        match self.score {
            Score { wrong: 0, .. } => Ok(()),
            score => {
                let all = score.misuses + score.successes;
                Err(Failure::new(format_args!("{} of {all} rows are wrong", score.wrong)))
            }
        }
    }

    fn row(&mut self, row: &Row) {
        let label = if row.label == 0 { self.label } else { row.label };
        self.message(format_args!("{}", row.what), label, row.on, row.words, row.caps, row.gives);
        if matches!(row.gives, Gives::Error(..)) {
            self.unchanged(row.what);
        } else {
            self.state = self.world.snapshot();
        }
    }

    fn message(
        &mut self,
        what: core::fmt::Arguments,
        label: u64,
        on: Thing,
        words: &[u64],
        caps: &[Thing],
        gives: Gives,
    ) {
        let gives = match gives {
            Gives::Error(error, words, length) => {
                Gives::Error(error, words.map(|word| self.world.resolve(word)), length)
            }
            words => words,
        };
        let got = self.send(label, on, words, caps);
        if matches!(gives, Gives::Error(..)) {
            self.score.misuses += 1;
        } else {
            self.score.successes += 1;
        }
        if got != Some(gives) {
            self.wrong(format_args!("{what}: {got:x?} instead of {gives:x?}"));
        }
    }

    /// Sees that what was refused since the last look did nothing.
    fn unchanged(&mut self, what: &str) {
        let now = self.world.snapshot();
        if core::mem::replace(&mut self.state, now) != now {
            self.wrong(format_args!("{what}: it was refused and did something"));
        }
    }

    fn wrong(&mut self, what: core::fmt::Arguments) {
        self.score.wrong += 1;
        println!("{}: {what}", self.method.name);
    }

    /// The answer to a row's message.
    fn send(&self, label: u64, on: Thing, words: &[u64], caps: &[Thing]) -> Option<Gives> {
        let mut extra = [0; 3];
        for (address, thing) in extra.iter_mut().zip(caps) {
            *address = self.world.address(*thing);
        }
        let mut given = [0; MAX_WORDS];
        given.iter_mut().zip(words).for_each(|(given, word)| *given = self.world.resolve(*word));
        answer(self.world.cap(on), label, &given[..words.len()], &extra[..caps.len()])
    }

    /// Messages that are too short, by words and by capabilities.
    fn short(&mut self, group: &Group) {
        let Row { on, words, caps, .. } = group.good;
        for length in 0..self.method.words {
            self.message(format_args!("{length} words"), self.label, on, &words[..length], caps, group.short);
        }
        for count in 0..self.method.caps {
            let what = format_args!("{count} capabilities");
            self.message(what, self.label, on, words, &caps[..count], group.short);
        }
    }

    /// The method on capabilities of other kinds.
    fn others(&mut self, good: &Row) {
        let own = self.world.facts(good.on).tag;
        for thing in THINGS {
            if self.world.facts(*thing).tag != own
                && let Some(gives) = self.world.to_strangers(*thing)
            {
                self.message(format_args!("on {thing:?}"), self.label, *thing, good.words, good.caps, gives);
            }
        }
    }

    /// Other kinds of an extra capability.
    fn cap(&mut self, good: &Row, argument: &CapArgument) {
        let mut caps = [Thing::Nothing; 3];
        caps[..good.caps.len()].copy_from_slice(good.caps);
        for thing in THINGS {
            if argument.kinds.contains(&self.world.facts(*thing).tag) {
                continue;
            }
            caps[argument.index] = *thing;
            let what = format_args!("{thing:?} as capability {}", argument.index);
            let caps = &caps[..good.caps.len()];
            self.message(what, self.label, good.on, good.words, caps, argument.gives);
        }
    }

    /// Addresses of a slot that lead nowhere. The root is [`Thing::CNode`] where the message is as it is meant.
    fn slot(&mut self, good: &Row, argument: &SlotArgument) {
        let bits = DEPTH;
        let mismatch = |bits_left, bits_found| LookupFailure::DepthMismatch { bits_left, bits_found };
        let guard = |bits_left| LookupFailure::GuardMismatch { bits_left, guard: 0b101, guard_bits: 3 };
        let source = argument.source;
        let no_depth = range(1, 64);
        for (root, index, depth, gives) in [
            (Thing::CNode, 1, 0, if argument.zero_is_root { DONE } else { no_depth }),
            (Thing::CNode, 1, 65, no_depth),
            (Thing::CNode, 1, 255, no_depth),
            (Thing::CNode, 1, 1, lookup(source, mismatch(1, bits))),
            (Thing::CNode, 1, 3, lookup(source, mismatch(3, bits))),
            // A capability that is no CNode, with bits left; in the second round, too.
            (Thing::CNode, 1 << 3, bits + 3, lookup(source, mismatch(3, 0))),
            (Thing::CNode, 8 << 5 | 1 << 1, bits + 5, lookup(source, mismatch(1, 0))),
            (Thing::CNode, 8 << 3, bits + 3, lookup(source, mismatch(3, bits))),
            (Thing::CNode, 0, 64, lookup(source, mismatch(60, 0))),
            (Thing::GuardedCNode, 0b111_0001, 7, lookup(source, guard(7))),
            (Thing::GuardedCNode, 0b101, 2, lookup(source, guard(2))),
            (Thing::GuardedCNode, 0b101_0001, 6, lookup(source, guard(6))),
            (Thing::GuardedCNode, 0b101_000, 6, lookup(source, mismatch(6, 7))),
        ] {
            if gives == DONE {
                continue;
            }
            let (mut words, mut caps) = ([0; MAX_WORDS], [Thing::Nothing; 3]);
            words[..good.words.len()].copy_from_slice(good.words);
            caps[..good.caps.len()].copy_from_slice(good.caps);
            words[argument.index] = index;
            words[argument.index + 1] = depth;
            let mut on = good.on;
            match argument.root {
                Some(cap) => caps[cap] = root,
                None => on = root,
            }
            let what = format_args!("slot {index:#x} of {depth} bits in {root:?}, word {}", argument.index);
            let (words, caps) = (&words[..good.words.len()], &caps[..good.caps.len()]);
            self.message(what, self.label, on, words, caps, gives);
        }
    }
}
