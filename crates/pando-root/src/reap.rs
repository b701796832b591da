//! Exits, and what the exited leave behind.

use std::time::{Duration, Instant};

use rustix::process::{Signal, WaitOptions, WaitStatus};

use crate::procfs;
use crate::proto::{ChildId, Exit, FromRoot};
use crate::root::{Root, own_pid};
use crate::spawn::{Report, read_report};
use crate::tree::{self, HOME_ID_ENV, Owner};

/// Exits taken in one turn; the rest in the next.
const MAX_REAPS: usize = 1024;
/// A process in the middle of an exec has no environment to be known by: look again, so often
/// and after so long.
const SWEEPS: u32 = 3;
const SWEEP_PAUSE: Duration = Duration::from_millis(100);

impl Root {
    /// Takes the exits of children, and of orphans that nobody else would bury.
    pub(crate) fn reap(&mut self, now: Instant) {
        self.reap_again = false;
        for reaped in 0..=MAX_REAPS {
            let (pid, status) = match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => (pid.as_raw_nonzero().get(), status),
                Err(rustix::io::Errno::INTR) => continue,
                Ok(None) | Err(_) => {
                    if reaped > 0 {
                        self.sweeps_left = SWEEPS;
                        self.sweep(now);
                        self.release_held();
                    }
                    return;
                }
            };
            let Some(exit) = exit_of(status) else {
                continue;
            };
            if self.supervisor.pid == Some(pid) {
                self.supervisor_exited(exit, now);
            } else if let Some(child) = self.table.by_pid(pid) {
                self.child_exited(child, exit);
            } else if self.upgrade.checker() == Some(pid) {
                self.selfcheck_exited(exit, now);
            } else {
                self.strangers.retain(|stranger| *stranger != pid);
            }
        }
        self.reap_again = true;
    }

    fn child_exited(&mut self, child: ChildId, exit: Exit) {
        self.on_report(child);
        // A failed exec has removed it.
        if let Some(entry) = self.table.get(child) {
            let (pid, starts) = (entry.pid.unsigned_abs(), entry.report.is_some());
            if starts {
                self.tell(FromRoot::Spawned { child, pid });
            }
            self.table.exited(child, exit);
            if self.table.is_stopping_tree(child) && self.leaves_orphans(child) {
                self.table.hold(child);
            } else {
                self.table.stops_as_tree(child, false);
                self.tell(FromRoot::Exited { child, exit });
            }
        }
    }

    /// A shell ends at once by the signal that its tree got; the app below it may have answers to
    /// give. The exit is told when the tree is gone: by itself, or by the SIGKILL that follows
    /// when its time is over.
    fn release_held(&mut self) {
        if !self.table.holds_any() {
            return;
        }
        let orphans = self.orphans();
        let is_gone = |id| !orphans.iter().any(|(_, owner)| *owner == Owner::Child(id));
        for (child, exit) in self.table.release(is_gone) {
            self.tell(FromRoot::Exited { child, exit });
        }
    }

    fn leaves_orphans(&self, child: ChildId) -> bool {
        let its = |(_, owner): &(procfs::Stat, Owner)| *owner == Owner::Child(child);
        self.orphans().iter().any(its)
    }

    pub(crate) fn on_report(&mut self, child: ChildId) {
        let Some(entry) = self.table.get(child) else {
            return;
        };
        let (pid, Some(report)) = (entry.pid.unsigned_abs(), &entry.report) else {
            return;
        };
        match read_report(report) {
            Report::Pending => {}
            Report::Running => {
                self.table.runs(child);
                self.tell(FromRoot::Spawned { child, pid });
            }
            Report::Failed(error) => {
                self.table.remove(child);
                let stage = error.stage.into();
                self.tell(FromRoot::SpawnFailed {
                    child,
                    stage,
                    errno: error.errno,
                });
            }
        }
    }

    /// Kills what exited children left behind. Only orphans that became root's own children are
    /// looked at; what they in turn leave behind comes to root when they die, and is looked at
    /// then.
    pub(crate) fn sweep(&mut self, now: Instant) {
        self.sweep_at = None;
        let mut unknown = false;
        for (orphan, owner) in self.orphans() {
            let left_behind = match owner {
                Owner::Child(id) => {
                    !self.table.is_stopping_tree(id)
                        && self.table.get(id).is_none_or(|child| child.exit.is_some())
                }
                Owner::Supervisor => self.supervisor.pid != Some(orphan.session),
                Owner::Unknown => {
                    unknown = true;
                    self.ending.is_some()
                }
            };
            if left_behind {
                tree::signal_own(orphan.pid, Signal::KILL);
            }
        }
        if unknown && self.sweeps_left > 0 {
            self.sweeps_left -= 1;
            self.sweep_at = Some(now + SWEEP_PAUSE);
        }
    }

    /// Root's own children that it did not start, with their owners.
    pub(crate) fn orphans(&self) -> Vec<(procfs::Stat, Owner)> {
        let orphan = |pid: i32| {
            let known = self.table.by_pid(pid).is_some()
                || self.supervisor.pid == Some(pid)
                || self.upgrade.checker() == Some(pid)
                || self.strangers.contains(&pid);
            let stat = if known { None } else { procfs::stat(pid) };
            let stat = stat.filter(|stat| !stat.zombie)?;
            let key = procfs::environ(pid, HOME_ID_ENV);
            Some((
                stat,
                tree::owner(&stat, key.as_deref(), &self.home.id, &self.table),
            ))
        };
        procfs::children(own_pid())
            .into_iter()
            .filter_map(orphan)
            .collect()
    }
}

fn exit_of(status: WaitStatus) -> Option<Exit> {
    let code = status.exit_status().map(Exit::Code);
    code.or_else(|| status.terminating_signal().map(Exit::Signal))
}
