// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a VMM can do where somebody wants to look at its guest.

use component::{Part, log, slot};
use protocol::look::ask::{GetShown, Question, Show, View, WhatIsAsked};
use protocol::look::device::Devices;
use protocol::look::guest::{DescribeVm, Exits};
use protocol::look::{ListHeld, ask::Ask};
use protocol::start::signal;

/// Is ready, and never answers.
pub fn silent() -> ! {
    component::ready();
    loop {
        if component::wait() & signal::VMM_LOOK != 0 {
            log!("silent: somebody wants to look");
        }
    }
}

/// Shows what it isn't asked for, asks what isn't its to ask, and at last answers as it likes.
pub fn liar(part: &Part) -> ! {
    component::ready();
    let vm = 0;
    let refused = [
        component::call(slot::SUPERVISOR, &ListHeld { part: 0, slot: 0 }).is_err(),
        component::call(slot::SUPERVISOR, &DescribeVm { vm }).is_err(),
        component::call(slot::SUPERVISOR, &Ask { part: 8, question: Question::Exits }).is_err(),
        component::call(slot::SUPERVISOR, &GetShown).is_err(),
        component::call(slot::SUPERVISOR, &WhatIsAsked) == Ok(None),
        component::call(slot::SUPERVISOR, &Show(View::Exits(Exits::default()))).is_err(),
    ];
    log!("liar: refused {refused:?}");
    loop {
        if component::wait() & signal::VMM_LOOK == 0 {
            continue;
        }
        let asked = component::call(slot::SUPERVISOR, &WhatIsAsked);
        let others = component::call(slot::SUPERVISOR, &Show(View::Devices(Devices::default()))).is_err();
        let lie = Exits { reasons: [u64::MAX; 9], dma_faults: u64::MAX, ..Exits::default() };
        let first = component::call(slot::SUPERVISOR, &Show(View::Exits(lie.clone()))).is_ok();
        let second = component::call(slot::SUPERVISOR, &Show(View::Exits(lie))).is_err();
        log!("liar: {:?} {}", [asked == Ok(Some(Question::Exits)), others, first, second], part.name());
    }
}
