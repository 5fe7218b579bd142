// SPDX-License-Identifier: MIT OR Apache-2.0
//! Address-space identifiers: a name for a root table that outlives a dangling capability.

use sel4_abi::LookupFailure;

use crate::arch;
use crate::cap::{Cap, Root};
use crate::cdt::SlotRef;
use crate::error::{SysError, SysResult};
use crate::kernel::Kernel;

/// Pools.
pub const POOLS: usize = 8;
/// Identifiers of a pool.
pub const POOL_ENTRIES: u16 = 512;
const NESTED: u64 = 1;

/// The pools, by physical address; 0 for none.
pub struct AsidTable {
    pools: [u64; POOLS],
    /// Counts what may end an address space of a thread. A thread remembers the root that it had at one number ([`Tcb::root`](crate::object::tcb::Tcb)).
    pub epoch: u64,
}

fn entry(pool: u64, index: u16) -> *mut u64 {
    arch::phys_to_virt(pool + 8 * u64::from(index % POOL_ENTRIES)).cast()
}

impl AsidTable {
    /// No pools.
    pub const fn new() -> Self {
        Self { pools: [0; POOLS], epoch: 1 }
    }

    /// Index of a pool that does not exist yet.
    pub fn free_pool(&self) -> Option<u16> {
        self.pools.iter().position(|&p| p == 0).map(|i| i as u16)
    }

    /// Installs a pool, 4 KiB of zeros.
    pub fn set_pool(&mut self, index: u16, paddr: u64) {
        self.pools[usize::from(index) % POOLS] = paddr;
    }

    fn slot(&self, asid: u16) -> Option<*mut u64> {
        let pool = *self.pools.get(usize::from(asid / POOL_ENTRIES))?;
        (pool != 0).then(|| entry(pool, asid))
    }

    /// Physical address of the root with identifier `asid`.
    #[inline]
    pub fn root(&self, asid: u16) -> Option<u64> {
        // SAFETY: entries lie in pools, whose memory their capabilities hold.
        let value = unsafe { self.slot(asid)?.read() } & !0xfff;
        (value != 0).then_some(value)
    }

    /// Gives `asid` to a root.
    pub fn assign(&mut self, asid: u16, root: u64, nested: bool) {
        if let Some(e) = self.slot(asid) {
            // SAFETY: as for `root`.
            unsafe { e.write(root | if nested { NESTED } else { 0 }) }
        }
    }
}

impl Default for AsidTable {
    fn default() -> Self {
        Self::new()
    }
}

/// `ASIDPool_Assign`.
///
/// # Errors
/// In this order: InvalidCapability 1, FailedLookup, InvalidCapability 0, DeleteFirst (pool full).
pub fn assign(k: &mut Kernel, pool: u64, index: u16, slot: SlotRef) -> SysResult {
    let (root, nested) = match slot.cap() {
        Cap::Pml4(r) if r.asid == 0 => (r, false),
        Cap::EptPml4(r) if r.asid == 0 => (r, true),
        _ => return Err(SysError::InvalidCapability(1)),
    };
    match k.asids.pools.get(usize::from(index)) {
        None | Some(0) => return Err(SysError::Lookup(false, LookupFailure::InvalidRoot)),
        Some(&p) if p != pool => return Err(SysError::InvalidCapability(0)),
        Some(_) => {}
    }
    let base = index * POOL_ENTRIES;
    // Identifier 0 means none.
    let free = (base.max(1)..base + POOL_ENTRIES)
        .find(|&a| k.asids.root(a).is_none())
        .ok_or(SysError::DeleteFirst)?;
    k.asids.assign(free, root.paddr, nested);
    let named = Root { asid: free, ..root };
    if nested {
        slot.set(Cap::EptPml4(named));
    } else {
        arch::install_kernel_mappings(root.paddr);
        slot.set(Cap::Pml4(named));
    }
    Ok(())
}

/// The root is going away.
pub fn release(k: &mut Kernel, root: Root) {
    if root.asid == 0 || k.asids.root(root.asid) != Some(root.paddr) {
        return;
    }
    // SAFETY: as for `AsidTable::root`.
    let nested = k.asids.slot(root.asid).is_some_and(|e| unsafe { e.read() } & NESTED != 0);
    k.asids.assign(root.asid, 0, false);
    k.asids.epoch += 1;
    flush_all(k, root, nested);
    if !nested {
        arch::leave_vspace(root.paddr);
    }
}

/// A pool is going away, and with it every identifier in it.
pub fn delete_pool(k: &mut Kernel, index: u16) {
    let pool = k.asids.pools[usize::from(index) % POOLS];
    if pool == 0 {
        return;
    }
    for i in 0..POOL_ENTRIES {
        let asid = index * POOL_ENTRIES + i;
        if let Some(paddr) = k.asids.root(asid) {
            release(k, Root { paddr, asid });
        }
    }
    k.asids.set_pool(index, 0);
}

/// Forgets every cached translation of an address space or of nested tables.
pub fn flush_all(_k: &mut Kernel, root: Root, nested: bool) {
    if nested { arch::nested::flush(root.paddr) } else { arch::flush_all(root.paddr) }
}
