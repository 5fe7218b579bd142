// SPDX-License-Identifier: MIT OR Apache-2.0
//! A running QEMU: its log on COM1 as lines to wait for, its monitor, and everything it said if a test fails.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use postern_cli::inspect::{self, Answer};
use postern_cli::qemu;
use serde_json::Value;

use crate::gdb::Debugger;
use crate::qmp::{self, Monitor};
use crate::qtest::Qtest;
use crate::transcript::Transcript;

/// How long a test waits for a line if it says nothing else. Emulation on a busy host is slow.
pub const LIMIT: Duration = Duration::from_secs(240);

/// A machine that runs until it is dropped.
pub struct Machine {
    child: Child,
    /// Lines on COM1.
    pub serial: Transcript,
    /// Lines on QEMU's standard error.
    pub stderr: Transcript,
    /// What is typed on COM1.
    input: ChildStdin,
    monitor: Option<Monitor>,
    listener: UnixListener,
    socket: PathBuf,
    command: String,
    /// Where the next [`Machine::expect`] looks on.
    cursor: usize,
}

impl Machine {
    /// Starts QEMU with these arguments, COM1 and the monitor added.
    ///
    /// # Errors
    /// A sentence, if it can't be started.
    pub fn start(arguments: &[String]) -> Result<Self, String> {
        Self::start_at(&socket_path(), arguments)
    }

    /// Starts QEMU with a test socket as well.
    ///
    /// # Errors
    /// A sentence, if it can't be started or doesn't connect.
    pub fn start_with_qtest(arguments: &[String]) -> Result<(Self, Qtest), String> {
        let socket = socket_path();
        let path = socket.with_extension("qtest");
        let listener = UnixListener::bind(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut arguments = arguments.to_vec();
        arguments.extend(["-qtest".into(), format!("unix:{}", path.display())]);
        arguments.extend(["-qtest-log", "none"].map(String::from));
        let mut machine = Self::start_at(&socket, &arguments)?;
        let stream = qmp::accept(&listener, || matches!(machine.child.try_wait(), Ok(None)));
        let _ = std::fs::remove_file(&path);
        match stream.and_then(Qtest::new) {
            Ok(qtest) => Ok((machine, qtest)),
            Err(error) => Err(format!("{error}\n{}", machine.evidence())),
        }
    }

    /// Starts QEMU stopped before its first instruction, with a debugger.
    ///
    /// # Errors
    /// A sentence, if it can't be started or doesn't connect.
    pub fn start_with_debugger(arguments: &[String], limit: Duration) -> Result<(Self, Debugger), String> {
        let socket = socket_path();
        let path = socket.with_extension("gdb");
        let listener = UnixListener::bind(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut arguments = arguments.to_vec();
        arguments.extend(["-S".into(), "-chardev".into(), format!("socket,id=gdb,path={}", path.display())]);
        arguments.extend(["-gdb", "chardev:gdb"].map(String::from));
        let mut machine = Self::start_at(&socket, &arguments)?;
        let stream = qmp::accept(&listener, || matches!(machine.child.try_wait(), Ok(None)));
        let _ = std::fs::remove_file(&path);
        match stream.and_then(|stream| Debugger::new(stream, limit)) {
            Ok(debugger) => Ok((machine, debugger)),
            Err(error) => Err(format!("{error}\n{}", machine.evidence())),
        }
    }

    fn start_at(socket: &Path, arguments: &[String]) -> Result<Self, String> {
        let (listener, monitor_arguments) = qmp::listen(socket)?;
        let mut command = Command::new(qemu::PROGRAM);
        command.args(arguments).args(["-serial", "stdio"]).args(monitor_arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", qemu::PROGRAM))?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err("QEMU has no input or output".into());
        };
        Ok(Self {
            child,
            serial: Transcript::of(stdout),
            stderr: Transcript::of(stderr),
            input,
            monitor: None,
            listener,
            socket: socket.to_owned(),
            command: format!("{command:?}"),
            cursor: 0,
        })
    }

    /// QEMU's monitor.
    ///
    /// # Errors
    /// A sentence, if QEMU doesn't connect it.
    pub fn monitor(&mut self) -> Result<&mut Monitor, String> {
        if self.monitor.is_none() {
            let child = &mut self.child;
            self.monitor = Some(Monitor::accept(&self.listener, || matches!(child.try_wait(), Ok(None)))?);
        }
        self.monitor.as_mut().ok_or_else(|| "no monitor".into())
    }

    /// Waits for a line that contains `text`, after the one that was expected last; gives the line.
    ///
    /// # Errors
    /// A sentence that says what didn't come.
    pub fn expect(&mut self, text: &str) -> Result<String, String> {
        self.expect_within(text, LIMIT)
    }

    /// [`Machine::expect`] with a time limit of its own.
    ///
    /// # Errors
    /// As there.
    pub fn expect_within(&mut self, text: &str, limit: Duration) -> Result<String, String> {
        let found = self.serial.wait(self.cursor, limit, |line| line.contains(text));
        let (at, line) = found.map_err(|why| format!("no line with `{text}`: {why}"))?;
        self.cursor = at + 1;
        Ok(line)
    }

    /// Waits for a line that contains `text` behind all that there are.
    ///
    /// # Errors
    /// A sentence that says what didn't come.
    pub fn expect_after_all(&mut self, text: &str) -> Result<String, String> {
        self.cursor = self.serial.len();
        self.expect(text)
    }

    /// Waits for a line that contains `text` anywhere in the log, from its beginning; the order doesn't matter.
    ///
    /// # Errors
    /// A sentence that says what didn't come.
    pub fn expect_anywhere(&self, text: &str) -> Result<String, String> {
        let found = self.serial.wait(0, LIMIT, |line| line.contains(text));
        found.map(|(_, line)| line).map_err(|why| format!("no line with `{text}`: {why}"))
    }

    /// Waits for a line that contains all of `texts`, from the log's beginning.
    ///
    /// # Errors
    /// A sentence that says what didn't come.
    pub fn expect_all(&self, texts: &[&str]) -> Result<String, String> {
        let found = self.serial.wait(0, LIMIT, |line| texts.iter().all(|text| line.contains(text)));
        found.map(|(_, line)| line).map_err(|why| format!("no line with all of {texts:?}: {why}"))
    }

    /// Types a line on COM1.
    ///
    /// # Errors
    /// The operating system's.
    pub fn type_in(&mut self, line: &[u8]) -> Result<(), String> {
        let typed = self.input.write_all(line).and_then(|()| self.input.write_all(b"\r"));
        typed.and_then(|()| self.input.flush()).map_err(|error| format!("typing on COM1: {error}"))
    }

    /// Types a command, and gives the objects of its answer, without the last, which says that it is done.
    ///
    /// # Errors
    /// A sentence; the console's own if it says that something is wrong.
    pub fn look(&mut self, command: &str) -> Result<Vec<Value>, String> {
        let from = self.serial.len();
        self.type_in(command.as_bytes())?;
        self.answer(command, from)
    }

    /// The answer to a command that was typed, from a line on.
    fn answer(&self, command: &str, from: usize) -> Result<Vec<Value>, String> {
        let (mut answer, mut at) = (Answer::to(command), from);
        loop {
            let next = self.serial.wait(at, LIMIT, |line| inspect::object(line).is_some());
            let (found, line) = next.map_err(|why| format!("`{command}` isn't answered: {why}"))?;
            match answer.take(&line) {
                Ok(Some(objects)) => return Ok(objects),
                Ok(None) => at = found + 1,
                Err(error) => return Err(format!("`{command}`: {error}")),
            }
        }
    }

    /// [`Machine::look`], after the end of the command before, which was typed and isn't answered: it ends with `error`.
    ///
    /// # Errors
    /// As there.
    pub fn look_after(&mut self, command: &str, error: &str) -> Result<Vec<Value>, String> {
        let from = self.serial.len();
        self.type_in(command.as_bytes())?;
        let ended = self.serial.wait(from, LIMIT, |line| line == format!("[console-server] {error}"));
        let (end, _) = ended.map_err(|why| format!("no end of what was typed before `{command}`: {why}"))?;
        self.answer(command, end + 1)
    }

    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.serial.lines()
    }

    /// Fails if a line so far contains `text`.
    ///
    /// # Errors
    /// The line.
    pub fn refute(&self, text: &str) -> Result<(), String> {
        match self.serial.lines().into_iter().find(|line| line.contains(text)) {
            Some(line) => Err(format!("there must be no line with `{text}`: {line}")),
            None => Ok(()),
        }
    }

    /// Waits until QEMU has ended by itself; gives its exit status.
    ///
    /// # Errors
    /// A sentence, if it runs on.
    pub fn wait_end(&mut self, limit: Duration) -> Result<i32, String> {
        self.serial.wait_end(limit).map_err(|why| format!("the machine runs on: {why}"))?;
        let status = self.child.wait().map_err(|error| format!("QEMU: {error}"))?;
        status.code().ok_or_else(|| "QEMU was killed".into())
    }

    /// The command line, QEMU's remarks and the log: what a failed test shows.
    #[must_use]
    pub fn evidence(&self) -> String {
        let mut out = format!("--- command line\n{}\n--- QEMU's standard error\n", self.command);
        for line in self.stderr.lines() {
            let _ = writeln!(out, "{line}");
        }
        out.push_str("--- COM1\n");
        for line in self.serial.lines() {
            let _ = writeln!(out, "{line}");
        }
        out
    }
}

fn socket_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("postern-{}-{number}.qmp", std::process::id()))
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}
