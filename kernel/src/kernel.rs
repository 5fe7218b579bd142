// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's own state, all of it.

use crate::arch;
use crate::asid::AsidTable;
use crate::cdt::SlotRef;
use crate::error::{SysError, SysResult};
use crate::fault;
use crate::ioport::PortTable;
use crate::ipc::Cancelling;
use crate::irq::IrqTable;
use crate::object::notification::Notification;
use crate::object::sched_context::SchedContext;
use crate::object::tcb::{Tcb, ThreadState};
use crate::ptr::Ptr;
use crate::sched::{Processors, Scheduler};
use crate::sync::KernelCell;

/// Steps of a long operation between two looks at pending interrupts.
const STEPS_PER_PREEMPTION: u32 = 8;

/// The state of the kernel.
pub struct Kernel {
    /// Threads that can run: the scheduler of this processor, and of the others.
    pub sched: Processors,
    /// User interrupts.
    pub irqs: IrqTable,
    /// I/O ports issued.
    pub ports: PortTable,
    /// Address-space identifiers.
    pub asids: AsidTable,
    /// Top of the stack of objects that are being taken apart (`delete`).
    pub dying: Option<SlotRef>,
    /// Senders of a badge that are being cancelled (`ipc`).
    pub cancelling: Option<Cancelling>,
    /// How often that was begun.
    pub cancellations: u64,
    /// Told of DMA faults.
    pub dma_fault_notification: crate::cap::Slot,
    steps: u32,
}

impl Kernel {
    /// The state before anything exists.
    pub const fn new() -> Self {
        Self {
            sched: Processors::new(),
            irqs: IrqTable::new(),
            ports: PortTable::new(),
            asids: AsidTable::new(),
            dying: None,
            cancelling: None,
            cancellations: 0,
            dma_fault_notification: crate::cap::Slot::empty(),
            steps: 0,
        }
    }

    /// A preemption point.
    ///
    /// # Errors
    /// `Preempted` when an interrupt is pending: undo nothing, keep what is done, let the system call be restarted.
    pub fn preempt(&mut self) -> SysResult {
        self.preempt_after(1)
    }

    /// The same after what takes as long as `steps` steps.
    ///
    /// # Errors
    /// As above.
    pub fn preempt_after(&mut self, steps: u32) -> SysResult {
        self.steps += steps;
        if self.steps >= STEPS_PER_PREEMPTION {
            self.steps = 0;
            if crate::arch::interrupt_pending() {
                return Err(SysError::Preempted);
            }
        }
        Ok(())
    }

    /// Chooses the thread to run next. Called at the end of every kernel entry.
    #[inline]
    pub fn schedule(&mut self) {
        if let Some(t) = self.sched.current
            && t.core.get() != self.sched.cpu
        {
            self.send_away(t);
        }
        while self.sched.schedule() {
            if let Some(tcb) = self.sched.take_timed_out() {
                fault::raise_timeout(self, tcb);
            }
        }
    }

    /// The current thread got its time on another processor.
    #[cold]
    fn send_away(&mut self, t: Ptr<Tcb>) {
        self.sched.drop_current();
        arch::take_state(&t, self.sched.cpu);
        self.wake(t);
    }

    /// The thread became able to run: it takes its processor at the end of this entry if its priority says so.
    #[inline(always)]
    pub fn wake(&mut self, t: Ptr<Tcb>) {
        let core = t.core.get();
        if core == self.sched.cpu {
            return self.sched.wake(t);
        }
        self.on(core, |s| s.wake(t));
    }

    /// Does something with the scheduler of a processor, which chooses anew if that asks for it.
    #[cold]
    fn on(&mut self, core: u8, change: impl FnOnce(&mut Scheduler)) {
        let Some(other) = self.sched.of(core) else { return };
        change(other);
        if other.wants_choice() && core != self.sched.cpu {
            arch::poke(core);
        }
    }

    /// Takes a thread out of whatever queue of a scheduler it is in.
    #[inline]
    pub fn dequeue(&mut self, t: Ptr<Tcb>) {
        if (t.queued.get() || t.postponed.get())
            && let Some(s) = self.sched.of(t.core.get())
        {
            s.dequeue(t);
        }
    }

    /// If another processor runs the thread, that is inside the kernel afterwards, and will choose what to run: the thread's state is all in
    /// its memory and can be changed. A system call that it was about to make is made again.
    #[inline]
    pub fn stop(&mut self, t: Ptr<Tcb>) {
        let core = t.core.get();
        if core != self.sched.cpu && self.sched.of(core).is_some_and(|s| s.current == Some(t)) {
            self.stop_elsewhere(t);
        }
    }

    /// As [`Kernel::stop`]; what else the other processor holds of the thread is in its memory too afterwards.
    pub fn bring_home(&mut self, t: Ptr<Tcb>) {
        self.stop(t);
        if t.core.get() != self.sched.cpu {
            arch::take_state(&t, t.core.get());
        }
    }

    #[cold]
    fn stop_elsewhere(&mut self, t: Ptr<Tcb>) {
        arch::stop(t.core.get());
        let Some(s) = self.sched.of(t.core.get()) else { return };
        // Only once: what has been done to the thread since may be the answer to its call.
        let first = !core::mem::replace(&mut s.disturbed, true);
        s.request();
        if first && t.state.get() != ThreadState::RunningVm {
            t.context.rewind();
        }
    }

    /// As [`Kernel::stop`], of every thread that is in its guest on another processor.
    pub fn stop_guests(&mut self) {
        for core in 0..crate::sched::MAX_CPUS as u8 {
            if let Some(t) = self.sched.of(core).and_then(|s| s.current)
                && t.state.get() == ThreadState::RunningVm
            {
                self.stop(t);
            }
        }
    }

    /// A thread goes away, or loses its time: if it runs, it stops doing so.
    pub fn drop_current(&mut self, t: Ptr<Tcb>) {
        self.stop(t);
        if let Some(s) = self.sched.of(t.core.get())
            && s.current == Some(t)
        {
            s.drop_current();
        }
    }

    /// A scheduling context is going away or changes hands: its processor forgets it.
    pub fn forget_sc(&mut self, sc: Ptr<SchedContext>) {
        if let Some(t) = sc.tcb.get() {
            self.stop(t);
        }
        self.on(sc.core.get(), |s| s.forget_sc(sc));
    }

    /// What a scheduling context has used is counted up to now.
    pub fn charge(&mut self, sc: Ptr<SchedContext>) {
        self.on(sc.core.get(), |s| _ = s.charge());
    }

    /// Changes the priority of a thread, wherever it is queued.
    pub fn set_priority(&mut self, t: Ptr<Tcb>, priority: u8) {
        self.on(t.core.get(), |s| s.set_priority(t, priority));
    }

    /// Gives a thread without one a scheduling context, on whose processor it runs from now on.
    pub fn give_sc(&mut self, sc: Ptr<SchedContext>, t: Ptr<Tcb>) {
        sc.tcb.set(Some(t));
        t.sc.set(Some(sc));
        self.move_to(t, sc.core.get());
    }

    /// Moves a thread that is in no queue to another processor. If it is the current one, it goes there at the end of this entry.
    pub fn move_to(&mut self, t: Ptr<Tcb>, core: u8) {
        let old = t.core.replace(core);
        if old != core && self.sched.current != Some(t) {
            if let Some(s) = self.sched.of(old)
                && s.current == Some(t)
            {
                // It was stopped there, and that processor hasn't looked since.
                s.drop_current();
            }
            arch::take_state(&t, old);
        }
    }

    /// The slot that holds the notification told of DMA faults.
    pub fn dma_fault_slot(&self) -> SlotRef {
        // SAFETY: the kernel's state is static.
        unsafe { Ptr::from_ref(&self.dma_fault_notification) }
    }

    /// The notification told of DMA faults.
    pub fn dma_fault_target(&self) -> Option<(Ptr<Notification>, u64)> {
        match self.dma_fault_notification.cap() {
            crate::cap::Cap::Notification { object, badge, .. } => Some((object, badge)),
            _ => None,
        }
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self::new()
    }
}

/// The one kernel. Entry points take it (`KernelCell::get`), everything else is handed it.
pub static KERNEL: KernelCell<Kernel> = KernelCell::new(Kernel::new());
