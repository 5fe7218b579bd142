// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of figures: the values that the steps measure, beside the targets and the peers' figures in the same machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One line of the table.
struct Row {
    name: &'static str,
    what: &'static str,
    target: Option<u64>,
    /// Whom to compare with, and their figure; from measurements in the same emulated machine.
    peer: &'static str,
}

const fn row(name: &'static str, what: &'static str, target: u64, peer: &'static str) -> Row {
    Row { name, what, target: Some(target), peer }
}

const fn plain(name: &'static str, what: &'static str, peer: &'static str) -> Row {
    Row { name, what, target: None, peer }
}

/// The rows, by the step that measures them.
const ROWS: &[(&str, &[Row])] = &[
    (
        "boot",
        &[
            row("boot-user", "kernel's first instruction to user level's first", 40_000_000, ""),
            row("boot-guest", "kernel's first instruction to the guest's first", 40_000_000, ""),
        ],
    ),
    (
        "ipc",
        &[
            row(
                "ipc-call-reply",
                "call and reply between two processes, the server with time of its own",
                489,
                "seL4, whose fast path is for passive servers: see the next rows",
            ),
            row("ipc-call-reply-10", "the same with 10 words", 2158, ""),
            plain("ipc-call-reply-isolated", "the first, the kernel isolated (`kpti=on`)", ""),
            row(
                "ipc-passive-call-reply",
                "call of a passive server and its reply, two processes",
                400,
                "seL4: MCS 489 to 509, without its fast path 2,068, before MCS 415",
            ),
            plain(
                "ipc-passive-call-reply-isolated",
                "the same, the kernel isolated (`kpti=on`)",
                "seL4: with the skim window 509",
            ),
            row(
                "ipc-passive-call",
                "the call, one way",
                212,
                "seL4: MCS 212 to 222, without its fast path 912, before MCS 194",
            ),
            row(
                "ipc-passive-reply",
                "the reply, and waiting again, one way",
                277,
                "seL4: MCS 277 to 287, without its fast path 1,156, before MCS 221",
            ),
            row(
                "ipc-passive-call-one-space",
                "the call within one address space",
                210,
                "seL4: MCS 210 to 221, without its fast path 911, before MCS 193",
            ),
            row(
                "ipc-passive-reply-one-space",
                "the reply within one address space",
                275,
                "seL4: MCS 275 to 286, without its fast path 1,155, before MCS 220",
            ),
            row(
                "ipc-passive-call-sse",
                "the call, both using SSE registers",
                226,
                "seL4: MCS 226 to 236, without its fast path 921, before MCS 208",
            ),
            row(
                "ipc-passive-reply-sse",
                "the reply, both using SSE registers",
                293,
                "seL4: MCS 293 to 303, without its fast path 1,164, before MCS 235",
            ),
            row(
                "ipc-send",
                "a send to a waiting thread of higher priority, two processes",
                853,
                "seL4: MCS 853 to 863, without its fast path 850, before MCS 710",
            ),
            row(
                "ipc-passive-call-10",
                "the call with 10 words",
                992,
                "seL4: MCS 992 to 1,002, without its fast path 986, before MCS 812",
            ),
            row(
                "ipc-passive-reply-10",
                "the reply with 10 words",
                1166,
                "seL4: MCS 1,166 to 1,176, without its fast path 1,158, before MCS 780",
            ),
            row(
                "ipc-passive-call-reply-10",
                "call and reply with 10 words",
                2158,
                "seL4: MCS 2,158 to 2,178, without its fast path 2,144, before MCS 1,592",
            ),
        ],
    ),
    (
        "kernel",
        &[
            plain("signal-nobody", "signal, nobody waits", ""),
            plain("signal-to-waiter", "signal to the waiting thread, another process", ""),
            plain("wait-signalled", "wait, signalled before", ""),
            plain("wait-blocks", "wait, to the thread that runs then, another process", ""),
            plain("switch-yield", "yield to the next thread of the priority, another process", ""),
            plain(
                "irq-to-handler",
                "a device's message to the waiting thread that drives it, another process",
                "",
            ),
            plain(
                "irq-and-wait",
                "a device's message and the running driver's wait for it",
                "a driver by VFIO: 1,643",
            ),
            plain("page-map-4k", "mapping a page of 4 KiB", ""),
            plain("page-unmap-4k", "unmapping it", ""),
            plain("page-map-2m", "mapping a page of 2 MiB", ""),
            plain("page-unmap-2m", "unmapping it", ""),
            plain("io-map-4k", "mapping 4 KiB for a device", "VFIO, of 64 MiB in such pages: 1,740 for each"),
            plain("io-unmap-4k", "unmapping it", "VFIO, the same: 1,900"),
            plain(
                "io-map-2m",
                "mapping 2 MiB for a device",
                "VFIO, of 64 MiB in such pages: 51,900 for each",
            ),
            plain("io-unmap-2m", "unmapping it", "VFIO, the same: 173,000"),
            plain("retype-4k", "retype of a page, with clearing it", ""),
            plain("retype-endpoint", "retype of an endpoint", ""),
        ],
    ),
    (
        "bounded",
        &[row(
            "longest-stretch",
            "longest stretch with interrupts off, kernel entry to exit, of what takes long",
            10_000,
            "",
        )],
    ),
    (
        "exits",
        &[
            row(
                "exit-cpuid",
                "CPUID answered by the VMM",
                1000,
                "KVM, in its kernel: 3,120 (it has no next-RIP here)",
            ),
            row(
                "exit-out",
                "port write answered by the VMM",
                1000,
                "KVM to its user level: 3,571; in its kernel: 1,720",
            ),
            row("exit-in", "port read answered by the VMM", 1000, "KVM to its user level: 3,605"),
            row("exit-mmio-write", "MMIO write answered by the VMM", 1800, "KVM to its user level: 5,690"),
            row("exit-mmio-read", "MMIO read answered by the VMM", 1800, "KVM to its user level: 6,216"),
        ],
    ),
    (
        "edu",
        &[
            row("msi-spin", "BAR write to the guest's handler, guest spinning", 1500, "KVM and VFIO: 3,380"),
            plain(
                "msi-timed-spin",
                "the device's own message to the handler, spinning",
                "KVM and VFIO: 3,380",
            ),
            plain("msi-hlt-doorbell", "BAR write just before HLT to the handler", "KVM and VFIO: 8,676"),
            row(
                "msi-wake",
                "the device's own message to the handler, guest in HLT",
                3000,
                "KVM and VFIO: 8,861",
            ),
        ],
    ),
    (
        "map",
        &[
            plain(
                "dma-map-64m",
                "DMA map of 64 MiB, tables made on the way",
                "VFIO at its best: 1.66 million",
            ),
            row("dma-map-64m-leaves", "leaf entries written for 64 MiB", 64, "2 MiB leaves: 32"),
            row("vm-kib", "memory of one VM beside its RAM, KiB", 2048, "KVM's floor: 436 to 708"),
        ],
    ),
    (
        "http",
        &[
            row("exits-per-interrupt", "exits for each interrupt of the guest `http`, at most", 4, ""),
            plain("http-exits", "exits per HTTP request, all reasons", ""),
        ],
    ),
];

/// The rows of some steps.
fn rows(asked: impl Fn(&str) -> bool) -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(move |(step, _)| asked(step)).flat_map(|(_, rows)| *rows)
}

/// The steps that have rows.
pub fn steps() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|(step, _)| *step)
}

/// What the table shows.
#[derive(Default)]
pub struct Figures {
    /// The steps that were asked for.
    asked: Vec<&'static str>,
    /// Whether one of them failed, whatever it had measured by then.
    failed: bool,
    values: BTreeMap<String, u64>,
}

impl Figures {
    /// Of these steps, nothing measured yet.
    #[must_use]
    pub fn of(steps: impl Iterator<Item = &'static str>) -> Self {
        Self { asked: steps.collect(), ..Self::default() }
    }

    /// Takes the values out of a log's lines.
    pub fn collect(&mut self, lines: &[String]) {
        for line in lines {
            let mut words = line.split_whitespace().skip_while(|word| *word != "bench").skip(1);
            if let (Some(name), Some(Ok(value))) = (words.next(), words.next().map(str::parse)) {
                self.values.insert(name.to_owned(), value);
            }
        }
    }

    /// Notes that a step failed.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    /// Takes a value.
    pub fn set(&mut self, name: &str, value: u64) {
        self.values.insert(name.to_owned(), value);
    }

    /// The table of the steps that were asked for, as Markdown; and whether every step went well and every target is reached.
    #[must_use]
    pub fn table(&self) -> (String, bool) {
        let mut out =
            String::from("| figure | value | target | | peers |\n| --- | ---: | ---: | --- | --- |\n");
        let mut all = !self.failed;
        for row in rows(|step| self.asked.contains(&step)) {
            let value = self.values.get(row.name);
            let reached = match (value, row.target) {
                (Some(value), Some(target)) if *value <= target => "reached",
                (Some(_), Some(_)) => "missed",
                (Some(_), None) => "",
                (None, _) => "not measured",
            };
            all &= !matches!(reached, "missed" | "not measured");
            let shown = value.map(|value| grouped(*value)).unwrap_or_default();
            let target = row.target.map(grouped).unwrap_or_default();
            let _ = writeln!(out, "| {} | {shown} | {target} | {reached} | {} |", row.what, row.peer);
        }
        for (name, value) in &self.values {
            if !rows(|_| true).any(|row| row.name == name) {
                let _ = writeln!(out, "| {name} | {} | | | |", grouped(*value));
            }
        }
        (out, all)
    }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_collected_and_judged() {
        let mut figures = Figures::of(["edu", "exits"].into_iter());
        figures.collect(&[
            "[edu] bench msi-spin 1234".into(),
            "bench exit-cpuid 2000".into(),
            "[edu] bench broken x".into(),
            "[x] bench own-thing 1234567".into(),
        ]);
        let (table, all) = figures.table();
        assert!(!all);
        assert!(table.contains("| 1,234 | 1,500 | reached |"), "{table}");
        assert!(table.contains("| 2,000 | 1,000 | missed |"), "{table}");
        assert!(table.contains("| own-thing | 1,234,567 |"), "{table}");
        assert!(table.contains("not measured"));
        assert!(!table.contains("call and reply"), "a row of no step that was asked for: {table}");
    }

    #[test]
    fn what_was_not_asked_for_is_not_missed() {
        let mut figures = Figures::of(["kernel"].into_iter());
        for row in rows(|step| step == "kernel") {
            figures.set(row.name, 1);
        }
        assert!(figures.table().1);
        figures.fail();
        assert!(!figures.table().1, "a step that failed is no success");
    }
}
