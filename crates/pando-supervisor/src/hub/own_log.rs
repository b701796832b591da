//! The daemon's own log, `daemon.log`: stdout and stderr of root and supervisor, opened for
//! appending by the command that started them. It must not grow for ever, and nobody can be told
//! to open it anew, so it is copied aside and cut.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use crate::core::Ms;

const NAME: &str = "daemon.log";
const ASIDE: &str = "daemon.log.1";
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Between looks at its size.
const LOOK_EVERY_MS: Ms = 60_000;

#[derive(Default)]
pub(super) struct OwnLog {
    next_look: Ms,
}

impl OwnLog {
    pub fn look(&mut self, home: &Path, now: Ms) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_EVERY_MS;
        if let Err(error) = trim(home, MAX_BYTES) {
            tracing::warn!(%error, "cannot cut the daemon's log");
        }
    }
}

/// What is written between copy and cut is lost: a line or two.
fn trim(home: &Path, max_bytes: u64) -> io::Result<()> {
    let path = home.join(NAME);
    match fs::metadata(&path) {
        Ok(found) if found.len() > max_bytes => {}
        Ok(_) => return Ok(()),
        // The foreground has none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    fs::copy(&path, home.join(ASIDE))?;
    OpenOptions::new().write(true).open(&path)?.set_len(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_large_log_is_put_aside_and_its_writers_go_on() {
        let home = tempfile::tempdir().unwrap();
        trim(home.path(), 10).unwrap();
        let path = home.path().join(NAME);
        let mut writer = OpenOptions::new();
        let mut writer = writer.create(true).append(true).open(&path).unwrap();
        writer.write_all(b"short\n").unwrap();
        trim(home.path(), 10).unwrap();
        assert!(!home.path().join(ASIDE).exists());
        writer.write_all(b"and long\n").unwrap();
        trim(home.path(), 10).unwrap();
        writer.write_all(b"new\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
        let aside = fs::read_to_string(home.path().join(ASIDE)).unwrap();
        assert_eq!(aside, "short\nand long\n");
    }
}
