//! What is measured of apps: taken, kept, asked for, exported, alerted on. One thread owns all of
//! it and is told by a bounded queue ([`monitor_spec::Handle`]); once a second it takes a picture.

pub mod totals;

use std::path::PathBuf;
use std::time::Duration;

use monitor_spec::{Handle, Heard, Inbox, Word};

pub struct Options {
    /// Where the store is: `$PANDO_HOME/metrics`.
    pub dir: PathBuf,
    pub version: &'static str,
}

/// Starts the metrics' thread.
///
/// # Errors
/// No thread can be started.
pub fn start(options: Options) -> std::io::Result<Handle> {
    let (handle, inbox) = monitor_spec::channel();
    std::thread::Builder::new()
        .name("metrics".into())
        .spawn(move || run(&options, &inbox))?;
    Ok(handle)
}

fn run(_options: &Options, inbox: &Inbox) {
    loop {
        match inbox.next(Duration::from_secs(1)) {
            Heard::Word(Word::Ask { reply, .. }) => reply.failed("nothing is measured yet".into()),
            Heard::Word(Word::End) | Heard::Closed => return,
            Heard::Word(_) | Heard::Nothing => {}
        }
    }
}
