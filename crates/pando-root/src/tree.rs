//! Whose process is it? A child's tree is its descendants, and those descendants that were
//! orphaned and so became root's own children (root is their subreaper).
//!
//! An orphan belongs to a child by the value of `PANDO_HOME_ID` in its environment,
//! `HOME/CHILD`, and if it has none, by its session. One that changed its session and also wiped
//! its environment cannot be told from others' before root ends, and is killed then.

use rustix::process::{Pid, Signal, kill_process};

use crate::procfs::{self, Stat};
use crate::proto::ChildId;
use crate::table::Table;

/// In every process that root starts.
pub const HOME_ID_ENV: &str = "PANDO_HOME_ID";
/// After the slash, for what is not a child.
const SUPERVISOR: &str = "supervisor";

/// The value of `PANDO_HOME_ID` for a child, or for a supervisor.
pub fn key(home: &str, child: Option<ChildId>) -> String {
    match child {
        Some(ChildId(id)) => format!("{home}/{id}"),
        None => format!("{home}/{SUPERVISOR}"),
    }
}

/// Whether a value of `PANDO_HOME_ID` is of this home.
pub fn is_of_home(key: &str, home: &str) -> bool {
    key.strip_prefix(home)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Who answers for an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Child(ChildId),
    Supervisor,
    Unknown,
}

/// Finds the owner of an orphan.
pub fn owner(orphan: &Stat, key: Option<&str>, home: &str, table: &Table) -> Owner {
    if let Some(name) = key.and_then(|key| key.strip_prefix(home)?.strip_prefix('/')) {
        return match name.parse() {
            Ok(id) => Owner::Child(ChildId(id)),
            Err(_) => Owner::Supervisor,
        };
    }
    // A session's number is not given to a new process while the session has members, so a
    // living process with that number is its leader: that of an exited child must be gone.
    let owns = |(_, child): &(ChildId, &crate::table::Child)| {
        child.pid == orphan.session && (child.exit.is_none() || procfs::stat(child.pid).is_none())
    };
    table
        .iter()
        .find(owns)
        .map_or(Owner::Unknown, |(id, _)| Owner::Child(id))
}

/// Signals one of root's own children. Its pid cannot have been given away: only root reaps it.
pub fn signal_own(pid: i32, signal: Signal) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// Signals these children of root and all their descendants, each once, parents first.
pub fn signal_trees(roots: &[i32], signal: Signal) {
    let all: Vec<Stat> = procfs::all().collect();
    let mut found: Vec<Stat> = all
        .iter()
        .filter(|s| roots.contains(&s.pid))
        .copied()
        .collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|s| s.pid) {
        next += 1;
        let children = all.iter().filter(|s| s.ppid == parent);
        let new: Vec<Stat> = children.filter(|s| !found.contains(s)).copied().collect();
        found.extend(new);
    }
    for root in roots {
        signal_own(*root, signal);
    }
    for process in found.iter().filter(|process| !roots.contains(&process.pid)) {
        procfs::signal_if(process.pid, signal, || {
            procfs::stat(process.pid).is_some_and(|now| now.start == process.start)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Exit;
    use crate::table::Child;

    /// No process has it: above the kernel's limit for pids.
    const GONE: i32 = 0x7fff_0001;

    fn orphan(session: i32) -> Stat {
        Stat {
            pid: 9,
            ppid: 1,
            session,
            start: 1,
            zombie: false,
        }
    }

    #[test]
    fn the_environment_tells_first_then_the_session() {
        let mut table = Table::default();
        let child = |pid| Child {
            pid,
            marker: String::new(),
            started_ms: 0,
            exit: None,
            report: None,
        };
        table.insert(ChildId(1), child(GONE));
        table.insert(ChildId(2), child(GONE + 1));
        let check = |session, key: Option<&str>, want| {
            assert_eq!(
                owner(&orphan(session), key, "home", &table),
                want,
                "{session} {key:?}"
            );
        };
        check(GONE, Some("home/2"), Owner::Child(ChildId(2)));
        check(GONE, Some("home/77"), Owner::Child(ChildId(77)));
        check(5, Some("home/supervisor"), Owner::Supervisor);
        check(GONE, None, Owner::Child(ChildId(1)));
        check(GONE, Some("other/2"), Owner::Child(ChildId(1)));
        check(5, Some("homer/2"), Owner::Unknown);
        check(5, None, Owner::Unknown);
    }

    #[test]
    fn the_session_of_a_pid_that_lives_again_proves_nothing() {
        let me = i32::try_from(std::process::id()).unwrap();
        let mut table = Table::default();
        for (id, pid) in [(ChildId(1), me), (ChildId(2), GONE)] {
            let (marker, exit) = (String::new(), None);
            table.insert(
                id,
                Child {
                    pid,
                    marker,
                    started_ms: 0,
                    exit,
                    report: None,
                },
            );
            table.exited(id, Exit::Code(0));
        }
        assert_eq!(owner(&orphan(me), None, "home", &table), Owner::Unknown);
        assert_eq!(
            owner(&orphan(GONE), None, "home", &table),
            Owner::Child(ChildId(2))
        );
    }
}
