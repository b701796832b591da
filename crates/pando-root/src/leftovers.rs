//! What an earlier root of the same home left behind when everything of it was killed.

use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use crate::home::{Home, HomeError};
use crate::procfs;
use crate::tree::{HOME_ID_ENV, is_of_home};

/// A process that forks while it is looked for is found by the next look.
const LOOKS: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// SIGKILLs every process that an earlier root of this home started, descendants included, and
/// returns their pids. Spares this process and its ancestors (a person may type `pando` in a
/// shell that an app opened). Does nothing if the home does not exist or a root holds it: then
/// they are not left over. Waits up to a second for them to be gone.
///
/// # Errors
/// The home could not be locked.
pub fn kill_leftovers(home: &Path) -> io::Result<Vec<u32>> {
    if !home.try_exists()? {
        return Ok(Vec::new());
    }
    match Home::take(home) {
        Ok(home) => Ok(kill_marked(&home.id)),
        Err(HomeError::Held { .. }) => Ok(Vec::new()),
        Err(HomeError::Io { source, .. }) => Err(source),
    }
}

/// The same for a home that this process holds.
pub(crate) fn kill_marked(home_id: &str) -> Vec<u32> {
    let spared = ancestry();
    let mut killed = Vec::new();
    for look in 0..LOOKS {
        if look > 0 {
            sleep(PAUSE);
        }
        let mut seen = false;
        for process in procfs::all().filter(|p| !p.zombie && !spared.contains(&p.pid)) {
            let ours = || {
                let key = procfs::environ(process.pid, HOME_ID_ENV);
                key.is_some_and(|key| is_of_home(&key, home_id))
            };
            if procfs::signal_if(process.pid, Signal::KILL, ours) {
                seen = true;
                let pid = process.pid.unsigned_abs();
                if !killed.contains(&pid) {
                    killed.push(pid);
                }
            }
        }
        if !seen {
            break;
        }
    }
    killed
}

/// This process and its ancestors.
fn ancestry() -> Vec<i32> {
    let mut line = Vec::new();
    let mut next = i32::try_from(std::process::id()).ok();
    while let Some(pid) = next.filter(|pid| !line.contains(pid)) {
        line.push(pid);
        next = procfs::stat(pid).map(|stat| stat.ppid);
    }
    line
}
