//! Looks whether a line is JSON and reads its `cmd`, keeping nothing else.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Whether `text` is one JSON value, and its `cmd`: `None` if it is no object, or has no `cmd`
/// that is text. The last one counts if there are several, as in JSON.parse().
///
/// Strings are not decoded: JSON.stringify() writes lone surrogates, which are no text in Rust,
/// and an app may send them.
pub(crate) fn probe(text: &str) -> Result<Option<String>, serde_json::Error> {
    if !text.trim_start().starts_with('{') {
        return serde_json::from_str::<IgnoredAny>(text).map(|_| None);
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let cmd = deserializer.deserialize_map(CmdOf)?;
    deserializer.end()?;
    Ok(cmd.and_then(|raw| serde_json::from_str(raw.get()).ok()))
}

/// Node's rule for its own messages (`isInternal` in `internal/child_process`).
pub(crate) fn is_internal(cmd: &str) -> bool {
    cmd.strip_prefix("NODE_")
        .is_some_and(|rest| !rest.is_empty())
}

struct CmdOf;

impl<'de> Visitor<'de> for CmdOf {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut cmd = None;
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            if key.get() == "\"cmd\"" {
                cmd = Some(value);
            }
        }
        Ok(cmd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cmd_of_a_value() {
        for (text, expect) in [
            (r#"{"cmd":"NODE_X","a":[{"cmd":"no"}]}"#, Some("NODE_X")),
            (r#" {"a":"\ud800","\ud800":1,"cmd":"x"} "#, Some("x")),
            (r#"{"cmd":"a","cmd":"b"}"#, Some("b")),
            (r#"{"cmd":"a","cmd":7}"#, None),
            (r#"{"cmd":"\u004eODE_"}"#, Some("NODE_")),
            (r#"{"a":{"cmd":"NODE_X"}}"#, None),
            ("{}", None),
            (r#""cmd""#, None),
            (r#""\ud800""#, None),
            ("[{}]", None),
            ("null", None),
        ] {
            assert_eq!(probe(text).unwrap().as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn what_is_not_one_json_value_is_an_error() {
        for text in [
            "",
            "{",
            "{}{}",
            "1 2",
            "undefined",
            r#"{"cmd":}"#,
            "{'cmd':1}",
            "\"a",
        ] {
            assert!(probe(text).is_err(), "{text}");
        }
    }

    #[test]
    fn depth_does_not_matter() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(probe(&deep).unwrap(), None);
        assert_eq!(
            probe(&format!(r#"{{"a":{deep},"cmd":"b"}}"#))
                .unwrap()
                .as_deref(),
            Some("b")
        );
    }

    #[test]
    fn only_the_prefix_with_something_behind_it_is_internal() {
        for (cmd, expect) in [
            ("NODE_X", true),
            ("NODE_", false),
            ("node_x", false),
            ("", false),
        ] {
            assert_eq!(is_internal(cmd), expect, "{cmd}");
        }
    }
}
