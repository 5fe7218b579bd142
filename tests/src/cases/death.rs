// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parts that die: killed by a word to the root task, by a fault at once, and by a fault with a client's request in their hands. The
//! other guests go on, the part is there again, and nothing is lost.

use std::time::Duration;

use postern_cli::fetch;

use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("death::console_server_dies_and_the_log_goes_on", console),
    Case::new("death::timer_server_dies_and_deadlines_are_kept", timer),
];

/// What a guest needs to kill parts.
const FEATURES: &[&str] = &["root-task/deaths", "vmm-server/deaths"];
/// How long a page may take.
const LIMIT: Duration = Duration::from_secs(60);
/// In what ways the part dies, each so often.
const WAYS: usize = 3;
const TIMES: usize = 4;

fn console() -> Outcome {
    dies("death-console", "console-server", |_| Ok(()))
}

fn timer() -> Outcome {
    dies("death-timer", "timer-server", |machine| {
        // Whoever asked when it died was told so.
        machine.expect_anywhere("vmm: timer-server took no deadline: Refused(Restarted)").map(drop)
    })
}

/// After each death the web server answers, the killer's own time goes on, and as much memory and as many slots are free as before.
fn dies(name: &str, part: &str, and: impl FnOnce(&mut Machine) -> Outcome) -> Outcome {
    let system = build::system_with_features(name, FEATURES)?;
    with(Machine::start(&system.arguments())?, |machine| {
        let mut free = None;
        let mut listening = false;
        for death in 1..=WAYS * TIMES {
            machine.expect(&format!("[root-task] {part} has failed: {}", reason(death)))?;
            let line =
                machine.expect(&format!("[root-task] {part}: started again ({death} times so far): "))?;
            let counts = line.rsplit("): ").next().unwrap_or_default().to_owned();
            if *free.get_or_insert_with(|| counts.clone()) != counts {
                return Err(format!("something is lost: first `{free:?}`, later `{counts}`"));
            }
            if !listening {
                machine.expect_anywhere("[web] http: listening on http://10.0.2.15")?;
                listening = true;
            }
            let response = fetch::get(system.port, "/", LIMIT)?;
            if response.status != 200 {
                return Err(format!("after death {death} the web server says {}", response.status));
            }
            machine.expect_anywhere(&format!("[killer] hostile: death {death} is over"))?;
        }
        machine.expect_anywhere("[killer] test deaths ... ok")?;
        machine.expect_anywhere("[root-task] vm killer: ended: power-off, code 0")?;
        machine.refute("[root-task] vm web: ended")?;
        machine.refute("lines lost")?;
        and(machine)
    })
}

/// What the root task says of death number `death`.
fn reason(death: usize) -> &'static str {
    if death % WAYS == 1 { "killed by a test" } else { "page fault at 0x0: execution of 0x0" }
}
