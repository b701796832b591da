//! A span as it waits to be sent.

use std::time::{Duration, SystemTime};

use http::HeaderValue;

use super::context::Context;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Server,
    Client,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(i64::from(number))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

#[derive(Clone, Debug)]
pub struct Span {
    pub context: Context,
    pub parent: Option<u64>,
    /// The request's `tracestate`.
    pub state: Option<HeaderValue>,
    pub kind: Kind,
    pub name: String,
    pub start: SystemTime,
    pub took: Duration,
    pub failed: bool,
    /// Names are those of OpenTelemetry's semantic conventions for HTTP.
    pub attributes: Vec<(&'static str, Value)>,
}

impl Span {
    pub fn put(&mut self, name: &'static str, value: impl Into<Value>) {
        self.attributes.push((name, value.into()));
    }

    /// A host with its port as `server.address` and `server.port`.
    pub fn put_server(&mut self, host: &str) {
        let name = host.rsplit_once(':').filter(|(name, port)| {
            let bare = !name.contains(':') || name.ends_with(']');
            bare && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
        });
        let split = |(name, port): (&'_ str, &str)| (name.to_owned(), port.parse::<u16>().ok());
        let (name, port) = name.map_or_else(|| (host.to_owned(), None), split);
        self.put("server.address", name.trim_matches(['[', ']']));
        if let Some(port) = port {
            self.put("server.port", port);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_and_without_ports() {
        for (host, address, port) in [
            ("a.example", "a.example", None),
            ("a.example:8080", "a.example", Some(8080)),
            ("[::1]:80", "::1", Some(80)),
            ("[::1]", "::1", None),
            ("::1", "::1", None),
            ("a:", "a:", None),
            ("unix:/run/a.sock", "unix:/run/a.sock", None),
            ("a:99999", "a", None),
        ] {
            let mut span = Span {
                context: Context {
                    trace_id: 1,
                    span_id: 1,
                    flags: 1,
                },
                parent: None,
                state: None,
                kind: Kind::Client,
                name: String::new(),
                start: SystemTime::UNIX_EPOCH,
                took: Duration::ZERO,
                failed: false,
                attributes: Vec::new(),
            };
            span.put_server(host);
            let mut expect = vec![("server.address", Value::from(address))];
            expect.extend(port.map(|port: u16| ("server.port", port.into())));
            assert_eq!(span.attributes, expect, "{host}");
        }
    }
}
