//! The names by which a caller and the core speak of workers, connections, questions and pings.

use std::fmt;

/// One worker process. The caller's to give out, never twice in the life of a
/// [`Primary`](crate::Primary); also the worker's `NODE_UNIQUE_ID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u32);

/// One accepted connection. The caller's to give out, never twice while it is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// One worker's wish to listen, unique over a [`Primary`](crate::Primary).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// One ping, unique over a [`Primary`](crate::Primary).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PingId(pub u64);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
