// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sizes and durations as people write them: `64M`, `5ms`.

/// Bytes of a size such as `64M`, `1G`, `512K` or `2MiB`; powers of 1024. `None` if it is no size.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let shift = match unit {
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// Microseconds of a duration such as `5ms`, `100us` or `1s`. `None` if it is no duration.
#[must_use]
pub fn duration(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let microseconds = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        _ => return None,
    };
    number.checked_mul(microseconds)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations() {
        assert_eq!(size("64M"), Some(64 << 20));
        assert_eq!(size("1GiB"), Some(1 << 30));
        assert_eq!(size("64"), None);
        assert_eq!(size("M"), None);
        assert_eq!(size("1.5G"), None);
        assert_eq!(size("99999999999G"), None);
        assert_eq!(duration("5ms"), Some(5_000));
        assert_eq!(duration("5"), None);
        assert_eq!(duration("5 ms"), None);
    }
}
