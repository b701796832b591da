//! The loop between the terminal, the control socket and the model.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ratatui::crossterm::event::{self, Event};
use rustix::process::{Signal, kill_current_process_group};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until, timeout};

use super::calls::{Caller, Readable, Renew};
use super::listing;
use super::look::Look;
use super::model::{Effect, Key, Message, Model};
use super::page::{List, Page};
use super::screen::{self, Screen};
use crate::time::Clock;

/// Messages that wait to be taken.
const QUEUE_MAX: usize = 1_024;
const INPUT_QUEUE_MAX: usize = 64;
/// Messages taken between two looks at the keyboard.
const AT_ONCE_MAX: usize = 512;
/// Between two frames: after a key, and after anything else. Over ssh frames cost bytes.
const FRAME_AFTER_KEY: Duration = Duration::from_millis(30);
const FRAME: Duration = Duration::from_millis(250);
/// How often the reader of the keyboard looks whether anybody listens.
const INPUT_POLL: Duration = Duration::from_millis(500);
/// For the signal that says that we run again. A process group that nobody can continue is not
/// stopped at all, so none may come.
const CONTINUE_PATIENCE: Duration = Duration::from_millis(300);

/// What the dashboard needs of its program.
pub struct Options {
    pub home: PathBuf,
    /// What is shown first.
    pub first: Page,
    /// The column by which [`Page::Top`] is sorted.
    pub sort: Option<usize>,
    pub color: bool,
    pub readable: Readable,
    pub renew: Renew,
}

/// Shows the dashboard until its user leaves.
///
/// # Errors
/// There is no terminal, or it has gone.
pub fn run(options: Options) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut screen = Screen::new()?;
    let result = runtime.block_on(async { Driver::new(options).drive(&mut screen).await });
    screen.leave();
    // A call that is under way is dropped; the daemon sees its connection end.
    runtime.shutdown_background();
    result
}

enum Input {
    Key(Key),
    Resize,
    /// The terminal has gone.
    Gone,
}

struct Driver {
    model: Model,
    look: Look,
    caller: Caller,
    messages: Receiver<Message>,
    tasks: JoinSet<()>,
    logs: Option<tokio::task::AbortHandle>,
    readable: Readable,
    renew: Renew,
    asked_events: bool,
    drawn: Instant,
    /// When the next frame is due.
    due: Option<Instant>,
}

impl Driver {
    fn new(options: Options) -> Self {
        let (sender, messages) = channel(QUEUE_MAX);
        let variable = |name: &str| std::env::var(name).ok();
        let home = options.home.display().to_string();
        let mut model = Model::new(home, options.first, Clock::local());
        if let Some(column) = options.sort {
            let largest_first = listing::apps::is_number_of_top(column);
            model.sorts.insert(List::Top, (column, largest_first));
        }
        Self {
            model,
            look: Look {
                color: options.color,
                unicode: super::look::is_utf8(variable),
                clock: Clock::local(),
            },
            caller: Caller {
                home: options.home,
                messages: sender,
            },
            messages,
            tasks: JoinSet::new(),
            logs: None,
            readable: options.readable,
            renew: options.renew,
            asked_events: false,
            drawn: Instant::now(),
            due: Some(Instant::now()),
        }
    }

    async fn drive(mut self, screen: &mut Screen) -> io::Result<()> {
        let mut input = read_input();
        let mut ends = Ends::new()?;
        let mut continued = signal(Signal::CONT)?;
        let mut tick = interval(Duration::from_secs(1));
        self.tasks.spawn(self.caller.clone().watch());
        loop {
            let due = self.due.unwrap_or_else(Instant::now);
            let effects = tokio::select! {
                () = sleep_until(due), if self.due.is_some() => {
                    self.due = None;
                    self.drawn = Instant::now();
                    screen.draw(&mut self.model, &self.look)?;
                    Vec::new()
                }
                heard = input.recv() => match heard {
                    Some(Input::Key(key)) => self.take(Message::Key(key), FRAME_AFTER_KEY),
                    Some(Input::Resize) => self.take(Message::Tick, FRAME_AFTER_KEY),
                    Some(Input::Gone) | None => return Ok(()),
                },
                Some(message) = self.messages.recv() => self.take_all(message),
                _ = tick.tick() => self.second(),
                Some(()) = continued.recv() => {
                    screen.enter()?;
                    self.take(Message::Tick, FRAME_AFTER_KEY)
                }
                () = ends.any() => return Ok(()),
                Some(_) = self.tasks.join_next() => Vec::new(),
            };
            for effect in effects {
                match effect {
                    Effect::Quit => return Ok(()),
                    Effect::Suspend => {
                        screen.leave();
                        // Sent to the shell's whole job, as the terminal's driver would.
                        kill_current_process_group(Signal::TSTP)?;
                        // Either way the terminal is taken again.
                        let _ = timeout(CONTINUE_PATIENCE, continued.recv()).await;
                        screen.enter()?;
                        self.frame_within(FRAME_AFTER_KEY);
                    }
                    Effect::Change(_) | Effect::Logs(_) | Effect::Series { .. } => {
                        self.carry_out(effect);
                    }
                }
            }
        }
    }

    fn take(&mut self, message: Message, frame: Duration) -> Vec<Effect> {
        self.frame_within(frame);
        self.model.update(message, epoch_ms())
    }

    /// This message and those behind it: a flood of log lines is one frame.
    fn take_all(&mut self, first: Message) -> Vec<Effect> {
        let mut effects = self.take(first, FRAME);
        for _ in 1..AT_ONCE_MAX {
            let Ok(message) = self.messages.try_recv() else {
                break;
            };
            effects.extend(self.model.update(message, epoch_ms()));
        }
        if !self.asked_events && self.model.now.is_some() {
            self.asked_events = true;
            self.tasks.spawn(self.caller.clone().events(epoch_ms()));
        }
        effects
    }

    /// Once a second: what is old shows it; after midnight times of yesterday have a date.
    fn second(&mut self) -> Vec<Effect> {
        self.model.clock = Clock::local();
        self.look.clock = Clock::local();
        let was_stale = self.model.is_stale();
        let had_notice = self.model.notice.is_some();
        let effects = self.model.update(Message::Tick, epoch_ms());
        if was_stale || self.model.is_stale() || had_notice || self.model.now.is_none() {
            self.frame_within(FRAME);
        }
        effects
    }

    fn frame_within(&mut self, after_last: Duration) {
        let wanted = (self.drawn + after_last).max(Instant::now());
        self.due = Some(self.due.map_or(wanted, |due| due.min(wanted)));
    }

    fn carry_out(&mut self, effect: Effect) {
        let caller = self.caller.clone();
        match effect {
            Effect::Change(change) => {
                self.tasks.spawn(caller.change(change, self.renew));
            }
            Effect::Logs(wanted) => {
                if let Some(former) = self.logs.take() {
                    former.abort();
                }
                if let Some((id, scope)) = wanted {
                    let task = caller.logs(id, scope, self.readable);
                    self.logs = Some(self.tasks.spawn(task));
                }
            }
            Effect::Series { id, queries } => {
                for (of, query) in queries.into_iter().enumerate() {
                    self.tasks.spawn(caller.clone().series(id, of, query));
                }
            }
            // The loop's own.
            Effect::Quit | Effect::Suspend => {}
        }
    }
}

/// A thread of its own: reading a terminal blocks.
fn read_input() -> Receiver<Input> {
    let (sender, receiver) = channel(INPUT_QUEUE_MAX);
    let reader = std::thread::Builder::new().name("keys".into());
    // Without the thread the receiver is closed, which ends the loop.
    let _ = reader.spawn(move || while read_one(&sender) {});
    receiver
}

/// False when nobody listens or there is nothing to read any more.
fn read_one(sender: &Sender<Input>) -> bool {
    let heard = match event::poll(INPUT_POLL) {
        Ok(false) => return !sender.is_closed(),
        Ok(true) => event::read(),
        Err(error) => Err(error),
    };
    let input = match heard {
        Ok(Event::Key(key)) => screen::key(key).map(Input::Key),
        Ok(Event::Resize(..)) => Some(Input::Resize),
        Ok(Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_)) => None,
        Err(_) => Some(Input::Gone),
    };
    let is_end = matches!(input, Some(Input::Gone));
    input.is_none_or(|input| sender.blocking_send(input).is_ok()) && !is_end
}

const ENDS: [Signal; 4] = [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT];

fn signal(signal: Signal) -> io::Result<tokio::signal::unix::Signal> {
    let kind = tokio::signal::unix::SignalKind::from_raw(signal.as_raw());
    tokio::signal::unix::signal(kind)
}

/// Signals that end the program.
struct Ends(Vec<tokio::signal::unix::Signal>);

impl Ends {
    fn new() -> io::Result<Self> {
        let all: io::Result<_> = ENDS.into_iter().map(signal).collect();
        Ok(Self(all?))
    }

    async fn any(&mut self) {
        std::future::poll_fn(|cx| {
            let heard = self
                .0
                .iter_mut()
                .any(|signal| signal.poll_recv(cx).is_ready());
            if heard {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }
}

fn epoch_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}
