// SPDX-License-Identifier: MIT OR Apache-2.0
//! `vmm-server`: one virtual machine. Its one thread is the guest's one CPU.
//!
//! - What a guest does ends in a result, an exception for the guest, or the guest's end; never in a panic.
//! - What an exit *means* is decided in `vmm-devices`, on the host tested; here is who is asked for it.
//! - An exit is answered by one system call: the guest's registers stay in the IPC buffer where the exit left them. So nothing
//!   between an exit and the next entry sends or receives more than the ten words before them, unless the registers don't matter any more
//!   or are put back (`look`).
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

mod access;
mod clock;
mod cpu;
#[cfg(feature = "deaths")]
mod deaths;
mod device;
mod devices;
mod end;
mod exit;
mod instructions;
mod look;
mod nested;
mod ports;
mod ram;
mod registers;
mod run;
mod start;
mod vm;

component::main!(start::main);
