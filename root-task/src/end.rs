// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a part, as a text.

use core::fmt;

use protocol::supervisor::{ExitKind, Exited};
use sel4::Fault;

/// How a part came to its end, as a text.
pub enum End<'a> {
    /// It said so itself.
    Said(&'a Exited),
    /// Its thread faulted.
    Fault(&'a Fault),
    /// A test has killed it.
    #[cfg(feature = "deaths")]
    Killed,
}

impl End<'_> {
    /// Whether it was no orderly end.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Said(exited) => matches!(exited.kind, ExitKind::GuestFault | ExitKind::Failure),
            Self::Fault(_) => true,
            #[cfg(feature = "deaths")]
            Self::Killed => true,
        }
    }
}

impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(exited) => {
                f.write_str(match exited.kind {
                    ExitKind::PowerOff => "power-off",
                    ExitKind::Reset => "reset",
                    ExitKind::GuestFault => "guest fault",
                    ExitKind::Failure => "failure",
                })?;
                if !exited.reason.is_empty() {
                    write!(f, ": {}", exited.reason)?;
                }
                Ok(())
            }
            #[cfg(feature = "deaths")]
            Self::Killed => f.write_str("killed by a test"),
            Self::Fault(Fault::VmFault(fault)) => {
                let what = if fault.is_prefetch {
                    "execution"
                } else if fault.fsr & 2 != 0 {
                    "write"
                } else {
                    "read"
                };
                write!(f, "page fault at {:#x}: {what} of {:#x}", fault.ip, fault.addr)
            }
            Self::Fault(Fault::UserException(fault)) => {
                write!(f, "exception {} at {:#x}, error code {:#x}", fault.number, fault.ip, fault.code)
            }
            Self::Fault(Fault::CapFault(fault)) => {
                write!(f, "capability fault at {:#x}: nothing usable at {:#x}", fault.ip, fault.address)
            }
            Self::Fault(Fault::UnknownSyscall(fault)) => {
                write!(f, "unknown system call {:#x} at {:#x}", fault.number, fault.fault_ip())
            }
            Self::Fault(fault) => write!(f, "{fault:?}"),
        }
    }
}
