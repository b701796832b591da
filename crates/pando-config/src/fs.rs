//! The little that the configuration needs to know of the machine, behind a trait.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Names listed of one directory; "did you mean" needs no more.
const MAX_NAMES: usize = 4096;

/// `node --version` answers within milliseconds; a shim that downloads is not waited for.
const VERSION_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeVersion {
    pub major: u32,
    pub minor: u32,
}

pub trait FileSystem {
    /// Whether there is a regular file (links are followed).
    fn is_file(&self, path: &Path) -> bool;
    fn is_dir(&self, path: &Path) -> bool;
    /// Whether it is a regular file with an execute bit.
    fn is_executable(&self, path: &Path) -> bool;
    /// The first `limit` bytes.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;
    /// The names in a directory, sorted; empty if it cannot be read.
    fn names(&self, dir: &Path) -> Vec<String>;
    /// Whether the caller may become another user.
    fn is_root(&self) -> bool;
    /// The version that the `node` at this path says it has.
    fn node_version(&self, node: &Path) -> Option<NodeVersion>;

    fn exists(&self, path: &Path) -> bool {
        self.is_file(path) || self.is_dir(path)
    }
}

/// The machine itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl FileSystem for RealFs {
    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn is_executable(&self, path: &Path) -> bool {
        path.metadata()
            .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?
            .take(limit)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn names(&self, dir: &Path) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(dir) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .take(MAX_NAMES)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    fn is_root(&self) -> bool {
        rustix::process::geteuid().is_root()
    }

    fn node_version(&self, node: &Path) -> Option<NodeVersion> {
        let mut child = Command::new(node)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let deadline = Instant::now() + VERSION_TIMEOUT;
        while child.try_wait().ok()?.is_none() {
            if Instant::now() > deadline {
                // Already gone is as good as killed.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut text = String::new();
        child
            .stdout
            .take()?
            .take(64)
            .read_to_string(&mut text)
            .ok()?;
        parse_version(&text)
    }
}

/// `v22.18.0` as `node --version` prints it.
fn parse_version(text: &str) -> Option<NodeVersion> {
    let mut parts = text.trim().strip_prefix('v')?.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    Some(NodeVersion { major, minor })
}

/// A file tree in memory, for tests and fuzzers. Parents of files are directories.
#[derive(Clone, Debug, Default)]
pub struct MemoryFs {
    files: BTreeMap<PathBuf, MemoryFile>,
    pub root: bool,
    pub node: Option<NodeVersion>,
}

#[derive(Clone, Debug)]
struct MemoryFile {
    bytes: Vec<u8>,
    executable: bool,
}

impl MemoryFs {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with(mut self, path: &str, text: &str) -> Self {
        let file = MemoryFile {
            bytes: text.into(),
            executable: false,
        };
        self.files.insert(path.into(), file);
        self
    }

    pub fn with_executable(mut self, path: &str, text: &str) -> Self {
        let file = MemoryFile {
            bytes: text.into(),
            executable: true,
        };
        self.files.insert(path.into(), file);
        self
    }
}

/// Drops `.` and applies `..`; memory has no links.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                out.pop();
            }
            std::path::Component::CurDir => {}
            std::path::Component::RootDir
            | std::path::Component::Prefix(_)
            | std::path::Component::Normal(_) => out.push(part),
        }
    }
    out
}

impl FileSystem for MemoryFs {
    fn is_file(&self, path: &Path) -> bool {
        self.files.contains_key(&plain(path))
    }

    fn is_dir(&self, path: &Path) -> bool {
        let path = plain(path);
        self.files
            .keys()
            .any(|file| *file != path && file.starts_with(&path))
    }

    fn is_executable(&self, path: &Path) -> bool {
        self.files.get(&plain(path)).is_some_and(|f| f.executable)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self
            .files
            .get(&plain(path))
            .ok_or(io::ErrorKind::NotFound)?;
        let end = file
            .bytes
            .len()
            .min(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(file.bytes[..end].to_vec())
    }

    fn names(&self, dir: &Path) -> Vec<String> {
        let dir = plain(dir);
        let mut names: Vec<String> = self
            .files
            .keys()
            .filter_map(|file| file.strip_prefix(&dir).ok()?.components().next())
            .map(|first| first.as_os_str().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    fn is_root(&self) -> bool {
        self.root
    }

    fn node_version(&self, _node: &Path) -> Option<NodeVersion> {
        self.node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_versions_are_read_as_node_prints_them() {
        assert_eq!(
            parse_version("v22.18.0\n"),
            Some(NodeVersion {
                major: 22,
                minor: 18
            })
        );
        for odd in ["", "22.1.0", "v22", "v.1", "vx.y.z"] {
            assert_eq!(parse_version(odd), None, "{odd}");
        }
    }

    #[test]
    fn memory_has_directories_and_names() {
        let fs = MemoryFs::new().with("/a/b.js", "1").with("/a/c/d", "2");
        assert!(fs.is_dir(Path::new("/a/./c")) && fs.is_file(Path::new("/a/c/../b.js")));
        assert_eq!(fs.names(Path::new("/a")), ["b.js", "c"]);
    }
}
