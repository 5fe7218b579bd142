// SPDX-License-Identifier: MIT OR Apache-2.0
//! The capability graph that a debug kernel prints (`kernel/src/snapshot.rs`): read out of a log, shown by object.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use serde_json::{Map, Value, json};

use crate::log;

/// What every line of it begins with.
const MARK: &str = "snapshot ";
/// The slots of a thread, in their order.
const THREAD_SLOTS: [&str; 6] =
    ["cspace", "vspace", "fault-handler", "timeout-handler", "ipc-buffer", "nested-root"];

/// A capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Address of its slot.
    pub slot: u64,
    /// What it is of.
    pub kind: String,
    /// Address of the object, 0 of what has none.
    pub object: u64,
    /// Letters: read, write, grant, a for grant-reply.
    pub rights: String,
    /// Log2 of bytes or slots.
    pub size: u32,
    /// 1 for device memory, bits of a guard.
    pub extra: u64,
    /// Badge and the like.
    pub data: u64,
    /// Kind of space, its number, and the address there.
    pub mapped: Option<(String, u64, u64)>,
    /// Slot of the capability that it was derived from.
    pub from: Option<u64>,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// In the order of the derivation tree.
    pub capabilities: Vec<Capability>,
    /// Names of threads by their addresses.
    pub names: BTreeMap<u64, String>,
    slot_bytes: u64,
    /// Where a thread's slots begin, and how many it has.
    thread_slots: (u64, u64),
}

/// The words of a line, one by one.
struct Words<'a>(std::str::SplitAsciiWhitespace<'a>);

impl<'a> Words<'a> {
    fn next(&mut self, what: &str) -> Result<&'a str, String> {
        self.0.next().ok_or_else(|| format!("{what} is missing"))
    }

    fn key(&mut self, key: &str) -> Result<(), String> {
        match self.next(&format!("`{key}`"))? {
            word if word == key => Ok(()),
            word => Err(format!("`{key}` is expected, not `{word}`")),
        }
    }

    fn hex(&mut self, what: &str) -> Result<u64, String> {
        hex(self.next(what)?, what)
    }

    fn number<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.next(what)?;
        word.parse().map_err(|_| format!("{what} is a number, not `{word}`"))
    }

    fn end(&mut self) -> Result<(), String> {
        self.0.next().map_or(Ok(()), |word| Err(format!("nothing more is expected, but there is `{word}`")))
    }
}

fn hex(word: &str, what: &str) -> Result<u64, String> {
    let digits = word.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    digits.ok_or_else(|| format!("{what} is a number like 0x12, not `{word}`"))
}

impl Capability {
    fn read(words: &mut Words<'_>) -> Result<Self, String> {
        let (slot, kind, object) =
            (words.hex("the slot")?, words.next("the kind")?, words.hex("the object")?);
        words.key("rights")?;
        let rights = words.next("the rights")?;
        if rights != "-" && rights.chars().any(|letter| !"rwga".contains(letter)) {
            return Err(format!("rights are letters of `rwga` or `-`, not `{rights}`"));
        }
        words.key("size")?;
        let size = words.number("the size")?;
        words.key("extra")?;
        let extra = words.number("extra")?;
        words.key("data")?;
        let data = words.hex("the data")?;
        words.key("mapped")?;
        let mapped = match words.next("where it is mapped")? {
            "-" => None,
            place => Some(mapping(place)?),
        };
        words.key("from")?;
        let from = match words.next("what it is derived from")? {
            "-" => None,
            slot => Some(hex(slot, "the slot that it is derived from")?),
        };
        words.end()?;
        let (kind, rights) = (kind.to_owned(), rights.trim_matches('-').to_owned());
        Ok(Self { slot, kind, object, rights, size, extra, data, mapped, from })
    }
}

fn mapping(place: &str) -> Result<(String, u64, u64), String> {
    let mut parts = place.split(':');
    let known = |name: &&str| ["vspace", "nested", "io"].contains(name);
    let (name, number, at) = (parts.next().filter(known), parts.next(), parts.next());
    let number = number.and_then(|number| number.parse().ok());
    let at = at.and_then(|at| hex(at, "").ok());
    match (name, number, at, parts.next()) {
        (Some(name), Some(number), Some(at), None) => Ok((name.to_owned(), number, at)),
        _ => Err(format!("a mapping is like `vspace:3:0x1000`, not `{place}`")),
    }
}

/// Reads the last snapshot in a log.
///
/// # Errors
/// A sentence that begins with the line: there is none, or something is wrong with it.
pub fn read(text: &str) -> Result<Snapshot, String> {
    let lines = text.lines().enumerate().filter_map(|(n, line)| {
        let (speaker, said) = log::split(line.trim_end_matches('\r'));
        said.strip_prefix(MARK).filter(|_| speaker == "kernel").map(|rest| (n + 1, rest))
    });
    let mut open: Option<(usize, Snapshot)> = None;
    let mut last = None;
    for (n, rest) in lines {
        let at = |error: String| format!("line {n}: {error}");
        if let Some(rest) = rest.strip_prefix("begins: ") {
            open = Some((n, begin(rest).map_err(at)?));
            continue;
        }
        let Some((_, snapshot)) = &mut open else {
            return Err(at("a piece of a snapshot, and no line `snapshot begins` before it".into()));
        };
        if let Some(rest) = rest.strip_prefix("ends: ") {
            last = Some(snapshot.end(rest).map_err(at)?);
            open = None;
        } else {
            snapshot.add(rest).map_err(at)?;
        }
    }
    match (open, last) {
        (Some((n, _)), _) => Err(format!("line {n}: the snapshot that begins here has no end")),
        (None, Some(snapshot)) => Ok(snapshot),
        (None, None) => {
            Err("there is no snapshot in it: a kernel of `postern build --debug-kernel` prints one \
                             when a program makes the system call DebugSnapshot"
                .into())
        }
    }
}

fn begin(rest: &str) -> Result<Snapshot, String> {
    let mut words = Words(rest.split_ascii_whitespace());
    words.key("slots")?;
    words.key("of")?;
    let slot_bytes: u64 = words.number("the size of a slot")?;
    words.key("bytes,")?;
    let count: u64 = words.number("the number of a thread's slots")?;
    for key in ["of", "a", "thread", "at"] {
        words.key(key)?;
    }
    let offset = words.hex("where a thread's slots begin")?;
    words.end()?;
    if !(1..=4096).contains(&slot_bytes) || count > 4096 || offset > 1 << 20 {
        return Err(format!("slots of {slot_bytes} bytes, {count} of a thread at {offset:#x}, can't be"));
    }
    Ok(Snapshot { slot_bytes, thread_slots: (offset, count), ..Snapshot::default() })
}

impl Snapshot {
    fn add(&mut self, rest: &str) -> Result<(), String> {
        let mut words = Words(rest.split_ascii_whitespace());
        match words.next("`slot` or `name`")? {
            "slot" => self.capabilities.push(Capability::read(&mut words)?),
            "name" => {
                let thread = words.next("the thread")?;
                let name = rest.split_once(thread).map_or("", |(_, name)| name.trim_start());
                self.names.insert(hex(thread, "the thread")?, name.to_owned());
            }
            word => return Err(format!("`slot`, `name` or `ends:` is expected, not `{word}`")),
        }
        Ok(())
    }

    /// Whole, if it is as many as it says, each in a slot of its own, and derived from one that is there.
    fn end(&mut self, rest: &str) -> Result<Self, String> {
        let mut words = Words(rest.split_ascii_whitespace());
        let announced: usize = words.number("the number of capabilities")?;
        words.key("capabilities")?;
        words.end()?;
        if announced != self.capabilities.len() {
            let found = self.capabilities.len();
            return Err(format!(
                "{announced} capabilities are announced, {found} are there: lines are missing"
            ));
        }
        let mut seen = HashMap::new();
        for capability in &self.capabilities {
            if seen.insert(capability.slot, ()).is_some() {
                return Err(format!("slot {:#x} is there twice", capability.slot));
            }
            if let Some(from) = capability.from.filter(|from| !seen.contains_key(from)) {
                return Err(format!(
                    "slot {:#x} is derived from {from:#x}, which isn't there",
                    capability.slot
                ));
            }
        }
        Ok(std::mem::take(self))
    }

    /// What slots lie in: by their addresses.
    fn places(&self) -> BTreeMap<u64, (Range<u64>, &Capability)> {
        let mut places = BTreeMap::new();
        for capability in &self.capabilities {
            let (begin, count) = match capability.kind.as_str() {
                "cnode" => (capability.object, 1u64.checked_shl(capability.size).unwrap_or(0)),
                "thread" => (capability.object.saturating_add(self.thread_slots.0), self.thread_slots.1),
                _ => continue,
            };
            let end = begin.saturating_add(count.saturating_mul(self.slot_bytes));
            places.insert(begin, (begin..end, capability));
        }
        places
    }

    /// An object of JSON for each object, with everybody who holds a capability to it.
    #[must_use]
    pub fn objects(&self) -> Vec<Value> {
        let places = self.places();
        let by_slot: HashMap<u64, &Capability> =
            self.capabilities.iter().map(|capability| (capability.slot, capability)).collect();
        let mut order = Vec::new();
        let mut objects: HashMap<_, Vec<&Capability>> = HashMap::new();
        for capability in &self.capabilities {
            // What has no address is told apart by its number; memory by its size too.
            let number = if capability.object == 0 { capability.data } else { 0 };
            let key = (capability.kind.as_str(), capability.object, capability.size, number);
            let holders = objects.entry(key).or_default();
            if holders.is_empty() {
                order.push(key);
            }
            holders.push(capability);
        }
        let holder = |capability: &&Capability| self.holder(capability, &places, &by_slot);
        let object = |key: &(&str, u64, u32, u64)| {
            let mut shown = Map::new();
            shown.insert("look".into(), "snapshot".into());
            shown.insert("kind".into(), key.0.into());
            if key.1 != 0 {
                shown.insert("address".into(), format!("{:#x}", key.1).into());
            }
            if let Some(name) = self.names.get(&key.1).filter(|_| key.0 == "thread") {
                shown.insert("name".into(), log::printable(name).into());
            }
            if key.2 != 0 {
                let what = if key.0 == "cnode" { "slots" } else { "bytes" };
                shown.insert(what.into(), 1u64.checked_shl(key.2).unwrap_or(0).into());
            }
            if matches!(key.0, "frame" | "untyped")
                && objects[key].iter().any(|capability| capability.extra == 1)
            {
                shown.insert("device".into(), true.into());
            }
            shown.insert("holders".into(), objects[key].iter().map(holder).collect());
            Value::Object(shown)
        };
        order.iter().map(object).collect()
    }

    fn holder(
        &self,
        capability: &Capability,
        places: &BTreeMap<u64, (Range<u64>, &Capability)>,
        by_slot: &HashMap<u64, &Capability>,
    ) -> Value {
        let mut shown = Map::new();
        let place = places.range(..=capability.slot).next_back();
        match place.filter(|(_, (slots, _))| slots.contains(&capability.slot)) {
            Some((begin, (_, node))) => {
                let index = (capability.slot - begin) / self.slot_bytes;
                shown.insert(node.kind.clone(), format!("{:#x}", node.object).into());
                let name = THREAD_SLOTS.get(index as usize).filter(|_| node.kind == "thread");
                let index = name.map_or_else(|| format!("{index:#x}"), |&name| name.to_owned());
                shown.insert("slot".into(), index.into());
            }
            None => {
                shown.insert("slot-address".into(), format!("{:#x}", capability.slot).into());
            }
        }
        shown.insert("rights".into(), capability.rights.as_str().into());
        shown.insert("data".into(), format!("{:#x}", capability.data).into());
        if let Some((space, number, at)) = &capability.mapped {
            shown.insert("mapped".into(), json!({ "in": space, "number": number, "at": format!("{at:#x}") }));
        }
        let from = capability.from.and_then(|from| by_slot.get(&from)).map(|from| {
            json!({ "kind": from.kind, "address": format!("{:#x}", from.object), "data": format!("{:#x}", from.data) })
        });
        shown.insert("from".into(), from.unwrap_or(Value::Null));
        Value::Object(shown)
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
