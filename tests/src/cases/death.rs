// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parts that die: killed by a word to the root task, by a fault at once, by a fault with a client's request in their hands, and in the middle of
//! a call to the root task. The other guests go on, the part is there again, and nothing is lost.

use std::time::Duration;

use postern_cli::fetch;

use super::{nvme, sriov};
use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("death::console_server_dies_and_the_log_goes_on", console),
    Case::new("death::timer_server_dies_and_deadlines_are_kept", timer),
    Case::new("death::iommu_server_dies_and_domains_stay_and_come_and_go", iommu),
    Case::new("death::iommu_server_dies_and_lines_stay_and_come_and_go", line),
    Case::new("death::a_vmm_dies_and_the_description_says_what_becomes_of_its_vm", vmm),
    Case::new("death::pci_server_dies_and_devices_stay_and_come_and_go", pci),
    Case::new("death::pci_server_dies_beside_virtual_functions", pci_beside_virtual_functions),
];

/// What a guest needs to kill parts.
const FEATURES: &[&str] = &["root-task/deaths", "vmm-server/deaths"];
/// How long a page, or a death, may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How often the part dies in each way.
const TIMES: usize = 4;

fn console() -> Outcome {
    dies("death-console", "console-server", 3, |_| Ok(()))
}

fn timer() -> Outcome {
    dies("death-timer", "timer-server", 3, |machine| {
        // Whoever asked when it died was told so.
        machine.expect_anywhere("vmm: timer-server took no deadline: Refused(Restarted)").map(drop)
    })
}

/// The device of `again` comes and goes all the time; iommu-server dies in the middle of that too.
fn iommu() -> Outcome {
    dies("death-iommu", "iommu-server", 3, |machine| {
        one_more_life(machine)?;
        machine.refute("FAILED")?;
        machine.refute(", 1 cut off")
    })
}

/// The same with a device that interrupts by its line.
fn line() -> Outcome {
    dies("death-line", "iommu-server", 3, |machine| {
        machine.expect("[root-task] vm again: started: ")?;
        machine.expect("interrupts by its line, global interrupt 22")?;
        machine.expect("[again] tests: 12 passed, 0 failed")?;
        machine.expect("[root-task] vm again: its memory is taken back: ")?;
        machine.refute("FAILED")?;
        machine.refute(", 1 cut off")
    })
}

/// The same with pci-server, which dies of requests of `again`'s VMM, of resets, and when it says that the device of `again` is quiet.
fn pci() -> Outcome {
    dies("death-pci", "pci-server", 4, |machine| {
        one_more_life(machine)?;
        machine.refute("FAILED")?;
        machine.refute("[pci-server] started anew, but")
    })
}

/// The VMM of `again`, which has a device, is killed by a word and by a fault, in turn, and starts again each time; that of `killer` dies of a
/// fault at the end, and its VM stays ended.
fn vmm() -> Outcome {
    let system = build::system_with_features("death-vmm", FEATURES)?;
    with(Machine::start(&system.arguments())?, |machine| {
        for death in 1..=2 * TIMES {
            let why = if death % 2 == 1 { "killed by a test" } else { "page fault at 0x0: execution of 0x0" };
            machine.expect_within(&format!("[root-task] vm again: ended: {why}, code 255"), LIMIT)?;
            machine.expect_within("[root-task] vm again: its devices are quiet", LIMIT)?;
            machine.expect_within("[root-task] vm again: its memory is taken back: ", LIMIT)?;
            if death == 1 {
                machine.expect_anywhere("[web] http: listening on http://10.0.2.15")?;
            }
            let response = fetch::get(system.port, "/", LIMIT)?;
            if response.status != 200 {
                return Err(format!("after death {death} the web server says {}", response.status));
            }
        }
        machine.expect_within("[again] test round-contents ... ok", LIMIT)?;
        machine.expect_within("[again] test round-messages ... ok", LIMIT)?;
        machine.expect_anywhere("[killer] test deaths ... ok")?;
        let end = "[root-task] vm killer: ended: page fault at 0x0: execution of 0x0, code 255";
        machine.expect_anywhere(end)?;
        machine.expect_anywhere("[root-task] vm killer: its memory is taken back: ")?;
        nothing_is_lost(machine)?;
        if fetch::get(system.port, "/", LIMIT)?.status != 200 {
            return Err("the web server doesn't serve any more".into());
        }
        machine.refute("[root-task] vm web: ended")?;
        machine.refute("has failed")?;
        let lines = machine.serial.lines();
        match lines.iter().filter(|line| line.starts_with("[root-task] vm killer: started")).count() {
            1 => Ok(()),
            starts => Err(format!("the killer was started {starts} times")),
        }
    })
}

/// pci-server dies while a physical function is reset by its owner, and while one of its virtual ones comes and goes.
fn pci_beside_virtual_functions() -> Outcome {
    let disks = sriov::disks()?;
    let arguments = nvme::arguments_with_features("death-sriov", &[&disks[0], &disks[1]], FEATURES)?;
    with(Machine::start(&arguments)?, |machine| {
        for death in 1..=4 * TIMES {
            let why = reason((death - 1) % 4);
            machine.expect_within(&format!("[root-task] pci-server has failed: {why}"), LIMIT)?;
            machine.expect_within("[pci-server] started anew: ", LIMIT)?;
        }
        machine.expect_anywhere("[killer] test deaths ... ok")?;
        machine.expect_anywhere("[owner] nvme: resetting the physical function")?;
        machine.expect_anywhere("[owner] nvme: virtual function 2 is online with namespace 2")?;
        sriov::expect_good(machine, "two")?;
        let summary = machine.expect_anywhere("[one] tests: ")?;
        if summary.contains(" 0 passed") || !summary.contains(" 0 failed") {
            return Err(summary);
        }
        machine.refute("FAILED")?;
        machine.refute("dma fault")?;
        machine.refute("nothing is known of it any more")
    })?;
    nvme::compare_after(&disks[0])
}

/// From here on a life of `again` begins, and ends well.
fn one_more_life(machine: &mut Machine) -> Outcome {
    machine.expect("[root-task] vm again: started: ")?;
    machine.expect("[again] test round-contents ... ok")?;
    machine.expect("[again] test round-messages ... ok")?;
    machine.expect("[root-task] vm again: its memory is taken back: ").map(drop)
}

/// After each death the web server answers, the killer's own time goes on, and as much memory and as many slots are free as before.
fn dies(name: &str, part: &str, ways: usize, and: impl FnOnce(&mut Machine) -> Outcome) -> Outcome {
    let system = build::system_with_features(name, FEATURES)?;
    with(Machine::start(&system.arguments())?, |machine| {
        for death in 1..=ways * TIMES {
            let way = (death - 1) % ways;
            machine.expect_within(&format!("[root-task] {part} has failed: {}", reason(way)), LIMIT)?;
            let again = format!("[root-task] {part}: started again ({death} times so far): ");
            machine.expect_within(&again, LIMIT)?;
            if death == 1 {
                machine.expect_anywhere("[web] http: listening on http://10.0.2.15")?;
            }
            let response = fetch::get(system.port, "/", LIMIT)?;
            if response.status != 200 {
                return Err(format!("after death {death} the web server says {}", response.status));
            }
            machine.expect_anywhere(&format!("[killer] hostile: death {death} is over"))?;
        }
        machine.expect_anywhere("[killer] test deaths ... ok")?;
        machine.expect_anywhere("[root-task] vm killer: ended: power-off, code 0")?;
        nothing_is_lost(machine)?;
        machine.refute("[root-task] vm web: ended")?;
        machine.refute("lines lost")?;
        and(machine)
    })
}

/// What is free at the end of each life of `again`, or at each death where there is no such VM, while the killer is alive.
fn nothing_is_lost(machine: &mut Machine) -> Outcome {
    let lines = machine.serial.lines();
    let lines = lines.iter().skip_while(|line| !line.starts_with("[root-task] vm killer: started"));
    let lines: Vec<_> = lines.take_while(|line| !line.starts_with("[root-task] vm killer: ended")).collect();
    let ends =
        lines.iter().filter(|line| line.starts_with("[root-task] vm again: its memory is taken back: "));
    let deaths = lines.iter().filter(|line| line.contains(": started again ("));
    let mut counts: Vec<_> = ends.filter_map(|line| line.split("taken back: ").nth(1)).collect();
    if counts.is_empty() {
        counts = deaths.filter_map(|line| line.split("so far): ").nth(1)).collect();
    }
    match counts.iter().find(|count| **count != counts[0]) {
        Some(other) => Err(format!("something is lost: first `{}`, later `{other}`", counts[0])),
        None if counts.len() < 2 => Err("nothing was counted".into()),
        None => Ok(()),
    }
}

/// What the root task says of a death in this way (`how` in the description).
fn reason(way: usize) -> &'static str {
    if matches!(way, 0 | 3) { "killed by a test" } else { "page fault at 0x0: execution of 0x0" }
}
