// SPDX-License-Identifier: MIT OR Apache-2.0
//! VMs that end and start again, with their devices; what the description says of an end.

use crate::build;
use crate::machine::{LIMIT, Machine};
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("restart::a_hundred_lives_of_a_vm_and_its_device_leave_nothing_behind", hundred),
    Case::new("restart::the_machine_halts_if_the_description_says_so", halt),
];

const LIVES: usize = 100;

fn hundred() -> Outcome {
    let system = build::system("restart")?;
    let mut arguments = system.arguments();
    arguments.extend(["-icount".into(), "shift=0,sleep=off".into()]);
    with(Machine::start(&arguments)?, |machine| {
        // Who fails at once is given up, so that what follows is one VM's coming and going.
        machine.expect(
            "[root-task] vm hasty: not started again: it has ended 10 times in a row within 100 ms of its start",
        )?;
        let mut lines =
            (0..LIVES).map(|life| one_life(machine).map_err(|error| format!("life {life}: {error}")));
        let first = lines.next().ok_or("no life")??;
        for line in lines {
            let line = line?;
            if line != first {
                return Err(format!("something is lost: first `{first}`, later `{line}`"));
            }
        }
        machine.refute("FAILED")?;
        machine.refute("[root-task] vm beside: ended")?;
        machine.refute("[root-task] vm again: refused")
    })
}

/// Start, device, use, end; what iommu-server and the root task have left after it.
fn one_life(machine: &mut Machine) -> Result<String, String> {
    machine.expect_within("[root-task] vm again: started: ", LIMIT)?;
    machine.expect_within("[pci-server] 0000:01:00.0: attached to vm again, 1 interrupt vector(s)", LIMIT)?;
    machine.expect_within("[again] test round-contents ... ok", LIMIT)?;
    machine.expect_within("[again] test round-messages ... ok", LIMIT)?;
    let counts = machine.expect_within("[iommu-server] a device of VM 0 is detached: ", LIMIT)?;
    let free = machine.expect_within("[root-task] vm again: its memory is taken back: ", LIMIT)?;
    Ok(format!("{counts}; {free}"))
}

fn halt() -> Outcome {
    let system = build::system("halt")?;
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect_anywhere("[root-task] vm first: ended: power-off, code 7")?;
        machine.expect_anywhere("[root-task] the description says that the machine halts with vm first")?;
        machine.refute("vm beside: ended")?;
        machine.wait_end(LIMIT).map(drop)
    })
}
