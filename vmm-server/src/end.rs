// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a guest ends, and what its log says then.
use crate::cpu::Cpu;
use crate::registers;
use core::fmt;
use protocol::supervisor::{ExitKind, Reason};
use sel4_abi::vmcb as field;
use vmm_devices::exits::Exits;
use vmm_devices::msr::EFER_VISIBLE;

/// Why a guest has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It powered itself off, with its exit code.
    PowerOff(u32),
    /// It asked for a reset.
    Reset,
    /// It did what ends it.
    Fault(Fault),
}

/// What ends a guest with a dump.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// An exception while delivering an exception while delivering an exception.
    Triple,
    /// HLT with interrupts off.
    Halted,
    /// Access to guest-physical memory that isn't there.
    Nowhere(u64),
    /// Instruction fetch from there.
    FetchNowhere(u64),
    /// Instruction fetch from a device's registers.
    FetchRegisters(u64),
    /// The guest's page tables lie there.
    TablesNowhere(u64),
    /// The instruction behind an exit can't be emulated; its first bytes.
    Instruction(u64),
    /// INS or OUTS.
    StringPort(u16),
    /// The processor refused the guest's state.
    Refused,
    /// An exit that this VMM doesn't know.
    UnknownExit(u64),
    /// A device couldn't be reset for the guest.
    DeviceLost(u8),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Triple => f.write_str("triple fault"),
            Self::Halted => f.write_str("halted with interrupts off"),
            Self::Nowhere(gpa) => write!(f, "access to guest-physical address {gpa:#x}, where nothing is"),
            Self::FetchNowhere(gpa) => {
                write!(f, "instruction fetch from guest-physical address {gpa:#x}, where nothing is")
            }
            Self::FetchRegisters(gpa) => {
                write!(f, "instruction fetch from a device's registers, at guest-physical address {gpa:#x}")
            }
            Self::TablesNowhere(gpa) => {
                write!(f, "page table at guest-physical address {gpa:#x}, where no memory is")
            }
            Self::Instruction(bytes) => {
                f.write_str("an instruction that can't be emulated:")?;
                bytes.to_le_bytes().iter().try_for_each(|byte| write!(f, " {byte:02x}"))
            }
            Self::StringPort(port) => write!(f, "string instruction on port {port:#x}"),
            Self::Refused => f.write_str("the processor refused the guest's state"),
            Self::UnknownExit(code) => write!(f, "an exit that nobody asked for: {code:#x}"),
            Self::DeviceLost(device) => write!(f, "device {device} did not come back from its reset"),
        }
    }
}

/// Writes the end into the log. For a fault the registers must still be those of the exit.
pub fn log(end: End, cpu: &Cpu, exits: &Exits) {
    match end {
        End::PowerOff(code) => component::log!("vmm: the guest has ended with exit code {code}"),
        End::Reset => component::log!("vmm: the guest has ended: reset"),
        End::Fault(fault) => {
            component::log!("vmm: the guest has ended: {fault}");
            dump(cpu, exits);
        }
    }
    component::log!("vmm: {exits}");
    let [l1d, buffers, predictors, renewals, flushes] = [
        field::L1D_FLUSHES,
        field::BUFFER_CLEARS,
        field::PREDICTOR_BARRIERS,
        field::TLB_RENEWALS,
        field::TLB_FLUSHES,
    ]
    .map(|number| cpu.read(number));
    component::log!(
        "vmm: entries: l1d-flushes={l1d} buffer-clears={buffers} predictor-barriers={predictors} translations-dropped={renewals} \
         tlb-flushes={flushes}"
    );
}

fn dump(cpu: &Cpu, exits: &Exits) {
    let names = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"];
    let mut values = [0u64; 16];
    for (n, value) in values.iter_mut().enumerate().filter(|(n, _)| *n != 4) {
        *value = registers::get(n as u8);
    }
    let [rip, rsp, rflags, cr0, cr2, cr3, cr4, efer] =
        [field::RIP, field::RSP, field::RFLAGS, field::CR0, field::CR2, field::CR3, field::CR4, field::EFER]
            .map(|number| cpu.read(number));
    let efer = efer & EFER_VISIBLE;
    values[4] = rsp;
    component::log!("vmm:   rip={rip:#x} rflags={rflags:#x}");
    component::log!("vmm:   cr0={cr0:#x} cr2={cr2:#x} cr3={cr3:#x} cr4={cr4:#x} efer={efer:#x}");
    for (pair, name) in values[..8].chunks(4).zip(names.chunks(4)) {
        component::log!(
            "vmm:   {}={:#x} {}={:#x} {}={:#x} {}={:#x}",
            name[0],
            pair[0],
            name[1],
            pair[1],
            name[2],
            pair[2],
            name[3],
            pair[3]
        );
    }
    for (n, four) in values[8..].chunks(4).enumerate() {
        let first = 8 + 4 * n;
        component::log!(
            "vmm:   r{}={:#x} r{}={:#x} r{}={:#x} r{}={:#x}",
            first,
            four[0],
            first + 1,
            four[1],
            first + 2,
            four[2],
            first + 3,
            four[3]
        );
    }
    component::log!("vmm:   last exits:");
    exits.dump(|line| component::log!("vmm: {line}"));
}

/// Tells the supervisor, which ends this process.
pub fn report(end: End) -> ! {
    let mut reason = Reason::new();
    let (kind, code) = match end {
        End::PowerOff(code) => (ExitKind::PowerOff, code),
        End::Reset => (ExitKind::Reset, 0),
        End::Fault(fault) => {
            // A reason that doesn't fit is cut.
            let _ = fmt::write(&mut reason, format_args!("{fault}"));
            (ExitKind::GuestFault, 0)
        }
    };
    component::exit(kind, code, reason)
}
