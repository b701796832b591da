//! What is measured of apps: taken, kept, asked for, exported, alerted on. One thread owns all of
//! it and is told by a bounded queue ([`monitor_spec::Handle`]); once a second it takes a picture.
//!
//! - [`engine`]: what the words of hub, preloads and gateway come to; pure.
//! - `sample`: /proc and cgroups.
//! - `keeper`: the last hour in memory (`history`) and everything on disk (`store`); `answers`: what
//!   is asked of both.
//! - `outlets`: exposition, OTLP, alerts; told once a second.
//! - `run`: the thread that joins them.

mod agents;
pub mod alerts;
mod answers;
mod clock;
pub mod engine;
pub mod exposition;
pub mod family;
mod history;
mod keeper;
pub mod listen;
mod notify;
mod otlp;
pub mod outlets;
mod post;
mod row;
mod run;
mod sample;
pub mod settings;
mod store;
pub mod totals;
mod when;
mod write;

#[doc(hidden)]
pub use engine::fuzz as fuzz_reports;
#[doc(hidden)]
pub use history::fuzz as fuzz_store;

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use monitor_spec::{Handle, Word};

/// How long [`Running::end`] waits.
const END_LIMIT: Duration = Duration::from_secs(2);
const END_POLL: Duration = Duration::from_millis(5);

pub struct Options {
    /// Where the store is: `$PANDO_HOME/metrics`.
    pub dir: PathBuf,
    pub version: &'static str,
}

/// The metrics' thread.
pub struct Running {
    pub handle: Handle,
    thread: JoinHandle<()>,
}

/// Starts the metrics' thread.
///
/// # Errors
/// No thread can be started.
pub fn start(options: Options) -> std::io::Result<Running> {
    let (handle, inbox) = monitor_spec::channel();
    let own = handle.clone();
    let thread = std::thread::Builder::new()
        .name("metrics".into())
        .spawn(move || run::run(options, own, &inbox))?;
    Ok(Running { handle, thread })
}

impl Running {
    /// Writes what is not on disk yet and ends, waiting [`END_LIMIT`] at most.
    pub fn end(self) {
        if self.handle.tell(Word::End).is_err() {
            return;
        }
        let limit = Instant::now() + END_LIMIT;
        while !self.thread.is_finished() && Instant::now() < limit {
            std::thread::sleep(END_POLL);
        }
    }
}
