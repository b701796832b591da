//! The messages of `internal/cluster/child` and `internal/child_process`, as JSON lines.
//!
//! Wire types stay in this module: a line becomes a [`FromWorker`]. What goes to a worker is made
//! by the `outgoing` module.

use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::address::{HandleKey, ListenAddress};
use crate::probe::{is_internal, probe};

/// The `cmd` of the messages between a caller of this library and code that it preloads into
/// workers. Such a message arrives as `process.on('internalMessage')`, unseen by the app.
pub const AGENT_CMD: &str = "NODE_PANDO";

/// The byte before each internal message of Bun's.
pub(crate) const BUN_MARK: u8 = 2;

/// libuv's flag in a `queryServer` message.
const UV_TCP_IPV6ONLY: u64 = 1;

/// A line from a worker.
#[derive(Debug)]
pub enum FromWorker<'a> {
    /// The cluster module is loaded.
    Online,
    /// It wants to listen.
    QueryServer(QueryServer),
    /// It listens.
    Listening(Listening),
    /// It closed a server.
    Close {
        /// Which.
        key: HandleKey,
    },
    /// It is about to disconnect; waits for the ack.
    ExitedAfterDisconnect {
        /// To ack.
        seq: u64,
    },
    /// The answer to a `newconn`.
    Ack {
        /// Our `seq`.
        ack: u64,
        /// Whether it took the connection.
        accepted: bool,
    },
    /// The descriptor of our last unanswered NODE_HANDLE arrived.
    HandleAck,
    /// It did not (the worker has no free descriptor, say), and the message in it was dropped.
    HandleNack,
    /// `process.send(message, handle)`.
    Handle {
        /// `net.Socket`, `net.Server`, `dgram.Socket`, …
        kind: String,
        /// The message, one JSON value.
        message: &'a RawValue,
    },
    /// It asks how many of the sockets it has sent are open.
    SocketCount {
        /// Its name for the server they came from, any JSON.
        key: &'a RawValue,
    },
    /// It asks to be told once all the sockets it has sent are closed.
    SocketsClose {
        /// Its name for the server they came from, any JSON.
        key: &'a RawValue,
    },
    /// The app's own message, one JSON value.
    App(&'a [u8]),
    /// An object with [`AGENT_CMD`].
    Agent(Value),
    /// An internal message that does not concern a primary of this kind.
    Other {
        /// Its `cmd`, or `act`.
        name: String,
    },
    /// An internal message of Bun's, decoded without its mark.
    Bun(Box<FromWorker<'a>>),
}

/// `act: queryServer`.
#[derive(Debug)]
pub struct QueryServer {
    /// To be acknowledged by the reply.
    pub seq: u64,
    /// What the reply names the handle.
    pub key: HandleKey,
    /// Where.
    pub address: ListenAddress,
    /// What the server wants shared over all workers (TLS ticket keys); goes into the reply.
    pub data: Option<Box<RawValue>>,
}

/// `act: listening`: the fields of the `queryServer` again, but for the port, which is the real
/// one. So two keys may be meant.
#[derive(Debug)]
pub struct Listening {
    /// The key, if the query named the port.
    pub key: HandleKey,
    /// The key, if the query asked for port 0.
    pub any_port_key: HandleKey,
    /// `None` for unix sockets.
    pub port: Option<u16>,
    /// With the real port.
    pub address: ListenAddress,
}

/// Why a line is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not text.
    #[error("the line is not UTF-8 (byte {at})")]
    NotUtf8 {
        /// Of the first wrong byte.
        at: usize,
    },
    /// The text is not one JSON value.
    #[error("the line is not JSON: {why}")]
    NotJson {
        /// serde_json's reason.
        why: String,
    },
    /// The object has a `cmd` of the protocol, but not its fields.
    #[error("a {cmd} message has wrong fields: {why}")]
    Fields {
        /// The message's `cmd`.
        cmd: String,
        /// serde_json's reason, or ours.
        why: String,
    },
}

/// Reads one line, without its newline.
pub fn decode(line: &[u8]) -> Result<FromWorker<'_>, DecodeError> {
    match line.split_first() {
        Some((&BUN_MARK, rest)) => Ok(FromWorker::Bun(Box::new(decode_text(rest)?))),
        Some(_) | None => decode_text(line),
    }
}

fn decode_text(line: &[u8]) -> Result<FromWorker<'_>, DecodeError> {
    let text = std::str::from_utf8(line).map_err(|error| DecodeError::NotUtf8 {
        at: error.valid_up_to(),
    })?;
    let cmd = probe(text).map_err(|error| DecodeError::NotJson {
        why: error.to_string(),
    })?;
    let Some(cmd) = cmd.filter(|cmd| is_internal(cmd)) else {
        return Ok(FromWorker::App(line));
    };
    let wrong = |why: String| DecodeError::Fields {
        cmd: cmd.clone(),
        why,
    };
    match cmd.as_str() {
        "NODE_CLUSTER" => {
            let wire = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
            cluster(wire).map_err(|why| wrong(why.to_owned()))
        }
        "NODE_HANDLE" => {
            let wire: HandleWire<'_> =
                serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
            Ok(FromWorker::Handle {
                kind: wire.kind.unwrap_or_default(),
                message: wire.msg,
            })
        }
        "NODE_HANDLE_ACK" => Ok(FromWorker::HandleAck),
        "NODE_HANDLE_NACK" => Ok(FromWorker::HandleNack),
        "NODE_SOCKET_GET_COUNT" => socket_key(text)
            .map(|key| FromWorker::SocketCount { key })
            .map_err(wrong),
        "NODE_SOCKET_NOTIFY_CLOSE" => socket_key(text)
            .map(|key| FromWorker::SocketsClose { key })
            .map_err(wrong),
        AGENT_CMD => serde_json::from_str(text)
            .map(FromWorker::Agent)
            .map_err(|error| wrong(error.to_string())),
        _ => Ok(FromWorker::Other { name: cmd }),
    }
}

fn cluster<'a>(wire: ClusterWire) -> Result<FromWorker<'a>, &'static str> {
    if let Some(ack) = wire.ack {
        return Ok(FromWorker::Ack {
            ack,
            accepted: wire.accepted.unwrap_or(false),
        });
    }
    let act = wire.act.as_deref().ok_or("neither act nor ack")?;
    match act {
        "online" => Ok(FromWorker::Online),
        "queryServer" => Ok(FromWorker::QueryServer(QueryServer {
            seq: wire.seq.ok_or("queryServer without seq")?,
            key: wire.key_with_port(&wire.port),
            address: wire.listen_address()?,
            data: wire.data,
        })),
        "listening" => Ok(FromWorker::Listening(Listening {
            key: wire.key_with_port(&wire.port),
            any_port_key: wire.key_with_port(&Some(Some(0))),
            port: wire
                .port
                .flatten()
                .and_then(|port| u16::try_from(port).ok()),
            address: wire.listen_address()?,
        })),
        "close" => Ok(FromWorker::Close {
            key: HandleKey(wire.key.ok_or("close without key")?),
        }),
        "exitedAfterDisconnect" => Ok(FromWorker::ExitedAfterDisconnect {
            seq: wire.seq.ok_or("exitedAfterDisconnect without seq")?,
        }),
        other => Ok(FromWorker::Other {
            name: other.to_owned(),
        }),
    }
}

#[derive(Deserialize)]
struct HandleWire<'a> {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(borrow)]
    msg: &'a RawValue,
}

#[derive(Deserialize)]
struct SocketWire<'a> {
    #[serde(borrow)]
    key: &'a RawValue,
}

fn socket_key(text: &str) -> Result<&RawValue, String> {
    let wire: SocketWire<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(wire.key)
}

/// A `NODE_CLUSTER` message. Where `undefined` and null make different keys, the outer `None` is
/// the former.
#[derive(Deserialize)]
struct ClusterWire {
    act: Option<String>,
    ack: Option<u64>,
    accepted: Option<bool>,
    seq: Option<u64>,
    key: Option<String>,
    index: Option<u64>,
    flags: Option<u64>,
    data: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    address: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    port: Option<Option<i64>>,
    #[serde(default, deserialize_with = "present", rename = "addressType")]
    address_type: Option<Option<AddressType>>,
    #[serde(default, deserialize_with = "present")]
    fd: Option<Option<i64>>,
}

/// 4, 6, -1 (unix), or `udp4`, `udp6`.
#[derive(Deserialize)]
#[serde(untagged)]
enum AddressType {
    Number(i64),
    Text(String),
}

impl fmt::Display for AddressType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// As a JavaScript template literal writes it.
fn script<T: fmt::Display>(value: &Option<Option<T>>) -> String {
    match value {
        None => "undefined".to_owned(),
        Some(None) => "null".to_owned(),
        Some(Some(value)) => value.to_string(),
    }
}

impl ClusterWire {
    fn key_with_port(&self, port: &Option<Option<i64>>) -> HandleKey {
        let mut key = format!(
            "{}:{}:{}:{}",
            script(&self.address),
            script(port),
            script(&self.address_type),
            script(&self.fd)
        );
        if *port == Some(Some(0)) {
            key.push(':');
            key.push_str(&script(&self.index.map(Some)));
        }
        HandleKey(key)
    }

    fn listen_address(&self) -> Result<ListenAddress, &'static str> {
        let host = self.address.clone().flatten();
        let port = self.port.flatten();
        if let Some(Some(AddressType::Text(kind))) = &self.address_type {
            let port = u16::try_from(port.unwrap_or(0)).map_err(|_| "port out of range")?;
            return match kind.as_str() {
                "udp4" => Ok(ListenAddress::Udp {
                    host,
                    port,
                    ipv6: false,
                }),
                "udp6" => Ok(ListenAddress::Udp {
                    host,
                    port,
                    ipv6: true,
                }),
                _ => Err("unknown addressType"),
            };
        }
        if let Some(fd) = self.fd.flatten().filter(|fd| *fd >= 0) {
            return i32::try_from(fd)
                .map(ListenAddress::Fd)
                .map_err(|_| "fd out of range");
        }
        match port.ok_or("neither port nor fd")? {
            ..0 => Ok(ListenAddress::Unix {
                path: host.ok_or("no path")?,
            }),
            port => Ok(ListenAddress::Tcp {
                host,
                port: u16::try_from(port).map_err(|_| "port out of range")?,
                ipv6_only: self.flags.unwrap_or(0) & UV_TCP_IPV6ONLY != 0,
            }),
        }
    }
}
