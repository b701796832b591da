//! Carrying out what the core decides.

use monitor_spec::Word;
use monitor_spec::state::Event;
use node_cluster::{Attach, ConnId, WorkerId};
use pando_root::proto::{ChildId, Scope, ToRoot};

use super::{Hub, epoch_ms};
use crate::core::{AppRecord, Effect, Input, Notice, Target};

impl Hub {
    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn(order) => self.spawn(&order),
            Effect::Signal {
                worker,
                signal,
                tree,
            } => {
                let scope = if tree { Scope::Tree } else { Scope::Process };
                self.tell_root(&ToRoot::Signal {
                    child: child(worker),
                    signal,
                    scope,
                });
            }
            Effect::Forget { worker } => self.forget(worker),
            Effect::Send {
                worker,
                line,
                attach,
            } => self.send(worker, line, &attach),
            Effect::Open {
                app,
                key,
                address,
                mode,
                seats,
            } => {
                let result = self.open(&app, &key, &address, mode, seats);
                self.inputs.push_back(Input::Opened { app, key, result });
            }
            Effect::Grow { app, key, seats } => self.grow(&app, &key, seats),
            Effect::CloseListener { app, key } => self.close_listener(&app, &key),
            Effect::Steer { app, key, seats } => self.steer(&app, &key, &seats),
            Effect::Accept { app, key, seats } => self.accept_at(&app, &key, seats),
            Effect::Gate { app, open } => self.gate(&app, open),
            Effect::OpenPrivate {
                app,
                key,
                seat,
                port,
            } => self.open_private(app, key, seat, port),
            Effect::ClosePrivate { app, key, seat } => self.close_private(&app, &key, seat),
            Effect::Tell { worker, say } => self.tell_gateway(worker, *say),
            Effect::OpenFor {
                worker,
                request,
                path,
            } => self.open_for(worker, request, &path),
            Effect::Answered { question, result } => self.gateway_answered(question, result),
            Effect::Measured(report) => self.tell_monitor(Word::Edge(report)),
            Effect::DropConn { conn } => drop(self.conns.remove(&conn)),
            Effect::Probe {
                worker,
                probe,
                timeout_ms,
            } => self.probe(worker, probe, timeout_ms),
            Effect::Persist(record) => self.persist(&record),
            Effect::Unpersist { app } => self.unpersist(&app),
            Effect::Notice(notice) => self.tell(&notice),
            Effect::Progress {
                op,
                app,
                ready,
                wanted,
                text,
            } => {
                self.calls.progress(op, app, ready, wanted, text);
            }
            Effect::Finished { op, outcome } => self.finished(op, outcome),
        }
    }

    fn persist(&mut self, record: &AppRecord) {
        self.watch(&record.spec, record.running);
        self.configure_logs(&record.spec);
        let written = self.journal.put(record);
        self.journal_written(written);
    }

    fn unpersist(&mut self, app: &str) {
        self.watches.remove(app);
        self.marks.forget_app(app);
        self.pump.remove(app);
        let written = self.journal.remove(app);
        self.journal_written(written);
        self.tell_root(&ToRoot::Put {
            name: format!("app/{app}"),
            value: None,
        });
    }

    pub(super) fn tell_root(&mut self, order: &ToRoot) {
        if let Err(error) = self.link.send(order, &[]) {
            tracing::error!(%error, ?order, "root did not take an order");
        }
        self.watch_link();
    }

    fn journal_written(&mut self, written: Result<(), crate::journal::JournalError>) {
        match written {
            Ok(()) if self.journal.owes() => {}
            Ok(()) => self.journal_problem = None,
            Err(error) => {
                let why = error.to_string();
                if self.journal_problem.as_ref() != Some(&why) {
                    tracing::error!(%error, "the journal was not written");
                }
                self.journal_problem = Some(why);
            }
        }
    }

    /// What was done while the disk was full is recorded as soon as there is room.
    pub(super) fn settle_journal(&mut self) {
        if self.journal.owes() {
            let written = self.journal.retry();
            self.journal_written(written);
            if self.journal_problem.is_none() {
                tracing::info!("the journal has caught up");
            }
        }
    }

    /// A transition becomes a log line and an event for whoever listens.
    pub(super) fn tell(&mut self, notice: &Notice) {
        let worker = notice.worker.map_or(0, |w| w.0);
        tracing::info!(app = %notice.app, worker.id = worker, kind = notice.kind, "{}", notice.text);
        let event = Event {
            time_ms: epoch_ms(),
            app: notice.app.clone(),
            worker: notice.instance,
            kind: notice.kind.to_owned(),
            text: notice.text.clone(),
        };
        self.calls.event(&event);
        self.tell_monitor(Word::Event(event));
    }

    fn send(&mut self, worker: WorkerId, line: Vec<u8>, attach: &Attach) {
        let fd = match attach {
            Attach::None => None,
            Attach::Dummy(_) => Some(self.dummy.clone()),
            Attach::Conn(conn) => match self.conns.get(conn) {
                Some(fd) => Some(fd.clone()),
                // A NODE_HANDLE without its fd would take the next message's.
                None => return tracing::error!(?conn, "a connection to hand over is not here"),
            },
            Attach::Listener(key, id) => match self.listener_for(*id, key) {
                Some(fd) => Some(fd),
                None => return tracing::error!(%key, "a listener to hand over is not here"),
            },
        };
        self.queue_line(worker, line, fd);
    }

    fn forget(&mut self, worker: WorkerId) {
        self.close_channel(worker);
        self.finish_logs(worker);
        self.usage.forget(worker);
        self.marks.forget(worker);
        for name in ["out", "err", "chan", "agent"] {
            self.tell_root(&ToRoot::Drop {
                name: format!("{name}/{}", worker.0),
            });
        }
        self.tell_root(&ToRoot::Put {
            name: format!("worker/{}", worker.0),
            value: None,
        });
        self.tell_root(&ToRoot::Forget {
            child: child(worker),
        });
    }

    pub(super) fn probe_done(
        &mut self,
        worker: WorkerId,
        conn: Option<ConnId>,
        result: Result<Vec<String>, String>,
    ) {
        let event = Target::ProbeResult { conn, result };
        self.inputs.push_back(Input::Worker { worker, event });
    }
}

pub(super) fn child(worker: WorkerId) -> ChildId {
    ChildId(u64::from(worker.0))
}
