// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts and I/O ports.

use sel4_abi::irq::MAX_USER_IRQ;
use sel4_abi::label;

use super::Invocation;
use crate::arch;
use crate::cap::Cap;
use crate::cdt;
use crate::cspace;
use crate::delete;
use crate::error::{SysError, SysResult};
use crate::irq::{self, Source};
use crate::kernel::Kernel;
use crate::transfer::insert_derived;

/// Methods of IRQControl.
///
/// # Errors
/// In the order of the ABI; last, RevokeFirst for a pin that has a handler already.
pub fn irq_control(k: &mut Kernel, i: &Invocation) -> SysResult<usize> {
    if i.label != label::IRQ_CONTROL_GET_IOAPIC && i.label != label::IRQ_CONTROL_GET_MSI {
        return Err(SysError::IllegalOperation);
    }
    i.need(7, 1)?;
    // Read once: a device could change the IPC buffer between a check and a use.
    let words: [u64; 7] = core::array::from_fn(|n| i.arg(n));
    let number = words[6];
    let limit = |value: u64, max: u64| if value > max { Err(SysError::Range(0, max)) } else { Ok(()) };
    limit(number, MAX_USER_IRQ)?;
    let number = number as u8;
    if k.irqs.source(number) != Source::Free {
        return Err(SysError::RevokeFirst);
    }
    let dest = cspace::target_slot(k, i.cap(0)?, words[0], words[1] & 0xff, false)?;
    if !dest.is_empty() {
        return Err(SysError::DeleteFirst);
    }
    let source = if i.label == label::IRQ_CONTROL_GET_IOAPIC {
        let [_, _, ioapic, pin, level, polarity, _] = words;
        let count = arch::ioapic_count();
        if count == 0 {
            return Err(SysError::IllegalOperation);
        }
        limit(ioapic, count - 1)?;
        let ioapic = ioapic as u8;
        limit(pin, arch::ioapic_pins(ioapic) - 1)?;
        limit(level, 1)?;
        limit(polarity, 1)?;
        let (pin, level) = (pin as u8, level == 1);
        if k.irqs.has_pin(ioapic, pin) {
            return Err(SysError::RevokeFirst);
        }
        arch::enable_pin(ioapic, pin, level, polarity == 1, irq::vector(number));
        Source::Pin { ioapic, pin, level }
    } else {
        let [_, _, bus, device, function, handle, _] = words;
        limit(bus, 255)?;
        limit(device, 31)?;
        limit(function, 7)?;
        let rid = (bus << 8 | device << 3 | function) as u16;
        Source::Message { irte: arch::remap_message(rid, handle, irq::vector(number))? }
    };
    k.irqs.set(number, source);
    cdt::insert(dest, Cap::IrqHandler(number), i.slot, true);
    Ok(0)
}

/// Methods of an interrupt handler.
pub fn irq_handler(k: &mut Kernel, i: &Invocation, number: u8) -> SysResult<usize> {
    match i.label {
        label::IRQ_ACK_IRQ => irq::acknowledge(k, number),
        label::IRQ_SET_IRQ_HANDLER => {
            i.need(0, 1)?;
            let source = i.cap_slot(0)?;
            match source.cap() {
                Cap::Notification { rights, .. } if rights.write() => {}
                _ => return Err(SysError::InvalidCapability(1)),
            }
            let slot = k.irqs.slot(number);
            delete::delete(k, slot)?;
            insert_derived(slot, source.cap(), source);
        }
        label::IRQ_CLEAR_IRQ_HANDLER => delete::delete(k, k.irqs.slot(number))?,
        // Quarantine is for whoever made the handler, not for those to whom it gave copies.
        label::IRQ_HANDLER_BLOCK | label::IRQ_HANDLER_UNBLOCK => match k.irqs.source(number) {
            Source::Message { irte: Some(index) } if i.slot.is_original() => {
                arch::block_message(index, i.label == label::IRQ_HANDLER_BLOCK)
            }
            _ => return Err(SysError::IllegalOperation),
        },
        _ => return Err(SysError::IllegalOperation),
    }
    Ok(0)
}

/// Ports that are issued in one step.
const PORTS_PER_STEP: u32 = 10_000;

/// Methods of IOPortControl.
pub fn port_control(k: &mut Kernel, i: &Invocation) -> SysResult<usize> {
    if i.label != label::X86_IO_PORT_CONTROL_ISSUE {
        return Err(SysError::IllegalOperation);
    }
    i.need(4, 1)?;
    let (first, last) = (i.arg(0) & 0xffff, i.arg(1) & 0xffff);
    if last < first {
        return Err(SysError::InvalidArgument(1));
    }
    let (first, last) = (first as u16, last as u16);
    if !k.ports.is_free(first, last) {
        return Err(SysError::RevokeFirst);
    }
    let dest = cspace::target_slot(k, i.cap(0)?, i.arg(2), i.arg(3) & 0xff, false)?;
    if !dest.is_empty() {
        return Err(SysError::DeleteFirst);
    }
    k.ports.issue(first, last);
    k.took(u32::from(last - first) / PORTS_PER_STEP);
    cdt::insert(dest, Cap::IoPort { first, last, map: 0 }, i.slot, true);
    Ok(0)
}

/// Methods of a range of I/O ports.
pub fn port(i: &Invocation, first: u16, last: u16) -> SysResult<usize> {
    let bytes = match i.label {
        label::X86_IO_PORT_IN8 | label::X86_IO_PORT_OUT8 => 1u8,
        label::X86_IO_PORT_IN16 | label::X86_IO_PORT_OUT16 => 2,
        label::X86_IO_PORT_IN32 | label::X86_IO_PORT_OUT32 => 4,
        _ => return Err(SysError::IllegalOperation),
    };
    let write = i.label >= label::X86_IO_PORT_OUT8;
    i.need(if write { 2 } else { 1 }, 0)?;
    let port = (i.arg(0) & 0xffff) as u16;
    let fits = u32::from(port) + u32::from(bytes) - 1 <= u32::from(last);
    if port < first || !fits {
        return Err(SysError::IllegalOperation);
    }
    if write {
        arch::port_write(port, bytes, i.arg(1) as u32);
        Ok(0)
    } else {
        Ok(i.reply(&[u64::from(arch::port_read(port, bytes))]))
    }
}
