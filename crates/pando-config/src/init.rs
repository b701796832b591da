use std::path::Path;

use crate::fs::FileSystem;

/// A process that listens on a TCP port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    pub pid: u32,
    pub port: u16,
    /// Its command line, words joined by spaces.
    pub command: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitFile {
    /// A commented pando.toml that parses with no problem.
    pub text: String,
    /// What the person should know, one sentence each.
    pub notes: Vec<String>,
}

/// Writes a pando.toml from what is in `dir` (absolute) and what listens now.
pub fn init(dir: &Path, fs: &dyn FileSystem, running: &[Listening]) -> InitFile {
    let _ = (dir, fs, running);
    InitFile {
        text: String::new(),
        notes: Vec::new(),
    }
}
