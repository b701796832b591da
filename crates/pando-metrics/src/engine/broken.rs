//! Preloads that do not work whole: an event for the first time that a part of one is broken in an
//! app, and what the picture says as long as it is so.

use std::collections::{BTreeMap, BTreeSet};

use monitor_spec::agent::Broken;

/// Parts of one app that events are told of. A preload has fewer; who invents more is not heard.
const PARTS_MAX: usize = 32;
/// Problems of this kind of one app.
const PROBLEMS_MAX: usize = 4;
pub(crate) const EVENT: &str = "preload-broken";

/// The parts of an app's preloads that an event was told of.
#[derive(Debug, Default)]
pub(crate) struct Told(BTreeSet<String>);

impl Told {
    /// The text of the event, if this is the first time.
    pub fn first(&mut self, broken: &Broken) -> Option<String> {
        if self.0.len() >= PARTS_MAX || !self.0.insert(broken.part.clone()) {
            return None;
        }
        Some(format!(
            "its preload cannot measure {} here: {}. The rest of it goes on. Most often another \
             preload or a package has replaced what Node has there: load it after Pando's, or see docs/agent.md",
            measures(&broken.part),
            broken.why,
        ))
    }
}

/// What of an app is not measured now; each of `workers` says what is broken in it.
pub(crate) fn problems<'a>(
    app: &str,
    workers: impl Iterator<Item = Vec<&'a Broken>>,
) -> Vec<String> {
    let mut parts: BTreeMap<&str, (u32, &str)> = BTreeMap::new();
    let mut all = 0;
    for broken in workers {
        all += 1;
        let of_worker: BTreeMap<&str, &str> = broken
            .into_iter()
            .map(|broken| (broken.part.as_str(), broken.why.as_str()))
            .collect();
        for (part, why) in of_worker {
            parts.entry(part).or_insert((0, why)).0 += 1;
        }
    }
    let problems = parts.into_iter().map(|(part, (count, why))| {
        let measured = measures(part);
        format!("the preload of {app} cannot measure {measured} in {count} of {all} workers: {why}")
    });
    problems.take(PROBLEMS_MAX).collect()
}

/// What is missing without a part, as the end of a sentence.
fn measures(part: &str) -> &str {
    match part {
        "http-server" => "HTTP/1 requests",
        "http2-server" => "HTTP/2 requests",
        "fastify" => "the routes of Fastify",
        "routes" => "some routes (they count as `(other)`)",
        "outgoing" => "outgoing calls",
        "event-loop-delay" => "the event loop's delay",
        "event-loop-utilization" => "the event loop's utilization",
        "gc" => "garbage collections",
        "heap" => "the heap",
        "handles" => "active handles",
        "threads" => "worker threads",
        "clock" => "times by Node's own clock (it uses another)",
        "drain" => "when its last connection is gone (draining waits for its time limit)",
        "report" => "anything: reports could not be made",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(part: &str, why: &str) -> Broken {
        Broken {
            part: part.into(),
            why: why.into(),
        }
    }

    #[test]
    fn each_part_is_told_once_and_no_more_than_there_can_be() {
        let mut told = Told::default();
        let text = told.first(&broken("gc", "TypeError: no")).unwrap();
        assert!(
            text.starts_with("its preload cannot measure garbage collections here: TypeError: no."),
            "{text}"
        );
        assert_eq!(told.first(&broken("gc", "another")), None);
        let invented = (0..1_000).filter_map(|n| told.first(&broken(&n.to_string(), "")));
        assert_eq!(invented.count(), PARTS_MAX - 1);
    }

    #[test]
    fn workers_are_counted_and_threads_are_not() {
        let (gc, gc_again, heap) = (broken("gc", "a"), broken("gc", "b"), broken("heap", "c"));
        let workers = [vec![&gc, &gc_again], vec![], vec![&gc, &heap]];
        assert_eq!(
            problems("api", workers.into_iter()),
            [
                "the preload of api cannot measure garbage collections in 2 of 3 workers: b",
                "the preload of api cannot measure the heap in 1 of 3 workers: c",
            ]
        );
    }
}
