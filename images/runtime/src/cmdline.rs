// SPDX-License-Identifier: MIT OR Apache-2.0
//! Words of a command line: separated by blanks, either bare (`self`) or `key=value`.

/// The words that are neither empty nor `key=value`.
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split_ascii_whitespace().filter(|word| !word.contains('='))
}

/// The value of the last `key=value`.
pub fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_ascii_whitespace().rev().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// A number: decimal, or hexadecimal after `0x`.
pub fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_values() {
        let line = " self  ip=10.0.2.15/24 ip=10.0.2.16/24 bench x=";
        assert!(words(line).eq(["self", "bench"]));
        assert_eq!(value(line, "ip"), Some("10.0.2.16/24"));
        assert_eq!(value(line, "x"), Some(""));
        assert_eq!(value(line, "i"), None);
    }

    #[test]
    fn numbers() {
        assert_eq!(number("0xfee00000"), Some(0xfee0_0000));
        assert_eq!(number("12"), Some(12));
        assert_eq!(number("0x"), None);
        assert_eq!(number("-1"), None);
    }
}
