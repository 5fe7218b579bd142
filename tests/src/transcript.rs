// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stream of lines that one thread writes and others wait on.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
    held: bool,
}

/// The lines so far; clones share them.
#[derive(Clone, Default)]
pub struct Transcript {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Transcript {
    /// Collects the lines of a stream in a thread of its own until the stream ends.
    #[must_use]
    pub fn of(stream: impl Read + Send + 'static) -> Self {
        let transcript = Self::default();
        let writer = transcript.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                writer.push(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
                line.clear();
                writer.wait_while_held();
            }
            writer.end();
        });
        transcript
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panicked test thread leaves the lines as they were: they only ever grow.
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: String) {
        self.state().lines.push(line);
        self.shared.1.notify_all();
    }

    fn end(&self) {
        self.state().ended = true;
        self.shared.1.notify_all();
    }

    /// While it is held nothing is read: whoever writes finds a pipe that fills up.
    pub fn hold(&self, held: bool) {
        self.state().held = held;
        self.shared.1.notify_all();
    }

    fn wait_while_held(&self) {
        let mut state = self.state();
        while state.held {
            state = self.shared.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// All lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.state().lines.clone()
    }

    /// How many lines there are so far: a place to wait from.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state().lines.len()
    }

    /// Whether there is no line yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the first line from `start` on that `wanted` accepts; gives its index and text.
    ///
    /// # Errors
    /// Why there is none: the time was up, or the stream ended.
    pub fn wait(
        &self,
        start: usize,
        limit: Duration,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> Result<(usize, String), &'static str> {
        let deadline = Instant::now() + limit;
        let mut next = start;
        let mut state = self.state();
        loop {
            while let Some(line) = state.lines.get(next) {
                if wanted(line) {
                    return Ok((next, line.clone()));
                }
                next += 1;
            }
            if state.ended {
                return Err("the stream ended");
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("the time was up");
            }
            state = self.shared.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the stream has ended.
    ///
    /// # Errors
    /// The time was up.
    pub fn wait_end(&self, limit: Duration) -> Result<(), &'static str> {
        match self.wait(usize::MAX, limit, |_| false) {
            Err("the stream ended") => Ok(()),
            _ => Err("the time was up"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn lines_are_found_in_order() {
        let transcript = Transcript::of(Cursor::new("one\r\ntwo\nthree"));
        let limit = Duration::from_secs(5);
        assert_eq!(transcript.wait(0, limit, |line| line.starts_with('t')), Ok((1, "two".into())));
        assert_eq!(transcript.wait(2, limit, |line| line.starts_with('t')), Ok((2, "three".into())));
        assert_eq!(transcript.wait(0, limit, |line| line == "four"), Err("the stream ended"));
        assert_eq!(transcript.wait_end(limit), Ok(()));
        assert_eq!(transcript.lines(), ["one", "two", "three"]);
    }

    #[test]
    fn nothing_is_read_while_it_is_held() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let transcript = Transcript::of(reader);
        let limit = Duration::from_secs(5);
        transcript.hold(true);
        // The reader may be waiting for the first line already.
        std::io::Write::write_all(&mut writer, b"one\ntwo\n").unwrap();
        drop(writer);
        assert_eq!(transcript.wait(1, Duration::from_millis(20), |_| true), Err("the time was up"));
        transcript.hold(false);
        assert_eq!(transcript.wait(0, limit, |line| line == "two"), Ok((1, "two".into())));
    }

    #[test]
    fn waiting_ends() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let transcript = Transcript::of(reader);
        let limit = Duration::from_millis(20);
        assert_eq!(transcript.wait(0, limit, |_| true), Err("the time was up"));
        assert_eq!(transcript.wait_end(limit), Err("the time was up"));
    }
}
