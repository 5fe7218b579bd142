// SPDX-License-Identifier: MIT OR Apache-2.0
//! A look inside, by commands on COM1: who holds what.

use crate::authority::Authority;
use crate::build;
use crate::machine::Machine;
use crate::qtest::Function;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[Case::new("inspect::no_part_holds_more_than_its_job_needs", authority)];

/// The host bridge's register for the base of configuration space (Intel 3 Series Express Chipset, PCIEXBAR).
const PCIEXBAR: u64 = 0x60;
/// Bytes of configuration space.
const ECAM: u64 = 256 << 20;
/// Who owns which device (`gate-audit.toml`).
const OWNERS: [(u64, &str); 2] = [(0x100, "a"), (0x200, "web")];

fn authority() -> Outcome {
    let system = build::system("gate-audit")?;
    let (machine, mut qtest) = Machine::start_with_qtest(&system.arguments())?;
    with(machine, |machine| {
        for running in ["[a] edu: watching", "[web] http: listening on ", "[hello] hello: second 1 of 10"] {
            machine.expect_anywhere(running)?;
        }
        let caps = Authority::read(&machine.look("caps")?)?;
        // The walk has come by everybody, and by what is known of them from elsewhere.
        let parts = ["a", "console-server", "hello", "iommu-server", "pci-server", "timer-server", "web"];
        if !caps.parts().into_iter().eq(parts) {
            return Err(format!("the parts are {:?}", caps.parts()));
        }
        for vmm in caps.vmms() {
            let ram = caps.guest_ram(vmm, 0, u64::MAX);
            if ram != 64 << 20 {
                return Err(format!("{vmm} has {ram:#x} bytes of RAM in its nested tables"));
            }
        }
        let base = u64::from(Function(0).read(&mut qtest, PCIEXBAR)? & 0xf000_0000);
        caps.keeps_to_the_rules((base, ECAM), &OWNERS)
    })
}
