// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is who: the badge by which a part is known on every endpoint alike.

/// pci-server.
pub const PCI: u64 = 1;
/// iommu-server.
pub const IOMMU: u64 = 2;
/// console-server.
pub const CONSOLE: u64 = 3;
/// timer-server.
pub const TIMER: u64 = 4;
/// The VMM of VM *k* is this plus *k*.
pub const FIRST_VM: u64 = 0x100;

/// Most VMs. With devices: 31 at most, since that many CNodes can be mounted.
pub const MAX_VMS: usize = 48;
/// Most VMs with devices.
pub const MAX_DEVICE_VMS: usize = 31;
/// Most clients; one more than the largest [`index`].
pub const MAX_CLIENTS: usize = FIRST_VM_INDEX + MAX_VMS;

/// Set in the badge of every endpoint capability, and in no notification's. A received word with this bit is a
/// client's message; without it, it is the bound notification's signals. So no client can pass for a signal by
/// sending an empty message with label 0.
pub const ENDPOINT_MARK: u64 = 1 << 63;

/// The client of VM `vm`'s VMM.
pub const fn of_vm(vm: u16) -> u64 {
    FIRST_VM + vm as u64
}

/// The VM whose VMM has this badge.
pub const fn vm_of(client: u64) -> Option<u16> {
    match client.checked_sub(FIRST_VM) {
        Some(vm) if vm < MAX_VMS as u64 => Some(vm as u16),
        _ => None,
    }
}

/// The [`index`] of VM 0; that of VM *k* is this plus *k*.
pub const FIRST_VM_INDEX: usize = 8;

/// A small number for tables and for bits of notifications: servers 1 to 4, VM *k* 8 + *k*. The root task, which
/// calls nobody, takes 0 for its log ring.
pub const fn index(client: u64) -> Option<usize> {
    match client {
        PCI..=TIMER => Some(client as usize),
        _ => match vm_of(client) {
            Some(vm) => Some(FIRST_VM_INDEX + vm as usize),
            None => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_distinct_and_fit_a_notification() {
        let mut seen = 0u64;
        for client in (1..=4).chain((0..MAX_VMS as u16).map(of_vm)) {
            let bit = 1 << index(client).unwrap();
            assert_eq!(seen & bit, 0);
            seen |= bit;
        }
        const { assert!(MAX_CLIENTS <= 62) };
        for stranger in [0, 5, 0xff, of_vm(MAX_VMS as u16), u64::MAX, ENDPOINT_MARK | 1] {
            assert_eq!(index(stranger), None);
        }
    }
}
