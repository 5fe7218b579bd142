// SPDX-License-Identifier: MIT OR Apache-2.0
//! The threads as text (debug build): what each does, of which priority, where, and whether it has time.

use core::fmt::{Result, Write};

use crate::cap::Cap;
use crate::kernel::Kernel;
use crate::object::tcb::Tcb;
use crate::ptr::Ptr;
use crate::snapshot;

/// Writes a line for each thread whose capability stands in one of the tree's lists with one of the root CNode of `tcb`: for a root task, all
/// there are.
pub fn write(out: &mut dyn Write, k: &mut Kernel, tcb: Ptr<Tcb>) -> Result {
    let Cap::CNode(root) = tcb.cspace() else { return Ok(()) };
    for first in snapshot::lists(root) {
        for slot in core::iter::successors(Some(first), |slot| slot.next()) {
            let before = slot.prev().is_some_and(|before| before.raw().same_object(slot.raw()));
            if let Cap::Thread(thread) = slot.cap()
                && !before
            {
                line(out, k, thread)?;
            }
        }
    }
    Ok(())
}

fn line(out: &mut dyn Write, k: &mut Kernel, t: Ptr<Tcb>) -> Result {
    let place = t.place.get();
    write!(out, "[kernel] thread {:#x} ", t.paddr())?;
    snapshot::name(out, t)?;
    write!(
        out,
        ": {:?}, priority {}, processor {}, domain {}, at {:#x}",
        t.state.get(),
        t.priority.get(),
        place.cpu(),
        place.domain(),
        t.context.rip.get()
    )?;
    let runs = k.sched.active(place.cpu()).is_some_and(|s| s.current == Some(t));
    out.write_str(match t.sc.get() {
        _ if runs => ", runs",
        _ if t.queued.get() => ", ready",
        _ if t.postponed.get() => ", waits for time",
        None => ", without time",
        Some(_) => "",
    })?;
    out.write_char('\n')
}
