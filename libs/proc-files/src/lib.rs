//! Files of /proc as numbers (proc(5)). A process may end between two reads, so everything is an
//! `Option`.

mod family;

use std::fs::{self, File};
use std::io::Read;

pub use family::Families;

/// Longer files are cut; the lines that are looked for come first.
const FILE_MAX: u64 = 64 * 1024;

/// Reads small files into one buffer.
#[derive(Debug, Default)]
pub struct Reader(String);

impl Reader {
    /// The file's text; `None` where it cannot be read.
    pub fn read(&mut self, path: &str) -> Option<&str> {
        self.0.clear();
        let file = File::open(path).ok()?;
        file.take(FILE_MAX).read_to_string(&mut self.0).ok()?;
        Some(&self.0)
    }
}

/// Of /proc/PID/stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub parent: u32,
    pub cpu_ticks: u64,
    pub threads: u64,
    /// When it began, in ticks since boot: tells processes with one pid apart.
    pub began: u64,
    pub resident_pages: u64,
}

impl Stat {
    /// Resident memory.
    pub fn memory_bytes(&self) -> u64 {
        self.resident_pages
            .saturating_mul(rustix::param::page_size() as u64)
    }

    /// Time on a CPU since it began, in microseconds, to the precision of a tick.
    pub fn cpu_us(&self) -> u64 {
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        self.cpu_ticks.saturating_mul(1_000_000) / per_second
    }
}

/// Of a process now.
pub fn stat(reader: &mut Reader, pid: u32) -> Option<Stat> {
    parse_stat(reader.read(&format!("/proc/{pid}/stat"))?)
}

/// Open descriptors of a process, in O(1): the size of its fd directory (Linux 6.2).
pub fn descriptors(pid: u32) -> Option<u64> {
    let path = format!("/proc/{pid}/fd");
    let size = fs::metadata(&path).ok()?.len();
    if size > 0 {
        return Some(size);
    }
    Some(fs::read_dir(path).ok()?.count() as u64)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The command may hold spaces and parentheses: fields count from the last one.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    // state 0, ppid 1, utime 11, stime 12, num_threads 17, starttime 19, rss 21
    let parent = fields.nth(1)?.parse().ok()?;
    let user: u64 = fields.nth(9)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let threads = fields.nth(4)?.parse().ok()?;
    let began = fields.nth(1)?.parse().ok()?;
    let resident_pages = fields.nth(1)?.parse().ok()?;
    Some(Stat {
        parent,
        cpu_ticks: user.saturating_add(system),
        threads,
        began,
        resident_pages,
    })
}

/// Of /proc/PID/schedstat: nanoseconds on a CPU and waiting for one, and how often it was run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sched {
    pub run_ns: u64,
    pub wait_ns: u64,
    pub slices: u64,
}

pub fn sched(text: &str) -> Option<Sched> {
    let mut fields = text.split_ascii_whitespace();
    Some(Sched {
        run_ns: fields.next()?.parse().ok()?,
        wait_ns: fields.next()?.parse().ok()?,
        slices: fields.next()?.parse().ok()?,
    })
}

/// The number of `KEY: 123 kB` in bytes.
pub fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number = line
        .trim_start_matches(':')
        .split_ascii_whitespace()
        .next()?;
    number.parse::<u64>().ok()?.checked_mul(1024)
}

/// Where a main thread is: /proc/PID/syscall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Running,
    /// Waits for events of this descriptor.
    Polls(u64),
    Elsewhere,
}

/// `epoll_wait`, `epoll_pwait` and `epoll_pwait2` of this architecture.
#[cfg(target_arch = "x86_64")]
const EPOLL: [u64; 3] = [232, 281, 441];
#[cfg(not(target_arch = "x86_64"))]
const EPOLL: [u64; 3] = [22, 22, 441];

pub fn place(text: &str) -> Option<Place> {
    let mut fields = text.split_ascii_whitespace();
    let number = fields.next()?;
    if number == "running" {
        return Some(Place::Running);
    }
    let Ok(number) = number.parse::<u64>() else {
        // -1: in the kernel, but in no call.
        return Some(Place::Elsewhere);
    };
    if !EPOLL.contains(&number) {
        return Some(Place::Elsewhere);
    }
    let fd = fields.next()?.strip_prefix("0x")?;
    Some(Place::Polls(u64::from_str_radix(fd, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_proc() {
        let text = "12 (a b) c) S 7 12 12 0 -1 4194560 9 0 0 0 150 50 3 4 20 0 11 0 9876 \
                    1000 321 18446744073709551615 1";
        let stat = parse_stat(text).unwrap();
        let expect = Stat {
            parent: 7,
            cpu_ticks: 200,
            threads: 11,
            began: 9_876,
            resident_pages: 321,
        };
        assert_eq!(stat, expect);
        assert_eq!(parse_stat("1 (x"), None);
        assert_eq!(parse_stat("1 (x) S 1"), None);
        let sched = sched("100 20 3\n").unwrap();
        assert_eq!((sched.run_ns, sched.wait_ns, sched.slices), (100, 20, 3));
        let rollup = "00-ff ---p [rollup]\nRss:  9 kB\nPss:   123 kB\nPss_Dirty: 4 kB\n";
        assert_eq!(kilobytes(rollup, "Pss:"), Some(123 * 1024));
        assert_eq!(kilobytes(rollup, "Swap:"), None);
    }

    #[test]
    fn where_a_thread_is() {
        assert_eq!(place("running\n"), Some(Place::Running));
        assert_eq!(place("-1 0x7ff 0x1\n"), Some(Place::Elsewhere));
        assert_eq!(place("202 0x1f 0x0\n"), Some(Place::Elsewhere));
        assert_eq!(
            place(&format!("{} 0xd 0x7f\n", EPOLL[0])),
            Some(Place::Polls(13))
        );
        assert_eq!(place(""), None);
    }

    #[test]
    fn this_process_is_read() {
        let mut reader = Reader::default();
        let pid = std::process::id();
        let me = stat(&mut reader, pid).unwrap();
        assert!(me.threads >= 1 && me.resident_pages > 10);
        assert!(me.memory_bytes() > 100_000 && descriptors(pid).unwrap() >= 3);
        assert_eq!(stat(&mut reader, u32::MAX), None);
        assert!(sched(reader.read("/proc/self/schedstat").unwrap()).is_some());
        assert_eq!(reader.read("/proc/self/no-such-file"), None);
    }
}
