//! A model of one Node worker: what it says on its channel and what it does with connections.

use std::collections::{BTreeMap, VecDeque};

use node_cluster::{Attach, ConnId, HandleKey};
use serde_json::{Value, json};

use crate::kernel::Client;

/// How this worker will behave.
#[derive(Clone, Debug)]
pub struct Character {
    pub boot_ms: u64,
    /// Throws at boot.
    pub fails: bool,
    /// Boots, but never listens.
    pub hangs: bool,
    pub agent: bool,
    /// An answer takes this long.
    pub service_ms: u64,
}

#[derive(Debug)]
pub struct Node {
    pub character: Character,
    pub seat: usize,
    pub revision: u32,
    next_seq: u64,
    /// Lines that it has not read: it is stalled, or the next turn of its loop is to come.
    pub inbox: VecDeque<(Vec<u8>, Attach)>,
    /// Keys held; `true`: a real listening handle.
    pub held: BTreeMap<HandleKey, bool>,
    pub stalled_until: u64,
    /// Connections being answered, with their end.
    pub serving: Vec<(Client, u64)>,
    pub closing: bool,
    pub drain_asked: bool,
    pub drain_told: bool,
}

/// What a worker does in one turn of its loop.
#[derive(Debug)]
pub enum Act {
    Say(String),
    /// Took the connection that was handed over.
    Took(ConnId),
}

impl Node {
    pub fn new(character: Character, seat: usize, revision: u32) -> Self {
        Self {
            character,
            seat,
            revision,
            next_seq: 0,
            inbox: VecDeque::new(),
            held: BTreeMap::new(),
            stalled_until: 0,
            serving: Vec::new(),
            closing: false,
            drain_asked: false,
            drain_told: false,
        }
    }

    fn say(&mut self, mut message: Value) -> String {
        message["cmd"] = json!("NODE_CLUSTER");
        message["seq"] = json!(self.next_seq);
        self.next_seq += 1;
        message.to_string()
    }

    /// The first words after boot: online, the preload's hello, and the wish to listen.
    pub fn boot(&mut self) -> Vec<String> {
        let mut said = vec![self.say(json!({ "act": "online" }))];
        if self.character.agent {
            said.push(json!({ "cmd": "NODE_PANDO", "act": "hello" }).to_string());
        }
        if !self.character.hangs {
            said.push(self.say(json!({
                "act": "queryServer", "index": 0, "data": null, "address": null,
                "port": 3000, "addressType": 4, "backlog": 0,
            })));
        }
        said
    }

    /// Reads its channel.
    pub fn turn(&mut self) -> Vec<Act> {
        let mut acts = Vec::new();
        while let Some((line, attach)) = self.inbox.pop_front() {
            let message: Value = serde_json::from_slice(&line).unwrap_or(Value::Null);
            if message["cmd"] == "NODE_HANDLE" {
                acts.push(Act::Say(json!({ "cmd": "NODE_HANDLE_ACK" }).to_string()));
                self.read(&message["msg"], &attach, &mut acts);
            } else {
                self.read(&message, &attach, &mut acts);
            }
        }
        acts
    }

    fn read(&mut self, message: &Value, attach: &Attach, acts: &mut Vec<Act>) {
        if message["cmd"] == "NODE_PANDO" {
            self.drain_asked |= message["act"] == "drain";
        } else if message["act"] == "newconn" {
            let key = HandleKey(message["key"].as_str().unwrap_or_default().to_owned());
            let accepted = self.held.contains_key(&key);
            let seq = &message["seq"];
            acts.push(Act::Say(
                self.say(json!({ "ack": seq, "accepted": accepted })),
            ));
            if let (true, Attach::Conn(conn)) = (accepted, attach) {
                acts.push(Act::Took(*conn));
            }
        } else if message["act"] == "disconnect" {
            self.close();
        } else if !message["ack"].is_null() && !message["key"].is_null() {
            self.listen(message, attach, acts);
        }
    }

    fn listen(&mut self, message: &Value, attach: &Attach, acts: &mut Vec<Act>) {
        if message["errno"].as_i64().is_some_and(|errno| errno != 0) {
            return;
        }
        let key = HandleKey(message["key"].as_str().unwrap_or_default().to_owned());
        self.held
            .insert(key, matches!(attach, Attach::Listener(..)));
        acts.push(Act::Say(self.say(json!({
            "act": "listening", "index": 0, "data": null, "address": null,
            "port": 3000, "addressType": 4, "backlog": 0,
        }))));
    }

    pub fn close(&mut self) {
        self.closing = true;
        self.held.clear();
    }

    pub fn takes_from_kernel(&self, key: &HandleKey, now: u64) -> bool {
        now >= self.stalled_until && self.held.get(key) == Some(&true)
    }
}
