// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tool says of a description: file, line, column, the line itself, what is wrong, what would be right.

use core::fmt::Write as _;
use core::ops::Range;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The description is refused.
    Error,
    /// It is accepted, but worth a look.
    Warning,
}

/// One remark about a description's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The bytes of the text that it is about.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What would be right; may be empty.
    pub help: String,
}

impl Diagnostic {
    /// An error.
    #[must_use]
    pub fn error(span: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { severity: Severity::Error, span, message: message.into(), help: help.into() }
    }

    /// A warning.
    #[must_use]
    pub fn warning(span: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message, help) }
    }

    /// The remark as it is shown, ending in a newline.
    #[must_use]
    pub fn render(&self, file: &str, text: &str) -> String {
        let start = floor_boundary(text, self.span.start);
        let end = floor_boundary(text, self.span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let number = text[..start].matches('\n').count() + 1;
        let column = text[line_start..start].chars().count() + 1;
        let marked = text[start..end.min(line_end).max(start)].chars().count().max(1);
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let line = text[line_start..line_end].trim_end().replace('\t', " ");
        let margin = " ".repeat(number.to_string().len());
        let mut out = format!("{file}:{number}:{column}: {severity}: {}\n", self.message);
        let _ = writeln!(out, " {margin} |");
        let _ = writeln!(out, " {number} | {line}");
        let _ = writeln!(out, " {margin} | {}{}", " ".repeat(column - 1), "^".repeat(marked));
        if !self.help.is_empty() {
            let _ = writeln!(out, " {margin} = {}", self.help);
        }
        out
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_line_and_caret() {
        let text = "a = 1\nname = \"ü\"\n";
        let shown = Diagnostic::error(13..17, "this is no name", "write one").render("x.toml", text);
        assert_eq!(
            shown,
            "x.toml:2:8: error: this is no name\n   |\n 2 | name = \"ü\"\n   |        ^^^\n   = write one\n"
        );
    }

    #[test]
    fn a_span_past_the_end_is_shown_at_the_end() {
        let shown = Diagnostic::warning(90..99, "gone", "").render("x", "a");
        assert_eq!(shown, "x:1:2: warning: gone\n   |\n 1 | a\n   |  ^\n");
        assert_eq!(
            Diagnostic::error(0..0, "empty", "").render("x", ""),
            "x:1:1: error: empty\n   |\n 1 | \n   | ^\n"
        );
    }
}
