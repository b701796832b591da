//! What the core knows of one worker.
//!
//! ```text
//! joined -> online -> listening -> disconnecting -> left       and from each state to left
//! ```
//! A worker may be listening on several keys and may close them one by one; it stays `listening`
//! in the sense of [`Worker::listened`], which is what makes a `disconnect` safe.

use std::collections::BTreeMap;

use crate::address::{HandleKey, ListenAddress};
use crate::flight::Flight;
use crate::ids::QueryId;

#[derive(Debug, Default)]
pub(crate) struct Worker {
    pub online: bool,
    /// Some server of it was listening once.
    pub listened: bool,
    pub disconnecting: bool,
    pub bun: bool,
    /// Its queries may have been answered by a predecessor.
    pub adopted: bool,
    pub held: BTreeMap<HandleKey, Held>,
    pub asked: BTreeMap<QueryId, Asked>,
    pub flight: Flight,
}

/// A query that was granted.
#[derive(Debug)]
pub(crate) struct Held {
    pub address: ListenAddress,
    /// The real port, once listening.
    pub port: Option<u16>,
    pub listening: bool,
}

/// A query that the caller has not answered.
#[derive(Debug)]
pub(crate) struct Asked {
    pub seq: u64,
    pub key: HandleKey,
    pub address: ListenAddress,
}

impl Worker {
    pub(crate) fn has(&self, key: &HandleKey) -> bool {
        self.held.contains_key(key) || self.asked.values().any(|asked| asked.key == *key)
    }

    pub(crate) fn keys(&self) -> usize {
        self.held.len() + self.asked.len()
    }
}

/// All that a successor of a [`Primary`](crate::Primary) needs to know of a worker that runs on:
/// plain data for the caller to store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// It said `online`.
    pub online: bool,
    /// It was listening once.
    pub listened: bool,
    /// It was told to disconnect, or said that it will.
    pub disconnecting: bool,
    /// It runs in Bun.
    pub bun: bool,
    /// What it listens on.
    pub keys: Vec<SnapshotKey>,
}

/// One key of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotKey {
    /// Which.
    pub key: HandleKey,
    /// As the worker asked.
    pub address: ListenAddress,
    /// The real port; `None` for unix sockets and until it listens.
    pub port: Option<u16>,
    /// It said `listening`.
    pub listening: bool,
    /// What the workers share under this key (TLS ticket keys), JSON.
    pub data: Option<String>,
}
