//! Tables of lines and what they are read as.
#![allow(
    clippy::too_many_lines,
    reason = "tables of inputs and what is expected"
)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test picks the kind it wants"
)]

use node_cluster::{DecodeError, FromWorker, HandleKey, ListenAddress, decode};

fn query(fields: &str) -> Result<(String, ListenAddress, Option<String>), DecodeError> {
    let line =
        format!(r#"{{"cmd":"NODE_CLUSTER","act":"queryServer","index":2,{fields},"seq":9}}"#);
    match decode(line.as_bytes())? {
        FromWorker::QueryServer(query) => {
            assert_eq!(query.seq, 9);
            Ok((
                query.key.0,
                query.address,
                query.data.map(|data| data.get().to_owned()),
            ))
        }
        other => panic!("{other:?}"),
    }
}

fn tcp(host: Option<&str>, port: u16, ipv6_only: bool) -> ListenAddress {
    ListenAddress::Tcp {
        host: host.map(str::to_owned),
        port,
        ipv6_only,
    }
}

#[test]
fn addresses_and_keys_of_queries() {
    let udp = |host: Option<&str>, port, ipv6| ListenAddress::Udp {
        host: host.map(str::to_owned),
        port,
        ipv6,
    };
    for (fields, key, address) in [
        (
            r#""address":null,"port":3000,"addressType":4"#,
            "null:3000:4:undefined",
            tcp(None, 3000, false),
        ),
        (
            r#""address":null,"port":0,"addressType":4"#,
            "null:0:4:undefined:2",
            tcp(None, 0, false),
        ),
        (
            r#""address":"::1","port":80,"addressType":6,"flags":1"#,
            "::1:80:6:undefined",
            tcp(Some("::1"), 80, true),
        ),
        (
            r#""address":"127.0.0.1","port":80,"addressType":4,"flags":0,"fd":null"#,
            "127.0.0.1:80:4:null",
            tcp(Some("127.0.0.1"), 80, false),
        ),
        (
            r#""address":"/run/a b.sock","port":-1,"addressType":-1"#,
            "/run/a b.sock:-1:-1:undefined",
            ListenAddress::Unix {
                path: "/run/a b.sock".into(),
            },
        ),
        (
            r#""address":null,"port":null,"addressType":null,"fd":3"#,
            "null:null:null:3",
            ListenAddress::Fd(3),
        ),
        (
            r#""address":null,"port":53,"addressType":"udp4""#,
            "null:53:udp4:undefined",
            udp(None, 53, false),
        ),
        (
            r#""address":"::1","port":0,"addressType":"udp6","fd":-1"#,
            "::1:0:udp6:-1:2",
            udp(Some("::1"), 0, true),
        ),
    ] {
        assert_eq!(
            query(fields),
            Ok((key.to_owned(), address, None)),
            "{fields}"
        );
    }
    let (_, _, data) =
        query(r#""address":null,"port":1,"addressType":4,"data":{"a":[1]}"#).unwrap();
    assert_eq!(data.as_deref(), Some(r#"{"a":[1]}"#));
}

#[test]
fn wrong_fields_are_errors() {
    for fields in [
        r#""port":70000,"addressType":4"#,
        r#""port":"80","addressType":4"#,
        r#""port":1.5,"addressType":4"#,
        r#""addressType":4"#,
        r#""port":-1,"addressType":-1"#,
        r#""port":1,"addressType":"tcp9""#,
        r#""port":1,"addressType":[]"#,
        r#""port":70000,"addressType":"udp4""#,
        r#""port":null,"fd":99999999999"#,
        r#""address":7,"port":1,"addressType":4"#,
    ] {
        let error = query(fields).unwrap_err();
        assert!(
            matches!(&error, DecodeError::Fields { cmd, .. } if cmd == "NODE_CLUSTER"),
            "{error}"
        );
    }
    for line in [
        r#"{"cmd":"NODE_CLUSTER"}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"queryServer","port":1,"addressType":4}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"close"}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"close","key":{}}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect"}"#,
        r#"{"cmd":"NODE_CLUSTER","ack":-1}"#,
        r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":"yes"}"#,
        r#"{"cmd":"NODE_HANDLE"}"#,
        r#"{"cmd":"NODE_HANDLE","type":7,"msg":1}"#,
        r#"{"cmd":"NODE_SOCKET_GET_COUNT"}"#,
    ] {
        assert!(
            matches!(decode(line.as_bytes()), Err(DecodeError::Fields { .. })),
            "{line}"
        );
    }
}

#[test]
fn kinds_of_lines() {
    let name = |line: &str| match decode(line.as_bytes()).unwrap() {
        FromWorker::Online => "online".to_owned(),
        FromWorker::QueryServer(_) => "query".to_owned(),
        FromWorker::Listening(l) => {
            format!("listening {} {} {:?}", l.key, l.any_port_key, l.port)
        }
        FromWorker::Close {
            key: HandleKey(key),
        } => format!("close {key}"),
        FromWorker::ExitedAfterDisconnect { seq } => format!("exiting {seq}"),
        FromWorker::Ack { ack, accepted } => format!("ack {ack} {accepted}"),
        FromWorker::HandleAck => "handle ack".to_owned(),
        FromWorker::HandleNack => "handle nack".to_owned(),
        FromWorker::Handle { kind, message } => format!("handle {kind} {message}"),
        FromWorker::SocketCount { key } => format!("count {key}"),
        FromWorker::SocketsClose { key } => format!("sockets {key}"),
        FromWorker::App(bytes) => format!("app {}", String::from_utf8_lossy(bytes)),
        FromWorker::Agent(value) => format!("agent {value}"),
        FromWorker::Other { name } => format!("other {name}"),
        FromWorker::Bun(inner) => format!("bun {inner:?}"),
    };
    for (line, expect) in [
        (r#"{"cmd":"NODE_CLUSTER","act":"online","seq":0}"#, "online"),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"listening","index":1,"address":null,"port":80,"addressType":4,"seq":2}"#,
            "listening null:80:4:undefined null:0:4:undefined:1 Some(80)",
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"listening","index":0,"address":"/s","port":-1,"addressType":-1}"#,
            "listening /s:-1:-1:undefined /s:0:-1:undefined:0 None",
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"close","key":"k","seq":1}"#,
            "close k",
        ),
        (
            r#"{"seq":4,"act":"exitedAfterDisconnect","cmd":"NODE_CLUSTER"}"#,
            "exiting 4",
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","ack":5,"accepted":true,"seq":1}"#,
            "ack 5 true",
        ),
        (
            r#"{"cmd":"NODE_CLUSTER","ack":5,"accepted":false}"#,
            "ack 5 false",
        ),
        (r#"{"cmd":"NODE_CLUSTER","ack":5}"#, "ack 5 false"),
        (
            r#"{"cmd":"NODE_CLUSTER","act":"new in Node 40","seq":1}"#,
            "other new in Node 40",
        ),
        (r#"{"cmd":"NODE_HANDLE_ACK"}"#, "handle ack"),
        (r#"{"cmd":"NODE_HANDLE_NACK"}"#, "handle nack"),
        (
            r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"a":1},"key":"6::::1"}"#,
            "handle net.Socket {\"a\":1}",
        ),
        (
            r#"{"cmd":"NODE_SOCKET_GET_COUNT","key":"6::::1"}"#,
            r#"count "6::::1""#,
        ),
        (
            r#"{"cmd":"NODE_SOCKET_NOTIFY_CLOSE","key":"k"}"#,
            r#"sockets "k""#,
        ),
        (
            r#"{"cmd":"NODE_PANDO","lag":1}"#,
            r#"agent {"cmd":"NODE_PANDO","lag":1}"#,
        ),
        (
            r#"{"cmd":"NODE_DEBUG_ENABLED"}"#,
            "other NODE_DEBUG_ENABLED",
        ),
        (r#"{"cmd":"NODE_"}"#, r#"app {"cmd":"NODE_"}"#),
        (r#"{"cmd":7}"#, r#"app {"cmd":7}"#),
        (r#""ready""#, r#"app "ready""#),
        ("[\"\\ud800\", 1e999]", "app [\"\\ud800\", 1e999]"),
        (
            "\u{2}{\"cmd\":\"NODE_CLUSTER\",\"act\":\"online\",\"seq\":0}",
            "bun Online",
        ),
        (
            "\u{2}{\"cmd\":\"NODE_CLUSTER\",\"act\":\"new\"}",
            "bun Other { name: \"new\" }",
        ),
    ] {
        assert_eq!(name(line), expect, "{line}");
    }
}

#[test]
fn garbage() {
    for (line, expect) in [
        (&b"\xff"[..], "the line is not UTF-8 (byte 0)"),
        (b"\"\xc3\"", "the line is not UTF-8 (byte 1)"),
        (
            b"",
            "the line is not JSON: EOF while parsing a value at line 1 column 0",
        ),
        (
            b"\x02",
            "the line is not JSON: EOF while parsing a value at line 1 column 0",
        ),
        (
            b"\x02\x02{}",
            "the line is not JSON: expected value at line 1 column 1",
        ),
        (
            b"hello",
            "the line is not JSON: expected value at line 1 column 1",
        ),
    ] {
        assert_eq!(decode(line).unwrap_err().to_string(), expect);
    }
}
