//! Questions to the metrics and their answers.

use serde::{Deserialize, Serialize};

use crate::metric::Metric;
use crate::now::{Alert, Endpoint, Now};
use crate::settings::MonitorSpec;
use crate::state::Event;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// One picture. Answers [`Answer::Now`].
    Now,
    /// A picture every second, each [`Answer::Now`], until the client goes. One that reads too
    /// slowly misses some.
    Watch,
    /// Answers [`Answer::Series`].
    Series(Query),
    /// Endpoints of an app over a span of time. Answers [`Answer::Endpoints`].
    Endpoints {
        app: String,
        from_ms: i64,
        to_ms: i64,
    },
    /// Answers [`Answer::Events`].
    Events {
        /// Empty: of every app.
        app: String,
        from_ms: i64,
        to_ms: i64,
    },
    /// Prometheus text 0.0.4. Answers [`Answer::Text`].
    Exposition,
    /// The same as OpenMetrics 1.0. Answers [`Answer::Text`].
    OpenMetrics,
    /// Answers [`Answer::Alerts`].
    Alerts,
    /// From now on so. Answers [`Answer::Done`].
    Configure(Box<MonitorSpec>),
    /// As it is. Answers [`Answer::Settings`].
    Settings,
}

/// Which series over which time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Query {
    pub metric: Metric,
    /// Empty: of the machine, or of the gateway.
    #[serde(default)]
    pub app: String,
    /// One worker's, by its instance number; `None`: the app's own, or the sum or the worst of its
    /// workers as the metric is.
    #[serde(default)]
    pub worker: Option<u32>,
    /// `GET /users/:id`: one endpoint's.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// One series for each worker in place of one in all.
    #[serde(default)]
    pub by_worker: bool,
    pub from_ms: i64,
    pub to_ms: i64,
    /// Points wanted at most; the step is the least that keeps to it. 0: as many as there are.
    #[serde(default)]
    pub points: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Now(Box<Now>),
    Series(Vec<Series>),
    Endpoints(Vec<Endpoint>),
    Events(Vec<Event>),
    Text(String),
    Alerts(Vec<Alert>),
    Settings(Box<MonitorSpec>),
    Done,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// `worker 2`, `GET /users/:id`, or empty for the only one.
    pub label: String,
    /// The unit of `values`: `us`, `bytes`, `percent`, `per_s`, `ratio`, `count`.
    pub unit: String,
    /// Of the first point; point n is n steps later.
    pub start_ms: i64,
    pub step_ms: i64,
    /// `None` where nothing is known.
    pub values: Vec<Option<f64>>,
}
