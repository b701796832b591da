//! The metrics' thread: what it is told, and what it does once a second.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use monitor_spec::ask::{Answer, Ask};
use monitor_spec::now::{Now, Source};
use monitor_spec::state::Event;
use monitor_spec::{Handle, Heard, Inbox, Replier, Word};

use crate::Options;
use crate::agents::Agents;
use crate::answers::{EndpointsRead, SeriesRead, unreadable};
use crate::clock::Clock;
use crate::engine::{Engine, Moment, Reporter};
use crate::keeper::Keeper;
use crate::outlets::Outlets;
use crate::sample::Sampler;
use crate::store::Store;

/// Clients that get every picture.
const WATCHERS_MAX: usize = 64;
/// Pictures are taken in the middle of a second, so that none is skipped for a little delay.
const PHASE_MS: i64 = 500;
/// No two pictures are closer.
const LEAST_PAUSE_MS: i64 = 200;
const SECOND_MS: i64 = 1_000;

pub(crate) fn run(options: Options, handle: Handle, inbox: &Inbox) {
    let mut monitor = Monitor::new(options, handle);
    let mut due_ms = next_tick(epoch_ms());
    loop {
        let wait = (due_ms - epoch_ms()).clamp(0, SECOND_MS);
        match inbox.next(Duration::from_millis(wait.unsigned_abs())) {
            Heard::Word(Word::End) | Heard::Closed => return monitor.end(),
            Heard::Word(word) => monitor.hear(word),
            Heard::Nothing => {}
        }
        let now_ms = epoch_ms();
        // A clock that was set back must not stop the pictures.
        if now_ms >= due_ms || due_ms - now_ms > 2 * SECOND_MS {
            monitor.tick(now_ms);
            due_ms = next_tick(epoch_ms());
        }
    }
}

fn epoch_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(0))
}

fn next_tick(now_ms: i64) -> i64 {
    let into = (now_ms - PHASE_MS).rem_euclid(SECOND_MS);
    let next = now_ms - into + SECOND_MS;
    if next - now_ms < LEAST_PAUSE_MS {
        next + SECOND_MS
    } else {
        next
    }
}

struct Monitor {
    begun: Instant,
    clock: Clock,
    engine: Engine,
    agents: Agents,
    sampler: Sampler,
    outlets: Outlets,
    keeper: Keeper,
    watchers: Vec<Box<dyn Replier>>,
    /// The last picture, without histories.
    now: Now,
}

impl Monitor {
    fn new(options: Options, handle: Handle) -> Self {
        let begun = Instant::now();
        let at = Moment {
            time_ms: epoch_ms(),
            us: 0,
            seconds: 1.0,
        };
        Self {
            engine: Engine::new(at, options.version),
            begun,
            clock: Clock::default(),
            agents: Agents::new(),
            sampler: Sampler::new(options.dir.parent().unwrap_or(&options.dir)),
            keeper: Keeper::open(&options.dir, at.time_ms / 1_000),
            outlets: Outlets::new(&options, handle),
            watchers: Vec::new(),
            now: Now::default(),
        }
    }

    fn us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn hear(&mut self, word: Word) {
        match word {
            Word::State(state) => {
                self.outlets.told();
                // Last words of those that the state does not have any more.
                self.read_agents(epoch_ms(), self.us());
                self.engine.state(*state);
            }
            Word::Event(event) => self.engine.event(event),
            Word::Edge(report) => self.engine.edge(self.us(), *report),
            Word::Agent {
                app,
                worker,
                instance,
                socket,
            } => {
                let from = Reporter {
                    app,
                    worker,
                    instance,
                };
                self.agents.add(from, socket);
            }
            Word::End => {}
            Word::Ask { ask, reply } => self.answer(ask, reply),
        }
    }

    fn answer(&mut self, ask: Ask, reply: Box<dyn Replier>) {
        match ask {
            Ask::Now => reply.done(Answer::Now(Box::new(self.picture()))),
            Ask::Watch => self.watch(reply),
            Ask::Series(query) => {
                let read = SeriesRead::new(&query, &self.keeper.history, epoch_ms() / 1_000);
                self.read(reply, move |store| read.answer(store).map(Answer::Series));
            }
            Ask::Endpoints {
                app,
                from_ms,
                to_ms,
            } => {
                let of_app = self.now.apps.iter().find(|known| known.name == app);
                let source = of_app.map_or(Source::None, |app| app.traffic.source);
                let (history, now_s) = (&self.keeper.history, epoch_ms() / 1_000);
                let read = EndpointsRead::new(app, (from_ms, to_ms), source, history, now_s);
                self.read(reply, move |store| {
                    read.answer(store).map(Answer::Endpoints)
                });
            }
            Ask::Events {
                app,
                from_ms,
                to_ms,
            } => self.events(app, (from_ms, to_ms), reply),
            Ask::Exposition
            | Ask::OpenMetrics
            | Ask::Alerts
            | Ask::Configure(_)
            | Ask::Settings => match self.outlets.answer(ask, &self.now, self.engine.totals()) {
                Ok(answer) => reply.done(answer),
                Err(why) => reply.failed(why),
            },
        }
    }

    /// On the thread of the disk, so that a slow one holds up no picture.
    fn read(
        &self,
        reply: Box<dyn Replier>,
        read: impl FnOnce(Option<&Store>) -> Result<Answer, String> + Send + 'static,
    ) {
        self.keeper.read(
            move |store| match store.map_err(str::to_owned).and_then(read) {
                Ok(answer) => reply.done(answer),
                Err(why) => reply.failed(why),
            },
        );
    }

    fn events(&self, app: String, (from_ms, to_ms): (i64, i64), reply: Box<dyn Replier>) {
        let inside = |event: &&Event| {
            (app.is_empty() || event.app == app) && (from_ms..=to_ms).contains(&event.time_ms)
        };
        let in_memory: Vec<Event> = self.keeper.events.iter().filter(inside).cloned().collect();
        self.read(reply, move |store| {
            let Some(store) = store else {
                return Ok(Answer::Events(in_memory));
            };
            let events = store.events(&app, from_ms, to_ms);
            events.map(Answer::Events).map_err(unreadable)
        });
    }

    fn watch(&mut self, reply: Box<dyn Replier>) {
        if self.watchers.len() >= WATCHERS_MAX {
            reply.failed(format!("{WATCHERS_MAX} dashboards watch already"));
        } else if reply.push(Answer::Now(Box::new(self.picture()))) {
            self.watchers.push(reply);
        }
    }

    /// With histories, and the alerts of the last tick.
    fn picture(&self) -> Now {
        let mut now = self.engine.picture(true);
        now.alerts.clone_from(&self.now.alerts);
        now.problems.clone_from(&self.now.problems);
        now.events.clone_from(&self.now.events);
        now
    }

    fn tick(&mut self, now_ms: i64) {
        let us = self.us();
        if let Some(jump) = self.clock.look(now_ms, us) {
            self.keeper.clock_jumped();
            let event = jump.event();
            tracing::warn!("{}", event.text);
            self.engine.event(event);
        }
        self.read_agents(now_ms, us);
        let (targets, pando) = (self.engine.targets(), self.engine.pando());
        let samples = self.sampler.look(us, &targets, &pando);
        let second = self.engine.tick(now_ms, us, samples);
        self.keeper.add(&second, self.outlets.settings().disk_bytes);
        let mut now = self.engine.picture(false);
        now.problems = self.agents.problems(us);
        now.problems.extend(self.engine.problems());
        now.problems.extend(self.keeper.problems());
        for event in self.keeper.take_news() {
            self.engine.event(event);
        }
        now.events = self.engine.take_events();
        let more = self.outlets.tick(now_ms, &mut now, self.engine.totals());
        now.events.extend(more);
        for event in &now.events {
            self.keeper.event(event);
        }
        self.now = now;
        if !self.watchers.is_empty() {
            let picture = Answer::Now(Box::new(self.picture()));
            self.watchers
                .retain(|watcher| watcher.push(picture.clone()));
        }
    }

    fn read_agents(&mut self, now_ms: i64, us: u64) {
        let engine = &mut self.engine;
        let heard = self
            .agents
            .read(us, |from, report| engine.report(us, from, report));
        for from in heard.ended {
            engine.agent_ended(&from);
        }
        for (from, why) in heard.bad {
            let Reporter { app, instance, .. } = from;
            tracing::warn!(%app, worker.instance = instance, %why, "a report of a preload was not taken");
            self.engine.event(Event {
                time_ms: now_ms,
                app,
                worker: Some(instance),
                kind: "bad-report".into(),
                text: format!("its preload's report was not taken: {why}"),
            });
        }
    }

    fn end(mut self) {
        self.outlets.end();
        self.keeper.end();
        for watcher in self.watchers {
            watcher.done(Answer::Done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_a_second_in_its_middle() {
        for (now, next) in [
            (10_500, 11_500),
            (10_520, 11_500),
            (10_100, 10_500),
            (10_350, 11_500),
            (10_499, 11_500),
        ] {
            assert_eq!(next_tick(now), next, "{now}");
        }
    }
}
