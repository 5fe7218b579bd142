// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel image. Everything is in the library, which the host can test.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]

#[cfg(target_os = "none")]
use postern_kernel as _;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the kernel runs on the machine itself: build it for x86_64-unknown-none");
}
