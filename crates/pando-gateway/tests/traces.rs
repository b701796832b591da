//! Spans as a collector gets them, against what a Node app was told of its place in the trace.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gateway_spec::link::ConfigOutcome;
use gateway_spec::{
    Action, Balance, GatewaySpec, Listen, PathMatch, Route, Site, Target, Upstream, Upstreams,
};
use monitor_spec::settings::Otlp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use pando_gateway::gateway::Gateway;
use pando_gateway::serve::Listening;
use pando_gateway::tls::DirectFiles;
use prost::Message as _;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(30);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const ECHO: &str = "require('http').createServer((req, res) => {
  const { traceparent = '', tracestate = '' } = req.headers;
  res.statusCode = req.url.startsWith('/fails') ? 503 : 200;
  res.end(`${traceparent} ${tracestate}`);
}).listen(0, '127.0.0.1', function () { console.log(this.address().port) })";

/// A head as lines, and the body that `Content-Length` says.
async fn message(stream: &mut BufReader<TcpStream>) -> Option<(Vec<String>, Vec<u8>)> {
    let (mut lines, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(rest) = lower.strip_prefix("content-length: ") {
            length = rest.parse().unwrap();
        }
        lines.push(line);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    Some((lines, body))
}

/// An OTLP receiver that is overloaded at first.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Got>>);

/// Heads of requests, and spans.
type Got = (Vec<Vec<String>>, Vec<Span>);

impl Collector {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let got = self.0.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let Some((head, body)) = message(&mut stream).await else {
                    continue;
                };
                let first = got.lock().unwrap().0.is_empty();
                let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
                if !first {
                    let scopes = request.resource_spans.into_iter();
                    let scopes = scopes.flat_map(|all| all.scope_spans);
                    let spans = scopes.flat_map(|all| all.spans);
                    got.lock().unwrap().1.extend(spans);
                }
                got.lock().unwrap().0.push(head);
                let status = if first { "503 Later" } else { "200 OK" };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.get_mut().write_all(answer.as_bytes()).await;
            }
        });
        format!("http://{address}/")
    }

    async fn spans(&self, enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let spans = self.0.lock().unwrap().1.clone();
            if enough(&spans) {
                return spans;
            }
            assert!(Instant::now() < deadline, "{spans:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn node() -> (tokio::process::Child, String) {
    let mut child = tokio::process::Command::new("node")
        .args(["-e", ECHO])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).await.unwrap();
    (child, format!("127.0.0.1:{}", line.trim()))
}

fn spec(listen: &Listen, upstreams: &[&str], otlp: Option<Otlp>) -> GatewaySpec {
    let all = upstreams.iter().map(|address| Upstream::new(*address));
    let action = Action::Proxy(Upstreams {
        balance: Balance::RoundRobin,
        ..Upstreams::new(Target::Addresses(all.collect()))
    });
    let mut route = Route::new(PathMatch::Prefix("/".into()), action);
    route.name = "/*".into();
    GatewaySpec {
        listen: vec![listen.clone()],
        sites: vec![Site::new(["*"], vec![route])],
        threads: Some(1),
        otlp,
        access_log: gateway_spec::AccessLog {
            on: false,
            ..gateway_spec::AccessLog::default()
        },
        ..GatewaySpec::default()
    }
}

async fn ask(address: &str, path: &str, more: &str) -> String {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = BufReader::new(stream);
    let head = format!("GET {path} HTTP/1.1\r\nHost: a.example:81\r\n{more}\r\n");
    stream.get_mut().write_all(head.as_bytes()).await.unwrap();
    let (_, body) = message(&mut stream).await.unwrap();
    String::from_utf8(body).unwrap()
}

fn text(span: &Span, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|pair| pair.key == name)?;
    let value = found.value.clone()?.value?;
    Some(if let Value::IntValue(number) = value {
        number.to_string()
    } else if let Value::StringValue(text) = value {
        text
    } else {
        format!("{value:?}")
    })
}

fn is(span: &Span, kind: SpanKind) -> bool {
    span.kind() == kind
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The children of a span, the first first.
fn children<'s>(spans: &'s [Span], parent: &Span) -> Vec<&'s Span> {
    let child = |span: &&Span| span.parent_span_id == parent.span_id;
    let mut children: Vec<&Span> = spans.iter().filter(child).collect();
    children.sort_by_key(|span| span.start_time_unix_nano);
    children
}

fn server<'s>(spans: &'s [Span], path: &str) -> &'s Span {
    let mut servers = spans.iter().filter(|span| is(span, SpanKind::Server));
    servers
        .find(|span| text(span, "url.path").as_deref() == Some(path))
        .unwrap()
}

#[tokio::test]
async fn an_app_is_the_child_of_the_try_that_reached_it() {
    let (_app, app) = node().await;
    let dead = {
        let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
        unused.local_addr().unwrap().to_string()
    };
    let collector = Collector::default();
    let otlp = Otlp {
        endpoint: collector.start().await,
        headers: [("x-key".to_owned(), "secret".to_owned())].into(),
        sample: 1.0,
        service: "shop".into(),
        ..Otlp::default()
    };
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    let (listen, address) = (Listen::plain(at), at.to_string());
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_owned();
    let first = spec(&listen, &[&app, &dead], Some(otlp));
    let mut gateway = Gateway::new(first, Arc::new(DirectFiles), state).unwrap();
    let socket = socket.into();
    let listening = Listening {
        listen: listen.clone(),
        socket,
    };
    gateway.listen(listening).await.unwrap();

    let mut echoed = Vec::new();
    for number in 0..4 {
        echoed.push(ask(&address, &format!("/item/{number}?card=4111"), "").await);
    }
    let given = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\ntracestate: a=b\r\n");
    let child = ask(&address, "/fails/child", &given).await;
    let unsampled = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-00\r\n");
    let through = ask(&address, "/through", &unsampled).await;
    assert_eq!(through.trim(), format!("00-{TRACE}-00f067aa0ba902b7-00"));
    let bad = "traceparent: 00-x\r\ntracestate: a=b\r\n";
    assert!(
        ask(&address, "/bad", bad).await.ends_with("-01 "),
        "no state of another trace"
    );

    let servers = |spans: &[Span]| {
        let servers = spans.iter().filter(|span| is(span, SpanKind::Server));
        servers.count()
    };
    let spans = collector.spans(|spans| servers(spans) >= 6).await;
    assert_eq!(servers(&spans), 6, "not the one that is not sampled");
    let mut retried = 0;
    for (number, echo) in echoed.iter().enumerate() {
        let parent = server(&spans, &format!("/item/{number}"));
        let tries = children(&spans, parent);
        let last = tries.last().unwrap();
        let (trace, span) = (hex(&parent.trace_id), hex(&last.span_id));
        assert_eq!(echo.trim(), format!("00-{trace}-{span}-01"));
        assert!(parent.parent_span_id.is_empty() && parent.name == "GET /*");
        assert!(last.trace_id == parent.trace_id && is(last, SpanKind::Client));
        assert!(parent.start_time_unix_nano <= last.start_time_unix_nano);
        assert!(parent.end_time_unix_nano >= last.start_time_unix_nano);
        if let [failed, again] = tries[..] {
            retried += 1;
            assert_eq!(text(failed, "error.type").as_deref(), Some("connect"));
            assert_eq!(
                text(again, "http.request.resend_count").as_deref(),
                Some("1")
            );
        }
        for (name, value) in [
            ("http.request.method", "GET"),
            ("url.scheme", "http"),
            ("http.route", "/*"),
            ("server.address", "a.example"),
            ("server.port", "81"),
            ("client.address", "127.0.0.1"),
            ("http.response.status_code", "200"),
            ("network.protocol.version", "1.1"),
        ] {
            assert_eq!(text(parent, name).as_deref(), Some(value), "{name}");
        }
    }
    assert!(retried > 0, "{spans:#?}");
    assert!(!format!("{spans:?}").contains("4111"), "no query");
    let fails = server(&spans, "/fails/child");
    assert_eq!(hex(&fails.trace_id), TRACE);
    assert_eq!(hex(&fails.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(text(fails, "error.type").as_deref(), Some("503"));
    assert_eq!(
        (fails.status.as_ref().map(|s| s.code), &*fails.trace_state),
        (Some(2), "a=b")
    );
    let last = hex(&children(&spans, fails).last().unwrap().span_id);
    assert_eq!(child, format!("00-{TRACE}-{last}-01 a=b"));
    let heads = collector.0.lock().unwrap().0.clone();
    assert!(heads[0][0].starts_with("POST /v1/traces "), "{heads:?}");
    assert!(
        heads[0].iter().any(|line| line == "x-key: secret"),
        "{heads:?}"
    );

    let outcome = gateway.apply(spec(&listen, &[&app], None));
    assert_eq!(outcome, ConfigOutcome::Applied);
    assert_eq!(
        ask(&address, "/after", "").await.trim(),
        "",
        "none begins here"
    );
}
