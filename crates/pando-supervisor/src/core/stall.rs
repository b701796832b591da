//! Stalled event loops. A ping (a `newconn` with an unknown key) is answered by the loop itself.
//! Two findings make a stall: a ping unanswered for long, or one unanswered for a short while with
//! connections waiting in the worker's queue. Both need another worker that answered since, else
//! it is the machine that is slow. Two answers in time end it.

use node_cluster::{HandleKey, PingId, WorkerId};

use super::app::App;
use super::worker::{Pings, Worker};
use super::{Context, Ms};

/// Between pings while there is another worker to steer to.
const PING_EVERY_MS: Ms = 250;
/// Between pings of a worker that a gateway sends requests to and that is busy: their round trips
/// are what the gateway balances by.
const PING_BUSY_EVERY_MS: Ms = 100;
/// A round trip from which on a worker is busy.
const BUSY_US: u64 = 1_000;
/// Between pings of an app's only worker: nobody can help it, but it may be stuck for good.
const PING_ALONE_EVERY_MS: Ms = 1_000;
/// No answer for this long is a stall (traps: 50 ms gave false alarms under load).
const STALLED_AFTER_MS: Ms = 150;
/// No answer for this long while connections wait is one too.
const STALLED_WITH_QUEUE_AFTER_MS: Ms = 45;
/// No answer for this long is one whatever the others do: a machine is not that slow while we run.
const ALL_STALLED_AFTER_MS: Ms = 1_000;
/// Until a worker is judged again for which the others had to be asked.
const JUDGE_AGAIN_MS: Ms = 20;
/// Answers in time that end a stall.
const GOOD_PONGS: u32 = 2;
/// A loop that has not turned for this long never will: the worker is replaced.
pub(super) const STUCK_AFTER_MS: Ms = 30_000;
/// A tick this late says that we did not run, so answers may wait unread: no judgement.
const PAUSE_MS: Ms = 100;

impl Pings {
    /// A round trip. Peaks count at once, and are forgotten by a quarter with each shorter one.
    fn measure(&mut self, us: u64) {
        self.lag_us = if us >= self.lag_us {
            us
        } else {
            self.lag_us - (self.lag_us - us).div_ceil(4)
        };
    }
}

impl App {
    /// After a pause of our own, what is outstanding counts from now.
    pub(super) fn forgive_pause(&mut self, now: Ms) {
        if self.last_tick == 0 || now.saturating_sub(self.last_tick) <= PAUSE_MS {
            return;
        }
        let quiet = self
            .next_deadline()
            .is_none_or(|due| now <= due.saturating_add(PAUSE_MS));
        if quiet {
            return;
        }
        for worker in self.workers.values_mut() {
            if let Some((_, sent)) = &mut worker.pings.outstanding {
                *sent = now;
            }
        }
    }

    pub(super) fn ping_deadline(&self, worker: &Worker) -> Option<Ms> {
        if !worker.is_ready() || !worker.has_channel() {
            return None;
        }
        let pings = &worker.pings;
        let due = match (pings.outstanding, pings.stalled_since) {
            (Some(_), Some(since)) if !pings.told => since + STALLED_AFTER_MS,
            (Some(_), Some(since)) if worker.replace.is_none() => since + STUCK_AFTER_MS,
            (Some(_), Some(_)) => return None,
            (Some((_, sent)), None) if pings.queued > 0 => sent + STALLED_WITH_QUEUE_AFTER_MS,
            (Some((_, sent)), None) => sent + STALLED_AFTER_MS,
            (None, _) => pings.next_at,
        };
        Some(due.max(pings.judge_at))
    }

    pub(super) fn check_pings(&mut self, cx: &mut Context, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        if !worker.is_ready() || !worker.has_channel() {
            return;
        }
        match worker.pings.outstanding {
            None if cx.now >= worker.pings.next_at => self.send_ping(cx, id),
            None => {}
            Some((_, sent)) => self.judge(cx, id, sent),
        }
    }

    fn send_ping(&mut self, cx: &mut Context, id: WorkerId) {
        let (ping, effects) = self.primary.ping(id);
        if let Some(worker) = self.workers.get_mut(&id) {
            // Nothing is sent to a process that would not answer: Bun, or Node in fork mode.
            if effects.is_empty() {
                worker.pings.next_at = cx.now + PING_ALONE_EVERY_MS;
            } else {
                worker.pings.outstanding = Some((ping, cx.now));
            }
        }
        self.carry_out(cx, effects);
    }

    fn judge(&mut self, cx: &mut Context, id: WorkerId, sent: Ms) {
        let waited = cx.now.saturating_sub(sent);
        let others_answer = self
            .workers()
            .any(|w| w.id != id && w.is_available() && w.pings.last_pong >= sent);
        let alone = !self.workers().any(|w| w.id != id && w.is_ready());
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if worker.is_stalled() {
            self.tell_stall(cx, id);
            let Some(worker) = self.workers.get_mut(&id) else {
                return;
            };
            if worker.is_stuck(cx.now) && worker.replace.is_none() {
                let why = "its event loop has not turned for 30 s".to_owned();
                worker.replace = Some(why.clone());
                self.notice(cx, Some(id), "stuck", why);
            }
            return;
        }
        let late = waited >= STALLED_AFTER_MS
            || (worker.pings.queued > 0 && waited >= STALLED_WITH_QUEUE_AFTER_MS);
        if late && (others_answer || alone || waited >= ALL_STALLED_AFTER_MS) {
            worker.pings.stalled_since = Some(sent);
            worker.pings.good = 0;
            worker.pings.told = false;
            self.tell_stall(cx, id);
        } else if late {
            worker.pings.judge_at = cx.now + JUDGE_AGAIN_MS;
            self.ask_the_others(cx, id);
        }
    }

    /// Tells of a stall that has lasted. Shorter ones are steered around in silence: on a busy
    /// machine they are many, and nothing is to be done about them.
    fn tell_stall(&mut self, cx: &mut Context, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let Some(since) = worker.pings.stalled_since.filter(|_| !worker.pings.told) else {
            return;
        };
        let waited = cx.now.saturating_sub(since);
        if waited >= STALLED_AFTER_MS {
            worker.pings.told = true;
            let queued = worker.pings.queued;
            let text = format!("no answer for {waited} ms, {queued} connections waiting");
            self.notice(cx, Some(id), "stalled", text);
        }
    }

    /// Whether it is this worker or the machine: fresh pings to the others tell.
    fn ask_the_others(&mut self, cx: &mut Context, id: WorkerId) {
        let others: Vec<WorkerId> = self
            .workers()
            .filter(|w| w.id != id && w.is_ready() && w.has_channel())
            .filter(|w| w.pings.outstanding.is_none())
            .map(|w| w.id)
            .collect();
        for other in others {
            self.send_ping(cx, other);
        }
        // Looked at again when an answer comes or the longer limit is over.
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.pings.queued = 0;
        }
    }

    pub(super) fn queued(&mut self, cx: &mut Context, key: &HandleKey, seat: usize, waiting: u32) {
        let Some(id) = self
            .workers()
            .find(|w| w.seat == seat && w.is_ready() && w.listening.contains(key))
            .map(|w| w.id)
        else {
            return;
        };
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.pings.queued = waiting;
        if waiting == 0 || !worker.has_channel() {
            return;
        }
        match worker.pings.outstanding {
            None => {
                self.send_ping(cx, id);
                self.ask_the_others(cx, id);
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.pings.queued = waiting;
                }
            }
            Some((_, sent)) => self.judge(cx, id, sent),
        }
    }

    pub(super) fn pong(&mut self, cx: &mut Context, id: WorkerId, ping: PingId) {
        let alone = self.workers().filter(|w| w.is_ready()).count() < 2;
        let routed = self.private.wanted;
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let Some((expected, sent)) = worker.pings.outstanding else {
            return;
        };
        if expected != ping {
            return;
        }
        worker.pings.outstanding = None;
        worker.pings.last_pong = cx.now;
        worker.pings.measure(cx.now.saturating_sub(sent) * 1_000);
        let in_time = cx.now.saturating_sub(sent) < STALLED_AFTER_MS;
        let Some(since) = worker.pings.stalled_since else {
            let busy = worker.pings.lag_us >= BUSY_US;
            let every = match (routed, alone) {
                (true, _) if busy => PING_BUSY_EVERY_MS,
                (false, true) => PING_ALONE_EVERY_MS,
                (true, _) | (false, false) => PING_EVERY_MS,
            };
            worker.pings.next_at = cx.now + every;
            return;
        };
        worker.pings.good = if in_time { worker.pings.good + 1 } else { 0 };
        if worker.pings.good >= GOOD_PONGS {
            worker.pings.stalled_since = None;
            worker.pings.next_at = cx.now + PING_EVERY_MS;
            if worker.pings.told {
                let text = format!("answers again after {} ms", cx.now.saturating_sub(since));
                self.notice(cx, Some(id), "recovered", text);
            }
        } else {
            self.send_ping(cx, id);
        }
    }
}
