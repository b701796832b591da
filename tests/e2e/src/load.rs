//! A load generator that counts exactly. One thread, one epoll.
//!
//! Latency runs from the time at which a request was *due*, not from when it was sent, so that a
//! stalled server cannot hide its stall by delaying its own clients (coordinated omission).
//!
//! ```text
//! due -> connecting -> asking -> answered      kept connections: answered -> idle -> asking
//!             |            |
//!          failed       failed                 one failure is one request not answered
//! ```
//! A kept connection that the server ends while idle is no failure: no request was lost. One that
//! it ends after `Connection: close` is expected. One that ends with a request on it is a failure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::http::ResponseParser;
use crate::tally::{MAX_BODIES, Tally};

const EVENTS_AT_ONCE: usize = 512;
/// The loop looks at the clock and the stop flag at least this often.
const TICK: Duration = Duration::from_millis(20);
/// How often every request on its way is looked at for its timeout.
const SWEEP: Duration = Duration::from_millis(500);
const READ_BYTES: usize = 16 << 10;

#[derive(Clone, Debug)]
pub struct Load {
    pub addr: SocketAddr,
    pub path: String,
    pub shape: Shape,
    /// New requests are made for this long, or until stopped.
    pub duration: Duration,
    /// A request not answered after this long has failed.
    pub timeout: Duration,
    /// The client's own address, for balance by IP.
    pub source: Option<Ipv4Addr>,
}

#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A new connection for each request, at a fixed rate whatever the server does.
    Open { per_second: u32 },
    /// A fixed rate whatever the server does, on at most so many kept connections.
    Rate { per_second: u32, clients: usize },
    /// Clients that ask, wait for the answer, pause, and ask again.
    Closed {
        clients: usize,
        pause: Duration,
        keep_alive: bool,
    },
}

impl Load {
    /// Requests for `/` on 127.0.0.1, each on its own connection.
    pub fn open(port: u16, per_second: u32) -> Self {
        Self::new(port, Shape::Open { per_second })
    }

    /// Clients that keep their connections.
    pub fn keep_alive(port: u16, clients: usize) -> Self {
        Self::new(
            port,
            Shape::Closed {
                clients,
                pause: Duration::ZERO,
                keep_alive: true,
            },
        )
    }

    /// A fixed rate over kept connections.
    pub fn rate(port: u16, per_second: u32, clients: usize) -> Self {
        let shape = Shape::Rate {
            per_second,
            clients,
        };
        Self::new(port, shape)
    }

    fn new(port: u16, shape: Shape) -> Self {
        Self {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            path: "/".into(),
            shape,
            duration: Duration::from_secs(3600),
            timeout: Duration::from_secs(30),
            source: None,
        }
    }

    pub fn lasting(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    pub fn path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    pub fn from(mut self, source: Ipv4Addr) -> Self {
        self.source = Some(source);
        self
    }

    pub fn pausing(mut self, between: Duration) -> Self {
        if let Shape::Closed { pause, .. } = &mut self.shape {
            *pause = between;
        }
        self
    }

    /// Runs to its end.
    pub fn run(self) -> io::Result<Tally> {
        Engine::new(self, Arc::new(AtomicBool::new(false)))?.run()
    }

    /// Runs on its own thread until [`Running::finish`].
    pub fn spawn(self) -> io::Result<Running> {
        let stop = Arc::new(AtomicBool::new(false));
        let engine = Engine::new(self, Arc::clone(&stop))?;
        let thread = std::thread::Builder::new()
            .name("load".into())
            .spawn(|| engine.run())?;
        Ok(Running { stop, thread })
    }
}

#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Tally>>,
}

impl Running {
    /// Makes no new request from now on.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits until its duration is over and the answers are in.
    pub fn finish_in_time(self) -> io::Result<Tally> {
        Self::join(self.thread)
    }

    /// Makes no new request, waits for the answers on their way.
    pub fn finish(self) -> io::Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        Self::join(self.thread)
    }

    fn join(thread: JoinHandle<io::Result<Tally>>) -> io::Result<Tally> {
        let panicked = |_| io::Error::other("the load thread panicked");
        thread.join().map_err(panicked)?
    }
}

struct Engine {
    load: Load,
    request: Vec<u8>,
    stop: Arc<AtomicBool>,
    epoll: OwnedFd,
    /// Requests to come, soonest first: when, and on which kept connection.
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    flights: BTreeMap<u64, Flight>,
    /// [`Shape::Rate`]: requests that no connection is free for, and kept ones without a request.
    waiting: VecDeque<Instant>,
    idle: Vec<u64>,
    next_id: u64,
    tally: Tally,
}

/// One connection.
struct Flight {
    stream: TcpStream,
    parser: ResponseParser,
    /// When the request on it was due; `None` while idle.
    due: Option<Instant>,
    connected: bool,
}

enum Outcome {
    Wait,
    Answered,
    IdleClosed,
    Refused(String),
    Broken(String),
}

impl Shape {
    /// Of shapes with a rate.
    fn per_second(self) -> Option<u32> {
        match self {
            Self::Open { per_second } | Self::Rate { per_second, .. } => Some(per_second),
            Self::Closed { .. } => None,
        }
    }
}

/// From the start to when request `number` is due.
fn due_after(number: u64, per_second: u32) -> Duration {
    Duration::from_secs_f64(number as f64 / f64::from(per_second))
}

impl Engine {
    fn new(load: Load, stop: Arc<AtomicBool>) -> io::Result<Self> {
        let connection = match load.shape {
            Shape::Closed {
                keep_alive: true, ..
            }
            | Shape::Rate { .. } => "keep-alive",
            Shape::Closed { .. } | Shape::Open { .. } => "close",
        };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n",
            load.path
        );
        Ok(Self {
            load,
            request: request.into_bytes(),
            stop,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            due: BinaryHeap::new(),
            flights: BTreeMap::new(),
            waiting: VecDeque::new(),
            idle: Vec::new(),
            next_id: 1,
            tally: Tally::default(),
        })
    }

    fn run(mut self) -> io::Result<Tally> {
        let start = Instant::now();
        let end = start + self.load.duration;
        let mut scheduled: u64 = 0;
        let mut swept = start;
        if let Shape::Closed { clients, .. } = self.load.shape {
            for _ in 0..clients {
                let id = self.fresh_id();
                self.due.push(Reverse((start, id)));
            }
        }
        loop {
            let now = Instant::now();
            let closing = now >= end || self.stop.load(Ordering::Relaxed);
            if let (Some(per_second), false) = (self.load.shape.per_second(), closing) {
                while let at = start + due_after(scheduled, per_second)
                    && at <= now
                {
                    self.schedule(at);
                    scheduled += 1;
                }
            }
            self.give_idle_work();
            self.send_due(now, closing)?;
            if now - swept >= SWEEP {
                swept = now;
                self.sweep(now);
            }
            if closing
                && self.waiting.is_empty()
                && self.flights.values().all(|flight| flight.due.is_none())
            {
                break;
            }
            self.wait(now, start, scheduled)?;
        }
        self.tally.latencies_us.sort_unstable();
        Ok(self.tally)
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn schedule(&mut self, at: Instant) {
        if matches!(self.load.shape, Shape::Rate { .. }) {
            self.waiting.push_back(at);
        } else {
            let id = self.fresh_id();
            self.due.push(Reverse((at, id)));
        }
    }

    /// [`Shape::Rate`]: a request goes to an idle connection, or to a new one while there may be more.
    fn give_idle_work(&mut self) {
        let Shape::Rate { clients, .. } = self.load.shape else {
            return;
        };
        while let Some(at) = self.waiting.front().copied() {
            let id = match self.idle.pop() {
                Some(id) => id,
                None if self.flights.len() + self.due.len() < clients => self.fresh_id(),
                None => return,
            };
            self.waiting.pop_front();
            self.due.push(Reverse((at, id)));
        }
    }

    /// Sends what is due; when `closing`, forgets it (open shape: sends it, it was scheduled).
    fn send_due(&mut self, now: Instant, closing: bool) -> io::Result<()> {
        while let Some(Reverse((at, id))) = self.due.peek().copied()
            && at <= now
        {
            self.due.pop();
            if closing && matches!(self.load.shape, Shape::Closed { .. }) {
                continue;
            }
            self.tally.sent += 1;
            match self.flights.get_mut(&id) {
                Some(flight) => {
                    flight.due = Some(at);
                    let outcome = match (&flight.stream).write_all(&self.request) {
                        Ok(()) => Outcome::Wait,
                        Err(error) => Outcome::Broken(format!("write: {error}")),
                    };
                    self.settle(id, outcome);
                }
                None => self.connect(id, at)?,
            }
        }
        Ok(())
    }

    fn connect(&mut self, id: u64, due: Instant) -> io::Result<()> {
        let family = match self.load.addr {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        if let Some(source) = self.load.source {
            rustix::net::bind(&socket, &SocketAddr::from((source, 0)))?;
        }
        let outcome = match rustix::net::connect(&socket, &self.load.addr) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Outcome::Wait,
            Err(error) => Outcome::Refused(format!("connect: {error}")),
        };
        self.tally.connections += 1;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        epoll::add(
            &self.epoll,
            stream.as_fd(),
            epoll::EventData::new_u64(id),
            epoll::EventFlags::IN | epoll::EventFlags::OUT,
        )?;
        let flight = Flight {
            stream,
            parser: ResponseParser::default(),
            due: Some(due),
            connected: false,
        };
        self.flights.insert(id, flight);
        self.settle(id, outcome);
        Ok(())
    }

    fn wait(&mut self, now: Instant, start: Instant, scheduled: u64) -> io::Result<()> {
        let next = match self.load.shape.per_second() {
            Some(per_second) => Some(start + due_after(scheduled, per_second)),
            None => self.due.peek().map(|Reverse((at, _))| *at),
        };
        let timeout = next
            .map_or(TICK, |at| at.saturating_duration_since(now))
            .min(TICK);
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&timeout),
        ) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for event in events {
            let id = event.data.u64();
            let outcome = self.turn(id)?;
            self.settle(id, outcome);
        }
        Ok(())
    }

    /// Moves one connection on as far as it goes without waiting.
    fn turn(&mut self, id: u64) -> io::Result<Outcome> {
        let Some(flight) = self.flights.get_mut(&id) else {
            return Ok(Outcome::Wait);
        };
        if !flight.connected {
            if let Some(error) = flight.stream.take_error()? {
                return Ok(Outcome::Refused(format!("connect: {error}")));
            }
            match (&flight.stream).write_all(&self.request) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    return Ok(Outcome::Wait);
                }
                Err(error) => return Ok(Outcome::Broken(format!("write: {error}"))),
            }
            flight.connected = true;
            epoll::modify(
                &self.epoll,
                flight.stream.as_fd(),
                epoll::EventData::new_u64(id),
                epoll::EventFlags::IN,
            )?;
        }
        Ok(read(flight, &mut self.tally))
    }

    fn settle(&mut self, id: u64, outcome: Outcome) {
        match outcome {
            Outcome::Wait => return,
            Outcome::Answered => {
                let kept = self.flights.get(&id).is_some_and(|f| f.due.is_none());
                if !kept || matches!(self.load.shape, Shape::Open { .. }) {
                    self.flights.remove(&id);
                }
                match self.load.shape {
                    Shape::Closed { pause, .. } => {
                        self.due.push(Reverse((Instant::now() + pause, id)));
                    }
                    Shape::Rate { .. } if kept => self.idle.push(id),
                    Shape::Rate { .. } | Shape::Open { .. } => {}
                }
                return;
            }
            Outcome::IdleClosed => {
                self.tally.idle_closed += 1;
                self.idle.retain(|idle| *idle != id);
                self.flights.remove(&id);
                return;
            }
            Outcome::Refused(what) => {
                self.tally.refused += 1;
                self.tally.failed(what);
            }
            Outcome::Broken(what) => {
                self.tally.broken += 1;
                self.tally.failed(what);
            }
        }
        self.flights.remove(&id);
        self.again_after_failure(id);
    }

    /// A client whose request failed goes on, a little later: a dead server is not hammered.
    fn again_after_failure(&mut self, id: u64) {
        if let Shape::Closed { pause, .. } = self.load.shape {
            let next = Instant::now() + pause.max(Duration::from_millis(10));
            self.due.push(Reverse((next, id)));
        }
    }

    fn sweep(&mut self, now: Instant) {
        let timeout = self.load.timeout;
        let late: Vec<u64> = self
            .flights
            .iter()
            .filter(|(_, flight)| flight.due.is_some_and(|due| now > due + timeout))
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.tally.timed_out += 1;
            self.tally.failed(format!("no answer in {timeout:?}"));
            self.flights.remove(&id);
            self.again_after_failure(id);
        }
    }
}

fn read(flight: &mut Flight, tally: &mut Tally) -> Outcome {
    let mut buffer = [0; READ_BYTES];
    let mut eof = false;
    loop {
        match flight.stream.read(&mut buffer) {
            Ok(0) => {
                eof = true;
                break;
            }
            Ok(n) => flight.parser.push(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if flight.due.is_none() => {
                tally.failed(format!("idle: {error}"));
                return Outcome::IdleClosed;
            }
            Err(error) => return Outcome::Broken(format!("read: {error}")),
        }
    }
    let Some(due) = flight.due else {
        return if eof {
            Outcome::IdleClosed
        } else {
            Outcome::Wait
        };
    };
    match flight.parser.take(eof) {
        Ok(None) => Outcome::Wait,
        Ok(Some(response)) => {
            tally.latencies_us.push(due.elapsed().as_micros() as u64);
            if response.status < 400 {
                tally.ok += 1;
            } else {
                tally.bad_status += 1;
                tally.failed(format!("status {}: {}", response.status, response.text()));
            }
            let body = response.text();
            if tally.bodies.len() < MAX_BODIES || tally.bodies.contains_key(&body) {
                *tally.bodies.entry(body).or_default() += 1;
            }
            if !(response.close || eof) {
                flight.due = None;
            }
            Outcome::Answered
        }
        Err(error) => Outcome::Broken(format!("answer: {error}")),
    }
}
