//! What separates the apps that run from those that are wanted, and the least disturbing way
//! from one to the other. Pure.
//!
//! Each setting that differs demands one of three things, and the strongest wins:
//!
//! | demand    | settings |
//! |-----------|----------|
//! | configure | restart policy, memory limit, timeouts, stop signal, wait_ready, health's interval, logs, watch, depends_on: known to the supervisor only |
//! | reload    | command, cwd, env, agent, user, port, what the health check asks, balance among the ways that hand connections over: each worker is made anew, one after the other |
//! | restart   | what a successor beside its predecessor cannot do: see [`obstacle`] |
//!
//! A change of the instance count alone, or beside settings to configure, is a scaling. The base
//! environment and the app's origin are not compared.

mod differences;
mod gateway;
mod monitor;

use std::collections::BTreeMap;
use std::fmt;

use app_spec::{AppSpec, Balance, Instances};

pub use gateway::{GatewayStep, GatewayVerb, gateway};
pub use monitor::monitor;

use differences::{Demand, Difference, differences};

/// One setting that differs. Values are for reading: secrets are masked, nothing is `(none)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// As in pando.toml: `env.NODE_ENV`, `timeouts.stop`.
    pub key: String,
    pub from: String,
    pub to: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.key, self.from, self.to)
    }
}

/// What has to be done to one app.
#[derive(Clone, Debug, PartialEq)]
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
    /// Takes effect without touching a worker. The spec's instance count is the running one.
    Configure {
        name: String,
        spec: AppSpec,
        changed: Vec<Change>,
    },
    Unchanged {
        name: String,
    },
}

impl Step {
    /// The app it is about.
    pub fn name(&self) -> &str {
        match self {
            Self::Start(spec) => &spec.name,
            Self::Delete { name }
            | Self::Scale { name, .. }
            | Self::Reload { name, .. }
            | Self::Restart { name, .. }
            | Self::Configure { name, .. }
            | Self::Unchanged { name } => name,
        }
    }

    pub fn is_unchanged(&self) -> bool {
        matches!(self, Self::Unchanged { .. })
    }
}

/// The steps in the order to do them: first what is deleted, which frees its ports, then the
/// wanted apps in their order, each after those it depends on.
///
/// `managed` are the names that an earlier `up` of this file started: only those may be deleted.
pub fn plan(running: &[AppSpec], wanted: &[AppSpec], managed: &[String]) -> Vec<Step> {
    let is_wanted = |name: &str| wanted.iter().any(|spec| spec.name == name);
    let gone = running
        .iter()
        .filter(|spec| managed.contains(&spec.name) && !is_wanted(&spec.name))
        .map(|spec| Step::Delete {
            name: spec.name.clone(),
        });
    let mut steps: Vec<Step> = gone.collect();
    for spec in in_order(wanted) {
        match running.iter().find(|running| running.name == spec.name) {
            Some(running) => steps.extend(change(running, spec)),
            None => steps.push(Step::Start(spec.clone())),
        }
    }
    steps
}

/// The apps so that each stands after those it depends on, else as they were. What is in a
/// circle, which no valid file has, comes last.
fn in_order(specs: &[AppSpec]) -> Vec<&AppSpec> {
    let by_name: BTreeMap<&str, usize> = specs
        .iter()
        .enumerate()
        .map(|(i, spec)| (spec.name.as_str(), i))
        .collect();
    let mut placed = vec![false; specs.len()];
    let mut order = Vec::new();
    while order.len() < specs.len() {
        let ready = (0..specs.len()).find(|i| {
            let mut needs = specs[*i]
                .depends_on
                .iter()
                .filter_map(|n| by_name.get(n.as_str()));
            !placed[*i] && needs.all(|need| placed[*need])
        });
        let Some(next) = ready.or_else(|| placed.iter().position(|done| !done)) else {
            break;
        };
        placed[next] = true;
        order.push(&specs[next]);
    }
    order
}

fn change(running: &AppSpec, wanted: &AppSpec) -> Vec<Step> {
    let wanted = &with_given_port(running, wanted);
    let name = wanted.name.clone();
    let scale = (running.instances != wanted.instances).then(|| Step::Scale {
        name: name.clone(),
        from: running.instances,
        to: wanted.instances,
    });
    let found = differences(running, wanted);
    let demand = found.iter().map(|difference| difference.demand).max();
    let mut changed: Vec<Change> = found.into_iter().map(Difference::into_change).collect();
    match demand {
        None => vec![scale.unwrap_or(Step::Unchanged { name })],
        Some(Demand::Configure) => {
            let spec = AppSpec {
                instances: running.instances,
                ..wanted.clone()
            };
            let configure = Step::Configure {
                name,
                spec,
                changed,
            };
            [configure].into_iter().chain(scale).collect()
        }
        Some(Demand::Reload) => {
            changed.extend(scale.as_ref().map(|_| instances_change(running, wanted)));
            let spec = wanted.clone();
            vec![match obstacle(running, wanted) {
                Some(why) => Step::Restart {
                    name,
                    spec,
                    changed,
                    why,
                },
                None => Step::Reload {
                    name,
                    spec,
                    changed,
                },
            }]
        }
    }
}

/// In fork mode the supervisor gives a port to an app that names none: that is no difference, and
/// the app keeps it.
fn with_given_port(running: &AppSpec, wanted: &AppSpec) -> AppSpec {
    let mut wanted = wanted.clone();
    if wanted.port.is_none() && !wanted.is_cluster() && !running.is_cluster() {
        wanted.port = running.port;
    }
    wanted
}

fn instances_change(running: &AppSpec, wanted: &AppSpec) -> Change {
    let show = differences::show_instances;
    Change {
        key: "instances".into(),
        from: show(running.instances),
        to: show(wanted.instances),
    }
}

/// Why new workers cannot start beside the old ones.
fn obstacle(running: &AppSpec, wanted: &AppSpec) -> Option<String> {
    match (running.is_cluster(), wanted.is_cluster()) {
        (true, false) => {
            return Some(
                "in fork mode the new processes listen themselves, and the port is still Pando's"
                    .into(),
            );
        }
        (false, true) => {
            return Some(
                "in cluster mode Pando opens the port, which the old processes still hold".into(),
            );
        }
        (true, true) => return cluster_obstacle(running, wanted),
        (false, false) => {}
    }
    let single = running.instances == Instances::Count(1);
    let new_port = running.port != wanted.port && wanted.port.is_some();
    if single && !new_port {
        return Some(match wanted.port {
            Some(port) => {
                format!("its only process holds port {port}, and a second one cannot listen there")
            }
            None => {
                "its only process may hold a port, and a second one could not listen there".into()
            }
        });
    }
    let overlap =
        running.port != wanted.port && ports(running).any(|port| ports(wanted).any(|p| p == port));
    overlap.then(|| "some of the new ports are held by old processes of other instances".into())
}

fn cluster_obstacle(running: &AppSpec, wanted: &AppSpec) -> Option<String> {
    let kind = |spec: &AppSpec| match spec.balance {
        Balance::Steered => "one socket for each worker",
        Balance::Shared => "one socket for all workers",
        Balance::RoundRobin | Balance::LeastConnections | Balance::IpHash | Balance::Random => {
            "one socket of the supervisor"
        }
    };
    let (from, to) = (kind(running), kind(wanted));
    (from != to).then(|| format!("the port is opened in another way: {from}, then {to}"))
}

/// The ports that a fork-mode app is known to hold.
fn ports(spec: &AppSpec) -> impl Iterator<Item = u32> {
    let count = match spec.instances {
        Instances::Count(n) => n,
        // Not known here: as many as there can be.
        Instances::Max | Instances::MaxLess(_) => app_spec::MAX_INSTANCES,
    };
    spec.port
        .into_iter()
        .flat_map(move |first| (0..count).map(move |i| u32::from(first) + i))
}

#[cfg(test)]
mod tests;
