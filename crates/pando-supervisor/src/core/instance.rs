//! One of the app's places, numbered from 0 (`NODE_APP_INSTANCE`): the worker that holds it, the
//! successor that is on its way, and what is remembered of those before.

use node_cluster::WorkerId;

use super::Ms;

#[derive(Clone, Debug, Default)]
pub struct Instance {
    pub number: u32,
    pub current: Option<WorkerId>,
    /// Started beside `current`, takes over when it is ready.
    pub successor: Option<WorkerId>,
    /// No new worker before this.
    pub not_before: Ms,
    /// Fast exits in a row.
    pub fast_exits: u32,
    pub crash_loop: bool,
    /// Restarts that nobody asked for.
    pub restarts: u64,
    /// How the last worker that ended by itself did so.
    pub last_exit: Option<String>,
    /// Its policy keeps it down.
    pub done: bool,
    /// The code of the exit that made it `done`.
    pub exit_code: Option<i32>,
}

impl Instance {
    pub fn new(number: u32) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }

    /// A worker is on its way here, or is to be.
    pub(super) fn is_incomplete(&self) -> bool {
        self.successor.is_some() || self.current.is_none() && !self.done
    }

    pub(super) fn is_empty(&self) -> bool {
        self.current.is_none() && self.successor.is_none()
    }
}
