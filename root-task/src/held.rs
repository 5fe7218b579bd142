// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a part holds, as the kernel describes it slot by slot, in runs.

use protocol::look::{Held, MAX_LOOKED_AT, Mapped, Run};
use sel4::abi::object::tag;
use sel4::{CapFacts, CapMapping};

/// Bits of an address in the lower level of a part's capability space.
const INDEX_BITS: u32 = crate::layout::INDEX_BITS as u32;

/// The capability in `slot` as a run of one.
fn run(slot: u32, facts: &CapFacts) -> Run {
    let mapped = match facts.mapping {
        CapMapping::None => Mapped::Nowhere,
        CapMapping::VSpace(space, at) => Mapped::Vspace(space, at),
        CapMapping::Ept(space, at) => Mapped::Nested(space, at),
        CapMapping::Io(space, at) => Mapped::Io(space, at),
    };
    Run {
        slot,
        count: 1,
        tag: facts.tag,
        rights: facts.rights,
        size_bits: facts.size_bits,
        device: facts.device,
        address: facts.address,
        word: facts.word,
        mapped,
    }
}

/// By how much the addresses and the words of neighbours in a run are apart.
fn step(facts: &CapFacts) -> Option<(u64, u64)> {
    match facts.tag {
        tag::FRAME => Some((1 << facts.size_bits, 0)),
        tag::IRQ_HANDLER => Some((0, 1)),
        _ => None,
    }
}

/// Adds the capability in `slot`; false if there is no room left.
fn add(held: &mut Held, slot: u32, facts: &CapFacts) -> bool {
    if facts.tag == tag::NULL {
        return true;
    }
    let run = run(slot, facts);
    held.runs.last_mut().is_some_and(|last| last.join(&run, step(facts))) || held.runs.push(run).is_ok()
}

/// What the slots `from..end` of one CNode hold, as far as there is room; `describe` tells of a slot.
pub fn flat<E>(from: u32, end: u32, describe: impl Fn(u32) -> Result<CapFacts, E>) -> Result<Held, E> {
    let mut held = Held::default();
    for (looked_at, slot) in (from..end).enumerate() {
        if looked_at as u32 == MAX_LOOKED_AT || !add(&mut held, slot, &describe(slot)?) {
            held.next = Some(slot);
            break;
        }
    }
    Ok(held)
}

/// What a part's capability space of two levels holds from address `from` on. `mount` describes the slot of the upper level with this
/// number (of `mounts`), `describe` the capability at an address. A part can change its own capability space: what isn't as the root
/// task made it, a capability in the upper level that isn't a CNode or one whose guard hides its slots, stands for itself.
pub fn two_levels<E>(
    from: u32,
    mounts: u32,
    mount: impl Fn(u32) -> Result<CapFacts, E>,
    describe: impl Fn(u32) -> Result<CapFacts, E>,
) -> Result<Held, E> {
    let mut first = from >> INDEX_BITS;
    let mut index = from & ((1 << INDEX_BITS) - 1);
    while first < mounts {
        let node = mount(first)?;
        let base = first << INDEX_BITS;
        let slots = match node.tag {
            tag::CNODE if describe(base).is_ok() => 1 << u32::from(node.size_bits).min(INDEX_BITS),
            tag::NULL => 0,
            _ => 1,
        };
        if index < slots {
            let is_whole = slots > 1 && node.tag == tag::CNODE;
            let mut held = flat(base + index, base + slots, |slot| match is_whole {
                true => describe(slot),
                false => Ok(node),
            })?;
            if held.next.is_none() && first + 1 < mounts {
                held.next = Some(base + (1 << INDEX_BITS));
            }
            return Ok(held);
        }
        (first, index) = (first + 1, 0);
    }
    Ok(Held::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::convert::Infallible;

    const NODE: CapFacts = facts(tag::CNODE, 7);

    const fn facts(tag: u8, size_bits: u8) -> CapFacts {
        CapFacts { tag, rights: 0, size_bits, device: false, address: 0, word: 0, mapping: CapMapping::None }
    }

    fn all(ask: impl Fn(u32) -> Held) -> Vec<Run> {
        let (mut runs, mut from) = (Vec::new(), Some(0));
        while let Some(slot) = from {
            let held = ask(slot);
            assert!(held.next.is_none_or(|next| next > slot), "it goes on");
            runs.extend(held.runs);
            from = held.next;
        }
        runs
    }

    #[test]
    fn each_slot_is_told_once() {
        // Frames in all even slots: none is another's neighbour.
        let describe = |slot: u32| -> Result<CapFacts, Infallible> {
            let address = u64::from(slot) << 12;
            Ok(if slot.is_multiple_of(2) {
                CapFacts { address, ..facts(tag::FRAME, 12) }
            } else {
                facts(0, 0)
            })
        };
        let runs = all(|from| flat(from, 1000, describe).unwrap());
        assert_eq!(runs.len(), 500);
        assert!(runs.iter().enumerate().all(|(n, run)| run.slot as usize == 2 * n && run.count == 1));
    }

    #[test]
    fn both_levels_are_gone_through() {
        let mount = |n: u32| -> Result<CapFacts, Infallible> {
            Ok(if n == 0 || n == 5 { NODE } else { facts(0, 0) })
        };
        let describe = |slot: u32| -> Result<CapFacts, Infallible> {
            assert!(slot & 0xffff < 128, "{slot:#x} is in no CNode");
            Ok(CapFacts { address: u64::from(slot) << 21, ..facts(tag::FRAME, 21) })
        };
        let runs = all(|from| two_levels(from, 64, mount, describe).unwrap());
        let slots: Vec<_> = runs.iter().map(|run| (run.slot, run.count)).collect();
        assert_eq!(slots, [(0, 64), (64, 64), (0x5_0000, 64), (0x5_0040, 64)]);
        assert_eq!(two_levels(64 << 16, 64, mount, describe), Ok(Held::default()));
        assert_eq!(two_levels(u32::MAX, 64, mount, describe), Ok(Held::default()));
    }

    #[test]
    fn what_hides_its_slots_stands_for_itself() {
        let mount = |n: u32| match n {
            0 => Ok(NODE),
            1 => Ok(CapFacts { address: 0x5000, ..NODE }),
            2 => Ok(facts(tag::THREAD, 0)),
            _ => Ok(facts(0, 0)),
        };
        let describe = |slot: u32| if slot < 1 << 16 { Ok(facts(tag::REPLY, 0)) } else { Err("guard") };
        let runs = all(|from| two_levels(from, 64, mount, describe).unwrap());
        let seen: Vec<_> = runs.iter().skip(128).map(|run| (run.slot, run.tag)).collect();
        assert_eq!(seen, [(0x1_0000, tag::CNODE), (0x2_0000, tag::THREAD)]);
    }

    #[test]
    fn handlers_follow_their_numbers() {
        let describe = |slot: u32| -> Result<CapFacts, Infallible> {
            Ok(CapFacts { word: 20 + u64::from(slot), ..facts(tag::IRQ_HANDLER, 0) })
        };
        let runs = all(|from| flat(from, 5, describe).unwrap());
        assert_eq!((runs.len(), runs[0].count, runs[0].word), (1, 5, 20));
    }
}
