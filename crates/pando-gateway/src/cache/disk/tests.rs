use std::io::{Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use super::*;
use crate::cache::entry::tests::{entry, fields};
use crate::cache::store::Store;
use gateway_spec::CacheStore;

const ADDRESS: &str = "http://a/x";

fn store(dir: &Path) -> Arc<Store> {
    let disk = Some(CacheDisk {
        path: dir.to_owned(),
        max_bytes: 1024 * 1024,
    });
    let store = Store::open(&CacheStore {
        memory_bytes: 1024 * 1024,
        disk,
    });
    let disk = store.disk.clone().unwrap();
    until(|| disk.early.lock().unwrap().is_none());
    store
}

fn until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn hash(store: &Store, address: &str) -> u64 {
    hash_of(address, &store.hasher).unwrap()
}

fn put(store: &Store, address: &str, body: &'static str) {
    let mut entry = entry("", &fields(&[]), body);
    entry.freshness.received_ms = now_ms();
    store.insert(hash(store, address), address, entry.into(), store.moment());
    until(|| {
        store
            .disk
            .as_ref()
            .unwrap()
            .waiting_bytes
            .load(Ordering::Relaxed)
            == 0
    });
    until(|| count_files(&store.disk.as_ref().unwrap().path) > 0);
}

fn get(store: &Arc<Store>, address: &str) -> Option<bytes::Bytes> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let hash = hash(store, address);
    let entry = runtime.block_on(store.fetch_from_disk(hash, address, 1, &HeaderMap::new()));
    entry.map(|entry| entry.body.clone())
}

/// Finished ones. ([`files_of`] would delete those that are being written.)
fn finished(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = folders(dir).flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| path.extension().is_none())
}

fn count_files(dir: &Path) -> usize {
    finished(dir).count()
}

fn only_file(dir: &Path) -> PathBuf {
    finished(dir).next().unwrap()
}

#[test]
fn what_is_stored_outlives_the_process_and_what_is_purged_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path());
    put(&first, ADDRESS, "body");
    put(&first, "http://a/y", "other");
    until(|| count_files(dir.path()) == 2);
    drop(first);

    let second = store(dir.path());
    assert_eq!(second.statistics().disk_files, 2);
    assert_eq!(get(&second, ADDRESS).unwrap(), "body");
    assert_eq!(second.purge(&Purge::url("a/x")), 1);
    assert_eq!(get(&second, ADDRESS), None);
    until(|| count_files(dir.path()) == 1);
    drop(second);

    let third = store(dir.path());
    assert_eq!(get(&third, ADDRESS), None);
    assert_eq!(get(&third, "http://a/y").unwrap(), "other");
}

#[test]
fn damaged_files_are_dropped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path());
    put(&first, ADDRESS, "body");
    let path = only_file(dir.path());
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::End(-1)).unwrap();
    file.write_all(b"X").unwrap();
    assert_eq!(get(&first, ADDRESS), None);
    assert_eq!(first.statistics().disk_corrupt, 1);
    until(|| count_files(dir.path()) == 0);

    put(&first, ADDRESS, "body");
    fs::write(only_file(dir.path()), b"PANDOC01 and nonsense").unwrap();
    fs::write(
        only_file(dir.path()).with_extension(file::UNFINISHED),
        b"half",
    )
    .unwrap();
    drop(first);
    let second = store(dir.path());
    assert_eq!(second.statistics().disk_corrupt, 1);
    assert_eq!(count_files(dir.path()), 0);
    assert_eq!(
        fs::read_dir(folders(dir.path()).next().unwrap())
            .unwrap()
            .count(),
        0
    );
}

proptest::proptest! {
    #[test]
    fn a_damaged_file_is_an_error_or_what_was_written(at: u16, byte: u8, cut: Option<u16>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut request = HeaderMap::new();
        request.insert("foo", http::HeaderValue::from_bytes(b"\xff1").unwrap());
        let mut entry = entry("foo", &request, "the body");
        entry.headers.insert("x", http::HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        file::write(&path, ADDRESS, &entry).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let at = usize::from(at) % bytes.len();
        bytes[at] ^= byte;
        bytes.truncate(cut.map_or(bytes.len(), |cut| usize::from(cut) % bytes.len()));
        fs::write(&path, &bytes).unwrap();
        let _ = file::read_head(&path);
        match file::read(&path) {
            Ok(stored) => {
                proptest::prop_assert_eq!((byte, cut.is_none()), (0, true));
                proptest::prop_assert_eq!(&*stored.address, ADDRESS);
                proptest::prop_assert_eq!(&stored.entry.headers, &entry.headers);
                proptest::prop_assert_eq!(&stored.entry.vary_key, &entry.vary_key);
                proptest::prop_assert_eq!(&stored.entry.body, &entry.body);
            }
            Err(file::Error::Corrupt(_)) => {}
            Err(error) => proptest::prop_assert!(false, "{:?}", error),
        }
    }
}

#[test]
fn a_folder_that_cannot_be_used_is_done_without() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "").unwrap();
    let store = Store::open(&CacheStore {
        memory_bytes: 1024 * 1024,
        disk: Some(CacheDisk { path, max_bytes: 1 }),
    });
    assert!(store.disk.is_none());
}
