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
/// Of an entry: a nested root's. Bits 1 and 2 are then its `sel4_abi::entry_flush`.
const NESTED: u64 = 1;
const ENTRY_FLUSH_SHIFT: u32 = 1;
const ENTRY_FLUSH: u64 = 3;

/// A nested root that has its identifier, as its entry is: two that differ in how guests are entered differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NestedRoot(u64);

impl NestedRoot {
    /// None: everything faults.
    pub const NONE: Self = Self(0);

    /// Physical address, and what else makes it differ from others.
    #[inline]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Physical address of the root with these bits.
    pub const fn paddr(bits: u64) -> u64 {
        bits & !0xfff
    }

    /// `sel4_abi::entry_flush` of the root with these bits.
    pub const fn entry_flush(bits: u64) -> u64 {
        bits >> ENTRY_FLUSH_SHIFT & ENTRY_FLUSH
    }
}

/// The pools, by physical address; 0 for none.
pub struct AsidTable {
    pools: [u64; POOLS],
    /// Counts what may end an address space of a thread. A thread remembers the one that it had at one number ([`Tcb::space`](crate::object::tcb::Tcb)).
    pub epoch: u64,
}

fn entry(pool: u64, index: u16) -> *mut u64 {
    arch::phys_to_virt(pool + 8 * u64::from(index % POOL_ENTRIES)).cast()
}

/// True for an identifier of the pool that nobody has.
fn is_free(pool: u64, index: u16) -> bool {
    // SAFETY: entries lie in pools, whose memory their capabilities hold.
    unsafe { entry(pool, index).read() == 0 }
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

    /// The nested root of this name, if it still has its identifier.
    #[inline]
    pub fn nested(&self, root: Root) -> Option<NestedRoot> {
        // SAFETY: as for `root`.
        let value = unsafe { self.slot(root.asid)?.read() };
        (value & !0xfff == root.paddr).then_some(NestedRoot(value))
    }

    /// Gives `asid` to a root; `bits` are those of a nested one.
    pub fn assign(&mut self, asid: u16, root: u64, bits: u64) {
        if let Some(e) = self.slot(asid) {
            // SAFETY: as for `root`.
            unsafe { e.write(root | bits) }
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
/// In this order: InvalidCapability 1, InvalidArgument 0 (`entry_flush` of a nested root is none), FailedLookup, InvalidCapability 0, DeleteFirst (pool full).
pub fn assign(k: &mut Kernel, pool: u64, index: u16, slot: SlotRef, entry_flush: u64) -> SysResult {
    let (root, nested) = match slot.cap() {
        Cap::Pml4(r) if r.asid == 0 => (r, false),
        Cap::EptPml4(r) if r.asid == 0 => (r, true),
        _ => return Err(SysError::InvalidCapability(1)),
    };
    if nested && entry_flush > sel4_abi::entry_flush::OFF {
        return Err(SysError::InvalidArgument(0));
    }
    match k.asids.pools.get(usize::from(index)) {
        None | Some(0) => return Err(SysError::Lookup(false, LookupFailure::InvalidRoot)),
        Some(&p) if p != pool => return Err(SysError::InvalidCapability(0)),
        Some(_) => {}
    }
    let base = index * POOL_ENTRIES;
    // Identifier 0 means none.
    let free = (u16::from(base == 0)..POOL_ENTRIES)
        .find(|&i| is_free(pool, i))
        .map(|i| base + i)
        .ok_or(SysError::DeleteFirst)?;
    k.asids.assign(free, root.paddr, if nested { NESTED | entry_flush << ENTRY_FLUSH_SHIFT } else { 0 });
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
    k.asids.assign(root.asid, 0, 0);
    k.asids.epoch += 1;
    if nested {
        flush_all(k, root, true);
    } else {
        arch::leave_vspace(root);
    }
}

/// Identifiers that one step of a pool's deletion takes back at most, and how many it looks at for that.
const RELEASED_AT_ONCE: u16 = 4;
const SCANNED_AT_ONCE: u16 = 32;

/// The pool at physical address `paddr` is going away, and with it every identifier in it: some of the first `remaining` ones. Gives how
/// many remain.
pub fn release_some(k: &mut Kernel, paddr: u64, remaining: u64) -> u64 {
    let Some(index) = k.asids.pools.iter().position(|&p| p == paddr) else { return 0 };
    let (mut left, mut released) = (remaining as u16, 0);
    while left > 0 && released < RELEASED_AT_ONCE {
        left -= 1;
        let asid = index as u16 * POOL_ENTRIES + left;
        if let Some(paddr) = k.asids.root(asid) {
            release(k, Root { paddr, asid });
            released += 1;
        }
        if left.is_multiple_of(SCANNED_AT_ONCE) {
            break;
        }
    }
    if left == 0 {
        k.asids.set_pool(index as u16, 0);
    }
    left.into()
}

/// Forgets every cached translation of an address space or of nested tables.
pub fn flush_all(k: &mut Kernel, root: Root, nested: bool) {
    if nested {
        // A guest finds out at its next entry.
        arch::nested::flush(root.paddr);
        k.stop_guests();
    } else {
        arch::flush_all(root);
    }
}
