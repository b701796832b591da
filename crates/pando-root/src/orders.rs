//! What the supervisor orders, and root's own end.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use crate::options::Ended;
use crate::procfs;
use crate::proto::{ChildId, FromRoot, Scope, SpawnSpec, ToRoot};
use crate::root::{Root, note, own_pid, tell_starter};
use crate::spawn::{Command, Program, SpawnError, spawn};
use crate::supervisor::RESERVED_ENV;
use crate::table::Child;
use crate::tree::{self, HOME_ID_ENV, Owner};
use crate::wire::Received;

/// Value given by [`SpawnSpec::marker`].
pub const WORKER_ENV: &str = "PANDO_WORKER";
/// While root waits for what it has killed.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Root's own end, begun by `Shutdown`.
#[derive(Debug)]
pub(crate) struct Ending {
    code: i32,
    /// When root ends although something that SIGKILL does not end is left.
    give_up_at: Instant,
    pub look_at: Instant,
}

impl Root {
    /// Carries out up to `most` orders that wait in the link.
    pub(crate) fn read_orders(&mut self, most: usize, now: Instant) {
        for _ in 0..most {
            let Some(peer) = &mut self.supervisor.peer else {
                return;
            };
            match peer.read() {
                Ok(Received::Message(order, fds)) => self.obey(order, fds, now),
                Ok(Received::Malformed(why)) => self.refuse("a message", why),
                Ok(Received::Blocked) => return,
                Ok(Received::Closed) => return self.link_closed(now),
                Err(why) => {
                    note(&format!("the link to the supervisor: {why}"));
                    return self.link_closed(now);
                }
            }
        }
    }

    fn obey(&mut self, order: ToRoot, fds: Vec<OwnedFd>, now: Instant) {
        let (want, got) = (order.fds(), fds.len());
        if want != got && !matches!(order, ToRoot::Spawn(_)) {
            return self.refuse(
                "an order",
                format!("it needs {want} fds and came with {got}"),
            );
        }
        match order {
            ToRoot::Hello => self.supervisor_in_charge(),
            ToRoot::Spawn(spec) => self.spawn_child(&spec, &fds),
            ToRoot::Signal {
                child,
                signal,
                scope,
            } => self.signal_child(child, signal, scope),
            ToRoot::Forget { child } => {
                if !self.table.forget(child) {
                    self.refuse("forget", format!("child {} lives", child.0));
                }
            }
            ToRoot::Store { name } => {
                if let Some(fd) = fds.into_iter().next()
                    && let Err(why) = self.store.keep(name, fd)
                {
                    self.refuse("store", why.to_string());
                }
            }
            ToRoot::Drop { name } => self.store.discard(&name),
            ToRoot::Put { name, value } => {
                if let Err(why) = self.store.put(name, value) {
                    self.refuse("put", why.to_string());
                }
            }
            ToRoot::Upgrade {
                path,
                supervisor_args,
            } => {
                self.begin_upgrade(&path, supervisor_args, now);
            }
            ToRoot::Shutdown { code } => self.begin_shutdown(code, now),
        }
    }

    fn refuse(&mut self, order: &str, why: String) {
        note(&format!("refused {order}: {why}"));
        self.tell(FromRoot::Refused {
            order: order.into(),
            why,
        });
    }

    /// The supervisor has taken over.
    fn supervisor_in_charge(&mut self) {
        self.supervisor.in_charge = true;
        self.unheard = None;
        if let Some(ready) = self.ready.take() {
            tell_starter(ready, "ok");
        }
        if self.trial.take().is_some() {
            note("the new binary is in charge");
        }
    }

    fn spawn_child(&mut self, spec: &SpawnSpec, fds: &[OwnedFd]) {
        let child = spec.child;
        match self.try_spawn(spec, fds) {
            Ok(entry) => self.table.insert(child, entry),
            Err(SpawnError { stage, errno }) => {
                self.tell(FromRoot::SpawnFailed {
                    child,
                    stage: stage.into(),
                    errno,
                });
            }
        }
    }

    fn try_spawn(&self, spec: &SpawnSpec, fds: &[OwnedFd]) -> Result<Child, SpawnError> {
        let failed = |stage, errno| SpawnError { stage, errno };
        if self.ending.is_some() {
            return Err(failed("root ends", libc::ECANCELED));
        }
        self.table
            .admits(spec.child)
            .map_err(|(stage, errno)| failed(stage, errno))?;
        if fds.len() != spec.fds.len() {
            return Err(failed("fds", libc::EMFILE));
        }
        let program = spec.program.clone().into_os_string();
        let argv0 = spec
            .argv0
            .clone()
            .map_or_else(|| program.clone(), Into::into);
        let args = [argv0].into_iter().chain(spec.args.iter().map(Into::into));
        let (soft, hard) = self.nofile;
        let command = Command {
            program: Program::Path(c_string(program)?),
            args: args.map(c_string).collect::<Result<_, _>>()?,
            env: child_env(spec, &self.home.id)?,
            cwd: Some(c_string(spec.cwd.clone().into_os_string())?),
            fds: fds
                .iter()
                .map(AsFd::as_fd)
                .zip(spec.fds.iter().copied())
                .collect(),
            user: spec.user.clone(),
            dies_with_root: true,
            nofile: rlimit(if spec.nofile { hard } else { soft }, hard),
        };
        let started = spawn(&command)?;
        Ok(Child {
            pid: started.pid,
            marker: spec.marker.clone(),
            started_ms: epoch_ms(),
            exit: None,
            report: Some(started.report),
        })
    }

    fn signal_child(&mut self, child: ChildId, signal: i32, scope: Scope) {
        let Some(number) = Signal::from_named_raw(signal) else {
            return self.refuse("signal", format!("{signal} is no signal"));
        };
        let living = self.table.get(child).filter(|entry| entry.exit.is_none());
        let pid = living.map(|entry| entry.pid);
        match scope {
            Scope::Process => {
                pid.map(|pid| tree::signal_own(pid, number));
            }
            Scope::Tree => {
                self.table.stops_as_tree(child, number != Signal::KILL);
                let orphans = self.orphans().into_iter();
                let its = orphans.filter(|(_, owner)| *owner == Owner::Child(child));
                let roots: Vec<i32> = pid.into_iter().chain(its.map(|(s, _)| s.pid)).collect();
                if !roots.is_empty() {
                    tree::signal_trees(&roots, number);
                }
            }
        }
    }

    /// Kills everything but the supervisor and remembers to end.
    pub(crate) fn begin_shutdown(&mut self, code: i32, now: Instant) {
        if self.ending.is_some() {
            return;
        }
        let give_up_at = now + Duration::from_millis(self.tuning.shutdown_ms);
        self.ending = Some(Ending {
            code,
            give_up_at,
            look_at: now,
        });
        self.cancel_upgrade();
        let roots = self.workers();
        if !roots.is_empty() {
            tree::signal_trees(&roots, Signal::KILL);
        }
    }

    /// Root's children but the supervisor and those it had before.
    fn workers(&self) -> Vec<i32> {
        let mut pids = procfs::children(own_pid());
        pids.retain(|pid| self.supervisor.pid != Some(*pid) && !self.strangers.contains(pid));
        pids
    }

    pub(crate) fn ending_on_time(&mut self, now: Instant) {
        let Some(ending) = &self.ending else { return };
        let (code, give_up) = (ending.code, ending.give_up_at <= now);
        let workers = self.workers();
        for pid in &workers {
            tree::signal_own(*pid, Signal::KILL);
        }
        if workers.is_empty() {
            self.dismiss_supervisor(now);
        }
        if give_up {
            note("some processes do not end, not even by SIGKILL");
            self.kill_supervisor();
        }
        if give_up || (workers.is_empty() && self.supervisor.pid.is_none()) {
            self.ended = Some(Ended::Shutdown { code });
        }
        if let Some(ending) = &mut self.ending {
            ending.look_at = now + LOOK_PAUSE;
        }
    }
}

pub(crate) fn rlimit(soft: u64, hard: u64) -> libc::rlimit {
    libc::rlimit {
        rlim_cur: soft.min(hard),
        rlim_max: hard,
    }
}

pub(crate) fn c_string(text: impl Into<OsString>) -> Result<CString, SpawnError> {
    CString::new(text.into().into_vec()).map_err(|_| SpawnError {
        stage: "a zero byte in a text",
        errno: libc::EINVAL,
    })
}

fn child_env(spec: &SpawnSpec, home: &str) -> Result<Vec<CString>, SpawnError> {
    // Root's own come first, where a look into /proc finds them soonest.
    let key = tree::key(home, Some(spec.child));
    let own = [
        format!("{HOME_ID_ENV}={key}"),
        format!("{WORKER_ENV}={}", spec.marker),
    ];
    let mut env = own
        .into_iter()
        .map(c_string)
        .collect::<Result<Vec<_>, _>>()?;
    for (name, value) in &spec.env {
        if name.is_empty() || name.contains('=') {
            return Err(SpawnError {
                stage: "env",
                errno: libc::EINVAL,
            });
        }
        if !RESERVED_ENV.contains(&name.as_str()) {
            env.push(c_string(format!("{name}={value}"))?);
        }
    }
    Ok(env)
}

fn epoch_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
