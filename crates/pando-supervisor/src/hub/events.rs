//! What the hub waits for, and what each event leads to.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::Path;

use node_cluster::WorkerId;
use pando_root::proto::{self, FromRoot};

use super::{Hub, Mail};
use crate::core::{Exit, Input, Target};
use crate::poller::{Ready, drain_wake};

const KIND_SHIFT: u32 = 56;
/// Messages of root taken in one go.
const ROOT_AT_ONCE: usize = 64;
const SIGHUP: i32 = 1;
const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;

/// What an epoll token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Root,
    Wake,
    Channel(WorkerId),
    /// A number of [`super::listeners::Listeners`].
    Accept(u64),
}

impl Token {
    pub fn encode(self) -> u64 {
        let (kind, value) = match self {
            Self::Root => (0, 0),
            Self::Wake => (1, 0),
            Self::Channel(worker) => (2, u64::from(worker.0)),
            Self::Accept(number) => (3, number),
        };
        kind << KIND_SHIFT | value
    }

    fn decode(token: u64) -> Option<Self> {
        let value = token & ((1 << KIND_SHIFT) - 1);
        Some(match token >> KIND_SHIFT {
            0 => Self::Root,
            1 => Self::Wake,
            2 => Self::Channel(WorkerId(u32::try_from(value).ok()?)),
            3 => Self::Accept(value),
            _ => return None,
        })
    }
}

impl Hub {
    pub(super) fn on_ready(&mut self, ready: Ready) {
        match Token::decode(ready.token) {
            Some(Token::Root) => self.on_root(),
            Some(Token::Wake) => {
                drain_wake(&self.wake);
                self.read_mail();
            }
            Some(Token::Channel(worker)) => {
                if ready.writable {
                    self.flush_channel(worker);
                }
                if ready.readable {
                    self.read_channel(worker);
                }
            }
            Some(Token::Accept(number)) => self.accept(number),
            None => tracing::error!(token = ready.token, "an event that nobody waits for"),
        }
        self.settle();
    }

    /// Waits for room in the link while orders are queued.
    pub(super) fn watch_link(&mut self) {
        let wants = self.link.wants_write();
        if wants != self.marks.link_waits {
            self.marks.link_waits = wants;
            let token = Token::Root.encode();
            if let Err(error) = self.poller.modify(self.link.as_fd(), token, wants) {
                tracing::error!(%error, "cannot watch the link to root");
            }
        }
    }

    fn on_root(&mut self) {
        if let Err(error) = self.link.flush() {
            tracing::debug!(%error, "link flush");
        }
        self.watch_link();
        for _ in 0..ROOT_AT_ONCE {
            match self.link.recv() {
                Ok(Some((message, _fds))) => self.root_says(message),
                Ok(None) => return,
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    tracing::error!(%error, "root said something that this version cannot read");
                }
                Err(error) => return self.root_is_gone(&error),
            }
            if self.ending.as_ref().is_some_and(|e| e.at == 0) {
                return;
            }
        }
    }

    /// Root died: its children die with it, and this process clears up what they left.
    fn root_is_gone(&mut self, error: &std::io::Error) {
        let at = 0;
        if self.ending.is_none() || !self.marks.upgrading {
            tracing::error!(%error, "root is gone: ending every worker's tree");
            clear_up(&self.options.home);
        }
        self.pump.flush();
        self.ending = Some(super::Ending { at, word: None });
    }

    fn root_says(&mut self, message: FromRoot) {
        match message {
            FromRoot::Spawned { child, pid } => self.spawned(child, pid),
            FromRoot::SpawnFailed {
                child,
                stage,
                errno,
            } => {
                if let Some(worker) = worker_of(child) {
                    self.spawn_failed(worker, &stage, errno);
                }
            }
            FromRoot::Exited { child, exit } => self.child_exited(child, exit),
            FromRoot::Signal { signal } => self.root_got(signal),
            FromRoot::Refused { order, why } => tracing::error!(order, why, "root refused"),
            FromRoot::UpgradeFailed { why } => self.upgrade_failed(&why),
            FromRoot::Upgrading => self.upgrading(),
            FromRoot::Hello { .. } | FromRoot::Fds { .. } | FromRoot::Ready => {
                tracing::error!("root handed over twice");
            }
        }
    }

    fn spawned(&mut self, child: proto::ChildId, pid: u32) {
        if let Some(worker) = worker_of(child) {
            self.inputs.push_back(Input::Worker {
                worker,
                event: Target::Spawned { pid },
            });
        }
    }

    pub(super) fn child_exited(&mut self, child: proto::ChildId, exit: proto::Exit) {
        let Some(worker) = worker_of(child) else {
            return;
        };
        self.drain_channel(worker);
        let exit = match exit {
            proto::Exit::Code(code) => Exit::Code(code),
            proto::Exit::Signal(signal) => Exit::Signal(signal),
        };
        let code = exit.code();
        self.last_code = code;
        if self.close_signal.is_some() {
            self.exit_code = self.exit_code.max(code);
        }
        self.finish_logs(worker);
        self.inputs.push_back(Input::Worker {
            worker,
            event: Target::Exited { exit },
        });
    }

    /// Root itself got a signal. HUP reloads every app, USR1 and USR2 go on to the workers, the
    /// others end everything.
    fn root_got(&mut self, signal: i32) {
        tracing::info!(signal, "root got a signal");
        match signal {
            SIGHUP if !self.options.foreground => {
                let names: Vec<String> = self.core.apps().map(|a| a.name().to_owned()).collect();
                for name in names {
                    self.order(&name, crate::core::Order::Reload { spec: None });
                }
            }
            SIGUSR1 | SIGUSR2 => {
                self.signal_workers(|_| true, signal);
            }
            _ if self.close_signal.is_some() => {}
            _ => self.close_all(self.options.foreground.then_some(signal), None),
        }
    }

    fn read_mail(&mut self) {
        while let Ok(mail) = self.mail.try_recv() {
            match mail {
                Mail::Call(call) => self.call(call),
                Mail::Probe {
                    worker,
                    conn,
                    result,
                } => self.probe_done(worker, conn, result),
                Mail::Log(notice) => self.log_notice(notice),
                Mail::Changed { app } => self.inputs.push_back(Input::Changed { app }),
            }
        }
    }
}

fn clear_up(home: &Path) {
    match pando_root::kill_leftovers(home) {
        Ok(pids) => tracing::warn!(?pids, "ended what root left behind"),
        Err(error) => tracing::error!(%error, "cannot end what root left behind"),
    }
}

pub(super) fn worker_of(child: proto::ChildId) -> Option<WorkerId> {
    u32::try_from(child.0).ok().map(WorkerId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Root,
            Token::Wake,
            Token::Channel(WorkerId(7)),
            Token::Accept(99),
        ] {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(u64::MAX), None);
    }
}
