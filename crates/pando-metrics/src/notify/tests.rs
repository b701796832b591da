use monitor_spec::now::Alert;

use super::*;
use crate::post::receiver::{receiver, until};

/// What fires.
pub fn one(name: &str, notify: Vec<Notify>) -> Transition {
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

#[test]
fn a_webhook_gets_all_of_a_second_in_one_message_and_is_asked_again() {
    let (url, thread) = receiver(&[
        "503 Busy\r\nretry-after: 0",
        "500 Internal Server Error\r\nretry-after: 0",
        "200 OK",
    ]);
    let mut notifier = Notifier::new("/home".into());
    let url = format!("{url}/T0/secret");
    let hook = || vec![Notify::Webhook { url: url.clone() }];
    notifier.send(&[one("slow", hook()), one("few", hook())], "web-1");
    let seen = thread.join().unwrap();
    assert_eq!((&seen[0].1, &seen[0].1), (&seen[1].1, &seen[2].1));
    let message: serde_json::Value = serde_json::from_slice(&seen[0].1).unwrap();
    let text =
        "FIRING slow on api: p95 is 812 ms (web-1)\nFIRING few on api: p95 is 812 ms (web-1)";
    assert_eq!(message["text"], text);
    assert_eq!(message["alerts"][1]["name"], "few");
    assert_eq!(message["alerts"][0]["state"], "firing");
    assert!(notifier.problems().is_empty());
}

#[test]
fn more_than_one_message_holds_are_several() {
    let (url, thread) = receiver(&["200 OK", "200 OK"]);
    let told: Vec<Transition> = (0..MAX_BATCH + 1)
        .map(|n| {
            one(
                &format!("rule{n}"),
                vec![Notify::Webhook { url: url.clone() }],
            )
        })
        .collect();
    Notifier::new("/home".into()).send(&told, "web-1");
    let seen = thread.join().unwrap();
    let count = |body: &[u8]| {
        let message: serde_json::Value = serde_json::from_slice(body).unwrap();
        message["alerts"].as_array().unwrap().len()
    };
    assert_eq!((count(&seen[0].1), count(&seen[1].1)), (MAX_BATCH, 1));
}

#[test]
fn what_cannot_be_delivered_is_told_without_the_secret() {
    let (url, thread) = receiver(&["404 Not Found", "200 OK"]);
    let mut notifier = Notifier::new("/home".into());
    let url = format!("{url}/T0/secret");
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
