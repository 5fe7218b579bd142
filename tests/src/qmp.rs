// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's monitor over a Unix socket (QEMU Machine Protocol), as far as the tests need it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long QEMU may take to answer.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A connection that has shaken hands.
pub struct Monitor {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Monitor {
    /// Waits for QEMU to connect to `listener` and shakes hands.
    ///
    /// # Errors
    /// A sentence; also if `alive` says that QEMU has gone.
    pub fn accept(listener: &UnixListener, alive: impl FnMut() -> bool) -> Result<Self, String> {
        let say = |error: std::io::Error| format!("monitor: {error}");
        let stream = accept(listener, alive)?;
        stream.set_read_timeout(Some(LIMIT)).map_err(say)?;
        let writer = stream.try_clone().map_err(say)?;
        let mut monitor = Self { reader: BufReader::new(stream), writer };
        monitor.read()?; // The greeting.
        monitor.execute("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    /// Executes a command and gives what it returns.
    ///
    /// # Errors
    /// A sentence with QEMU's own description.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, String> {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.writer, "{request}").map_err(|error| format!("monitor: {error}"))?;
        loop {
            let mut answer = self.read()?;
            if let Some(error) = answer.get("error") {
                return Err(format!("monitor: {command}: {error}"));
            }
            // Everything else that arrives is an event.
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    /// Copies host-physical memory into a file and reads that.
    ///
    /// # Errors
    /// A sentence.
    pub fn memory(&mut self, start: u64, bytes: u64) -> Result<Vec<u8>, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("postern-{}-{number}.memory", std::process::id()));
        let arguments = json!({ "val": start, "size": bytes, "filename": file.display().to_string() });
        let result = self.execute("pmemsave", arguments);
        let memory = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()));
        let _ = std::fs::remove_file(&file);
        result.and(memory)
    }

    /// Executes a command of the human monitor and gives its text.
    ///
    /// # Errors
    /// As [`Monitor::execute`].
    pub fn human(&mut self, command: &str) -> Result<String, String> {
        let value = self.execute("human-monitor-command", json!({ "command-line": command }))?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    /// Reads `count` 64-bit words of host-physical memory or registers.
    ///
    /// # Errors
    /// A sentence, also if QEMU can't read there.
    pub fn words(&mut self, address: u64, count: usize) -> Result<Vec<u64>, String> {
        self.examine(address, count, 'g')
    }

    /// Reads `count` 32-bit words.
    ///
    /// # Errors
    /// As [`Monitor::words`].
    pub fn dwords(&mut self, address: u64, count: usize) -> Result<Vec<u64>, String> {
        self.examine(address, count, 'w')
    }

    fn examine(&mut self, address: u64, count: usize, size: char) -> Result<Vec<u64>, String> {
        let text = self.human(&format!("xp /{count}{size}x {address:#x}"))?;
        let words = parse_examined(&text);
        if words.len() == count { Ok(words) } else { Err(format!("monitor: xp {address:#x}: {text}")) }
    }

    fn read(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        let count = self.reader.read_line(&mut line).map_err(|error| format!("monitor: {error}"))?;
        if count == 0 {
            return Err("the monitor's connection has ended".into());
        }
        serde_json::from_str(&line).map_err(|error| format!("monitor: {error}: {line}"))
    }
}

/// Waits for QEMU to connect to a listener.
///
/// # Errors
/// A sentence; also if `alive` says that QEMU has gone.
pub fn accept(listener: &UnixListener, mut alive: impl FnMut() -> bool) -> Result<UnixStream, String> {
    let say = |error: std::io::Error| format!("QEMU's socket: {error}");
    // std has no accept with a time limit, so this asks now and then; QEMU connects within milliseconds.
    listener.set_nonblocking(true).map_err(say)?;
    let deadline = Instant::now() + LIMIT;
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return Err(say(error)),
            Err(_) if !alive() => return Err("QEMU ended before it connected".into()),
            Err(_) if Instant::now() > deadline => return Err("QEMU didn't connect".into()),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    stream.set_nonblocking(false).map_err(say)?;
    Ok(stream)
}

/// A listener for QEMU's monitor and the arguments that make QEMU connect to it.
///
/// # Errors
/// A sentence.
pub fn listen(path: &Path) -> Result<(UnixListener, Vec<String>), String> {
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let chardev = format!("socket,id=monitor,path={}", path.display());
    Ok((listener, ["-chardev", &chardev, "-mon", "chardev=monitor,mode=control"].map(String::from).to_vec()))
}

/// The numbers of `xp`'s output: `00000000fed90000: 0x00000010 0x00000000`.
fn parse_examined(text: &str) -> Vec<u64> {
    let words = text.lines().filter_map(|line| line.split_once(": ")).flat_map(|(_, words)| words.split(' '));
    words.filter_map(|word| u64::from_str_radix(word.trim().strip_prefix("0x")?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examined_words_are_read() {
        let text = "00000000fed90000: 0x0000000000000010 0x00d2008c222f0606\r\n00000000fed90010: 0x00000000000f00f4\r\n";
        assert_eq!(parse_examined(text), [0x10, 0xd2_008c_222f_0606, 0xf00f4]);
        assert!(parse_examined("Cannot access memory\n").is_empty());
    }
}
