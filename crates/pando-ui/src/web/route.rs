//! What a request asks for, from its path and query alone.

use form_urlencoded::parse;
use hyper::Method;
use monitor_spec::ask::{Ask, Query};
use pando_control::api::{LogQuery, LogStream};

use super::guard::Kind;

/// Metrics that one request may ask for.
const MAX_METRICS: usize = 16;
/// Points of one series at most: more than a wide screen has columns.
const MAX_POINTS: u32 = 4000;
/// Lines that a page gets before it follows.
pub const MAX_LINES: usize = 2000;
/// Lines that a search looks through, newest first.
const MAX_SEARCHED: usize = 1_000_000;
const MAX_PATTERN_BYTES: usize = 1000;

#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    /// A link with its token.
    Link(String),
    /// The address without one.
    Front,
    /// A file of the page; empty is the page itself.
    Asset(String),
    /// What the page must know first.
    Hello,
    /// Pictures as they come.
    Live,
    /// Series, each answered in turn.
    Series(Vec<Query>),
    Ask(Ask),
    Logs(Lines),
    Order,
    Missing,
    /// The method is not one of this path.
    Method,
    /// What is wrong with the query.
    Wrong(String),
}

/// Which lines a page wants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lines {
    pub query: LogQuery,
    /// Text that they have, or an expression between slashes.
    pub search: String,
    /// At most so many of the past.
    pub keep: usize,
}

impl Route {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Order => Kind::Order,
            Self::Hello | Self::Live | Self::Series(_) | Self::Ask(_) | Self::Logs(_) => Kind::Data,
            Self::Link(_)
            | Self::Front
            | Self::Asset(_)
            | Self::Missing
            | Self::Method
            | Self::Wrong(_) => Kind::Page,
        }
    }
}

/// `mount` is the path of this server's page, with a slash at both ends.
pub fn route(method: &Method, path: &str, query: &str, mount: &str) -> Route {
    let read = method == Method::GET || method == Method::HEAD;
    if path == "/" {
        let token = first(query, "token");
        return match token {
            _ if !read => Route::Method,
            // A HEAD of something that looks at links must not use one up.
            Some(token) if method == Method::GET => Route::Link(token),
            Some(_) | None => Route::Front,
        };
    }
    let Some(rest) = path.strip_prefix(mount) else {
        return Route::Missing;
    };
    match rest {
        "api/action" if method == Method::POST => Route::Order,
        "api/action" => Route::Method,
        _ if !read => Route::Method,
        "api/hello" => Route::Hello,
        "api/live" => Route::Live,
        "api/series" => series(query).unwrap_or_else(Route::Wrong),
        "api/endpoints" => span(query).map_or_else(Route::Wrong, |(app, from_ms, to_ms)| {
            Route::Ask(Ask::Endpoints {
                app,
                from_ms,
                to_ms,
            })
        }),
        "api/events" => span(query).map_or_else(Route::Wrong, |(app, from_ms, to_ms)| {
            Route::Ask(Ask::Events {
                app,
                from_ms,
                to_ms,
            })
        }),
        "api/logs" => lines(query).map_or_else(Route::Wrong, Route::Logs),
        name if name.starts_with("api/") => Route::Missing,
        name => Route::Asset(name.to_owned()),
    }
}

fn first(query: &str, name: &str) -> Option<String> {
    let mut pairs = parse(query.as_bytes());
    pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
}

fn text(query: &str, name: &str) -> String {
    first(query, name).unwrap_or_default()
}

fn number<T: std::str::FromStr>(query: &str, name: &str) -> Result<Option<T>, String> {
    match first(query, name) {
        None => Ok(None),
        Some(value) if value.is_empty() => Ok(None),
        Some(value) => value
            .parse()
            .map(Some)
            .map_err(|_| format!("{name} is no number: {value:?}")),
    }
}

fn flag(query: &str, name: &str) -> bool {
    first(query, name).is_some_and(|value| value == "1")
}

fn span(query: &str) -> Result<(String, i64, i64), String> {
    let from = number(query, "from")?.ok_or("from is missing")?;
    let to = number(query, "to")?.ok_or("to is missing")?;
    if from >= to {
        return Err("from must be before to".into());
    }
    Ok((text(query, "app"), from, to))
}

fn series(query: &str) -> Result<Route, String> {
    let (app, from_ms, to_ms) = span(query)?;
    let names = text(query, "metrics");
    let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
    if names.is_empty() || names.len() > MAX_METRICS {
        return Err(format!("metrics must name 1 to {MAX_METRICS}"));
    }
    let worker = number(query, "worker")?;
    let points = number(query, "points")?.unwrap_or(0).min(MAX_POINTS);
    let wanted = names.into_iter().map(|name| {
        let metric = name
            .parse()
            .map_err(|()| format!("no metric is called {name:?}"))?;
        Ok(Query {
            metric,
            app: app.clone(),
            worker,
            endpoint: first(query, "endpoint"),
            by_worker: flag(query, "by_worker"),
            from_ms,
            to_ms,
            points,
        })
    });
    Ok(Route::Series(wanted.collect::<Result<_, String>>()?))
}

fn lines(query: &str) -> Result<Lines, String> {
    let app = text(query, "app");
    let search = text(query, "q");
    if search.len() > MAX_PATTERN_BYTES {
        return Err(format!("a search has at most {MAX_PATTERN_BYTES} bytes"));
    }
    let stream = match text(query, "stream").as_str() {
        "" => None,
        "out" => Some(LogStream::Out),
        "err" => Some(LogStream::Err),
        other => return Err(format!("stream is out or err, not {other:?}")),
    };
    let keep = number(query, "lines")?.unwrap_or(500).min(MAX_LINES);
    Ok(Lines {
        query: LogQuery {
            apps: if app.is_empty() { vec![] } else { vec![app] },
            worker: number(query, "worker")?,
            stream,
            lines: if search.is_empty() {
                keep
            } else {
                MAX_SEARCHED
            },
            follow: flag(query, "follow"),
            since_ms: number(query, "from")?,
            until_ms: number(query, "to")?,
        },
        search,
        keep,
    })
}

#[cfg(test)]
mod tests {
    use monitor_spec::metric::Metric;

    use super::*;

    const MOUNT: &str = "/p/x/";

    fn get(path: &str, query: &str) -> Route {
        route(&Method::GET, path, query, MOUNT)
    }

    #[test]
    fn paths() {
        assert_eq!(get("/", "token=a%2Db"), Route::Link("a-b".into()));
        assert_eq!(get("/", ""), Route::Front);
        assert_eq!(route(&Method::HEAD, "/", "token=a", MOUNT), Route::Front);
        assert_eq!(get("/p/x/", ""), Route::Asset(String::new()));
        assert_eq!(get("/p/x/app.js", ""), Route::Asset("app.js".into()));
        assert_eq!(get("/p/y/app.js", ""), Route::Missing);
        assert_eq!(get("/app.js", ""), Route::Missing);
        assert_eq!(get("/p/x/api/nothing", ""), Route::Missing);
        assert_eq!(get("/p/x/api/hello", ""), Route::Hello);
        assert_eq!(get("/p/x/api/action", ""), Route::Method);
        let post = |path| route(&Method::POST, path, "", MOUNT);
        assert_eq!(post("/p/x/api/action"), Route::Order);
        assert_eq!(post("/p/x/api/live"), Route::Method);
        assert_eq!(post("/"), Route::Method);
    }

    #[test]
    fn series_and_spans() {
        let query =
            "metrics=rate,latency_p95&app=api&endpoint=GET+%2Fa%2F%3Aid&from=1&to=2&points=9999";
        let Route::Series(wanted) = get("/p/x/api/series", query) else {
            panic!("{:?}", get("/p/x/api/series", query));
        };
        assert_eq!(wanted.len(), 2);
        assert_eq!(wanted[1].metric, Metric::LatencyP95);
        assert_eq!(wanted[1].endpoint.as_deref(), Some("GET /a/:id"));
        assert_eq!(wanted[1].points, MAX_POINTS);
        for wrong in [
            "from=1&to=2",
            "metrics=rate&from=1",
            "metrics=rate&from=x&to=2",
            "metrics=rate&from=2&to=2",
            "metrics=nothing&from=1&to=2",
            "metrics=rate&from=1&to=2&worker=-1",
        ] {
            let said = get("/p/x/api/series", wrong);
            assert!(matches!(said, Route::Wrong(_)), "{wrong}: {said:?}");
        }
        let many = format!(
            "from=1&to=2&metrics={}",
            ["rate"; MAX_METRICS + 1].join(",")
        );
        assert!(matches!(get("/p/x/api/series", &many), Route::Wrong(_)));
        let events = get("/p/x/api/events", "from=1&to=2");
        let expect = Ask::Events {
            app: String::new(),
            from_ms: 1,
            to_ms: 2,
        };
        assert_eq!(events, Route::Ask(expect));
    }

    #[test]
    fn which_lines() {
        let query = "app=api&worker=2&stream=err&lines=9999999&follow=1&q=a+b";
        let Route::Logs(wanted) = get("/p/x/api/logs", query) else {
            panic!();
        };
        assert_eq!(wanted.search, "a b");
        assert_eq!(wanted.keep, MAX_LINES);
        assert_eq!(wanted.query.lines, MAX_SEARCHED);
        assert_eq!(wanted.query.apps, ["api"]);
        assert_eq!(wanted.query.stream, Some(LogStream::Err));
        assert!(wanted.query.follow);
        let wrong = get("/p/x/api/logs", "stream=both");
        assert!(matches!(wrong, Route::Wrong(_)));
        let long = format!("q={}", "x".repeat(MAX_PATTERN_BYTES + 1));
        assert!(matches!(get("/p/x/api/logs", &long), Route::Wrong(_)));
    }
}
