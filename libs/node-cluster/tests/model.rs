//! No connection is lost or delivered twice, whatever workers do and whenever they die.
//!
//! Each worker is modelled as a queue of lines that it answers in order, as Node does; the
//! reference is a count of ends (`Accepted` or `Returned`) for each delivery.
#![allow(
    clippy::too_many_lines,
    reason = "tables of inputs and what is expected"
)]
#![expect(clippy::unwrap_used, reason = "a test panics")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use node_cluster::{
    Attach, ConnId, Effect, HandleKey, ListenReply, Options, PingId, Primary, WorkerId,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const WINDOW: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Join(u32),
    Listen(u32, u8),
    /// Answers the oldest open query: handle, faux or error.
    Answer(u8),
    Close(u32, u8),
    Deliver(u32, u8),
    Ping(u32),
    /// The worker reads one line; what becomes of the descriptor and of the connection.
    Read(u32, Fate),
    /// An answer to nothing: a number, and whether it claims to have accepted.
    Lie(u32, u64, bool),
    Disconnect(u32),
    Leave(u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Accept,
    Refuse,
    NoDescriptor,
    /// Acks the cluster message only.
    NoHandleAck,
}

fn step() -> impl Strategy<Value = Step> {
    let worker = 0_u32..3;
    let port = 0_u8..2;
    let fate = prop_oneof![
        4 => Just(Fate::Accept), 2 => Just(Fate::Refuse),
        1 => Just(Fate::NoDescriptor), 1 => Just(Fate::NoHandleAck),
    ];
    prop_oneof![
        2 => worker.clone().prop_map(Step::Join),
        3 => (worker.clone(), port.clone()).prop_map(|(w, p)| Step::Listen(w, p)),
        3 => (0_u8..3).prop_map(Step::Answer),
        1 => (worker.clone(), port.clone()).prop_map(|(w, p)| Step::Close(w, p)),
        8 => (worker.clone(), port).prop_map(|(w, p)| Step::Deliver(w, p)),
        2 => worker.clone().prop_map(Step::Ping),
        8 => (worker.clone(), fate).prop_map(|(w, f)| Step::Read(w, f)),
        1 => (worker.clone(), 1_000_000_u64..1_000_010, any::<bool>())
            .prop_map(|(w, n, a)| Step::Lie(w, n, a)),
        1 => worker.clone().prop_map(Step::Disconnect),
        1 => worker.prop_map(Step::Leave),
    ]
}

#[derive(Default)]
struct Model {
    /// Lines sent to each living worker and not read, by the worker's incarnation.
    channels: BTreeMap<WorkerId, VecDeque<(Value, Attach)>>,
    /// Delivered and without an end.
    open: BTreeSet<ConnId>,
    pings: BTreeSet<PingId>,
    queries: VecDeque<node_cluster::QueryId>,
    /// Who uses which key, as the effects say: granted or asked.
    used: BTreeMap<HandleKey, u32>,
    next: u64,
    incarnation: [u32; 3],
}

fn key(port: u8) -> HandleKey {
    HandleKey(format!("null:{}:4:undefined", 80 + u16::from(port)))
}

impl Model {
    fn id(&self, worker: u32) -> WorkerId {
        WorkerId(worker + 10 * self.incarnation[worker as usize])
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send {
                    worker,
                    line,
                    attach,
                } => {
                    let message: Value = serde_json::from_slice(&line).unwrap();
                    assert_eq!(message["cmd"] == "NODE_HANDLE", attach != Attach::None);
                    let channel = self.channels.get_mut(&worker).expect("it has not left");
                    channel.push_back((message, attach));
                }
                Effect::Accepted { conn, .. } | Effect::Returned { conn, .. } => {
                    assert!(self.open.remove(&conn), "{conn:?} ended twice");
                }
                Effect::Pong { ping, .. } => {
                    assert!(self.pings.remove(&ping), "{ping:?} answered twice");
                }
                Effect::Query { query, key, .. } => {
                    self.queries.push_back(query);
                    *self.used.entry(key).or_default() += 1;
                }
                Effect::Unused { key } => {
                    assert!(self.used.remove(&key).is_some(), "{key} was not used");
                }
                Effect::Online { .. }
                | Effect::Listening { .. }
                | Effect::Closed { .. }
                | Effect::Disconnecting { .. }
                | Effect::App { .. }
                | Effect::Agent { .. }
                | Effect::RuntimeIsBun { .. }
                | Effect::Unsupported { .. }
                | Effect::Garbage { .. } => {}
            }
        }
    }

    /// The worker reads its next line and answers as Node does.
    fn read(&mut self, worker: WorkerId, fate: Fate) -> Vec<Value> {
        let Some((message, attach)) = self.channels.get_mut(&worker).and_then(VecDeque::pop_front)
        else {
            return Vec::new();
        };
        if attach == Attach::None {
            return Vec::new();
        }
        if fate == Fate::NoDescriptor {
            return vec![json!({"cmd":"NODE_HANDLE_NACK"})];
        }
        let mut answers = Vec::new();
        if fate != Fate::NoHandleAck {
            answers.push(json!({"cmd":"NODE_HANDLE_ACK"}));
        }
        if message["msg"]["act"] == "newconn" {
            let accepted = matches!(attach, Attach::Conn(_)) && fate != Fate::Refuse;
            let seq = &message["msg"]["seq"];
            answers.push(json!({"cmd":"NODE_CLUSTER","ack":seq,"accepted":accepted,"seq":1}));
        }
        answers
    }
}

fn act(primary: &mut Primary, model: &mut Model, step: Step) {
    let say = |primary: &mut Primary, worker, message: Value| {
        primary.receive(worker, message.to_string().as_bytes(), false)
    };
    let effects = match step {
        Step::Join(worker) => {
            let id = model.id(worker);
            primary.join(id);
            model.channels.entry(id).or_default();
            say(
                primary,
                id,
                json!({"cmd":"NODE_CLUSTER","act":"online","seq":0}),
            )
        }
        Step::Listen(worker, port) => {
            let message = json!({"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,
                "address":null,"port":80 + u16::from(port),"addressType":4,"seq":7});
            say(primary, model.id(worker), message)
        }
        Step::Answer(kind) => {
            let reply = match kind {
                0 => ListenReply::Handle,
                1 => ListenReply::Faux { sockname: None },
                _ => ListenReply::Error { errno: 98 },
            };
            model
                .queries
                .pop_front()
                .map_or_else(Vec::new, |query| primary.answer(query, reply))
        }
        Step::Close(worker, port) => {
            let message = json!({"cmd":"NODE_CLUSTER","act":"close","key":key(port).0,"seq":1});
            say(primary, model.id(worker), message)
        }
        Step::Deliver(worker, port) => {
            model.next += 1;
            let conn = ConnId(model.next);
            model.open.insert(conn);
            primary.deliver(model.id(worker), &key(port), conn)
        }
        Step::Ping(worker) => {
            let (ping, effects) = primary.ping(model.id(worker));
            if !effects.is_empty() {
                model.pings.insert(ping);
            }
            effects
        }
        Step::Read(worker, fate) => {
            let id = model.id(worker);
            let answers = model.read(id, fate);
            answers
                .into_iter()
                .flat_map(|answer| say(primary, id, answer))
                .collect()
        }
        Step::Lie(worker, ack, accepted) => {
            let message = json!({"cmd":"NODE_CLUSTER","ack":ack,"accepted":accepted,"seq":1});
            say(primary, model.id(worker), message)
        }
        Step::Disconnect(worker) => {
            let id = model.id(worker);
            say(
                primary,
                id,
                json!({"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":1}),
            )
        }
        Step::Leave(worker) => {
            let id = model.id(worker);
            let effects = primary.leave(id);
            model.channels.remove(&id);
            model.incarnation[worker as usize] += 1;
            effects
        }
    };
    model.apply(effects);
    for worker in 0..3 {
        assert!(primary.in_flight(model.id(worker)) <= WINDOW);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn every_delivery_ends_once(steps in prop::collection::vec(step(), 0..120)) {
        let mut primary = Primary::new(Options { window: WINDOW });
        let mut model = Model::default();
        for step in steps {
            act(&mut primary, &mut model, step);
            let flying: usize = (0..3).map(|w| primary.in_flight(model.id(w))).sum();
            prop_assert_eq!(flying, model.open.len());
        }
        for worker in 0..3 {
            act(&mut primary, &mut model, Step::Leave(worker));
        }
        prop_assert!(model.open.is_empty(), "lost: {:?}", model.open);
        prop_assert!(model.used.is_empty(), "not released: {:?}", model.used);
    }
}
