// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest time, and the one deadline that timer-server keeps for this VM.
use protocol::timer::SetDeadline;
use sel4::cap;

/// Guest time runs with the machine's time-stamp counter from 0 at the guest's start.
pub struct Clock {
    start: u64,
    khz: u32,
    timer: Option<cap::Endpoint>,
    /// The deadline that timer-server holds, in guest ticks. It may be earlier than the one wanted: a signal too early costs
    /// less than a call for each time that a guest puts its timer off.
    armed: Option<u64>,
}

impl Clock {
    /// Without `timer` no timer interrupt ever comes.
    pub fn new(khz: u64, timer: Option<cap::Endpoint>) -> Self {
        Self { start: 0, khz: u32::try_from(khz).unwrap_or(u32::MAX), timer, armed: None }
    }

    /// Guest time 0 is now; the machine's ticks at that time.
    pub fn begin(&mut self) -> u64 {
        self.start = component::cpu::tsc();
        self.start
    }

    /// Guest time, ticks.
    #[inline]
    pub fn now(&self) -> u64 {
        component::cpu::tsc().wrapping_sub(self.start)
    }

    /// Frequency of the time-stamp counter and of the local APIC's timer.
    pub fn khz(&self) -> u32 {
        self.khz
    }

    /// The timer's signal has come.
    pub fn signalled(&mut self) {
        self.armed = None;
    }

    /// Makes sure that a signal comes when guest time reaches `deadline`.
    #[inline]
    pub fn want(&mut self, deadline: Option<u64>) {
        if let Some(deadline) = deadline
            && self.armed.is_none_or(|armed| deadline < armed)
        {
            self.arm(deadline);
        }
    }

    fn arm(&mut self, deadline: u64) {
        let Some(timer) = self.timer else { return };
        match component::call(timer, &SetDeadline { tsc: deadline.saturating_add(self.start) }) {
            Ok(()) => self.armed = Some(deadline),
            Err(error) => component::log!("vmm: timer-server took no deadline: {:?}", error),
        }
    }
}
