// SPDX-License-Identifier: MIT OR Apache-2.0
//! VMs that end and start again, with their devices; what the description says of an end.

use crate::build;
use crate::machine::{LIMIT, Machine};
use crate::qtest::Function;
use crate::runner::{Case, Outcome, with};
use serde_json::json;

pub(super) const CASES: &[Case] = &[
    Case::new("restart::a_hundred_lives_of_a_vm_and_its_device_leave_nothing_behind", hundred),
    Case::new("restart::a_device_that_does_not_come_back_is_given_to_nobody", power_off),
    Case::new("restart::the_machine_halts_if_the_description_says_so", halt),
];

/// The root port of the device.
const PORT: u16 = 4 << 3;

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

/// The machine stands still while the slot is turned off, so it doesn't matter where its VM is in its life.
fn power_off() -> Outcome {
    let system = build::system("slot-off")?;
    let (machine, mut qtest) = Machine::start_with_qtest(&system.arguments())?;
    with(machine, |machine| {
        machine.expect("[pci-server] 0000:01:00.0: attached to vm again")?;
        let port = Function(PORT);
        machine.monitor()?.execute("stop", json!({}))?;
        let control = port.power_off(&mut qtest)?;
        let gone = Function(0x100).read(&mut qtest, 0)?;
        machine.monitor()?.execute("cont", json!({}))?;
        if gone != u32::MAX {
            return Err(format!("the device still answers: {gone:#x}"));
        }
        machine.expect("[pci-server] 0000:01:00.0 of vm again did not come back after its reset: nobody gets it any more")?;
        machine
            .expect("[root-task] vm again: refused: device 0: the device didn't come back after its reset")?;
        // With power again it isn't given either, and the others never notice.
        port.power_on(&mut qtest, control)?;
        machine.expect("[root-task] vm again: its memory is taken back")?;
        machine.expect_anywhere("[beside] hello: second 10 of 10")?;
        machine.expect("[root-task] all virtual machines have ended")?;
        Ok(())
    })
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
