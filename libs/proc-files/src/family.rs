//! Who descends from whom.

use std::collections::HashMap;
use std::fs;

use crate::{Reader, stat};

/// Who is whose child, at one moment.
#[derive(Debug, Default)]
pub struct Families(HashMap<u32, Vec<u32>>);

impl Families {
    /// Looks at every process that can be seen.
    pub fn of_now(reader: &mut Reader) -> Self {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if let Some(stat) = stat(reader, pid) {
                children.entry(stat.parent).or_default().push(pid);
            }
        }
        Self(children)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A process and all that descends from it; no further ones once there are `max`.
    pub fn tree(&self, pid: u32, max: usize) -> Vec<u32> {
        let mut all = vec![pid];
        let mut next = 0;
        while let Some(parent) = all.get(next).copied().filter(|_| all.len() < max) {
            all.extend(self.0.get(&parent).into_iter().flatten());
            next += 1;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_begins_with_its_root() {
        let me = std::process::id();
        let families = Families::of_now(&mut Reader::default());
        assert!(!families.is_empty());
        assert_eq!(families.tree(me, 10)[0], me);
        assert_eq!(families.tree(u32::MAX, 10), [u32::MAX]);
    }
}
