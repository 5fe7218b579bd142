// SPDX-License-Identifier: MIT OR Apache-2.0
//! For tests: a guest's word that kills a part. Not in an image that `postern build` makes.
use protocol::supervisor::{Death, Kill};

/// Where the guest writes it: the client in bits 0 to 15, how it dies in bits 16 and 17. It reads there whether that was done: 0, or 1.
pub const PORT: u16 = 0xdea;

/// Asks the root task for it.
pub fn kill(word: u32) -> u32 {
    let death = match word >> 16 {
        0 => Death::Stopped,
        1 => Death::Fault,
        2 => Death::Request,
        _ => Death::Call,
    };
    let kill = Kill { client: u64::from(word & 0xffff), death };
    component::call(component::slot::SUPERVISOR, &kill).is_err().into()
}
