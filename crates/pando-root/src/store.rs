//! What root keeps for its supervisors: file descriptors and small texts, by name, bounded.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use crate::proto::{MAX_BLOB_BYTES, MAX_BLOBS, MAX_BLOBS_BYTES, MAX_NAME_BYTES, MAX_STORED};

/// Why something is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("the name is empty or longer than {MAX_NAME_BYTES} bytes")]
    Name,
    #[error("the store holds {0} fds already, its limit")]
    Full(usize),
    #[error("the text is longer than {MAX_BLOB_BYTES} bytes")]
    TooLong,
    #[error("all texts together would be more than {MAX_BLOBS} or {MAX_BLOBS_BYTES} bytes")]
    TooMuch,
}

#[derive(Debug)]
pub struct Store {
    pub fds: BTreeMap<String, OwnedFd>,
    max_fds: usize,
    blobs: BTreeMap<String, String>,
    blob_bytes: usize,
}

impl Store {
    /// `max_open` is this process's RLIMIT_NOFILE: a part of it stays free for root's own work.
    pub fn new(max_open: u64) -> Self {
        const RESERVE: usize = 512;
        let max_open = usize::try_from(max_open).unwrap_or(usize::MAX);
        let max_fds = max_open
            .saturating_sub(RESERVE)
            .max(max_open / 2)
            .min(MAX_STORED);
        Self {
            fds: BTreeMap::new(),
            max_fds,
            blobs: BTreeMap::new(),
            blob_bytes: 0,
        }
    }

    /// Keeps the fd in place of what had the name.
    pub fn keep(&mut self, name: String, fd: OwnedFd) -> Result<(), StoreError> {
        check_name(&name)?;
        if self.fds.len() >= self.max_fds && !self.fds.contains_key(&name) {
            return Err(StoreError::Full(self.max_fds));
        }
        self.fds.insert(name, fd);
        Ok(())
    }

    pub fn discard(&mut self, name: &str) {
        self.fds.remove(name);
    }

    /// Keeps the text, or removes it.
    pub fn put(&mut self, name: String, value: Option<String>) -> Result<(), StoreError> {
        check_name(&name)?;
        let former = self
            .blobs
            .get(&name)
            .map_or(0, |value| name.len() + value.len());
        let Some(mut value) = value else {
            self.blobs.remove(&name);
            self.blob_bytes = self.blob_bytes.saturating_sub(former);
            return Ok(());
        };
        if value.len() > MAX_BLOB_BYTES {
            return Err(StoreError::TooLong);
        }
        let bytes = self.blob_bytes.saturating_sub(former) + name.len() + value.len();
        let count = self.blobs.len() + usize::from(!self.blobs.contains_key(&name));
        if bytes > MAX_BLOBS_BYTES || count > MAX_BLOBS {
            return Err(StoreError::TooMuch);
        }
        value.shrink_to_fit();
        self.blobs.insert(name, value);
        self.blob_bytes = bytes;
        Ok(())
    }

    pub fn names(&self) -> Vec<String> {
        self.fds.keys().cloned().collect()
    }

    pub fn blobs(&self) -> Vec<(String, String)> {
        self.blobs
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

fn check_name(name: &str) -> Result<(), StoreError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        Err(StoreError::Name)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_one_by_one_and_together() {
        let mut store = Store::new(1024);
        let text = |n| Some("x".repeat(n));
        assert_eq!(
            store.put("a".into(), text(MAX_BLOB_BYTES + 1)),
            Err(StoreError::TooLong)
        );
        assert_eq!(store.put(String::new(), text(1)), Err(StoreError::Name));
        let fit = MAX_BLOBS_BYTES / MAX_BLOB_BYTES - 1;
        for n in 0..fit {
            store.put(n.to_string(), text(MAX_BLOB_BYTES)).unwrap();
            store.put(n.to_string(), text(MAX_BLOB_BYTES)).unwrap();
        }
        store.put("half".into(), text(MAX_BLOB_BYTES / 2)).unwrap();
        assert_eq!(
            store.put("more".into(), text(MAX_BLOB_BYTES)),
            Err(StoreError::TooMuch)
        );
        store.put("half".into(), None).unwrap();
        store.put("0".into(), None).unwrap();
        store.put("more".into(), text(MAX_BLOB_BYTES)).unwrap();
        assert_eq!(store.blobs().len(), fit);
        for (name, _) in store.blobs() {
            store.put(name, None).unwrap();
        }
        assert_eq!(store.blob_bytes, 0);
    }

    #[test]
    fn fds_are_bounded_and_replaced_by_name() {
        let mut store = Store::new(4);
        let fd = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        store.keep("a".into(), fd()).unwrap();
        store.keep("b".into(), fd()).unwrap();
        assert_eq!(store.keep("c".into(), fd()), Err(StoreError::Full(2)));
        store.keep("a".into(), fd()).unwrap();
        store.discard("b");
        store.keep("c".into(), fd()).unwrap();
        assert_eq!(store.names(), ["a", "c"]);
    }
}
