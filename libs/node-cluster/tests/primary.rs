//! The core alone: events in, effects out.
#![expect(clippy::unwrap_used, reason = "a test panics")]

use node_cluster::{
    Attach, ConnId, Effect, HandleKey, ListenAddress, ListenReply, MAX_KEYS_PER_WORKER,
    MAX_LINE_BYTES, MAX_PINGS_IN_FLIGHT, Options, Primary, QueryId, Snapshot, WorkerId,
};
use serde_json::{Value, json};

const A: WorkerId = WorkerId(1);
const B: WorkerId = WorkerId(2);

fn primary() -> Primary {
    let mut primary = Primary::new(Options { window: 2 });
    primary.join(A);
    primary.join(B);
    primary
}

fn say(primary: &mut Primary, worker: WorkerId, message: Value) -> Vec<Effect> {
    primary.receive(worker, message.to_string().as_bytes(), false)
}

fn ask(primary: &mut Primary, worker: WorkerId, port: u16) -> Vec<Effect> {
    say(primary, worker, query(port, 0))
}

fn query(port: u16, index: u64) -> Value {
    json!({"cmd":"NODE_CLUSTER","act":"queryServer","index":index,"data":null,"address":null,
           "port":port,"addressType":4,"backlog":0,"seq":7})
}

fn key(port: u16) -> HandleKey {
    HandleKey(format!("null:{port}:4:undefined"))
}

fn query_id(effects: &[Effect]) -> QueryId {
    match effects {
        [Effect::Query { query, .. }] => *query,
        other => panic!("{other:?}"),
    }
}

/// The worker listens on the port by a faux handle.
fn listen(primary: &mut Primary, worker: WorkerId, port: u16) {
    let query = query_id(&ask(primary, worker, port));
    primary.answer(query, ListenReply::Faux { sockname: None });
    let mut message = self::query(port, 0);
    message["act"] = "listening".into();
    let effects = say(primary, worker, message);
    assert!(matches!(&effects[..], [Effect::Listening { port: p, .. }] if *p == Some(port)));
}

fn sent(effects: &[Effect]) -> Vec<(Value, Attach)> {
    let sends = effects.iter().filter_map(|effect| {
        if let Effect::Send { line, attach, .. } = effect {
            Some((line, attach))
        } else {
            None
        }
    });
    sends
        .map(|(line, attach)| {
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(line.last(), Some(&b'\n'));
            let message: Value = serde_json::from_slice(line).unwrap();
            let handle = message["cmd"] == "NODE_HANDLE";
            assert_eq!(
                handle,
                *attach != Attach::None,
                "a handle has a descriptor: {message}"
            );
            (message, attach.clone())
        })
        .collect()
}

fn ack(seq: &Value, accepted: bool) -> Value {
    json!({"cmd":"NODE_CLUSTER","ack":seq,"accepted":accepted,"seq":3})
}

#[test]
fn replies_are_as_node_makes_them() {
    for (reply, expect, attach) in [
        (
            ListenReply::Handle,
            json!({"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER",
                "key":key(80).0,"ack":7,"errno":0,"data":null,"seq":0}}),
            Attach::Listener(key(80), A),
        ),
        (
            ListenReply::Faux {
                sockname: Some(("::".into(), 80)),
            },
            json!({"cmd":"NODE_CLUSTER","key":key(80).0,"ack":7,"errno":null,"data":null,
                "sockname":{"address":"::","family":"IPv6","port":80},"seq":0}),
            Attach::None,
        ),
        (
            ListenReply::Faux {
                sockname: Some(("0.0.0.0".into(), 80)),
            },
            json!({"cmd":"NODE_CLUSTER","key":key(80).0,"ack":7,"errno":null,"data":null,
                "sockname":{"address":"0.0.0.0","family":"IPv4","port":80},"seq":0}),
            Attach::None,
        ),
        (
            ListenReply::Faux { sockname: None },
            json!({"cmd":"NODE_CLUSTER","key":key(80).0,"ack":7,"errno":null,"data":null,"seq":0}),
            Attach::None,
        ),
        (
            ListenReply::Error { errno: 98 },
            json!({"cmd":"NODE_CLUSTER","key":key(80).0,"ack":7,"errno":-98,"data":null,"seq":0}),
            Attach::None,
        ),
    ] {
        let mut primary = primary();
        let query = query_id(&ask(&mut primary, A, 80));
        let effects = primary.answer(query, reply.clone());
        assert_eq!(sent(&effects), [(expect, attach)]);
        let failed = matches!(reply, ListenReply::Error { .. });
        assert_eq!(effects.contains(&Effect::Unused { key: key(80) }), failed);
        assert_eq!(primary.can_deliver(A, &key(80)), !failed);
        assert_eq!(primary.answer(query, reply), [], "once only");
    }
}

#[test]
fn the_window_is_kept_and_refusals_come_back() {
    let mut primary = primary();
    listen(&mut primary, A, 80);
    let (one, two, three) = (ConnId(1), ConnId(2), ConnId(3));
    let first = sent(&primary.deliver(A, &key(80), one)).remove(0);
    assert_eq!(first.1, Attach::Conn(one));
    let seq = &first.0["msg"]["seq"];
    assert_eq!(
        first.0["msg"],
        json!({"cmd":"NODE_CLUSTER","act":"newconn","key":key(80).0,"seq":seq})
    );
    let second = sent(&primary.deliver(A, &key(80), two)).remove(0);
    assert!(!primary.can_deliver(A, &key(80)));
    let returned = |conn| Effect::Returned {
        worker: A,
        conn,
        key: key(80),
    };
    assert_eq!(primary.deliver(A, &key(80), three), [returned(three)]);

    assert_eq!(
        say(&mut primary, A, ack(seq, true)),
        [Effect::Accepted {
            worker: A,
            conn: one
        }]
    );
    assert_eq!(
        say(&mut primary, A, ack(seq, true)),
        [],
        "an ack counts once"
    );
    assert_eq!(
        say(&mut primary, B, ack(&second.0["msg"]["seq"], true)),
        [],
        "and for its worker"
    );
    assert_eq!(
        say(&mut primary, A, ack(&second.0["msg"]["seq"], false)),
        [returned(two)]
    );
    assert_eq!(primary.in_flight(A), 0);
    assert!(primary.can_deliver(A, &key(80)));
    assert!(!primary.can_deliver(B, &key(80)) && !primary.can_deliver(A, &key(81)));
}

#[test]
fn a_nack_returns_the_connection_it_is_for() {
    let mut primary = primary();
    listen(&mut primary, A, 80);
    primary.deliver(A, &key(80), ConnId(1));
    primary.deliver(A, &key(80), ConnId(2));
    assert_eq!(say(&mut primary, A, json!({"cmd":"NODE_HANDLE_ACK"})), []);
    let returned = Effect::Returned {
        worker: A,
        conn: ConnId(2),
        key: key(80),
    };
    assert_eq!(
        say(&mut primary, A, json!({"cmd":"NODE_HANDLE_NACK"})),
        [returned]
    );
    assert_eq!(say(&mut primary, A, json!({"cmd":"NODE_HANDLE_NACK"})), []);
    assert_eq!(primary.in_flight(A), 1);
}

#[test]
fn a_listening_socket_that_did_not_arrive_fails_the_listen() {
    let mut primary = primary();
    let query = query_id(&ask(&mut primary, A, 80));
    primary.answer(query, ListenReply::Handle);
    let effects = say(&mut primary, A, json!({"cmd":"NODE_HANDLE_NACK"}));
    let (message, _) = sent(&effects).remove(0);
    assert_eq!(
        (&message["ack"], &message["errno"]),
        (&json!(7), &json!(-24))
    );
    assert!(effects.contains(&Effect::Unused { key: key(80) }));
    assert!(!primary.can_deliver(A, &key(80)));
}

#[test]
fn a_key_is_unused_when_nobody_holds_it_or_asks_for_it() {
    let mut primary = primary();
    listen(&mut primary, A, 80);
    let open = query_id(&ask(&mut primary, B, 80));
    let close = json!({"cmd":"NODE_CLUSTER","act":"close","key":key(80).0,"seq":9});
    assert_eq!(
        say(&mut primary, A, close.clone()),
        [Effect::Closed {
            worker: A,
            key: key(80)
        }]
    );
    assert_eq!(say(&mut primary, A, close), [], "it was closed");
    primary.answer(open, ListenReply::Faux { sockname: None });
    assert_eq!(primary.holders(&key(80)).collect::<Vec<_>>(), [B]);
    assert_eq!(primary.leave(B), [Effect::Unused { key: key(80) }]);

    let open = query_id(&ask(&mut primary, A, 80));
    assert_eq!(primary.leave(A), [Effect::Unused { key: key(80) }]);
    assert_eq!(primary.answer(open, ListenReply::Handle), []);
}

#[test]
fn the_same_address_twice_is_refused_here() {
    let mut primary = primary();
    let open = query_id(&ask(&mut primary, A, 80));
    for _ in 0..2 {
        let effects = ask(&mut primary, A, 80);
        let (message, _) = sent(&effects).remove(0);
        assert_eq!((effects.len(), &message["errno"]), (1, &json!(-98)));
        primary.answer(open, ListenReply::Handle);
    }
    assert!(
        primary.can_deliver(A, &key(80)),
        "the first one is none the worse"
    );
    assert!(matches!(
        &ask(&mut primary, B, 80)[..],
        [Effect::Query { .. }]
    ));
}

#[test]
fn keys_of_one_worker_are_bounded() {
    let mut primary = primary();
    for index in 0..MAX_KEYS_PER_WORKER as u64 {
        query_id(&say(&mut primary, A, query(0, index)));
    }
    let effects = say(&mut primary, A, query(0, 9999));
    let (message, _) = sent(&effects).remove(0);
    assert_eq!(message["errno"], -24);
    assert!(matches!(&effects[1], Effect::Unsupported { .. }));
    let unused = primary.leave(A);
    assert_eq!(unused.len(), MAX_KEYS_PER_WORKER);
}

#[test]
fn data_of_the_first_worker_is_given_to_all() {
    let mut primary = primary();
    let with = |data: Value| {
        let mut message = query(443, 0);
        message["data"] = data;
        message
    };
    let data_of = |effects: &[Effect]| sent(effects).remove(0).0["data"].clone();
    let first = query_id(&say(&mut primary, A, with(json!({"ticketKeys":"aa"}))));
    assert_eq!(
        data_of(&primary.answer(first, ListenReply::Faux { sockname: None }))["ticketKeys"],
        "aa"
    );
    let second = query_id(&say(&mut primary, B, with(json!({"ticketKeys":"bb"}))));
    let effects = primary.answer(second, ListenReply::Error { errno: 13 });
    assert_eq!(data_of(&effects)["ticketKeys"], "aa");
    let effects = say(&mut primary, A, with(json!({"ticketKeys":"cc"})));
    assert_eq!(
        data_of(&effects)["ticketKeys"],
        "aa",
        "TLS reads it before the errno"
    );
}

#[test]
fn listening_is_matched_to_its_key() {
    let mut primary = primary();
    for index in [0, 1] {
        let query = query_id(&say(&mut primary, A, query(0, index)));
        primary.answer(query, ListenReply::Handle);
    }
    let query = query_id(&ask(&mut primary, A, 5000));
    primary.answer(query, ListenReply::Handle);
    let listening = |port: u16, index: u64| {
        json!({"cmd":"NODE_CLUSTER","act":"listening","index":index,"address":null,"port":port,
               "addressType":4,"seq":1})
    };
    for (port, index, expect, asked) in [
        (40001, 1, "null:0:4:undefined:1", 0),
        (5000, 0, "null:5000:4:undefined", 5000),
        (40000, 0, "null:0:4:undefined:0", 0),
    ] {
        let key = HandleKey(expect.into());
        let address = ListenAddress::Tcp {
            host: None,
            port: asked,
            ipv6_only: false,
        };
        let expect = Effect::Listening {
            worker: A,
            key: key.clone(),
            port: Some(port),
            address,
        };
        assert_eq!(say(&mut primary, A, listening(port, index)), [expect]);
        assert!(primary.is_listening(A, &key));
        assert_eq!(say(&mut primary, A, listening(port, index)), [], "once");
    }
    assert_eq!(
        say(&mut primary, A, listening(77, 5)),
        [],
        "of no key that it holds"
    );
}

#[test]
fn disconnect_waits_for_listening_and_ends_deliveries() {
    let mut primary = primary();
    assert_eq!(primary.disconnect(A), []);
    listen(&mut primary, A, 80);
    assert!(primary.can_disconnect(A));
    let (message, _) = sent(&primary.disconnect(A)).remove(0);
    assert_eq!(
        (&message["cmd"], &message["act"]),
        (&json!("NODE_CLUSTER"), &json!("disconnect"))
    );
    assert_eq!(primary.disconnect(A), []);
    assert!(!primary.can_deliver(A, &key(80)));
    assert_eq!(ask(&mut primary, A, 81), [], "as Node's primary does");

    let exiting = json!({"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":30});
    let effects = say(&mut primary, B, exiting);
    assert_eq!(sent(&effects)[0].0["ack"], 30);
    assert_eq!(effects[1], Effect::Disconnecting { worker: B });
}

#[test]
fn pings_are_answered_by_refusal_and_bounded() {
    let mut primary = primary();
    assert_eq!(primary.ping(A).1, [], "not before it is online");
    say(
        &mut primary,
        A,
        json!({"cmd":"NODE_CLUSTER","act":"online","seq":0}),
    );
    let (ping, effects) = primary.ping(A);
    let (message, attach) = sent(&effects).remove(0);
    assert_eq!(attach, Attach::Dummy(ping));
    assert_eq!(
        say(&mut primary, A, ack(&message["msg"]["seq"], false)),
        [Effect::Pong { worker: A, ping }]
    );
    for _ in 0..MAX_PINGS_IN_FLIGHT {
        assert_eq!(primary.ping(A).1.len(), 1);
    }
    assert_eq!(primary.ping(A).1, []);
    assert_eq!(primary.in_flight(A), 0);
    assert_eq!(primary.leave(A), []);
}

#[test]
fn handles_from_the_app_are_acked_and_their_messages_kept() {
    let mut primary = primary();
    for (inner, app) in [
        (json!({"a":1}), true),
        (json!("x"), true),
        (json!({"cmd":"NODE_X"}), false),
    ] {
        let line = json!({"cmd":"NODE_HANDLE","type":"net.Socket","msg":inner}).to_string();
        let effects = primary.receive(A, line.as_bytes(), true);
        assert_eq!(sent(&effects)[0].0, json!({"cmd":"NODE_HANDLE_ACK"}));
        assert!(
            matches!(&effects[1], Effect::Unsupported { what, .. } if what.contains("net.Socket"))
        );
        let message = inner.to_string().into_bytes();
        assert_eq!(
            effects.get(2),
            app.then_some(&Effect::App { worker: A, message })
        );
    }
}

#[test]
fn bun_is_told_in_its_own_dialect() {
    let mut primary = primary();
    let effects = primary.receive(
        A,
        b"\x02{\"cmd\":\"NODE_CLUSTER\",\"act\":\"online\",\"seq\":0}",
        false,
    );
    assert_eq!(
        effects,
        [
            Effect::RuntimeIsBun { worker: A },
            Effect::Online { worker: A }
        ]
    );
    let listening = b"\x02{\"cmd\":\"NODE_CLUSTER\",\"act\":\"listening\",\"port\":3999,\"data\":null,\"address\":null,\"addressType\":4}";
    assert!(matches!(
        &primary.receive(A, listening, false)[..],
        [Effect::Listening {
            port: Some(3999),
            ..
        }]
    ));
    assert!(!primary.can_deliver(A, &key(3999)));
    assert_eq!(primary.ping(A).1, []);
    assert_eq!(
        primary.disconnect(A),
        [],
        "it would go on listening without a channel"
    );
    match &primary.send_internal(A, "NODE_PANDO", json!({}))[..] {
        [Effect::Send { line, .. }] => assert!(line.starts_with(b"\x02{")),
        other => panic!("{other:?}"),
    }
    assert_eq!(primary.leave(A), [Effect::Unused { key: key(3999) }]);
}

#[test]
fn an_adopted_worker_is_as_it_was() {
    let mut first = primary();
    let mut message = query(80, 0);
    message["data"] = json!({"ticketKeys":"aa"});
    let query = query_id(&say(&mut first, A, message));
    first.answer(query, ListenReply::Handle);
    let mut message = self::query(80, 0);
    message["act"] = "listening".into();
    say(&mut first, A, message);
    first.deliver(A, &key(80), ConnId(1));

    let mut second = Primary::new(Options::default()).numbered_from(1000);
    let snapshot = first.snapshot(A).unwrap();
    second.adopt(A, snapshot.clone());
    assert_eq!(second.snapshot(A), Some(snapshot));
    assert!(second.is_listening(A, &key(80)) && second.can_deliver(A, &key(80)));
    assert_eq!(
        say(&mut second, A, ack(&json!(2), false)),
        [],
        "its predecessor's"
    );
    let (message, _) = sent(&second.deliver(A, &key(80), ConnId(1))).remove(0);
    let accepted = Effect::Accepted {
        worker: A,
        conn: ConnId(1),
    };
    assert_eq!(
        say(&mut second, A, ack(&message["msg"]["seq"], true)),
        [accepted]
    );

    // One that was still silent: it may have been granted what nobody knows of.
    second.adopt(B, Snapshot::default());
    let listening = json!({"cmd":"NODE_CLUSTER","act":"listening","index":0,"address":null,"port":81,"addressType":4,"seq":1});
    assert!(matches!(
        &say(&mut second, B, listening)[..],
        [Effect::Listening { .. }]
    ));
    assert!(second.can_deliver(B, &key(81)));
}

#[test]
fn what_would_crash_a_worker_is_not_sent() {
    let mut primary = primary();
    let long = vec![b'1'; MAX_LINE_BYTES + 1];
    for json in [
        &b""[..],
        b"{",
        b"\xff",
        b"1 2",
        br#"{"cmd":"NODE_HANDLE"}"#,
        &long,
    ] {
        let effects = primary.send_app(A, json);
        assert!(
            matches!(&effects[..], [Effect::Unsupported { .. }]),
            "{effects:?}"
        );
    }
    assert_eq!(
        sent(&primary.send_app(A, b"{\n\"a\":\r\n1}"))[0].0,
        json!({"a":1})
    );
    assert_eq!(
        sent(&primary.send_internal(A, "NODE_PANDO", json!({"cmd":"x","a":1})))[0].0,
        json!({"cmd":"NODE_PANDO","a":1})
    );
    assert_eq!(
        sent(&primary.send_internal(A, "NODE_PANDO", json!(3)))[0].0,
        json!({"cmd":"NODE_PANDO","value":3})
    );
}

#[test]
fn unknown_workers_have_no_effect() {
    let mut primary = primary();
    let x = WorkerId(9);
    assert_eq!(ask(&mut primary, x, 80), []);
    assert_eq!(primary.leave(x), []);
    assert_eq!(primary.disconnect(x), []);
    assert_eq!(primary.ping(x).1, []);
    assert_eq!(primary.send_app(x, b"1"), []);
    assert_eq!(primary.snapshot(x), None);
    let returned = Effect::Returned {
        worker: x,
        conn: ConnId(1),
        key: key(80),
    };
    assert_eq!(
        primary.deliver(x, &key(80), ConnId(1)),
        [returned],
        "it is not lost"
    );
}

#[test]
fn garbage_is_quoted_in_short() {
    let mut primary = primary();
    let line = format!(
        r#"{{"cmd":"NODE_CLUSTER","seq":"{}"}}"#,
        "ß".repeat(100_000)
    );
    match &primary.receive(A, line.as_bytes(), false)[..] {
        [Effect::Garbage { why, .. }] => assert!(why.len() < 250 && why.ends_with('…'), "{why}"),
        other => panic!("{other:?}"),
    }
}
