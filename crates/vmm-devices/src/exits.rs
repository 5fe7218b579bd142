// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest's exits were (exit codes: AMD64 manual, volume 2, appendix C): counters by reason, and the last few for a dump.
use core::fmt;

/// Exit codes that a guest of Postern can cause.
pub mod code {
    #![allow(missing_docs)]
    pub const CR8_READ: u64 = 0x08;
    pub const CR4_WRITE: u64 = 0x14;
    pub const CR8_WRITE: u64 = 0x18;
    pub const DR_READ_FIRST: u64 = 0x20;
    pub const DR_READ_LAST: u64 = 0x2f;
    pub const DR_WRITE_FIRST: u64 = 0x30;
    pub const DR_WRITE_LAST: u64 = 0x3f;
    pub const VINTR: u64 = 0x64;
    pub const RDTSC: u64 = 0x6e;
    pub const RDPMC: u64 = 0x6f;
    pub const CPUID: u64 = 0x72;
    pub const RSM: u64 = 0x73;
    pub const INVD: u64 = 0x76;
    pub const HLT: u64 = 0x78;
    pub const INVLPGA: u64 = 0x7a;
    pub const IOIO: u64 = 0x7b;
    pub const MSR: u64 = 0x7c;
    pub const SHUTDOWN: u64 = 0x7f;
    pub const VMRUN: u64 = 0x80;
    pub const VMMCALL: u64 = 0x81;
    pub const SKINIT: u64 = 0x86;
    pub const RDTSCP: u64 = 0x87;
    pub const ICEBP: u64 = 0x88;
    pub const WBINVD: u64 = 0x89;
    pub const MONITOR: u64 = 0x8a;
    pub const MWAIT: u64 = 0x8b;
    pub const MWAIT_CONDITIONAL: u64 = 0x8c;
    pub const XSETBV: u64 = 0x8d;
    pub const RDPRU: u64 = 0x8e;
    pub const INVLPGB: u64 = 0xa0;
    pub const INVLPGB_ILLEGAL: u64 = 0xa1;
    pub const MCOMMIT: u64 = 0xa3;
    pub const TLBSYNC: u64 = 0xa4;
    pub const NPF: u64 = 0x400;
    /// The low half of the code of a refused entry; one emulator sets only that half.
    pub const REFUSED: u32 = u32::MAX;
}

/// EXITINFO1 of a nested page fault.
pub mod nested_fault {
    /// It was a write.
    pub const WRITE: u64 = 1 << 1;
    /// It was an instruction fetch.
    pub const FETCH: u64 = 1 << 4;
    /// It happened while the guest's own tables were walked.
    pub const TABLE_WALK: u64 = 1 << 33;
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Reason {
    /// CPUID.
    Cpuid,
    /// Port access.
    Port,
    /// Nested page fault.
    Npf,
    /// HLT.
    Hlt,
    /// Interrupt window.
    Window,
    /// RDMSR or WRMSR.
    Msr,
    /// A device's interrupt, with the guest running.
    Msi,
    /// A timer's or another signal, with the guest running.
    Signal,
    /// Anything else.
    Other,
}
const REASONS: usize = Reason::Other as usize + 1;

/// The reason of an exit code.
#[must_use]
pub fn reason(exit_code: u64) -> Reason {
    match exit_code {
        code::CPUID => Reason::Cpuid,
        code::IOIO => Reason::Port,
        code::NPF => Reason::Npf,
        code::HLT => Reason::Hlt,
        code::VINTR => Reason::Window,
        code::MSR => Reason::Msr,
        _ => Reason::Other,
    }
}

/// One exit, or several in a row of the same kind at the same place.
#[derive(Clone, Copy, Default)]
struct Exit {
    code: u64,
    rip: u64,
    info1: u64,
    info2: u64,
    times: u64,
}
const LAST: usize = 16;

/// The record of one guest.
pub struct Exits {
    counts: [u64; REASONS],
    vectors: [u32; 256],
    last: [Exit; LAST],
    next: usize,
}

impl Default for Exits {
    fn default() -> Self {
        Self::new()
    }
}

impl Exits {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        const NONE: Exit = Exit { code: 0, rip: 0, info1: 0, info2: 0, times: 0 };
        Self { counts: [0; REASONS], vectors: [0; 256], last: [NONE; LAST], next: 0 }
    }

    /// An exit with its code, RIP, EXITINFO1 and EXITINFO2.
    #[inline]
    pub fn record(&mut self, code: u64, rip: u64, info1: u64, info2: u64) {
        self.counts[reason(code) as usize] += 1;
        let latest = &mut self.last[self.next.wrapping_sub(1) % LAST];
        if latest.rip == rip && latest.code == code && latest.times != 0 {
            latest.info1 = info1;
            latest.info2 = info2;
            latest.times += 1;
            return;
        }
        self.last[self.next % LAST] = Exit { code, rip, info1, info2, times: 1 };
        self.next = self.next.wrapping_add(1);
    }

    /// An event that is no exit code.
    #[inline]
    pub fn count(&mut self, reason: Reason) {
        self.counts[reason as usize] += 1;
    }

    /// An interrupt delivered to the guest.
    #[inline]
    pub fn delivered(&mut self, vector: u8) {
        self.vectors[usize::from(vector)] = self.vectors[usize::from(vector)].wrapping_add(1);
    }

    /// How often `reason` occurred.
    #[must_use]
    pub fn total(&self, reason: Reason) -> u64 {
        self.counts[reason as usize]
    }

    /// Vectors that were delivered, and how often.
    pub fn interrupts(&self) -> impl Iterator<Item = (u8, u32)> {
        self.vectors.iter().enumerate().filter(|(_, count)| **count != 0).map(|(n, count)| (n as u8, *count))
    }

    /// The last exits, oldest first, one line each. Those in a row of the same kind at the same place (text sent to the UART,
    /// say) are one, with the last one's information.
    pub fn dump(&self, mut line: impl FnMut(fmt::Arguments)) {
        let known = self.next.min(LAST);
        for n in self.next - known..self.next {
            let Exit { code, rip, info1, info2, times } = self.last[n % LAST];
            let name = name(code);
            line(format_args!(
                "  exit {name} ({code:#x}) rip={rip:#x} info={info1:#x},{info2:#x} times={times}"
            ));
        }
    }
}

/// The counters as one line: `exits: cpuid=1 io=2 …; interrupts: 0x40=3`.
impl fmt::Display for Exits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; REASONS] =
            ["cpuid", "io", "npf", "hlt", "intr-window", "msr", "msi", "signal", "other"];
        f.write_str("exits:")?;
        for (name, count) in NAMES.iter().zip(self.counts) {
            write!(f, " {name}={count}")?;
        }
        f.write_str("; interrupts:")?;
        for (vector, count) in self.interrupts() {
            write!(f, " {vector:#04x}={count}")?;
        }
        Ok(())
    }
}

/// The name of an exit code.
#[must_use]
pub fn name(exit_code: u64) -> &'static str {
    match exit_code {
        0..=0x0f => "CR read",
        0x10..=0x1f => "CR write",
        code::DR_READ_FIRST..=code::DR_READ_LAST => "DR read",
        code::DR_WRITE_FIRST..=code::DR_WRITE_LAST => "DR write",
        0x40..=0x5f => "exception",
        code::VINTR => "interrupt window",
        code::RDTSC => "RDTSC",
        code::RDPMC => "RDPMC",
        code::CPUID => "CPUID",
        code::INVD | code::WBINVD => "cache invalidation",
        code::HLT => "HLT",
        code::IOIO => "port",
        code::MSR => "MSR",
        0x7d => "task switch",
        code::SHUTDOWN => "shutdown",
        code::VMRUN..=code::SKINIT => "SVM instruction",
        code::XSETBV => "XSETBV",
        code::NPF => "nested page fault",
        _ if exit_code as u32 == code::REFUSED => "entry refused",
        _ => "exit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::{String, ToString};
    use std::vec::Vec;

    #[test]
    fn counters_and_last_exits() {
        let mut exits = Exits::new();
        for n in 0..20 {
            exits.record(if n % 2 == 0 { code::CPUID } else { code::IOIO }, n, 0, 0);
        }
        exits.record(0xffff_ffff, 20, 1, 2);
        exits.count(Reason::Msi);
        exits.delivered(0x41);
        assert_eq!(
            exits.to_string(),
            "exits: cpuid=10 io=10 npf=0 hlt=0 intr-window=0 msr=0 msi=1 signal=0 other=1; interrupts: 0x41=1"
        );
        let mut lines: Vec<String> = Vec::new();
        exits.dump(|line| lines.push(line.to_string()));
        assert_eq!(lines.len(), 16);
        assert_eq!(lines[0], "  exit port (0x7b) rip=0x5 info=0x0,0x0 times=1");
        assert_eq!(lines[15], "  exit entry refused (0xffffffff) rip=0x14 info=0x1,0x2 times=1");
    }

    #[test]
    fn repeated_exits_are_one_line() {
        let mut exits = Exits::new();
        for n in 0..100 {
            exits.record(code::IOIO, 7, n, 0);
        }
        exits.record(code::HLT, 7, 0, 0);
        let mut lines: Vec<String> = Vec::new();
        exits.dump(|line| lines.push(line.to_string()));
        assert_eq!(
            lines,
            [
                "  exit port (0x7b) rip=0x7 info=0x63,0x0 times=100",
                "  exit HLT (0x78) rip=0x7 info=0x0,0x0 times=1"
            ]
        );
        assert_eq!(exits.total(Reason::Port), 100);
    }

    #[test]
    fn a_young_guest_has_few() {
        let mut lines = 0;
        Exits::new().dump(|_| lines += 1);
        assert_eq!(lines, 0);
    }
}
