//! How lines are shown: as JSON for programs, readably for people.
//!
//! # The fields of a line as JSON
//! A line that is a JSON object (pino, winston and the like) stays that object, byte for byte,
//! with `app`, `worker`, `stream` and `time` added at its end. The app's own keys win: where it
//! has one of these names itself, ours is `pando.app`, `pando.time` and so on, so both are there.
//! Any other text becomes `{"time", "app", "worker", "stream", "message"}`. A piece of a line
//! longer than [`crate::MAX_LINE_BYTES`] has `"continues": true`.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::line::Line;
use crate::stamp;

/// The line as one JSON object without a newline.
pub fn to_json(line: &Line) -> String {
    let text = String::from_utf8_lossy(&line.text);
    let trimmed = text.trim();
    let body = trimmed.strip_suffix('}');
    match (body, Keys::of(trimmed)) {
        (Some(body), Some(keys)) if !line.continues => {
            let mut out = String::with_capacity(body.len() + 120);
            out.push_str(body);
            add_fields(line, &keys, &mut out);
            out
        }
        _ => wrap(line, &text),
    }
}

fn wrap(line: &Line, text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 120);
    out.push_str("{\"time\":\"");
    push_time(line.time_ms, &mut out);
    out.push_str(&format!(
        "\",\"app\":{},\"worker\":{},\"stream\":\"{}\",\"message\":{}",
        quoted(&line.app),
        line.worker,
        line.stream,
        quoted(text)
    ));
    out.push_str(if line.continues {
        ",\"continues\":true}"
    } else {
        "}"
    });
    out
}

fn add_fields(line: &Line, keys: &Keys, out: &mut String) {
    let mut time = String::from("\"");
    push_time(line.time_ms, &mut time);
    time.push('"');
    let fields = [
        ("app", quoted(&line.app)),
        ("worker", line.worker.to_string()),
        ("stream", quoted(line.stream.as_str())),
        ("time", time),
    ];
    let mut empty = keys.count == 0;
    for (at, (name, value)) in fields.into_iter().enumerate() {
        if !std::mem::take(&mut empty) {
            out.push(',');
        }
        out.push_str(if keys.taken[at] { "\"pando." } else { "\"" });
        out.push_str(name);
        out.push_str("\":");
        out.push_str(&value);
    }
    out.push('}');
}

fn push_time(time_ms: i64, out: &mut String) {
    out.extend(stamp::format(time_ms).map(char::from));
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Which of our names an object uses itself.
#[derive(Default)]
struct Keys {
    taken: [bool; 4],
    count: usize,
}

impl Keys {
    /// `None` unless `text` is one JSON object. Values are checked and skipped, not built.
    fn of(text: &str) -> Option<Self> {
        text.starts_with('{')
            .then(|| serde_json::from_str(text).ok())
            .flatten()
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Keys;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Keys::default();
                while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    map.next_value::<IgnoredAny>()?;
                    keys.count += 1;
                    let names = ["app", "worker", "stream", "time"];
                    if let Some(at) = names.iter().position(|name| *name == key) {
                        keys.taken[at] = true;
                    }
                }
                Ok(keys)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A structured line for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readable {
    /// `trace`, `debug`, `info`, `warn`, `error`, `fatal`, or as the app wrote it.
    pub level: String,
    /// RFC 3339 where the app gave an epoch, else as the app wrote it.
    pub time: Option<String>,
    pub message: String,
    /// The other fields in their order; strings bare, the rest as JSON.
    pub rest: Vec<(String, String)>,
}

/// Reads a line of pino (`level` 10 to 60, `msg`, `time` in epoch milliseconds) or winston
/// (`level` by name, `message`, `timestamp`); `None` for anything else. pino's `pid`, `hostname`
/// and `v`, the same on every line, are left out.
pub fn readable(text: &str) -> Option<Readable> {
    let text = text.trim();
    if !text.starts_with('{') {
        return None;
    }
    let Fields(mut fields) = serde_json::from_str(text).ok()?;
    let mut take = |names: &[&str]| {
        let at = fields
            .iter()
            .position(|(key, _)| names.contains(&key.as_str()))?;
        Some(fields.remove(at).1)
    };
    let level = take(&["level"])?;
    let is_pino = level.is_number();
    let level = match &level {
        Value::Number(number) => pino_level(number.as_i64()?),
        Value::String(name) => name.clone(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let message = take(&["msg", "message"]);
    let time = take(&["time", "timestamp"]).map(|time| match time.as_i64() {
        Some(ms) => String::from_utf8_lossy(&stamp::format(ms)).into_owned(),
        None => bare(time),
    });
    if message.is_none() && time.is_none() {
        return None;
    }
    let boring = |key: &str| is_pino && matches!(key, "pid" | "hostname" | "v");
    fields.retain(|(key, _)| !boring(key));
    Some(Readable {
        level,
        time,
        message: message.map(bare).unwrap_or_default(),
        rest: fields
            .into_iter()
            .map(|(key, value)| (key, bare(value)))
            .collect(),
    })
}

/// pino's default levels; one between two is the lower.
fn pino_level(level: i64) -> String {
    let names = [
        (60, "fatal"),
        (50, "error"),
        (40, "warn"),
        (30, "info"),
        (20, "debug"),
    ];
    let name = names
        .iter()
        .find(|(from, _)| level >= *from)
        .map_or("trace", |(_, name)| name);
    name.to_owned()
}

fn bare(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

/// An object's fields in their order.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::Stream;

    fn json(text: &str) -> String {
        to_json(&Line {
            app: "api".into(),
            worker: 2,
            stream: Stream::Err,
            time_ms: 1_795_232_640_123,
            text: text.as_bytes().to_vec(),
            continues: false,
        })
    }

    #[test]
    fn objects_stay_themselves_and_text_is_wrapped() {
        let ours = r#""app":"api","worker":2,"stream":"err","time":"2026-11-21T03:44:00.123Z"}"#;
        assert_eq!(
            json(r#"{"a":1.10,"b":{"app":0}}"#),
            format!(r#"{{"a":1.10,"b":{{"app":0}},{ours}"#)
        );
        assert_eq!(json(" {} \r"), format!("{{{ours}"));
        assert_eq!(
            json(r#"{"time":1,"\u0061pp":"x"}"#),
            r#"{"time":1,"\u0061pp":"x","pando.app":"api","worker":2,"stream":"err","pando.time":"2026-11-21T03:44:00.123Z"}"#
        );
        let wrapped = |message: &str| {
            format!(
                r#"{{"time":"2026-11-21T03:44:00.123Z","app":"api","worker":2,"stream":"err","message":{message}}}"#
            )
        };
        assert_eq!(json("say \"hi\"\t"), wrapped(r#""say \"hi\"\t""#));
        for text in ["{", "{}}", "[1]", "{\"a\":}", "{\"a\":1} x", "17", ""] {
            assert_eq!(json(text), wrapped(&quoted(text)), "{text}");
        }
    }

    #[test]
    fn every_result_is_an_object() {
        for text in ["{\"a\":[1,2]}", "x", "\u{1b}[31mred", "{\"a\":1,\"a\":2}"] {
            let value: Value = serde_json::from_str(&json(text)).unwrap();
            assert_eq!(value["app"], "api", "{text}");
        }
    }

    #[test]
    fn pino_and_winston() {
        let pino = readable(
            r#"{"level":30,"time":1795232640123,"pid":7,"hostname":"h","req":{"id":1},"msg":"hi"}"#,
        )
        .unwrap();
        assert_eq!((pino.level.as_str(), pino.message.as_str()), ("info", "hi"));
        assert_eq!(pino.time.as_deref(), Some("2026-11-21T03:44:00.123Z"));
        assert_eq!(pino.rest, [("req".to_owned(), r#"{"id":1}"#.to_owned())]);

        let winston =
            readable(r#"{"message":"no","level":"warn","timestamp":"today","z":"1","a":2}"#)
                .unwrap();
        assert_eq!(
            (winston.level.as_str(), winston.message.as_str()),
            ("warn", "no")
        );
        assert_eq!(winston.time.as_deref(), Some("today"));
        assert_eq!(
            winston.rest,
            [("z".into(), "1".into()), ("a".into(), "2".to_owned())]
        );

        for other in [
            "",
            "hello",
            "{}",
            r#"{"level":[]}"#,
            r#"{"level":30}"#,
            r#"{"msg":"x"}"#,
        ] {
            assert_eq!(readable(other), None, "{other}");
        }
    }
}
