// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runtime of every part but the root task: entry, start page, log, calls, the serving loop, device registers.
//!
//! All `unsafe` of the parts is here. What a part can name (a [`Region`](mmio::Region), [`GuestMemory`]) is made from
//! the start page's ranges only, which the root task wrote.
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//! #![forbid(unsafe_code)]
//! component::main!(main);
//! fn main(mut part: component::Part) -> ! {
//!     component::log!("hello from {}", part.name());
//!     component::ready();
//!     component::serve(&mut MyServer::new(&part))
//! }
//! ```
#![cfg_attr(not(test), no_std)]

pub mod cpu;
pub mod entry;
mod guest_memory;
pub mod ipc;
pub mod log;
pub mod memory;
pub mod mmio;
mod part;
mod serve;
pub mod slots;
mod vspace;

pub use guest_memory::GuestMemory;
pub use ipc::{call, exit, ready, refuse};
pub use memory::Memory;
pub use part::{Part, slot};
pub use protocol;
pub use sel4;
pub use serve::{Answer, Message, Server, serve, wait};
pub use slots::Slots;
