//! The primary itself: spawns workers, binds what they ask for, carries effects out.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use node_cluster::{
    Attach, Channel, ConnId, Effect, HandleKey, Incoming, ListenAddress, ListenReply, Options,
    Primary, QueryId, ReadState, WorkerId, dummy,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// No test should need a tenth of it; a busy machine may.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the rig says to a worker that wants to listen.
#[derive(Clone, Copy, PartialEq)]
pub enum Answer {
    Real,
    Faux,
    Error(i32),
    /// Nothing: the test answers.
    Test,
}

pub struct Rig {
    pub primary: Primary,
    pub answer: Answer,
    pub listeners: BTreeMap<HandleKey, Arc<OwnedFd>>,
    /// Every effect but `Send`, as it came; `until` takes from here.
    pub log: Vec<Effect>,
    /// Lengths of the lines that were too long.
    pub oversized: Vec<u64>,
    runtime: PathBuf,
    dir: tempfile::TempDir,
    workers: BTreeMap<WorkerId, Process>,
    conns: BTreeMap<ConnId, Arc<OwnedFd>>,
    next_conn: u64,
    dummy: Arc<OwnedFd>,
}

struct Process {
    child: Child,
    channel: Option<Channel>,
}

impl Rig {
    pub fn new(runtime: &Path, answer: Answer) -> Self {
        Self {
            primary: Primary::new(Options::default()),
            answer,
            listeners: BTreeMap::new(),
            log: Vec::new(),
            oversized: Vec::new(),
            runtime: runtime.to_owned(),
            dir: tempfile::tempdir().unwrap(),
            workers: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            dummy: Arc::new(dummy().unwrap()),
        }
    }

    /// A free port on 127.0.0.1, bound already for the workers that will ask for it.
    pub fn port(&mut self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let key = HandleKey(format!("null:{port}:4:undefined"));
        listener.set_nonblocking(true).unwrap();
        self.listeners.insert(key, Arc::new(listener.into()));
        port
    }

    /// Runs `app`, a CommonJS script, as worker `id`.
    pub fn spawn(&mut self, id: u32, app: &str) -> WorkerId {
        let script = self.dir.path().join(format!("worker{id}.cjs"));
        std::fs::write(&script, app).unwrap();
        let (channel, theirs) = Channel::pair().unwrap();
        let mut command = Command::new(&self.runtime);
        if self.runtime.ends_with("deno") {
            command.args(["run", "--quiet", "-A"]);
        }
        // Its end is its standard input: so no other child of this process inherits it.
        let child = command
            .arg(&script)
            .current_dir(self.dir.path())
            .env("NODE_CHANNEL_FD", "0")
            .env("NODE_CHANNEL_SERIALIZATION_MODE", "json")
            .env("NODE_UNIQUE_ID", id.to_string())
            .stdin(theirs)
            .spawn()
            .unwrap();
        let worker = WorkerId(id);
        self.primary.join(worker);
        self.workers.insert(
            worker,
            Process {
                child,
                channel: Some(channel),
            },
        );
        worker
    }

    /// Runs `app` as worker `id` until it listens on all of `servers` servers.
    pub fn listening(&mut self, id: u32, app: &str, servers: usize) -> (WorkerId, Vec<HandleKey>) {
        let worker = self.spawn(id, app);
        let mut keys = Vec::new();
        while keys.len() < servers {
            keys.push(self.until(|effect| match effect {
                Effect::Listening { worker: w, key, .. } if *w == worker => Some(key.clone()),
                _ => None,
            }));
        }
        (worker, keys)
    }

    pub fn pid(&self, worker: WorkerId) -> u32 {
        self.workers[&worker].child.id()
    }

    /// A successor takes everything over, as after the death of this primary.
    pub fn succeed(&mut self) {
        let ids: Vec<_> = self.workers.keys().copied().collect();
        let mut successor = Primary::new(Options::default()).numbered_from(1 << 40);
        for worker in ids {
            successor.adopt(worker, self.primary.snapshot(worker).unwrap());
            let process = self.workers.get_mut(&worker).unwrap();
            let fd = process.channel.take().unwrap().into_fd();
            process.channel = Some(Channel::new(fd).unwrap());
        }
        self.primary = successor;
    }

    /// Where the listener of a TCP key is bound.
    pub fn address(&self, key: &HandleKey) -> SocketAddr {
        let fd = self.listeners[key].try_clone().unwrap();
        let port = TcpListener::from(fd).local_addr().unwrap().port();
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Accepts from the key's listener and hands the connection to the worker.
    pub fn hand_over(&mut self, worker: WorkerId, key: &HandleKey) -> ConnId {
        let listener = self.listeners[key].clone();
        wait_readable(listener.as_fd());
        let accepted = rustix::net::accept_with(&listener, rustix::net::SocketFlags::CLOEXEC);
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        self.conns.insert(conn, Arc::new(accepted.unwrap()));
        self.redeliver(worker, key, conn);
        conn
    }

    pub fn redeliver(&mut self, worker: WorkerId, key: &HandleKey, conn: ConnId) {
        let effects = self.primary.deliver(worker, key, conn);
        self.apply(effects);
    }

    /// Turns until an effect is found by `find`, and takes it off the log.
    pub fn until<T>(&mut self, mut find: impl FnMut(&Effect) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut seen = 0;
        loop {
            if let Some((at, found)) =
                (seen..self.log.len()).find_map(|at| find(&self.log[at]).map(|found| (at, found)))
            {
                self.log.remove(at);
                return found;
            }
            seen = self.log.len();
            assert!(
                Instant::now() < deadline,
                "not in {DEADLINE:?}; so far: {:#?}",
                self.log
            );
            self.turn();
        }
    }

    pub fn until_is(&mut self, expect: &Effect) {
        self.until(|effect| (effect == expect).then_some(()));
    }

    /// The app's next message.
    pub fn app_message(&mut self) -> serde_json::Value {
        self.until(|effect| match effect {
            Effect::App { message, .. } => Some(serde_json::from_slice(message).unwrap()),
            _ => None,
        })
    }

    /// Turns until the worker has closed its channel, and reaps it.
    pub fn until_gone(&mut self, worker: WorkerId) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        while self.workers[&worker].channel.is_some() {
            assert!(
                Instant::now() < deadline,
                "not gone; so far: {:#?}",
                self.log
            );
            self.turn();
        }
        while Instant::now() < deadline {
            let process = self.workers.get_mut(&worker).unwrap();
            if let Some(status) = process.child.try_wait().unwrap() {
                self.workers.remove(&worker);
                return status;
            }
            self.turn();
        }
        panic!("{worker:?} closed its channel and runs on");
    }

    pub fn kill(&mut self, worker: WorkerId) {
        self.workers.get_mut(&worker).unwrap().child.kill().unwrap();
    }

    /// One round: waits a little for the channels, reads, carries out.
    pub fn turn(&mut self) {
        let open: Vec<_> = self
            .workers
            .values()
            .filter_map(|process| process.channel.as_ref())
            .collect();
        let mut fds: Vec<_> = open
            .iter()
            .map(|channel| {
                let write = channel.wants_write().then_some(PollFlags::OUT);
                PollFd::new(
                    *channel,
                    PollFlags::IN | write.unwrap_or(PollFlags::empty()),
                )
            })
            .collect();
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        };
        poll(&mut fds, Some(&wait)).unwrap();
        let ids: Vec<_> = self.workers.keys().copied().collect();
        for worker in ids {
            self.read(worker);
        }
    }

    pub fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send {
                    worker,
                    line,
                    attach,
                } => self.send(worker, line, attach),
                Effect::Query {
                    query,
                    ref key,
                    ref address,
                    ..
                } if self.answer != Answer::Test => {
                    let (key, address) = (key.clone(), address.clone());
                    self.log.push(effect);
                    self.answer_query(query, key, &address);
                }
                Effect::Accepted { conn, .. } => {
                    assert!(self.conns.remove(&conn).is_some(), "{conn:?} twice");
                    self.log.push(effect);
                }
                other => self.log.push(other),
            }
        }
    }

    pub fn answer_query(&mut self, query: QueryId, key: HandleKey, address: &ListenAddress) {
        let reply = match self.answer {
            Answer::Error(errno) => ListenReply::Error { errno },
            Answer::Real => {
                self.bind(&key, address);
                ListenReply::Handle
            }
            Answer::Faux | Answer::Test => {
                let port = self.bind(&key, address);
                ListenReply::Faux {
                    sockname: port.map(|port| ("127.0.0.1".to_owned(), port)),
                }
            }
        };
        let effects = self.primary.answer(query, reply);
        self.apply(effects);
    }

    fn bind(&mut self, key: &HandleKey, address: &ListenAddress) -> Option<u16> {
        let (fd, port): (OwnedFd, _) = match address {
            ListenAddress::Tcp { port, .. } => {
                let listener = match self.listeners.get(key) {
                    Some(bound) => TcpListener::from(bound.try_clone().unwrap()),
                    None => TcpListener::bind(("127.0.0.1", *port)).unwrap(),
                };
                let port = listener.local_addr().unwrap().port();
                (listener.into(), Some(port))
            }
            ListenAddress::Unix { path } => (UnixListener::bind(path).unwrap().into(), None),
            ListenAddress::Fd(_) | ListenAddress::Udp { .. } => panic!("{address:?}"),
        };
        rustix::io::ioctl_fionbio(&fd, true).unwrap();
        self.listeners.insert(key.clone(), Arc::new(fd));
        port
    }

    fn send(&mut self, worker: WorkerId, line: Vec<u8>, attach: Attach) {
        let fd = match attach {
            Attach::None => None,
            Attach::Listener(key, _) => Some(self.listeners[&key].clone()),
            Attach::Conn(conn) => Some(self.conns[&conn].clone()),
            Attach::Dummy(_) => Some(self.dummy.clone()),
        };
        let Some(channel) = self
            .workers
            .get_mut(&worker)
            .and_then(|w| w.channel.as_mut())
        else {
            return;
        };
        channel.queue(line, fd).unwrap();
        drop(channel.flush()); // a worker that is gone is seen by reading
    }

    fn read(&mut self, worker: WorkerId) {
        let Some(process) = self.workers.get_mut(&worker) else {
            return;
        };
        let Some(channel) = process.channel.as_mut() else {
            return;
        };
        drop(channel.flush());
        let (primary, oversized) = (&mut self.primary, &mut self.oversized);
        let mut effects = Vec::new();
        let state = channel.read(&mut |incoming| match incoming {
            Incoming::Line(line, fd) => {
                effects.extend(primary.receive(worker, line, fd.is_some()));
            }
            Incoming::Oversized { bytes } => oversized.push(bytes),
        });
        if state.unwrap() == ReadState::Closed {
            process.channel = None;
            effects.extend(self.primary.leave(worker));
        }
        self.apply(effects);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for process in self.workers.values_mut() {
            drop(process.child.kill());
            drop(process.child.wait());
        }
    }
}

fn wait_readable(fd: std::os::fd::BorrowedFd<'_>) {
    let wait = Timespec {
        tv_sec: DEADLINE.as_secs() as i64,
        tv_nsec: 0,
    };
    let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&wait)).unwrap();
    assert_eq!(ready, 1, "no connection came");
}
