// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes answers: which one a request gets, and its head.

use crate::request::Request;
use alloc::{format, string::String, vec::Vec};

/// The status of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The page.
    Ok,
    /// The request can't be read.
    BadRequest,
    /// There is only one page.
    NotFound,
    /// There is only one method.
    MethodNotAllowed,
}

impl Status {
    /// Code and reason, as in the status line.
    pub fn text(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
        }
    }

    /// What a request gets. The method is judged first: there is no path where another one would do.
    pub fn of(request: &Request<'_>) -> Self {
        match (request.method, request.path) {
            ("GET", "/") => Self::Ok,
            ("GET", _) => Self::NotFound,
            _ => Self::MethodNotAllowed,
        }
    }
}

/// The whole answer. `page` is made only where it is sent.
pub fn answer(
    status: Status,
    keep_alive: bool,
    without_body: bool,
    page: impl FnOnce() -> String,
) -> Vec<u8> {
    let (kind, body) = match status {
        Status::Ok => ("text/html; charset=utf-8", page()),
        other => ("text/plain; charset=utf-8", format!("{}\n", other.text())),
    };
    let allow = if status == Status::MethodNotAllowed { "Allow: GET\r\n" } else { "" };
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let mut bytes = format!(
        "HTTP/1.1 {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}Cache-Control: no-store\r\nConnection: {connection}\r\n\r\n",
        status.text(),
        body.len(),
    )
    .into_bytes();
    if !without_body {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(status: Status, keep_alive: bool, without_body: bool) -> String {
        String::from_utf8(answer(status, keep_alive, without_body, || "pagé".into())).unwrap()
    }

    #[test]
    fn length_counts_bytes() {
        let answer = text(Status::Ok, true, false);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\npagé"));
        assert!(answer.contains("Content-Length: 5\r\n") && answer.contains("Connection: keep-alive\r\n"));
    }

    #[test]
    fn refusals() {
        let request = |method, path| Status::of(&Request { method, path, keep_alive: true });
        assert_eq!(request("GET", "/"), Status::Ok);
        assert_eq!(request("GET", "/favicon.ico"), Status::NotFound);
        assert_eq!(request("POST", "/favicon.ico"), Status::MethodNotAllowed);
        assert!(text(Status::MethodNotAllowed, false, false).contains("\r\nAllow: GET\r\n"));
        let head = text(Status::MethodNotAllowed, false, true);
        assert!(head.contains("Content-Length: 23\r\n") && head.ends_with("\r\n\r\n"));
    }
}
