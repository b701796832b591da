//! The dashboard's server over real sockets, with a daemon that is a closure.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a fake daemon knows a few calls"
)]

use std::net::SocketAddr;
use std::time::Duration;

use monitor_spec::ask::{self, Ask};
use monitor_spec::now::Now;
use pando_control::api::{Answer, Frame, LogLine, LogStream, Request};
use pando_control::{Call, bind, serve, socket_path};
use pando_ui::web::{Dashboard, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

const GENEROUS: Duration = Duration::from_secs(20);

fn answer(call: &Call) {
    match &call.request {
        Request::Monitor { ask: Ask::Watch } => {
            let now = Now {
                version: "of the test".into(),
                ..Now::default()
            };
            let picture = Frame::Monitor(Box::new(ask::Answer::Now(Box::new(now))));
            let _ = call.reply.try_send(picture);
            let keep = call.reply.clone();
            tokio::spawn(async move {
                tokio::time::sleep(GENEROUS).await;
                drop(keep);
            });
        }
        Request::Monitor { ask: _ } => call
            .reply
            .done(Answer::Monitor(Box::new(ask::Answer::Events(Vec::new())))),
        Request::Logs { .. } => {
            for text in ["one", "two <b>", "three"] {
                let line = LogLine {
                    app: "api".into(),
                    worker: 0,
                    stream: LogStream::Out,
                    time_ms: 1,
                    text: text.into(),
                };
                let _ = call.reply.try_send(Frame::Log(line));
            }
            call.reply.done(Answer::End);
        }
        Request::Reload { .. } => call.reply.done(Answer::Changed {
            text: vec!["api: reloaded".into()],
            apps: Vec::new(),
        }),
        other => panic!("{other:?}"),
    }
}

struct Visit {
    address: SocketAddr,
    link: String,
    _home: tempfile::TempDir,
}

/// A dashboard with one link, before a daemon that answers.
async fn start(read_only: bool) -> Visit {
    let home = tempfile::tempdir().unwrap();
    let listener = bind(&socket_path(home.path())).unwrap();
    let (calls, mut arriving) = mpsc::channel(8);
    tokio::spawn(serve(listener, calls));
    tokio::spawn(async move {
        while let Some(call) = arriving.recv().await {
            answer(&call);
        }
    });
    let options = Options {
        home: home.path().to_owned(),
        port: 0,
        read_only,
    };
    let dashboard = Dashboard::bind(options).await.unwrap();
    let address = dashboard.address().unwrap();
    let link = dashboard.links().unwrap().next().unwrap();
    tokio::spawn(dashboard.serve());
    Visit {
        address,
        link,
        _home: home,
    }
}

impl Visit {
    /// Sends a request head and body; reads until the end, or until `until` has come.
    async fn send(&self, text: String, until: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        let reading = async {
            let mut piece = [0; 4096];
            loop {
                let count = stream.read(&mut piece).await.unwrap();
                read.extend_from_slice(&piece[..count]);
                let so_far = String::from_utf8_lossy(&read).into_owned();
                if count == 0 || (!until.is_empty() && so_far.contains(until)) {
                    return so_far;
                }
            }
        };
        timeout(GENEROUS, reading).await.expect("an answer in time")
    }

    async fn get(&self, path: &str, headers: &str) -> String {
        let host = self.address;
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\r\n");
        self.send(head, "").await
    }

    async fn post(&self, path: &str, headers: &str, body: &str) -> String {
        let (host, length) = (self.address, body.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        self.send(head, "").await
    }

    fn token_path(&self) -> &str {
        &self.link[self.link.find("/?").unwrap()..]
    }

    /// Opens the link: the page's path, and the cookie's header.
    async fn enter(&self) -> (String, String) {
        let said = self.get(self.token_path(), "").await;
        assert!(said.starts_with("HTTP/1.1 303"), "{said}");
        assert!(said.contains("HttpOnly; SameSite=Strict"), "{said}");
        let mount = header(&said, "location").to_owned();
        let cookie = header(&said, "set-cookie").split(';').next().unwrap();
        (mount, format!("cookie: {cookie}\r\n"))
    }
}

fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    let mut lines = answer.lines();
    lines.find_map(|line| line.strip_prefix(&prefix)).unwrap()
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

#[tokio::test]
async fn a_link_is_good_once_and_the_page_needs_its_session() {
    let visit = start(false).await;
    let (mount, cookie) = visit.enter().await;
    assert_eq!(status(&visit.get(visit.token_path(), "").await), "403");
    assert_eq!(status(&visit.get("/", "").await), "401");
    assert_eq!(status(&visit.get("/?token=x", &cookie).await), "403");
    for path in ["", "style.css", "api/hello", "api/live", "api/logs"] {
        let path = format!("{mount}{path}");
        assert_eq!(status(&visit.get(&path, "").await), "401", "{path}");
    }
    let page = visit.get(&mount, &cookie).await;
    assert_eq!(status(&page), "200");
    assert_eq!(header(&page, "cache-control"), "no-store");
    assert_eq!(header(&page, "x-content-type-options"), "nosniff");
    let policy = header(&page, "content-security-policy");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
    let script = format!("{mount}app.js");
    let packed = format!("{cookie}accept-encoding: br, gzip\r\n");
    let packed = visit.get(&script, &packed).await;
    assert_eq!(header(&packed, "content-encoding"), "gzip");
}

#[tokio::test]
async fn other_hosts_and_pages_are_refused() {
    let visit = start(false).await;
    let head = format!(
        "GET {} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n",
        visit.token_path()
    );
    assert_eq!(status(&visit.send(head, "").await), "403");
    // The link was not used up by it.
    let (mount, cookie) = visit.enter().await;
    let hello = format!("{mount}api/hello");
    let cross = format!("{cookie}origin: http://evil.example\r\n");
    assert_eq!(status(&visit.get(&hello, &cross).await), "403");
    let site = format!("{cookie}sec-fetch-site: same-site\r\n");
    assert_eq!(status(&visit.get(&hello, &site).await), "403");
    assert_eq!(status(&visit.get(&hello, &cookie).await), "200");
}

#[tokio::test]
async fn orders_need_every_sign_of_the_page() {
    let visit = start(false).await;
    let (mount, cookie) = visit.enter().await;
    let hello = visit.get(&format!("{mount}api/hello"), &cookie).await;
    let csrf = hello.split("\"csrf\":\"").nth(1).unwrap();
    let csrf = csrf.split('"').next().unwrap();
    let path = format!("{mount}api/action");
    let body = r#"{"action":"reload","app":"api"}"#;
    let origin = format!("origin: http://{}\r\n", visit.address);
    let json = "content-type: application/json\r\n";
    let secret = format!("pando-csrf: {csrf}\r\n");
    for missing in [
        format!("{origin}{json}{secret}"),
        format!("{cookie}{json}{secret}"),
        format!("{cookie}{origin}{secret}"),
        format!("{cookie}{origin}{json}"),
    ] {
        let said = visit.post(&path, &missing, body).await;
        assert!(["401", "403"].contains(&status(&said)), "{missing}: {said}");
    }
    let all = format!("{cookie}{origin}{json}{secret}");
    let done = visit.post(&path, &all, body).await;
    assert!(done.contains("api: reloaded"), "{done}");
    let wrong = visit.post(&path, &all, r#"{"action":"delete"}"#).await;
    assert_eq!(status(&wrong), "400");
}

#[tokio::test]
async fn a_dashboard_that_only_shows_takes_no_order() {
    let visit = start(true).await;
    let (mount, cookie) = visit.enter().await;
    let headers = format!("{cookie}origin: http://{}\r\n", visit.address);
    let said = visit
        .post(&format!("{mount}api/action"), &headers, "{}")
        .await;
    assert!(said.contains("--read-only"), "{said}");
}

#[tokio::test]
async fn pictures_and_lines_are_streamed() {
    let visit = start(false).await;
    let (mount, cookie) = visit.enter().await;
    let host = visit.address;
    let live = format!("GET {mount}api/live HTTP/1.1\r\nhost: {host}\r\n{cookie}\r\n");
    let said = visit.send(live, "of the test").await;
    assert!(said.contains("event: now\ndata: {"), "{said}");
    let found = visit
        .get(&format!("{mount}api/logs?q=TWO&lines=5"), &cookie)
        .await;
    assert!(
        found.contains("two <b>") && !found.contains("three"),
        "{found}"
    );
    assert!(found.contains("event: end"), "{found}");
    let wrong = visit.get(&format!("{mount}api/logs?q=/(/"), &cookie).await;
    assert_eq!(status(&wrong), "400");
    let events = visit
        .get(&format!("{mount}api/events?from=1&to=2"), &cookie)
        .await;
    assert!(events.ends_with("[]"), "{events}");
}
