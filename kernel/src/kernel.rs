// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's own state, all of it.

use crate::arch;
use crate::asid::AsidTable;
use crate::cdt::SlotRef;
use crate::delete::Search;
use crate::domains::Domains;
use crate::error::{Preempted, SysError, SysResult};
use crate::fault;
use crate::ioport::PortTable;
use crate::ipc::Cancelling;
use crate::irq::IrqTable;
use crate::object::notification::Notification;
use crate::object::sched_context::SchedContext;
use crate::object::tcb::{Tcb, ThreadState};
use crate::processors::{MAX_CPUS, Place, Processors};
use crate::ptr::Ptr;
use crate::sched::Scheduler;
use crate::stretch;
use crate::sync::KernelCell;
use crate::syscall;

/// Steps of a long operation between two looks at pending interrupts. A step takes a thousand instructions or so.
const STEPS_PER_PREEMPTION: u32 = 6;
/// Groups of threads of one priority in a queue that are passed in a step.
const GROUPS_PER_STEP: u32 = 64;
/// Steps after which interrupts are looked for before a choice, which itself takes as long as four.
const STEPS_BEFORE_A_CHOICE: u32 = 2;

/// The state of the kernel.
pub struct Kernel {
    /// Threads that can run: the scheduler of this processor, and of the others.
    pub sched: Processors,
    /// The schedule of the domains.
    pub domains: Domains,
    /// User interrupts.
    pub irqs: IrqTable,
    /// I/O ports issued.
    pub ports: PortTable,
    /// Address-space identifiers.
    pub asids: AsidTable,
    /// Top of the stack of objects that are being taken apart (`delete`).
    pub dying: Option<SlotRef>,
    /// A search in that stack.
    pub search: Option<Search>,
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
            domains: Domains::new(),
            irqs: IrqTable::new(),
            ports: PortTable::new(),
            asids: AsidTable::new(),
            dying: None,
            search: None,
            cancelling: None,
            cancellations: 0,
            dma_fault_notification: crate::cap::Slot::empty(),
            steps: 0,
        }
    }

    /// Processor `cpu` has the kernel now: whatever another one did took none of its time.
    pub fn is_of(&mut self, cpu: u8) {
        self.sched.select(cpu);
        self.steps = 0;
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
            if is_wanted() || stretch::ON {
                return Err(SysError::Preempted);
            }
        }
        Ok(())
    }

    /// A preemption point at which nothing has been done yet, so that what was only looked up is lost. Interrupts are looked for each time. Other
    /// processors wait a little longer: with system calls of their own they could keep this one from ever getting on.
    ///
    /// # Errors
    /// As above.
    #[cold]
    #[inline(never)]
    pub fn look(&mut self) -> Result<(), Preempted> {
        self.steps = 0;
        if arch::interrupt_pending() || stretch::is_lost_here() { Err(Preempted) } else { Ok(()) }
    }

    /// A preemption point between the halves of a combined system call: interrupts are looked for if the first one has taken steps. An invocation has.
    ///
    /// # Errors
    /// As above.
    pub fn preempt_between(&mut self) -> Result<(), Preempted> {
        if core::mem::take(&mut self.steps) != 0 && (is_wanted() || stretch::ON) {
            return Err(Preempted);
        }
        Ok(())
    }

    /// A thread has passed so many groups of others in a queue.
    #[inline(always)]
    pub fn passed(&mut self, groups: u32) {
        self.steps += groups / GROUPS_PER_STEP;
    }

    /// The step under way takes as long as so many more.
    pub fn took(&mut self, steps: u32) {
        self.steps += steps;
    }

    /// The current thread has made its system call for nothing: it makes it again, after the interrupt.
    pub fn call_again(&mut self, t: Ptr<Tcb>) {
        t.context.rewind();
        self.choose_after_interrupts();
    }

    /// A choice is to be made, and interrupts are to be looked for before.
    pub fn choose_after_interrupts(&mut self) {
        self.sched.request();
        self.steps = STEPS_BEFORE_A_CHOICE;
    }

    /// True if interrupts are to be looked for now, at the end of this kernel entry, since it may have been long and a choice is to be made.
    #[inline(always)]
    pub fn looks_before_choice(&mut self) -> bool {
        self.steps >= STEPS_BEFORE_A_CHOICE && self.sched.wants_choice() && {
            self.steps = 0;
            true
        }
    }

    /// Chooses the thread to run next, unless the current one goes on. Called at the end of every kernel entry, again if it says `true`.
    #[inline]
    pub fn schedule(&mut self) -> bool {
        self.let_go_of_who_moved();
        let again = self.sched.schedule();
        if again {
            self.finish_choice();
            self.choose_after_interrupts();
        } else {
            self.steps = 0;
        }
        again
    }

    #[inline(always)]
    fn let_go_of_who_moved(&mut self) {
        if let Some(t) = self.sched.current
            && t.place.get() != self.sched.place
        {
            self.send_away(t);
        }
    }

    /// The kernel is about to be given back with a choice still to be made. Nothing of a thread that isn't this processor's any more may stay here;
    /// and to the current one whatever another processor likes may happen, but its system call isn't to be made again for that: it has been.
    pub fn pauses(&mut self) {
        self.let_go_of_who_moved();
        self.sched.disturbed = true;
    }

    /// What there is to do before a choice or after it: a system call is half done, somebody's time is up, or the domain's.
    #[cold]
    #[inline(never)]
    fn finish_choice(&mut self) {
        if let Some(tcb) = self.sched.take_half() {
            return syscall::come_back(self, tcb);
        }
        match self.sched.take_timed_out() {
            Some(tcb) => fault::raise_timeout(self, tcb),
            None => self.sched.enter(self.domains.current(), self.domains.ends()),
        }
    }

    /// The current thread got its time on another processor, or came into another domain.
    #[cold]
    fn send_away(&mut self, t: Ptr<Tcb>) {
        self.sched.drop_current();
        if t.place.get().cpu() != self.sched.place.cpu() {
            arch::take_state(&t, self.sched.place.cpu());
        }
        self.wake(t);
    }

    /// Chooses until the choice stands.
    #[cfg(test)]
    pub(crate) fn choose(&mut self) {
        while self.schedule() {}
    }

    /// The timer fired.
    pub fn timer_fired(&mut self) {
        self.sched.timer_fired();
        if self.domains.ends() != u64::MAX {
            self.look_for_the_end_of_the_turn();
        }
    }

    #[cold]
    #[inline(never)]
    fn look_for_the_end_of_the_turn(&mut self) {
        let now = arch::now();
        if now >= self.domains.ends() {
            self.domains.next(now);
            self.change_domain();
        }
    }

    /// The domains' schedule has come to another entry: every processor goes over to it, this one at the end of this entry, the others as soon as
    /// they are in the kernel.
    pub fn change_domain(&mut self) {
        if self.domains.count() == 1 {
            return;
        }
        let own = self.sched.place.cpu();
        for cpu in 0..MAX_CPUS as u8 {
            let Some(s) = self.sched.active(cpu) else { continue };
            s.end_slice();
            if cpu != own {
                arch::poke(cpu);
            }
        }
    }

    /// The thread became able to run: it takes its processor at the end of this entry if its priority says so.
    #[inline(always)]
    pub fn wake(&mut self, t: Ptr<Tcb>) {
        let place = t.place.get();
        if place == self.sched.place {
            return self.sched.wake(t);
        }
        self.at(place, |s| s.wake(t));
    }

    /// Does something with a scheduler. If it is the active one of another processor, and that asks for it, that one chooses anew.
    #[cold]
    #[inline(never)]
    fn at(&mut self, place: Place, change: impl FnOnce(&mut Scheduler)) {
        let Some(s) = self.sched.at(place) else { return };
        change(s);
        let (wants, cpu) = (s.wants_choice(), place.cpu());
        if wants && cpu != self.sched.place.cpu() && self.sched.active(cpu).is_some_and(|s| s.place == place)
        {
            arch::poke(cpu);
        }
    }

    /// Does something with the active scheduler of a processor, as [`Kernel::at`] does.
    fn on(&mut self, cpu: u8, change: impl FnOnce(&mut Scheduler)) {
        if let Some(place) = self.sched.active(cpu).map(|s| s.place) {
            self.at(place, change);
        }
    }

    /// Takes a thread out of whatever queue of a scheduler it is in.
    #[inline]
    pub fn dequeue(&mut self, t: Ptr<Tcb>) {
        if (t.queued.get() || t.postponed.get())
            && let Some(s) = self.sched.at(t.place.get())
        {
            s.dequeue(t);
        }
    }

    /// If another processor runs the thread, that is inside the kernel afterwards, and will choose what to run: the thread's state is all in
    /// its memory and can be changed. A system call that it was about to make is made again.
    #[inline]
    pub fn stop(&mut self, t: Ptr<Tcb>) {
        if t.place.get().cpu() != self.sched.place.cpu() {
            self.stop_elsewhere(t);
        }
    }

    /// As [`Kernel::stop`]; what else the other processor holds of the thread is in its memory too afterwards.
    pub fn bring_home(&mut self, t: Ptr<Tcb>) {
        self.stop(t);
        let cpu = t.place.get().cpu();
        if cpu != self.sched.place.cpu() {
            arch::take_state(&t, cpu);
        }
    }

    #[cold]
    #[inline(never)]
    fn stop_elsewhere(&mut self, t: Ptr<Tcb>) {
        let cpu = t.place.get().cpu();
        if self.sched.active(cpu).is_none_or(|s| s.current != Some(t)) {
            return;
        }
        let Some(s) = self.sched.active(cpu) else { return };
        // One that is disturbed waits for the kernel still, and needn't be asked again: it stops being so when it gets the kernel, which it
        // hasn't since it was stopped, because this processor has it.
        if !s.disturbed {
            arch::stop(cpu);
        }
        let Some(s) = self.sched.active(cpu) else { return };
        // Only once: what has been done to the thread since may be the answer to its call.
        let first = !core::mem::replace(&mut s.disturbed, true);
        s.request();
        if first && t.state.get() == ThreadState::Running {
            t.context.rewind();
        }
    }

    /// The thread, between the halves of its system call, doesn't make the second one. On whichever processor it was: it may have been moved since.
    pub fn forget_half(&mut self, t: Ptr<Tcb>) {
        for cpu in 0..MAX_CPUS as u8 {
            if let Some(s) = self.sched.active(cpu) {
                s.forget_half(t);
            }
        }
    }

    /// As [`Kernel::stop`], of every thread that is in its guest on another processor.
    pub fn stop_guests(&mut self) {
        for cpu in 0..MAX_CPUS as u8 {
            if let Some(t) = self.sched.active(cpu).and_then(|s| s.current)
                && t.state.get() == ThreadState::RunningVm
            {
                self.stop(t);
            }
        }
    }

    /// A thread goes away, or loses its time: if it runs, it stops doing so.
    pub fn drop_current(&mut self, t: Ptr<Tcb>) {
        self.stop(t);
        if let Some(s) = self.sched.active(t.place.get().cpu())
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
        self.at(t.place.get(), |s| s.set_priority(t, priority));
    }

    /// Gives a thread without one a scheduling context, on whose processor it runs from now on.
    pub fn give_sc(&mut self, sc: Ptr<SchedContext>, t: Ptr<Tcb>) {
        sc.tcb.set(Some(t));
        t.sc.set(Some(sc));
        self.move_to(t, sc.core.get());
    }

    /// Moves a thread that is in no queue to another processor. If it is the current one, it goes there at the end of this entry.
    pub fn move_to(&mut self, t: Ptr<Tcb>, cpu: u8) {
        let old = t.place.get();
        if old.cpu() == cpu {
            return;
        }
        t.place.set(Place::new(cpu, old.domain()));
        if self.sched.current != Some(t) {
            if let Some(s) = self.sched.active(old.cpu())
                && s.current == Some(t)
            {
                // It was stopped there, and that processor hasn't looked since.
                s.drop_current();
            }
            arch::take_state(&t, old.cpu());
        }
    }

    /// Puts a thread into a domain. If it is the current one, it goes there at the end of this entry.
    pub fn set_domain(&mut self, t: Ptr<Tcb>, domain: u8) {
        let old = t.place.get();
        if old.domain() == domain {
            return;
        }
        let is_current = self.sched.current == Some(t);
        if !is_current {
            self.drop_current(t);
        }
        self.dequeue(t);
        t.place.set(Place::new(old.cpu(), domain));
        if !is_current {
            self.wake(t);
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

/// There is a reason to leave the kernel soon: an interrupt, or another processor that waits for it.
pub fn is_wanted() -> bool {
    arch::interrupt_pending() || arch::is_awaited()
}

impl Default for Kernel {
    fn default() -> Self {
        Self::new()
    }
}

/// The one kernel. Entry points take it (`KernelCell::get`), everything else is handed it.
pub static KERNEL: KernelCell<Kernel> = KernelCell::new(Kernel::new());
