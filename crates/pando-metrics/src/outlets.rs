//! Where what is measured goes to: Prometheus text, OTLP, alerts. The metrics' thread calls
//! [`Outlets::tick`] once a second and passes on the questions that are theirs.

use monitor_spec::ask::{Answer, Ask};
use monitor_spec::now::Now;
use monitor_spec::settings::MonitorSpec;
use monitor_spec::state::Event;

use crate::Options;
use crate::totals::Totals;

pub struct Outlets {
    settings: MonitorSpec,
}

impl Outlets {
    pub fn new(_options: &Options) -> Self {
        Self {
            settings: MonitorSpec::default(),
        }
    }

    /// As it is now; the store keeps to `disk_bytes`.
    pub fn settings(&self) -> &MonitorSpec {
        &self.settings
    }

    /// Once a second, after the picture is made and before anybody sees it: sets `now.alerts`
    /// and adds to `now.problems`. Returns events (`alert-firing`, …), which are kept and shown
    /// as all others. `now` is without histories. Must not wait.
    pub fn tick(&mut self, _now_ms: i64, _now: &mut Now, _totals: &Totals) -> Vec<Event> {
        Vec::new()
    }

    /// [`Ask::Exposition`], [`Ask::Alerts`], [`Ask::Configure`] and [`Ask::Settings`]; others
    /// never come here. `now` is the last picture. Must not wait.
    ///
    /// # Errors
    /// A sentence for the caller.
    pub fn answer(&mut self, ask: Ask, _now: &Now, _totals: &Totals) -> Result<Answer, String> {
        if let Ask::Configure(settings) = ask {
            self.settings = *settings;
            return Ok(Answer::Done);
        }
        Err("this is not answered yet".into())
    }

    /// The daemon ends.
    pub fn end(&mut self) {}
}
