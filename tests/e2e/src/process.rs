//! What /proc tells about processes, and ending them by their id.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal};

/// Ticks of utime and stime a second (`sysconf(_SC_CLK_TCK)`; 100 on every Linux there is).
const TICKS_PER_SECOND: u64 = 100;
const MAX_TREE: usize = 10_000;

/// The fields of /proc/PID/stat used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub pid: u32,
    pub parent: u32,
    pub state: char,
    /// User and system time of the process, microseconds.
    pub cpu_us: u64,
}

/// `None` when there is no such process.
pub fn stat(pid: u32) -> Option<Stat> {
    parse_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(pid: u32, text: &str) -> Option<Stat> {
    // The name is in brackets and may hold anything, so the fields start after the last one.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        pid,
        parent: u32::try_from(number(1)?).ok()?,
        state: fields.first()?.chars().next()?,
        cpu_us: (number(11)? + number(12)?) * 1_000_000 / TICKS_PER_SECOND,
    })
}

/// It exists and is no zombie.
pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z')
}

/// Resident memory in bytes, 0 when there is no such process.
pub fn rss_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Every process there is now.
pub fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(stat)
        .collect()
}

/// `pid` and all that descend from it, parents first.
pub fn tree(pid: u32) -> Vec<u32> {
    let all = all();
    let mut found = vec![pid];
    let mut at = 0;
    while at < found.len() && found.len() < MAX_TREE {
        let parent = found[at];
        found.extend(
            all.iter()
                .filter(|stat| stat.parent == parent)
                .map(|stat| stat.pid),
        );
        at += 1;
    }
    found
}

/// User and system time of the processes together, microseconds.
pub fn cpu_us(pids: &[u32]) -> u64 {
    pids.iter()
        .filter_map(|pid| stat(*pid))
        .map(|stat| stat.cpu_us)
        .sum()
}

/// Processes that have `name=value` in the environment they were started with.
pub fn with_env(name: &str, value: &str) -> Vec<u32> {
    let wanted = format!("{name}={value}");
    let has = |pid: u32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ
            .split(|byte| *byte == 0)
            .any(|entry| entry == wanted.as_bytes())
    };
    all()
        .into_iter()
        .map(|stat| stat.pid)
        .filter(|pid| has(*pid))
        .collect()
}

pub fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .replace('\0', " ")
        .trim()
        .to_owned()
}

pub fn executable(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// The soft limit of open files of a process.
pub fn open_files_limit(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let word = line.split_whitespace().next()?;
    if word == "unlimited" {
        Some(u64::MAX)
    } else {
        word.parse().ok()
    }
}

/// Sends a signal; a process that is gone is fine.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// Waits until none of them runs; false when one still does after `limit`.
pub fn wait_gone(pids: &[u32], limit: Duration) -> bool {
    crate::wait::until(limit, || !pids.iter().any(|pid| is_alive(*pid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let text = "7 (a) b) (c)) S 3 7 7 0 -1 4194560 1 0 0 0 25 5 0 0 20 0 1 0 100 0 0";
        let stat = parse_stat(7, text).unwrap();
        assert_eq!(
            stat,
            Stat {
                pid: 7,
                parent: 3,
                state: 'S',
                cpu_us: 300_000
            }
        );
    }

    #[test]
    fn this_process_is_alive_and_in_its_own_tree() {
        let pid = std::process::id();
        assert!(is_alive(pid));
        assert_eq!(tree(pid)[0], pid);
        assert!(rss_bytes(pid) > 0);
    }
}
