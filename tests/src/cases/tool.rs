// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tool and the makefile: exit codes, messages, the ISO, the image's reproducibility.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::build;
use crate::machine::{LIMIT, Machine};
use crate::runner::{Case, Outcome, with};
use crate::transcript::Transcript;

pub(super) const CASES: &[Case] = &[
    Case::new("tool::errors_are_shown_at_once_and_fail", errors),
    Case::new("tool::every_example_is_accepted", examples),
    Case::new("tool::a_port_in_use_is_said_before_building", port_in_use),
    Case::new("tool::make_run_serves_the_page_and_ends_by_itself", make_run),
    Case::new("tool::make_run_fails_if_no_page_is_served", make_run_without_page),
    Case::new("tool::make_run_ends_with_its_last_guest", make_run_without_network),
    Case::new("tool::ctrl_c_ends_the_run", ctrl_c),
    Case::new("tool::inspect_shows_what_a_running_machine_answers", inspect),
    Case::new("tool::log_dir_has_a_file_for_each_speaker", log_dir),
    Case::new("iso::hello_boots_from_the_iso", iso),
    Case::new("tool::the_image_is_reproducible", reproducible),
];

fn postern(arguments: &[&str]) -> Result<Output, String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["run", "--quiet", "--release", "--package", "postern-cli", "--bin", "postern", "--"]);
    run(command.args(arguments))
}

fn make(arguments: &[&str]) -> Result<Output, String> {
    run(Command::new("make").arg("--silent").args(arguments))
}

fn run(command: &mut Command) -> Result<Output, String> {
    command.current_dir(build::workspace()?.root).stdin(Stdio::null());
    command.output().map_err(|error| format!("{command:?}: {error}"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn code(output: &Output, wanted: i32) -> Outcome {
    if output.status.code() == Some(wanted) {
        return Ok(());
    }
    Err(format!("ended with {} instead of {wanted}:\n{}", output.status, text(output)))
}

fn contains(output: &Output, wanted: &str) -> Outcome {
    let text = text(output);
    if text.contains(wanted) { Ok(()) } else { Err(format!("`{wanted}` is missing in:\n{text}")) }
}

fn errors() -> Outcome {
    let file = std::env::temp_dir().join(format!("postern-{}-errors.toml", std::process::id()));
    let description =
        "[system]\nname = \"x\"\n[[vm]]\nname = \"a\"\nimage = \"images/nothing\"\nmemroy = \"64M\"\n";
    fs::write(&file, description).map_err(|error| error.to_string())?;
    let output = postern(&["check", &file.display().to_string()])?;
    fs::remove_file(&file).map_err(|error| error.to_string())?;
    code(&output, 1)?;
    contains(&output, ":6:1: error: unknown key `memroy` in [[vm]]")?;
    contains(&output, "did you mean `memory`?")?;
    contains(&output, ":3:1: error: [[vm]] has no `memory`")?;
    contains(&output, ":5:9: error: there is no image `images/nothing`")?;
    contains(&output, "3 errors")?;
    contains(&postern(&["--version"])?, concat!("postern ", env!("CARGO_PKG_VERSION")))?;
    code(&postern(&["check", "/nonexistent.toml"])?, 1)?;
    code(&postern(&["frobnicate"])?, 2)
}

fn examples() -> Outcome {
    let folder = build::workspace()?.root.join("systems");
    let entries = fs::read_dir(&folder).map_err(|error| error.to_string())?;
    let mut count = 0;
    for file in entries.flatten().map(|entry| entry.path()) {
        if file.extension().is_some_and(|extension| extension == "toml") {
            let output = postern(&["check", &file.display().to_string()])?;
            code(&output, 0).and(contains(&output, "no errors"))?;
            count += 1;
        }
    }
    if count >= 3 { Ok(()) } else { Err(format!("only {count} examples in {}", folder.display())) }
}

fn port_in_use() -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port().to_string();
    let output = make(&["run", &format!("PORT={port}"), "TIMEOUT=1"])?;
    if output.status.success() {
        return Err(format!("`make run` succeeded:\n{}", text(&output)));
    }
    contains(&output, &format!("port {port} is in use"))?;
    if text(&output).contains("postern: using") {
        return Err(format!("something was built first:\n{}", text(&output)));
    }
    let output = postern(&["run", "systems/web.toml", "--fetch", "--port", &port, "--timeout", "1"])?;
    code(&output, 1).and(contains(&output, &format!("port {port} is in use")))
}

fn make_run() -> Outcome {
    let port = build::free_port()?;
    build::system("systems/web.toml")?;
    let start = Instant::now();
    let output = make(&["run", &format!("PORT={port}"), "TIMEOUT=30"])?;
    code(&output, 0)?;
    contains(&output, "GET / was answered with status 200")?;
    contains(&output, &format!("http://127.0.0.1:{port}/"))?;
    contains(&output, "[web] ")?;
    contains(&output, "[hello] ")?;
    // It has to run on until the time is up, and no longer.
    let seconds = start.elapsed();
    if seconds < Duration::from_secs(30) { Err(format!("it ended after {seconds:?}")) } else { Ok(()) }
}

fn make_run_without_page() -> Outcome {
    let port = build::free_port()?;
    let system = "SYSTEM=tests/systems/http-elsewhere.toml";
    let output = make(&["run", system, &format!("PORT={port}"), "TIMEOUT=20"])?;
    contains(&output, "[web] http: listening")?;
    contains(&output, "the page was not served")?;
    if output.status.success() { Err("`make run` succeeded".into()) } else { Ok(()) }
}

/// There is nothing to fetch, and the machine turns itself off when its guest has ended.
fn make_run_without_network() -> Outcome {
    let output = make(&["run", "SYSTEM=systems/hello.toml", "TIMEOUT=600"])?;
    code(&output, 0)?;
    contains(&output, "[hello] hello: second 10 of 10")
}

/// The tool's program, freshly built.
fn built_tool() -> Result<PathBuf, String> {
    code(&postern(&["--version"])?, 0)?;
    Ok(std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("postern"))
}

fn ctrl_c() -> Outcome {
    let port = build::free_port()?.to_string();
    // QEMU is gone with it: the port that it held is free.
    match (
        run_until_ctrl_c(&port, |_| Ok(()))?,
        TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse().unwrap_or(0))),
    ) {
        (Some(0), Ok(_)) => Ok(()),
        (code, bound) => Err(format!("it ended with {code:?}; the port: {bound:?}")),
    }
}

/// Runs systems/web.toml with the tool; once the guest listens, does `meanwhile` with the tool's program, then ends it. Its exit code.
fn run_until_ctrl_c(port: &str, meanwhile: impl FnOnce(&Path) -> Outcome) -> Result<Option<i32>, String> {
    // Without cargo in between, which would take the signal itself.
    let program = built_tool()?;
    build::system("systems/web.toml")?;
    let mut command = Command::new(&program);
    command.args(["run", "systems/web.toml", "--port", port]).current_dir(build::workspace()?.root);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
    let stdout = Transcript::of(child.stdout.take().ok_or("no output")?);
    let outcome = stdout.wait(0, LIMIT, |line| line.contains("[web] http: listening")).map_err(str::to_owned);
    let outcome = outcome.and_then(|_| meanwhile(&program)).and_then(|()| {
        // The shell's own `kill`: not every machine has a program of that name.
        run(Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]))?;
        stdout.wait_end(LIMIT).map_err(str::to_owned)
    });
    if outcome.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    outcome.map(|()| status.code())
}

fn inspect() -> Outcome {
    let port = build::free_port()?.to_string();
    let ended = run_until_ctrl_c(&port, |program| {
        let ask = |command: &[&str]| {
            run(Command::new(program).args(["inspect", "systems/web.toml", "--timeout", "120"]).args(command))
        };
        let objects = |command: &[&str]| {
            let output = ask(command)?;
            code(&output, 0)?;
            serde_json::from_slice::<Vec<Value>>(&output.stdout)
                .map_err(|error| format!("{error}: {}", text(&output)))
        };
        let devices = objects(&["devices"])?;
        if !devices.iter().any(|device| device["owner"] == "web" && device["state"] == "attached") {
            return Err(format!("no device of web: {devices:?}"));
        }
        let exits = objects(&["exits", "web"])?;
        if exits.len() != 1 || exits[0]["exits"]["cpuid"].as_u64().is_none_or(|count| count == 0) {
            return Err(format!("exits of web: {exits:?}"));
        }
        let wrong = ask(&["exits", "nobody"])?;
        code(&wrong, 1).and(contains(&wrong, "postern: no VM has this name"))
    })?;
    if ended != Some(0) {
        return Err(format!("the run ended with {ended:?}"));
    }
    // It has taken its socket along.
    let nobody = postern(&["inspect", "systems/web.toml", "vms"])?;
    code(&nobody, 1).and(contains(&nobody, "build/web/console: "))
}

fn log_dir() -> Outcome {
    let folder = std::env::temp_dir().join(format!("postern-{}-logs", std::process::id()));
    let shown = folder.display().to_string();
    let output = postern(&["run", "systems/hello.toml", "--timeout", "25", "--log-dir", &shown])?;
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let (kernel, root, hello) = (read("kernel.log"), read("root-task.log"), read("hello.log"));
    let _ = fs::remove_dir_all(&folder);
    code(&output, 0)?;
    if kernel.is_empty() || root.is_empty() || hello.is_empty() || hello.contains("[hello]") {
        return Err(format!("kernel.log:\n{kernel}\nroot-task.log:\n{root}\nhello.log:\n{hello}"));
    }
    Ok(())
}

fn iso() -> Outcome {
    let file = std::env::temp_dir().join(format!("postern-{}.iso", std::process::id()));
    let shown = file.display().to_string();
    let output = make(&["iso", "SYSTEM=systems/hello.toml", &format!("ISO={shown}")])?;
    code(&output, 0)?;
    let mut arguments = postern_cli::qemu::Machine::default().arguments();
    arguments.extend(["-boot".into(), "d".into(), "-cdrom".into(), shown]);
    let outcome = with(Machine::start(&arguments)?, |machine| {
        machine.expect("[kernel] ")?;
        machine.expect("[hello] ")?;
        Ok(())
    });
    let _ = fs::remove_file(&file);
    outcome
}

/// Builds the same files in another folder. That takes minutes, so it comes last.
fn reproducible() -> Outcome {
    let here = build::workspace()?;
    let folder =
        std::env::temp_dir().join(format!("postern-{}-elsewhere/with a longer name", std::process::id()));
    copy(&here.root, &folder, true).map_err(|error| format!("copying: {error}"))?;
    let tool = built_tool()?;
    let build = |root: &Path| {
        let mut command = Command::new(&tool);
        command.args(["build", "systems/web.toml", "--output", "build/reproducible"]);
        command.current_dir(root).stdin(Stdio::null());
        if root != here.root {
            // Its own target folder as well: paths of generated files must leave no trace either.
            command.env_remove("CARGO_TARGET_DIR");
        }
        let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
        code(&output, 0)
    };
    let result = build(&here.root).and_then(|()| build(&folder)).and_then(|()| {
        for name in ["kernel.elf", "root-task.elf", "report.txt"] {
            let read = |root: &Path| {
                let file = root.join("build/reproducible").join(name);
                fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))
            };
            let (left, right) = (read(&here.root)?, read(&folder)?);
            if left != right {
                let at = left.iter().zip(&right).position(|(left, right)| left != right);
                return Err(format!(
                    "{name} differs: {} and {} bytes, first at {at:?}",
                    left.len(),
                    right.len()
                ));
            }
        }
        Ok(())
    });
    let _ = fs::remove_dir_all(folder.parent().unwrap_or(&folder));
    result
}

/// Copies a tree without what was built and without version control.
fn copy(from: &Path, to: &Path, top: bool) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if top && (name == "target" || name == "build" || name == ".git") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(name), false)?;
        } else {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}
