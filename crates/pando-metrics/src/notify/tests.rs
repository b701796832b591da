use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use monitor_spec::now::Alert;

use super::*;

const SOON: Duration = Duration::from_secs(20);

fn one(name: &str, notify: Vec<Notify>) -> Transition {
    Transition {
        alert: Alert {
            name: name.into(),
            app: "api".into(),
            state: AlertState::Firing,
            since_ms: 5,
            text: "p95 is 812 ms".into(),
        },
        fired_ms: 5,
        time_ms: 6,
        notify,
    }
}

/// Answers each request with the next of `answers` and gives the bodies.
fn receiver(answers: &'static [&'static str]) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/T0/secret", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut bodies = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap();
            let length = length.split("\r\n").next().unwrap().parse().unwrap();
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            bodies.push(String::from_utf8(body).unwrap());
            write!(
                stream,
                "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            .unwrap();
        }
        bodies
    });
    (url, thread)
}

fn until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + SOON;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_webhook_gets_all_of_a_second_in_one_message_and_is_asked_again() {
    let (url, thread) = receiver(&["503 Busy\r\nretry-after: 0", "200 OK"]);
    let mut notifier = Notifier::new("/home".into());
    let hook = || vec![Notify::Webhook { url: url.clone() }];
    notifier.send(&[one("slow", hook()), one("few", hook())], "web-1");
    let bodies = thread.join().unwrap();
    assert_eq!(bodies[0], bodies[1]);
    let message: serde_json::Value = serde_json::from_str(&bodies[0]).unwrap();
    let text =
        "FIRING slow on api: p95 is 812 ms (web-1)\nFIRING few on api: p95 is 812 ms (web-1)";
    assert_eq!(message["text"], text);
    assert_eq!(message["alerts"][1]["name"], "few");
    assert_eq!(message["alerts"][0]["state"], "firing");
    assert!(notifier.problems().is_empty());
}

#[test]
fn what_cannot_be_delivered_is_told_without_the_secret() {
    let (url, thread) = receiver(&["404 Not Found", "200 OK"]);
    let mut notifier = Notifier::new("/home".into());
    let told = [one("slow", vec![Notify::Webhook { url }])];
    notifier.send(&told, "web-1");
    until("the failure is told", || !notifier.problems().is_empty());
    let problems = notifier.problems();
    assert!(problems[0].contains("it answers 404"), "{problems:?}");
    assert!(!problems[0].contains("secret"), "{problems:?}");
    // The next one that arrives ends it.
    notifier.send(&told, "web-1");
    until("it is over", || notifier.problems().is_empty());
    thread.join().unwrap();
}

#[test]
fn a_queue_that_is_full_holds_nobody_up() {
    let mut notifier = Notifier::new("/home".into());
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let line = format!("while ! [ -e {} ]; do sleep 0.05; done", go.display());
    let told: Vec<Transition> = (0..QUEUE + 10)
        .map(|_| one("slow", vec![Notify::Command { line: line.clone() }]))
        .collect();
    notifier.send(&told, "web-1");
    let problems = notifier.problems();
    assert!(
        problems[0].contains("64 messages wait already"),
        "{problems:?}"
    );
    std::fs::write(go, "").unwrap();
}
