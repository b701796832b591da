//! The lines to a worker, as `sendHelper` in `internal/cluster/utils` and `target._send` in
//! `internal/child_process` make them. Each returned line has its newline.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::address::HandleKey;
use crate::message::BUN_MARK;

/// The answer to a `queryServer`.
pub(crate) struct Reply<'a> {
    pub seq: u64,
    /// The query's `seq`.
    pub ack: u64,
    pub key: &'a HandleKey,
    /// null makes a faux handle; otherwise 0 or negative.
    pub errno: Option<i32>,
    pub data: Option<&'a RawValue>,
    pub sockname: Option<&'a (String, u16)>,
}

impl Reply<'_> {
    /// The message on its own: a faux handle or an error.
    pub(crate) fn plain(&self) -> Vec<u8> {
        line(self.message())
    }

    /// The message for the descriptor that goes with it.
    pub(crate) fn with_handle(&self) -> Vec<u8> {
        line(in_handle(&self.message()))
    }

    fn message(&self) -> String {
        let errno = self
            .errno
            .map_or_else(|| "null".to_owned(), |errno| errno.to_string());
        let data = self.data.map_or("null", RawValue::get);
        let sockname = self.sockname.map_or_else(String::new, |(address, port)| {
            let family = if address.contains(':') {
                "IPv6"
            } else {
                "IPv4"
            };
            let name = json!({"address": address, "family": family, "port": port});
            format!(r#","sockname":{name}"#)
        });
        format!(
            r#"{{"cmd":"NODE_CLUSTER","key":{key},"ack":{ack},"errno":{errno},"data":{data}{sockname},"seq":{seq}}}"#,
            key = quoted(self.key.as_str()),
            ack = self.ack,
            seq = self.seq,
        )
    }
}

/// A connection (or any socket, with a key that no worker has) goes with this line.
pub(crate) fn newconn(key: &str, seq: u64) -> Vec<u8> {
    let key = quoted(key);
    line(in_handle(&format!(
        r#"{{"cmd":"NODE_CLUSTER","act":"newconn","key":{key},"seq":{seq}}}"#
    )))
}

pub(crate) fn disconnect(seq: u64) -> Vec<u8> {
    line(format!(
        r#"{{"cmd":"NODE_CLUSTER","act":"disconnect","seq":{seq}}}"#
    ))
}

/// The answer to `exitedAfterDisconnect`.
pub(crate) fn ack(ack: u64, seq: u64) -> Vec<u8> {
    line(format!(
        r#"{{"cmd":"NODE_CLUSTER","ack":{ack},"seq":{seq}}}"#
    ))
}

pub(crate) fn handle_ack() -> Vec<u8> {
    line(r#"{"cmd":"NODE_HANDLE_ACK"}"#.to_owned())
}

/// None of the sockets that came with messages is open: they were closed at once.
pub(crate) fn socket_count(key: &RawValue) -> Vec<u8> {
    line(format!(
        r#"{{"cmd":"NODE_SOCKET_COUNT","key":{key},"count":0}}"#
    ))
}

pub(crate) fn sockets_closed(key: &RawValue) -> Vec<u8> {
    line(format!(r#"{{"cmd":"NODE_SOCKET_ALL_CLOSED","key":{key}}}"#))
}

/// `cmd` and the members of `body`; a body that is no object becomes the member `value`.
pub(crate) fn internal(cmd: &str, body: Value) -> Vec<u8> {
    let mut message = Map::new();
    message.insert("cmd".to_owned(), cmd.into());
    if let Value::Object(members) = body {
        message.extend(members.into_iter().filter(|(name, _)| name != "cmd"));
    } else {
        message.insert("value".to_owned(), body);
    }
    line(Value::Object(message).to_string())
}

/// One JSON value as a line. Newlines can only be white space there.
pub(crate) fn app(json: &[u8]) -> Vec<u8> {
    let mut line: Vec<u8> = json
        .iter()
        .map(|byte| {
            if matches!(byte, b'\n' | b'\r') {
                b' '
            } else {
                *byte
            }
        })
        .collect();
    line.push(b'\n');
    line
}

/// A line in the form that Bun takes for an internal one.
pub(crate) fn marked_for_bun(mut line: Vec<u8>) -> Vec<u8> {
    line.insert(0, BUN_MARK);
    line
}

fn in_handle(message: &str) -> String {
    format!(r#"{{"cmd":"NODE_HANDLE","type":"net.Native","msg":{message}}}"#)
}

fn line(mut text: String) -> Vec<u8> {
    text.push('\n');
    text.into_bytes()
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
