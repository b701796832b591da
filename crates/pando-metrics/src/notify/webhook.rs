//! Messages by POST.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::{Problems, delivered, fail};
use crate::post::{self, Sent};

const LIMIT: Duration = Duration::from_secs(10);
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Also of what a server asks for: the others in the queue wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

pub(super) struct Job {
    pub url: String,
    /// The URL without what is secret of it.
    pub place: String,
    pub body: String,
}

pub(super) fn run(jobs: Receiver<Job>, problems: Problems) {
    let agent = post::agent(LIMIT);
    for job in jobs {
        let send = || {
            post::post(
                &agent,
                &job.url,
                "application/json",
                [],
                job.body.as_bytes(),
                post::webhook_may_work_later,
            )
        };
        match deliver(send, std::thread::sleep) {
            Ok(()) => delivered(&problems, &job.place),
            Err(why) => fail(&problems, &job.place, &why),
        }
    }
}

fn deliver(mut send: impl FnMut() -> Sent, mut sleep: impl FnMut(Duration)) -> Result<(), String> {
    let mut attempt = 1;
    loop {
        match send() {
            Sent::Done => return Ok(()),
            Sent::Refused(why) => return Err(why),
            Sent::Later { why, .. } if attempt == TRIES => {
                return Err(format!("{why} (tried {TRIES} times)"));
            }
            Sent::Later { after, .. } => {
                let pause = post::pause(FIRST_PAUSE, LONGEST_PAUSE, attempt);
                sleep(after.unwrap_or(pause).min(LONGEST_PAUSE));
                attempt += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_tries_and_the_servers_wish() {
        let mut slept = Vec::new();
        let later = |after| Sent::Later {
            after,
            why: "busy".into(),
        };
        let mut answers = vec![
            later(Some(Duration::from_secs(7))),
            later(Some(Duration::from_secs(3600))),
            Sent::Done,
        ]
        .into_iter();
        let done = deliver(|| answers.next().unwrap(), |pause| slept.push(pause));
        assert_eq!(done, Ok(()));
        assert_eq!(slept, [Duration::from_secs(7), LONGEST_PAUSE]);
        let mut count = 0;
        let failed = deliver(
            || {
                count += 1;
                later(None)
            },
            |_| {},
        );
        assert_eq!(failed, Err("busy (tried 4 times)".into()));
        assert_eq!(count, TRIES);
        assert_eq!(
            deliver(|| Sent::Refused("no".into()), |_| {}),
            Err("no".into())
        );
    }
}
