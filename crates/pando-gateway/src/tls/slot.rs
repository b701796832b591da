//! One pair of PEM files: what was loaded from it last, and why not more.
//!
//! ```text
//! changed ──► read twice the same? ──► key matches? ──► current
//!    ▲              │ no: next look        │ no: the old one stays; told when the next look agrees
//!    └──────────────┴──────────────────────┘
//! ```

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::certificate::{Certificate, PairError};
use super::files::{FileSource, Stamp};
use crate::problem::Problem;

/// A file that changed this recently may change again without another time stamp (clocks of file
/// systems tick slowly), so it is read once more.
const SETTLE: Duration = Duration::from_secs(2);

/// What came of a look at the files.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    Same,
    /// There is a new certificate.
    Loaded,
    /// There is a new problem to tell.
    Failed,
}

#[derive(Default)]
pub(super) struct Slot {
    pub current: Option<Arc<Certificate>>,
    pub problem: Option<Problem>,
    /// Of the files as they were read; `None` reads them again.
    settled: Option<(Stamp, Stamp)>,
    /// Seen at the last look while a good certificate is served: perhaps the files are being written.
    suspected: Option<Problem>,
}

impl Slot {
    pub fn look(
        &mut self,
        files: &dyn FileSource,
        (cert, key): (&Path, &Path),
        place: &str,
        now: SystemTime,
    ) -> Look {
        let stamps = match stamps(files, cert, key) {
            Ok(stamps) => stamps,
            Err((path, error)) => return self.fail(unreadable(place, path, &error)),
        };
        if self.settled == Some(stamps) && self.problem.is_none() {
            return Look::Same;
        }
        let loaded = match read(files, cert, key) {
            Ok((cert_text, key_text)) => Certificate::from_pem(&cert_text, &key_text),
            Err((path, error)) => return self.fail(unreadable(place, path, &error)),
        };
        if stamps_differ(files, cert, key, stamps) && self.current.is_some() {
            return Look::Same;
        }
        match loaded {
            Ok(certificate) => self.take(certificate, stamps, now),
            Err(error) => self.fail(unusable(place, cert, key, &error)),
        }
    }

    fn take(&mut self, certificate: Certificate, stamps: (Stamp, Stamp), now: SystemTime) -> Look {
        let settled = [stamps.0, stamps.1].iter().all(|stamp| {
            let seconds = u64::try_from(stamp.modified.0).unwrap_or_default();
            now.duration_since(UNIX_EPOCH + Duration::from_secs(seconds))
                .is_ok_and(|age| age > SETTLE)
        });
        self.settled = settled.then_some(stamps);
        self.suspected = None;
        let recovered = self.problem.take().is_some();
        let same = self
            .current
            .as_ref()
            .is_some_and(|current| current.key.cert == certificate.key.cert);
        if same && !recovered {
            return Look::Same;
        }
        self.current = Some(Arc::new(certificate));
        Look::Loaded
    }

    fn fail(&mut self, problem: Problem) -> Look {
        if self.problem.as_ref() == Some(&problem) {
            return Look::Same;
        }
        if self.current.is_some() && self.suspected.as_ref() != Some(&problem) {
            self.suspected = Some(problem);
            return Look::Same;
        }
        self.suspected = None;
        self.problem = Some(problem);
        Look::Failed
    }
}

type At<'a, T> = Result<T, (&'a Path, io::Error)>;

fn stamps<'a>(files: &dyn FileSource, cert: &'a Path, key: &'a Path) -> At<'a, (Stamp, Stamp)> {
    let of = |path: &'a Path| files.stamp(path).map_err(|error| (path, error));
    Ok((of(cert)?, of(key)?))
}

fn stamps_differ(files: &dyn FileSource, cert: &Path, key: &Path, before: (Stamp, Stamp)) -> bool {
    stamps(files, cert, key).ok() != Some(before)
}

fn read<'a>(files: &dyn FileSource, cert: &'a Path, key: &'a Path) -> At<'a, (Vec<u8>, Vec<u8>)> {
    let of = |path: &'a Path| files.read(path).map_err(|error| (path, error));
    Ok((of(cert)?, of(key)?))
}

fn unreadable(place: &str, path: &Path, error: &io::Error) -> Problem {
    let fix = if error.kind() == io::ErrorKind::NotFound {
        "create it, or correct the path in the site's `tls`; it is looked for again every few seconds"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "let the user that the gateway runs as read it and enter its directory"
    } else {
        "correct the path in the site's `tls`"
    };
    Problem::new(place, format!("cannot read {}", path.display()), error, fix)
}

fn unusable(place: &str, cert: &Path, key: &Path, error: &PairError) -> Problem {
    let (path, fix) = match error {
        PairError::NoCertificate | PairError::Certificate(_) | PairError::TooMany => (
            cert,
            "put the site's certificate there, followed by those of the authorities between it and \
             the root (often named fullchain.pem)",
        ),
        PairError::NoKey | PairError::Key(_) => (
            key,
            "put the certificate's private key there (often named privkey.pem)",
        ),
        PairError::EncryptedKey => (
            key,
            "decrypt it once: openssl pkey -in OLD -out NEW, and keep it readable to the gateway only",
        ),
        PairError::Mismatch => (
            key,
            "put the key there with which this certificate was requested; when both are renewed, \
             both must be replaced",
        ),
    };
    Problem::new(place, format!("cannot use {}", path.display()), error, fix)
}

#[cfg(test)]
mod tests;
