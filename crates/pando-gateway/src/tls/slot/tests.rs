use std::collections::HashMap;
use std::sync::Mutex;

use rcgen::{CertificateParams, KeyPair};

use super::*;

const CERT: &str = "/tls/cert.pem";
const KEY: &str = "/tls/key.pem";

#[derive(Default)]
struct Memory(Mutex<HashMap<String, (Vec<u8>, Stamp)>>);

impl Memory {
    /// Each write is a second after the one before.
    fn write(&self, path: &str, text: &str) {
        let mut files = self.0.lock().unwrap();
        let latest = files.values().map(|(_, stamp)| stamp.modified.0).max();
        let stamp = Stamp {
            bytes: text.len() as u64,
            inode: 1,
            modified: (latest.unwrap_or(1000) + 1, 0),
        };
        files.insert(path.into(), (text.into(), stamp));
    }

    fn get<T>(&self, path: &Path, of: impl Fn(&(Vec<u8>, Stamp)) -> T) -> io::Result<T> {
        let files = self.0.lock().unwrap();
        let file = files.get(path.to_str().unwrap());
        file.map(of).ok_or(io::ErrorKind::NotFound.into())
    }
}

impl FileSource for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.get(path, |(bytes, _)| bytes.clone())
    }
    fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        self.get(path, |(_, stamp)| *stamp)
    }
}

fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn look(slot: &mut Slot, files: &Memory) -> Look {
    let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
    let paths = (Path::new(CERT), Path::new(KEY));
    slot.look(files, paths, "site a.example", now)
}

fn why(slot: &Slot) -> String {
    slot.problem.as_ref().unwrap().to_string()
}

#[test]
fn a_missing_file_is_told_once_and_found_later() {
    let (files, mut slot) = (Memory::default(), Slot::default());
    assert_eq!(look(&mut slot, &files), Look::Failed);
    assert!(why(&slot).starts_with("site a.example: cannot read /tls/cert.pem"));
    assert_eq!(look(&mut slot, &files), Look::Same);
    let (cert, key) = pair();
    files.write(CERT, &cert);
    assert_eq!(look(&mut slot, &files), Look::Failed);
    assert!(why(&slot).contains(KEY));
    files.write(KEY, &key);
    assert_eq!(look(&mut slot, &files), Look::Loaded);
    assert!(slot.problem.is_none());
    assert_eq!(look(&mut slot, &files), Look::Same);
}

#[test]
fn a_half_replaced_pair_is_never_served_and_not_cried_about_at_once() {
    let (files, mut slot) = (Memory::default(), Slot::default());
    let ((old_cert, old_key), (cert, key)) = (pair(), pair());
    files.write(CERT, &old_cert);
    files.write(KEY, &old_key);
    assert_eq!(look(&mut slot, &files), Look::Loaded);
    let before = slot.current.clone().unwrap();

    files.write(CERT, &cert);
    assert_eq!(look(&mut slot, &files), Look::Same, "it may be under way");
    assert_eq!(look(&mut slot, &files), Look::Failed, "it stayed so");
    assert!(why(&slot).contains("does not belong"));
    assert!(Arc::ptr_eq(slot.current.as_ref().unwrap(), &before));

    files.write(KEY, &key);
    assert_eq!(look(&mut slot, &files), Look::Loaded);
    assert_ne!(slot.current.as_ref().unwrap().key.cert, before.key.cert);
}

#[test]
fn a_half_written_file_is_tried_again() {
    let (files, mut slot) = (Memory::default(), Slot::default());
    let ((old_cert, old_key), (cert, key)) = (pair(), pair());
    files.write(CERT, &old_cert);
    files.write(KEY, &old_key);
    assert_eq!(look(&mut slot, &files), Look::Loaded);
    files.write(KEY, &key);
    files.write(CERT, &cert[..cert.len() / 2]);
    assert_eq!(look(&mut slot, &files), Look::Same);
    files.write(CERT, &cert);
    assert_eq!(look(&mut slot, &files), Look::Loaded);
    assert!(slot.problem.is_none());
}

#[test]
fn files_that_come_back_clear_the_problem() {
    let (files, mut slot) = (Memory::default(), Slot::default());
    let (cert, key) = pair();
    files.write(CERT, &cert);
    files.write(KEY, &key);
    assert_eq!(look(&mut slot, &files), Look::Loaded);
    files.write(KEY, "nothing");
    assert_eq!(look(&mut slot, &files), Look::Same);
    assert_eq!(look(&mut slot, &files), Look::Failed);
    files.write(KEY, &key);
    assert_eq!(look(&mut slot, &files), Look::Loaded);
    assert!(slot.problem.is_none());
}

#[test]
fn a_file_of_this_moment_is_read_once_more() {
    let (files, mut slot) = (Memory::default(), Slot::default());
    let (cert, key) = pair();
    files.write(CERT, &cert);
    files.write(KEY, &key);
    let paths = (Path::new(CERT), Path::new(KEY));
    let now = UNIX_EPOCH + Duration::from_secs(1003);
    assert_eq!(slot.look(&files, paths, "site", now), Look::Loaded);
    assert!(slot.settled.is_none());
    let later = now + Duration::from_secs(5);
    assert_eq!(slot.look(&files, paths, "site", later), Look::Same);
    assert!(slot.settled.is_some());
}

#[test]
fn what_is_wrong_is_said() {
    let (cert, key) = pair();
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (cert, key, expect) in [
        ("", key.as_str(), "no certificate in it"),
        (key.as_str(), key.as_str(), "no certificate in it"),
        (cert.as_str(), "", "no private key in it"),
        (cert.as_str(), cert.as_str(), "no private key in it"),
        (cert.as_str(), encrypted, "passphrase"),
        (cert.as_str(), &pair().1, "does not belong"),
    ] {
        let (files, mut slot) = (Memory::default(), Slot::default());
        files.write(CERT, cert);
        files.write(KEY, key);
        assert_eq!(look(&mut slot, &files), Look::Failed);
        assert!(why(&slot).contains(expect), "{}", why(&slot));
    }
}
