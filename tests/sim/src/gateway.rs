//! A model of a gateway: it says what a gateway says, believes what it is told of the app's
//! workers, and sends each client to one that is ready, at its private address.

use std::collections::VecDeque;

use app_spec::AppSpec;
use gateway_spec::link::{AppEndpoints, ConfigOutcome, FromGateway, ToGateway, encode};
use gateway_spec::{Action, GatewaySpec, PathMatch, Route, Site, Upstreams};
use node_cluster::WorkerId;
use pando_supervisor::core::{Exit, Order, Random, Target};
use serde_json::{Value, json};

use crate::world::{APP, World};

#[derive(Default)]
pub(crate) struct Gateway {
    /// The one that runs, and what it has to say.
    pub(crate) worker: Option<WorkerId>,
    says: VecDeque<String>,
    /// The supervisor has been told of its process.
    spawned: bool,
    ends: bool,
    pub(crate) configured: bool,
    pub(crate) told: Option<AppEndpoints>,
}

fn spec() -> AppSpec {
    let action = Action::Proxy(Upstreams::app(APP));
    let route = Route::new(PathMatch::Prefix("/".into()), action);
    AppSpec::of_gateway(GatewaySpec {
        sites: vec![Site::new(["*"], vec![route])],
        ..GatewaySpec::default()
    })
}

impl Gateway {
    /// The seat of one ready endpoint, at random.
    pub(crate) fn pick(&self, random: &mut Random) -> Option<usize> {
        let told = self.told.as_ref().filter(|_| self.configured)?;
        let ready = told.endpoints.iter().filter(|e| e.state.is_available());
        let ready: Vec<_> = ready.collect();
        let at = usize::try_from(random.draw() >> 1)
            .ok()?
            .checked_rem(ready.len())?;
        seat_of(&ready.get(at)?.address)
    }

    fn say(&mut self, line: &Value) {
        self.says.push_back(line.to_string());
    }

    pub(crate) fn spawned(&mut self, worker: WorkerId) {
        *self = Self {
            worker: Some(worker),
            ..Self::default()
        };
        self.say(&json!({ "cmd": "NODE_CLUSTER", "act": "online", "seq": 0 }));
        self.say(&json!({ "cmd": "NODE_PANDO", "act": "hello" }));
    }

    pub(crate) fn told(&mut self, say: ToGateway) {
        match say {
            ToGateway::Config { id, .. } => {
                self.configured = true;
                let outcome = ConfigOutcome::Applied;
                let line = encode(&FromGateway::Config { id, outcome }).expect("plain data");
                self.says
                    .push_back(String::from_utf8_lossy(&line).trim().to_owned());
                self.says.push_back("\"ready\"".to_owned());
            }
            ToGateway::Apps(apps) => self.told = apps.into_iter().find(|a| a.app == APP),
            ToGateway::Opened { .. } | ToGateway::Ask { .. } => {}
        }
    }

    /// A line of Node's protocol: a ping is answered, a disconnect obeyed.
    pub(crate) fn line(&mut self, line: &[u8]) {
        let message: Value = serde_json::from_slice(line).expect("the supervisor writes JSON");
        let inner = message.get("msg").unwrap_or(&message);
        match inner["act"].as_str() {
            Some("newconn") => {
                self.say(&json!({ "cmd": "NODE_HANDLE_ACK" }));
                let ack = &inner["seq"];
                self.say(
                    &json!({ "cmd": "NODE_CLUSTER", "ack": ack, "accepted": false, "seq": 1 }),
                );
            }
            Some("drain") => self.say(&json!({ "cmd": "NODE_PANDO", "act": "drained" })),
            Some("disconnect") => self.ends = true,
            Some(_) | None => {}
        }
    }
}

pub(crate) fn address_of(seat: usize) -> std::net::SocketAddr {
    let host = u8::try_from(seat).expect("few seats");
    ([127, 64, 0, host], 3000).into()
}

pub(crate) fn seat_of(address: &str) -> Option<usize> {
    let (host, _) = address.split_once(':')?;
    host.strip_prefix("127.64.0.")?.parse().ok()
}

impl World {
    /// From now on clients come by a gateway as well.
    pub fn with_gateway(mut self) -> Self {
        let order = Order::Start { spec: spec() };
        self.order_for(app_spec::GATEWAY, order);
        self
    }

    /// The gateway's loop turns once.
    pub(crate) fn turn_gateway(&mut self) {
        let Some(worker) = self.gateway.worker else {
            return;
        };
        if !std::mem::replace(&mut self.gateway.spawned, true) {
            self.worker(worker, Target::Spawned { pid: worker.0 });
        }
        for line in std::mem::take(&mut self.gateway.says) {
            let line = line.into_bytes();
            self.worker(worker, Target::Line { line, fd: false });
        }
        if self.gateway.ends {
            self.end_gateway(Exit::Code(0));
        }
    }

    pub(crate) fn end_gateway(&mut self, exit: Exit) {
        if let Some(worker) = self.gateway.worker.take() {
            self.gateway = Gateway::default();
            self.ended.push_back((worker, exit));
        }
    }

    /// When all is well a gateway knows each worker by an address of its own, and no other.
    pub(crate) fn check_gateway(&self) {
        if self.core.app(app_spec::GATEWAY).is_none() {
            return;
        }
        let told = self.gateway.told.as_ref().expect("a gateway that was told");
        let app = self.core.app(APP).expect("the app is there");
        let mut known: Vec<(u32, usize)> = told
            .endpoints
            .iter()
            .inspect(|e| assert!(e.state.is_available(), "{e:?}"))
            .map(|e| (e.worker, seat_of(&e.address).expect("a private address")))
            .collect();
        known.sort_unstable();
        let workers: Vec<(u32, usize)> = app.workers().map(|w| (w.id.0, w.seat)).collect();
        assert_eq!(known, workers, "{told:?}");
    }
}
