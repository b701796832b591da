//! What becomes invalid when an unsafe method succeeded (RFC 9111 section 4.4).

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, StatusCode};

/// Where a request went: scheme, host with port as the client wrote it, path and query.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub scheme: &'a str,
    pub host: &'a str,
    pub path_and_query: &'a str,
}

/// Paths with queries on the same origin whose stored answers are not to be used any more; the
/// request's own first. Empty when the method is safe or failed.
pub fn invalidated(
    method: &Method,
    status: StatusCode,
    origin: Origin<'_>,
    response: &HeaderMap,
) -> Vec<String> {
    let done = status.is_success() || status.is_redirection();
    if method.is_safe() || !done {
        return Vec::new();
    }
    let mut paths = vec![origin.path_and_query.to_owned()];
    for name in [LOCATION, CONTENT_LOCATION] {
        let target = response.get(name).and_then(|value| value.to_str().ok());
        paths.extend(target.and_then(|target| origin.resolve(target)));
    }
    paths
}

impl Origin<'_> {
    /// Path and query of a reference (RFC 3986 section 5.2), if it is on this origin.
    pub fn resolve(&self, reference: &str) -> Option<String> {
        let reference = reference.split('#').next().unwrap_or_default().trim();
        let rest = match reference.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
                if !scheme.eq_ignore_ascii_case(self.scheme) {
                    return None;
                }
                Some(rest)
            }
            Some(_) | None => reference.strip_prefix("//"),
        };
        if let Some(rest) = rest {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (host, path) = rest.split_at(end);
            let path = if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            };
            return self.is_host(host).then(|| without_dots(&path));
        }
        let (base, _) = self
            .path_and_query
            .split_once('?')
            .unwrap_or((self.path_and_query, ""));
        if reference.is_empty() {
            return Some(self.path_and_query.to_owned());
        }
        if reference.starts_with('?') {
            return Some(format!("{base}{reference}"));
        }
        if reference.starts_with('/') {
            return Some(without_dots(reference));
        }
        let dir = &base[..base.rfind('/').map_or(0, |at| at + 1)];
        Some(without_dots(&format!("{dir}{reference}")))
    }

    fn is_host(&self, host: &str) -> bool {
        let port = if self.scheme.eq_ignore_ascii_case("https") {
            ":443"
        } else {
            ":80"
        };
        let bare = |host: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
        bare(host) == bare(self.host)
    }
}

/// `/a/../b/./c?x` is `/b/c?x`.
fn without_dots(path_and_query: &str) -> String {
    let at = path_and_query.find('?').unwrap_or(path_and_query.len());
    let (path, query) = path_and_query.split_at(at);
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const AT: Origin<'static> = Origin {
        scheme: "http",
        host: "example.com",
        path_and_query: "/a/b?c=d",
    };

    #[test]
    fn references() {
        let check = |text: &str, want: Option<&str>| {
            assert_eq!(AT.resolve(text).as_deref(), want, "{text}")
        };
        check("/x/y?z", Some("/x/y?z"));
        check("x", Some("/a/x"));
        check("../x#f", Some("/x"));
        check("./", Some("/a/"));
        check("..", Some("/"));
        check("?q", Some("/a/b?q"));
        check("", Some("/a/b?c=d"));
        check("http://example.com/x", Some("/x"));
        check("http://EXAMPLE.com:80/x", Some("/x"));
        check("http://example.com", Some("/"));
        check("//example.com?x", Some("/?x"));
        check("https://example.com/x", None);
        check("http://other.com/x", None);
        check("http://example.com:81/x", None);
    }

    #[test]
    fn methods_and_statuses() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_static("/l"));
        headers.insert(CONTENT_LOCATION, HeaderValue::from_static("http://other/c"));
        let check = |method: &str, status: u16, want: &[&str]| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                invalidated(&method, status, AT, &headers),
                want,
                "{method} {status}"
            );
        };
        check("POST", 200, &["/a/b?c=d", "/l"]);
        check("M-SEARCH", 302, &["/a/b?c=d", "/l"]);
        check("DELETE", 404, &[]);
        check("PUT", 500, &[]);
        check("GET", 200, &[]);
        check("OPTIONS", 200, &[]);
    }
}
