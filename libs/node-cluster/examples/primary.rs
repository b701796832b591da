//! A complete primary: `cargo run -p node-cluster --example primary -- server.js` runs two workers
//! of a Node script and deals each new connection to the next of them.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::Arc;

use node_cluster::{
    Attach, Channel, ConnId, Effect, HandleKey, Incoming, ListenAddress, ListenReply, Options,
    Primary, QueryId, ReadState, WorkerId,
};
use rustix::event::{PollFd, PollFlags, poll};

const WORKERS: u32 = 2;
const EADDRNOTAVAIL: i32 = 99;

struct Example {
    primary: Primary,
    workers: BTreeMap<WorkerId, (Child, Channel)>,
    listeners: BTreeMap<HandleKey, TcpListener>,
    /// Accepted connections that no worker has acked.
    conns: BTreeMap<ConnId, Arc<OwnedFd>>,
    next_conn: u64,
    last: Option<WorkerId>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let script = std::env::args().nth(1).ok_or("usage: primary server.js")?;
    let mut example = Example {
        primary: Primary::new(Options::default()),
        workers: BTreeMap::new(),
        listeners: BTreeMap::new(),
        conns: BTreeMap::new(),
        next_conn: 0,
        last: None,
    };
    for id in 1..=WORKERS {
        example.spawn(WorkerId(id), &script)?;
    }
    while !example.workers.is_empty() {
        example.wait()?;
        for worker in example.workers.keys().copied().collect::<Vec<_>>() {
            example.read(worker)?;
        }
        for key in example.listeners.keys().cloned().collect::<Vec<_>>() {
            example.accept(&key)?;
        }
    }
    Ok(())
}

impl Example {
    fn spawn(&mut self, worker: WorkerId, script: &str) -> Result<(), Box<dyn Error>> {
        let (channel, theirs) = Channel::pair()?;
        let child = Command::new("node")
            .arg(script)
            .env("NODE_CHANNEL_FD", "0") // any number will do that the child inherits
            .env("NODE_CHANNEL_SERIALIZATION_MODE", "json")
            .env("NODE_UNIQUE_ID", worker.to_string())
            .stdin(theirs)
            .spawn()?;
        self.primary.join(worker);
        self.workers.insert(worker, (child, channel));
        Ok(())
    }

    fn wait(&self) -> Result<(), Box<dyn Error>> {
        let mut fds = Vec::new();
        for (_, channel) in self.workers.values() {
            let write = if channel.wants_write() {
                PollFlags::OUT
            } else {
                PollFlags::empty()
            };
            fds.push(PollFd::new(channel, PollFlags::IN | write));
        }
        for (key, listener) in &self.listeners {
            // With every window full, what comes waits in the kernel's backlog.
            if self.next_worker(key).is_some() {
                fds.push(PollFd::new(listener, PollFlags::IN));
            }
        }
        poll(&mut fds, None)?;
        Ok(())
    }

    fn read(&mut self, worker: WorkerId) -> Result<(), Box<dyn Error>> {
        let Some((child, channel)) = self.workers.get_mut(&worker) else {
            return Ok(());
        };
        drop(channel.flush()); // if the worker is gone, reading tells
        let (primary, mut effects) = (&mut self.primary, Vec::new());
        let state = channel.read(&mut |incoming| match incoming {
            Incoming::Line(line, fd) => {
                effects.extend(primary.receive(worker, line, fd.is_some()));
            }
            Incoming::Oversized { bytes } => eprintln!("{worker}: a line of {bytes} bytes"),
        })?;
        if state == ReadState::Closed {
            eprintln!("{worker}: {}", child.wait()?);
            effects.extend(self.primary.leave(worker));
            self.workers.remove(&worker);
        }
        self.apply(effects)
    }

    /// Accepts what the workers' windows have room for.
    fn accept(&mut self, key: &HandleKey) -> Result<(), Box<dyn Error>> {
        while let Some(worker) = self.next_worker(key)
            && let Some(Ok((stream, _))) = self.listeners.get(key).map(TcpListener::accept)
        {
            self.next_conn += 1;
            let conn = ConnId(self.next_conn);
            self.conns.insert(conn, Arc::new(stream.into()));
            self.deliver(worker, key, conn)?;
        }
        Ok(())
    }

    fn deliver(&mut self, w: WorkerId, key: &HandleKey, c: ConnId) -> Result<(), Box<dyn Error>> {
        self.last = Some(w);
        let effects = self.primary.deliver(w, key, c);
        self.apply(effects)
    }

    /// Round robin over the workers that can take one.
    fn next_worker(&self, key: &HandleKey) -> Option<WorkerId> {
        let able = |worker: &WorkerId| self.primary.can_deliver(*worker, key);
        let after = |worker: &WorkerId| Some(*worker) > self.last;
        let mut after_last = self.primary.holders(key).filter(able).filter(after);
        after_last
            .next()
            .or_else(|| self.primary.holders(key).find(able))
    }

    fn apply(&mut self, effects: Vec<Effect>) -> Result<(), Box<dyn Error>> {
        for effect in effects {
            match effect {
                Effect::Send {
                    worker,
                    line,
                    attach,
                } => self.send(worker, line, attach)?,
                Effect::Query {
                    query,
                    key,
                    address,
                    ..
                } => self.listen(query, key, &address)?,
                Effect::Unused { key } => drop(self.listeners.remove(&key)),
                Effect::Accepted { conn, .. } => drop(self.conns.remove(&conn)),
                Effect::Returned { conn, key, .. } => match self.next_worker(&key) {
                    Some(worker) => self.deliver(worker, &key, conn)?,
                    None => drop(self.conns.remove(&conn)), // a real primary would keep it
                },
                Effect::App { worker, message } => {
                    println!("{worker} says {}", String::from_utf8_lossy(&message));
                }
                told @ (Effect::Online { .. }
                | Effect::Listening { .. }
                | Effect::Closed { .. }
                | Effect::Pong { .. }
                | Effect::Disconnecting { .. }
                | Effect::Agent { .. }
                | Effect::RuntimeIsBun { .. }
                | Effect::Unsupported { .. }
                | Effect::Garbage { .. }) => println!("{told:?}"),
            }
        }
        Ok(())
    }

    fn listen(
        &mut self,
        query: QueryId,
        key: HandleKey,
        address: &ListenAddress,
    ) -> Result<(), Box<dyn Error>> {
        if !self.listeners.contains_key(&key)
            && let ListenAddress::Tcp { host, port, .. } = address
            && let Ok(listener) = TcpListener::bind((host.as_deref().unwrap_or("::"), *port))
        {
            listener.set_nonblocking(true)?;
            self.listeners.insert(key.clone(), listener);
        }
        let reply = match self
            .listeners
            .get(&key)
            .map(TcpListener::local_addr)
            .transpose()?
        {
            Some(at) => ListenReply::Faux {
                sockname: Some((at.ip().to_string(), at.port())),
            },
            None => ListenReply::Error {
                errno: EADDRNOTAVAIL,
            },
        };
        let effects = self.primary.answer(query, reply);
        self.apply(effects)
    }

    fn send(&mut self, w: WorkerId, line: Vec<u8>, attach: Attach) -> Result<(), Box<dyn Error>> {
        let fd = match attach {
            Attach::Conn(conn) => self.conns.get(&conn).cloned(),
            Attach::None => None,
            Attach::Listener(..) | Attach::Dummy(_) => return Err("neither is asked for".into()),
        };
        if let Some((_, channel)) = self.workers.get_mut(&w) {
            channel.queue(line, fd)?;
            drop(channel.flush());
        }
        Ok(())
    }
}
