// SPDX-License-Identifier: MIT OR Apache-2.0
//! A look inside: what console-server answers on COM1, an object of JSON per line.

use serde_json::Value;

use crate::log;

/// The object in a line of an answer; `None` for any other line.
#[must_use]
pub fn object(line: &str) -> Option<Value> {
    match log::split(line) {
        ("console-server", text) => serde_json::from_str(text).ok().filter(Value::is_object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_console_servers_objects() {
        let line = r#"[console-server] {"look":"caps","done":true}"#;
        assert_eq!(object(line).unwrap()["done"], true);
        for other in
            [r#"[web] {"look":"caps","done":true}"#, "[console-server] lines", "[console-server] 7", ""]
        {
            assert_eq!(object(other), None, "{other}");
        }
    }
}
