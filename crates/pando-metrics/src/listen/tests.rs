use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use monitor_spec::ask::{Answer, Ask};
use monitor_spec::now::{Alert, AlertState, App, Now};
use monitor_spec::{Heard, Word};

use super::*;

/// On a loaded machine a thread may be late.
const SOON: Duration = Duration::from_secs(20);

fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// One answer, head and body, once somebody listens.
fn get(address: SocketAddr, request: &str) -> String {
    let end = Instant::now() + SOON;
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() > end => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(
        stream,
        "{request} HTTP/1.1\r\nhost: x\r\naccept: */*\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[track_caller]
fn check(address: SocketAddr, request: &str, status: u16, has: &str) {
    let text = get(address, request);
    assert!(
        text.starts_with(&format!("HTTP/1.1 {status} ")),
        "{request}: {text}"
    );
    assert!(text.contains(has), "{request}: {text}");
}

fn now() -> Now {
    let app = |name: &str, status: &str, ready, wanted| App {
        name: name.into(),
        status: status.into(),
        ready,
        wanted,
        ..App::default()
    };
    let mut now = Now {
        apps: vec![
            app("api", "ready", 2, 2),
            app("half", "degraded", 1, 2),
            app("off", "stopped", 0, 1),
        ],
        ..Now::default()
    };
    now.alerts.push(Alert {
        name: "slow".into(),
        app: "api".into(),
        state: AlertState::Firing,
        ..Alert::default()
    });
    now
}

#[test]
fn probes_and_the_exposition_are_answered() {
    let (handle, inbox) = monitor_spec::channel();
    let mut listen = Listen::new(handle);
    let address = free();
    listen.set(&[address]);
    check(address, "GET /livez", 503, "told nothing");
    check(address, "GET /readyz", 503, "told nothing");
    listen.publish(Health::new(Some(Instant::now()), &now()));
    check(address, "GET /livez", 200, "ok");
    check(address, "GET /readyz", 200, "ok");
    check(
        address,
        "GET /readyz?app=api&app=off",
        503,
        "off: stopped, 0 of 1",
    );
    check(address, "GET /readyz?app=none", 503, "no such app");
    check(address, "GET /health/api", 200, "\"alerts\":[\"slow\"]");
    check(address, "GET /health/h%61lf", 200, "\"workers_ready\":1");
    check(address, "GET /health/off", 503, "\"stopped\"");
    check(address, "GET /health/none", 404, "no such app");
    check(address, "GET /", 200, "/metrics");
    check(address, "GET /etc/passwd", 404, "/metrics");
    check(address, "POST /metrics", 405, "allow: GET, HEAD");
    assert!(get(address, "HEAD /livez").ends_with("\r\n\r\n"));
    let mut worse = now();
    worse.apps[0].ready = 0;
    worse.apps[0].status = "crash-loop".into();
    listen.publish(Health::new(Some(Instant::now()), &worse));
    check(address, "GET /readyz", 503, "api: crash-loop, 0 of 2");
    check(address, "GET /livez", 200, "ok");
    let thread = std::thread::spawn(move || {
        let Heard::Word(Word::Ask { ask, reply }) = inbox.next(SOON) else {
            panic!("nothing was asked");
        };
        assert_eq!(ask, Ask::Exposition);
        reply.done(Answer::Text("pando_up 1\n".into()));
        inbox
    });
    check(
        address,
        "GET /metrics",
        200,
        "text/plain; version=0.0.4; charset=utf-8",
    );
    drop(thread.join().unwrap());
    check(address, "GET /metrics", 503, "");
}

#[test]
fn old_news_are_no_life() {
    let old = Health::new(Instant::now().checked_sub(Duration::from_secs(60)), &now());
    assert_eq!(old.live(Instant::now()).0, 503);
    assert_eq!(old.ready(&[], Instant::now()).0, 503);
    assert_eq!(old.app("api", Instant::now()).unwrap().0, 503);
}

#[test]
fn addresses_change_and_one_in_use_is_told_until_it_is_free() {
    let (handle, _inbox) = monitor_spec::channel();
    let mut listen = Listen::new(handle);
    let (one, two) = (free(), free());
    listen.set(&[one]);
    check(one, "GET /", 200, "Pando");
    let taken = std::net::TcpListener::bind(two).unwrap();
    listen.set(&[two]);
    let until = |what: &str, done: &dyn Fn() -> bool| {
        let end = Instant::now() + SOON;
        while !done() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    until("the first is closed", &|| TcpStream::connect(one).is_err());
    until("the second is in use", &|| !listen.problems().is_empty());
    assert!(listen.problems()[0].contains(&two.to_string()));
    drop(taken);
    until("the second is had", &|| listen.problems().is_empty());
    check(two, "GET /", 200, "Pando");
    listen.set(&[]);
    until("none is left", &|| TcpStream::connect(two).is_err());
}
