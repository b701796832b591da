//! The workers' IPC channels.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use node_cluster::{Channel, Flush, Incoming, ReadState, WorkerId};

use super::Hub;
use super::events::Token;
use crate::core::{Input, Target};

pub(super) struct WorkerChannel {
    channel: Channel,
    /// Something waits to be written.
    blocked: bool,
    /// The poller tells when there is room.
    watched: bool,
    /// Why nothing more goes out, told once.
    stuck: bool,
}

impl Hub {
    pub(super) fn add_channel(&mut self, worker: WorkerId, channel: Channel) {
        let token = Token::Channel(worker).encode();
        if let Err(error) = self.poller.add(channel.as_fd(), token, false) {
            tracing::error!(%error, worker.id = worker.0, "cannot watch a worker's channel");
        }
        let channel = WorkerChannel {
            channel,
            blocked: false,
            watched: false,
            stuck: false,
        };
        self.channels.insert(worker, channel);
    }

    pub(super) fn queue_line(&mut self, worker: WorkerId, line: Vec<u8>, fd: Option<Arc<OwnedFd>>) {
        let Some(c) = self.channels.get_mut(&worker) else {
            return;
        };
        if c.channel.queue(line, fd).is_err() {
            if !c.stuck {
                c.stuck = true;
                let event = Target::ChannelStuck;
                self.inputs.push_back(Input::Worker { worker, event });
            }
            return;
        }
        if !c.blocked {
            self.flush_channel(worker);
        }
    }

    pub(super) fn flush_channel(&mut self, worker: WorkerId) {
        let Some(c) = self.channels.get_mut(&worker) else {
            return;
        };
        let blocked = match c.channel.flush() {
            Ok(Flush::Done) => false,
            Ok(Flush::Blocked) => true,
            // The worker is going; reading the channel to its end says so.
            Err(error) => {
                tracing::debug!(%error, worker.id = worker.0, "channel write");
                false
            }
        };
        c.stuck &= blocked;
        c.blocked = blocked;
        let waits = c.channel.wants_write();
        if waits != c.watched {
            c.watched = waits;
            let token = Token::Channel(worker).encode();
            if let Err(error) = self.poller.modify(c.channel.as_fd(), token, waits) {
                tracing::error!(%error, worker.id = worker.0, "cannot watch a worker's channel");
            }
        }
    }

    /// Channels that wait for other descriptors in flight to arrive (ETOOMANYREFS), not for room
    /// in their socket: no event tells when, so they are tried again.
    pub(super) fn flush_waiting_channels(&mut self) {
        let waiting: Vec<WorkerId> = self.waiting_channels().collect();
        for worker in waiting {
            self.flush_channel(worker);
        }
    }

    pub(super) fn waiting_channels(&self) -> impl Iterator<Item = WorkerId> {
        let waits = |c: &WorkerChannel| c.blocked && !c.watched;
        self.channels
            .iter()
            .filter(move |(_, c)| waits(c))
            .map(|(worker, _)| *worker)
    }

    /// Reads what is there, and says whether the channel is still open.
    pub(super) fn read_channel(&mut self, worker: WorkerId) -> bool {
        let Some(c) = self.channels.get_mut(&worker) else {
            return false;
        };
        let inputs = &mut self.inputs;
        let state = c.channel.read(&mut |incoming| {
            let event = match incoming {
                Incoming::Line(line, fd) => Target::Line {
                    line: line.to_vec(),
                    fd: fd.is_some(),
                },
                Incoming::Oversized { bytes } => Target::Oversized { bytes },
            };
            inputs.push_back(Input::Worker { worker, event });
        });
        match state {
            Ok(ReadState::Open) => true,
            Ok(ReadState::Closed) => {
                self.channel_ended(worker);
                false
            }
            Err(error) => {
                tracing::debug!(%error, worker.id = worker.0, "channel read");
                self.channel_ended(worker);
                false
            }
        }
    }

    fn channel_ended(&mut self, worker: WorkerId) {
        self.close_channel(worker);
        self.inputs.push_back(Input::Worker {
            worker,
            event: Target::ChannelClosed,
        });
    }

    /// What the dead worker still wrote is read before its end is told.
    pub(super) fn drain_channel(&mut self, worker: WorkerId) {
        const READS_MAX: usize = 1024;
        for _ in 0..READS_MAX {
            let before = self.inputs.len();
            if !self.read_channel(worker) || self.inputs.len() == before {
                return;
            }
        }
    }

    pub(super) fn close_channel(&mut self, worker: WorkerId) {
        if let Some(c) = self.channels.remove(&worker)
            && let Err(error) = self.poller.remove(c.channel.as_fd())
        {
            tracing::debug!(%error, worker.id = worker.0, "unwatching a channel");
        }
    }
}
