// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the root tasks of `tests/kernel` write of their checks: a line for each, and how many passed and failed.

use std::time::Duration;

use crate::runner::Outcome;
use crate::transcript::Transcript;

/// How long the checks may take. Emulation on a busy host is slow.
pub const LIMIT: Duration = Duration::from_secs(240);

/// Waits for the last line; fails if a check failed, or fewer passed than `enough`.
///
/// # Errors
/// What went wrong.
pub fn judge(serial: &Transcript, enough: usize) -> Outcome {
    let last = |line: &str| line.contains(" failed") || line.contains("PANIC");
    let end = serial.wait(0, LIMIT, last).map(|(_, line)| line);
    let summary = end.map_err(|why| format!("the checks don't come to their end: {why}"))?;
    let failed: Vec<_> = serial.lines().into_iter().filter(|line| line.contains("... FAILED")).collect();
    let passed = summary.strip_suffix(" passed, 0 failed").and_then(|count| count.parse::<usize>().ok());
    if !failed.is_empty() || passed.is_none_or(|passed| passed < enough) {
        return Err(format!("the summary is `{summary}`, {enough} were expected; failed: {failed:#?}"));
    }
    Ok(())
}

/// Fails unless the checks that didn't run for want of something number `counts`, `(what is wanting, checks)`, and there are no others.
///
/// # Errors
/// The lines.
pub fn judge_skipped(serial: &Transcript, counts: &[(&str, usize)]) -> Outcome {
    let lines: Vec<_> = serial.lines().into_iter().filter(|line| line.contains("... skipped: ")).collect();
    let of = |why: &str| lines.iter().filter(|line| line.ends_with(&format!("... skipped: {why}"))).count();
    let all: usize = counts.iter().map(|(_, count)| count).sum();
    if lines.len() != all || counts.iter().any(|(why, count)| of(why) != *count) {
        return Err(format!("{counts:?} should be skipped, but these are: {lines:#?}"));
    }
    Ok(())
}
