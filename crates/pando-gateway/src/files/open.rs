//! Opening below a root, with no way out of it.
//!
//! `openat2` with `RESOLVE_BENEATH` lets the kernel judge every step: symbolic links work as long
//! as they stay inside. Where the kernel has no such call (before 5.6, or forbidden by a sandbox)
//! the name is walked step by step and no link is followed at all.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use rustix::fs::{Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// The root is looked up again after this, so that a `current` link may move.
pub(super) const FRESH_MS: u64 = 1000;

/// Whether the caller may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Only what memory has; else `WouldBlock`.
    No,
    Yes,
}

/// What makes a file this one, in this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub size: u64,
    pub modified_ns: i128,
    changed_ns: i128,
    inode: (u64, u64),
}

impl Stamp {
    #[expect(
        clippy::unnecessary_cast,
        reason = "the types of the fields differ between architectures"
    )]
    pub(super) fn of(stat: &Stat) -> Self {
        let nanos = |seconds: i128, nanos: i128| seconds * 1_000_000_000 + nanos;
        Self {
            size: stat.st_size as u64,
            modified_ns: nanos(stat.st_mtime as i128, stat.st_mtime_nsec as i128),
            changed_ns: nanos(stat.st_ctime as i128, stat.st_ctime_nsec as i128),
            inode: (stat.st_dev as u64, stat.st_ino as u64),
        }
    }

    /// When anything of it changed last, in nanoseconds since 1970.
    pub(super) fn last_change_ns(&self) -> i128 {
        self.modified_ns.max(self.changed_ns)
    }
}

#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    current: ArcSwapOption<OwnedFd>,
    started: Instant,
    checked_ms: AtomicU64,
    /// What this kernel can do, found out by trying.
    openat2: AtomicBool,
    cached: AtomicBool,
}

impl Root {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            current: ArcSwapOption::empty(),
            started: Instant::now(),
            checked_ms: AtomicU64::new(0),
            openat2: AtomicBool::new(true),
            cached: AtomicBool::new(true),
        }
    }

    /// Milliseconds on the clock of this root, from 1.
    pub(super) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64 + 1
    }

    /// The directory that the path means now, or meant within the last second.
    pub(super) fn directory(&self, now_ms: u64) -> io::Result<Arc<OwnedFd>> {
        let checked = self.checked_ms.load(Ordering::Relaxed);
        if checked != 0
            && now_ms.saturating_sub(checked) < FRESH_MS
            && let Some(current) = self.current.load_full()
        {
            return Ok(current);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&self.path, flags, Mode::empty()).map(Arc::new);
        self.current.store(opened.as_ref().ok().cloned());
        self.checked_ms.store(now_ms, Ordering::Relaxed);
        Ok(opened?)
    }

    /// Opens what `name` means below `directory` for reading. `name` is relative and without dots.
    pub(super) fn open(&self, directory: &OwnedFd, name: &[u8], wait: Wait) -> io::Result<File> {
        let name = if name.is_empty() { b"." } else { name };
        if self.openat2.load(Ordering::Relaxed) {
            match self.openat2(directory, name, wait) {
                Err(Errno::NOSYS | Errno::PERM) => self.openat2.store(false, Ordering::Relaxed),
                opened => return Ok(File::from(opened?)),
            }
        }
        match wait {
            Wait::No => Err(io::ErrorKind::WouldBlock.into()),
            Wait::Yes => Ok(File::from(walk(directory, name)?)),
        }
    }

    fn openat2(&self, directory: &OwnedFd, name: &[u8], wait: Wait) -> Result<OwnedFd, Errno> {
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let open = |resolve| rustix::fs::openat2(directory, name, READ, Mode::empty(), resolve);
        if wait == Wait::Yes {
            return open(within);
        }
        if !self.cached.load(Ordering::Relaxed) {
            return Err(Errno::AGAIN);
        }
        match open(within | ResolveFlags::CACHED) {
            // Before Linux 5.12.
            Err(Errno::INVAL) => {
                self.cached.store(false, Ordering::Relaxed);
                Err(Errno::AGAIN)
            }
            opened => opened,
        }
    }
}

/// Not blocking, lest a FIFO holds up whoever opens it.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

fn walk(directory: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let step = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = None::<OwnedFd>;
    let mut segments = name.split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let flags = match segments.peek() {
            None => READ | OFlags::NOFOLLOW,
            Some(&[]) => READ | OFlags::NOFOLLOW | OFlags::DIRECTORY,
            Some(_) => step,
        };
        let next = rustix::fs::openat(
            at.as_ref().unwrap_or(directory),
            segment,
            flags,
            Mode::empty(),
        )?;
        if segments.peek().is_none_or(|next| next.is_empty()) {
            return Ok(next);
        }
        at = Some(next);
    }
    Err(Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("sub/deep")).unwrap();
        std::fs::write(root.join("sub/deep/a.txt"), "inside").unwrap();
        std::fs::write(dir.path().join("secret"), "outside").unwrap();
        symlink("sub/deep", root.join("in")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink(dir.path(), root.join("abs")).unwrap();
        symlink("../..", root.join("sub/up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        (dir, Root::new(root))
    }

    #[test]
    fn links_work_inside_and_never_lead_outside() {
        let (_dir, root) = tree();
        let directory = root.directory(1).unwrap();
        for (name, opens) in [
            ("sub/deep/a.txt", true),
            ("in/a.txt", true),
            ("", true),
            ("sub/", true),
            ("out", false),
            ("abs/secret", false),
            ("sub/up/secret", false),
            ("sub/up/root/sub/deep/a.txt", false),
            ("loop", false),
            ("sub/deep/a.txt/", false),
            ("sub/nothing", false),
            ("/etc/passwd", false),
        ] {
            let opened = root.open(&directory, name.as_bytes(), Wait::Yes);
            assert_eq!(opened.is_ok(), opens, "{name}: {opened:?}");
        }
    }

    #[test]
    fn without_openat2_no_link_is_followed() {
        let (_dir, root) = tree();
        let directory = root.directory(1).unwrap();
        for (name, opens) in [
            ("sub/deep/a.txt", true),
            (".", true),
            ("sub/", true),
            ("in/a.txt", false),
            ("in", false),
            ("out", false),
            ("abs/secret", false),
            ("sub/up/secret", false),
            ("sub/deep/a.txt/", false),
        ] {
            assert_eq!(walk(&directory, name.as_bytes()).is_ok(), opens, "{name}");
        }
    }

    #[test]
    fn the_root_may_come_later_and_move() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("current");
        let root = Root::new(link.clone());
        assert!(root.directory(1).is_err());
        for release in ["one", "two"] {
            std::fs::create_dir(dir.path().join(release)).unwrap();
            std::fs::write(dir.path().join(release).join(release), "x").unwrap();
        }
        symlink("one", &link).unwrap();
        assert!(
            root.open(&root.directory(2).unwrap(), b"one", Wait::Yes)
                .is_ok()
        );
        std::fs::remove_file(&link).unwrap();
        symlink("two", &link).unwrap();
        assert!(
            root.open(&root.directory(3).unwrap(), b"one", Wait::Yes)
                .is_ok()
        );
        let later = root.directory(3 + FRESH_MS).unwrap();
        assert!(root.open(&later, b"two", Wait::Yes).is_ok());
    }
}
