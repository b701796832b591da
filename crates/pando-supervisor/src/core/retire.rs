//! Ending a worker: steer away, drain, ask, insist, kill the tree. Each step has a deadline.

use app_spec::Command;
use node_cluster::WorkerId;

use super::app::App;
use super::effect::Effect;
use super::worker::{Phase, RetireStyle, StopStep, Worker};
use super::{Context, Ms};

/// From the stop signal to SIGKILL for a worker that had its time to end by `disconnect`.
const AFTER_DISCONNECT_MS: Ms = 2_000;
/// Between SIGKILLs to a tree that will not go (uninterruptible sleep).
const KILL_AGAIN_MS: Ms = 5_000;
const SIGKILL: i32 = 9;
const PACKAGE_RUNNERS: [&str; 6] = ["npm", "npx", "yarn", "pnpm", "pnpx", "bunx"];

impl App {
    /// The signal that the app wants to be stopped with.
    pub(super) fn stop_signal(&self) -> i32 {
        app_spec::signal::number(&self.spec.stop.signal).unwrap_or(15)
    }

    /// Begins to end a worker. It gets no new connections from here on.
    pub(super) fn retire(&mut self, cx: &mut Context, id: WorkerId, style: RetireStyle) {
        let drain_ms = self.spec.timeouts.drain_ms;
        let signal = self.spec.stop.signal.clone();
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        if worker.is_leaving() {
            if let (Phase::Draining { style: s, .. }, RetireStyle::Signal(_)) =
                (&mut worker.phase, style)
            {
                *s = style;
            }
            return;
        }
        let hears = worker.channel && !worker.is_stuck(cx.now);
        let serves = worker.is_ready() && hears && worker.agent;
        worker.phase = Phase::Draining {
            until: cx.now + drain_ms,
            style,
        };
        if !serves || drain_ms == 0 {
            self.drained(cx, id);
            return;
        }
        // A successor can wait for clients to come over; one who stops the app waits for answers.
        let quick = style != RetireStyle::Gentle;
        let body = serde_json::json!({ "act": "drain", "signal": signal, "quick": quick });
        let effects = self.primary.send_internal(id, "NODE_PANDO", body);
        self.carry_out(cx, effects);
    }

    /// Nothing is in flight any more, or the time for that is over: ask it to end.
    pub(super) fn drained(&mut self, cx: &mut Context, id: WorkerId) {
        let stop_ms = self.spec.timeouts.stop_ms;
        let stop_signal = self.stop_signal();
        let drain_ms = self.spec.timeouts.drain_ms;
        let message = self.spec.stop.message;
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let Phase::Draining { style, .. } = worker.phase else {
            return;
        };
        let hears = worker.channel && !worker.is_stuck(cx.now);
        // Bun, and a worker that has not listened, would not end by a disconnect.
        let serves = hears && self.primary.can_disconnect(id);
        // Without the preload only a disconnect lets answers under way end before the signal.
        let blind = serves && !worker.agent;
        let gentle = serves && (blind || style == RetireStyle::Gentle && !worker.handles_signal);
        let time = if blind && style != RetireStyle::Gentle {
            drain_ms
        } else {
            stop_ms
        };
        let step = if gentle {
            StopStep::Disconnected
        } else {
            StopStep::Signalled
        };
        worker.phase = Phase::Stopping {
            until: cx.now + time,
            step,
        };
        if gentle {
            let effects = self.primary.disconnect(id);
            self.carry_out(cx, effects);
        } else if message && hears {
            let effects = self.primary.send_app(id, b"\"shutdown\"");
            self.carry_out(cx, effects);
        } else {
            let signal = match style {
                RetireStyle::Gentle => stop_signal,
                RetireStyle::Signal(signal) => signal,
            };
            self.signal_to_stop(cx, id, signal);
        }
    }

    fn signal_to_stop(&self, cx: &mut Context, id: WorkerId, signal: i32) {
        let tree = self
            .workers
            .get(&id)
            .is_some_and(|w| is_wrapped(&w.spec.command));
        cx.emit(Effect::Signal {
            worker: id,
            signal,
            tree,
        });
    }

    pub(super) fn check_retirement(&mut self, cx: &mut Context, id: WorkerId) {
        let stop_signal = self.stop_signal();
        let stop_ms = self.spec.timeouts.stop_ms;
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        match worker.phase {
            Phase::Draining { until, .. } if cx.now >= until => self.drained(cx, id),
            Phase::Stopping { until, step } if cx.now >= until => match step {
                StopStep::Disconnected => {
                    // One that still has connections had its time; one without has it now.
                    let time = if worker.channel && worker.agent {
                        AFTER_DISCONNECT_MS
                    } else {
                        stop_ms
                    };
                    worker.phase = Phase::Stopping {
                        until: cx.now + time,
                        step: StopStep::Signalled,
                    };
                    self.signal_to_stop(cx, id, stop_signal);
                }
                StopStep::Signalled => self.kill(cx, id, 1),
                StopStep::Killed(times) => self.kill(cx, id, times + 1),
            },
            Phase::Starting | Phase::Ready | Phase::Draining { .. } | Phase::Stopping { .. } => {}
        }
    }

    /// SIGKILL to the worker and all that descends from it.
    pub(super) fn kill(&mut self, cx: &mut Context, id: WorkerId, times: u32) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.phase = Phase::Stopping {
            until: cx.now + KILL_AGAIN_MS,
            step: StopStep::Killed(times),
        };
        cx.emit(Effect::Signal {
            worker: id,
            signal: SIGKILL,
            tree: true,
        });
        if times == 1 {
            self.notice(
                cx,
                Some(id),
                "killed",
                "did not end in time: SIGKILL to its tree",
            );
        }
    }
}

pub(super) fn deadline(worker: &Worker) -> Option<Ms> {
    match worker.phase {
        Phase::Draining { until, .. } | Phase::Stopping { until, .. } => Some(until),
        Phase::Starting | Phase::Ready => None,
    }
}

/// Whether the process is a shell or a package runner around the app: those pass no signal on, so
/// the whole tree gets it.
fn is_wrapped(command: &Command) -> bool {
    match command {
        Command::Shell { .. } => true,
        Command::Exec { program, .. } => program
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| PACKAGE_RUNNERS.contains(&name)),
        Command::Script { .. } => false,
    }
}
