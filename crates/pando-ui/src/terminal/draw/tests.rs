//! The screen at both sizes: what must be on it is on it.

use monitor_spec::now::Now;
use pando_control::api::{LogLine, LogStream};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};

use super::super::model::{Key, Message, Model};
use super::*;
use crate::sample;
use crate::time::Clock;

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 60);

fn clock() -> Clock {
    Clock::new(jiff::tz::TimeZone::UTC, jiff::civil::date(2026, 11, 25))
}

fn look(unicode: bool, color: bool) -> Look {
    Look {
        color,
        unicode,
        clock: clock(),
    }
}

fn model(now: Now, typed: &str) -> Model {
    let mut model = Model::new("/h".into(), Page::Apps, clock());
    model.update(Message::Picture(Box::new(now)), sample::TIME_MS);
    for c in typed.chars() {
        let key = match c {
            '\n' => Key::Enter,
            '\t' => Key::Tab,
            c => Key::Char(c),
        };
        model.update(Message::Key(key), sample::TIME_MS);
    }
    model
}

fn buffer(model: &mut Model, size: (u16, u16), look: &Look) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal
        .draw(|frame| draw(model, look, frame.buffer_mut()))
        .unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> Vec<String> {
    let line = |y| {
        (0..buffer.area.width)
            .map(|x| buffer[(x, y)].symbol())
            .collect::<String>()
    };
    (0..buffer.area.height)
        .map(|y| line(y).trim_end().to_owned())
        .collect()
}

fn screen(typed: &str, size: (u16, u16)) -> Vec<String> {
    text(&buffer(
        &mut model(sample::now(), typed),
        size,
        &look(true, true),
    ))
}

fn check(typed: &str, size: (u16, u16), expect: &[&str]) {
    let screen = screen(typed, size);
    let all = screen.join("\n");
    if std::env::var_os("SHOW").is_some() {
        eprintln!("{all}\n");
    }
    for part in expect {
        assert!(all.contains(part), "no {part:?} after {typed:?}:\n{all}");
    }
}

#[test]
fn the_overview() {
    let both = [
        "pando › apps",
        "14:43:44",
        "✖ 1 alert",
        "✖ payments: payments does not stay up",
        "APP",
        "● ready",
        "✖ crash-loop",
        "0/1",
        "192 MB",
        "12 ms",
        "3.4 ms",
        "requests/s",
        "q quit",
    ];
    for size in [SMALL, LARGE] {
        check("", size, &both);
    }
    check(
        "",
        LARGE,
        &["COMMAND", "server.js", "P99", "exited", "peak"],
    );
}

#[test]
fn an_app() {
    for size in [SMALL, LARGE] {
        check(
            "\n",
            size,
            &[
                "pando › api",
                "● ready 2/2",
                ":3000",
                "limit 512 MB",
                "p95 12 ms",
                "in the worker",
                "[workers]",
                "96.0 MB",
            ],
        );
        check(
            "\n2",
            size,
            &["[endpoints]", "/users/:id", "POST", "20%", "640 ms"],
        );
        check("\n3", size, &["billing.internal:443", "25 ms"]);
        check(
            "jl",
            size,
            &[
                "✖ exited with code 1 after 0.2 s, 17 times",
                "nothing was written",
            ],
        );
        check(
            "\n2\n",
            size,
            &["pando › api › GET /users/:id", "requests in 60 s"],
        );
        check(
            "\nj\n",
            size,
            &[
                "pando › api › worker 1",
                "heap used",
                "41.0 MB",
                "exit code 1",
            ],
        );
    }
}

#[test]
fn the_gateway_alerts_events_and_help() {
    for size in [SMALL, LARGE] {
        check(
            "g",
            size,
            &[
                "connections 211",
                "cache hits 83%",
                "shop.example",
                "/api/*",
            ],
        );
        check("g2", size, &["127.0.0.2:3000", "● available"]);
        check(
            "g3",
            size,
            &["● in 61d", "✖ in 2d", "the authority refused it"],
        );
        check(
            "a",
            size,
            &["✖ firing", "payments does not stay up", "1m 30s"],
        );
        check("e", size, &["payments.0", "exited", "exit code 1"]);
        check("?", size, &["reload, loses nothing", "Commands"]);
    }
    check("?", LARGE, &[":scale APP 4|+1|-1", ":zoom"]);
    check(":re", SMALL, &[":re", "reload restart"]);
    check("X", SMALL, &["stop api? It serves nobody", "y / n"]);
    check("/zzz", SMALL, &["no row has this text", "/zzz"]);
}

#[test]
fn every_page_fits_every_size() {
    for size in [
        (40, 10),
        (41, 11),
        SMALL,
        (100, 30),
        (120, 40),
        LARGE,
        (400, 100),
        (10, 3),
    ] {
        for typed in [
            "", "\n", "\n2", "\n2\n", "\n\n", "\n4", "g", "g2", "g3", "a", "e", "?", ":top\n",
        ] {
            for now in [sample::now(), Now::default()] {
                let mut model = model(now, typed);
                buffer(&mut model, size, &look(true, true));
            }
        }
    }
}

#[test]
fn rows_stay_in_their_columns_when_numbers_grow() {
    let title = |now: Now| {
        let screen = text(&buffer(&mut model(now, ""), SMALL, &look(true, true)));
        screen
            .into_iter()
            .find(|line| line.contains("APP "))
            .unwrap()
    };
    let mut grown = sample::now();
    grown.apps[0].traffic.rate = 99_000.0;
    grown.apps[0].cpu_percent = 799.0;
    grown.apps[0].lag_p99_us = Some(999_000);
    assert_eq!(title(sample::now()), title(grown));
}

#[test]
fn long_names_stay_apart_in_a_small_terminal() {
    let mut now = sample::now();
    now.apps[0].name = "billing-service-of-the-north".into();
    now.apps[2].name = "billing-service-of-the-south".into();
    let screen = text(&buffer(&mut model(now, ""), SMALL, &look(true, true))).join("\n");
    assert!(screen.contains("billing-service-…"), "{screen}");
    assert!(screen.contains("MEMORY"), "{screen}");
}

#[test]
fn no_column_is_cut_in_half() {
    let sizes = [40, 50, 60, 70, 79].map(|width| (width, 15));
    let pages = ["", "\n", ":top\n"].map(|typed| sizes.map(|size| (typed, size)));
    for (typed, size) in pages.into_iter().flatten() {
        let screen = text(&buffer(
            &mut model(sample::now(), typed),
            size,
            &look(true, true),
        ));
        let title = screen.iter().find(|line| line.contains("STATE")).unwrap();
        assert!(!title.contains('…'), "{typed:?} at {size:?}: {title}");
    }
}

#[test]
fn a_terminal_that_is_too_small_says_so() {
    let screen = text(&buffer(
        &mut model(sample::now(), ""),
        (30, 8),
        &look(true, true),
    ));
    let said = screen.join("\n");
    for words in ["30x8 is too small", "needs 40x10", "q quits"] {
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn hostile_text_stays_text() {
    let hostile = "\x1b]0;x\x07\x1b[2J\u{9b}31m\r\nevil\u{202e}txt";
    let mut now = sample::now();
    now.apps[0].name = hostile.into();
    now.apps[0].problem = Some(hostile.into());
    now.apps[0].command = hostile.into();
    now.apps[0].endpoints[0].route = hostile.into();
    now.host.name = hostile.into();
    now.alerts[0].text = hostile.into();
    now.problems = vec![hostile.into()];
    now.events[0].text = hostile.into();
    for typed in ["", "\n", "\n2", "\n2\n", "\n4", "e", "a"] {
        let mut model = model(now.clone(), typed);
        let line = LogLine {
            app: hostile.into(),
            worker: 0,
            stream: LogStream::Err,
            time_ms: 0,
            text: hostile.into(),
        };
        model.update(Message::Log { id: 1, line }, sample::TIME_MS);
        model.update(Message::Lost(hostile.into()), sample::TIME_MS);
        let all = text(&buffer(&mut model, LARGE, &look(true, true))).concat();
        let unruly = |c: char| c.is_control() || c == '\u{202e}';
        assert!(!all.contains(unruly), "{typed}: {all:?}");
    }
}

#[test]
fn ascii_and_no_colour() {
    for typed in ["", "\n", "\n2", "g", "?", "e", "a"] {
        let mut model = model(sample::now(), typed);
        let buffer = buffer(&mut model, SMALL, &look(false, false));
        let all = text(&buffer).join("\n");
        assert!(all.is_ascii(), "{all}");
        assert!(all.contains("pando >"), "{all}");
        for cell in &buffer.content {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
        }
    }
}

#[test]
fn no_background_is_set_and_red_is_what_is_wrong() {
    let buffer = buffer(&mut model(sample::now(), ""), SMALL, &look(true, true));
    assert!(buffer.content.iter().all(|cell| cell.bg == Color::Reset));
    let lines = text(&buffer);
    for (y, line) in lines.iter().enumerate() {
        let y = u16::try_from(y).unwrap();
        let red = (0..80).any(|x| buffer[(x, y)].fg == Color::Red);
        assert_eq!(red, line.contains('✖'), "{line}");
    }
    let selected = |line: &str| line.starts_with(" api ");
    let y = u16::try_from(lines.iter().position(|l| selected(l)).unwrap()).unwrap();
    assert!(buffer[(3, y)].modifier.contains(Modifier::REVERSED));
}

#[test]
fn old_figures_say_so() {
    let mut model = model(sample::now(), "");
    let why = "no Pando daemon runs for /h";
    model.update(Message::Lost(why.into()), sample::TIME_MS + 9_000);
    let all = text(&buffer(&mut model, SMALL, &look(true, true))).join("\n");
    assert!(
        all.contains("✖ figures are 9 s old: no Pando daemon runs for /h"),
        "{all}"
    );
    let mut model = Model::new("/h".into(), Page::Apps, clock());
    let all = text(&buffer(&mut model, SMALL, &look(true, true))).join("\n");
    assert!(all.contains("waiting for the daemon of /h"), "{all}");
    model.update(Message::Lost(why.into()), 0);
    let all = text(&buffer(&mut model, SMALL, &look(true, true))).join("\n");
    assert!(all.contains("✖ no Pando daemon runs for /h"), "{all}");
}
