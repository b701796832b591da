//! The app that is the gateway: what it is told, what it says, and a change of its configuration
//! while it runs. In all else it is an app like any other.

use std::path::PathBuf;
use std::sync::Arc;

use app_spec::AppSpec;
use gateway_spec::GatewaySpec;
use gateway_spec::link::{ConfigOutcome, FromGateway, ToGateway};
use node_cluster::WorkerId;

use super::app::{App, Desired};
use super::effect::Effect;
use super::operation::{Failure, OpId, Outcome};
use super::{Context, Ms};

/// A configuration that is not answered within this is not taken.
const CONFIG_MS: Ms = 15_000;

/// A configuration that was given to the gateway that runs.
#[derive(Debug)]
pub(super) struct Offer {
    id: u64,
    op: OpId,
    spec: Arc<AppSpec>,
    worker: WorkerId,
    until: Ms,
}

impl App {
    /// Every description that is in force or on its way.
    pub(super) fn descriptions(&self) -> Vec<&Arc<AppSpec>> {
        let offered = self.offer.as_ref().map(|offer| &offer.spec);
        let before = self.rollout.as_ref().map(|rollout| &rollout.old);
        let own = self.workers().map(|w| &w.spec);
        std::iter::once(&self.spec)
            .chain(offered)
            .chain(before)
            .chain(own)
            .collect()
    }

    /// What any description of the gateway names is the gateway's.
    pub fn gateway_specs(&self) -> impl Iterator<Item = &GatewaySpec> {
        let all = self.descriptions().into_iter();
        all.filter_map(|spec| spec.gateway.as_deref())
    }

    /// Gives a gateway the configuration it was started with; a gateway that a former supervisor
    /// started gets what the journal has.
    pub(super) fn configure_worker(&mut self, cx: &mut Context, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let Some(gateway) = worker.spec.gateway.clone() else {
            return;
        };
        let config = cx.new_config();
        worker.config = Some(config);
        cx.emit(tell_config(id, config, gateway));
    }

    /// A change that a running gateway can take over: it is asked to, and only if it does is the
    /// new description in force.
    pub(super) fn configure_gateway(&mut self, cx: &mut Context, op: OpId, spec: AppSpec) {
        if self.offer.is_some() {
            let failure = Failure {
                what: "the gateway is being configured already".into(),
                why: "one change at a time".into(),
                fix: "give the order again".into(),
                ..self.gateway_failure()
            };
            cx.emit(Effect::Finished {
                op,
                outcome: Outcome::Failed(failure),
            });
            return;
        }
        let serving = self
            .workers()
            .find(|w| w.is_ready() && w.channel && w.config.is_some());
        let Some(worker) = serving.map(|w| w.id) else {
            if self.desired == Desired::Stopped {
                self.take_spec(cx, op, Arc::new(spec));
            } else {
                // It is not well: a new one is tried with the new description.
                self.order_reload(cx, op, Some(spec));
            }
            return;
        };
        let Some(gateway) = spec.gateway.clone() else {
            return;
        };
        let id = cx.new_config();
        self.offer = Some(Offer {
            id,
            op,
            spec: Arc::new(spec),
            worker,
            until: cx.now + CONFIG_MS,
        });
        cx.emit(tell_config(worker, id, gateway));
    }

    fn take_spec(&mut self, cx: &mut Context, op: OpId, spec: Arc<AppSpec>) {
        self.spec = spec;
        self.persist(cx);
        let text = format!("{}: configured", self.name());
        cx.emit(Effect::Finished {
            op,
            outcome: Outcome::Done(text),
        });
    }

    pub(super) fn gateway_line(&mut self, cx: &mut Context, id: WorkerId, line: serde_json::Value) {
        match gateway_spec::link::decode_value(line) {
            Ok(say) => self.gateway_said(cx, id, say),
            Err(error) => self.complain(cx, id, "garbage-message", error.to_string()),
        }
    }

    /// What a gateway says. What is not for the core goes on to the driver.
    pub(super) fn gateway_said(&mut self, cx: &mut Context, id: WorkerId, say: FromGateway) {
        match say {
            FromGateway::Config {
                id: config,
                outcome,
            } => self.config_outcome(cx, id, config, outcome),
            FromGateway::Open { id: request, path } => {
                self.open_for(cx, id, request, path);
            }
            FromGateway::Answer {
                id: question,
                result,
            } => cx.emit(Effect::Answered {
                question,
                result: result.map(Box::new),
            }),
            FromGateway::Report(report) => cx.emit(Effect::Measured(report)),
            FromGateway::Event { kind, text } => self.gateway_event(cx, id, &kind, text),
        }
    }

    fn open_for(&self, cx: &mut Context, worker: WorkerId, request: u64, path: PathBuf) {
        cx.emit(Effect::OpenFor {
            worker,
            request,
            path,
        });
    }

    /// Kinds are names of ours: a gateway of a later version may have others.
    fn gateway_event(&self, cx: &mut Context, id: WorkerId, kind: &str, text: String) {
        const KINDS: [&str; 8] = [
            "certificate",
            "thread-stalled",
            "thread-turns",
            "upstream-down",
            "upstream-up",
            "config",
            "limit",
            "redis",
        ];
        let known = KINDS.into_iter().find(|known| *known == kind);
        self.notice(cx, Some(id), known.unwrap_or("gateway"), text);
    }

    fn config_outcome(
        &mut self,
        cx: &mut Context,
        worker: WorkerId,
        id: u64,
        outcome: ConfigOutcome,
    ) {
        if let Some(offer) = self.offer.take_if(|offer| offer.id == id) {
            return self.offer_answered(cx, offer, outcome);
        }
        let Some(why) = refusal(outcome) else { return };
        let Some(w) = self
            .workers
            .get_mut(&worker)
            .filter(|w| w.config == Some(id))
        else {
            return;
        };
        if w.is_starting() {
            w.doomed = Some(format!("it refused its configuration: {why}"));
            self.kill(cx, worker, 1);
        } else {
            let text = format!("it goes on with what it had: {why}");
            self.notice(cx, Some(worker), "config", text);
        }
    }

    fn offer_answered(&mut self, cx: &mut Context, offer: Offer, outcome: ConfigOutcome) {
        match outcome {
            ConfigOutcome::Applied | ConfigOutcome::Unchanged => {
                if let Some(worker) = self.workers.get_mut(&offer.worker) {
                    worker.spec = Arc::clone(&offer.spec);
                    worker.config = Some(offer.id);
                }
                self.notice(
                    cx,
                    Some(offer.worker),
                    "config",
                    "the configuration is in force",
                );
                self.take_spec(cx, offer.op, offer.spec);
            }
            ConfigOutcome::NeedsReload { why } => {
                self.notice(cx, Some(offer.worker), "config", format!("reload: {why}"));
                let spec = Arc::unwrap_or_clone(offer.spec);
                self.order_reload(cx, offer.op, Some(spec));
            }
            ConfigOutcome::Rejected { problems } => {
                self.offer_failed(cx, &offer, problems.join("\n"));
            }
            ConfigOutcome::RolledBack { why } => self.offer_failed(cx, &offer, why),
        }
    }

    fn offer_failed(&self, cx: &mut Context, offer: &Offer, why: String) {
        let failure = Failure {
            why,
            ..self.gateway_failure()
        };
        cx.emit(Effect::Finished {
            op: offer.op,
            outcome: Outcome::Failed(failure),
        });
    }

    fn gateway_failure(&self) -> Failure {
        Failure {
            app: self.name().to_owned(),
            what: "the gateway did not take the configuration; the one before stays".into(),
            fix: "mend pando.toml and `pando up` again".into(),
            exit_code: 1,
            ..Failure::default()
        }
    }

    pub(super) fn offer_deadline(&self) -> Option<Ms> {
        self.offer.as_ref().map(|offer| offer.until)
    }

    /// Ends an offer that will not be answered.
    pub(super) fn check_offer(&mut self, cx: &mut Context) {
        let (now, workers) = (cx.now, &self.workers);
        let lost = |offer: &mut Offer| {
            now >= offer.until || workers.get(&offer.worker).is_none_or(|w| !w.is_ready())
        };
        if let Some(offer) = self.offer.take_if(lost) {
            let why = if now >= offer.until {
                format!("it did not answer within {} s", CONFIG_MS / 1_000)
            } else {
                "it ended before it answered".to_owned()
            };
            self.offer_failed(cx, &offer, why);
        }
    }
}

fn tell_config(worker: WorkerId, id: u64, spec: Box<GatewaySpec>) -> Effect {
    Effect::Tell {
        worker,
        say: Box::new(ToGateway::Config {
            id,
            spec,
            // The driver knows the home.
            state: PathBuf::new(),
        }),
    }
}

/// Why a gateway does not run with a configuration.
fn refusal(outcome: ConfigOutcome) -> Option<String> {
    match outcome {
        ConfigOutcome::Applied | ConfigOutcome::Unchanged => None,
        ConfigOutcome::Rejected { problems } => Some(problems.join("; ")),
        ConfigOutcome::RolledBack { why } | ConfigOutcome::NeedsReload { why } => Some(why),
    }
}
