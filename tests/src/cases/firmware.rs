// SPDX-License-Identifier: MIT OR Apache-2.0
//! Firmware that hands over a machine with traps in it, played by `tests/preloader`: DMA under way, DMAR tables that can't be.

use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("firmware::dma_that_it_armed_is_blocked_and_logged", armed),
    Case::new("firmware::remapping_that_it_left_on_is_taken_over", remapping),
    Case::new("firmware::a_device_with_reserved_memory_is_refused", reserved),
    Case::new("firmware::reserved_memory_can_be_mapped_for_its_device", mapped),
    Case::new("firmware::reserved_memory_can_be_given_up", given_up),
    Case::new("firmware::reserved_memory_that_cannot_be_mapped_refuses_the_device", unmappable),
    Case::new("firmware::remapping_units_that_cannot_be_are_refused", units),
];

/// A page that nobody has.
const CANARY: u64 = 0x300_0000;
const CANARY_BYTES: u64 = 4096;
/// Devices that are armed, one after the other. The first is the one that a VM gets.
const DEVICES: [&str; 4] = ["01:00.0", "02:00.0", "03:00.0", "04:00.0"];
/// The others.
const MORE: [&str; 14] = [
    "-icount",
    "shift=0,sleep=off",
    "-device",
    "pcie-root-port,id=rp2,bus=pcie.0,chassis=2,slot=2,addr=5.0",
    "-device",
    "edu,bus=rp2,dma_mask=0xffffffff",
    "-device",
    "pcie-root-port,id=rp3,bus=pcie.0,chassis=3,slot=3,addr=6.0",
    "-device",
    "edu,bus=rp3,dma_mask=0xffffffff",
    "-device",
    "pcie-root-port,id=rp4,bus=pcie.0,chassis=4,slot=4,addr=7.0",
    "-device",
    "edu,bus=rp4,dma_mask=0xffffffff",
];
/// Instructions from the start of the kernel to the end of the first device's DMA, and from one to the next. Remapping is on
/// after some six million, and pci-server looks at the devices three million later or more.
const FIRST: u64 = 4_000_000;
const NEXT: u64 = 2_000_000;
/// An `edu`'s DMA ends after 100 ms, which are so many instructions.
const EDU: u64 = 100_000_000;
/// What each writes, and how far apart.
const BYTES: usize = 0x80;
const APART: u64 = 0x100;

/// A machine whose firmware did what `plan` says before it started the kernel.
fn start(plan: &str, more: &[&str]) -> Result<Machine, String> {
    start_system("firmware", CANARY, plan, more)
}

/// The same with another system, and another page for the canary.
fn start_system(system: &str, canary: u64, plan: &str, more: &[&str]) -> Result<Machine, String> {
    let system = build::system(system)?;
    let mut arguments = system.preloaded_arguments(&format!("canary={canary:#x} {plan}"))?;
    arguments.extend(more.iter().copied().map(String::from));
    Machine::start(&arguments)
}

/// A page's bytes, as the monitor sees them.
fn page(machine: &mut Machine, address: u64) -> Result<Vec<u8>, String> {
    machine.monitor()?.memory(address, CANARY_BYTES)
}

fn armed() -> Outcome {
    armed_with("")
}

/// Firmware's own remapping lets the devices pass.
fn remapping() -> Outcome {
    armed_with(&DEVICES.map(|device| format!("pass={device} ")).concat())
}

/// Each device writes to its place in the canary's page, one after the other.
fn armed_with(more: &str) -> Outcome {
    let arm = |(number, device)| {
        // Two instructions each turn.
        let wait =
            if number + 1 < DEVICES.len() { NEXT / 2 } else { (EDU - FIRST - NEXT * number as u64) / 2 };
        let to = CANARY + APART * number as u64;
        format!("master={device} edu={device},{to:#x},{BYTES:x},{wait:x} ")
    };
    let plan = format!("{more}{}", DEVICES.into_iter().enumerate().map(arm).collect::<String>());
    let mut first = None;
    with(start(&plan, &MORE)?, |machine| {
        for device in DEVICES {
            machine.expect_anywhere(&format!(
                "[pci-server] 0000:{device}: firmware left bus mastering on; it is off now"
            ))?;
        }
        // The device works for its guest afterwards.
        machine.expect_anywhere("[gated] test liveness ... ok")?;
        // The unit keeps the first fault, with the address of the page, until it is read.
        let blocked = |device: &str| {
            let fault = format!(
                "[iommu-server] dma fault: device {device}, write of IOVA {CANARY:#x}, reason 2 (no context entry), \
                 which no VM has had: left at work by firmware"
            );
            machine.serial.lines().iter().any(|line| line.contains(&fault))
        };
        first = DEVICES.iter().position(|device| blocked(device));
        let page = page(machine, CANARY)?;
        match first {
            Some(first) if page[APART as usize * first..].iter().any(|byte| *byte != 0xca) => {
                Err("DMA reached memory though remapping was on".into())
            }
            Some(_) => Ok(()),
            None => Err("no DMA ended between the start of remapping and pci-server's: `FIRST` and `NEXT` have to be changed".into()),
        }
    })?;
    let Some(first) = first else { return Ok(()) };
    // The same DMA arrives where nothing stops it: what was seen is remapping's doing.
    let plan = format!("{plan} -- disable_iommu");
    with(start(&plan, &MORE)?, |machine| {
        machine.expect_all(&["[root-task] vm gated: refused: ", "no IOMMU"])?;
        if page(machine, CANARY)?[APART as usize * first..][..BYTES].iter().any(|byte| *byte != 0) {
            return Err("without remapping the DMA should have arrived, and hasn't".into());
        }
        Ok(())
    })
}

/// Boots and waits for the refusal of the VM `gated`, and for the VM `hello` to run.
fn refused(plan: &str, said: &str, reason: &str) -> Outcome {
    with(start(plan, &[])?, |machine| {
        machine.expect_anywhere(said)?;
        machine.expect_all(&["[root-task] vm gated: refused: ", reason])?;
        machine.expect_anywhere("[hello] hello: second 1 of 10")?;
        machine.refute("[gated] ")
    })
}

fn reserved() -> Outcome {
    let said = "[pci-server] memory 0x3000000 to 0x3000fff is reserved by firmware for DMA of /00:04.0/00.0";
    refused("rmrr=3000000,3000fff,04.0/00.0", said, "keep reaching the memory 0x3000000 to 0x3000fff")?;
    // What is said of a bridge is said of all that is behind it.
    let said = "[pci-server] memory 0x3000000 to 0x3000fff is reserved by firmware for DMA of /00:04.0";
    refused("rmrr=3000000,3000fff,04.0", said, "keep reaching the memory 0x3000000 to 0x3000fff")
}

/// A page beyond the guests' RAM, which firmware reserves for a device.
const RESERVED: u64 = 0x600_0000;
/// The first device has the canary's page, the second the next one.
const FOR_BOTH: &str =
    "reserve=6001000,6001fff rmrr=6000000,6000fff,04.0/00.0 rmrr=6001000,6001fff,05.0/00.0";

fn mapped() -> Outcome {
    with(start_system("firmware-map", RESERVED, FOR_BOTH, &[])?, |machine| {
        machine.expect_anywhere(
            "[pci-server] 0000:01:00.0: no RAM of its VM's at 0xfee00000 to 0xfeefffff (interrupt messages), \
             at 0x6000000 to 0x6000fff (firmware's memory)",
        )?;
        // What the other VM's guest is told of its own.
        machine.expect_anywhere("[hello] hello: memory 0x0006001000..0x0006002000 reserved")?;
        machine.expect_anywhere("[hello] hello: memory 0x00fee00000..0x00fef00000 reserved")?;
        // In its second life as in its first.
        for _ in 0..2 {
            machine.expect("[gated] tests: 13 passed, 0 failed")?;
        }
        // The other device's memory is out of reach.
        machine.expect_anywhere(
            "[iommu-server] dma fault: device 01:00.0, write of IOVA 0x6001000, reason 5 (not writable)",
        )?;
        machine.refute("write of IOVA 0x6000000")?;
        let page = page(machine, RESERVED)?;
        let (written, rest) = page.split_at(64);
        if written.iter().all(|byte| *byte == 0xca) || rest.iter().any(|byte| *byte != 0xca) {
            return Err("the device should have written 64 bytes to what firmware reserves for it".into());
        }
        Ok(())
    })
}

fn given_up() -> Outcome {
    let plan = "rmrr=6000000,6000fff,04.0/00.0";
    with(start_system("firmware-accept", RESERVED, plan, &[])?, |machine| {
        machine.expect_anywhere(
            "[pci-server] 0000:01:00.0: the memory 0x6000000 to 0x6000fff that firmware reserves for it is not mapped, as the \
             description accepts",
        )?;
        machine.expect_anywhere("[gated] tests: 12 passed, 0 failed")?;
        machine.expect_anywhere(
            "[iommu-server] dma fault: device 01:00.0, write of IOVA 0x6000000, reason 5 (not writable)",
        )?;
        if page(machine, RESERVED)?.iter().any(|byte| *byte != 0xca) {
            return Err("the device reached what isn't mapped for it".into());
        }
        Ok(())
    })
}

fn unmappable() -> Outcome {
    let plans = [
        // The kernel's own memory; configuration space; a guest's RAM; what a device of another VM has.
        (
            0x700_0000,
            "rmrr=100000,1fffff,04.0/00.0",
            "can't be mapped for it: a part of it is RAM by the memory map",
        ),
        (0x700_0000, "rmrr=b0100000,b0100fff,04.0/00.0", "can't be mapped for it: it holds registers"),
        (
            CANARY,
            "rmrr=3000000,3000fff,04.0/00.0",
            "at 0x3000000 to 0x3000fff it reaches firmware's memory, and its VM's RAM ends at 0x4000000. Give the VM at most \
             48 MiB",
        ),
        (
            RESERVED,
            "rmrr=6000000,6000fff,04.0/00.0 rmrr=6000000,6000fff,05.0/00.0",
            "can't be mapped for it: a device of vm hello has it as well",
        ),
    ];
    for (canary, plan, reason) in plans {
        with(start_system("firmware-map", canary, plan, &[])?, |machine| {
            machine.expect_all(&["[root-task] vm gated: refused: ", reason])?;
            if plan.contains("05.0") {
                machine.expect_all(&[
                    "[root-task] vm hello: refused: ",
                    "a device of vm gated has it as well",
                ])?;
            } else {
                machine.expect_anywhere("[hello] hello: second 1 of 10")?;
            }
            machine.refute("[gated] ")
        })?;
    }
    Ok(())
}

fn units() -> Outcome {
    let plans = [
        ("drhd=1000000", "the remapping unit at 0x1000000 lies in RAM"),
        (
            "drhd=80000000000",
            "the remapping unit at 0x80000000000 lies beyond the 40 address bits of the processor",
        ),
        ("drhd=fed90000", "the remapping unit at 0xfed90000 lies over that at 0xfed90000"),
        // The canary's page, which is RAM that the memory map doesn't show.
        ("moved=3000000", "the remapping unit at 0x3000000 does not answer as one"),
        (
            "reserve=3001000,3001fff forge=3001000 drhd=3001000",
            "the remapping unit at 0x3001000 does not do what it is told",
        ),
        ("cut=5", "the DMAR table's entry at offset 0x30 gives its length as 64 bytes, with 59 left"),
        ("cut=40", "the DMAR table names no remapping unit"),
    ];
    for (plan, why) in plans {
        let said = format!("[kernel] iommu: DMA and interrupts are not remapped: {why}");
        refused(plan, &said, "no IOMMU")?;
    }
    // What is left names the I/O APIC only, and says of half a device what can't be.
    let said = "[kernel] iommu: VT-d, 1 unit(s): DMA remapping on";
    refused("trim=28", said, "no DMA remapping unit covers the device: it could reach all memory")?;
    let why = "the DMAR table's entry at offset 0x68 gives its length as 4 bytes, with 4 left";
    refused("trim=4", &format!("[kernel] iommu: DMA and interrupts are not remapped: {why}"), "no IOMMU")
}
