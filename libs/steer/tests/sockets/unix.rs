//! Unix paths: stale files are replaced, live ones and other files are left alone.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;

use steer::{OpenError, open_unix};

/// A directory of one test, removed with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("steer-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Directory(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn answers(socket: OwnedFd, mut client: UnixStream) {
    let listener = UnixListener::from(socket);
    let (mut connection, _) = listener.accept().unwrap();
    client.write_all(b"?").unwrap();
    let mut byte = [0];
    connection.read_exact(&mut byte).unwrap();
    connection.write_all(b"!").unwrap();
    client.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"!");
}

#[test]
fn a_new_path_listens() {
    let directory = Directory::new("new");
    let path = directory.file("app.sock");
    let socket = open_unix(&path).unwrap();
    answers(socket, UnixStream::connect(&path).unwrap());
}

#[test]
fn a_stale_socket_is_replaced() {
    let directory = Directory::new("stale");
    let path = directory.file("app.sock");
    drop(open_unix(&path).unwrap());
    assert!(path.exists(), "closing leaves the file");
    let socket = open_unix(&path).unwrap();
    answers(socket, UnixStream::connect(&path).unwrap());
}

#[test]
fn a_live_socket_is_in_use_and_its_holder_named() {
    let directory = Directory::new("live");
    let path = directory.file("my app.sock");
    let live = open_unix(&path).unwrap();
    let error = open_unix(&path).unwrap_err();
    assert_eq!(error.errno(), 98);
    let text = error.to_string();
    let OpenError::PathInUse {
        path: named,
        holder: Some(holder),
    } = error
    else {
        panic!("{text}")
    };
    assert_eq!((named, holder.pid), (path.clone(), std::process::id()));
    // The probe's connection first, then a real one.
    let listener = UnixListener::from(live.try_clone().unwrap());
    drop(listener.accept().unwrap());
    answers(live, UnixStream::connect(&path).unwrap());
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let directory = Directory::new("file");
    let path = directory.file("precious");
    fs::write(&path, "data").unwrap();
    let error = open_unix(&path).unwrap_err();
    assert!(matches!(error, OpenError::NotASocket { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
}

#[test]
fn a_path_that_cannot_be_is_an_error() {
    let directory = Directory::new("bad");
    let error = open_unix(&directory.file("missing/app.sock")).unwrap_err();
    assert_eq!(error.errno(), 2, "{error}");
    let error = open_unix(&directory.file(&"x".repeat(120))).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[test]
fn of_many_at_once_one_gets_a_stale_path() {
    let directory = Directory::new("race");
    let path = directory.file("app.sock");
    drop(open_unix(&path).unwrap());
    let barrier = std::sync::Barrier::new(8);
    let winners: Vec<OwnedFd> = std::thread::scope(|scope| {
        let attempt = || {
            barrier.wait();
            open_unix(&path).ok()
        };
        let attempts: Vec<_> = (0..8).map(|_| scope.spawn(attempt)).collect();
        attempts
            .into_iter()
            .filter_map(|attempt| attempt.join().unwrap())
            .collect()
    });
    assert_eq!(winners.len(), 1);
    UnixStream::connect(&path).unwrap();
}

#[test]
fn an_abstract_name_listens() {
    let name = format!("steer-test-{}", std::process::id());
    let path = PathBuf::from(format!("\0{name}"));
    let socket = open_unix(&path).unwrap();
    let error = open_unix(&path).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::PathInUse {
                holder: Some(_),
                ..
            }
        ),
        "{error}"
    );
    let addr = SocketAddr::from_abstract_name(name).unwrap();
    answers(socket, UnixStream::connect_addr(&addr).unwrap());
}
