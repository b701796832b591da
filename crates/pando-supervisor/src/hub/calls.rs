//! Calls of the control API: which orders they become, and what the callers are told.

use std::collections::BTreeMap;

use app_spec::{AppSpec, GATEWAY, Instances, MAX_INSTANCES};
use pando_control::api::{
    API_VERSION, Answer, Event, Frame, Problem, Progress, Request, ScaleChange, Select,
};
use pando_control::{Call, Reply};
use pando_root::proto::{Scope, ToRoot};

use super::effects::child;
use super::gateway::{one_gateway, refuse_spec};
use super::{Hub, now_ms};
use crate::core::{Failure, OpId, Order, Outcome};

/// Callers that follow events at the same time.
const LISTENERS_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Calls {
    next_op: u64,
    next_call: u64,
    /// Which call an order belongs to.
    ops: BTreeMap<OpId, u64>,
    open: BTreeMap<u64, OpenCall>,
    listeners: Vec<Reply>,
    closing: Option<Closing>,
    upgrade: Option<Reply>,
    /// A finished source's last lines can be read now.
    pub logs_finished: bool,
}

/// A call that waits for its orders.
struct OpenCall {
    reply: Reply,
    waiting: usize,
    names: Vec<String>,
    done: Vec<String>,
    failed: Option<Problem>,
    /// Answer as soon as the orders are given.
    no_wait: bool,
}

struct Closing {
    waiting: Vec<OpId>,
    reply: Option<Reply>,
}

impl Calls {
    pub fn new_op(&mut self) -> OpId {
        self.next_op += 1;
        OpId(self.next_op)
    }

    pub fn progress(&mut self, op: OpId, app: String, ready: u32, wanted: u32, text: String) {
        let Some(call) = self.ops.get(&op).and_then(|id| self.open.get(id)) else {
            return;
        };
        let frame = Frame::Progress(Progress {
            app,
            ready,
            wanted,
            text,
        });
        // A caller that is a thousand frames behind can do without this one.
        if let Err(error) = call.reply.try_send(frame) {
            tracing::debug!(%error, "progress not sent");
        }
    }

    pub fn event(&mut self, event: &Event) {
        self.listeners
            .retain(|reply| reply.try_send(Frame::Event(event.clone())).is_ok());
    }

    pub fn close_when(&mut self, waiting: Vec<OpId>, reply: Option<Reply>) {
        self.closing = Some(Closing { waiting, reply });
    }

    pub fn closed(&mut self) -> bool {
        let closed = self.closing.as_ref().is_some_and(|c| c.waiting.is_empty());
        if closed && let Some(reply) = self.closing.as_mut().and_then(|c| c.reply.take()) {
            let text = vec!["every app is stopped, and so is the daemon".to_owned()];
            reply.done(Answer::Changed {
                text,
                apps: Vec::new(),
            });
        }
        closed
    }
}

impl Hub {
    pub(super) fn call(&mut self, call: Call) {
        let Call { request, reply } = call;
        match request {
            Request::Version => reply.done(Answer::Version {
                api: API_VERSION,
                version: self.options.version.to_owned(),
                root_pid: self.root_pid,
                supervisor_pid: std::process::id(),
                home: self.options.home.clone(),
            }),
            Request::List { select } => match self.select(&select) {
                Ok(names) => reply.done(Answer::Apps(self.views(Some(&names), now_ms()))),
                Err(problem) => reply.failed(*problem),
            },
            Request::Start { specs, wait } => self.start(specs, wait, reply),
            Request::StartKnown { select } => {
                self.order_all(&select, reply, |_| Ok(Order::StartKnown));
            }
            Request::Stop { select } => self.order_all(&select, reply, |_| Ok(Order::Stop)),
            Request::Delete { select } => self.order_all(&select, reply, |_| Ok(Order::Delete)),
            Request::Restart { select, spec } => self.order_all(&select, reply, |_| {
                Ok(Order::Restart {
                    spec: spec.as_deref().cloned(),
                })
            }),
            Request::Reload { select, spec } => self.order_all(&select, reply, |_| {
                Ok(Order::Reload {
                    spec: spec.as_deref().cloned(),
                })
            }),
            Request::Configure { spec } => {
                if let Some(problem) = refuse_spec(&spec) {
                    return reply.failed(problem);
                }
                let select = Select::Names(vec![spec.name.clone()]);
                self.order_all(&select, reply, |_| {
                    Ok(Order::Configure {
                        spec: (*spec).clone(),
                    })
                });
            }
            Request::Scale { select, change } => self.scale(&select, change, reply),
            Request::Signal { select, signal } => self.signal(&select, &signal, &reply),
            Request::Env { app } => match self.core.app(&app) {
                Some(found) => {
                    reply.done(Answer::Env(super::launch::app_environment(found.spec())));
                }
                None => reply.failed(unknown_app(&app)),
            },
            Request::Specs { select } => match self.select(&select) {
                Ok(names) => {
                    let specs = names.iter().filter_map(|n| self.core.app(n));
                    reply.done(Answer::Specs(specs.map(|a| a.spec().clone()).collect()));
                }
                Err(problem) => reply.failed(*problem),
            },
            Request::Gateway { ask } => self.ask_gateway(ask, reply),
            Request::Monitor { ask } => self.ask_monitor(ask, reply),
            Request::Logs { query } => self.logs(query, reply),
            Request::Events => {
                self.calls.listeners.retain(|l| !l.is_closed());
                if self.calls.listeners.len() < LISTENERS_MAX {
                    self.calls.listeners.push(reply);
                } else {
                    reply.failed(wrong("too many callers follow events"));
                }
            }
            Request::Upgrade { path } => self.upgrade(path, reply),
            Request::Kill => self.close_all(None, Some(reply)),
        }
    }

    fn select(&self, select: &Select) -> Result<Vec<String>, Box<Problem>> {
        match select {
            Select::All => Ok(self.core.apps().map(|a| a.name().to_owned()).collect()),
            Select::Names(names) => match names.iter().find(|name| self.core.app(name).is_none()) {
                Some(name) => Err(Box::new(unknown_app(name))),
                None => Ok(names.clone()),
            },
        }
    }

    fn start(&mut self, specs: Vec<AppSpec>, wait: bool, reply: Reply) {
        let refused = specs.iter().find_map(|spec| {
            let count = spec.instances.resolve(MAX_INSTANCES);
            (count > MAX_INSTANCES || count == 0)
                .then(|| too_many(&spec.name, count))
                .or_else(|| refuse_spec(spec))
        });
        if let Some(problem) = refused {
            return reply.failed(problem);
        }
        let orders = specs
            .into_iter()
            .map(|spec| {
                (
                    spec.name.clone(),
                    Order::Start {
                        spec: self.with_port(spec),
                    },
                )
            })
            .collect();
        let warning = open_files_warning();
        self.open_call(orders, reply, !wait, warning);
    }

    /// A fork-mode app that names `$PORT`, or has several instances, gets a port to count from.
    fn with_port(&self, mut spec: AppSpec) -> AppSpec {
        let wants = match &spec.command {
            app_spec::Command::Shell { line } => line.contains("PORT"),
            app_spec::Command::Exec { .. } | app_spec::Command::Script { .. } => false,
        };
        let instances = spec.instances.resolve(super::restore::cores());
        if spec.port.is_none() && !spec.is_cluster() && (wants || instances > 1) {
            let given = spec.env.get("PORT").or_else(|| spec.base_env.get("PORT"));
            spec.port = given
                .and_then(|p| p.parse().ok())
                .or_else(|| free_ports(instances));
        }
        spec
    }

    fn scale(&mut self, select: &Select, change: ScaleChange, reply: Reply) {
        let cores = super::restore::cores();
        let mut counts = BTreeMap::new();
        for app in self.core.apps() {
            let now = app.spec().instances.resolve(cores);
            let next = match change {
                ScaleChange::To(n) => Instances::Count(n),
                ScaleChange::Up(n) => Instances::Count(now.saturating_add(n)),
                ScaleChange::Down(n) => Instances::Count(now.saturating_sub(n).max(1)),
                ScaleChange::As(instances) => instances,
            };
            counts.insert(app.name().to_owned(), next);
        }
        self.order_all(select, reply, |name| {
            let instances = counts.get(name).copied().unwrap_or_default();
            if name == GATEWAY {
                return Err(Box::new(one_gateway()));
            }
            let count = instances.resolve(cores);
            if count == 0 || count > MAX_INSTANCES {
                return Err(Box::new(too_many(name, count)));
            }
            Ok(Order::Scale { instances })
        });
    }

    fn order_all(
        &mut self,
        select: &Select,
        reply: Reply,
        order: impl Fn(&str) -> Result<Order, Box<Problem>>,
    ) {
        let names = match self.select(select) {
            Ok(names) => names,
            Err(problem) => return reply.failed(*problem),
        };
        let orders: Result<Vec<(String, Order)>, Box<Problem>> = names
            .into_iter()
            .map(|name| order(&name).map(|o| (name, o)))
            .collect();
        match orders {
            Ok(orders) => self.open_call(orders, reply, false, None),
            Err(problem) => reply.failed(*problem),
        }
    }

    fn open_call(
        &mut self,
        orders: Vec<(String, Order)>,
        reply: Reply,
        no_wait: bool,
        warning: Option<String>,
    ) {
        let names: Vec<String> = orders.iter().map(|(name, _)| name.clone()).collect();
        let waiting = orders.len();
        self.calls.next_call += 1;
        let id = self.calls.next_call;
        let call = OpenCall {
            reply,
            waiting,
            names,
            done: warning.into_iter().collect(),
            failed: None,
            no_wait,
        };
        self.calls.open.insert(id, call);
        for (name, order) in orders {
            let op = self.order(&name, order);
            self.calls.ops.insert(op, id);
        }
        self.settle();
        if waiting == 0 || self.calls.open.get(&id).is_some_and(|c| c.no_wait) {
            self.end_call(id);
        }
    }

    pub(super) fn finished(&mut self, op: OpId, outcome: Outcome) {
        if let Some(closing) = &mut self.calls.closing {
            closing.waiting.retain(|waiting| *waiting != op);
            if self.calls.closed() {
                self.finish_close();
            }
        }
        let Some(id) = self.calls.ops.remove(&op) else {
            return;
        };
        let problem = match &outcome {
            Outcome::Failed(failure) => Some(self.problem(failure)),
            Outcome::Done(_) => self.journal_problem.as_ref().map(|why| Problem {
                place: "the journal".into(),
                what: "it was done, but it is not recorded".into(),
                why: why.clone(),
                fix: "make room or give access, then give the order again: after a reboot Pando \
                      would not know of it"
                    .into(),
                exit_code: 1,
                ..Problem::default()
            }),
        };
        let Some(call) = self.calls.open.get_mut(&id) else {
            return;
        };
        if let Outcome::Done(text) = outcome {
            call.done.push(text);
        }
        // The first problem is told; the others are in `pando ls`.
        call.failed = call.failed.take().or(problem);
        call.waiting = call.waiting.saturating_sub(1);
        if call.waiting == 0 {
            self.end_call(id);
        }
    }

    fn end_call(&mut self, id: u64) {
        let Some(call) = self.calls.open.remove(&id) else {
            return;
        };
        match call.failed {
            Some(problem) => call.reply.failed(problem),
            None => {
                let apps = self.views(Some(&call.names), now_ms());
                call.reply.done(Answer::Changed {
                    text: call.done,
                    apps,
                });
            }
        }
    }

    fn problem(&mut self, failure: &Failure) -> Problem {
        let stderr = match failure.worker {
            Some(worker) => {
                self.finish_logs(worker);
                self.pump.flush();
                self.last_errors(worker)
            }
            None => Vec::new(),
        };
        Problem {
            place: format!("app {}", failure.app),
            what: failure.what.clone(),
            why: failure.why.clone(),
            fix: failure.fix.clone(),
            stderr,
            exit_code: failure.exit_code,
        }
    }

    fn signal(&mut self, select: &Select, signal: &str, reply: &Reply) {
        let Some(number) = app_spec::signal::number(signal) else {
            return reply.failed(wrong(&format!("{signal:?} is not a signal")));
        };
        match self.select(select) {
            Ok(names) => {
                let count = self.signal_workers(|app| names.iter().any(|n| n == app), number);
                let text = vec![format!("sent {signal} to {count} workers")];
                let apps = self.views(Some(&names), now_ms());
                reply.done(Answer::Changed { text, apps });
            }
            Err(problem) => reply.failed(*problem),
        }
    }

    pub(super) fn signal_workers(&mut self, which: impl Fn(&str) -> bool, signal: i32) -> usize {
        let workers: Vec<_> = self
            .core
            .apps()
            .filter(|app| which(app.name()))
            .flat_map(|app| app.workers().map(|w| w.id))
            .collect();
        for worker in &workers {
            let scope = Scope::Process;
            self.tell_root(&ToRoot::Signal {
                child: child(*worker),
                signal,
                scope,
            });
        }
        workers.len()
    }

    fn upgrade(&mut self, path: Option<std::path::PathBuf>, reply: Reply) {
        let path = match path.map_or_else(own_path, std::path::absolute) {
            Ok(path) => path,
            Err(error) => return reply.failed(wrong(&format!("no path to upgrade to: {error}"))),
        };
        if self.calls.upgrade.as_ref().is_some_and(|r| !r.is_closed()) {
            return reply.failed(wrong("an upgrade is under way"));
        }
        self.calls.upgrade = Some(reply);
        self.tell_root(&ToRoot::Upgrade {
            path,
            supervisor_args: None,
        });
    }

    pub(super) fn upgrade_failed(&mut self, why: &str) {
        tracing::error!(why, "the upgrade failed");
        if let Some(reply) = self.calls.upgrade.take() {
            reply.failed(Problem {
                what: "the upgrade failed; everything runs on as before".into(),
                why: why.to_owned(),
                fix: "give the path of a pando binary of this machine's kind".into(),
                exit_code: 1,
                ..Problem::default()
            });
        }
    }

    /// Root becomes the new binary; this process makes room for a new supervisor.
    pub(super) fn upgrading(&mut self) {
        self.marks.upgrading = true;
        self.control.stop_accepting();
        if let Some(reply) = self.calls.upgrade.take() {
            let text = vec!["root runs the new binary; the new supervisor takes over".to_owned()];
            reply.done(Answer::Changed {
                text,
                apps: self.views(None, now_ms()),
            });
        }
        self.pump.flush();
        self.end_after_answers(None);
    }
}

/// What a person should know of the limit of open files: root and every worker have the hard
/// limit, and that may still be too low for many connections.
fn open_files_warning() -> Option<String> {
    const ENOUGH: u64 = 10_000;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    (limit < ENOUGH).then(|| {
        format!(
            "warning: each process may open only {limit} files, so hold fewer than {ENOUGH} \
             connections; raise the hard limit (`ulimit -Hn`, LimitNOFILE=), then `pando kill` \
             and start again"
        )
    })
}

/// A port from which on `count` ports are free now.
fn free_ports(count: u32) -> Option<u16> {
    use std::net::{Ipv4Addr, TcpListener};
    const TRIES: usize = 32;
    (0..TRIES).find_map(|_| {
        let first = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))
            .ok()?
            .local_addr()
            .ok()?
            .port();
        let last = u16::try_from(u32::from(first) + count.saturating_sub(1)).ok()?;
        (first..=last)
            .all(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok())
            .then_some(first)
    })
}

pub(super) fn unknown_app(name: &str) -> Problem {
    Problem {
        what: format!("there is no app {name:?}"),
        fix: "`pando ls` shows the apps".into(),
        exit_code: 2,
        ..Problem::default()
    }
}

fn too_many(name: &str, count: u32) -> Problem {
    Problem {
        place: format!("app {name}"),
        what: format!("{count} workers are not possible"),
        why: format!("1 to {MAX_INSTANCES} are: each is a process of about 50 MB"),
        fix: "`-i max` starts one a core, which is the most that helps".into(),
        exit_code: 2,
        ..Problem::default()
    }
}

/// Where this program's file was: what is there now is the new version. The kernel marks the name of
/// a file that was replaced (proc_pid_exe(5)).
fn own_path() -> std::io::Result<std::path::PathBuf> {
    let path = std::env::current_exe()?;
    let replaced = path
        .to_str()
        .and_then(|text| text.strip_suffix(" (deleted)"))
        .filter(|_| !path.exists());
    Ok(replaced.map_or_else(|| path.clone(), std::path::PathBuf::from))
}

fn wrong(what: &str) -> Problem {
    Problem {
        what: what.to_owned(),
        exit_code: 2,
        ..Problem::default()
    }
}
