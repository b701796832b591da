//! What a caller waits for: an order ends when the app is as ordered, or can't be.

use node_cluster::WorkerId;

use super::app::App;
use super::{Context, Effect};

/// One order of one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

#[derive(Clone, Debug)]
pub enum Outcome {
    /// One sentence on what was done.
    Done(String),
    Failed(Failure),
}

#[derive(Clone, Debug, Default)]
pub struct Failure {
    pub app: String,
    pub what: String,
    pub why: String,
    pub fix: String,
    /// Whose last stderr lines explain it.
    pub worker: Option<WorkerId>,
    /// 1: tried and failed; 2: the order itself was wrong.
    pub exit_code: u8,
}

impl Failure {
    pub fn unknown_app(name: &str) -> Self {
        Self {
            app: name.to_owned(),
            what: format!("there is no app {name:?}"),
            why: String::new(),
            fix: "`pando ls` shows the apps".to_owned(),
            worker: None,
            exit_code: 2,
        }
    }
}

/// The state of an app that an order is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Every worker wanted is ready and of the newest revision, none is on its way out.
    Running,
    /// As `Running`, and the first failure of a new worker ends it.
    Started,
    /// A reload to this revision.
    Reloaded(u32),
    Stopped,
}

#[derive(Debug)]
pub(super) struct Operation {
    pub id: OpId,
    pub goal: Goal,
    pub verb: &'static str,
    /// The last progress that was told: (ready, text).
    pub told: (u32, String),
}

impl App {
    pub(super) fn begin(&mut self, id: OpId, goal: Goal, verb: &'static str) {
        self.operations.push(Operation {
            id,
            goal,
            verb,
            told: (u32::MAX, String::new()),
        });
    }

    /// Ends every waiting order for which `which` holds.
    pub(super) fn fail_operations(
        &mut self,
        cx: &mut Context,
        failure: &Failure,
        which: impl Fn(Goal) -> bool,
    ) {
        self.operations.retain(|op| {
            if !which(op.goal) {
                return true;
            }
            let outcome = Outcome::Failed(failure.clone());
            cx.emit(Effect::Finished { op: op.id, outcome });
            false
        });
    }

    /// A contrary order ends the ones before it.
    pub(super) fn supersede(&mut self, cx: &mut Context, verb: &str) {
        let failure = Failure {
            app: self.name().to_owned(),
            what: format!("{}: another order came in between", self.name()),
            why: format!(
                "`pando {verb} {}` was given before this was done",
                self.name()
            ),
            fix: "`pando ls` shows how things stand".to_owned(),
            worker: None,
            exit_code: 1,
        };
        self.fail_operations(cx, &failure, |_| true);
    }

    /// Tells progress, and ends what is reached.
    pub(super) fn check_operations(&mut self, cx: &mut Context) {
        if self.operations.is_empty() {
            return;
        }
        let (ready, wanted) = (self.ready_count(), self.wanted());
        let (running, stopped) = (self.is_settled(), self.workers.is_empty() && self.is_down());
        let text = self.progress_text();
        let name = self.name().to_owned();
        let revision = self.revision;
        self.operations.retain_mut(|op| {
            let reached = match op.goal {
                Goal::Running | Goal::Started => running,
                Goal::Reloaded(target) => running && revision == target,
                Goal::Stopped => stopped,
            };
            if reached {
                let text = match op.goal {
                    Goal::Stopped => format!("{name}: {}", op.verb),
                    Goal::Running | Goal::Started | Goal::Reloaded(_) => {
                        format!("{name}: {}, {ready} of {wanted} ready", op.verb)
                    }
                };
                cx.emit(Effect::Finished {
                    op: op.id,
                    outcome: Outcome::Done(text),
                });
                return false;
            }
            if op.told != (ready, text.clone()) {
                op.told = (ready, text.clone());
                cx.emit(Effect::Progress {
                    op: op.id,
                    app: name.clone(),
                    ready,
                    wanted,
                    text: text.clone(),
                });
            }
            true
        });
    }

    fn progress_text(&self) -> String {
        use super::worker::Phase;
        let count = |f: &dyn Fn(&Phase) -> bool| self.workers().filter(|w| f(&w.phase)).count();
        let starting = count(&|p| matches!(p, Phase::Starting));
        let leaving = count(&|p| matches!(p, Phase::Draining { .. } | Phase::Stopping { .. }));
        match (starting, leaving) {
            (0, 0) if self.desired() == super::Desired::Waiting => {
                format!("waiting for {}", self.spec().depends_on.join(", "))
            }
            (0, 0) => "waiting".to_owned(),
            (s, 0) => format!("starting {s}"),
            (0, l) => format!("draining {l}"),
            (s, l) => format!("starting {s}, draining {l}"),
        }
    }
}
