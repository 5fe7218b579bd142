// SPDX-License-Identifier: MIT OR Apache-2.0
//! The capability graph as text (debug build): a line for each capability, with the slot that it is in and the slot of the one that it was
//! derived from. `postern inspect FILE snapshot` reads it (`cli/src/snapshot.rs`; the lines are described in `docs/abi.md`).

use core::fmt::{Result, Write};
use core::mem::offset_of;

use sel4_abi::describe as word;
use sel4_abi::object::{SLOT_BITS, tag_name};

use crate::cap::Cap;
use crate::cdt::{self, SlotRef};
use crate::describe::describe;
use crate::object::cnode::CNode;
use crate::object::tcb::{Tcb, slot};
use crate::ptr::Ptr;

/// How deep a derivation can be for its origin to be told.
const DEPTH: usize = 32;

/// Writes all capabilities that stand in one of the tree's lists with one of the root CNode of `tcb`: for a root task, all there are.
pub fn write(out: &mut dyn Write, tcb: Ptr<Tcb>) -> Result {
    let slots = offset_of!(Tcb, slots);
    writeln!(
        out,
        "\n[kernel] snapshot begins: slots of {} bytes, {} of a thread at {slots:#x}",
        1 << SLOT_BITS,
        slot::COUNT
    )?;
    let mut count = 0;
    if let Cap::CNode(root) = tcb.cspace() {
        for first in lists(root) {
            count += list(out, first)?;
        }
    }
    writeln!(out, "[kernel] snapshot ends: {count} capabilities")
}

/// The first slots of the tree's lists in which slots of the CNode stand.
pub fn lists(root: CNode) -> impl Iterator<Item = SlotRef> {
    let slots = (0..root.len()).map(move |index| root.slot(index));
    let firsts = slots.filter(move |&slot| !slot.is_empty() && is_first_of(root, slot));
    firsts.filter_map(|slot| core::iter::successors(Some(slot), |slot| slot.prev()).last())
}

/// True if no slot of the CNode stands before this one in its list.
fn is_first_of(root: CNode, slot: SlotRef) -> bool {
    let begin = root.slots.addr();
    let end = begin + (root.len() << SLOT_BITS);
    let mut before = core::iter::successors(slot.prev(), |slot| slot.prev());
    !before.any(|slot| (begin..end).contains(&slot.addr()))
}

/// Writes the list that begins with a slot; gives the number of its capabilities.
fn list(out: &mut dyn Write, first: SlotRef) -> core::result::Result<usize, core::fmt::Error> {
    let mut at = Some(first);
    let mut ancestors: heapless::Vec<SlotRef, DEPTH> = heapless::Vec::new();
    let mut count = 0;
    while let Some(slot) = at {
        while ancestors.last().is_some_and(|&last| !cdt::is_parent(last, slot)) {
            ancestors.pop();
        }
        capability(out, slot, ancestors.last().copied())?;
        // Of one that is deeper the children are said to be their grandparent's.
        let _ = ancestors.push(slot);
        count += 1;
        at = slot.next();
    }
    Ok(count)
}

fn capability(out: &mut dyn Write, slot: SlotRef, parent: Option<SlotRef>) -> Result {
    let [first, object, data, at] = describe(&slot);
    let byte = |shift: u32| first >> shift & 0xff;
    write!(out, "[kernel] snapshot slot {:#x} {} {object:#x} rights ", slot.paddr(), tag_name(first as u8))?;
    let rights = byte(word::RIGHTS_SHIFT);
    for (bit, letter) in [(2, "r"), (1, "w"), (4, "g"), (8, "a")] {
        out.write_str(if rights & bit != 0 { letter } else { "" })?;
    }
    let (size, extra) = (byte(word::SIZE_SHIFT), byte(word::EXTRA_SHIFT));
    write!(out, "{} size {size} extra {extra} data {data:#x}", if rights & 15 == 0 { "-" } else { "" })?;
    match (first >> word::MAPPING_SHIFT & 3) as u8 {
        word::MAPPED_NOWHERE => write!(out, " mapped -")?,
        kind => {
            let name = ["vspace", "nested", "io"][usize::from(kind - 1)];
            write!(out, " mapped {name}:{}:{at:#x}", first >> word::SPACE_SHIFT)?;
        }
    }
    match parent {
        Some(parent) => writeln!(out, " from {:#x}", parent.paddr())?,
        None => writeln!(out, " from -")?,
    }
    match slot.cap() {
        Cap::Thread(thread) if slot.is_original() && thread.name[0].get() != 0 => {
            write!(out, "[kernel] snapshot name {:#x} ", thread.paddr())?;
            name(out, thread)?;
            out.write_char('\n')
        }
        _ => Ok(()),
    }
}

/// Writes a thread's name. It is user level's, and may be anything.
pub fn name(out: &mut dyn Write, thread: Ptr<Tcb>) -> Result {
    for byte in thread.name.iter().map(core::cell::Cell::get).take_while(|&byte| byte != 0) {
        out.write_char(if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' })?;
    }
    Ok(())
}
