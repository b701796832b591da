//! The child table. Pure bookkeeping; no system calls.
//!
//! ```text
//! (fork) -> starting -> running -> exited -> (forgotten)
//!              │           └─ held: it was asked to stop with its tree, which takes its time
//!              └─ exec failed -> (removed)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use crate::proto::{ChildId, ChildInfo, Exit, MAX_CHILDREN};

#[derive(Debug)]
pub struct Child {
    pub pid: i32,
    pub marker: String,
    /// Milliseconds since the epoch.
    pub started_ms: u64,
    pub exit: Option<Exit>,
    /// Open until the exec is known to have worked or not.
    pub report: Option<OwnedFd>,
}

#[derive(Debug, Default)]
pub struct Table {
    children: BTreeMap<ChildId, Child>,
    /// Only those that live: another process may have the pid of one that has exited.
    living: BTreeMap<i32, ChildId>,
    /// Asked to stop with their trees: what they leave behind may end by itself.
    stopping_trees: BTreeSet<ChildId>,
    /// Of these, the exited with some of the tree left. Nobody was told of their exit yet.
    held: BTreeSet<ChildId>,
}

impl Table {
    /// Whether there is room for this id; if not, why, with an errno.
    pub fn admits(&self, id: ChildId) -> Result<(), (&'static str, i32)> {
        if self.children.contains_key(&id) {
            Err(("child id in use", libc::EEXIST))
        } else if self.children.len() >= MAX_CHILDREN {
            Err(("table full", libc::EAGAIN))
        } else {
            Ok(())
        }
    }

    pub fn insert(&mut self, id: ChildId, child: Child) {
        if child.exit.is_none() {
            self.living.insert(child.pid, id);
        }
        self.children.insert(id, child);
    }

    pub fn get(&self, id: ChildId) -> Option<&Child> {
        self.children.get(&id)
    }

    /// The living child with this pid.
    pub fn by_pid(&self, pid: i32) -> Option<ChildId> {
        self.living.get(&pid).copied()
    }

    pub fn exited(&mut self, id: ChildId, exit: Exit) {
        if let Some(child) = self.children.get_mut(&id) {
            self.living.remove(&child.pid);
            child.exit = Some(exit);
            child.report = None;
        }
    }

    /// Its whole tree was asked to end, or with `false` is being killed.
    pub fn stops_as_tree(&mut self, id: ChildId, gently: bool) {
        if !gently {
            self.stopping_trees.remove(&id);
        } else if self.children.contains_key(&id) {
            self.stopping_trees.insert(id);
        }
    }

    /// What it leaves behind may end by itself.
    pub fn is_stopping_tree(&self, id: ChildId) -> bool {
        self.stopping_trees.contains(&id)
    }

    /// Its exit is told when its tree is gone.
    pub fn hold(&mut self, id: ChildId) {
        self.held.insert(id);
    }

    /// Takes those out whose trees are gone, with their exits.
    pub fn release(&mut self, is_gone: impl Fn(ChildId) -> bool) -> Vec<(ChildId, Exit)> {
        let gone: Vec<ChildId> = self
            .held
            .iter()
            .copied()
            .filter(|id| is_gone(*id))
            .collect();
        for id in &gone {
            self.held.remove(id);
            self.stopping_trees.remove(id);
        }
        let exit = |id| Some((id, self.children.get(&id)?.exit?));
        gone.into_iter().filter_map(exit).collect()
    }

    pub fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// The exec worked.
    pub fn runs(&mut self, id: ChildId) {
        if let Some(child) = self.children.get_mut(&id) {
            child.report = None;
        }
    }

    /// It never ran.
    pub fn remove(&mut self, id: ChildId) {
        if let Some(child) = self.children.remove(&id) {
            self.living.remove(&child.pid);
        }
    }

    /// Drops the entry of a child that has exited. False if it lives.
    pub fn forget(&mut self, id: ChildId) -> bool {
        let lives = self
            .children
            .get(&id)
            .is_some_and(|child| child.exit.is_none());
        if !lives {
            self.children.remove(&id);
            self.stopping_trees.remove(&id);
            self.held.remove(&id);
        }
        !lives
    }

    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (ChildId, &Child)> {
        self.children.iter().map(|(id, child)| (*id, child))
    }

    /// Those whose exec is still to come.
    pub fn starting(&self) -> impl Iterator<Item = (ChildId, &OwnedFd)> {
        self.iter()
            .filter_map(|(id, child)| Some((id, child.report.as_ref()?)))
    }

    pub fn infos(&self) -> Vec<ChildInfo> {
        let info = |(child, entry): (ChildId, &Child)| ChildInfo {
            child,
            pid: entry.pid.unsigned_abs(),
            marker: entry.marker.clone(),
            exit: entry.exit.filter(|_| !self.held.contains(&child)),
            started_ms: entry.started_ms,
        };
        self.iter().map(info).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(pid: i32) -> Child {
        Child {
            pid,
            marker: "m".into(),
            started_ms: 1,
            exit: None,
            report: None,
        }
    }

    #[test]
    fn an_exit_is_kept_until_it_is_forgotten_and_frees_the_pid() {
        let mut table = Table::default();
        let (a, b) = (ChildId(1), ChildId(2));
        table.insert(a, child(10));
        assert_eq!(table.by_pid(10), Some(a));
        assert!(!table.forget(a));
        table.exited(a, Exit::Code(3));
        assert_eq!(table.by_pid(10), None);
        table.insert(b, child(10));
        assert_eq!(table.by_pid(10), Some(b));
        assert_eq!(table.infos()[0].exit, Some(Exit::Code(3)));
        assert!(table.forget(a));
        assert!(table.get(a).is_none());
        assert_eq!(table.by_pid(10), Some(b));
    }

    #[test]
    fn the_exit_of_one_whose_tree_still_stops_is_held() {
        let mut table = Table::default();
        let id = ChildId(1);
        table.insert(id, child(10));
        table.stops_as_tree(id, true);
        table.exited(id, Exit::Code(3));
        table.hold(id);
        assert_eq!(table.infos()[0].exit, None);
        assert!(table.release(|_| false).is_empty());
        assert!(table.is_stopping_tree(id));
        assert_eq!(table.release(|_| true), [(id, Exit::Code(3))]);
        assert_eq!(table.infos()[0].exit, Some(Exit::Code(3)));
        assert!(!table.is_stopping_tree(id));
    }

    #[test]
    fn ids_are_unique_and_the_table_is_bounded() {
        let mut table = Table::default();
        for n in 0..MAX_CHILDREN {
            let id = ChildId(n as u64);
            assert_eq!(table.admits(id), Ok(()));
            table.insert(id, child(n as i32 + 1));
        }
        assert_eq!(
            table.admits(ChildId(0)),
            Err(("child id in use", libc::EEXIST))
        );
        assert_eq!(
            table.admits(ChildId(u64::MAX)),
            Err(("table full", libc::EAGAIN))
        );
    }
}
