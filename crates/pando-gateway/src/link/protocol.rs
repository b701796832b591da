//! The worker's side of Node's cluster protocol with Pando's own words on the same channel, as a
//! state machine: lines in, [`Act`]s out. No descriptor, no clock, no task.
//!
//! ```text
//! we say                   supervisor says
//! online, hello            config                 the first one names the listeners
//! queryServer (each)       the listening socket
//! listening (each)                                once the core is ready
//!                          newconn, key known     a rescued connection: acked when the core has it
//!                          newconn, key unknown   a ping: refused
//!                          drain                  no new connections; drained when all is answered
//! exitedAfterDisconnect    disconnect
//! ```

use std::path::PathBuf;

use gateway_spec::link::{
    ACT, AppEndpoints, Ask, CMD, ConfigOutcome, FromGateway, ToGateway, encode,
};
use gateway_spec::{GatewaySpec, Listen, ListenAddress};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// What follows from a line.
#[derive(Debug, PartialEq)]
pub(super) enum Act {
    /// Queue this line, which has its newline.
    Say(Vec<u8>),
    Config {
        id: u64,
        spec: Box<GatewaySpec>,
        state: PathBuf,
    },
    /// The descriptor of this line is the socket of this listener.
    Listener {
        index: usize,
    },
    /// The supervisor could not open it; `errno` is positive.
    ListenFailed {
        index: usize,
        errno: i32,
    },
    /// The descriptor of this line is a connection of this listener. Ack `seq` when it is taken.
    Connection {
        listener: usize,
        seq: u64,
    },
    Apps(Vec<AppEndpoints>),
    /// The answer to an `open`; the descriptor of this line, if there is no error.
    Opened {
        id: u64,
        error: Option<String>,
    },
    Ask {
        id: u64,
        ask: Ask,
    },
    Drain {
        /// The app is stopped, no successor waits: answer what is open, wait for nobody.
        quick: bool,
    },
    Disconnect,
}

/// One listener as both sides name it.
#[derive(Debug)]
struct Listener {
    listen: Listen,
    /// Number of its `queryServer`.
    asked: u64,
    /// The key, once it was granted.
    key: Option<String>,
    /// `listening` was said.
    told: bool,
}

#[derive(Debug, Default)]
pub(super) struct Protocol {
    next_seq: u64,
    /// What the first configuration said, and no later one can change without a reload.
    fixed: Option<Box<GatewaySpec>>,
    listeners: Vec<Listener>,
    ready: bool,
    /// Lines that could not be read.
    pub garbage: u64,
}

/// The part of a line that says what it is.
#[derive(Deserialize)]
struct Wire<'a> {
    cmd: Option<String>,
    act: Option<String>,
    key: Option<String>,
    seq: Option<u64>,
    ack: Option<u64>,
    errno: Option<i32>,
    quick: Option<bool>,
    #[serde(borrow)]
    msg: Option<&'a RawValue>,
}

impl Protocol {
    /// What a worker says first.
    pub fn begin(&mut self) -> Vec<Act> {
        let online = self.cluster(json!({ "act": "online" }));
        vec![
            online,
            Act::Say(plain(&json!({ "cmd": CMD, "act": "hello" }))),
        ]
    }

    /// Takes one line without its newline; `fd` says whether a descriptor came with it. The
    /// descriptor belongs to the first act that names one; if none does, it is to be closed.
    pub fn receive(&mut self, line: &[u8], fd: bool) -> Vec<Act> {
        let mut acts = Vec::new();
        let understood = serde_json::from_slice::<Wire<'_>>(line)
            .ok()
            .and_then(|wire| self.handle(&wire, line, fd, &mut acts));
        if understood.is_none() {
            self.garbage = self.garbage.saturating_add(1);
        }
        acts
    }

    /// `None`: it makes no sense.
    fn handle(
        &mut self,
        wire: &Wire<'_>,
        line: &[u8],
        fd: bool,
        acts: &mut Vec<Act>,
    ) -> Option<()> {
        match (wire.cmd.as_deref()?, wire.act.as_deref()) {
            ("NODE_HANDLE", _) => {
                // Without its descriptor the message is void, and the other side is told so.
                let answer = if fd {
                    "NODE_HANDLE_ACK"
                } else {
                    "NODE_HANDLE_NACK"
                };
                acts.push(Act::Say(plain(&json!({ "cmd": answer }))));
                if fd {
                    let inner: Wire<'_> = serde_json::from_str(wire.msg?.get()).ok()?;
                    self.cluster_message(&inner, true, acts)?;
                }
                Some(())
            }
            ("NODE_CLUSTER", _) => self.cluster_message(wire, false, acts),
            (CMD, Some("drain")) => {
                let quick = wire.quick.unwrap_or(false);
                acts.push(Act::Drain { quick });
                Some(())
            }
            (CMD, Some(ACT)) => self.said(line, acts),
            // As Node does with what it does not know.
            (_, _) => Some(()),
        }
    }

    fn cluster_message(&mut self, wire: &Wire<'_>, fd: bool, acts: &mut Vec<Act>) -> Option<()> {
        if let Some(ack) = wire.ack {
            self.answered(wire, ack, fd, acts);
            return Some(());
        }
        match wire.act.as_deref()? {
            "newconn" => {
                let seq = wire.seq?;
                let key = wire.key.as_deref()?;
                let known = |l: &Listener| l.key.as_deref() == Some(key);
                match self.listeners.iter().position(known).filter(|_| fd) {
                    Some(listener) => acts.push(Act::Connection { listener, seq }),
                    None => acts.push(self.ack(seq, false)),
                }
            }
            "disconnect" => {
                acts.push(self.cluster(json!({ "act": "exitedAfterDisconnect" })));
                acts.push(Act::Disconnect);
            }
            _unknown => {}
        }
        Some(())
    }

    /// The answer to a `queryServer`, or to something that needs none.
    fn answered(&mut self, wire: &Wire<'_>, ack: u64, fd: bool, acts: &mut Vec<Act>) {
        let open = |l: &Listener| l.asked == ack && l.key.is_none();
        let Some(index) = self.listeners.iter().position(open) else {
            return;
        };
        let errno = wire.errno.unwrap_or(0);
        if errno != 0 {
            acts.push(Act::ListenFailed {
                index,
                errno: errno.saturating_abs(),
            });
            return;
        }
        if let Some(listener) = self.listeners.get_mut(index) {
            listener.key.clone_from(&wire.key);
        }
        // Without a socket all connections come by newconn.
        if fd {
            acts.push(Act::Listener { index });
        }
        self.tell_listening(acts);
    }

    fn said(&mut self, line: &[u8], acts: &mut Vec<Act>) -> Option<()> {
        match gateway_spec::link::decode::<ToGateway>(line) {
            Ok(ToGateway::Config { id, spec, state }) => self.config(id, spec, state, acts),
            Ok(ToGateway::Apps(apps)) => acts.push(Act::Apps(apps)),
            Ok(ToGateway::Opened { id, error }) => acts.push(Act::Opened { id, error }),
            Ok(ToGateway::Ask { id, ask }) => acts.push(Act::Ask { id, ask }),
            Err(error) => {
                // A configuration with words of a later version must not go unanswered.
                let id = config_id(line)?;
                let why = format!("this gateway cannot read it: {error}");
                let outcome = ConfigOutcome::NeedsReload { why };
                acts.push(say(&FromGateway::Config { id, outcome })?);
            }
        }
        Some(())
    }

    fn config(&mut self, id: u64, spec: Box<GatewaySpec>, state: PathBuf, acts: &mut Vec<Act>) {
        if let Some(fixed) = &self.fixed {
            if let Some(why) = needs_reload(fixed, &spec) {
                let outcome = ConfigOutcome::NeedsReload { why };
                acts.extend(say(&FromGateway::Config { id, outcome }));
                return;
            }
            acts.push(Act::Config { id, spec, state });
            return;
        }
        let listen = spec.listen.clone();
        self.fixed = Some(spec.clone());
        acts.push(Act::Config { id, spec, state });
        for (index, listen) in listen.into_iter().enumerate() {
            let asked = self.next_seq;
            let query = address_of(&listen.address, index, "queryServer");
            self.listeners.push(Listener {
                listen,
                asked,
                key: None,
                told: false,
            });
            acts.push(self.cluster(query));
        }
    }

    /// The core serves: from now on each listener that is granted is told to be listening.
    pub fn ready(&mut self) -> Vec<Act> {
        self.ready = true;
        let mut acts = Vec::new();
        if self.listeners.is_empty() {
            acts.push(Act::Say(plain(&json!("ready"))));
        }
        self.tell_listening(&mut acts);
        acts
    }

    fn tell_listening(&mut self, acts: &mut Vec<Act>) {
        // All at once: the first one makes the whole worker ready.
        if !self.ready || self.listeners.iter().any(|l| l.key.is_none()) {
            return;
        }
        for index in 0..self.listeners.len() {
            if std::mem::replace(&mut self.listeners[index].told, true) {
                continue;
            }
            let message = address_of(&self.listeners[index].listen.address, index, "listening");
            acts.push(self.cluster(message));
        }
    }

    /// Whether a connection was taken.
    pub fn ack(&mut self, ack: u64, accepted: bool) -> Act {
        self.cluster(json!({ "ack": ack, "accepted": accepted }))
    }

    /// All that was open when the drain began is answered.
    pub fn drained(&self) -> Act {
        Act::Say(plain(
            &json!({ "cmd": CMD, "act": "drained", "handlesSignal": false }),
        ))
    }

    pub fn listen(&self, index: usize) -> Option<&Listen> {
        self.listeners.get(index).map(|l| &l.listen)
    }

    /// An internal message with the next number.
    fn cluster(&mut self, mut message: Value) -> Act {
        message["cmd"] = "NODE_CLUSTER".into();
        message["seq"] = self.next_seq.into();
        self.next_seq += 1;
        Act::Say(plain(&message))
    }
}

/// A line of ours.
pub(super) fn say(word: &FromGateway) -> Option<Act> {
    encode(word).ok().map(Act::Say)
}

fn plain(message: &Value) -> Vec<u8> {
    let mut line = message.to_string().into_bytes();
    line.push(b'\n');
    line
}

fn address_of(address: &ListenAddress, index: usize, act: &str) -> Value {
    let (text, port, kind) = match address {
        ListenAddress::Tcp(addr) => {
            let kind = if addr.is_ipv6() { 6 } else { 4 };
            (addr.ip().to_string(), i32::from(addr.port()), kind)
        }
        ListenAddress::Unix(path) => (path.display().to_string(), -1, -1),
    };
    json!({
        "act": act, "index": index, "data": null, "address": text, "port": port,
        "addressType": kind, "backlog": 0,
    })
}

/// What only a new process can take over.
fn needs_reload(now: &GatewaySpec, wanted: &GatewaySpec) -> Option<String> {
    let changed = [
        ("listen", now.listen != wanted.listen),
        ("threads", now.threads != wanted.threads),
        ("user", now.user != wanted.user),
    ];
    let names: Vec<&str> = changed.iter().filter(|c| c.1).map(|c| c.0).collect();
    (!names.is_empty()).then(|| format!("{} changed", names.join(", ")))
}

/// The id of a configuration that cannot be read as a whole.
fn config_id(line: &[u8]) -> Option<u64> {
    let value: Value = serde_json::from_slice(line).ok()?;
    value.get("say")?.get("config")?.get("id")?.as_u64()
}

#[cfg(test)]
mod tests;
