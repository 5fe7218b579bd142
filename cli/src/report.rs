// SPDX-License-Identifier: MIT OR Apache-2.0
//! The report of a build: what is in the image, who holds what, who calls whom.

use std::fmt::Write as _;

use system_spec::compiled::System;
use system_spec::path::Location;

use crate::elf::Elf;

/// One program of the image.
pub struct Line {
    name: String,
    file: u64,
    memory: u64,
}

impl Line {
    /// A program and its sizes.
    #[must_use]
    pub fn new(name: &str, elf: &Elf) -> Self {
        let file = elf.loads().map(|segment| segment.file_size).sum();
        Self { name: name.to_owned(), file, memory: elf.memory_size() }
    }
}

/// Who may call whom; a call goes to a higher priority only.
const CALLS: [(&str, u8, &str); 5] = [
    ("timer-server", 240, "supervisor"),
    ("iommu-server", 230, "timer-server, supervisor"),
    ("pci-server", 220, "iommu-server, timer-server, supervisor"),
    ("console-server", 210, "supervisor"),
    ("root-task", 255, "nobody"),
];

/// The report's text; a function of its arguments alone.
#[must_use]
pub fn write(system: &System<'_>, programs: &[Line], bundle: usize, image: usize) -> String {
    let mut out = format!("system {}\n\n", system.name);
    let _ = writeln!(out, "{:<24}{:>12}{:>12}", "program", "file bytes", "in memory");
    for line in programs {
        let _ = writeln!(out, "{:<24}{:>12}{:>12}", line.name, line.file, line.memory);
    }
    let _ = writeln!(out, "{:<24}{bundle:>12}\n{:<24}{image:>12}", "bundle", "boot image");

    let _ = writeln!(out, "\n{:<16}{:>9}{:>10}  {:<20}holds", "VM", "memory", "priority", "image");
    for vm in &system.vms {
        let devices: Vec<_> =
            vm.devices.iter().map(|device| format!("{} as {}", device.path, device.slot)).collect();
        let devices = if devices.is_empty() { "no device".to_owned() } else { devices.join(", ") };
        let memory = format!("{}M", vm.memory >> 20);
        let _ = writeln!(out, "{:<16}{memory:>9}{:>10}  {:<20}{devices}", vm.name, vm.priority, vm.image);
        if vm.cpu != 0 {
            let _ = writeln!(out, "{:<16}on processor {}", "", vm.cpu);
        }
        if let Some(time) = vm.time {
            let _ =
                writeln!(out, "{:<16}at most {} us of CPU time in every {} us", "", time.budget, time.period);
        }
    }
    let owned =
        |path: &Location| system.vms.iter().any(|vm| vm.devices.iter().any(|device| device.path == *path));
    for path in system.pci.reserve.iter().filter(|path| !owned(path)) {
        let _ = writeln!(out, "reserved for nobody: {path}");
    }

    let _ = writeln!(out, "\n{:<16}{:>9}  calls", "part", "priority");
    for (part, priority, calls) in CALLS {
        let _ = writeln!(out, "{part:<16}{priority:>9}  {calls}");
    }
    for vm in &system.vms {
        let pci = if vm.devices.is_empty() { "" } else { "pci-server, " };
        let _ = writeln!(
            out,
            "{:<16}{:>9}  {pci}timer-server, supervisor",
            format!("vmm of {}", vm.name),
            vm.priority
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use system_spec::description::Description;

    #[test]
    fn says_who_holds_what() {
        let text = r#"
            [system]
            name = "t"
            [pci]
            matches = ["1af4:1041"]
            reserve = ["/00:02.0/00.0", "/00:03.0"]
            [[vm]]
            name = "web"
            image = "images/http"
            memory = "64M"
            budget = "5ms"
            period = "10ms"
            [[vm.device]]
            path = "/00:02.0/00.0"
            slot = "00:08.0"
        "#;
        let (description, _) = Description::read(text).unwrap();
        let lines = [Line { name: "kernel".into(), file: 10, memory: 20 }];
        let report = write(&description.system(), &lines, 4096, 8192);
        for expected in [
            "kernel                            10          20\n",
            "web                   64M       100  images/http         /00:02.0/00.0 as 00:08.0\n",
            "at most 5000 us of CPU time in every 10000 us\n",
            "reserved for nobody: /00:03.0\n",
            "vmm of web            100  pci-server, timer-server, supervisor\n",
        ] {
            assert!(report.contains(expected), "{expected:?} is missing in\n{report}");
        }
    }
}
