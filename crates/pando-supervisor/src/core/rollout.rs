//! Reloads and replacements: the successor first, and the first one is a canary. If the canary
//! fails, everything stays as it was; if a later one fails, what was replaced goes back.
//!
//! It is driven by a goal, not by a list of steps: an instance whose worker is of an older
//! revision, or is marked to be replaced, wants a successor. So a crash in the middle, a scale or
//! a second look change nothing in the logic.

use std::sync::Arc;

use app_spec::AppSpec;
use node_cluster::WorkerId;

use super::app::{App, Desired};
use super::effect::Effect;
use super::operation::{Failure, Goal, OpId, Outcome};
use super::worker::{RetireStyle, Worker};
use super::{Context, Ms};

/// A reload on its way.
#[derive(Debug)]
pub(super) struct Rollout {
    pub old: Arc<AppSpec>,
    pub old_revision: u32,
    /// The canary was ready: the new spec is journaled and further successors may start.
    pub passed: bool,
    /// A place that its policy kept down, tried again for want of another; with its exit code.
    woken: Option<(u32, Option<i32>)>,
}

/// The longest that a ready canary is watched before others follow.
const TRIAL_MAX_MS: Ms = 1_000;
/// Seconds over the limit in a row before a worker is replaced: one look may catch a peak.
const OVER_MEMORY_LOOKS: u32 = 3;

impl App {
    pub(super) fn order_reload(&mut self, cx: &mut Context, op: OpId, spec: Option<AppSpec>) {
        if self.desired == Desired::Stopped {
            self.order_start(cx, op, spec);
            return;
        }
        if self.refuse_during_rollout(cx, op) {
            return;
        }
        self.begin_rollout(spec.unwrap_or_else(|| (*self.spec).clone()));
        self.begin(op, Goal::Reloaded(self.revision), "reloaded");
        self.notice(cx, None, "reload", "reload begins");
    }

    /// One reload at a time, and no other change of the spec beside it.
    pub(super) fn refuse_during_rollout(&self, cx: &mut Context, op: OpId) -> bool {
        if self.rollout.is_none() {
            return false;
        }
        let name = self.name();
        let failure = Failure {
            app: name.to_owned(),
            what: format!("{name} is being reloaded already"),
            why: "one reload at a time: the second would not know what to fall back to".into(),
            fix: format!("wait for it (`pando ls {name}`), or `pando restart {name}`"),
            worker: None,
            exit_code: 1,
        };
        cx.emit(Effect::Finished {
            op,
            outcome: Outcome::Failed(failure),
        });
        true
    }

    pub(super) fn begin_rollout(&mut self, spec: AppSpec) {
        let all_done = self.instances.iter().all(|i| i.done);
        let woken = self.instances.first_mut().filter(|_| all_done).map(|i| {
            i.done = false;
            (i.number, i.exit_code)
        });
        self.rollout = Some(Rollout {
            old: Arc::clone(&self.spec),
            old_revision: self.revision,
            passed: false,
            woken,
        });
        self.spec = Arc::new(spec);
        self.revision += 1;
    }

    /// Starts what is missing and what is to be replaced, as far as it may go at once.
    pub(super) fn advance(&mut self, cx: &mut Context) {
        self.check_trial(cx);
        self.finish_rollout(cx);
        let canary_only = self.rollout.as_ref().is_some_and(|r| !r.passed);
        let wanted = self.instances.len();
        let at_once = if canary_only { 1 } else { (wanted / 4).max(1) };
        let leaving_at_most = (wanted / 2).max(1);
        for index in self.order_of_work() {
            let instance = &self.instances[index];
            if instance.done || cx.now < instance.not_before && !self.is_canary_place(index) {
                continue;
            }
            match instance.current {
                None if instance.successor.is_none() && self.is_vacant(index) => {
                    let newest = !canary_only || self.is_canary_place(index);
                    self.spawn(cx, index, newest);
                }
                Some(current) if instance.successor.is_none() && self.is_outdated(current) => {
                    let coming = self.instances.iter().filter(|i| i.is_incomplete()).count();
                    let canary_runs = canary_only && self.has_canary();
                    let leaving = self.workers().filter(|w| w.is_leaving()).count();
                    if coming < at_once && !canary_runs && leaving < leaving_at_most {
                        self.replace_at(cx, index, current);
                    }
                }
                None | Some(_) => {}
            }
        }
    }

    /// The successor first; but where two can't hold one port, the old one leaves first.
    fn replace_at(&mut self, cx: &mut Context, index: usize, current: WorkerId) {
        let alone = self
            .workers
            .get(&current)
            .is_some_and(Worker::holds_its_port);
        if alone {
            self.instances[index].current = None;
            self.count_replacement(index, current);
            self.retire(cx, current, RetireStyle::Gentle);
        } else {
            self.spawn(cx, index, true);
        }
    }

    /// A replacement that nobody asked for is a restart.
    pub(super) fn count_replacement(&mut self, index: usize, old: WorkerId) {
        if let Some(why) = self.workers.get(&old).and_then(|w| w.replace.clone()) {
            let instance = &mut self.instances[index];
            instance.restarts += 1;
            instance.last_exit = Some(why);
        }
    }

    /// Nobody who leaves still holds the port of this place.
    pub(super) fn is_vacant(&self, index: usize) -> bool {
        let number = self.instances[index].number;
        !self
            .workers()
            .any(|w| w.instance == number && w.is_leaving() && w.holds_its_port())
    }

    /// Instances without a worker first, then those whose worker is not well.
    fn order_of_work(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.instances.len()).collect();
        order.sort_by_key(|i| {
            let current = self.instances[*i]
                .current
                .and_then(|w| self.workers.get(&w));
            match current {
                None => 0,
                Some(w) if !w.is_available() => 1,
                Some(_) => 2,
            }
        });
        order
    }

    /// In a reload before its canary: with no worker in this place and no canary elsewhere, the
    /// new version is tried right here, whatever back-off the old one has earned.
    fn is_canary_place(&self, index: usize) -> bool {
        self.rollout.as_ref().is_some_and(|r| !r.passed)
            && self.instances[index].is_empty()
            && !self.has_canary()
    }

    fn has_canary(&self) -> bool {
        self.workers().any(|w| w.revision == self.revision)
    }

    fn is_outdated(&self, id: WorkerId) -> bool {
        self.workers
            .get(&id)
            .is_some_and(|w| w.revision != self.revision || w.replace.is_some())
    }

    /// A worker has become ready.
    pub(super) fn became_ready(&mut self, cx: &mut Context, id: WorkerId) {
        let on_trial = self.rollout.as_ref().is_some_and(|r| !r.passed);
        let newest = self
            .workers
            .get(&id)
            .is_some_and(|w| w.revision == self.revision);
        if on_trial && newest {
            self.check_trial(cx);
        } else if let Some(index) = self.instances.iter().position(|i| i.successor == Some(id)) {
            self.take_over(cx, index);
        }
    }

    /// How long a canary must stay up after it was ready. A build that is ready and then throws
    /// is as bad as one that throws at once, and now everything can still stay as it was.
    fn trial_ms(&self) -> Ms {
        self.spec.restart.min_uptime_ms.min(TRIAL_MAX_MS)
    }

    pub(super) fn trial_deadline(&self) -> Option<Ms> {
        self.rollout.as_ref().filter(|r| !r.passed)?;
        let canary = self
            .workers()
            .find(|w| w.is_ready() && w.revision == self.revision)?;
        Some(canary.ready_at? + self.trial_ms())
    }

    /// The canary has stayed up: it takes its place, and the others may follow.
    fn check_trial(&mut self, cx: &mut Context) {
        if self.trial_deadline().is_none_or(|due| cx.now < due) {
            return;
        }
        let revision = self.revision;
        self.canary_passed(cx);
        let is_canary = |w: &Worker| w.is_ready() && w.revision == revision;
        let place = self.instances.iter().position(|i| {
            let successor = i.successor.and_then(|w| self.workers.get(&w));
            successor.is_some_and(is_canary)
        });
        if let Some(index) = place {
            self.take_over(cx, index);
        }
    }

    /// The new version works: it is journaled, and no place keeps what the old one has earned.
    pub(super) fn canary_passed(&mut self, cx: &mut Context) {
        let Some(rollout) = self.rollout.as_mut().filter(|r| !r.passed) else {
            return;
        };
        rollout.passed = true;
        self.problem = None;
        self.fast_exits.clear();
        for instance in &mut self.instances {
            instance.done = false;
            instance.crash_loop = false;
            instance.fast_exits = 0;
            instance.not_before = cx.now;
        }
        self.persist(cx);
        let wanted = self.spec.instances.resolve(cx.cores);
        self.set_wanted(cx, wanted);
        self.picker = super::steering::picker(self.spec.balance);
    }

    /// A successor ended before it was ready, or was not ready in time.
    pub(super) fn successor_failed(
        &mut self,
        cx: &mut Context,
        index: usize,
        worker: &Worker,
        why: &str,
    ) {
        if self.rollout.is_some() && worker.revision == self.revision {
            self.roll_back(cx, worker, why);
            return;
        }
        // A replacement: the one before stays, and the next try waits.
        let instance = &mut self.instances[index];
        instance.fast_exits += 1;
        let wait = self.spec.restart.backoff_min_ms << instance.fast_exits.min(16);
        instance.not_before = cx.now + wait.min(self.spec.restart.backoff_max_ms);
        instance.last_exit = Some(why.to_owned());
    }

    /// The new version does not work: back to the old one.
    pub(super) fn roll_back(&mut self, cx: &mut Context, worker: &Worker, why: &str) {
        let Some(rollout) = self.rollout.take() else {
            return;
        };
        let failed = self.revision;
        self.spec = Arc::clone(&rollout.old);
        if let Some((number, exit_code)) = rollout.woken.filter(|_| !rollout.passed)
            && let Some(i) = self.instances.iter_mut().find(|i| i.number == number)
        {
            i.done = true;
            i.exit_code = exit_code;
        }
        // New workers that are ready go back one by one, because their revision is not this one.
        self.revision = if rollout.passed {
            failed + 1
        } else {
            rollout.old_revision
        };
        if rollout.passed {
            for w in self
                .workers
                .values_mut()
                .filter(|w| w.revision == rollout.old_revision)
            {
                w.revision = failed + 1;
            }
            self.persist(cx);
            let wanted = self.spec.instances.resolve(cx.cores);
            self.set_wanted(cx, wanted);
        }
        self.picker = super::steering::picker(self.spec.balance);
        let name = self.name().to_owned();
        let failure = Failure {
            app: name.clone(),
            what: if self.ready_count() > 0 {
                format!("the reload of {name} failed; the old version still serves")
            } else {
                format!("the reload of {name} failed; the old version does not run either")
            },
            why: format!("the new worker {} was not ready: {why}", worker.instance),
            fix: format!("mend it and `pando reload {name}` again"),
            worker: Some(worker.id),
            exit_code: 1,
        };
        self.notice(cx, None, "reload-failed", failure.why.clone());
        self.problem = Some(format!("the last reload failed: {why}"));
        self.fail_operations(cx, &failure, |goal| matches!(goal, Goal::Reloaded(_)));
    }

    /// The reload is over when every instance has a ready worker of the new revision.
    fn finish_rollout(&mut self, cx: &mut Context) {
        let Some(rollout) = &self.rollout else { return };
        let over = rollout.passed
            && self.instances.iter().all(|i| {
                i.done
                    || i.successor.is_none()
                        && i.current
                            .and_then(|w| self.workers.get(&w))
                            .is_some_and(|w| w.is_ready() && w.revision == self.revision)
            })
            && !self.workers().any(Worker::is_leaving);
        if over {
            self.rollout = None;
            self.close_unused(cx);
            self.notice(cx, None, "reloaded", "every worker is of the new version");
        }
    }

    pub(super) fn usage(
        &mut self,
        cx: &mut Context,
        id: WorkerId,
        memory_bytes: u64,
        connections: u32,
        timed: bool,
    ) {
        let limit = self.spec.memory_bytes;
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.memory_bytes = memory_bytes;
        worker.connections = connections;
        let over = limit.is_some_and(|limit| memory_bytes > limit);
        if timed {
            worker.over_memory = if over { worker.over_memory + 1 } else { 0 };
        }
        if worker.over_memory < OVER_MEMORY_LOOKS || !worker.is_ready() || worker.replace.is_some()
        {
            return;
        }
        let mb = |bytes: u64| bytes / (1024 * 1024);
        let why = format!(
            "memory {} MB over {} MB",
            mb(memory_bytes),
            mb(limit.unwrap_or(0))
        );
        worker.replace = Some(why.clone());
        self.notice(
            cx,
            Some(id),
            "memory-limit",
            format!("{why}: replacing the worker"),
        );
    }
}
