//! The other side of an upgrade: this process is a root already, executed by its former binary
//! (or, when a new binary gave up, by that one), and finds its state in a memfd.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::time::Instant;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::home::Home;
use crate::inherit;
use crate::options::Ended;
use crate::peer::Peer;
use crate::proto::{ChildInfo, Exit, FromRoot};
use crate::root::{Root, become_root, note};
use crate::state::State;
use crate::table::Child;
use crate::upgrade::{FORMER_ENV, RETURN_ENV, Trial, become_binary, pass};

impl Root {
    /// Takes over from the binary that executed this one.
    pub(crate) fn resume(number: RawFd) -> Result<Self, Ended> {
        let former = env::var(FORMER_ENV).ok().and_then(|text| text.parse().ok());
        let former = former.and_then(|number| inherit::adopt(number).ok());
        let reason = env::var(RETURN_ENV).ok();
        let failed = |why: String| Ended::Failed(format!("cannot take over from root: {why}"));
        let memfd = inherit::adopt(number).map_err(|why| failed(why.to_string()))?;
        match (
            read_state(&memfd).and_then(Self::from_state),
            former,
            reason,
        ) {
            (Ok(mut root), Some(former), None) => {
                let former_args = std::mem::take(&mut root.1);
                root.0.trial = Some(Trial {
                    former,
                    former_args,
                    deadline: None,
                    deaths: 0,
                });
                Ok(root.0)
            }
            (Ok((mut root, _)), _, reason) => {
                root.notice = reason.map(|why| FromRoot::UpgradeFailed { why });
                Ok(root)
            }
            (Err(why), Some(former), None) => {
                note(&format!("back to the former binary: {why}"));
                // As this one was executed, so the former can be: it made the arguments.
                let args = env::args_os().collect();
                let error = pass(&[memfd.as_fd()], true).map_or_else(
                    |error| error,
                    |()| become_binary(former.as_fd(), args, None, Some(&why.to_string())),
                );
                Err(failed(format!("{why}; and the former binary: {error}")))
            }
            (Err(why), _, _) => Err(failed(why.to_string())),
        }
    }

    /// The root of a state whose fds are known to be open, and the former supervisor's arguments.
    fn from_state(state: State) -> io::Result<(Self, Vec<OsString>)> {
        let os = |args: Vec<Vec<u8>>| args.into_iter().map(OsString::from_vec).collect();
        let now = Instant::now();
        let (_, parts) = become_root()?;
        let home = Home::resume(state.home, state.home_id, inherit::adopt(state.lock)?);
        let mut root = Self::assemble(home, state.nofile, parts, state.tuning);
        root.mode = state.mode;
        root.supervisor_args = os(state.supervisor_args);
        root.resume_args = state.resume_args;
        root.strangers = state.strangers;
        root.ready = state.ready.map(inherit::adopt).transpose()?;
        for info in state.children {
            let (id, child) = (info.child, resumed_child(info));
            root.table.insert(id, child);
        }
        for (name, fd) in state.stored {
            root.store.fds.insert(name, inherit::adopt(fd)?);
        }
        for (name, value) in state.blobs {
            // It fitted before; if bounds became tighter, the rest is worth more than this one.
            if let Err(why) = root.store.put(name, Some(value)) {
                note(&format!("a text is lost: {why}"));
            }
        }
        root.supervisor.generation = state.generation;
        root.supervisor.pid = state.supervisor;
        root.supervisor.leaving = state.supervisor.is_some();
        root.supervisor.start_at = state.supervisor.is_none().then_some(now);
        root.supervisor.peer = state
            .link
            .map(inherit::adopt)
            .transpose()?
            .map(Peer::resumed);
        root.dismiss_supervisor(now);
        root.link_closed(now);
        Ok((root, os(state.former_args)))
    }
}

fn read_state(memfd: &OwnedFd) -> io::Result<State> {
    let state = State::read(memfd)?;
    // Before any fd is taken, so that the former binary finds all of them if one is bad.
    state.fds().try_for_each(inherit::check)?;
    Ok(state)
}

fn resumed_child(info: ChildInfo) -> Child {
    let pid = i32::try_from(info.pid).unwrap_or_default();
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let ours = Pid::from_raw(pid).is_some_and(|pid| {
        !matches!(
            waitid(WaitId::Pid(pid), look),
            Err(rustix::io::Errno::CHILD)
        )
    });
    // Its pid may be anybody's: never signal it.
    let lost = (info.exit.is_none() && !ours).then_some(Exit::Signal(libc::SIGKILL));
    Child {
        pid,
        marker: info.marker,
        started_ms: info.started_ms,
        exit: info.exit.or(lost),
        report: None,
    }
}
