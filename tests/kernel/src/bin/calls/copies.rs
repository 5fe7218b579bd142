// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which capabilities can be copied, by kind and state.

use kernel_tests::env::at;
use kernel_tests::{Env, Failure, Outcome, check_eq};
use sel4::abi::label;
use sel4::{CapMapping, cap_type};
use sel4_root_task::println;

use crate::judge::answer;
use crate::table::{DONE, Gives, ILLEGAL, REVOKE_FIRST, missing};
use crate::things::{DEPTH, FREE, THINGS, Thing};
use crate::world::World;

/// The answer to `CNode_Copy`.
const fn gives(thing: Thing) -> Gives {
    match thing {
        Thing::Nothing => missing(true, 64),
        Thing::UsedUntyped => REVOKE_FIRST,
        Thing::IrqControl | Thing::PortControl => ILLEGAL,
        // Without an identifier, or not mapped.
        Thing::RawPml4 | Thing::RawEptPml4 => ILLEGAL,
        Thing::Pdpt | Thing::OtherPdpt | Thing::Directory | Thing::OtherDirectory => ILLEGAL,
        Thing::Table | Thing::OtherTable => ILLEGAL,
        Thing::EptPdpt | Thing::OtherEptPdpt | Thing::EptDirectory | Thing::OtherEptDirectory => ILLEGAL,
        Thing::EptTable | Thing::OtherEptTable => ILLEGAL,
        Thing::IoTable | Thing::OtherIoTable | Thing::ThirdIoTable => ILLEGAL,
        _ => DONE,
    }
}

/// Copies everything, and sees that a copy is for the same object.
pub fn judge(env: &mut Env) -> Outcome {
    let world = World::new(env)?;
    let mut wrong = 0;
    for thing in THINGS {
        let source = at(world.cap::<cap_type::Unspecified>(*thing));
        let words = [FREE, DEPTH, world.address(*thing), 64, 15];
        let root = [world.address(Thing::OwnCNode)];
        let got = answer(world.cap(Thing::CNode), label::CNODE_COPY, &words, &root);
        if got != Some(gives(*thing)) {
            wrong += 1;
            println!("copy of {thing:?}: {got:x?} instead of {:x?}", gives(*thing));
        } else if got == Some(DONE) {
            let (original, copy) = (source.describe()?, world.slot(FREE).describe()?);
            check_eq!(
                (copy.tag, copy.address, copy.word),
                (original.tag, original.address, original.word),
                "a copy"
            );
            let is_frame = copy.tag == sel4::abi::object::tag::FRAME;
            check_eq!(
                !is_frame || copy.mapping == CapMapping::None,
                true,
                "a frame's copy is mapped nowhere"
            );
            world.slot(FREE).delete()?;
        }
    }
    if wrong == 0 { Ok(()) } else { Err(Failure::new(format_args!("{wrong} copies are wrong"))) }
}
