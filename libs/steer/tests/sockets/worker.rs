//! A stand-in for a worker process: its own duplicate of a seat's socket, as a worker gets it
//! over its channel, and an accept loop that can end at any moment, leaving the queue as it is.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, listen};
use steer::Group;

use crate::client;

/// How often an idle worker looks whether it has been killed.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};

/// Node's backlog, unless the app says otherwise.
const NODE_BACKLOG: i32 = 511;

/// The duplicate that a worker gets, on which it calls `listen` once more, as Node does.
pub fn duplicate(group: &Group, seat: usize) -> OwnedFd {
    let listener = group.socket(seat).unwrap().try_clone().unwrap();
    listen(&listener, NODE_BACKLOG).unwrap();
    listener
}

/// Takes one connection as a worker does, past the group.
pub fn accept(listener: &OwnedFd) -> Option<OwnedFd> {
    match accept_with(listener, SocketFlags::CLOEXEC) {
        Ok(connection) => Some(connection),
        Err(Errno::AGAIN) => None,
        Err(errno) => panic!("accept: {errno}"),
    }
}

pub struct Worker {
    killed: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u32>>,
}

impl Worker {
    pub fn start(group: &Group, seat: usize) -> Worker {
        let listener = duplicate(group, seat);
        let killed = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let killed = Arc::clone(&killed);
            move || run(&listener, &killed)
        });
        Worker { killed, thread }
    }

    /// Ends it, wherever it is between two connections; the ids of the clients that it served.
    pub fn kill(self) -> Vec<u32> {
        self.killed.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn run(listener: &OwnedFd, killed: &AtomicBool) -> Vec<u32> {
    let mut served = Vec::new();
    while !killed.load(Ordering::Relaxed) {
        match accept(listener) {
            Some(connection) => served.push(client::serve(connection)),
            None => {
                let mut fds = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
                poll(&mut fds, Some(&TICK)).unwrap();
            }
        }
    }
    served
}
