// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the parts hold, read from their capability spaces at the moment of asking. The kernel tells, not the root task's records.

use protocol::client;
use protocol::look::{Held, ListHeld};
use protocol::supervisor::SupervisorError;
use root_task::held;
use root_task::layout::{INDEX_BITS, ROOT_RADIX};
use root_task::need::Role;
use sel4::cap_type;

use crate::process::Process;
use crate::resources::{at, in_slot};
use crate::system::System;

impl System<'_> {
    /// What a part holds from a slot on; nothing if it doesn't run.
    pub fn held(&self, asked: ListHeld) -> Result<Held, SupervisorError> {
        let number = usize::from(asked.part);
        let told = match asked.part {
            0 => {
                let end = self.resources.slot_count as u32;
                held::flat(asked.slot.min(end), end, |slot| at(slot as usize).describe())
            }
            _ => match self.process(number) {
                Some(process) => {
                    let root = in_slot::<cap_type::CNode>(process.object(Role::Root));
                    let describe = |bits: u32, depth| {
                        root.absolute_cptr_from_bits_with_depth(bits.into(), depth).describe()
                    };
                    let mounts = 1 << ROOT_RADIX;
                    let whole = ROOT_RADIX + INDEX_BITS;
                    held::two_levels(asked.slot, mounts, |n| describe(n, ROOT_RADIX), |n| describe(n, whole))
                }
                None => Ok(Held::default()),
            },
        };
        told.map_err(|_| SupervisorError::NotTold)
    }

    /// The process of the part with this index (`client::index`).
    fn process(&self, index: usize) -> Option<&Process> {
        match index.checked_sub(client::FIRST_VM_INDEX) {
            Some(vm) => self.vms.get(vm)?.as_ref().map(|vm| &vm.process),
            None => self.servers.get(index)?.as_ref().map(|server| &server.process),
        }
    }
}
