// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting behind many others.

use kernel_tests::env::HIGH;
use kernel_tests::{Env, Outcome};
use sel4::cap;

use crate::crowd::{Act, Crowd};

kernel_tests::checks! {
    one_of_higher_priority_after_many,
}

/// Threads that wait.
const MANY: usize = 1500;

fn one_of_higher_priority_after_many(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    Crowd::start(env, MANY, |i| Act::send(HIGH + (i / 2) as u64 % 100, endpoint)).map(drop)
}
