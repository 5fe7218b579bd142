// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line: `ip=10.0.2.15/24 gw=10.0.2.2`, and for tests `requests=210` and `stats=1000`.

use core::net::Ipv4Addr;
use guest_runtime::cmdline::{number, value};

/// Where this server is on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix in bits.
    pub prefix: u8,
    /// The way out of the network; `gw=none` for none.
    pub gateway: Option<Ipv4Addr>,
    /// After every so many pages the number of exits goes to the log.
    pub statistics_every: Option<u64>,
    /// The server ends after so many pages.
    pub end_after: Option<u64>,
}

impl Settings {
    /// Reads the command line; what it doesn't say is as in QEMU's user network. The error is the word that can't be read.
    pub fn parse(line: &str) -> Result<Self, &str> {
        let text = value(line, "ip").unwrap_or("10.0.2.15/24");
        let (address, prefix) = text.split_once('/').unwrap_or((text, "24"));
        let gateway = match value(line, "gw").unwrap_or("10.0.2.2") {
            "none" => None,
            gateway => Some(gateway.parse().map_err(|_| gateway)?),
        };
        let count = |key| match value(line, key) {
            None => Ok(None),
            Some(text) => number(text).filter(|count| *count > 0).map(Some).ok_or(text),
        };
        Ok(Self {
            statistics_every: count("stats")?,
            end_after: count("requests")?,
            address: address.parse().map_err(|_| text)?,
            prefix: prefix.parse().ok().filter(|bits| (1..=32).contains(bits)).ok_or(text)?,
            gateway,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_and_given() {
        let default = Settings::parse("").unwrap();
        assert_eq!((default.address, default.prefix), (Ipv4Addr::new(10, 0, 2, 15), 24));
        assert_eq!(default.gateway, Some(Ipv4Addr::new(10, 0, 2, 2)));
        let given = Settings::parse("x ip=192.168.7.1/16 gw=none").unwrap();
        assert_eq!((given.address, given.prefix, given.gateway), (Ipv4Addr::new(192, 168, 7, 1), 16, None));
        assert_eq!(Settings::parse("ip=1.2.3.4").unwrap().prefix, 24);
        let counts = Settings::parse("stats=1000 requests=10").unwrap();
        assert_eq!((counts.statistics_every, counts.end_after), (Some(1000), Some(10)));
        assert_eq!((given.statistics_every, given.end_after), (None, None));
    }

    #[test]
    fn unreadable() {
        for text in ["1.2.3", "1.2.3.4/33", "1.2.3.4/0", "1.2.3.4/", "/24", ""] {
            let line = alloc::format!("ip={text}");
            assert_eq!(Settings::parse(&line), Err(text));
        }
        assert_eq!(Settings::parse("gw=router"), Err("router"));
        assert_eq!(Settings::parse("stats=0"), Err("0"));
    }
}
