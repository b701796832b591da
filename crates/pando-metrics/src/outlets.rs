//! Where what is measured goes to: Prometheus text, OTLP, alerts. The metrics' thread calls
//! [`Outlets::tick`] once a second and passes on the questions that are theirs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use monitor_spec::Handle;
use monitor_spec::ask::{Answer, Ask};
use monitor_spec::now::{AlertState, Now};
use monitor_spec::settings::MonitorSpec;
use monitor_spec::state::Event;

use crate::alerts::{self, Transition};
use crate::exposition::{self, Format};
use crate::family::Picture;
use crate::listen::{Health, Listen};
use crate::notify::Notifier;
use crate::otlp::{Exporter, Origin};
use crate::totals::Totals;
use crate::{Options, settings, when};

const ALERTS_FILE: &str = "alerts.json";
/// Between two tries to write what the disk refused.
const SAVE_AGAIN_S: u32 = 10;
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

pub struct Outlets {
    dir: PathBuf,
    host: String,
    version: &'static str,
    settings: MonitorSpec,
    /// What is wrong with the files of this module.
    problems: BTreeMap<&'static str, String>,
    alerts: alerts::Engine,
    /// Seconds since they were last written, or tried to.
    unsaved_s: u32,
    /// Since when they cannot be written.
    failing_ms: Option<i64>,
    notifier: Notifier,
    listen: Listen,
    otlp: Option<Exporter>,
    restarts: Restarts,
    /// When the supervisor last told of its apps.
    told: Option<Instant>,
}

impl Outlets {
    /// `handle`: by which `/metrics` asks.
    pub fn new(options: &Options, handle: Handle) -> Self {
        let dir = options.dir.clone();
        let home = dir.parent().unwrap_or(Path::new("/")).to_owned();
        let mut problems = BTreeMap::new();
        let settings = settings::load(&dir).unwrap_or_else(|why| {
            tracing::warn!("{why}");
            problems.insert("settings", why);
            MonitorSpec::default()
        });
        let host = std::fs::read_to_string(HOST_NAME).unwrap_or_default();
        let mut outlets = Self {
            alerts: alerts::load(&dir.join(ALERTS_FILE)),
            unsaved_s: 0,
            failing_ms: None,
            host: host.trim().to_owned(),
            dir,
            settings: MonitorSpec::default(),
            problems,
            notifier: Notifier::new(home),
            listen: Listen::new(handle),
            otlp: None,
            version: options.version,
            restarts: Restarts::default(),
            told: None,
        };
        outlets.apply(settings);
        outlets
    }

    /// As it is now; the store keeps to `disk_bytes`.
    pub fn settings(&self) -> &MonitorSpec {
        &self.settings
    }

    /// The supervisor has told of its apps.
    pub fn told(&mut self) {
        self.told = Some(Instant::now());
    }

    fn apply(&mut self, spec: MonitorSpec) {
        self.listen.set(&spec.listen);
        let wanted = spec.otlp.as_ref().filter(|otlp| otlp.metrics);
        if wanted != self.otlp.as_ref().map(Exporter::spec) {
            self.problems.remove("otlp");
            self.otlp = wanted.and_then(|otlp| match Exporter::start(otlp) {
                Ok(exporter) => Some(exporter),
                Err(error) => {
                    tracing::error!(%error, "metrics are not exported");
                    let why = format!("metrics are not exported: {error}");
                    self.problems.insert("otlp", why);
                    None
                }
            });
        }
        self.settings = spec;
    }

    fn export(&mut self, now_ms: i64, now: &Now, totals: &Totals) {
        let home = self.dir.parent().unwrap_or(&self.dir).display().to_string();
        let picture = Picture {
            now,
            totals,
            restarts: &self.restarts.totals,
        };
        let origin = Origin {
            host: &self.host,
            home: &home,
            version: self.version,
        };
        if let Some(exporter) = &mut self.otlp {
            exporter.tick(now_ms, &picture, &origin);
        }
    }

    /// Once a second, after the picture is made and before anybody sees it: sets `now.alerts`
    /// and adds to `now.problems`. Returns events (`alert-firing`, …), which are kept and shown
    /// as all others. `now` is without histories. Must not wait.
    pub fn tick(&mut self, now_ms: i64, now: &mut Now, totals: &Totals) -> Vec<Event> {
        self.restarts.tick(now);
        let told = self.alerts.step(now_ms, now, &self.settings);
        now.alerts = self.alerts.alerts();
        self.save_alerts(now_ms);
        self.notifier.send(&told, &self.host);
        now.problems.extend(self.problems.values().cloned());
        now.problems.extend(self.listen.problems());
        now.problems.extend(self.notifier.problems());
        now.problems
            .extend(self.otlp.as_ref().and_then(Exporter::problem));
        self.export(now_ms, now, totals);
        if self.listen.is_on() {
            self.listen.publish(Health::new(self.told, now));
        }
        told.iter().map(event).collect()
    }

    /// [`Ask::Exposition`], [`Ask::Alerts`], [`Ask::Configure`] and [`Ask::Settings`]; others
    /// never come here. `now` is the last picture. Must not wait.
    ///
    /// # Errors
    /// A sentence for the caller.
    pub fn answer(&mut self, ask: Ask, now: &Now, totals: &Totals) -> Result<Answer, String> {
        let text = |format| {
            let picture = Picture {
                now,
                totals,
                restarts: &self.restarts.totals,
            };
            Answer::Text(exposition::text(&picture, format))
        };
        match ask {
            Ask::Exposition => Ok(text(Format::Text)),
            Ask::OpenMetrics => Ok(text(Format::OpenMetrics)),
            Ask::Alerts => Ok(Answer::Alerts(self.alerts.alerts())),
            Ask::Settings => Ok(Answer::Settings(Box::new(self.settings.clone()))),
            Ask::Configure(spec) => {
                if let Err(error) = settings::save(&self.dir, &spec) {
                    return Err(format!("the settings could not be written: {error}"));
                }
                self.problems.remove("settings");
                self.apply(*spec);
                Ok(Answer::Done)
            }
            Ask::Now | Ask::Watch | Ask::Series(_) | Ask::Endpoints { .. } | Ask::Events { .. } => {
                Err("this is asked of somebody else".into())
            }
        }
    }

    /// The daemon ends.
    pub fn end(&mut self) {
        self.save_alerts(self.failing_ms.unwrap_or(0));
    }

    fn save_alerts(&mut self, now_ms: i64) {
        let changed = self.alerts.take_changed();
        self.unsaved_s = self.unsaved_s.saturating_add(1);
        let again = self.failing_ms.is_some() && self.unsaved_s >= SAVE_AGAIN_S;
        if !changed && !again {
            return;
        }
        self.unsaved_s = 0;
        match alerts::save(&self.alerts, &self.dir.join(ALERTS_FILE)) {
            Ok(()) => {
                self.failing_ms = None;
                self.problems.remove("alerts");
            }
            Err(error) => {
                let since_ms = *self.failing_ms.get_or_insert(now_ms);
                let why = format!(
                    "since {}: which alerts fire cannot be written to {}: {error}. Make room on \
                     its disk, or let Pando's user write there; it is tried again",
                    when::local(since_ms),
                    self.dir.join(ALERTS_FILE).display()
                );
                if self.problems.insert("alerts", why).is_none() {
                    tracing::warn!(%error, "which alerts fire could not be written");
                }
            }
        }
    }
}

fn event(one: &Transition) -> Event {
    let firing = one.alert.state == AlertState::Firing;
    Event {
        time_ms: one.time_ms,
        app: one.alert.app.clone(),
        worker: None,
        kind: if firing {
            "alert-firing"
        } else {
            "alert-resolved"
        }
        .into(),
        text: format!("{}: {}", one.alert.name, one.alert.text),
    }
}

/// Unplanned restarts by app, as a counter: the supervisor's own begins anew when a person starts
/// the app again.
#[derive(Debug, Default)]
struct Restarts {
    last: BTreeMap<String, u64>,
    totals: BTreeMap<String, u64>,
}

impl Restarts {
    fn tick(&mut self, now: &Now) {
        let mut last = BTreeMap::new();
        for app in &now.apps {
            let before = self.last.get(&app.name).copied().unwrap_or(0);
            let more = app.restarts.checked_sub(before).unwrap_or(app.restarts);
            *self.totals.entry(app.name.clone()).or_default() += more;
            last.insert(app.name.clone(), app.restarts);
        }
        self.totals.retain(|name, _| last.contains_key(name));
        self.last = last;
    }
}

#[cfg(test)]
mod tests;
