// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes that somebody types, as lines.

/// Longest line.
pub const LINE: usize = 80;

/// A line that is being typed, or one that is complete and waits to be taken.
#[derive(Debug, Clone)]
pub struct Input {
    bytes: [u8; LINE],
    length: usize,
    too_long: bool,
    complete: bool,
}

impl Input {
    /// Nothing typed yet.
    pub const fn new() -> Self {
        Self { bytes: [0; LINE], length: 0, too_long: false, complete: false }
    }

    /// Whether there is room: a line that is complete has to be taken before the next begins.
    pub const fn wants_more(&self) -> bool {
        !self.complete
    }

    /// A byte was typed. Carriage return or line feed ends the line, backspace and delete take a byte back, any other control
    /// character is ignored. Lines without anything are none.
    pub fn type_in(&mut self, byte: u8) {
        if self.complete {
            return;
        }
        match byte {
            b'\r' | b'\n' => self.complete = self.length > 0,
            8 | 0x7f => self.length = self.length.saturating_sub(1),
            byte if byte.is_ascii_control() => {}
            byte => match self.bytes.get_mut(self.length) {
                Some(place) => {
                    *place = byte;
                    self.length += 1;
                }
                None => self.too_long = true,
            },
        }
    }

    /// Takes the complete line, if there is one, into `out`: its text, or `None` for one that was too long or is no text.
    pub fn take<'a>(&mut self, out: &'a mut [u8; LINE]) -> Option<Option<&'a str>> {
        if !self.complete {
            return None;
        }
        let line = core::mem::take(self);
        *out = line.bytes;
        let text = core::str::from_utf8(&out[..line.length]).ok();
        Some(text.filter(|_| !line.too_long).map(str::trim))
    }
}

impl Default for Input {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> Vec<Option<String>> {
        let mut input = Input::new();
        let mut lines = Vec::new();
        for byte in bytes {
            input.type_in(*byte);
            if let Some(line) = input.take(&mut [0; LINE]) {
                lines.push(line.map(str::to_owned));
            }
        }
        lines
    }

    #[test]
    fn lines_end_as_terminals_and_programs_end_them() {
        let caps = || Some("caps".to_owned());
        assert_eq!(typed(b"caps\r"), [caps()]);
        assert_eq!(typed(b"caps\r\ncaps\n\n\n"), [caps(), caps()]);
        assert_eq!(typed(b"caqs\x08\x08ps\r"), [caps()]);
        assert_eq!(typed(b"\x7f\x7f\x7f  caps\t\x1b\r"), [caps()]);
        assert_eq!(typed(b"caps"), []);
    }

    #[test]
    fn what_is_no_line_is_said_to_be_none() {
        assert_eq!(typed(&[&[b'x'; LINE][..], b"\r"].concat()), [Some("x".repeat(LINE))]);
        assert_eq!(typed(&[&[b'x'; LINE + 1][..], b"\rok\r"].concat()), [None, Some("ok".into())]);
        assert_eq!(typed(b"\xff\xfe\r"), [None]);
    }

    #[test]
    fn a_line_that_is_not_taken_stays() {
        let mut input = Input::new();
        b"one\rtwo\r".iter().for_each(|byte| input.type_in(*byte));
        assert!(!input.wants_more());
        assert_eq!(input.take(&mut [0; LINE]), Some(Some("one")));
        assert!(input.wants_more());
        assert_eq!(input.take(&mut [0; LINE]), None);
    }
}
