#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it looks for"
)]

use gateway_spec::link::encode;
use proptest::prelude::*;

use super::*;

fn spec(ports: &[u16]) -> GatewaySpec {
    GatewaySpec {
        listen: ports
            .iter()
            .map(|port| Listen::plain(([127, 0, 0, 1], *port).into()))
            .collect(),
        ..GatewaySpec::default()
    }
}

fn config(id: u64, spec: GatewaySpec) -> Vec<u8> {
    encode(&ToGateway::Config {
        id,
        spec: Box::new(spec),
        state: "/h/gateway".into(),
    })
    .unwrap()
}

/// What is said, as JSON.
fn said(acts: &[Act]) -> Vec<Value> {
    let lines = acts.iter().filter_map(|act| match act {
        Act::Say(line) => Some(line),
        _ => None,
    });
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn grant(ack: u64, key: &str) -> String {
    json!({"cmd": "NODE_HANDLE", "type": "net.Native", "msg":
        {"cmd": "NODE_CLUSTER", "key": key, "ack": ack, "errno": 0, "data": null, "seq": 1}})
    .to_string()
}

fn newconn(key: &str, seq: u64) -> String {
    json!({"cmd": "NODE_HANDLE", "type": "net.Native", "msg":
        {"cmd": "NODE_CLUSTER", "act": "newconn", "key": key, "seq": seq}})
    .to_string()
}

#[test]
fn a_gateway_asks_for_its_listeners_and_is_ready_when_its_core_is() {
    let mut p = Protocol::default();
    let first = said(&p.begin());
    assert_eq!(first[0]["act"], "online");
    assert_eq!(first[1], json!({"cmd": "NODE_PANDO", "act": "hello"}));

    let acts = p.receive(&config(1, spec(&[80, 443])), false);
    assert!(matches!(acts[0], Act::Config { id: 1, .. }));
    let asked = said(&acts);
    assert_eq!(asked[1]["port"], 443);
    assert_eq!(asked[1]["address"], "127.0.0.1");
    let seq = |i: usize| asked[i]["seq"].as_u64().unwrap();

    let acts = p.receive(grant(seq(0), "a").as_bytes(), true);
    assert_eq!(said(&acts)[0]["cmd"], "NODE_HANDLE_ACK");
    assert_eq!(acts[1], Act::Listener { index: 0 });
    assert!(p.ready().is_empty(), "one listener is still to come");
    let acts = p.receive(grant(seq(1), "b").as_bytes(), true);
    let told: Vec<_> = said(&acts).iter().map(|m| m["act"].clone()).collect();
    assert_eq!(told, [Value::Null, "listening".into(), "listening".into()]);
    assert!(p.ready().is_empty(), "told once");
}

#[test]
fn pings_are_refused_and_connections_wait_for_the_core() {
    let mut p = Protocol::default();
    p.begin();
    let acts = p.receive(&config(1, spec(&[80])), false);
    let seq = said(&acts)[0]["seq"].as_u64().unwrap();
    p.receive(grant(seq, "k").as_bytes(), true);

    let answer = said(&p.receive(newconn("ping", 7).as_bytes(), true));
    assert_eq!(
        (&answer[1]["ack"], &answer[1]["accepted"]),
        (&json!(7), &json!(false))
    );

    let acts = p.receive(newconn("k", 8).as_bytes(), true);
    assert_eq!(said(&acts).len(), 1, "only the descriptor is acked");
    assert_eq!(
        acts[1],
        Act::Connection {
            listener: 0,
            seq: 8
        }
    );
    let ack = said(&[p.ack(8, true)]);
    assert_eq!(
        (&ack[0]["ack"], &ack[0]["accepted"]),
        (&json!(8), &json!(true))
    );

    // A descriptor that did not arrive.
    let lost = said(&p.receive(newconn("k", 9).as_bytes(), false));
    assert_eq!(lost, [json!({"cmd": "NODE_HANDLE_NACK"})]);
}

#[test]
fn what_a_running_gateway_cannot_take_over_is_sent_back() {
    let mut p = Protocol::default();
    p.receive(&config(1, spec(&[80])), false);
    let mut limits = spec(&[80]);
    limits.limits.headers = 7;
    assert!(matches!(
        p.receive(&config(2, limits), false)[..],
        [Act::Config { id: 2, .. }]
    ));
    let back = said(&p.receive(&config(3, spec(&[81])), false));
    let outcome = &back[0]["say"]["config"]["outcome"];
    assert_eq!(outcome["needs_reload"]["why"], "listen changed");

    // Words of a later version.
    let later = br#"{"cmd":"NODE_PANDO","act":"gateway","v":9,"say":{"config":{"id":4,"spec":{"sing":1},"state":"/"}}}"#;
    let back = said(&p.receive(later, false));
    assert_eq!(back[0]["say"]["config"]["id"], 4);
    assert_eq!(p.garbage, 0);
}

#[test]
fn a_refused_address_a_drain_and_the_end() {
    let mut p = Protocol::default();
    p.begin();
    let acts = p.receive(&config(1, spec(&[80])), false);
    let ack = said(&acts)[0]["seq"].as_u64().unwrap();
    let refused = json!({"cmd": "NODE_CLUSTER", "key": "k", "ack": ack, "errno": -98, "seq": 1});
    let acts = p.receive(refused.to_string().as_bytes(), false);
    assert_eq!(
        acts,
        [Act::ListenFailed {
            index: 0,
            errno: 98
        }]
    );

    let drain = br#"{"cmd":"NODE_PANDO","act":"drain","signal":"SIGTERM","quick":true}"#;
    assert_eq!(p.receive(drain, false), [Act::Drain { quick: true }]);
    let end = p.receive(
        br#"{"cmd":"NODE_CLUSTER","act":"disconnect","seq":4}"#,
        false,
    );
    assert_eq!(said(&end)[0]["act"], "exitedAfterDisconnect");
    assert_eq!(end[1], Act::Disconnect);
}

#[test]
fn a_gateway_that_listens_on_nothing_says_ready() {
    let mut p = Protocol::default();
    p.receive(&config(1, spec(&[])), false);
    assert_eq!(p.ready(), [Act::Say(b"\"ready\"\n".to_vec())]);
}

proptest! {
    /// Whatever comes: no panic, and a line without a descriptor never takes one.
    #[test]
    fn any_line_is_survived(line in prop::collection::vec(any::<u8>(), 0..200), fd: bool) {
        Protocol::default().receive(&line, fd);
    }

    #[test]
    fn any_message_is_survived(
        cmd in prop_oneof![Just("NODE_CLUSTER"), Just("NODE_HANDLE"), Just("NODE_PANDO"), Just("x")],
        act in prop_oneof![Just("newconn"), Just("disconnect"), Just("gateway"), Just("drain")],
        numbers in prop::collection::vec(any::<i64>(), 3),
        key in ".{0,8}",
        fd: bool,
    ) {
        let inner = json!({"cmd": cmd, "act": act, "seq": numbers[0], "ack": numbers[1],
            "errno": numbers[2], "key": key, "quick": true, "say": key});
        let mut p = Protocol::default();
        p.receive(&config(1, spec(&[80])), false);
        for line in [inner.to_string(), json!({"cmd": "NODE_HANDLE", "msg": inner}).to_string()] {
            for act in p.receive(line.as_bytes(), fd) {
                let takes = matches!(act, Act::Listener { .. } | Act::Connection { .. });
                prop_assert!(fd || !takes);
            }
        }
    }
}
