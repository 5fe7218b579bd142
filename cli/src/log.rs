// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine's log on COM1: each line is `[<part or VM>] text`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A line's speaker and text; the speaker is empty for a line of nobody (firmware, boot loader).
#[must_use]
pub fn split(line: &str) -> (&str, &str) {
    let parts = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match parts {
        Some((name, text)) if !name.is_empty() && name.bytes().all(is_name_byte) => {
            (name, text.strip_prefix(' ').unwrap_or(text))
        }
        _ => ("", line),
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_".contains(&byte)
}

/// What a terminal may be shown of a line: a guest must not move its cursor or change its title.
#[must_use]
pub fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Writes each speaker's lines into a file of its own.
pub struct Splitter {
    folder: PathBuf,
    files: HashMap<String, File>,
}

impl Splitter {
    /// Makes the folder if need be. Files of an earlier run are replaced as their speakers speak.
    ///
    /// # Errors
    /// The folder can't be made.
    pub fn new(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), files: HashMap::new() })
    }

    /// Adds a line to its speaker's file, `<name>.log`; lines of nobody go to `machine.log`.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write(&mut self, line: &str) -> io::Result<()> {
        let (name, text) = split(line);
        let name = if name.is_empty() { "machine" } else { name };
        if !self.files.contains_key(name) {
            let file = File::create(self.folder.join(format!("{name}.log")))?;
            self.files.insert(name.to_owned(), file);
        }
        self.files.get_mut(name).map_or(Ok(()), |file| writeln!(file, "{text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_speakers() {
        assert_eq!(split("[web] listening on 10.0.2.15:80"), ("web", "listening on 10.0.2.15:80"));
        assert_eq!(split("[kernel]"), ("kernel", ""));
        assert_eq!(split("[web]  indented"), ("web", " indented"));
        for line in ["SeaBIOS", "[../../etc] x", "[] x", "[web x", ""] {
            assert_eq!(split(line), ("", line));
        }
    }

    #[test]
    fn control_characters_are_not_shown() {
        assert_eq!(printable("a\x1b[2Jb\tc"), "a\u{fffd}[2Jb\tc");
    }

    #[test]
    fn each_speaker_has_a_file() {
        let folder = std::env::temp_dir().join(format!("postern-log-{}", std::process::id()));
        let mut splitter = Splitter::new(&folder).unwrap();
        for line in ["[web] one", "[hello] two", "[web] three", "firmware"] {
            splitter.write(line).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(
            (read("web.log"), read("hello.log"), read("machine.log")),
            ("one\nthree\n".into(), "two\n".into(), "firmware\n".into())
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
