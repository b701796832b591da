//! What the gateway reports of requests, against what clients and the access log know of them.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gateway_spec::{
    Action, GatewaySpec, KeyPart, Limit, Listen, ListenAddress, PathMatch, Route, Site, Upstreams,
};
use monitor_spec::edge::Report;
use pando_gateway::gateway::Gateway;
use pando_gateway::measure::Reporter;
use pando_gateway::serve::Listening;
use pando_gateway::tls::DirectFiles;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(30);

struct Edge {
    gateway: Gateway,
    reporter: Reporter,
    address: String,
    dir: tempfile::TempDir,
}

impl Edge {
    async fn start(routes: Vec<Route>) -> Self {
        Self::sampling(routes, 1.0).await
    }

    /// Writes a share of the good answers to its access log.
    async fn sampling(routes: Vec<Route>, sample: f64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        let listen = Listen::plain(at);
        assert!(matches!(listen.address, ListenAddress::Tcp(_)));
        let spec = GatewaySpec {
            listen: vec![listen.clone()],
            sites: vec![Site::new(["edge.example", "*.edge.example"], routes)],
            threads: Some(2),
            health: Some("/livez".into()),
            access_log: gateway_spec::AccessLog {
                path: Some(dir.path().join("access.log")),
                sample,
                ..gateway_spec::AccessLog::default()
            },
            ..GatewaySpec::default()
        };
        let state = dir.path().to_owned();
        let gateway = Gateway::new(spec, Arc::new(DirectFiles), state).unwrap();
        gateway.shared().reports.store(true, Relaxed);
        let socket = socket.into_std().unwrap().into();
        gateway.listen(Listening { listen, socket }).await.unwrap();
        Self {
            gateway,
            reporter: Reporter::default(),
            address: at.to_string(),
            dir,
        }
    }

    /// The lines of the access log once there are so many.
    async fn log(&self, lines: usize) -> Vec<serde_json::Value> {
        let path = self.dir.path().join("access.log");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if text.lines().count() >= lines {
                let parse = |line| serde_json::from_str(line).unwrap();
                return text.lines().map(parse).collect();
            }
            assert!(Instant::now() < deadline, "{lines} lines: {text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn open(&self) -> Client {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        Client(BufReader::new(stream))
    }

    /// The report once it has `requests`.
    async fn report(&mut self, requests: u64) -> Report {
        let deadline = Instant::now() + PATIENCE;
        let mut all = Report::default();
        loop {
            let now = Instant::now();
            self.reporter.gather(self.gateway.shared(), now);
            let report = self.reporter.report(Vec::new(), now);
            let counts = report.routes.iter().map(|row| row.latency.count());
            let seen = counts.sum::<u64>();
            let before = all.routes.iter().map(|row| row.latency.count());
            let seen = seen + before.sum::<u64>();
            all.routes.extend(report.routes);
            all.limited += report.limited;
            all.cache_hits += report.cache_hits;
            all.cache_misses += report.cache_misses;
            all.bytes_out += report.bytes_out;
            all.bytes_in += report.bytes_in;
            all.upstreams = report.upstreams;
            (all.in_flight, all.connections) = (report.in_flight, report.connections);
            if seen >= requests {
                return all;
            }
            assert!(now < deadline, "{seen} of {requests}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    /// The status of the answer; its body is read.
    async fn ask(&mut self, method: &str, path: &str, host: &str) -> u16 {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        self.0.get_mut().write_all(head.as_bytes()).await.unwrap();
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).await.unwrap() > 0, "{path}");
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().unwrap();
            } else if let Some(rest) = line.strip_prefix("content-length: ") {
                length = rest.parse().unwrap();
            } else if line.is_empty() {
                break;
            }
        }
        if method != "HEAD" {
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await.unwrap();
        }
        status
    }
}

/// Answers `/…/STATUS` with that status after up to 20 ms; `/hang` never.
async fn app() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut lines = Vec::new();
                loop {
                    let mut line = String::new();
                    if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                        return;
                    }
                    if line != "\r\n" {
                        lines.push(line);
                        continue;
                    }
                    let path = lines[0].split(' ').nth(1).unwrap().to_owned();
                    lines.clear();
                    if path == "/hang" {
                        std::future::pending::<()>().await;
                    }
                    if path == "/ws" {
                        let answer = "HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
                        let _ = stream.get_mut().write_all(answer.as_bytes()).await;
                        return;
                    }
                    let number: u64 = path.bytes().map(u64::from).sum();
                    tokio::time::sleep(Duration::from_micros(number * 7919 % 20_000)).await;
                    let status = path.rsplit('.').next().and_then(|last| last.parse().ok());
                    let status: u16 = status.unwrap_or(200);
                    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok");
                    stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

fn to(path: &str, upstream: &str) -> Route {
    let action = Action::Proxy(Upstreams::addresses([upstream]));
    let mut route = Route::new(PathMatch::Prefix(path.into()), action);
    route.name = format!("{path}*");
    route
}

/// What clients have seen: by method and endpoint, answers by class.
type Seen = BTreeMap<(String, String), [u64; 5]>;

fn by_endpoint(report: &Report) -> Seen {
    let mut seen = Seen::new();
    for row in &report.routes {
        let key = (row.method.clone(), row.endpoint.clone());
        let classes = seen.entry(key).or_default();
        (0..5).for_each(|class| classes[class] += row.classes[class]);
    }
    seen
}

#[tokio::test]
async fn errors_by_endpoint_are_those_of_the_client() {
    let app = app().await;
    let mut limited = Route::new(
        PathMatch::Exact("/limited".into()),
        Action::Respond {
            status: 200,
            body: "fine".into(),
            content_type: None,
        },
    );
    limited.protect.limits = vec![Limit {
        per: vec![KeyPart::Ip],
        zone: None,
        rate: 1,
        period_ms: 3_600_000,
        burst: 2,
        nodelay: true,
        shared: false,
        dry_run: false,
    }];
    let mut edge = Edge::start(vec![limited, to("/api/", &app)]).await;
    let mut seen = Seen::new();
    let mut total = 0;
    let mut client = edge.open().await;
    for number in 0..120u64 {
        let (method, path, endpoint) = match number % 6 {
            0 => ("GET", format!("/api/users/{number}"), "/api/users/:id"),
            1 => (
                "POST",
                format!("/api/users/{number}/x.500"),
                "/api/users/:id/x.500",
            ),
            2 => ("GET", "/limited".to_owned(), "/limited"),
            3 => ("GET", "/api/none.404".to_owned(), "(unmatched)"),
            4 => ("HEAD", "/api/pay.503?card=1".to_owned(), "/api/pay.503"),
            _ => ("PURGEALL", "/nowhere".to_owned(), "(unmatched)"),
        };
        let status = client.ask(method, &path, "edge.example").await;
        let method = if method == "PURGEALL" {
            "_OTHER"
        } else {
            method
        };
        let classes = seen.entry((method.into(), endpoint.into())).or_default();
        classes[usize::from(status / 100) - 1] += 1;
        total += 1;
    }
    let report = edge.report(total).await;
    assert_eq!(by_endpoint(&report), seen);
    assert_eq!(seen[&("GET".into(), "/limited".into())][3], report.limited);
    assert!(report.limited > 0 && report.bytes_in > 0 && report.bytes_out > 0);
    let row = report
        .routes
        .iter()
        .find(|row| row.endpoint == "/api/users/:id");
    let row = row.expect("a row");
    assert_eq!((&*row.site, &*row.route), ("edge.example", "/api/*"));
    assert_eq!(
        (row.aborted, row.upstream.count()),
        (0, row.latency.count())
    );
    assert_eq!(row.bytes_out, 2 * row.latency.count());
    let upstream = report
        .upstreams
        .iter()
        .find(|upstream| upstream.address == app);
    let upstream = upstream.expect("the upstream");
    assert!(upstream.available && upstream.group == app, "{upstream:?}");
    assert_eq!((report.in_flight, report.connections), (0, 1));
}

#[tokio::test]
async fn those_who_leave_and_those_without_a_site_are_counted() {
    let app = app().await;
    let mut edge = Edge::start(vec![to("/", &app)]).await;
    let mut leaves = edge.open().await;
    let head = b"GET /hang HTTP/1.1\r\nHost: edge.example\r\n\r\n";
    leaves.0.get_mut().write_all(head).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while edge.report(0).await.in_flight == 0 {
        assert!(Instant::now() < deadline, "the request is not under way");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before = jiff::Timestamp::now();
    drop(leaves);
    let line = &edge.log(1).await[0];
    assert_eq!(
        (&line["status"], &line["aborted"]),
        (&499.into(), &true.into()),
        "{line}"
    );
    let time: jiff::Timestamp = line["time"].as_str().unwrap().parse().unwrap();
    // Of the end, to the millisecond.
    assert!(
        time.as_millisecond() >= before.as_millisecond(),
        "{time} {before}"
    );
    let report = edge.report(1).await;
    let row = &report.routes[0];
    assert_eq!(
        (&*row.endpoint, row.aborted, row.classes),
        ("/hang", 1, [0; 5])
    );
    assert_eq!(
        edge.open().await.ask("GET", "/", "other.example").await,
        404
    );
    let report = edge.report(1).await;
    let row = &report.routes[0];
    assert_eq!(
        (&*row.site, &*row.route, &*row.endpoint),
        ("", "", "(unmatched)")
    );
    assert_eq!(row.classes, [0, 0, 0, 1, 0]);
}

#[tokio::test]
async fn a_share_of_good_answers_is_written_and_errors_are() {
    let fine = Action::Respond {
        status: 200,
        body: "fine".into(),
        content_type: None,
    };
    let fine = Route::new(PathMatch::Prefix("/fine".into()), fine);
    let edge = Edge::sampling(vec![fine], 0.5).await;
    let mut client = edge.open().await;
    for _ in 0..400 {
        assert_eq!(client.ask("GET", "/fine", "edge.example").await, 200);
    }
    assert_eq!(client.ask("GET", "/last", "edge.example").await, 404);
    let deadline = Instant::now() + PATIENCE;
    let lines = loop {
        let lines = edge.log(1).await;
        if lines.iter().any(|line| line["status"] == 404) {
            break lines.len();
        }
        assert!(Instant::now() < deadline, "no line of the error");
    };
    // 200 on average; beyond five standard deviations once in a million runs.
    assert!((150..=251).contains(&lines), "{lines}");
}

/// By endpoint: requests, those that were aborted, and answers by class.
fn rows(report: &Report) -> BTreeMap<&str, (u64, u64, [u64; 5])> {
    let mut rows = BTreeMap::new();
    for row in &report.routes {
        let (count, aborted, classes) = rows.entry(&*row.endpoint).or_insert((0, 0, [0; 5]));
        *count += row.latency.count();
        *aborted += row.aborted;
        (0..5).for_each(|class| classes[class] += row.classes[class]);
    }
    rows
}

#[tokio::test]
async fn http_2_upgrades_and_stored_answers_are_counted() {
    let app = app().await;
    let mut cached = Route::new(
        PathMatch::Prefix("/stored/".into()),
        Action::Proxy(Upstreams::addresses([&*app])),
    );
    cached.cache = Some(gateway_spec::Cache {
        default_ttl_ms: Some(60_000),
        ..gateway_spec::Cache::default()
    });
    let mut edge = Edge::start(vec![cached, to("/", &app)]).await;
    let stream = TcpStream::connect(&edge.address).await.unwrap();
    let stream = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let ask = |path: &str| {
        http::Request::get(format!("http://edge.example{path}"))
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .unwrap()
    };
    for number in 0..3 {
        let answer = sender.send_request(ask(&format!("/h2/{number}"))).await;
        let body = http_body_util::BodyExt::collect(answer.unwrap().into_body()).await;
        assert_eq!(body.unwrap().to_bytes(), "ok");
    }
    let hangs = sender.send_request(ask("/hang"));
    let reset = tokio::time::timeout(Duration::from_millis(300), hangs).await;
    assert!(reset.is_err(), "it hangs until its stream is reset");
    let mut client = edge.open().await;
    for _ in 0..4 {
        assert_eq!(client.ask("GET", "/stored/x", "edge.example").await, 200);
    }
    let mut upgraded = edge.open().await;
    let head =
        "GET /ws HTTP/1.1\r\nHost: edge.example\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    upgraded
        .0
        .get_mut()
        .write_all(head.as_bytes())
        .await
        .unwrap();
    let mut line = String::new();
    upgraded.0.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("HTTP/1.1 101 "), "{line}");
    let report = edge.report(9).await;
    let expect = [
        ("/h2/:id", (3, 0, [0, 3, 0, 0, 0])),
        ("/hang", (1, 1, [0; 5])),
        ("/stored/x", (4, 0, [0, 4, 0, 0, 0])),
        ("/ws", (1, 0, [1, 0, 0, 0, 0])),
    ];
    assert_eq!(rows(&report), BTreeMap::from(expect));
    assert_eq!((report.cache_hits, report.cache_misses), (3, 1));
    let stored = report.routes.iter().find(|row| row.endpoint == "/stored/x");
    assert_eq!(
        stored.map(|row| row.upstream.count()),
        Some(1),
        "the others were here"
    );
}

#[tokio::test]
async fn a_load_balancer_is_no_traffic() {
    let mut edge = Edge::start(vec![to("/", "127.0.0.1:9")]).await;
    let mut client = edge.open().await;
    assert_eq!(client.ask("GET", "/livez", "any.example").await, 200);
    assert_eq!(client.ask("HEAD", "/livez", "edge.example").await, 200);
    edge.gateway.shared().leaving.store(true, Relaxed);
    assert_eq!(client.ask("GET", "/livez", "a").await, 503);
    assert_eq!(client.ask("GET", "/livez/x", "edge.example").await, 502);
    assert_eq!(client.ask("POST", "/livez", "other.example").await, 404);
    let report = edge.report(2).await;
    let classes = report.routes.iter().map(|row| row.classes);
    let classes: BTreeMap<_, _> = classes.map(|row| (row, ())).collect();
    assert_eq!(classes.len(), 2, "{report:?}");
    edge.gateway.flush(PATIENCE);
    assert_eq!(logged(&edge.dir.path().join("access.log")).len(), 2);
}

/// Of each request of the log: milliseconds.
fn logged(log: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().map(|line| {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        entry["total_ms"].as_f64().unwrap()
    });
    lines.collect()
}

#[tokio::test]
async fn percentiles_are_those_of_the_same_requests() {
    const CLIENTS: u64 = 8;
    const EACH: u64 = 60;
    let app = app().await;
    let mut edge = Edge::start(vec![to("/", &app)]).await;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let mut client = edge.open().await;
        clients.spawn(async move {
            for at in 0..EACH {
                let path = format!("/item/{}", number * EACH + at + 100);
                assert_eq!(client.ask("GET", &path, "a.edge.example").await, 200);
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let report = edge.report(CLIENTS * EACH).await;
    let mut all = histogram::Histogram::new();
    for row in &report.routes {
        assert_eq!(row.endpoint, "/item/:id");
        all.merge(&row.latency);
    }
    edge.gateway.flush(PATIENCE);
    let mut exact = logged(&edge.dir.path().join("access.log"));
    assert_eq!(exact.len() as u64, CLIENTS * EACH);
    exact.sort_by(f64::total_cmp);
    for share in [0.5, 0.9, 0.95, 0.99, 1.0] {
        let rank = (share * exact.len() as f64).ceil() as usize;
        let (exact, got) = (exact[rank - 1], all.quantile(share).unwrap() / 1e3);
        assert!(
            (got - exact).abs() <= exact / 31.0 + 0.002,
            "{share}: {got} for {exact} ms"
        );
    }
}
