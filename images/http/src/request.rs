// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads requests (RFC 9112): as much as a server of one page needs, and not a byte more trusted.

/// Longest head of a request in bytes.
pub const LONGEST_HEAD: usize = 4096;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, without a query.
    pub path: &'a str,
    /// Whether the connection stays open after the answer.
    pub keep_alive: bool,
}

/// What lies in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head<'a> {
    /// No whole head yet.
    Incomplete,
    /// A request and the length of its head in bytes.
    Complete(Request<'a>, usize),
    /// No HTTP, or more than [`LONGEST_HEAD`].
    Malformed,
}

/// Reads the head of a request at the start of `bytes`.
pub fn parse(bytes: &[u8]) -> Head<'_> {
    let window = &bytes[..bytes.len().min(LONGEST_HEAD)];
    let Some(end) = window.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() >= LONGEST_HEAD { Head::Malformed } else { Head::Incomplete };
    };
    match core::str::from_utf8(&window[..end]).ok().and_then(parse_head) {
        Some(request) => Head::Complete(request, end + 4),
        None => Head::Malformed,
    }
}

fn parse_head(head: &str) -> Option<Request<'_>> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some()
        || method.is_empty()
        || !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return None;
    }
    let mut keep_alive = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        _ => return None,
    };
    if !target.starts_with('/') && target != "*" {
        return None;
    }
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if name.is_empty() || name.contains([' ', '\t']) {
            return None;
        }
        let value = value.trim_matches([' ', '\t']);
        if name.eq_ignore_ascii_case("connection") {
            for option in value.split(',').map(str::trim) {
                if option.eq_ignore_ascii_case("close") {
                    keep_alive = false;
                } else if option.eq_ignore_ascii_case("keep-alive") && version == "HTTP/1.0" {
                    keep_alive = true;
                }
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding")
            || (name.eq_ignore_ascii_case("content-length") && value != "0")
        {
            // A body follows that nobody here reads: what comes after it can't be told from it.
            keep_alive = false;
        }
    }
    Some(Request { method, path, keep_alive })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Option<Request<'_>> {
        match parse(text.as_bytes()) {
            Head::Complete(request, length) => {
                assert!(text[..length].ends_with("\r\n\r\n"));
                Some(request)
            }
            Head::Incomplete | Head::Malformed => None,
        }
    }

    #[test]
    fn as_curl_sends_it() {
        let text =
            "GET /?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\nGET";
        assert_eq!(request(text), Some(Request { method: "GET", path: "/", keep_alive: true }));
    }

    #[test]
    fn who_stays() {
        let stays = |text| request(text).unwrap().keep_alive;
        assert!(!stays("GET / HTTP/1.0\r\n\r\n"));
        assert!(stays("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
        assert!(!stays("GET / HTTP/1.1\r\nconnection: foo, close\r\n\r\n"));
        assert!(!stays("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"));
        assert!(stays("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"));
        assert!(!stays("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"));
    }

    #[test]
    fn every_prefix_is_incomplete() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for length in 0..text.len() {
            assert_eq!(parse(&text[..length]), Head::Incomplete);
        }
    }

    #[test]
    fn nonsense() {
        for text in [
            "\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/2\r\n\r\n",
            "GET / HTTP/1.1 x\r\n\r\n",
            "G\u{1}T / HTTP/1.1\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\nname : x\r\n\r\n",
        ] {
            assert_eq!(parse(text.as_bytes()), Head::Malformed, "{text:?}");
        }
        assert_eq!(parse(b"GET /\xff HTTP/1.1\r\n\r\n"), Head::Malformed);
        assert_eq!(parse(&[b'a'; LONGEST_HEAD]), Head::Malformed);
        assert_eq!(parse(&[b'a'; LONGEST_HEAD - 1]), Head::Incomplete);
    }
}
