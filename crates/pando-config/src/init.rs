//! A first `pando.toml`, from what is in a directory and what listens on this machine.
//!
//! What is found is written as a setting, what would be a guess as a comment. The result parses
//! with no problem where its interpreters are installed.

mod detect;
mod text;

use std::path::Path;

use crate::fs::FileSystem;
use detect::Found;

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
    let mut notes = Vec::new();
    let mut apps = detect::apps(dir, fs, running, &mut notes);
    if apps.is_empty() {
        notes.push("Nothing to start was found: put your own command into the file.".to_owned());
        apps.push(Found::placeholder(dir));
    }
    for name in fs.names(dir) {
        if name.starts_with("ecosystem.config.") || name.starts_with("pm2.config.") {
            notes.push(format!(
                "{name} is PM2's and is not read by this version: carry its settings over by hand."
            ));
        }
    }
    let sections: Vec<String> = apps.iter().map(text::section).collect();
    InitFile {
        text: format!("{}\n{}", text::HEAD, sections.join("\n")),
        notes,
    }
}

#[cfg(test)]
mod tests;
