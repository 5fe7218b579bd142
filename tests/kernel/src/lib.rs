// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel's test images share: the machine, an environment that each check gets fresh, threads.
#![no_std]

pub mod edu;
pub mod env;
pub mod failure;
pub mod machine;
pub mod measure;
pub mod random;
pub mod run;
pub mod space;
pub mod thread;

pub use env::Env;
pub use failure::{Failure, Outcome, expect_error, expect_reply};
pub use thread::{Me, Thread, cell};
