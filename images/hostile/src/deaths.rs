// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kills parts, where the hypervisor was built for that test, and sees whether this guest's own time goes on.

use guest_runtime::checks::Checks;
use guest_runtime::{cmdline, cpu, println, time};

/// The port of such a hypervisor: the client in bits 0 to 15, how it dies in bits 16 and 17. Read: 0 if that was done.
const PORT: u16 = 0xdea;
/// Kills; false if nobody was killed.
fn kill(word: u32) -> bool {
    // SAFETY: elsewhere nothing listens there.
    unsafe { cpu::out32(PORT, word) };
    cpu::in32(PORT) == 0
}

/// Nanoseconds between two deaths.
const PAUSE: u64 = 150_000_000;

/// Words of `line`: `of=CLIENT` whom, `how=N,N…` how, one after the other, `times=N` all of it so often; `then=CLIENT` dies at the end, of a
/// fault: that may be this guest's own VMM.
pub fn run(line: &str, checks: &mut Checks) {
    let number = |key, default| cmdline::value(line, key).and_then(cmdline::number).unwrap_or(default);
    let (of, times) = (number("of", 0), number("times", 1));
    let hows = cmdline::value(line, "how").unwrap_or("0");
    let mut deaths = 0;
    for _ in 0..times {
        for how in hows.split(',').filter_map(cmdline::number) {
            // As long as the death before hasn't come it is refused.
            while !kill((how << 16 | of) as u32) {
                time::sleep_until(time::now() + PAUSE / 10);
            }
            // The first deadline may be what it dies of.
            time::sleep_until(time::now() + PAUSE / 2);
            time::sleep_until(time::now() + PAUSE / 2);
            deaths += 1;
            println!("hostile: death {deaths} is over");
        }
    }
    checks.report("deaths", Ok::<(), &str>(()));
    if let Some(last) = cmdline::value(line, "then").and_then(cmdline::number) {
        println!("hostile: client {last:#x} dies");
        while !kill((1 << 16 | last) as u32) {
            time::sleep_until(time::now() + PAUSE / 10);
        }
    }
}
