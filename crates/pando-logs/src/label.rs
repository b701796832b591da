//! Whose output it is.

use std::fmt;

/// Longest app name, so that every file name derived from it stays under 255 bytes.
pub const MAX_NAME_BYTES: usize = 200;

/// One pipe of one process. The embedder numbers them and uses the same number again for the same
/// pipe after a restart of the pump. `u64::MAX` is the pump's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    Out,
    Err,
}

impl Stream {
    /// `out` or `err`, as in the files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Err => "err",
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is written before each line of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub app: String,
    /// The worker's instance number, 0..wanted.
    pub worker: u32,
    pub stream: Stream,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no app name: letters, digits, '.', '_' and '-' only, at most {MAX_NAME_BYTES}")]
pub struct InvalidName(pub String);

/// App names become file names, so nothing but `[A-Za-z0-9._-]+` is let through.
pub fn check_app_name(app: &str) -> Result<(), InvalidName> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if app.is_empty() || app.len() > MAX_NAME_BYTES || !app.bytes().all(allowed) {
        return Err(InvalidName(app.chars().take(MAX_NAME_BYTES).collect()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_directory_are_refused() {
        for good in ["api", "a.b-c_9", "..", "x.log"] {
            assert!(check_app_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a/b",
            "../x",
            "a b",
            "é",
            "a\0",
            &"x".repeat(MAX_NAME_BYTES + 1),
        ] {
            assert!(check_app_name(bad).is_err(), "{bad}");
        }
    }
}
