// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a line looks: `[name] text`, and nothing in it that a terminal would obey.

use core::fmt::Write;

/// Longest piece of a line that is taken from a ring at once, bytes.
pub const PIECE: usize = 512;
/// Longest formatted line: each byte may become `\x00`, with name, brackets and line end.
pub const FORMATTED: usize = 4 * PIECE + 48;

/// A formatted line.
#[derive(Debug, Clone)]
pub struct Text {
    bytes: [u8; FORMATTED],
    length: usize,
}

impl Text {
    /// An empty one.
    pub const fn new() -> Self {
        Self { bytes: [0; FORMATTED], length: 0 }
    }

    /// What it holds.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Makes it the line `raw` of the part `name`. Control characters and bytes that aren't UTF-8 are shown as `\x1b`.
    pub fn set(&mut self, name: &str, raw: &[u8]) {
        self.begin(name);
        // Guests end their lines as terminals want it.
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        for chunk in raw.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() && character != '\t' {
                    let mut bytes = [0; 4];
                    character.encode_utf8(&mut bytes).bytes().for_each(|byte| self.escape(byte));
                } else {
                    let _ = self.write_char(character);
                }
            }
            chunk.invalid().iter().for_each(|byte| self.escape(*byte));
        }
        self.push(b"\r\n");
    }

    /// Makes it an end of line, for a line that was never ended.
    pub fn set_end(&mut self) {
        self.length = 0;
        self.push(b"\r\n");
    }

    /// Makes it the notice that `name` lost lines.
    pub fn set_lost(&mut self, name: &str, lines: u32) {
        self.begin(name);
        let _ = write!(self, "({lines} lines lost: the log ring was full)\r\n");
    }

    /// Makes it a line of console-server's own making, which has nothing in it that a terminal would obey.
    pub fn set_formatted(&mut self, name: &str, line: core::fmt::Arguments) {
        self.begin(name);
        let _ = self.write_fmt(line);
        self.push(b"\r\n");
    }

    fn begin(&mut self, name: &str) {
        self.length = 0;
        let _ = write!(self, "[{name}] ");
    }

    fn escape(&mut self, byte: u8) {
        let _ = write!(self, "\\x{byte:02x}");
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = &mut self.bytes[self.length..];
        let n = bytes.len().min(room.len());
        room[..n].copy_from_slice(&bytes[..n]);
        self.length += n;
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(raw: &[u8]) -> String {
        let mut text = Text::new();
        text.set("web", raw);
        String::from_utf8(text.bytes().to_vec()).unwrap()
    }

    #[test]
    fn plain_lines_stay() {
        assert_eq!(formatted(b"GET / 200\t3 ms"), "[web] GET / 200\t3 ms\r\n");
        assert_eq!(formatted("größer".as_bytes()), "[web] größer\r\n");
        assert_eq!(formatted(b"dos\r"), "[web] dos\r\n");
        assert_eq!(formatted(b""), "[web] \r\n");
    }

    #[test]
    fn nothing_reaches_the_terminal_that_it_obeys() {
        assert_eq!(formatted(b"\x1b[2Jx\x07"), "[web] \\x1b[2Jx\\x07\r\n");
        assert_eq!(formatted(b"a\rb"), "[web] a\\x0db\r\n");
        assert_eq!(formatted("\u{9b}2J".as_bytes()), "[web] \\xc2\\x9b2J\r\n");
        assert_eq!(formatted(b"\xff\xfe"), "[web] \\xff\\xfe\r\n");
    }

    #[test]
    fn the_longest_line_fits() {
        let mut text = Text::new();
        text.set("a-name-of-thirty-two-characters!", &[0xff; PIECE]);
        assert!(text.bytes().ends_with(b"\\xff\r\n"));
        text.set_lost("web", u32::MAX);
        assert!(text.bytes().starts_with(b"[web] (4294967295 lines lost"));
    }
}
