// SPDX-License-Identifier: MIT OR Apache-2.0
//! Drives QEMU's `edu` device: registers, DMA and messages of a passed-through function, tested from inside the guest. Words of the
//! command line choose what to do: `self` (the default), `line`, `round`, `storm`, `bench`, `flood-to=ADDRESS`, `dma-to=ADDRESS`, `dma-from=ADDRESS`, `dma-start`, `gone`, `scan-to=ADDRESS`, `rewrite`, `msi-handle=HANDLE`, `sleep=MS`, `triple-fault`,
//! `watch`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod attack;
mod bench;
mod device;
mod line;
mod rewrite;
mod selftest;

use device::Edu;
use guest_runtime::checks::Checks;
use guest_runtime::{boot, cmdline, irq, println, time};

guest_runtime::entry!(main);

/// The exit code where there is no device, or a word isn't understood.
const UNUSABLE: u32 = 2;

fn main() -> u32 {
    let edu = match Edu::find() {
        Ok(edu) => edu,
        Err(why) => {
            println!("edu: {why}");
            return UNUSABLE;
        }
    };
    println!("edu: device {} with identification {:#010x}", edu.function().address(), edu.identification());

    let mut checks = Checks::new();
    let line = boot::command_line();
    let words = if line.trim().is_empty() { "self" } else { line };
    for word in words.split_ascii_whitespace() {
        if !command(&edu, word, &mut checks) {
            println!("edu: \"{word}\" is no command");
            return UNUSABLE;
        }
    }
    checks.finish()
}

/// Obeys a word; `false` if it has no meaning.
fn command(edu: &Edu, word: &str, checks: &mut Checks) -> bool {
    let number = |key| cmdline::value(word, key).and_then(cmdline::number);
    if word == "self" {
        selftest::run(edu, checks);
    } else if word == "line" {
        line::run(edu, checks);
    } else if word == "storm" {
        attack::storm(edu);
    } else if word == "round" {
        selftest::round(edu, checks);
    } else if word == "bench" {
        bench::run(edu);
        checks.report("bench", Ok::<(), &str>(()));
    } else if word == "gone" {
        attack::gone(edu, checks);
    } else if word == "rewrite" {
        rewrite::run(edu, checks);
    } else if let Some(end) = number("scan-to") {
        attack::scan(edu, end, checks);
    } else if word == "dma-start" {
        attack::start(edu, checks);
    } else if word == "triple-fault" {
        guest_runtime::exit::shut_down();
    } else if word == "watch" {
        watch();
    } else if let Some(address) = number("dma-to") {
        attack::write(edu, address, checks);
    } else if let Some(address) = number("flood-to") {
        attack::flood(edu, address, checks);
    } else if let Some(address) = number("dma-from") {
        attack::read(edu, address, checks);
    } else if let Some(milliseconds) = number("sleep") {
        time::sleep_until(time::now() + milliseconds * 1_000_000);
    } else if let Some(handle) = number("msi-handle").and_then(|handle| u16::try_from(handle).ok()) {
        attack::foreign_handle(edu, handle, checks);
    } else {
        return false;
    }
    true
}

/// Says how often the handler has run, whenever it has; never ends. The device is driven by somebody else.
fn watch() -> ! {
    let mut seen = 0;
    println!("edu: watching");
    loop {
        let runs = device::runs();
        if runs != seen {
            seen = runs;
            println!("edu: {seen} runs of the handler");
        }
        irq::wait();
    }
}
