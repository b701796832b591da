//! What a supervisor and its gateway say to each other, beside Node's cluster protocol and on the
//! same channel: one JSON object a line, which Node's protocol passes over.
//!
//! ```text
//! {"cmd":"NODE_PANDO","act":"gateway","v":1,"say":{"config":{"id":7,"spec":{…}}}}
//! ```
//!
//! Unknown fields are passed over and an unknown word is an error of that line alone, so both
//! sides may be of neighbouring versions.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::GatewaySpec;

/// The `cmd` of lines between Pando and what it runs (`node_cluster::AGENT_CMD`).
pub const CMD: &str = "NODE_PANDO";
/// The `act` of the lines of this module.
pub const ACT: &str = "gateway";
pub const VERSION: u32 = 1;
/// The longest line, its newline not counted.
pub const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;
/// The longest description of a gateway as JSON: with its line and others before it, it must fit
/// what may wait for a gateway that does not read.
pub const MAX_SPEC_BYTES: usize = 3 * 1024 * 1024;

/// From the supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToGateway {
    /// Be this from now on. Answered by [`FromGateway::Config`] with the same id.
    Config {
        id: u64,
        spec: Box<GatewaySpec>,
        /// The directory for what the gateway keeps, to be asked for by [`FromGateway::Open`].
        state: PathBuf,
    },
    /// Each of these apps is now so; nothing is said of others.
    Apps(Vec<AppEndpoints>),
    /// Answers [`FromGateway::Open`]; the descriptor comes with the line unless there is an error.
    Opened { id: u64, error: Option<String> },
    /// Answered by [`FromGateway::Answer`] with the same id.
    Ask { id: u64, ask: Ask },
}

/// From the gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromGateway {
    Config {
        id: u64,
        outcome: ConfigOutcome,
    },
    /// The descriptor of something that the configuration names, see [`GatewaySpec::paths`].
    Open {
        id: u64,
        path: PathBuf,
    },
    Answer {
        id: u64,
        result: Result<Answer, String>,
    },
    /// What it measured, once a second.
    Report(Box<monitor_spec::edge::Report>),
    /// Worth telling a person: `certificate`, `upstream-down`; one line.
    Event {
        kind: String,
        text: String,
    },
}

/// What became of a configuration. After anything but `Applied` and `Unchanged` the one before it
/// holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigOutcome {
    Applied,
    Unchanged,
    /// Every problem, one sentence each.
    Rejected {
        problems: Vec<String>,
    },
    /// It was tried and taken back.
    RolledBack {
        why: String,
    },
    /// It can't be taken over by a gateway that runs: another one must be started with it.
    NeedsReload {
        why: String,
    },
}

/// A question with an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    Purge(Purge),
    /// Numbers for a person or a metric.
    Stats,
}

/// Which cached answers go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purge {
    /// An absolute URL, every variant of it.
    Url(String),
    /// A surrogate key.
    Key(String),
    All,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Purged { count: u64 },
    Stats(serde_json::Value),
}

/// An app that a route names, and where its workers are reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppEndpoints {
    pub app: String,
    pub state: AppState,
    /// Why it is not ready, one sentence: `crash loop: it ended with exit code 1`.
    #[serde(default)]
    pub why: Option<String>,
    /// The last lines that its worker wrote to stderr, where they explain `why`.
    #[serde(default)]
    pub errors: Vec<String>,
    /// One a worker, in order of instances; no address twice.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppState {
    /// There is no such app.
    #[default]
    Unknown,
    Stopped,
    /// Waits for an app that it depends on.
    Waiting,
    /// No worker is ready yet, but one is on its way: requests may wait for it.
    Waking,
    /// At least one worker is ready.
    Ready,
    CrashLoop,
    /// Every worker ended by itself and its policy keeps it down.
    Exited,
    /// A state of a later version.
    #[serde(other)]
    Other,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `NODE_APP_INSTANCE`: a successor has its predecessor's.
    pub instance: u32,
    /// Unique for the life of the daemon.
    pub worker: u32,
    /// `127.66.3.9:3000`, or `unix:/path`. Reaches this worker and, if it has gone, another one.
    pub address: String,
    pub state: EndpointState,
    /// How long it has been ready when this was said.
    #[serde(default)]
    pub ready_ms: u64,
    /// Delay of its event loop: a moving average that follows peaks at once.
    #[serde(default)]
    pub lag_us: u64,
    /// Its open connections and files, roughly.
    #[serde(default)]
    pub connections: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointState {
    Starting,
    Ready,
    /// Its event loop does not turn.
    Stalled,
    /// Its health check fails.
    Unhealthy,
    /// Takes no new requests; those under way go on.
    Draining,
    /// A state of a later version: not to be used.
    #[serde(other)]
    Other,
}

impl EndpointState {
    /// May get new requests while there is a choice.
    pub fn is_available(self) -> bool {
        self == Self::Ready
    }
}

impl AppEndpoints {
    /// An app of which nothing is known.
    pub fn unknown(app: impl Into<String>) -> Self {
        Self {
            app: app.into(),
            state: AppState::Unknown,
            why: None,
            errors: Vec::new(),
            endpoints: Vec::new(),
        }
    }
}

#[derive(Serialize)]
struct LineOf<'a, T> {
    cmd: &'static str,
    act: &'static str,
    v: u32,
    say: &'a T,
}

#[derive(Deserialize)]
struct Said<T> {
    say: T,
}

/// The line of `say`, with its newline.
///
/// # Errors
/// None for the types of this module.
pub fn encode<T: Serialize>(say: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(&LineOf {
        cmd: CMD,
        act: ACT,
        v: VERSION,
        say,
    })?;
    line.push(b'\n');
    Ok(line)
}

/// What a line of [`CMD`] and [`ACT`] says, both checked by the caller.
///
/// # Errors
/// A word or a form that this version does not know.
pub fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice::<Said<T>>(line).map(|said| said.say)
}

/// As [`decode`], of a line that was read already.
///
/// # Errors
/// As [`decode`].
pub fn decode_value<T: DeserializeOwned>(line: serde_json::Value) -> Result<T, serde_json::Error> {
    serde_json::from_value::<Said<T>>(line).map(|said| said.say)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_were_and_strange_fields_are_passed_over() {
        let app = AppEndpoints {
            endpoints: vec![Endpoint {
                instance: 0,
                worker: 7,
                address: "127.64.0.1:3000".into(),
                state: EndpointState::Stalled,
                ready_ms: 5,
                lag_us: 1,
                connections: 2,
            }],
            state: AppState::CrashLoop,
            ..AppEndpoints::unknown("api")
        };
        let say = ToGateway::Apps(vec![app]);
        let line = encode(&say).unwrap();
        assert_eq!(decode::<ToGateway>(&line).unwrap(), say);
        let later = r#"{"cmd":"NODE_PANDO","act":"gateway","v":2,"x":1,"say":{"apps":[
            {"app":"a","state":"dreaming","moon":1,"endpoints":[
             {"instance":0,"worker":1,"address":"x","state":"resting"}]}]}}"#;
        let ToGateway::Apps(apps) = decode(later.as_bytes()).unwrap() else {
            panic!()
        };
        assert_eq!(apps[0].state, AppState::Other);
        assert_eq!(apps[0].endpoints[0].state, EndpointState::Other);
        assert!(decode::<ToGateway>(br#"{"say":{"sing":1}}"#).is_err());
    }
}
