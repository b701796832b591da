//! The pump's thread: one loop over commands, ready pipes and timers.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::app::App;
use crate::compress::Compressor;
use crate::echo::EchoWriter;
use crate::file::AppFile;
use crate::intent::Intents;
use crate::label::{Label, SourceId, check_app_name};
use crate::line::{MAX_LINE_BYTES, Prefix, Rest, Taken, format};
use crate::options::{Echo, FileOptions, Notice};
use crate::pipe::{Peek, Scratch, available, raise_capacity};
use crate::pump::{Command, FLUSH_WAIT, Shared};
use crate::source::Source;
use crate::stamp::now_ms;

/// Raw bytes of one batch. Larger than the longest line with its newline, small enough to stay in
/// the processor's cache.
const INPUT_BYTES: usize = 2 * MAX_LINE_BYTES;
/// After a round the pump rests, so that a busy worker's lines come in batches and its writes wake
/// nobody. A pipe takes 1 MiB meanwhile.
const REST: Duration = Duration::from_millis(1);
/// Echo's thread is asked again after this whether it has room.
const ECHO_WAIT: Duration = Duration::from_millis(2);
/// The longest sleep while a notice is due.
const NOTICE_SLEEP: Duration = Duration::from_secs(1);
/// The longest sleep.
const MAX_SLEEP: Duration = Duration::from_secs(3_600);
/// After this long without output the buffers are given back.
const IDLE: Duration = Duration::from_secs(1);
const MAX_EVENTS: usize = 256;
const MAX_COMMANDS_A_ROUND: usize = 256;
/// A flush leaves its caller this much of the promised time.
const FLUSH_MARGIN: Duration = Duration::from_millis(100);
const WAKE: u64 = u64::MAX;

/// What one look into a pipe brought.
#[derive(Clone, Copy, Default)]
struct Look {
    taken: usize,
    /// Something was looked into at all.
    looked: bool,
    /// The pipe was at least half full: rest later.
    busy: bool,
    gone: bool,
}

pub struct Runner {
    dir: PathBuf,
    notices: Box<dyn Fn(Notice) + Send>,
    commands: Receiver<Command>,
    shared: Arc<Shared>,
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    scratch: Scratch,
    intents: Intents,
    echo: Option<EchoWriter>,
    compressor: Compressor,
    apps: BTreeMap<String, App>,
    sources: BTreeMap<SourceId, Source>,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Runner {
    pub fn new(
        dir: PathBuf,
        intents: Intents,
        echo: Option<Echo>,
        notices: Box<dyn Fn(Notice) + Send>,
        commands: Receiver<Command>,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        Ok(Self {
            dir,
            notices,
            commands,
            shared,
            epoll,
            wake: Arc::new(wake),
            scratch: Scratch::new()?,
            intents,
            echo: echo.map(EchoWriter::start).transpose()?,
            compressor: Compressor::start()?,
            apps: BTreeMap::new(),
            sources: BTreeMap::new(),
            input: Vec::new(),
            output: Vec::new(),
        })
    }

    pub fn wake(&self) -> Arc<OwnedFd> {
        self.wake.clone()
    }

    pub fn run(mut self) {
        let mut events = Vec::with_capacity(MAX_EVENTS);
        loop {
            self.wait(&mut events);
            if self.obey() {
                return;
            }
            let looks = self.look_at_ready();
            for app in self.apps.values_mut() {
                app.disclose(Instant::now(), &self.notices);
            }
            if looks.looked && !looks.busy {
                self.rest();
            }
        }
    }

    /// Sleeps until a pipe, a command or a timer is due, and marks what is ready.
    fn wait(&mut self, events: &mut Vec<epoll::Event>) {
        let sleep = self.sleep(Instant::now());
        events.clear();
        // Interrupted or not: the marks below and the timers decide.
        let _ = epoll::wait(&self.epoll, spare_capacity(events), Some(&timespec(sleep)));
        let now = Instant::now();
        if events.is_empty() && sleep == IDLE {
            (self.input, self.output) = (Vec::new(), Vec::new());
        }
        for event in events.iter() {
            // Copies: the event is packed.
            let (flags, data) = (event.flags, event.data);
            if data.u64() == WAKE {
                let _ = rustix::io::read(&*self.wake, &mut [0u8; 8]);
            } else if let Some(source) = self.sources.get_mut(&SourceId(data.u64())) {
                source.ready = true;
                if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
                    source.end(now);
                }
            }
        }
        for source in self.sources.values_mut() {
            if source.wake_at.is_some_and(|at| now >= at) {
                source.wake_at = None;
                source.ready = true;
            }
        }
    }

    fn sleep(&self, now: Instant) -> Duration {
        if self.sources.values().any(|source| source.may_look(now)) {
            return Duration::ZERO;
        }
        let longest = if self.apps.values().any(App::has_undisclosed) {
            NOTICE_SLEEP
        } else if !self.input.is_empty() {
            IDLE
        } else {
            MAX_SLEEP
        };
        let next = self
            .sources
            .values()
            .filter_map(|source| source.wake_at)
            .min();
        next.map_or(longest, |at| at.saturating_duration_since(now).min(longest))
    }

    /// Lets lines gather; only a command ends it early.
    fn rest(&self) {
        let _ = poll(
            &mut [PollFd::new(&*self.wake, PollFlags::IN)],
            Some(&timespec(REST)),
        );
    }

    /// Carries out what was called; whether it is time to stop.
    fn obey(&mut self) -> bool {
        for _ in 0..MAX_COMMANDS_A_ROUND {
            let Ok(command) = self.commands.try_recv() else {
                return false;
            };
            match command {
                Command::Configure(app, options) => self.configure(&app, &options),
                Command::Attach(id, label, pipe) => self.attach(id, label, pipe),
                Command::Finish(id) => {
                    if let Some(source) = self.sources.get_mut(&id) {
                        source.finish(available(&source.pipe), Instant::now());
                    }
                }
                Command::Flush(done) => {
                    self.flush();
                    let _ = done.try_send(());
                }
                Command::Remove(app) => self.remove(&app),
                Command::Stop => {
                    self.flush();
                    return true;
                }
            }
        }
        // There may be more: come again at once.
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
        false
    }

    fn configure(&mut self, app: &str, options: &FileOptions) {
        if let Err(error) = check_app_name(app) {
            let why = error.to_string();
            (self.notices)(Notice::WriteError {
                app: app.to_owned(),
                why,
            });
            return;
        }
        let mut file = AppFile::new(app, &self.dir, options);
        if let Some(old) = self.apps.get(app)
            && old.file.dir == file.dir
        {
            file.names = old.file.names.clone();
        }
        if file.compress {
            // What a former run left plain.
            self.compressor.compress(&file);
        }
        match self.apps.get_mut(app) {
            Some(old) => old.file = file,
            None => {
                self.apps
                    .insert(app.to_owned(), App::new(file, self.shared.told(app)));
            }
        }
    }

    fn attach(&mut self, id: SourceId, label: Label, pipe: OwnedFd) {
        let now = Instant::now();
        self.ensure_app(&label.app);
        let raised = self.sources.values().map(|source| source.capacity).sum();
        let capacity = raise_capacity(&pipe, raised);
        let watched = self.intents.settle(id, pipe.as_fd()).and_then(|()| {
            let flags = EventFlags::IN | EventFlags::ET;
            Ok(epoll::add(
                &self.epoll,
                &pipe,
                EventData::new_u64(id.0),
                flags,
            )?)
        });
        if let Err(error) = watched {
            let why = format!("cannot watch the pipe of source {}: {error}", id.0);
            (self.notices)(Notice::WriteError {
                app: label.app,
                why,
            });
            return;
        }
        self.sources
            .insert(id, Source::new(id, label, pipe, capacity, now));
    }

    fn remove(&mut self, app: &str) {
        if self.sources.values().any(|source| source.label.app == app) {
            if let Some(app) = self.apps.get_mut(app) {
                app.file.close();
            }
            return;
        }
        self.apps.remove(app);
        self.shared.forget(app);
    }

    fn ensure_app(&mut self, app: &str) {
        if !self.apps.contains_key(app) {
            self.configure(app, &FileOptions::default());
        }
    }

    fn look_at_ready(&mut self) -> Look {
        let now = Instant::now();
        let ready: Vec<SourceId> = self
            .sources
            .values()
            .filter(|s| s.may_look(now))
            .map(|s| s.id)
            .collect();
        let mut all = Look::default();
        for id in ready {
            let look = self.look(id, now);
            all.taken += look.taken;
            all.looked = true;
            all.busy |= look.busy;
        }
        all
    }

    /// Takes all that is in the pipes now.
    fn flush(&mut self) {
        let deadline = Instant::now() + FLUSH_WAIT - FLUSH_MARGIN;
        let now = Instant::now();
        for app in self.apps.values_mut() {
            app.retry_now(now);
        }
        let ids: Vec<SourceId> = self.sources.keys().copied().collect();
        for id in ids {
            let Some(source) = self.sources.get_mut(&id) else {
                continue;
            };
            let mut left = available(&source.pipe);
            while left > 0 && Instant::now() < deadline {
                let look = self.look(id, Instant::now());
                if look.gone || (look.taken == 0 && self.echo_has_room()) {
                    break;
                }
                left = left.saturating_sub(look.taken);
                if look.taken == 0 {
                    std::thread::sleep(ECHO_WAIT);
                }
            }
        }
    }

    fn echo_has_room(&self) -> bool {
        self.echo.as_ref().is_none_or(EchoWriter::has_room)
    }

    /// One batch of one source.
    fn look(&mut self, id: SourceId, now: Instant) -> Look {
        let echo_has_room = self.echo_has_room();
        let Some(source) = self.sources.get_mut(&id) else {
            return Look {
                gone: true,
                ..Look::default()
            };
        };
        let available = available(&source.pipe);
        source.ready = false;
        if !source.wants_look(available, now) {
            source.hold(available, now);
            return Look::default();
        }
        if !echo_has_room {
            source.wake_at = Some(now + ECHO_WAIT);
            return Look::default();
        }
        self.input.resize(INPUT_BYTES, 0);
        let mut limit = INPUT_BYTES;
        let dropping = match self.apps.get(&source.label.app).map(App::retry_at) {
            Some(Some(retry_at)) if now < retry_at => {
                if self.echo.is_none() && !must_drop(source, available, now) {
                    source.wake_at = Some(retry_at);
                    return Look::default();
                }
                limit = limit.min(source.capacity / 4);
                true
            }
            Some(_) => false,
            None => true,
        };
        let seen = match self.scratch.peek(&source.pipe, &mut self.input[..limit]) {
            Ok(Peek::Data(seen)) => seen,
            Ok(Peek::Empty) if !source.is_finishing() => return Look::default(),
            Ok(Peek::Empty | Peek::End) | Err(_) => return self.let_go(id),
        };
        let rest = match source.rest(seen, available, now) {
            Rest::HoldUnder(bytes) => Rest::HoldUnder(bytes.min(limit).min(self.scratch.reach())),
            Rest::Piece => Rest::Piece,
            Rest::Last => Rest::Last,
        };
        self.output.clear();
        let prefix = Prefix::new(&source.label, now_ms());
        let taken = format(&self.input[..seen], rest, &prefix, &mut self.output);
        if taken.bytes == 0 {
            source.hold(seen, now);
            return Look::default();
        }
        self.deliver(id, seen, taken, dropping, now)
    }

    /// Puts `self.output` where it belongs, and takes what it was made of out of the pipe.
    fn deliver(
        &mut self,
        id: SourceId,
        seen: usize,
        taken: Taken,
        dropping: bool,
        now: Instant,
    ) -> Look {
        let Some(source) = self.sources.get_mut(&id) else {
            return Look::default();
        };
        let app = self.apps.get_mut(&source.label.app);
        let outcome = match app {
            Some(app) if !dropping => {
                let lines = &self.output;
                app.write(
                    source,
                    lines,
                    taken.bytes,
                    &mut self.intents,
                    &self.compressor,
                )
                .inspect_err(|error| app.fail(error, now, &self.notices))
            }
            app => {
                if let Some(app) = app {
                    app.lose(taken.lines, &source.label);
                }
                self.intents
                    .take(id, taken.bytes as u64, source.pipe.as_fd())
            }
        };
        if outcome.is_err() {
            source.wake_at = Some(now + crate::app::RETRY);
            // The worker may stand still already and so give no other occasion to drop.
            let full = must_drop(source, available(&source.pipe), now);
            source.ready = full || self.echo.is_some();
            return Look::default();
        }
        if let Some(echo) = &self.echo {
            echo.write(&source.label.app, &self.output);
        }
        self.shared.recent().push(id, &self.input[..taken.bytes]);
        // Of a batch that was cut the rest is no partial line.
        let held = if taken.is_cut { 0 } else { seen - taken.bytes };
        source.took(taken.bytes, held, now);
        source.ready = source.ended || source.is_finishing() || available(&source.pipe) > held;
        let busy = seen >= source.capacity / 2;
        let done = source.is_done();
        if !dropping {
            self.tell_growth(id);
        }
        if done {
            self.let_go(id);
        }
        Look {
            taken: taken.bytes,
            looked: true,
            busy,
            gone: done,
        }
    }

    fn tell_growth(&self, id: SourceId) {
        let app = self
            .sources
            .get(&id)
            .and_then(|source| self.apps.get(&source.label.app));
        if let Some(app) = app
            && !app.told.swap(true, Ordering::AcqRel)
        {
            (self.notices)(Notice::Changed {
                app: app.file.app.clone(),
            });
        }
    }

    fn let_go(&mut self, id: SourceId) -> Look {
        if let Some(source) = self.sources.remove(&id) {
            let _ = epoll::delete(&self.epoll, &source.pipe);
            self.shared.recent().finish(id);
            (self.notices)(Notice::Finished(id));
        }
        Look {
            gone: true,
            ..Look::default()
        }
    }
}

/// While the file cannot be written: whether the pipe is so full that its worker would soon stand
/// still. Pages of a pipe may be half empty, so less than full and not growing counts as well.
fn must_drop(source: &mut Source, available: usize, now: Instant) -> bool {
    let stands_still = available == source.stuck_at;
    source.stuck_at = available;
    available >= source.capacity / 4 * 3
        || (stands_still && available >= source.capacity / 8 * 3)
        || source.is_given_up(now)
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
