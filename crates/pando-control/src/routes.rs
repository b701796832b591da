//! From an HTTP request to a [`Request`]. `POST /v1/call` is the whole API; the GETs are there for
//! people with curl.

use hyper::{Method, StatusCode};

use monitor_spec::ask::Ask;

use crate::api::{LogQuery, LogStream, Problem, Request, Select};

/// Lines of `/v1/logs` where none are asked for.
const DEFAULT_LOG_LINES: usize = 15;
const PATHS: &str = "POST /v1/call; GET /v1/version, /v1/apps, /v1/apps/NAME, \
                     /v1/logs?app=NAME&lines=N&follow=1, /v1/events, /v1/metrics";

/// What to do with an HTTP request.
#[derive(Debug, PartialEq)]
pub(crate) enum Route {
    /// The body is a [`Request`].
    Body,
    Call(Request),
    /// The text of its answer is the body.
    Text(Request),
    Refused(StatusCode, Box<Problem>),
}

/// The request's head decides; the body is not looked at.
pub(crate) fn route(method: &Method, path: &str, query: &str) -> Route {
    if path == "/v1/call" {
        return if method == Method::POST {
            Route::Body
        } else {
            wrong_method(method, path)
        };
    }
    if path == "/v1/metrics" {
        let ask = Ask::Exposition;
        return match *method {
            Method::GET => Route::Text(Request::Monitor { ask }),
            _ => wrong_method(method, path),
        };
    }
    let request = match path
        .strip_prefix("/v1/")
        .unwrap_or_default()
        .split_once('/')
    {
        None => match path {
            "/v1/version" => Ok(Request::Version),
            "/v1/apps" => Ok(Request::List {
                select: Select::All,
            }),
            "/v1/events" => Ok(Request::Events),
            "/v1/logs" => log_query(query).map(|query| Request::Logs { query }),
            _ => return unknown_path(path),
        },
        Some(("apps", name)) if !name.is_empty() && !name.contains('/') => {
            decode(name).map(|name| Request::List {
                select: Select::Names(vec![name]),
            })
        }
        Some(_) => return unknown_path(path),
    };
    match request {
        Ok(_) if method != Method::GET => wrong_method(method, path),
        Ok(request) => Route::Call(request),
        Err(problem) => Route::Refused(StatusCode::BAD_REQUEST, problem),
    }
}

/// A problem with the call itself.
pub(crate) fn bad_call(what: &str, why: impl Into<String>) -> Box<Problem> {
    Box::new(Problem {
        place: "control socket".into(),
        what: what.into(),
        why: why.into(),
        fix: format!("the calls are: {PATHS}"),
        stderr: Vec::new(),
        exit_code: 2,
    })
}

fn wrong_method(method: &Method, path: &str) -> Route {
    let problem = bad_call(
        "wrong HTTP method",
        format!("{method} does not go with {path}"),
    );
    Route::Refused(StatusCode::METHOD_NOT_ALLOWED, problem)
}

fn unknown_path(path: &str) -> Route {
    Route::Refused(
        StatusCode::NOT_FOUND,
        bad_call("no such path", format!("{path:?} is unknown")),
    )
}

fn log_query(query: &str) -> Result<LogQuery, Box<Problem>> {
    let mut wanted = LogQuery {
        lines: DEFAULT_LOG_LINES,
        ..LogQuery::default()
    };
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, "1"));
        let value = decode(value)?;
        match key {
            "app" => wanted.apps.push(value),
            "lines" => wanted.lines = number(key, &value)?,
            "worker" => wanted.worker = Some(number(key, &value)?),
            "follow" => wanted.follow = matches!(value.as_str(), "1" | "true" | "yes"),
            "since_ms" => wanted.since_ms = Some(number(key, &value)?),
            "until_ms" => wanted.until_ms = Some(number(key, &value)?),
            "stream" => wanted.stream = Some(stream(&value)?),
            _ => {
                return Err(bad_call(
                    "unknown parameter",
                    format!(
                        "{key:?} is none of app, worker, stream, lines, follow, since_ms, until_ms"
                    ),
                ));
            }
        }
    }
    Ok(wanted)
}

fn stream(value: &str) -> Result<LogStream, Box<Problem>> {
    match value {
        "out" => Ok(LogStream::Out),
        "err" => Ok(LogStream::Err),
        _ => Err(bad_call(
            "wrong parameter",
            format!("stream is out or err, not {value:?}"),
        )),
    }
}

fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, Box<Problem>> {
    value.parse().map_err(|_| {
        bad_call(
            "wrong parameter",
            format!("{key} must be a number that fits, not {value:?}"),
        )
    })
}

/// Percent-decoding (RFC 3986, section 2.1); the result must be UTF-8.
fn decode(text: &str) -> Result<String, Box<Problem>> {
    let wrong = || {
        bad_call(
            "wrong encoding",
            format!("{text:?} is not percent-encoded UTF-8"),
        )
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or_else(wrong)?;
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, query: &str) -> Route {
        route(&Method::GET, path, query)
    }

    #[test]
    fn friendly_gets_are_the_same_requests() {
        let one = Request::List {
            select: Select::Names(vec!["my api".into()]),
        };
        for (path, query, expect) in [
            ("/v1/version", "", Request::Version),
            (
                "/v1/apps",
                "",
                Request::List {
                    select: Select::All,
                },
            ),
            ("/v1/apps/my%20api", "", one),
            ("/v1/events", "", Request::Events),
        ] {
            assert_eq!(get(path, query), Route::Call(expect), "{path}");
        }
        let query = LogQuery {
            apps: vec!["api".into(), "web".into()],
            stream: Some(LogStream::Err),
            lines: 3,
            follow: true,
            ..LogQuery::default()
        };
        assert_eq!(
            get("/v1/logs", "app=api&app=web&lines=3&follow=1&stream=err"),
            Route::Call(Request::Logs { query })
        );
        assert_eq!(route(&Method::POST, "/v1/call", ""), Route::Body);
        let ask = Ask::Exposition;
        let metrics = Route::Text(Request::Monitor { ask });
        assert_eq!(get("/v1/metrics", ""), metrics);
    }

    #[test]
    fn everything_else_is_refused_with_a_reason() {
        for (method, path, query, status, why) in [
            (Method::GET, "/", "", 404, "unknown"),
            (Method::GET, "/v1/", "", 404, "unknown"),
            (Method::GET, "/v1/apps/", "", 404, "unknown"),
            (Method::GET, "/v1/apps/a/b", "", 404, "unknown"),
            (Method::GET, "/v1/call", "", 405, "GET"),
            (Method::POST, "/v1/apps", "", 405, "POST"),
            (Method::POST, "/v1/metrics", "", 405, "POST"),
            (Method::GET, "/v1/logs", "lines=many", 400, "number"),
            (Method::GET, "/v1/logs", "lines=-1", 400, "number"),
            (Method::GET, "/v1/logs", "app=%zz", 400, "percent"),
            (Method::GET, "/v1/logs", "app=%e", 400, "percent"),
            (Method::GET, "/v1/logs", "app=%ff", 400, "percent"),
            (Method::GET, "/v1/logs", "line=3", 400, "none of"),
        ] {
            let Route::Refused(code, problem) = route(&method, path, query) else {
                panic!("{method} {path}?{query} was accepted");
            };
            assert_eq!(code.as_u16(), status, "{method} {path}?{query}");
            assert!(problem.why.contains(why), "{problem:?}");
            assert_eq!(problem.exit_code, 2);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_head_panics(path in ".{0,60}", query in ".{0,60}") {
            get(&path, &query);
            get(&format!("/v1/{path}"), &query);
            get("/v1/logs", &query);
        }
    }
}
