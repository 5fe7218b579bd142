// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices that cause DMA faults again and again are cut off, and nobody else notices; nor do others notice storms.

use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("faults::who_causes_too_many_is_quarantined_alone", quarantine),
    Case::new("faults::storms_of_messages_and_exits_take_their_own_vms_time", storms),
];

/// Command registers of the two devices: configuration space begins at 0xb0000000, and a bus has 1 MiB of it.
const COMMANDS: [u64; 2] = [0xb010_0004, 0xb020_0004];
const BUS_MASTER: u64 = 1 << 2;

fn quarantine() -> Outcome {
    let guests = ["[first] edu: watching", "[second] edu: watching"];
    let calm = run("no-faults", &guests, |machine| {
        machine.refute("dma fault: ")?;
        machine.refute("quarantined")?;
        masters(machine, [true; 2])
    })?;
    let stormy = run("faults", &guests, |machine| {
        // The unit has room for one record: neither device's faults hide the other's for good.
        for (vm, device, address) in [("first", "01:00.0", "0x40000000"), ("second", "02:00.0", "0x50000000")]
        {
            machine.expect_anywhere(&format!(
                "[iommu-server] dma fault: device {device}, write of IOVA {address}, reason 5"
            ))?;
            machine
                .expect_anywhere(&format!("[iommu-server] device {device}: too many DMA faults: cut off"))?;
            machine.expect_anywhere(&format!(
                "[pci-server] 0000:{device} of vm {vm}: quarantined after 4 DMA faults"
            ))?;
            machine.expect_anywhere(&format!("[{vm}] vmm: DMA of a device was blocked (1 times so far)"))?;
            // Its guest goes on.
            machine.expect_anywhere(&format!("[{vm}] edu: watching"))?;
        }
        masters(machine, [false; 2])
    })?;
    // Of the victim's time the faults may take one part in a hundred.
    if stormy * 100 > calm * 101 {
        return Err(format!("the victim worked for {stormy} ticks, {calm} without faults"));
    }
    Ok(())
}

/// Of three VMs with the same priority each has a third of the time. What a storm costs beyond its own VM's turns would come out of
/// the victim's.
fn storms() -> Outcome {
    let alone = run("no-storms", &[], |_| Ok(()))?;
    let storms = ["[messages] edu: a storm of messages", "[exits] hostile: a storm of exits"];
    let beside = run("storms", &storms, |machine| machine.refute(": ended: guest fault"))?;
    if beside * 100 > alone * 3 * 105 {
        return Err(format!("the victim worked for {beside} ticks beside two storms, {alone} alone"));
    }
    Ok(())
}

/// Which of the devices are bus masters, as they say themselves.
fn masters(machine: &mut Machine, wanted: [bool; 2]) -> Outcome {
    let monitor = machine.monitor()?;
    for (command, wanted) in COMMANDS.into_iter().zip(wanted) {
        let found = monitor.dwords(command, 1)?[0];
        if (found & BUS_MASTER != 0) != wanted {
            return Err(format!(
                "bus mastering should be {wanted}: command register {found:#x} at {command:#x}"
            ));
        }
    }
    Ok(())
}

/// Runs a system under counted instructions until the victim has worked; how long that took, in instructions.
fn run(name: &str, running: &[&str], judge: impl FnOnce(&mut Machine) -> Outcome) -> Result<u64, String> {
    let system = build::system(name)?;
    let mut arguments = system.arguments();
    arguments.extend(["-icount".into(), "shift=0,sleep=off".into()]);
    let mut ticks = 0;
    with(Machine::start(&arguments)?, |machine| {
        for line in running {
            machine.expect_anywhere(line)?;
        }
        let line = machine.expect_anywhere("[victim] hostile: worked for ")?;
        let number = line.rsplit(' ').nth(1).and_then(|number| number.parse().ok());
        ticks = number.ok_or_else(|| format!("no number of ticks: {line}"))?;
        judge(machine)
    })?;
    Ok(ticks)
}
