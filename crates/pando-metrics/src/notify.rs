//! Alerts to where people read them: webhooks, commands, the log.
//!
//! Each kind that takes time has a thread with a bounded queue, a limit for each try and few
//! tries. What cannot be delivered is told in the log and in the picture's problems, never with
//! what is secret of its address.

mod command;
mod message;
mod webhook;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use monitor_spec::now::AlertState;
use monitor_spec::settings::Notify;

use crate::alerts::Transition;

/// Messages that wait for a thread.
const QUEUE: usize = 64;
/// Alerts in one message.
const MAX_BATCH: usize = 100;
/// Places whose failure is remembered.
const MAX_PROBLEMS: usize = 32;

/// What could not be delivered last, by place.
type Problems = Arc<Mutex<BTreeMap<String, String>>>;

pub struct Notifier {
    home: PathBuf,
    problems: Problems,
    webhooks: Option<SyncSender<webhook::Job>>,
    commands: Option<SyncSender<command::Job>>,
}

impl Notifier {
    /// `home`: commands are told it as `PANDO_HOME`.
    pub fn new(home: PathBuf) -> Self {
        Self {
            home,
            problems: Problems::default(),
            webhooks: None,
            commands: None,
        }
    }

    /// Never waits. What goes to one webhook goes as one message, of [`MAX_BATCH`] at most.
    pub fn send(&mut self, told: &[Transition], host: &str) {
        let mut hooks: BTreeMap<&str, Vec<&Transition>> = BTreeMap::new();
        for one in told {
            for place in &one.notify {
                match place {
                    Notify::Log => log(one),
                    Notify::Webhook { url } => hooks.entry(url).or_default().push(one),
                    Notify::Command { line } => {
                        let job = command::Job::new(line, one, host, &self.home);
                        hand(
                            &mut self.commands,
                            "alert-command",
                            command::run,
                            job,
                            place,
                            &self.problems,
                        );
                    }
                }
            }
        }
        for (url, all) in hooks {
            let place = Notify::Webhook {
                url: url.to_owned(),
            };
            for batch in all.chunks(MAX_BATCH) {
                let job = webhook::Job {
                    url: url.to_owned(),
                    place: place.place(),
                    body: message::json(batch, host).to_string(),
                };
                hand(
                    &mut self.webhooks,
                    "alert-webhook",
                    webhook::run,
                    job,
                    &place,
                    &self.problems,
                );
            }
        }
    }

    pub fn problems(&self) -> Vec<String> {
        let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        problems.values().cloned().collect()
    }
}

/// Gives a job to a thread, which is started with the first one.
fn hand<J: Send + 'static>(
    queue: &mut Option<SyncSender<J>>,
    name: &str,
    run: fn(Receiver<J>, Problems),
    job: J,
    place: &Notify,
    problems: &Problems,
) {
    if queue.is_none() {
        let (sender, receiver) = sync_channel(QUEUE);
        let shared = problems.clone();
        let thread = std::thread::Builder::new().name(name.into());
        match thread.spawn(move || run(receiver, shared)) {
            Ok(_) => *queue = Some(sender),
            Err(error) => return fail(problems, &place.place(), &error.to_string()),
        }
    }
    let sent = queue.as_ref().map(|queue| queue.try_send(job));
    match sent {
        Some(Err(TrySendError::Full(_))) => {
            fail(
                problems,
                &place.place(),
                &format!("{QUEUE} messages wait already"),
            );
        }
        Some(Err(TrySendError::Disconnected(_))) => {
            *queue = None;
            fail(problems, &place.place(), "its thread has ended");
        }
        Some(Ok(())) | None => {}
    }
}

fn fail(problems: &Problems, place: &str, why: &str) {
    tracing::warn!(%place, %why, "an alert could not be delivered");
    let mut problems = problems.lock().unwrap_or_else(PoisonError::into_inner);
    if problems.len() < MAX_PROBLEMS || problems.contains_key(place) {
        let sentence = format!("the last alert to {place} could not be delivered: {why}");
        problems.insert(place.to_owned(), sentence);
    }
}

fn delivered(problems: &Problems, place: &str) {
    let mut problems = problems.lock().unwrap_or_else(PoisonError::into_inner);
    problems.remove(place);
}

fn log(one: &Transition) {
    let alert = &one.alert;
    match alert.state {
        AlertState::Firing => {
            tracing::warn!(alert = %alert.name, app = %alert.app, "alert: {}", alert.text);
        }
        AlertState::Resolved | AlertState::Pending => {
            tracing::info!(alert = %alert.name, app = %alert.app, "alert resolved: {}", alert.text);
        }
    }
}

#[cfg(test)]
mod tests;
