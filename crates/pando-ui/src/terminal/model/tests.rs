//! Keys and pictures in, effects and pages out.

use monitor_spec::now::Now;
use pando_control::api::LogStream;

use super::*;
use crate::sample;

const AT: i64 = sample::TIME_MS;

pub fn clock() -> Clock {
    Clock::new(jiff::tz::TimeZone::UTC, jiff::civil::date(2026, 11, 25))
}

fn model() -> Model {
    let mut model = Model::new("/home/x/.pando".into(), Page::Apps, clock());
    picture(&mut model, sample::now());
    model
}

fn picture(model: &mut Model, now: Now) -> Vec<Effect> {
    model.update(Message::Picture(Box::new(now)), AT)
}

/// Types: `<E>` is Enter, `<T>` Tab, `<X>` Esc, `<D>` down, `<B>` backspace; else the character.
fn keys(model: &mut Model, typed: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    let mut rest = typed;
    while let Some(c) = rest.chars().next() {
        let named = [
            ("<E>", Key::Enter),
            ("<T>", Key::Tab),
            ("<X>", Key::Esc),
            ("<D>", Key::Down),
            ("<B>", Key::Backspace),
            ("<End>", Key::End),
        ];
        let found = named.iter().find(|(name, _)| rest.starts_with(name));
        let (len, key) = match found {
            Some((name, key)) => (name.len(), *key),
            None => (c.len_utf8(), Key::Char(c)),
        };
        rest = &rest[len..];
        effects.extend(model.update(Message::Key(key), AT));
    }
    effects
}

fn check(typed: &str, expect: &Page) -> Model {
    let mut model = model();
    keys(&mut model, typed);
    assert_eq!(model.place().page, *expect, "{typed}");
    model
}

fn app(name: &str) -> Page {
    Page::App(name.into())
}

#[test]
fn one_goes_in_and_back() {
    check("<E>", &app("api"));
    check("jj<E>", &app("web"));
    check("<D><D><D><D><E>", &app("web"));
    check("<End><E><X>", &Page::Apps);
    check("<X><X>", &Page::Apps);
    let worker = Page::Worker {
        app: "api".into(),
        instance: 1,
    };
    check("<E>j<E>", &worker);
    let endpoint = Page::Endpoint {
        app: "api".into(),
        method: "POST".into(),
        route: "/orders".into(),
    };
    check("<E>2j<E>", &endpoint);
    check("g", &Page::Gateway);
    check("g<E>", &app("api"));
    check("a<E>", &app("payments"));
    check("<E>2<E>h", &Page::Apps);
    check(":app web<E>", &app("web"));
    check(":app nobody<E>", &Page::Apps);
    check(":ev<T><E>", &Page::Events);
    check(":reload<X>", &Page::Apps);
}

#[test]
fn the_selection_stays_on_its_row() {
    let mut model = model();
    keys(&mut model, "jj");
    assert_eq!(model.selected_app().as_deref(), Some("web"));
    let mut now = sample::now();
    now.apps.insert(0, sample::app("aaa", 1));
    picture(&mut model, now.clone());
    assert_eq!(model.selected_app().as_deref(), Some("web"));
    keys(&mut model, ":sort restarts<E>");
    assert_eq!(model.selected_app().as_deref(), Some("web"));
    let first = &model.listing().entries[0];
    assert_eq!(first.key, "payments", "the most restarts first");
    now.apps.retain(|app| app.name != "web");
    picture(&mut model, now);
    assert!(
        model.selected_app().is_some(),
        "another one when it is gone"
    );
}

#[test]
fn filters_are_typed_and_taken_back() {
    let mut model = model();
    keys(&mut model, "/pay");
    assert_eq!(model.listing().entries.len(), 1);
    assert_eq!(model.selected_app().as_deref(), Some("payments"));
    keys(&mut model, "<E><E>");
    assert_eq!(model.place().page, app("payments"));
    keys(&mut model, "<X>");
    assert_eq!(model.place().filter, "pay");
    keys(&mut model, "<X>");
    assert_eq!(model.listing().entries.len(), 3);
}

#[test]
fn changes_are_ordered_and_the_hard_ones_asked() {
    let orders = |typed: &str| -> Vec<Change> {
        let effects = keys(&mut model(), typed).into_iter();
        effects
            .filter_map(|effect| match effect {
                Effect::Change(change) => Some(change),
                Effect::Quit | Effect::Suspend | Effect::Logs(_) | Effect::Series { .. } => None,
            })
            .collect()
    };
    let api = || "api".to_owned();
    for (typed, expect) in [
        ("r", vec![Change::Reload(api())]),
        ("+", vec![Change::Scale(api(), ScaleChange::Up(1))]),
        ("-", vec![Change::Scale(api(), ScaleChange::Down(1))]),
        ("R", vec![]),
        ("Ry", vec![Change::Restart(api())]),
        ("Rn", vec![]),
        ("R<E>", vec![]),
        ("Xy", vec![Change::Stop(api())]),
        ("X<X>y", vec![]),
        (":stop web<E>", vec![]),
        (":stop web<E>y", vec![Change::Stop("web".into())]),
        (
            ":scale web 4<E>",
            vec![Change::Scale("web".into(), ScaleChange::To(4))],
        ),
        (":scale web four<E>", vec![]),
        ("gr", vec![]),
        ("jU", vec![Change::Start("payments".into())]),
    ] {
        assert_eq!(orders(typed), expect, "{typed}");
    }
}

#[test]
fn answers_are_shown_for_a_while() {
    let mut model = model();
    model.update(Message::Changed(Err("no such app".into())), AT);
    assert!(model.notice.as_ref().is_some_and(|n| n.is_bad));
    model.update(Message::Tick, AT + NOTICE_MS + 1);
    assert_eq!(model.notice, None);
}

fn line(text: &str) -> LogLine {
    LogLine {
        app: "api".into(),
        worker: 0,
        stream: LogStream::Out,
        time_ms: AT,
        text: text.into(),
    }
}

#[test]
fn logs_are_followed_while_they_are_on_the_screen() {
    let mut model = model();
    let scope = LogScope {
        app: Some("api".into()),
        worker: None,
    };
    let effects = keys(&mut model, "l");
    assert_eq!(effects, [Effect::Logs(Some((1, scope)))]);
    for n in 0..LOG_LINES_MAX + 10 {
        let line = line(&n.to_string());
        model.update(Message::Log { id: 1, line }, AT);
    }
    assert_eq!(model.logs.lines.len(), LOG_LINES_MAX);
    model.update(
        Message::Log {
            id: 7,
            line: line("of another stream"),
        },
        AT,
    );
    assert_eq!(
        model.logs.lines.back().unwrap().text,
        (LOG_LINES_MAX + 9).to_string()
    );
    keys(&mut model, "kk");
    model.update(
        Message::Log {
            id: 1,
            line: line("x"),
        },
        AT,
    );
    assert_eq!(model.logs.back, 3, "what is read does not move");
    keys(&mut model, "<End>");
    assert_eq!(model.logs.back, 0);
    assert_eq!(keys(&mut model, "<X>"), [Effect::Logs(None)]);
}

#[test]
fn a_held_picture_stays() {
    let mut model = model();
    keys(&mut model, "p");
    let mut now = sample::now();
    now.apps.clear();
    picture(&mut model, now.clone());
    assert_eq!(model.listing().entries.len(), 3);
    keys(&mut model, "p");
    picture(&mut model, now);
    assert_eq!(model.listing().entries.len(), 0);
}

#[test]
fn longer_spans_are_asked_for() {
    let mut model = model();
    let effects = keys(&mut model, "z");
    let [Effect::Series { id, queries }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(queries[0].app, "api");
    let none = Message::Series {
        id: *id,
        of: 99,
        series: Vec::new(),
    };
    assert!(model.update(none, AT).is_empty());
    keys(&mut model, "Z");
    assert_eq!(model.series.span_name(), "2m");
    assert!(keys(&mut model, "ZZZZ").is_empty());
}

#[test]
fn a_daemon_that_is_away_is_said() {
    let mut model = model();
    assert!(!model.is_stale());
    model.update(Message::Lost("no Pando daemon runs".into()), AT + 100);
    assert!(model.is_stale());
    picture(&mut model, sample::now());
    assert!(!model.is_stale());
    model.update(Message::Tick, AT + STALE_MS + 1);
    assert!(model.is_stale(), "connected, but nothing comes");
}

#[test]
fn past_events_come_before_and_once() {
    let mut model = model();
    let seen = model.events[0].clone();
    let older = Event {
        time_ms: AT - 5_000,
        kind: "ready".into(),
        ..seen.clone()
    };
    model.update(Message::Events(vec![older.clone(), seen.clone()]), AT);
    assert_eq!(model.events, [older, seen]);
}

#[test]
fn no_key_on_no_page_does_harm() {
    let typed =
        "?:<B>/<B><E><T><E><T><E><T><T><T><T>123456789sSsssSssssssszzzzzzzzzzZpagehlrRXU+-<X><D>G";
    for now in [Now::default(), sample::now()] {
        for first in [
            Page::Apps,
            Page::Top,
            Page::Gateway,
            app("gone"),
            Page::Logs,
        ] {
            let mut model = Model::new(String::new(), first, clock());
            keys(&mut model, typed);
            picture(&mut model, now.clone());
            for start in 0..typed.len() {
                keys(&mut model, &typed[start..]);
            }
            assert!(!model.stack.is_empty() && model.stack.len() <= STACK_MAX);
        }
    }
}
