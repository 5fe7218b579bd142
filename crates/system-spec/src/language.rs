// SPDX-License-Identifier: MIT OR Apache-2.0
//! The words of the description language: every key of every table, built or not.

use pci::reserved::Policy;

/// A table of the language: its name as shown, and its keys.
pub(crate) struct Section {
    pub name: &'static str,
    pub keys: &'static [(&'static str, Status)],
}

/// Whether a key is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Built,
    Later,
}

use Status::{Built, Later};

pub(crate) const TOP: Section = Section {
    name: "the description",
    keys: &[("system", Built), ("pci", Built), ("vm", Built), ("server", Built)],
};

pub(crate) const SYSTEM: Section = Section { name: "[system]", keys: &[("name", Built), ("cpus", Later)] };

pub(crate) const PCI: Section = Section {
    name: "[pci]",
    keys: &[
        ("matches", Built),
        ("reserve", Built),
        ("unsafe-interrupts", Later),
        ("vfs", Built),
        ("rmrr", Built),
        ("fault-limit", Built),
    ],
};

pub(crate) const VM: Section = Section {
    name: "[[vm]]",
    keys: &[
        ("name", Built),
        ("image", Built),
        ("initrd", Later),
        ("args", Built),
        ("boot", Built),
        ("memory", Built),
        ("vcpus", Built),
        ("cpus", Built),
        ("priority", Built),
        ("budget", Built),
        ("period", Built),
        ("entry-flush", Built),
        ("console", Built),
        ("on-fault", Built),
        ("on-exit", Built),
        ("device", Built),
    ],
};

pub(crate) const DEVICE: Section = Section {
    name: "[[vm.device]]",
    keys: &[
        ("path", Built),
        ("slot", Built),
        ("vectors", Built),
        ("intx", Built),
        ("bars", Later),
        ("rom", Built),
    ],
};

/// The servers that a description can speak of.
pub(crate) const SERVERS: Section = Section {
    name: "[server]",
    keys: &[
        ("pci-server", Built),
        ("iommu-server", Built),
        ("timer-server", Built),
        ("console-server", Built),
    ],
};

pub(crate) const SERVER: Section = Section { name: "[server.NAME]", keys: &[("on-fault", Built)] };

/// A key whose value is one of a few words, of which some are not built yet.
pub(crate) struct Choice {
    pub key: &'static str,
    pub words: &'static [(&'static str, Status)],
}

pub(crate) const BOOT: Choice = Choice {
    key: "boot",
    words: &[
        ("auto", Built),
        ("pvh", Built),
        ("linux", Later),
        ("multiboot", Later),
        ("solo5", Later),
        ("hermit", Later),
    ],
};

pub(crate) const ENTRY_FLUSH: Choice =
    Choice { key: "entry-flush", words: &[("auto", Built), ("on", Built), ("off", Built)] };

pub(crate) const CONSOLE: Choice = Choice { key: "console", words: &[("log", Built), ("serial", Later)] };

pub(crate) const ON_FAULT: Choice =
    Choice { key: "on-fault", words: &[("stop", Built), ("restart", Built), ("halt", Built)] };

pub(crate) const ON_EXIT: Choice =
    Choice { key: "on-exit", words: &[("stop", Built), ("restart", Built), ("halt", Built)] };

pub(crate) const SERVER_ON_FAULT: Choice =
    Choice { key: "on-fault", words: &[("restart", Built), ("halt", Built)] };

/// What can be done with memory that firmware reserves for a device.
pub(crate) const POLICIES: [Policy; 3] = [Policy::Refuse, Policy::Map, Policy::Accept];

/// The word nearest to `word`, if one is near enough to be what was meant.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance with swaps of neighbours counted once.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows = vec![(0..=right.len()).collect::<Vec<_>>()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let change = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found() {
        let keys = || VM.keys.iter().map(|(key, _)| *key);
        assert_eq!(nearest("nmae", keys()), Some("name"));
        assert_eq!(nearest("memroy", keys()), Some("memory"));
        assert_eq!(nearest("frobnicate", keys()), None);
    }
}
