//! What /proc says about processes. Everything may vanish between two reads, so everything is
//! an `Option`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// More of an environment is not read.
const MAX_ENVIRON_BYTES: u64 = 8 * 1024 * 1024;

/// A process at one moment. `start` (clock ticks since boot) tells it from a later one with the
/// same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub pid: i32,
    pub ppid: i32,
    pub session: i32,
    pub start: u64,
    pub zombie: bool,
}

pub fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The name in parentheses may hold anything, parentheses and spaces too; proc_pid_stat(5).
fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let open = bytes.iter().position(|b| *b == b'(')?;
    let close = bytes.iter().rposition(|b| *b == b')')?;
    let pid = std::str::from_utf8(bytes.get(..open)?)
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let rest = std::str::from_utf8(bytes.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().take(20).collect();
    Some(Stat {
        pid,
        ppid: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
    })
}

/// Every process that can be seen.
pub fn all() -> impl Iterator<Item = Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?))
}

/// The direct children of a process with one thread. From the kernel's own list where there is
/// one (CONFIG_PROC_CHILDREN), else by looking at every process.
pub fn children(pid: i32) -> Vec<i32> {
    match fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
        Ok(text) => text
            .split_ascii_whitespace()
            .filter_map(|p| p.parse().ok())
            .collect(),
        Err(_) => all().filter(|s| s.ppid == pid).map(|s| s.pid).collect(),
    }
}

/// The value of an environment variable as the process was started with it.
pub fn environ(pid: i32, name: &str) -> Option<String> {
    let file = File::open(format!("/proc/{pid}/environ")).ok()?;
    let entries = BufReader::new(file.take(MAX_ENVIRON_BYTES)).split(0);
    for entry in entries {
        let entry = entry.ok()?;
        let value = entry
            .strip_prefix(name.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="));
        if let Some(value) = value {
            return String::from_utf8(value.to_vec()).ok();
        }
    }
    None
}

/// Signals the process if it still is the one for which `same` holds: the pidfd is opened before
/// the look, so a pid that was given to another process in between is never hit.
pub fn signal_if(pid: i32, signal: Signal, same: impl FnOnce() -> bool) -> bool {
    let Some(target) = Pid::from_raw(pid) else {
        return false;
    };
    let Ok(handle) = pidfd_open(target, PidfdFlags::empty()) else {
        return false;
    };
    same() && pidfd_send_signal(&handle, signal).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_confuse() {
        let line = b"42 (a) (b c) R 7 42 41 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 12345 99 1";
        let want = Stat {
            pid: 42,
            ppid: 7,
            session: 41,
            start: 12345,
            zombie: false,
        };
        assert_eq!(parse_stat(line), Some(want));
        for bad in [&b""[..], b"42", b"42 (x) R", b"x (x) R 1 2 3", b")("] {
            assert_eq!(parse_stat(bad), None);
        }
    }

    #[test]
    fn this_process_is_found() {
        let me = i32::try_from(std::process::id()).unwrap();
        let stat = stat(me).unwrap();
        assert!(all().any(|s| s == stat));
        assert_eq!(environ(me, "PATH"), std::env::var("PATH").ok());
        assert_eq!(environ(me, "PAT"), None);
        assert!(!signal_if(me, Signal::KILL, || false));
    }
}
