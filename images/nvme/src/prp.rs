// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a transfer's bytes lie: physical region pages (NVM Express Base Specification 1.4, section 4.3).

use alloc::vec::Vec;

/// Bytes of a page, as the controller is told.
pub const PAGE: u64 = 4096;
/// The most pages behind the first: what one page of list holds.
pub const LONGEST_LIST: usize = 512;

/// The two pointers of a command, and what the page that the second may point to has to hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Prps {
    /// The pointers.
    pub pointers: (u64, u64),
    /// The entries of the list, where there is one.
    pub list: Vec<u64>,
}

/// Describes `bytes` (at least one) from `start` on, which lie together; `list` is the page for a list. `None` if one page of list isn't enough.
pub fn describe(start: u64, bytes: u64, list: u64) -> Option<Prps> {
    let second = (start / PAGE + 1) * PAGE;
    let pages: Vec<u64> = (second..start + bytes).step_by(PAGE as usize).collect();
    match pages[..] {
        [] => Some(Prps { pointers: (start, 0), list: Vec::new() }),
        [only] => Some(Prps { pointers: (start, only), list: Vec::new() }),
        _ if pages.len() > LONGEST_LIST => None,
        _ => Some(Prps { pointers: (start, list), list: pages }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_a_page_and_across() {
        let plain = |pointers| Some(Prps { pointers, list: Vec::new() });
        assert_eq!(describe(0x1000, 4096, 0x9000), plain((0x1000, 0)));
        assert_eq!(describe(0x1e00, 512, 0x9000), plain((0x1e00, 0)));
        assert_eq!(describe(0x1e00, 513, 0x9000), plain((0x1e00, 0x2000)));
        assert_eq!(describe(0x1000, 8192, 0x9000), plain((0x1000, 0x2000)));
    }

    #[test]
    fn list() {
        let prps = describe(0x1200, 8192, 0x9000).unwrap();
        assert_eq!(prps, Prps { pointers: (0x1200, 0x9000), list: [0x2000, 0x3000].to_vec() });
        assert_eq!(describe(0, 513 * PAGE, 0x9000).unwrap().list.len(), LONGEST_LIST);
        assert_eq!(describe(0, 513 * PAGE + 1, 0x9000), None);
    }
}
