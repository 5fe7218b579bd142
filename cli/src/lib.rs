// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tool `postern` does, as a library, so that the end-to-end tests build and run systems in the same way.
//!
//! * [`source`]: a description's file with everything it names on this host;
//! * [`image`]: description in, boot image out ([`toolchain`], [`elf`] and [`report`] help);
//! * [`qemu`]: the emulated machine's command line;
//! * [`run`]: an image in that machine, its log on the terminal ([`log`] splits it).
#![forbid(unsafe_code)]

pub mod console;
pub mod elf;
pub mod fetch;
pub mod image;
pub mod inspect;
pub mod iso;
pub mod log;
pub mod qemu;
pub mod report;
pub mod run;
pub mod snapshot;
pub mod source;
pub mod toolchain;
pub mod workspace;
