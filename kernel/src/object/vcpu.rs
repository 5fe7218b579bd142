// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual CPUs as objects: their invocations, the system call `VMEnter`, and running a thread's guest (extension X1).
//!
//! A VCPU is bound to at most one thread and a thread to at most one VCPU; each names the other, and whoever goes first
//! clears both names.

use core::cell::Cell;

use sel4_abi::label;
use sel4_abi::object::tag;
use sel4_abi::vcpu::{
    ENTER_WITH_REGISTERS, MR_INTERRUPT_SHADOW, MR_REGISTERS, MR_RFLAGS, REGISTERS, RETURN_EXIT,
    RETURN_NOTIFICATION,
};

use super::notification::NotificationState;
use super::tcb::{Tcb, ThreadState, slot};
use crate::arch;
use crate::arch::context::MESSAGE;
use crate::arch::smp;
use crate::asid::NestedRoot;
use crate::cap::Cap;
use crate::error::{SysError, SysResult};
use crate::invoke::Invocation;
use crate::kernel::Kernel;
use crate::ptr::Ptr;
use crate::transfer::Buffer;
use crate::virt::iomap::{self, IoMap};
use crate::virt::{self, Backend, EntryResult, Kind, Pause, Vcpu};

/// The thread's VCPU and what runs it.
fn of(tcb: &Tcb) -> Option<(Vcpu, &'static dyn Backend)> {
    let paddr = tcb.vcpu.get();
    // SAFETY: the link is cleared before the object goes (`end_vcpu`).
    (paddr != 0).then(|| unsafe { Vcpu::at(paddr) }).zip(virt::backend())
}

/// Makes 16 KiB of zeros a VCPU.
pub fn create(paddr: u64) {
    virt::init_vcpu(paddr);
}

/// `VMEnter`: takes the message; the guest runs when the kernel is left (`run`). False if the thread has no VCPU.
#[inline]
pub fn enter_from_syscall(tcb: &Tcb) -> bool {
    let Some((vcpu, backend)) = of(tcb) else { return false };
    let c = &tcb.context;
    if c.rsi.get() & ENTER_WITH_REGISTERS != 0
        && let Some(buffer) = Buffer::to_read(tcb)
    {
        for (n, register) in backend.registers(&vcpu).iter().enumerate() {
            register.set(buffer.message(MR_REGISTERS + n));
        }
    }
    if vcpu.header().dead.get() {
        exit_message(tcb, vcpu, backend);
        return true;
    }
    backend.load_entry(vcpu, [c.at(MESSAGE[0]).get(), c.at(MESSAGE[1]).get(), c.at(MESSAGE[2]).get()]);
    if let Some(n) = tcb.bound_notification.get()
        && n.state() == NotificationState::Active
    {
        // The words stay as they are; the VCPU has taken them all the same.
        pause_message(tcb, backend.pause(vcpu));
        c.rdi.set(n.take());
        c.rsi.set(RETURN_NOTIFICATION);
        return true;
    }
    tcb.state.set(ThreadState::RunningVm);
    true
}

/// Runs the guest of `tcb`, the current thread, whose state is `RunningVm`. Comes back when the thread has left its guest and
/// returns from `VMEnter`; when a physical interrupt is pending instead, it is served, and the kernel is left anew.
#[inline]
pub fn run(k: &mut Kernel, tcb: Ptr<Tcb>) {
    let Some((vcpu, backend)) = of(&tcb) else {
        leave(tcb);
        tcb.state.set(ThreadState::Running);
        return;
    };
    let root = tcb.slots[slot::EPT_ROOT].raw().root(tag::EPT_PML4).and_then(|root| k.asids.nested(root));
    if vcpu.header().cpu.get() != k.sched.place.cpu() {
        smp::take_vcpu(vcpu);
        backend.moved(vcpu);
    }
    let result = backend.enter(vcpu, root.unwrap_or(NestedRoot::NONE));
    smp::forget_what_was_read(k);
    if smp::are_many() && core::mem::take(&mut k.sched.disturbed) {
        // The thread was stopped while this processor waited for the kernel. If it has left its guest, or is gone, the guest does again what it
        // exited for.
        let same = k.sched.current == Some(tcb)
            && tcb.state.get() == ThreadState::RunningVm
            && tcb.vcpu.get() == vcpu.paddr();
        if !same {
            return;
        }
    }
    match result {
        EntryResult::HostInterrupt => arch::entry::take_pending(),
        EntryResult::Exit => {
            exit_message(&tcb, vcpu, backend);
            tcb.state.set(ThreadState::Running);
        }
    }
}

/// Tells the thread of its guest's exit.
#[inline]
fn exit_message(tcb: &Tcb, vcpu: Vcpu, backend: &dyn Backend) {
    for (register, word) in MESSAGE.iter().zip(backend.exit_message(vcpu, Buffer::of(tcb))) {
        tcb.context.at(*register).set(word);
    }
    tcb.context.rdi.set(0);
    tcb.context.rsi.set(RETURN_EXIT);
}

/// The thread, in its guest, is about to get a notification: it returns from `VMEnter` with what a next entry needs.
pub fn leave_for_notification(tcb: Ptr<Tcb>) {
    if let Some((vcpu, backend)) = of(&tcb) {
        // Of a refused entry, which is told at the next one, the state is not the guest's.
        let refused = vcpu.header().dead.get();
        let nothing = Pause { words: [0; 3], rflags: 0, shadow: 0 };
        pause_message(&tcb, if refused { nothing } else { backend.pause(vcpu) });
    }
}

/// Tells the thread how its guest stands: what a next entry needs, and whether the guest can take an interrupt.
fn pause_message(tcb: &Tcb, pause: Pause) {
    for (register, word) in MESSAGE.iter().zip(pause.words) {
        tcb.context.at(*register).set(word);
    }
    if let Some(buffer) = Buffer::of(tcb) {
        buffer.set_message(MR_RFLAGS, pause.rflags);
        buffer.set_message(MR_INTERRUPT_SHADOW, pause.shadow);
    }
}

/// The thread leaves its guest for another reason: to its program that is a notification without a bit.
pub fn leave(tcb: Ptr<Tcb>) {
    leave_for_notification(tcb);
    tcb.context.rdi.set(0);
    tcb.context.rsi.set(RETURN_NOTIFICATION);
}

/// Takes VCPU and thread apart.
fn unbind(k: &mut Kernel, vcpu: Vcpu) {
    let paddr = vcpu.header().tcb.replace(0);
    if paddr != 0 {
        // SAFETY: a thread that goes unbinds its VCPU first (`unbind_thread`).
        let tcb = unsafe { Tcb::at(paddr) };
        k.stop(tcb);
        if tcb.state.get() == ThreadState::RunningVm {
            leave(tcb);
            tcb.state.set(ThreadState::Running);
            k.sched.request();
        }
        tcb.vcpu.set(0);
    }
}

/// The thread goes.
pub fn unbind_thread(k: &mut Kernel, tcb: Ptr<Tcb>) {
    if let Some((vcpu, _)) = of(&tcb) {
        unbind(k, vcpu);
    }
}

/// The VCPU's last capability goes.
pub fn end_vcpu(k: &mut Kernel, paddr: u64) {
    // SAFETY: it is live until its capability is gone.
    let vcpu = unsafe { Vcpu::at(paddr) };
    unbind(k, vcpu);
    let map = vcpu.header().io_map.replace(0);
    if map != 0 {
        // SAFETY: a map that goes detaches itself first (`end_permission_map`).
        unsafe { IoMap::at(map) }.detach();
    }
    if let Some(backend) = virt::backend() {
        smp::take_vcpu(vcpu);
        backend.forget(vcpu);
    }
}

/// If another processor runs the VCPU, it doesn't any more until it has the kernel.
fn stop(k: &mut Kernel, vcpu: Vcpu) {
    let tcb = vcpu.header().tcb.get();
    if tcb != 0 {
        // SAFETY: a thread that goes unbinds its VCPU first (`unbind_thread`).
        k.stop(unsafe { Tcb::at(tcb) });
    }
}

/// The I/O permission map's last capability goes.
pub fn end_permission_map(k: &mut Kernel, paddr: u64) {
    // SAFETY: it is live until its capability is gone.
    let map = unsafe { IoMap::at(paddr) };
    if map.vcpu() != 0
        && let Some(backend) = virt::backend()
    {
        // SAFETY: a VCPU that goes detaches its map first (`end_vcpu`).
        let vcpu = unsafe { Vcpu::at(map.vcpu()) };
        stop(k, vcpu);
        vcpu.header().io_map.set(0);
        backend.set_io_map(vcpu, None);
        map.detach();
    }
}

/// Methods of a VCPU capability.
///
/// # Errors
/// IllegalOperation first if the VCPU is dead and the method is not `SetTCB`; then those of the method.
pub fn invoke(k: &mut Kernel, i: &Invocation, paddr: u64) -> SysResult<usize> {
    // SAFETY: the capability says so.
    let vcpu = unsafe { Vcpu::at(paddr) };
    let backend = virt::backend().ok_or(SysError::IllegalOperation)?;
    stop(k, vcpu);
    if i.label == label::X86_VCPU_SET_TCB {
        return set_tcb(k, i, vcpu, backend);
    }
    if vcpu.header().dead.get() {
        return Err(SysError::IllegalOperation);
    }
    match i.label {
        label::VCPU_READ_VMCB => read(i, |n| backend.read_field(vcpu, Kind::Svm, n)),
        label::VCPU_WRITE_VMCB => write(i, |n, value| backend.write_field(vcpu, Kind::Svm, n, value)),
        label::X86_VCPU_READ_VMCS => read(i, |n| backend.read_field(vcpu, Kind::Vmx, n)),
        label::X86_VCPU_WRITE_VMCS => write(i, |n, value| backend.write_field(vcpu, Kind::Vmx, n, value)),
        label::X86_VCPU_READ_MSR => read(i, |n| backend.read_msr(vcpu, n)),
        // The reply's length stays 0, as in the base ABI.
        label::X86_VCPU_WRITE_MSR => write(i, |n, value| backend.write_msr(vcpu, n, value)).map(|_| 0),
        label::X86_VCPU_WRITE_REGISTERS => {
            i.need(REGISTERS, 0)?;
            for (n, register) in backend.registers(&vcpu).iter().enumerate() {
                register.set(i.arg(n));
            }
            Ok(0)
        }
        label::VCPU_READ_REGISTERS => Ok(i.reply(&backend.registers(&vcpu).each_ref().map(Cell::get))),
        label::VCPU_SET_IO_PERMISSION_MAP => set_map(i, vcpu, backend),
        label::X86_VCPU_ENABLE_IO_PORT => enable_ports(i, vcpu),
        label::X86_VCPU_DISABLE_IO_PORT => disable_ports(i, vcpu),
        _ => Err(SysError::IllegalOperation),
    }
}

/// A field's value. A short message and an unknown field are both IllegalOperation, as in the base ABI.
fn read(i: &Invocation, f: impl FnOnce(u64) -> Option<u64>) -> SysResult<usize> {
    i.need(1, 0).map_err(|_| SysError::IllegalOperation)?;
    let value = f(i.arg(0)).ok_or(SysError::IllegalOperation)?;
    Ok(i.reply(&[value]))
}

/// Sets a field and answers with what was stored. Errors as for [`read`].
fn write(i: &Invocation, f: impl FnOnce(u64, u64) -> Option<u64>) -> SysResult<usize> {
    i.need(2, 0).map_err(|_| SysError::IllegalOperation)?;
    let value = f(i.arg(0), i.arg(1)).ok_or(SysError::IllegalOperation)?;
    Ok(i.reply(&[value]))
}

/// `VCPU_SetTCB(thread)`: binds, and brings a dead VCPU back to the state of a fresh one.
fn set_tcb(k: &mut Kernel, i: &Invocation, vcpu: Vcpu, backend: &dyn Backend) -> SysResult<usize> {
    let Cap::Thread(tcb) = i.cap(0)? else { return Err(SysError::IllegalOperation) };
    if vcpu.header().dead.get() {
        smp::take_vcpu(vcpu);
        backend.reset(vcpu);
    }
    k.stop(tcb);
    if tcb.vcpu.get() != vcpu.paddr() {
        unbind(k, vcpu);
        unbind_thread(k, tcb);
        vcpu.header().tcb.set(tcb.paddr());
        tcb.vcpu.set(vcpu.paddr());
    }
    Ok(0)
}

/// `VCPU_SetIOPermissionMap(map)`. Errors: TruncatedMessage, InvalidCapability 1, DeleteFirst (either has one already),
/// NotEnoughMemory (too many are attached).
fn set_map(i: &Invocation, vcpu: Vcpu, backend: &dyn Backend) -> SysResult<usize> {
    let Cap::IoPermissionMap(paddr) = i.cap(0)? else { return Err(SysError::InvalidCapability(1)) };
    // SAFETY: the capability says so.
    let map = unsafe { IoMap::at(paddr) };
    if map.vcpu() != 0 || vcpu.header().io_map.get() != 0 {
        return Err(SysError::DeleteFirst);
    }
    if !map.attach(vcpu.paddr()) {
        return Err(SysError::NotEnoughMemory(0));
    }
    vcpu.header().io_map.set(paddr);
    backend.set_io_map(vcpu, Some(paddr));
    Ok(0)
}

/// The VCPU's own map.
fn map_of(vcpu: Vcpu) -> SysResult<IoMap> {
    match vcpu.header().io_map.get() {
        0 => Err(SysError::IllegalOperation),
        // SAFETY: the link is cleared before the map goes (`end_permission_map`).
        paddr => Ok(unsafe { IoMap::at(paddr) }),
    }
}

/// `VCPU_EnableIOPort(ports; low, high)`. Errors: TruncatedMessage, IllegalOperation (no ports, or no map), InvalidArgument 0 or 1 (beyond
/// the capability), DeleteFirst (this
/// capability is used for another VCPU; a copy may be).
fn enable_ports(i: &Invocation, vcpu: Vcpu) -> SysResult<usize> {
    i.need(2, 1)?;
    let Cap::IoPort { first, last, map: used } = i.cap(0)? else {
        return Err(SysError::IllegalOperation);
    };
    let map = map_of(vcpu)?;
    let (low, high) = (i.arg(0), i.arg(1));
    let within = |port| (u64::from(first)..=u64::from(last)).contains(&port);
    if !within(low) {
        return Err(SysError::InvalidArgument(0));
    }
    if !within(high) || high < low {
        return Err(SysError::InvalidArgument(1));
    }
    let (low, high) = (low as u16, high as u16);
    if used != map.id() && iomap::is_attached(used) {
        return Err(SysError::DeleteFirst);
    }
    // The capability remembers it: when it goes, so do the ports.
    i.cap_slot(0)?.set(Cap::IoPort { first, last, map: map.id() });
    map.set(low, high, false);
    Ok(0)
}

/// `VCPU_DisableIOPort(low, high)`. Errors: TruncatedMessage, IllegalOperation (no map), RangeError.
fn disable_ports(i: &Invocation, vcpu: Vcpu) -> SysResult<usize> {
    i.need(2, 0)?;
    let map = map_of(vcpu)?;
    let (low, high) = (i.arg(0), i.arg(1));
    if low > high || high > u64::from(u16::MAX) {
        return Err(SysError::Range(0, u64::from(u16::MAX)));
    }
    let (low, high) = (low as u16, high as u16);
    map.set(low, high, true);
    Ok(0)
}
