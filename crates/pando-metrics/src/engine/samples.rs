//! What was read of processes and of the machine, as the engine takes it.

use std::collections::BTreeMap;

use monitor_spec::now::Host;

#[derive(Clone, Debug, Default)]
pub struct Samples {
    pub host: Host,
    /// By worker id.
    pub workers: BTreeMap<u32, Sample>,
    pub daemon: Vec<Daemon>,
}

/// A process of Pando.
#[derive(Clone, Debug, Default)]
pub struct Daemon {
    pub name: String,
    pub pid: u32,
    pub sample: Sample,
}

/// A counter and when it was read, in microseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub at_us: u64,
    pub value: u64,
}

/// A process, or a tree of them. Counters only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub cpu_us: Reading,
    /// Time on a CPU and time waiting for one, of the main thread; microseconds. `None` for trees.
    pub main_run_us: Option<Reading>,
    pub main_wait_us: Option<Reading>,
    /// Of all threads; read less often.
    pub wait_us: Option<Reading>,
    pub context_switches: Option<Reading>,
    pub memory_bytes: u64,
    pub pss_bytes: Option<u64>,
    pub fds: u64,
    pub threads: u64,
    /// For how long the main thread has slept in something that is not its event loop.
    pub blocked_us: Option<u64>,
}
