//! What was sent to one worker with a descriptor and is not answered yet.
//!
//! A NODE_HANDLE line is answered twice. First by NODE_HANDLE_ACK (the descriptor arrived) or
//! NODE_HANDLE_NACK (it did not, say for want of a free one, and the message in it was dropped);
//! these carry no number and come in the order of the lines. Then, if it was a `newconn`, by a
//! cluster ack with the number of the message.

use std::collections::{BTreeMap, VecDeque};

use crate::address::HandleKey;
use crate::ids::{ConnId, PingId};

/// A `newconn` that the worker has not acked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    Conn { conn: ConnId, key: HandleKey },
    Ping(PingId),
}

/// A line whose descriptor did not arrive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    Newconn(Pending),
    /// A real listening handle: the key, and the query's `seq` that still waits.
    Listener {
        key: HandleKey,
        query_seq: u64,
    },
}

#[derive(Debug)]
enum Handle {
    Newconn,
    Listener { key: HandleKey, query_seq: u64 },
}

#[derive(Debug, Default)]
pub(crate) struct Flight {
    pending: BTreeMap<u64, Pending>,
    /// NODE_HANDLE lines without ACK or NACK, oldest first, by `seq`.
    handles: VecDeque<(u64, Handle)>,
    conns: usize,
    /// A predecessor's lines may still be answered: no ACK or NACK is ours for sure.
    foreign_answers: bool,
}

impl Flight {
    /// Of a worker that another primary has sent lines to.
    pub(crate) fn adopted() -> Self {
        Self {
            foreign_answers: true,
            ..Self::default()
        }
    }

    pub(crate) fn conns(&self) -> usize {
        self.conns
    }

    pub(crate) fn pings(&self) -> usize {
        self.pending.len() - self.conns
    }

    pub(crate) fn newconn_sent(&mut self, seq: u64, pending: Pending) {
        self.conns += usize::from(matches!(pending, Pending::Conn { .. }));
        self.pending.insert(seq, pending);
        self.handles.push_back((seq, Handle::Newconn));
    }

    pub(crate) fn listener_sent(&mut self, seq: u64, key: HandleKey, query_seq: u64) {
        self.handles
            .push_back((seq, Handle::Listener { key, query_seq }));
    }

    /// The cluster ack of `seq`; `None` if it is none of ours, or came before.
    pub(crate) fn acked(&mut self, seq: u64) -> Option<Pending> {
        let pending = self.take(seq)?;
        // Lines are answered in order, so a runtime that never says NODE_HANDLE_ACK cannot make
        // this grow, and all that a predecessor sent is answered.
        while self.handles.front().is_some_and(|(sent, _)| *sent <= seq) {
            self.handles.pop_front();
        }
        self.foreign_answers = false;
        Some(pending)
    }

    pub(crate) fn handle_acked(&mut self) {
        if !self.foreign_answers {
            self.handles.pop_front();
        }
    }

    /// What the worker will never answer.
    pub(crate) fn handle_nacked(&mut self) -> Option<Lost> {
        if self.foreign_answers {
            return None;
        }
        let (seq, handle) = self.handles.pop_front()?;
        match handle {
            Handle::Newconn => self.take(seq).map(Lost::Newconn),
            Handle::Listener { key, query_seq } => Some(Lost::Listener { key, query_seq }),
        }
    }

    /// Everything unacked, oldest first.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Pending> + use<> {
        self.handles.clear();
        self.conns = 0;
        std::mem::take(&mut self.pending).into_values()
    }

    fn take(&mut self, seq: u64) -> Option<Pending> {
        let pending = self.pending.remove(&seq)?;
        self.conns -= usize::from(matches!(pending, Pending::Conn { .. }));
        Some(pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ping(n: u64) -> Pending {
        Pending::Ping(PingId(n))
    }

    fn key() -> HandleKey {
        HandleKey("k".into())
    }

    #[test]
    fn a_nack_is_for_the_oldest_line_without_an_answer() {
        let mut flight = Flight::default();
        flight.newconn_sent(1, ping(1));
        flight.listener_sent(2, key(), 9);
        flight.newconn_sent(3, ping(3));
        flight.handle_acked();
        assert_eq!(
            flight.handle_nacked(),
            Some(Lost::Listener {
                key: key(),
                query_seq: 9
            })
        );
        assert_eq!(flight.handle_nacked(), Some(Lost::Newconn(ping(3))));
        assert_eq!(flight.handle_nacked(), None);
        assert_eq!(flight.acked(1), Some(ping(1)));
        assert_eq!(flight.acked(3), None);
    }

    #[test]
    fn acks_alone_keep_it_empty() {
        let mut flight = Flight::default();
        for seq in 0..100 {
            flight.newconn_sent(
                seq,
                Pending::Conn {
                    conn: ConnId(seq),
                    key: key(),
                },
            );
            assert_eq!(flight.conns(), 1);
            assert!(flight.acked(seq).is_some());
        }
        assert!(flight.handles.is_empty());
        assert_eq!((flight.conns(), flight.pings()), (0, 0));
    }

    #[test]
    fn answers_to_a_predecessor_are_not_taken_for_ours() {
        let mut flight = Flight::adopted();
        flight.newconn_sent(1000, ping(1));
        flight.newconn_sent(1001, ping(2));
        flight.handle_acked();
        assert_eq!(flight.handle_nacked(), None);
        assert_eq!(flight.acked(7), None);
        assert_eq!(flight.acked(1000), Some(ping(1)));
        assert_eq!(flight.handle_nacked(), Some(Lost::Newconn(ping(2))));
    }
}
