//! When a worker is ready, and whether a ready one is well.
//!
//! Cluster: `listening`, or `process.send('ready')` with `wait_ready`. Fork: its port accepts; with
//! no port given, its process tree listens on something. Then the health check, if there is one.

use app_spec::{AppSpec, Command, Health};
use node_cluster::{ConnId, HandleKey, WorkerId};

use super::app::App;
use super::effect::{Effect, Probe};
use super::worker::{Asked, Phase, Worker};
use super::{Context, Ms};

/// Between looks while a worker starts.
const STARTING_EVERY_MS: Ms = 50;
/// A cluster worker that never asks to listen, of an app that never did: ready after this.
const SILENT_CLUSTER_MS: Ms = 10_000;
/// A process that listens on nothing: ready after this.
const SILENT_FORK_MS: Ms = 3_000;
/// The same for one that was given a PORT, which it may yet use.
const SILENT_WITH_PORT_MS: Ms = 10_000;
/// Readiness probes of ports have this long.
const PORT_TIMEOUT_MS: Ms = 1_000;

/// What a starting worker still lacks.
enum Lacks {
    Nothing,
    /// Only an event on its channel can tell.
    Event,
    Port(u16),
    Listening(u32),
    Time,
}

impl App {
    pub(super) fn readiness_deadline(&self, worker: &Worker) -> Option<Ms> {
        match worker.phase {
            Phase::Starting => {
                let limit = worker.spawned_at + self.spec.timeouts.ready_ms;
                let silent = worker.spawned_at + SILENT_CLUSTER_MS;
                let mut due = limit;
                if !self.is_server && !worker.asked_to_listen && silent > self.last_tick {
                    due = due.min(silent);
                }
                if worker.probes.outstanding.is_none() && self.wants_probe(worker) {
                    due = due.min(worker.probes.next_at);
                }
                Some(due)
            }
            Phase::Ready if self.spec.health.is_some() && worker.probes.outstanding.is_none() => {
                Some(worker.probes.next_at)
            }
            Phase::Ready | Phase::Draining { .. } | Phase::Stopping { .. } => None,
        }
    }

    fn wants_probe(&self, worker: &Worker) -> bool {
        match self.lacks(worker, Ms::MAX) {
            Lacks::Nothing => true,
            Lacks::Port(_) | Lacks::Listening(_) => true,
            Lacks::Event | Lacks::Time => false,
        }
    }

    pub(super) fn check_readiness(&mut self, cx: &mut Context, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        match worker.phase {
            Phase::Ready => self.check_health(cx, id),
            Phase::Draining { .. } | Phase::Stopping { .. } => {}
            Phase::Starting => {
                if cx.now >= worker.spawned_at + self.spec.timeouts.ready_ms {
                    self.not_ready_in_time(cx, id);
                    return;
                }
                match self.lacks(worker, cx.now) {
                    Lacks::Nothing if self.spec.health.is_none() => self.ready(cx, id),
                    Lacks::Nothing => self.check_health(cx, id),
                    Lacks::Event | Lacks::Time => {}
                    Lacks::Port(port) => self.probe(cx, id, Asked::Port, Probe::Port { port }),
                    Lacks::Listening(pid) => {
                        self.probe(cx, id, Asked::Listening, Probe::Listening { pid });
                    }
                }
            }
        }
    }

    fn lacks(&self, worker: &Worker, now: Ms) -> Lacks {
        let Some(pid) = worker.pid else {
            return Lacks::Event;
        };
        if self.spec.wait_ready && worker.channel {
            return if worker.said_ready {
                Lacks::Nothing
            } else {
                Lacks::Event
            };
        }
        let alive = now.saturating_sub(worker.spawned_at);
        if worker.spec.is_cluster() && !worker.handles_signal {
            return if !worker.listening.is_empty() || worker.said_ready {
                Lacks::Nothing
            } else if self.is_server || worker.asked_to_listen {
                Lacks::Event
            } else if now != Ms::MAX && alive >= SILENT_CLUSTER_MS {
                Lacks::Nothing
            } else {
                Lacks::Time
            };
        }
        if worker.answered_probe || worker.said_ready {
            return Lacks::Nothing;
        }
        match worker.port {
            Some(port) if needs_port(&worker.spec) => Lacks::Port(port),
            Some(_) | None => Lacks::Listening(pid),
        }
    }

    fn probe(&mut self, cx: &mut Context, id: WorkerId, asked: Asked, probe: Probe) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if worker.probes.outstanding.is_some() || cx.now < worker.probes.next_at {
            return;
        }
        worker.probes.outstanding = Some(asked);
        let timeout_ms = match asked {
            Asked::Health(_) => self
                .spec
                .health
                .as_ref()
                .map_or(PORT_TIMEOUT_MS, |h| h.timeout_ms),
            Asked::Port | Asked::Listening => PORT_TIMEOUT_MS,
        };
        cx.emit(Effect::Probe {
            worker: id,
            probe,
            timeout_ms,
        });
    }

    fn check_health(&mut self, cx: &mut Context, id: WorkerId) {
        let Some(health) = self.spec.health.clone() else {
            return;
        };
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        if worker.probes.outstanding.is_some() || cx.now < worker.probes.next_at {
            return;
        }
        if health.target.starts_with("http") {
            let url = health.target;
            self.probe(cx, id, Asked::Health(None), Probe::Url { url });
        } else if let Some(key) = worker.listening.iter().next().cloned() {
            self.probe_path(cx, id, key, &health);
        } else if let Some(port) = worker.port.or_else(|| seen_port(worker)) {
            let url = format!("http://127.0.0.1:{port}{}", health.target);
            self.probe(cx, id, Asked::Health(None), Probe::Url { url });
        }
    }

    /// Asks this one worker: a loopback connection is made and its far end handed over.
    fn probe_path(&mut self, cx: &mut Context, id: WorkerId, key: HandleKey, health: &Health) {
        if !self.primary.can_deliver(id, &key) {
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.probes.next_at = cx.now + STARTING_EVERY_MS;
            }
            return;
        }
        let conn = cx.new_conn();
        let probe = Probe::Path {
            conn,
            path: health.target.clone(),
        };
        self.probe(cx, id, Asked::Health(Some(conn)), probe);
        let effects = self.primary.deliver(id, &key, conn);
        self.carry_out(cx, effects);
    }

    pub(super) fn is_probe(&self, id: WorkerId, conn: ConnId) -> bool {
        self.workers
            .get(&id)
            .is_some_and(|w| w.probes.outstanding == Some(Asked::Health(Some(conn))))
    }

    pub(super) fn probe_result(
        &mut self,
        cx: &mut Context,
        id: WorkerId,
        conn: Option<ConnId>,
        result: Result<Vec<String>, String>,
    ) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let Some(asked) = worker.probes.outstanding else {
            return;
        };
        if let (Asked::Health(expected), true) = (asked, conn.is_some())
            && expected != conn
        {
            return;
        }
        worker.probes.outstanding = None;
        match asked {
            Asked::Health(_) => self.health_result(cx, id, result.map(|_| ())),
            Asked::Port => {
                worker.probes.next_at = cx.now + STARTING_EVERY_MS;
                if result.is_ok() {
                    worker.answered_probe = true;
                    worker.listens = worker.port.iter().map(|p| format!(":{p}")).collect();
                    worker.probes.next_at = cx.now;
                }
                self.check_readiness(cx, id);
            }
            Asked::Listening => {
                worker.probes.next_at = cx.now + STARTING_EVERY_MS;
                let listens = result.unwrap_or_default();
                let limit = if worker.port.is_some() {
                    SILENT_WITH_PORT_MS
                } else {
                    SILENT_FORK_MS
                };
                let silent = cx.now.saturating_sub(worker.spawned_at) >= limit;
                if !listens.is_empty() || silent {
                    worker.answered_probe = true;
                    worker.listens = listens;
                    worker.probes.next_at = cx.now;
                }
                self.check_readiness(cx, id);
            }
        }
    }

    fn health_result(&mut self, cx: &mut Context, id: WorkerId, result: Result<(), String>) {
        let Some(health) = self.spec.health.clone() else {
            return;
        };
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let starting = worker.is_starting();
        let every = if starting {
            STARTING_EVERY_MS
        } else {
            health.interval_ms
        };
        worker.probes.next_at = cx.now + every;
        match result {
            Ok(()) => {
                worker.probes.fails = 0;
                let was_unhealthy = std::mem::take(&mut worker.unhealthy);
                if was_unhealthy {
                    worker.replace = None;
                    self.notice(cx, Some(id), "healthy", "the health check passes again");
                }
                if starting {
                    self.ready(cx, id);
                }
            }
            Err(why) => {
                worker.probes.fails += 1;
                worker.probes.last_why.clone_from(&why);
                if !starting && worker.probes.fails >= health.failures && !worker.unhealthy {
                    worker.unhealthy = true;
                    worker.replace = Some(format!("health check failed: {why}"));
                    let text = format!("{} failed {} times: {why}", health.target, health.failures);
                    self.notice(cx, Some(id), "unhealthy", text);
                }
            }
        }
    }

    fn ready(&mut self, cx: &mut Context, id: WorkerId) {
        let interval = self.spec.health.as_ref().map_or(0, |h| h.interval_ms);
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.phase = Phase::Ready;
        worker.ready_at = Some(cx.now);
        // An address that was refused, say: it found a way.
        worker.doomed = None;
        worker.pings.next_at = cx.now;
        worker.pings.last_pong = cx.now;
        worker.probes.next_at = cx.now + interval;
        let took = cx.now.saturating_sub(worker.spawned_at);
        self.problem = None;
        self.notice(cx, Some(id), "ready", format!("ready after {took} ms"));
        self.became_ready(cx, id);
    }

    fn not_ready_in_time(&mut self, cx: &mut Context, id: WorkerId) {
        let seconds = self.spec.timeouts.ready_ms as f64 / 1000.0;
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let missing = if let Some(refused) = &worker.refused {
            refused.clone()
        } else if self.spec.wait_ready && !worker.said_ready {
            "it did not send 'ready' (wait_ready)".to_owned()
        } else if !worker.probes.last_why.is_empty() {
            format!("its health check did not pass: {}", worker.probes.last_why)
        } else if worker.asked_to_listen {
            "it asked to listen but never did".to_owned()
        } else if let Some(port) = worker.port {
            format!("nothing accepts at port {port} (PORT)")
        } else {
            "it does not listen on anything".to_owned()
        };
        let why = format!("not ready within {seconds} s: {missing}");
        worker.doomed = Some(why.clone());
        self.notice(cx, Some(id), "not-ready", why);
        self.kill(cx, id, 1);
    }
}

/// Whether the app says itself that it listens at its PORT. One that was only given a PORT because
/// it has several instances may be a consumer of a queue, which listens on nothing.
fn needs_port(spec: &AppSpec) -> bool {
    let by_command = match &spec.command {
        Command::Shell { line } => line.contains("PORT"),
        Command::Script { .. } | Command::Exec { .. } => false,
    };
    by_command || spec.env.contains_key("PORT")
}

/// The port of a fork-mode worker as it was seen from outside.
fn seen_port(worker: &Worker) -> Option<u16> {
    worker.listens.first()?.rsplit(':').next()?.parse().ok()
}
