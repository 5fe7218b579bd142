// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs an image in QEMU with its log on the terminal.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::console::Console;
use crate::fetch;
use crate::log::{self, Splitter};
use crate::qemu;

/// What a guest's line contains when it serves HTTP.
pub const LISTENING: &str = "listening on";
/// How long the one request of `run --fetch` may take.
const FETCH_LIMIT: Duration = Duration::from_secs(60);

/// Choices of a run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// End after so long.
    pub timeout: Option<Duration>,
    /// A folder for one log file per speaker.
    pub log_folder: Option<PathBuf>,
    /// Where to make the console's socket.
    pub console: Option<PathBuf>,
    /// Fetch `/` from this port of the host once a guest listens.
    pub fetch: Option<u16>,
}

/// How a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the page was served; `None` if nobody asked for it.
    pub served: Option<bool>,
    /// Whether QEMU ended by itself with an error.
    pub failed: bool,
}

enum Event {
    Line(String),
    Fetched(Result<fetch::Response, String>),
    Interrupted,
    Ended,
}

/// Runs QEMU with `arguments` (without those of the serial port) until it ends, the time is up, or Ctrl-C.
///
/// # Errors
/// A sentence, if QEMU can't be started or a log can't be written.
pub fn run(arguments: &[String], options: &Options) -> Result<Outcome, String> {
    let (sender, events) = mpsc::channel();
    let interrupted = sender.clone();
    ctrlc::set_handler(move || {
        let _ = interrupted.send(Event::Interrupted);
    })
    .map_err(|error| format!("Ctrl-C can't be caught: {error}"))?;

    let mut splitter = match &options.log_folder {
        Some(folder) => {
            Some(Splitter::new(folder).map_err(|error| format!("{}: {error}", folder.display()))?)
        }
        None => None,
    };
    let mut child = start(arguments)?;
    read_lines(&mut child, sender.clone())?;
    show_errors(&mut child);
    let console = open_console(&mut child, options);
    let result = watch(&events, &sender, options, splitter.as_mut(), console.as_ref());
    let ended = child.try_wait().ok().flatten();
    if ended.is_none() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| format!("QEMU: {error}"))?;
    let served = result?;
    Ok(Outcome { served, failed: ended.is_some() && !status.success() })
}

fn start(arguments: &[String]) -> Result<Child, String> {
    let mut command = Command::new(qemu::PROGRAM);
    command.args(arguments).args(["-serial", "stdio", "-monitor", "none"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| {
        format!("{} can't be started ({error}): install qemu-system-x86, or run `make setup`", qemu::PROGRAM)
    })
}

/// Without the socket the machine runs as well.
fn open_console(child: &mut Child, options: &Options) -> Option<Console> {
    let (path, input) = (options.console.as_ref()?, child.stdin.take()?);
    let opened = Console::open(path, input);
    opened.map_err(|error| eprintln!("postern: no `postern inspect` here: {}: {error}", path.display())).ok()
}

/// Shows what QEMU itself says, but not what its processor model lacks of the real one: nine lines at every start.
fn show_errors(child: &mut Child) {
    if let Some(stderr) = child.stderr.take() {
        thread::spawn(move || {
            let lines = BufReader::new(stderr).lines().map_while(Result::ok);
            for line in lines.filter(|line| !line.contains("TCG doesn't support requested feature")) {
                eprintln!("{}", log::printable(&line));
            }
        });
    }
}

fn read_lines(child: &mut Child, sender: Sender<Event>) -> Result<(), String> {
    let stdout = child.stdout.take().ok_or("QEMU has no output")?;
    thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
            if sender.send(Event::Line(text)).is_err() {
                return;
            }
            line.clear();
        }
        let _ = sender.send(Event::Ended);
    });
    Ok(())
}

/// Shows the log until there is a reason to end. Gives whether the page was served.
fn watch(
    events: &Receiver<Event>,
    sender: &Sender<Event>,
    options: &Options,
    mut splitter: Option<&mut Splitter>,
    console: Option<&Console>,
) -> Result<Option<bool>, String> {
    let deadline = options.timeout.map(|timeout| Instant::now() + timeout);
    let mut served = options.fetch.map(|_| false);
    let mut asked = false;
    loop {
        let event = match deadline {
            Some(deadline) => match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => return Ok(served),
                event => event.map_err(|_| "the log ended")?,
            },
            None => events.recv().map_err(|_| "the log ended")?,
        };
        match event {
            Event::Line(line) => {
                println!("{}", log::printable(&line));
                if let Some(console) = console {
                    console.show(&line);
                }
                if let Some(splitter) = splitter.as_mut() {
                    splitter.write(&line).map_err(|error| format!("the log files: {error}"))?;
                }
                if let Some(port) = options.fetch.filter(|_| !asked && line.contains(LISTENING)) {
                    asked = true;
                    let sender = sender.clone();
                    thread::spawn(move || {
                        let _ = sender.send(Event::Fetched(fetch::get(port, "/", FETCH_LIMIT)));
                    });
                }
            }
            Event::Fetched(Ok(response)) => {
                show(&response, options.fetch.unwrap_or_default());
                served = Some(response.status == 200);
            }
            Event::Fetched(Err(error)) => eprintln!("postern: {error}"),
            Event::Interrupted | Event::Ended => return Ok(served),
        }
    }
}

fn show(response: &fetch::Response, port: u16) {
    println!(
        "postern: GET / was answered with status {} and {} bytes:",
        response.status,
        response.body.len()
    );
    for line in String::from_utf8_lossy(&response.body).lines() {
        println!("    {}", log::printable(line));
    }
    println!("postern: open http://127.0.0.1:{port}/ -- Ctrl-C ends");
}
