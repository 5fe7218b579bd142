// SPDX-License-Identifier: MIT OR Apache-2.0
//! A look inside: what console-server answers on COM1, an object of JSON per line.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::log;
use crate::snapshot;

/// A command that is always answered, and ends a wait for an answer that doesn't come.
const HARMLESS: &str = "help";
/// How long the answer to that may take.
const GRACE: Duration = Duration::from_secs(3);

/// The object in a line of an answer; `None` for any other line.
#[must_use]
pub fn object(line: &str) -> Option<Value> {
    match log::split(line) {
        ("console-server", text) => serde_json::from_str(text).ok().filter(Value::is_object),
        _ => None,
    }
}

/// An answer as its lines come in, among others.
#[derive(Clone, Debug)]
pub struct Answer {
    look: String,
    objects: Vec<Value>,
}

impl Answer {
    /// To this command.
    #[must_use]
    pub fn to(command: &str) -> Self {
        Self { look: command.split_ascii_whitespace().next().unwrap_or("").to_owned(), objects: Vec::new() }
    }

    /// Takes the next line. When the answer is whole, its objects, without the last, which only says so.
    ///
    /// # Errors
    /// What the console says is wrong.
    pub fn take(&mut self, line: &str) -> Result<Option<Vec<Value>>, String> {
        let Some(object) = object(line) else { return Ok(None) };
        // A line that is no command is answered without a name.
        if object.get("look").is_some_and(|look| *look != *self.look) {
            return Ok(None);
        }
        match object.get("error") {
            Some(Value::String(error)) => return Err(error.clone()),
            Some(error) => return Err(error.to_string()),
            None => {}
        }
        if object.get("done").is_some() {
            return Ok(Some(std::mem::take(&mut self.objects)));
        }
        self.objects.push(object);
        Ok(None)
    }
}

/// The objects as an array, one to a line.
#[must_use]
pub fn array(objects: &[Value]) -> String {
    let lines: Vec<_> = objects.iter().map(|object| format!("\n  {object}")).collect();
    format!("[{}\n]", lines.join(","))
}

/// The capability graph that a debug kernel has printed last in a log of COM1: an object of JSON for each of its objects.
///
/// # Errors
/// A sentence: the log can't be read, or has no snapshot, or a spoilt one.
pub fn from_log(file: &Path) -> Result<Vec<Value>, String> {
    let text = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let read = snapshot::read(&String::from_utf8_lossy(&text));
    read.map(|snapshot| snapshot.objects()).map_err(|error| format!("{}: {error}", file.display()))
}

/// Types a command on the console at `path`, a socket or a serial device, and gives the objects of its answer.
///
/// # Errors
/// A sentence: there is no console, it doesn't answer within `limit`, or it says what is wrong.
pub fn ask(path: &Path, command: &str, limit: Duration) -> Result<Vec<Value>, String> {
    let failed = |error| format!("{}: {error}", path.display());
    if let Ok(socket) = UnixStream::connect(path) {
        let reader = socket.try_clone().map_err(failed)?;
        return converse(reader, socket, command, limit);
    }
    let device = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    let reader = device.try_clone().map_err(failed)?;
    converse(reader, device, command, limit)
}

/// [`ask`] over a stream that is open.
fn converse(
    reader: impl Read + Send + 'static,
    mut writer: impl Write,
    command: &str,
    limit: Duration,
) -> Result<Vec<Value>, String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    let mut type_in = |line: &str| {
        let typed = write!(writer, "{line}\r").and_then(|()| writer.flush());
        typed.map_err(|error| format!("the console takes nothing: {error}"))
    };
    let mut answer = Answer::to(command);
    let mut wait = |limit| {
        let deadline = Instant::now() + limit;
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(objects) = answer.take(&line)? {
                        return Ok(Some(objects));
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Err("the machine has gone".to_owned()),
            }
        }
    };
    type_in(command)?;
    if let Some(objects) = wait(limit)? {
        return Ok(objects);
    }
    // Whoever is asked keeps silent, or the console does. The next line ends the wait of the first.
    type_in(HARMLESS)?;
    wait(GRACE)?.ok_or_else(|| "the console doesn't answer".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_console_servers_objects() {
        let line = r#"[console-server] {"look":"caps","done":true}"#;
        assert_eq!(object(line).unwrap()["done"], true);
        for other in
            [r#"[web] {"look":"caps","done":true}"#, "[console-server] lines", "[console-server] 7", ""]
        {
            assert_eq!(object(other), None, "{other}");
        }
    }

    #[test]
    fn an_answer_is_collected_from_among_other_lines() {
        let mut answer = Answer::to("exits web");
        for other in [
            "[web] http: listening",
            r#"[web] {"look":"exits","done":true}"#,
            r#"[console-server] {"look":"vms","error":"another's"}"#,
            r#"[console-server] {"look":"vms","done":true}"#,
            r#"[console-server] {"look":"exits","vm":"web"}"#,
        ] {
            assert_eq!(answer.take(other), Ok(None), "{other}");
        }
        let whole = answer.take(r#"[console-server] {"look":"exits","done":true}"#).unwrap().unwrap();
        assert_eq!(whole, [serde_json::json!({ "look": "exits", "vm": "web" })]);
    }

    #[test]
    fn objects_are_printed_as_they_came() {
        let objects = [r#"{"look":"vms","vm":"web"}"#, r#"{"look":"vms","vm":"a"}"#];
        let values = objects.map(|object| serde_json::from_str(object).unwrap());
        assert_eq!(array(&values), format!("[\n  {},\n  {}\n]", objects[0], objects[1]));
        for some in [&values[..], &[]] {
            assert_eq!(serde_json::from_str::<Vec<Value>>(&array(some)).unwrap(), some);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |command: &str, line: &str| Answer::to(command).take(line).unwrap_err();
        assert_eq!(wrong("what", r#"[console-server] {"error":"there is none"}"#), "there is none");
        let line = r#"[console-server] {"look":"exits","error":"it doesn't run"}"#;
        assert_eq!(wrong("exits web", line), "it doesn't run");
    }

    /// A console that answers each line it is sent with the lines of the next step.
    fn console(steps: Vec<&'static str>) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            let mut typed = BufReader::new(theirs.try_clone().unwrap());
            for step in steps {
                typed.read_until(b'\r', &mut Vec::new()).unwrap();
                (&theirs).write_all(step.as_bytes()).unwrap();
            }
        });
        ours
    }

    fn say(steps: Vec<&'static str>, command: &str, limit: Duration) -> Result<Vec<Value>, String> {
        let stream = console(steps);
        converse(stream.try_clone().unwrap(), stream, command, limit)
    }

    #[test]
    fn a_command_is_typed_and_answered() {
        let step = "[web] x\r\n[console-server] {\"look\":\"vms\",\"vm\":\"web\"}\r\n[console-server] {\"look\":\"vms\",\"done\":true}\r\n";
        let objects = say(vec![step], "vms", Duration::from_secs(60)).unwrap();
        assert_eq!(objects, [serde_json::json!({ "look": "vms", "vm": "web" })]);
    }

    #[test]
    fn who_keeps_silent_is_told_of() {
        let error = "[console-server] {\"look\":\"exits\",\"error\":\"it hasn't answered\"}\r\n";
        let said = say(vec!["", error], "exits web", Duration::from_millis(50));
        assert_eq!(said, Err("it hasn't answered".into()));
        assert_eq!(say(vec![""], "vms", Duration::from_secs(60)), Err("the machine has gone".into()));
        let nobody = ask(Path::new("/nonexistent/console"), "vms", GRACE).unwrap_err();
        assert!(nobody.starts_with("/nonexistent/console: "), "{nobody}");
    }
}
