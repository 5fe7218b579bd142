// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pools of address-space identifiers.

use sel4_abi::{entry_flush, label};

use super::Invocation;
use crate::asid;
use crate::error::{SysError, SysResult};
use crate::kernel::Kernel;
use crate::object::untyped;

/// Methods of ASIDControl.
pub fn control(k: &mut Kernel, i: &Invocation) -> SysResult<usize> {
    if i.label != label::X86_ASID_CONTROL_MAKE_POOL {
        return Err(SysError::IllegalOperation);
    }
    i.need(2, 2)?;
    untyped::make_pool(k, i.cap_slot(0)?, i.cap(1)?, i.arg(0), i.arg(1) & 0xff)?;
    Ok(0)
}

/// Methods of a pool.
pub fn pool(k: &mut Kernel, i: &Invocation, paddr: u64, index: u16) -> SysResult<usize> {
    if i.label != label::X86_ASID_POOL_ASSIGN {
        return Err(SysError::IllegalOperation);
    }
    i.need(0, 1)?;
    // seL4's method has no word.
    let entry_flush = if i.length == 0 { entry_flush::AUTO } else { i.arg(0) };
    asid::assign(k, paddr, index, i.cap_slot(0)?, entry_flush)?;
    Ok(0)
}
