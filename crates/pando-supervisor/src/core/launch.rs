//! Spawning workers, and what an exit that nobody asked for leads to: restart at once, after a
//! back-off, as a crash loop, or not at all.

use std::sync::Arc;

use app_spec::{RestartPolicy, Runtime};
use node_cluster::WorkerId;

use super::app::{App, Desired};
use super::effect::{Effect, SpawnOrder};
use super::input::Exit;
use super::operation::{Failure, Goal};
use super::worker::Worker;
use super::{Context, Ms};

/// Fast exits in a row of one instance after which its back-off has reached the cap anyway.
const CRASH_LOOP_FAST_EXITS: u32 = 10;

impl App {
    /// Starts a worker in instance `index`, beside the current one if there is one.
    pub(super) fn spawn(&mut self, cx: &mut Context, index: usize, newest: bool) {
        let (spec, revision) = self.spec_to_run(newest);
        let id = cx.new_worker();
        let number = self.instances[index].number;
        let mut worker = Worker::new(
            id,
            number,
            self.free_seat(),
            revision,
            Arc::clone(&spec),
            cx.now,
        );
        let cluster = spec.is_cluster();
        worker.channel = cluster || spec.runtime() == Some(Runtime::Node);
        worker.port = if cluster {
            None
        } else {
            spec.port
                .and_then(|p| u16::try_from(u32::from(p) + number).ok())
        };
        if worker.channel {
            self.primary.join(id);
        }
        let order = SpawnOrder {
            worker: id,
            app: self.name().to_owned(),
            instance: number,
            channel: worker.channel,
            cluster,
            port: worker.port,
            spec,
        };
        self.workers.insert(id, worker);
        let instance = &mut self.instances[index];
        if instance.current.is_some() {
            instance.successor = Some(id);
        } else {
            instance.current = Some(id);
        }
        cx.emit(Effect::Spawn(order));
    }

    /// A crashed worker of a reload whose canary has not passed comes back as it was.
    fn spec_to_run(&self, newest: bool) -> (Arc<app_spec::AppSpec>, u32) {
        match &self.rollout {
            Some(rollout) if !rollout.passed && !newest => {
                (Arc::clone(&rollout.old), rollout.old_revision)
            }
            Some(_) | None => (Arc::clone(&self.spec), self.revision),
        }
    }

    fn free_seat(&self) -> usize {
        (0..)
            .find(|seat| self.workers().all(|w| w.seat != *seat))
            .unwrap_or(0)
    }

    pub(super) fn spawn_failed(&mut self, cx: &mut Context, id: WorkerId, why: String) {
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        let effects = self.primary.leave(id);
        self.carry_out(cx, effects);
        // What a next supervisor would have been told of it goes too.
        cx.emit(Effect::Forget { worker: id });
        self.problem = Some(format!("cannot be started: {why}"));
        self.ended_early(cx, &worker, &why, None);
    }

    /// The process has ended; its channel was read to the end before.
    pub(super) fn exited_worker(&mut self, cx: &mut Context, id: WorkerId, exit: Exit) {
        self.channel_closed(cx, id);
        let kind = if self.workers.get(&id).is_some_and(Worker::is_leaving) {
            "stopped"
        } else {
            "exited"
        };
        self.notice(cx, Some(id), kind, format!("worker {}: {exit}", id.0));
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        cx.emit(Effect::Forget { worker: id });
        let why = match &worker.doomed {
            Some(why) => why.clone(),
            None => match worker.refused.as_ref().filter(|_| worker.is_starting()) {
                Some(refused) => format!("it ended with {exit}: {refused}"),
                None => format!("it ended with {exit}"),
            },
        };
        self.ended_early(cx, &worker, &why, Some(exit));
    }

    /// A worker has gone: whose place was it, and what follows.
    fn ended_early(&mut self, cx: &mut Context, worker: &Worker, why: &str, exit: Option<Exit>) {
        let Some(index) = self
            .instances
            .iter()
            .position(|i| i.current == Some(worker.id) || i.successor == Some(worker.id))
        else {
            return;
        };
        if self.instances[index].successor == Some(worker.id) {
            self.instances[index].successor = None;
            self.successor_failed(cx, index, worker, why);
            return;
        }
        self.instances[index].current = None;
        if self.desired != Desired::Running {
            return;
        }
        let down = self.stays_down(worker, exit);
        let newest = worker.revision == self.revision;
        let on_trial = self.rollout.as_ref().is_some_and(|r| !r.passed);
        if newest && (on_trial || worker.ready_at.is_none() && self.rollout.is_some()) {
            if !down || exit != Some(Exit::Code(0)) {
                // A new version that was tried in an empty place: the old one comes back there.
                self.instances[index].not_before = cx.now;
                self.roll_back(cx, worker, why);
                return;
            }
            // A job that is done before it could be called ready.
            self.canary_passed(cx);
        }
        if down {
            self.put_down(index, exit);
            return;
        }
        self.note_exit(cx, index, worker, why);
        if worker.ready_at.is_none() {
            let failure = self.start_failure(worker, why);
            self.fail_operations(cx, &failure, |goal| {
                matches!(goal, Goal::Started | Goal::Running)
            });
        }
    }

    /// Whether the policy keeps the instance down.
    fn stays_down(&self, worker: &Worker, exit: Option<Exit>) -> bool {
        let code = match exit {
            Some(Exit::Code(code)) => Some(code),
            Some(Exit::Signal(_)) | None => None,
        };
        let policy = &self.spec.restart;
        let listed = code.is_some_and(|c| policy.stop_exit_codes.contains(&c));
        worker.doomed.is_none()
            && (listed
                || match policy.policy {
                    RestartPolicy::Always => false,
                    RestartPolicy::OnFailure => code == Some(0),
                    RestartPolicy::Never => exit.is_some(),
                })
    }

    fn put_down(&mut self, index: usize, exit: Option<Exit>) {
        let Some(instance) = self.instances.get_mut(index) else {
            return;
        };
        instance.done = true;
        instance.last_exit = exit.map(|e| e.to_string());
        instance.exit_code = exit.map(Exit::code);
    }

    /// Counts an exit that nobody asked for and sets when the next worker may start.
    fn note_exit(&mut self, cx: &mut Context, index: usize, worker: &Worker, why: &str) {
        let policy = self.spec.restart.clone();
        let uptime = worker.ready_at.map(|at| cx.now.saturating_sub(at));
        let fast = uptime.is_none_or(|up| up < policy.min_uptime_ms);
        let window_start = cx.now.saturating_sub(policy.window_ms);
        if fast {
            self.fast_exits.push_back(cx.now);
            self.failed = Some(worker.id);
        }
        while self.fast_exits.front().is_some_and(|at| *at < window_start) {
            self.fast_exits.pop_front();
        }
        let many = self.fast_exits.len() >= policy.max_fast_exits as usize;
        while self.fast_exits.len() > policy.max_fast_exits as usize {
            self.fast_exits.pop_front();
        }
        let instance = &mut self.instances[index];
        instance.restarts += 1;
        instance.last_exit = Some(why.to_owned());
        instance.fast_exits = if fast { instance.fast_exits + 1 } else { 0 };
        let was_looping = instance.crash_loop;
        instance.crash_loop = fast && (many || instance.fast_exits >= CRASH_LOOP_FAST_EXITS);
        let delay = if instance.crash_loop {
            policy.backoff_max_ms
        } else {
            backoff(
                instance.fast_exits,
                policy.backoff_min_ms,
                policy.backoff_max_ms,
            )
        };
        instance.not_before = cx.now + cx.random.jitter(delay);
        let begins = instance.crash_loop && !was_looping;
        self.problem = fast.then(|| why.to_owned());
        if begins {
            let text = format!("crash loop: {why}; the next try is in {} s", delay / 1000);
            self.notice(cx, None, "crash-loop", text);
        }
    }

    pub(super) fn start_failure(&self, worker: &Worker, why: &str) -> Failure {
        let name = self.name();
        Failure {
            app: name.to_owned(),
            what: format!("{name} did not start"),
            why: format!("worker {} was not ready: {why}", worker.instance),
            fix: format!(
                "mend it and `pando reload {name}`; Pando goes on trying meanwhile; \
                 `pando logs {name}` shows its output, `pando delete {name}` gives up"
            ),
            worker: Some(worker.id),
            exit_code: 1,
        }
    }
}

/// The wait before the next try after `fast` fast exits in a row: none, then doubling.
fn backoff(fast: u32, min_ms: Ms, max_ms: Ms) -> Ms {
    match fast {
        0 | 1 => 0,
        n => min_ms.saturating_mul(1 << (n - 2).min(20)).min(max_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::backoff;

    #[test]
    fn the_first_restart_is_at_once_and_the_next_double_to_the_cap() {
        let waits: Vec<u64> = (0..12).map(|n| backoff(n, 100, 30_000)).collect();
        let expect = [
            0, 0, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000,
        ];
        assert_eq!(waits, expect);
    }
}
