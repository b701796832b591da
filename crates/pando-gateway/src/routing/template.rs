//! Texts with `{host}`, `{path}` and the like, parsed once.

use std::fmt::Write as _;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Host,
    Path,
    /// With its `?`, if there is one.
    Query,
    /// Path and query.
    Uri,
    Scheme,
    ClientIp,
    RequestId,
    Param(String),
}

/// See `gateway_spec::Action::Redirect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

/// What the names stand for in one request.
#[derive(Clone, Copy)]
pub struct Values<'r> {
    pub host: &'r str,
    pub path: &'r str,
    pub query: Option<&'r str>,
    pub scheme: &'r str,
    pub client_ip: &'r dyn std::fmt::Display,
    pub request_id: &'r str,
    pub params: &'r [(String, String)],
}

impl Template {
    /// Braces that hold no name stand for themselves.
    pub fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            plain.push_str(before);
            match after.split_once('}') {
                Some((name, tail)) if is_name(name) => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(named(name));
                    rest = tail;
                }
                Some(_) | None => {
                    plain.push('{');
                    rest = after;
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Self(parts)
    }

    /// The text, if it has no names.
    pub fn fixed(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    pub fn render(&self, values: &Values<'_>) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Host => out.push_str(values.host),
                Part::Path => out.push_str(values.path),
                Part::Query => query(&mut out, values),
                Part::Uri => {
                    out.push_str(values.path);
                    query(&mut out, values);
                }
                Part::Scheme => out.push_str(values.scheme),
                // Writing to a String cannot fail.
                Part::ClientIp => drop(write!(out, "{}", values.client_ip)),
                Part::RequestId => out.push_str(values.request_id),
                Part::Param(name) => {
                    let value = values.params.iter().find(|(n, _)| n == name);
                    out.push_str(value.map_or("", |(_, v)| v));
                }
            }
        }
        out
    }
}

fn query(out: &mut String, values: &Values<'_>) {
    if let Some(query) = values.query {
        out.push('?');
        out.push_str(query);
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn named(name: &str) -> Part {
    match name {
        "host" => Part::Host,
        "path" => Part::Path,
        "query" => Part::Query,
        "uri" => Part::Uri,
        "scheme" => Part::Scheme,
        "client_ip" => Part::ClientIp,
        "request_id" => Part::RequestId,
        _ => Part::Param(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_their_values() {
        let params = [("id".to_owned(), "7".to_owned())];
        let values = Values {
            host: "a.example",
            path: "/x",
            query: Some("q=1"),
            scheme: "https",
            client_ip: &"::1",
            request_id: "r",
            params: &params,
        };
        for (text, rendered) in [
            ("https://b{uri}", "https://b/x?q=1"),
            (
                "{scheme}://{host}/u/{id}{query}",
                "https://a.example/u/7?q=1",
            ),
            ("for={client_ip} {request_id}", "for=::1 r"),
            ("{ }{", "{ }{"),
            ("{nobody}", ""),
        ] {
            assert_eq!(Template::new(text).render(&values), rendered, "{text}");
        }
        assert_eq!(Template::new("plain").fixed(), Some("plain"));
    }
}
