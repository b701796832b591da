use app_spec::{AppSpec, Instances};

/// One setting that differs. Values are for reading: secrets are masked, nothing is `(none)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// As in pando.toml: `env.NODE_ENV`, `timeouts.stop`.
    pub key: String,
    pub from: String,
    pub to: String,
}

/// What has to be done to one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Start(AppSpec),
    Delete {
        name: String,
    },
    Scale {
        name: String,
        from: Instances,
        to: Instances,
    },
    /// A rolling reload to `spec`: nobody notices.
    Reload {
        name: String,
        spec: AppSpec,
        changed: Vec<Change>,
    },
    /// All workers stop, then start: for what a rolling reload cannot do; `why` says what.
    Restart {
        name: String,
        spec: AppSpec,
        changed: Vec<Change>,
        why: String,
    },
    /// Takes effect without touching a worker.
    Configure {
        name: String,
        spec: AppSpec,
        changed: Vec<Change>,
    },
    Unchanged {
        name: String,
    },
}

/// What separates the apps that run from those that are wanted, in the order to do it.
///
/// `managed` are the names that an earlier `up` of this file started: only those may be deleted.
pub fn plan(running: &[AppSpec], wanted: &[AppSpec], managed: &[String]) -> Vec<Step> {
    let _ = (running, wanted, managed);
    Vec::new()
}
