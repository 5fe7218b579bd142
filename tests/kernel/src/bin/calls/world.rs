// SPDX-License-Identifier: MIT OR Apache-2.0
//! The world of a group of rows: one capability of each kind and in each state that a row asks for, under a name.

use kernel_tests::env::at;
use kernel_tests::{Env, Failure, Outcome, machine};
use sel4::init_thread::slot;
use sel4::{AbsoluteCPtr, CapRights, CapType, cap, cap_type};

use crate::making::{make, used_untyped};
use crate::things::{
    ADDRESS, DEPTH, IN_CNODE, LAST_HANDLE, LONGEST, NO_HANDLE, THINGS, TOO_LONG, Thing, UNMAPPED_TABLE,
    USED_UNTYPED,
};

/// The capabilities' addresses, and what else a row can't know.
pub struct World {
    addresses: [u64; THINGS.len()],
    longest: u64,
    handles: u64,
}

impl World {
    /// Makes them all.
    pub fn new(env: &mut Env) -> Outcome<Self> {
        let longest = u64::MAX / machine::ticks_per_us(&env.bootinfo) / 8;
        let mut world = Self { addresses: [0; THINGS.len()], longest, handles: 0 };
        world.found(env)?;
        for thing in THINGS {
            if world.address(*thing) == 0 {
                let address = make(env, *thing, &mut world)?;
                world.set(*thing, address);
            }
        }
        world.fill(env)?;
        Ok(world)
    }

    /// The address of a capability.
    pub fn address(&self, thing: Thing) -> u64 {
        self.addresses[thing as usize]
    }

    /// What a word stands for: itself, mostly.
    pub fn resolve(&self, word: u64) -> u64 {
        match word {
            LONGEST => self.longest,
            TOO_LONG => self.longest + 1,
            LAST_HANDLE => self.handles - 1,
            NO_HANDLE => self.handles,
            _ => match word.checked_sub(ADDRESS).and_then(|index| self.addresses.get(index as usize)) {
                Some(address) => *address,
                None => word,
            },
        }
    }

    /// The capability, as one on which anything can be tried.
    pub fn cap<T: CapType>(&self, thing: Thing) -> sel4::Cap<T> {
        sel4::Cap::from_bits(self.address(thing))
    }

    /// A slot of [`Thing::CNode`].
    pub fn slot(&self, index: u64) -> AbsoluteCPtr {
        self.cap::<cap_type::CNode>(Thing::CNode).absolute_cptr_from_bits_with_depth(index, DEPTH as usize)
    }

    /// Gives a capability its address.
    pub fn set(&mut self, thing: Thing, address: u64) {
        self.addresses[thing as usize] = address;
    }

    /// What was there before.
    fn found(&mut self, env: &Env) -> Outcome {
        let extensions = env.bootinfo.extensions().unwrap_or_default();
        let faults = extensions.dma_fault_slot;
        self.handles = extensions.irte_count.into();
        if extensions.vcpu_backend == 0 || faults == 0 || self.handles == 0 {
            return Err(Failure::new(format_args!("the table wants SVM, DMA and interrupt remapping")));
        }
        for (thing, slot) in [
            (Thing::OwnTcb, slot::TCB.cptr()),
            (Thing::OwnCNode, slot::CNODE.cptr()),
            (Thing::OwnContext, slot::SC.cptr()),
            (Thing::AsidControl, slot::ASID_CONTROL.cptr()),
            (Thing::AsidPool, slot::ASID_POOL.cptr()),
            (Thing::IrqControl, slot::IRQ_CONTROL.cptr()),
            (Thing::PortControl, slot::IO_PORT_CONTROL.cptr()),
            (Thing::DomainSet, slot::DOMAIN_SET.cptr()),
            (Thing::IoMaster, slot::IO_SPACE.cptr()),
        ] {
            self.set(thing, slot.bits());
        }
        self.set(Thing::SchedControl, env.sched_control.bits());
        self.set(Thing::DmaFault, faults);
        Ok(())
    }

    /// Puts into the CNode what belongs there.
    fn fill(&self, env: &mut Env) -> Outcome {
        for (index, thing) in IN_CNODE {
            self.slot(*index).copy(&at(self.cap::<cap_type::Unspecified>(*thing)), CapRights::all())?;
        }
        let table: cap::PageTable = env.make()?;
        self.slot(UNMAPPED_TABLE).move_(&at(table))?;
        let untyped = used_untyped(env)?;
        self.slot(USED_UNTYPED).move_(&at(untyped))?;
        let tcb = self.cap::<cap_type::Tcb>(Thing::BoundTcb);
        tcb.tcb_bind_notification(self.cap(Thing::BoundNotification))?;
        Ok(())
    }
}
