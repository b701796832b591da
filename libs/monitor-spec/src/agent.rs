//! What the preload reports, once a second, one JSON object a datagram of the worker's own
//! `SOCK_SEQPACKET` socket. Every count is of the time since the report before, so a report that
//! could not be sent is added to the next one.
//!
//! The bytes are the app's: nothing in them is believed further than its bounds.

use histogram::Histogram;
use serde::{Deserialize, Serialize};

/// The environment variable with the descriptor's number.
pub const FD_VARIABLE: &str = "PANDO_AGENT_FD";
pub const VERSION: u32 = 1;
/// A longer datagram is cut by the kernel and then refused.
pub const MAX_REPORT_BYTES: usize = 128 * 1024;
/// Longer names of routes and peers are cut.
pub const MAX_NAME_BYTES: usize = 200;
/// Rows of one report; the preload keeps to [`crate::MAX_ENDPOINTS`].
pub const MAX_ROWS: usize = 512;
/// Parts of a preload that one report can call broken; it has fewer.
pub const MAX_BROKEN: usize = 16;
/// A longer reason is cut.
const MAX_WHY_BYTES: usize = 400;

/// One thread's report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    pub v: u32,
    /// 0 is the main thread, others are worker threads of the process.
    pub thread: u32,
    /// `process.versions.node`.
    pub node: String,
    /// Length of the time that it is about, by the worker's monotonic clock.
    pub took_ms: f64,
    pub delay: Option<Delay>,
    /// Milliseconds that the event loop was active and idle (`eventLoopUtilization`).
    pub active_ms: f64,
    pub idle_ms: f64,
    pub gc: Gc,
    pub heap: Option<Heap>,
    /// Active handles and requests (`process.getActiveResourcesInfo`).
    pub handles: u32,
    /// HTTP requests that are being answered.
    pub in_flight: u32,
    pub routes: Vec<Route>,
    pub outgoing: Vec<Outgoing>,
    /// Reports that found no room since the last one that did.
    pub dropped: u32,
    /// What of the preload does not work here, told in every report while it is so.
    pub broken: Vec<Broken>,
}

/// A part that threw.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Broken {
    /// `http-server`, `http2-server`, `fastify`, `routes`, `outgoing`, `event-loop-delay`,
    /// `event-loop-utilization`, `gc`, `heap`, `handles`, `threads`, `clock`, `drain`, `report`.
    pub part: String,
    /// `TypeError: no (at /srv/first.js:3:9)`.
    pub why: String,
}

/// Event-loop delay: how much later than due a timer came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delay {
    pub mean_us: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

/// Garbage collections by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gc {
    pub minor: Pauses,
    pub major: Pauses,
    pub incremental: Pauses,
    pub weak_callbacks: Pauses,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pauses {
    pub count: u32,
    pub total_us: u64,
    pub max_us: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heap {
    pub used_bytes: u64,
    pub total_bytes: u64,
    /// What V8 lets the heap grow to.
    pub limit_bytes: u64,
    /// In use right after the last major collection; a leak is judged by this.
    pub floor_bytes: Option<u64>,
    pub external_bytes: u64,
    pub array_buffers_bytes: u64,
}

/// Requests to one route that ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Route {
    pub method: String,
    /// The framework's own pattern (`/users/:id`), or the path folded.
    pub route: String,
    /// Answers with 4xx and 5xx.
    pub errors_4xx: u64,
    pub errors_5xx: u64,
    /// Connections that ended before the answer.
    pub aborted: u64,
    /// Event streams (`text/event-stream`) that ended after more than a second. Their time is no
    /// latency, so they are not in `latency`.
    pub streams: u64,
    /// Microseconds from the request's head to the answer's end; its count is that of the requests
    /// without `streams`.
    #[serde(flatten)]
    pub latency: Histogram,
}

/// What the app asked of others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outgoing {
    /// `http`, `redis`, `mysql`, …
    pub kind: String,
    /// `api.example.com:443`, or the command's or statement's kind.
    pub peer: String,
    pub errors: u64,
    #[serde(flatten)]
    pub latency: Histogram,
}

/// Why a datagram is no report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadReport {
    TooLong,
    NotJson(String),
    Version(u32),
    TooManyRows(usize),
}

impl std::fmt::Display for BadReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong => write!(f, "longer than {MAX_REPORT_BYTES} bytes"),
            Self::NotJson(why) => write!(f, "not a report: {why}"),
            Self::Version(v) => write!(f, "version {v}, not {VERSION}"),
            Self::TooManyRows(n) => write!(f, "{n} rows, at most {MAX_ROWS}"),
        }
    }
}

impl std::error::Error for BadReport {}

/// A report from a datagram: numbers that make no sense are brought into bounds.
///
/// # Errors
/// [`BadReport`].
pub fn parse(bytes: &[u8]) -> Result<Report, BadReport> {
    if bytes.len() > MAX_REPORT_BYTES {
        return Err(BadReport::TooLong);
    }
    let mut report: Report =
        serde_json::from_slice(bytes).map_err(|error| BadReport::NotJson(error.to_string()))?;
    if report.v != VERSION {
        return Err(BadReport::Version(report.v));
    }
    let rows = report.routes.len() + report.outgoing.len();
    if rows > MAX_ROWS {
        return Err(BadReport::TooManyRows(rows));
    }
    for time in [
        &mut report.took_ms,
        &mut report.active_ms,
        &mut report.idle_ms,
    ] {
        if !time.is_finite() || *time < 0.0 {
            *time = 0.0;
        }
    }
    cut(&mut report.node, MAX_NAME_BYTES);
    report.broken.truncate(MAX_BROKEN);
    for broken in &mut report.broken {
        cut(&mut broken.part, MAX_NAME_BYTES);
        cut(&mut broken.why, MAX_WHY_BYTES);
    }
    for route in &mut report.routes {
        cut(&mut route.method, MAX_NAME_BYTES);
        cut(&mut route.route, MAX_NAME_BYTES);
        let count = route.latency.count().saturating_add(route.streams);
        route.errors_4xx = route.errors_4xx.min(count);
        route.errors_5xx = route.errors_5xx.min(count - route.errors_4xx);
        route.aborted = route.aborted.min(count);
    }
    for out in &mut report.outgoing {
        cut(&mut out.kind, MAX_NAME_BYTES);
        cut(&mut out.peer, MAX_NAME_BYTES);
        out.errors = out.errors.min(out.latency.count());
    }
    Ok(report)
}

/// At a character's end. Control characters would disturb a terminal; those that turn the
/// direction of writing, or are not seen, would show another name.
fn cut(text: &mut String, max_bytes: usize) {
    text.retain(|c| !c.is_control() && !is_unseen(c));
    let end = text.floor_char_boundary(max_bytes);
    text.truncate(end);
}

/// Marks, embeddings, overrides and isolates of direction, joiners, the byte order mark, and the
/// separators of lines and paragraphs (Unicode, UAX #9).
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_report_of_the_preload_is_read() {
        let text = r#"{"v":1,"thread":0,"node":"20.1.0","took_ms":1000.5,"active_ms":3,"idle_ms":997,
            "delay":{"mean_us":1000,"p50_us":900,"p99_us":2000,"max_us":2500},
            "gc":{"minor":{"count":2,"total_us":900,"max_us":500}},
            "heap":{"used_bytes":5,"total_bytes":9,"limit_bytes":99,"floor_bytes":null},
            "routes":[{"method":"GET","route":"/a/:id","errors_5xx":1,"h":[100,2],"s":400,"x":210}],
            "outgoing":[{"kind":"http","peer":"x:80","h":[5,1],"s":5,"x":5}],"later":1}"#;
        let report = parse(text.as_bytes()).unwrap();
        assert_eq!(report.routes[0].latency.count(), 2);
        assert_eq!(report.gc.minor.count, 2);
        assert_eq!(report.delay.unwrap().max_us, 2500);
        assert_eq!(report.outgoing[0].peer, "x:80");
    }

    #[test]
    fn nonsense_is_refused_or_brought_into_bounds() {
        assert!(matches!(parse(b"{}"), Err(BadReport::Version(0))));
        assert!(matches!(parse(b"hello"), Err(BadReport::NotJson(_))));
        assert!(matches!(
            parse(br#"{"v":1,"routes":[{"h":[999999,1]}]}"#),
            Err(BadReport::NotJson(_))
        ));
        let wild = r#"{"v":1,"took_ms":-5,"routes":[
            {"method":"G\u001bET","route":"/","errors_4xx":9,"errors_5xx":9,"h":[1,3]}]}"#;
        let report = parse(wild.as_bytes()).unwrap();
        assert_eq!(report.took_ms, 0.0);
        let route = &report.routes[0];
        assert_eq!((route.errors_4xx, route.errors_5xx), (3, 0));
        assert_eq!(route.method, "GET");
    }

    #[test]
    fn what_is_broken_is_bounded() {
        let one = format!(r#"{{"part":"gc\u0007","why":"{}"}}"#, "é".repeat(1_000));
        let many = vec![one; 40].join(",");
        let report = parse(format!(r#"{{"v":1,"broken":[{many}]}}"#).as_bytes()).unwrap();
        assert_eq!(report.broken.len(), MAX_BROKEN);
        assert_eq!(report.broken[0].part, "gc");
        assert_eq!(report.broken[0].why.len(), MAX_WHY_BYTES);
    }

    #[test]
    fn attacks_are_refused_or_bounded() {
        let json = |bytes: &[u8]| matches!(parse(bytes), Err(BadReport::NotJson(_)));
        let (open, close) = ("[".repeat(60_000), "]".repeat(60_000));
        // What nobody reads is passed over without going down into it.
        let unread = format!(r#"{{"v":1,"x":{open}{close}}}"#);
        assert!(parse(unread.as_bytes()).is_ok());
        for deep in [
            format!(r#"{{"v":1,"routes":{open}{close}}}"#),
            format!(r#"{{"v":1,"routes":[{{"x":{open}{close}}}]}}"#),
            format!(r#"{{"v":1,"outgoing":[{{"h":{open}{close}}}]}}"#),
        ] {
            assert!(json(deep.as_bytes()), "deep");
        }
        assert!(json(b"{\"v\":1,\"node\":\"\xff\xfe\"}"), "no UTF-8");
        for number in ["NaN", "Infinity", "1e999", "-1e999"] {
            let text = format!(r#"{{"v":1,"took_ms":{number}}}"#);
            assert!(json(text.as_bytes()), "{number}");
        }
        assert!(json(br#"{"v":1,"in_flight":-1}"#));
        assert!(json(br#"{"v":1,"in_flight":4294967296}"#));
        assert!(json(br#"{"v":1,"v":1}"#), "twice the same");
        assert!(json(
            br#"{"v":1,"routes":[{"h":[5,18446744073709551615,6,1]}]}"#
        ));
        assert!(json(br#"{"v":1,"routes":[{"h":[5]}]}"#));
        let many = format!(r#"{{"v":1,"routes":[{}{{}}]}}"#, "{},".repeat(40_000));
        assert_eq!(parse(many.as_bytes()), Err(BadReport::TooManyRows(40_001)));
        let long = " ".repeat(MAX_REPORT_BYTES + 1);
        assert_eq!(parse(long.as_bytes()), Err(BadReport::TooLong));
    }

    #[test]
    fn names_show_what_they_are() {
        let text = "{\"v\":1,\"routes\":[{\"method\":\"G\u{202e}E\u{200b}T\",\"route\":\"/a\u{2066}/\u{e9}\u{2028}\"}]}";
        let report = parse(text.as_bytes()).unwrap();
        let route = &report.routes[0];
        assert_eq!(
            (route.method.as_str(), route.route.as_str()),
            ("GET", "/a/\u{e9}")
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }
    }
}
