//! Arbitrary lines to the decoder and a primary: no panic, well-formed lines out, and no
//! connection that ends twice or not at all. `cargo +nightly fuzz run receive`.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use node_cluster::{
    Attach, ConnId, Effect, Framed, HandleKey, Lines, ListenReply, Options, Primary, WorkerId,
};

const WORKERS: [WorkerId; 2] = [WorkerId(1), WorkerId(2)];
const ENOTSUP: i32 = 95;

fuzz_target!(|stream: &[u8]| {
    let mut primary = Primary::new(Options { window: 2 });
    for worker in WORKERS {
        primary.join(worker);
    }
    let mut open = BTreeSet::new();
    let mut next = 0;
    let mut lines = Lines::new();
    lines.push(stream);
    while let Some(line) = lines.next_line() {
        let Framed::Line(line) = line else { continue };
        let worker = WORKERS[line.len() % 2];
        let mut effects = primary.receive(worker, line, line.len() % 3 == 0);
        while let Some(effect) = effects.pop() {
            match effect {
                Effect::Send { line, attach, .. } => check_line(&line, &attach),
                Effect::Query { query, key, .. } => {
                    let reply = match query.0 % 3 {
                        0 => ListenReply::Handle,
                        1 => ListenReply::Faux {
                            sockname: Some((key.to_string(), 80)),
                        },
                        _ => ListenReply::Error { errno: ENOTSUP },
                    };
                    effects.extend(primary.answer(query, reply));
                    effects.extend(deliver(&mut primary, worker, &key, &mut next, &mut open));
                }
                Effect::Accepted { conn, .. } | Effect::Returned { conn, .. } => {
                    assert!(open.remove(&conn));
                }
                Effect::App { worker, message } => match &primary.send_app(worker, &message)[..] {
                    [
                        Effect::Send {
                            line,
                            attach: Attach::None,
                            ..
                        },
                    ] => check_framing(line),
                    other => panic!("what one app may say another may hear: {other:?}"),
                },
                _ => {}
            }
        }
    }
    for worker in WORKERS {
        for effect in primary.leave(worker) {
            if let Effect::Returned { conn, .. } = effect {
                assert!(open.remove(&conn));
            }
        }
    }
    assert!(open.is_empty());
});

fn deliver(
    primary: &mut Primary,
    worker: WorkerId,
    key: &HandleKey,
    next: &mut u64,
    open: &mut BTreeSet<ConnId>,
) -> Vec<Effect> {
    *next += 1;
    open.insert(ConnId(*next));
    primary.deliver(worker, key, ConnId(*next))
}

fn check_line(line: &[u8], attach: &Attach) {
    check_framing(line);
    let handle = line.starts_with(br#"{"cmd":"NODE_HANDLE","#);
    assert_eq!(handle, *attach != Attach::None);
}

fn check_framing(line: &[u8]) {
    assert_eq!(
        line.iter().position(|byte| *byte == b'\n'),
        Some(line.len() - 1)
    );
    assert!(std::str::from_utf8(line).is_ok());
}
