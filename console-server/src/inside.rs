// SPDX-License-Identifier: MIT OR Apache-2.0
//! The root task, which knows the inside or has others asked. It answers at once.

use component::slot;
use console_server::look::Inside;
use protocol::look::ask::{Ask, GetShown, Question, Shown};
use protocol::look::guest::{DescribeVm, Vm};
use protocol::look::{Held, ListHeld};

/// The root task.
pub struct Asked;

impl Inside for Asked {
    fn held(&mut self, ask: ListHeld) -> Option<Held> {
        component::call(slot::SUPERVISOR, &ask).ok()
    }

    fn vm(&mut self, vm: u16) -> Option<Vm> {
        component::call(slot::SUPERVISOR, &DescribeVm { vm }).ok()
    }

    fn ask(&mut self, part: u8, question: Question) -> bool {
        component::call(slot::SUPERVISOR, &Ask { part, question }).is_ok()
    }

    fn shown(&mut self) -> Shown {
        component::call(slot::SUPERVISOR, &GetShown).unwrap_or(Shown::Gone)
    }
}
