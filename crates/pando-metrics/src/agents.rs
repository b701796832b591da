//! The sockets of preloads. They are read once a second, each at most so far: what a worker sends
//! beyond that stays in its socket, where its own writes fail.

use std::os::fd::OwnedFd;

use monitor_spec::agent::{self, MAX_REPORT_BYTES, Report};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::engine::{Reporter, Taken};

/// Reports of a worker that are read in a second: one of each of its threads.
const READS_MAX: u32 = 36;
/// And so many more, one for each second in which nobody read.
const READS_HELD_MAX: u64 = 256;
/// Bytes of a worker that are read in a second.
const BYTES_MAX: usize = 1024 * 1024;
/// For so long a bad report is a problem of the picture.
const PROBLEM_US: u64 = 60_000_000;
/// Problems of this kind in one picture.
const PROBLEMS_MAX: usize = 8;

pub(crate) struct Agents {
    sockets: Vec<Agent>,
    last_us: u64,
    buffer: Vec<u8>,
}

struct Agent {
    from: Reporter,
    socket: OwnedFd,
    bad: Option<Bad>,
}

/// What was wrong with a worker's reports.
struct Bad {
    count: u64,
    why: String,
    last_us: u64,
}

/// What was heard beside reports.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The first bad report of each worker.
    pub bad: Vec<(Reporter, String)>,
    /// Whose sockets nobody can write to any more.
    pub ended: Vec<Reporter>,
}

impl Agents {
    pub fn new() -> Self {
        Self {
            sockets: Vec::new(),
            last_us: 0,
            buffer: Vec::new(),
        }
    }

    pub fn add(&mut self, from: Reporter, socket: OwnedFd) {
        // A supervisor that took over tells of a worker once more.
        self.sockets
            .retain(|agent| agent.from.worker != from.worker);
        self.sockets.push(Agent {
            from,
            socket,
            bad: None,
        });
    }

    /// Reads what is there. `take` is given each report and whose it is.
    pub fn read(
        &mut self,
        now_us: u64,
        mut take: impl FnMut(&Reporter, Option<Report>) -> Taken,
    ) -> Heard {
        // One byte more than there may be tells of those that are too long.
        self.buffer.resize(MAX_REPORT_BYTES + 1, 0);
        let away_s = now_us.saturating_sub(self.last_us) / 1_000_000;
        self.last_us = now_us;
        let reads = READS_MAX + away_s.min(READS_HELD_MAX) as u32;
        let mut heard = Heard::default();
        let buffer = &mut self.buffer;
        self.sockets.retain_mut(|agent| {
            // Nobody knows it yet: its reports wait in the socket. Or nobody knows it any more.
            if take(&agent.from, None) == Taken::Unknown {
                return !has_ended(&agent.socket);
            }
            let (open, why) = agent.read(now_us, reads, buffer, &mut take);
            if let Some(why) = why {
                heard.bad.push((agent.from.clone(), why));
            }
            if !open {
                heard.ended.push(agent.from.clone());
            }
            open
        });
        heard
    }

    /// What is wrong with reports, for the picture.
    pub fn problems(&self, now_us: u64) -> Vec<String> {
        let bad = self.sockets.iter().filter_map(|agent| {
            let bad = agent.bad.as_ref()?;
            let recent = now_us.saturating_sub(bad.last_us) < PROBLEM_US;
            recent.then(|| {
                let Reporter { app, instance, .. } = &agent.from;
                let (count, why) = (bad.count, &bad.why);
                format!(
                    "{count} reports of the preload of {app}.{instance} were not taken ({why}); \
                     its own numbers are incomplete"
                )
            })
        });
        bad.take(PROBLEMS_MAX).collect()
    }
}

impl Agent {
    /// Whether the socket is still open, and what was wrong if it is the first time.
    fn read(
        &mut self,
        now_us: u64,
        reads: u32,
        buffer: &mut [u8],
        take: &mut impl FnMut(&Reporter, Option<Report>) -> Taken,
    ) -> (bool, Option<String>) {
        let mut first = None;
        let mut bytes = 0;
        for _ in 0..reads {
            if bytes >= BYTES_MAX {
                break;
            }
            let length = match recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT) {
                // The end; or an empty datagram, which no preload sends.
                Ok((0, _)) => return (false, first),
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(_) => return (false, first),
            };
            bytes += length;
            let text = buffer.get(..length).unwrap_or_default();
            let why = match agent::parse(text) {
                Ok(report) => match take(&self.from, Some(report)) {
                    Taken::Yes | Taken::Unknown => continue,
                    Taken::TooMany => "more than one a second".to_owned(),
                    Taken::Nonsense => "more requests than there can be".to_owned(),
                },
                Err(error) => error.to_string(),
            };
            let bad = self.bad.get_or_insert_with(|| {
                first = Some(why.clone());
                Bad {
                    count: 0,
                    why,
                    last_us: now_us,
                }
            });
            bad.count += 1;
            bad.last_us = now_us;
        }
        (true, first)
    }
}

/// Nobody writes to it any more, whatever is still in it.
fn has_ended(socket: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::empty())];
    // An error is none of the socket's: it is looked at again in a second.
    poll(&mut fds, Some(&Timespec::default())).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
    }

    fn reporter(worker: u32) -> Reporter {
        Reporter {
            app: "api".into(),
            worker,
            instance: 0,
        }
    }

    fn say(socket: &OwnedFd, text: &[u8]) -> bool {
        send(socket, text, SendFlags::NOSIGNAL).is_ok()
    }

    #[test]
    fn reports_are_read_and_nonsense_is_told_once() {
        let (ours, theirs) = pair();
        let mut agents = Agents::new();
        agents.add(reporter(1), ours);
        assert!(say(&theirs, br#"{"v":1}"#) && say(&theirs, b"hello") && say(&theirs, b"again"));
        let mut taken = 0;
        let mut take = |_: &Reporter, report: Option<Report>| {
            taken += u32::from(report.is_some());
            Taken::Yes
        };
        let bad = agents.read(5, &mut take).bad;
        assert_eq!(bad.len(), 1);
        assert!(bad[0].1.contains("not a report"), "{bad:?}");
        assert!(say(&theirs, b"more"));
        assert!(agents.read(5, &mut take).bad.is_empty());
        assert_eq!(taken, 1);
        let problems = agents.problems(6);
        assert!(
            problems[0].contains("3 reports of the preload of api.0"),
            "{problems:?}"
        );
        assert!(agents.problems(PROBLEM_US * 2).is_empty());
        drop(theirs);
        let ended = agents.read(7, |_, _| Taken::Yes).ended;
        assert_eq!(ended, [reporter(1)]);
        assert!(agents.sockets.is_empty());
    }

    #[test]
    fn a_flood_stays_in_its_socket() {
        let (ours, theirs) = pair();
        let mut agents = Agents::new();
        agents.add(reporter(1), ours);
        let mut sent = 0;
        while say(&theirs, br#"{"v":1}"#) {
            sent += 1;
        }
        assert!(sent > READS_MAX, "{sent}");
        let mut taken = 0;
        agents.read(1, |_, report| {
            taken += u32::from(report.is_some());
            Taken::TooMany
        });
        assert_eq!(taken, READS_MAX);
        // After a time away what was held meanwhile is read too.
        agents.read(20_000_001, |_, report| {
            taken += u32::from(report.is_some());
            Taken::TooMany
        });
        assert_eq!(taken, (2 * READS_MAX + 20).min(sent));
    }

    #[test]
    fn the_socket_of_one_that_ended_unknown_is_closed() {
        let (ours, theirs) = pair();
        let mut agents = Agents::new();
        agents.add(reporter(1), ours);
        say(&theirs, br#"{"v":1}"#);
        drop(theirs);
        agents.read(1, |_, _| Taken::Unknown);
        assert!(agents.sockets.is_empty());
    }

    #[test]
    fn reports_of_one_that_nobody_knows_wait() {
        let (ours, theirs) = pair();
        let mut agents = Agents::new();
        agents.add(reporter(1), ours);
        say(&theirs, br#"{"v":1}"#);
        agents.read(1, |_, _| Taken::Unknown);
        let mut taken = 0;
        agents.read(1, |_, report| {
            taken += u32::from(report.is_some());
            Taken::Yes
        });
        assert_eq!(taken, 1);
    }
}
