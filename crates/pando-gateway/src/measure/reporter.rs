//! The control thread's side: takes what the threads have counted, and makes reports of it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use monitor_spec::edge::{self, MAX_ROWS, Report};
use monitor_spec::{MAX_ENDPOINTS, OTHER, UNMATCHED};
use route_fold::Folder;

use super::bounds;
use crate::shared::Shared;

/// Trees of routes that are kept; beyond it all are learnt again.
const MAX_FOLDERS: usize = 8192;
/// A thread that has not turned for this long is said to stand still.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// Makes the reports of one gateway.
#[derive(Debug, Default)]
pub struct Reporter {
    /// By site and route.
    folders: HashMap<(String, String), Folder>,
    /// Since the last report that was sent, by the place of each row in `held.routes`.
    rows: HashMap<Key, usize>,
    upstreams: HashMap<(String, String), usize>,
    held: Report,
    /// When `held` began.
    since: Option<Instant>,
    before: Totals,
    turns: Vec<Turn>,
}

type Key = (String, String, String, String);

/// Sums over the threads, when they were read last.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    bytes_in: u64,
    bytes_out: u64,
    limited: u64,
    retries: u64,
    tls_failures: u64,
    cache_hits: u64,
    cache_misses: u64,
}

#[derive(Debug)]
struct Turn {
    seen: u64,
    since: Instant,
    told: bool,
}

/// A serving thread that stands still, or turns again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    pub thread: usize,
    pub after: Duration,
    pub over: bool,
}

impl Stall {
    /// As an event for a person: its kind and one line.
    pub fn event(&self) -> (&'static str, String) {
        let (thread, seconds) = (self.thread, self.after.as_secs());
        if self.over {
            let text = format!("serving thread {thread} turns again, after {seconds} s");
            return ("thread-turns", text);
        }
        let text = format!("serving thread {thread} has not turned for {seconds} s");
        ("thread-stalled", text)
    }
}

impl Reporter {
    /// Takes what was counted since the last time.
    pub fn gather(&mut self, shared: &Shared, now: Instant) {
        self.since.get_or_insert(now);
        for measure in &shared.measures {
            let rows = measure.shard().take();
            rows.into_iter().for_each(|row| self.take(row));
        }
        self.gather_upstreams(shared);
        self.gather_totals(shared);
        self.bound();
    }

    /// What no supervisor takes is kept within the same bounds.
    fn bound(&mut self) {
        if self.held.routes.len() > 2 * MAX_ROWS {
            self.held.routes = bounds::rows(std::mem::take(&mut self.held.routes), MAX_ROWS);
            let rows = self.held.routes.iter().enumerate();
            self.rows = rows.map(|(at, row)| (key(row), at)).collect();
        }
    }

    /// What is held, as one report; the next one begins.
    pub fn report(&mut self, certificates: Vec<edge::Certificate>, now: Instant) -> Report {
        let since = self.since.replace(now).unwrap_or(now);
        self.rows.clear();
        self.upstreams.clear();
        let mut report = std::mem::take(&mut self.held);
        report.took_ms = now.saturating_duration_since(since).as_secs_f64() * 1e3;
        report.routes = bounds::rows(report.routes, MAX_ROWS);
        report.upstreams.truncate(MAX_ROWS);
        report.certificates = certificates;
        report.certificates.truncate(MAX_ROWS);
        report
    }

    /// Threads of which there is news.
    pub fn stalls(&mut self, shared: &Shared, now: Instant) -> Vec<Stall> {
        let turns = shared.measures.iter();
        let turns = turns.map(|measure| measure.counts.turns.get());
        self.stand_still(turns, now, shared.is_draining())
    }

    fn stand_still(
        &mut self,
        turns: impl ExactSizeIterator<Item = u64>,
        now: Instant,
        draining: bool,
    ) -> Vec<Stall> {
        let fresh = |seen| Turn {
            seen,
            since: now,
            told: false,
        };
        self.turns.resize_with(turns.len(), || fresh(0));
        let mut news = Vec::new();
        for (thread, (seen, turn)) in turns.zip(&mut self.turns).enumerate() {
            let after = now.saturating_duration_since(turn.since);
            if seen != turn.seen {
                let over = turn.told;
                *turn = fresh(seen);
                news.extend(over.then_some(Stall {
                    thread,
                    after,
                    over,
                }));
            } else if after >= STALLED_AFTER && !turn.told && !draining {
                turn.told = true;
                let over = false;
                news.push(Stall {
                    thread,
                    after,
                    over,
                });
            }
        }
        news
    }

    fn take(&mut self, mut row: edge::Route) {
        if row.endpoint != OTHER && row.endpoint != UNMATCHED {
            if self.folders.len() >= MAX_FOLDERS {
                self.folders.clear();
            }
            // One tree for all threads: each has seen other siblings.
            let route = (row.site.clone(), row.route.clone());
            let folder = self.folders.entry(route);
            let folder = folder.or_insert_with(|| Folder::new(MAX_ENDPOINTS));
            let endpoint = folder.refold(&row.endpoint);
            row.endpoint = match folder.name(endpoint) {
                "" => OTHER.to_owned(),
                name => name.to_owned(),
            };
            folder.settle();
        }
        let routes = &mut self.held.routes;
        let at = *self.rows.entry(key(&row)).or_insert(routes.len());
        match routes.get_mut(at) {
            Some(known) => bounds::merge(known, &row),
            None => routes.push(row),
        }
    }

    fn gather_upstreams(&mut self, shared: &Shared) {
        let now_ms = crate::clock::now_ms();
        for group in shared.groups.load().iter() {
            for endpoint in group.endpoints().iter() {
                let key = (group.name.to_string(), endpoint.known.address.to_string());
                let all = &mut self.held.upstreams;
                if all.len() >= 2 * MAX_ROWS && !self.upstreams.contains_key(&key) {
                    continue;
                }
                let at = *self.upstreams.entry(key.clone()).or_insert(all.len());
                if at == all.len() {
                    all.push(edge::Upstream {
                        group: key.0,
                        address: key.1,
                        ..edge::Upstream::default()
                    });
                }
                let (requests, failures) = endpoint.take_counts();
                all[at].instance = endpoint.known.instance;
                all[at].available = endpoint.is_available(now_ms);
                all[at].requests += requests;
                all[at].failures += failures;
                all[at].in_flight = u64::from(endpoint.load.in_flight());
            }
        }
    }

    fn gather_totals(&mut self, shared: &Shared) {
        let (mut now, mut in_flight) = (Totals::default(), 0u64);
        for counts in shared.measures.iter().map(|measure| &measure.counts) {
            now.bytes_in += counts.bytes_in.get();
            now.bytes_out += counts.bytes_out.get();
            now.limited += counts.limited.get();
            now.retries += counts.retries.get();
            now.tls_failures += counts.tls_failures.get();
            // What has ended is read first: it never is more than what has begun.
            let ended = counts.ended.get();
            in_flight += counts.begun.get().saturating_sub(ended);
        }
        let cache = shared.cache.statistics();
        let asked = |outcomes: &[&str]| {
            let counts = cache.requests.iter();
            let counts = counts.filter(|(outcome, _)| outcomes.contains(outcome));
            counts.map(|(_, count)| count).sum()
        };
        now.cache_hits = asked(&["hit", "revalidated", "updating", "stale", "collapsed"]);
        now.cache_misses = asked(&["miss", "expired", "absent"]);
        let (before, held) = (std::mem::replace(&mut self.before, now), &mut self.held);
        held.connections = shared.places.open();
        held.in_flight = in_flight;
        held.tunnels = u64::from(shared.tunnels());
        held.cache_bytes = cache.memory_bytes + cache.disk_bytes;
        held.bytes_in += now.bytes_in.saturating_sub(before.bytes_in);
        held.bytes_out += now.bytes_out.saturating_sub(before.bytes_out);
        held.limited += now.limited.saturating_sub(before.limited);
        held.retries += now.retries.saturating_sub(before.retries);
        held.tls_failures += now.tls_failures.saturating_sub(before.tls_failures);
        held.cache_hits += now.cache_hits.saturating_sub(before.cache_hits);
        held.cache_misses += now.cache_misses.saturating_sub(before.cache_misses);
    }
}

fn key(row: &edge::Route) -> Key {
    let text = |text: &String| text.clone();
    (
        text(&row.site),
        text(&row.route),
        text(&row.method),
        text(&row.endpoint),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_stands_still_is_told_once() {
        let (mut reporter, begin) = (Reporter::default(), Instant::now());
        let mut at = |seconds, turns: [u64; 2], draining| {
            let now = begin + Duration::from_secs(seconds);
            let news = reporter.stand_still(turns.into_iter(), now, draining);
            let told = |stall: Stall| (stall.thread, stall.after.as_secs(), stall.over);
            news.into_iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(at(0, [1, 1], false), []);
        assert_eq!(at(4, [2, 1], false), []);
        assert_eq!(at(6, [3, 1], false), [(1, 6, false)]);
        assert_eq!(at(9, [4, 1], false), []);
        assert_eq!(at(10, [5, 2], false), [(1, 10, true)]);
        assert_eq!(
            at(20, [5, 2], true),
            [],
            "a thread that has ended turns no more"
        );
    }

    fn row(endpoint: &str) -> edge::Route {
        let mut row = edge::Route {
            endpoint: endpoint.into(),
            method: "GET".into(),
            classes: [0, 1, 0, 0, 0],
            ..edge::Route::default()
        };
        row.latency.record(7);
        row
    }

    #[test]
    fn what_no_supervisor_takes_is_bounded_and_no_count_is_lost() {
        let mut reporter = Reporter::default();
        for number in 0..5_000u64 {
            let route = edge::Route {
                route: format!("/{}", number % 1500),
                ..row(&format!("/word{}", number % 7))
            };
            reporter.take(route);
            reporter.bound();
        }
        assert!(reporter.held.routes.len() <= 2 * MAX_ROWS);
        let report = reporter.report(Vec::new(), Instant::now());
        assert!(report.routes.len() <= MAX_ROWS);
        let counts = report.routes.iter().map(|row| row.latency.count());
        assert_eq!(counts.sum::<u64>(), 5_000);
        let again = reporter.report(Vec::new(), Instant::now());
        assert!(again.routes.is_empty(), "said once");
    }

    #[test]
    fn threads_that_merged_siblings_and_those_that_did_not_agree() {
        let mut reporter = Reporter::default();
        for endpoint in ["/t/a", "/t/b", "/t/*", "/t/c", "/t/a", UNMATCHED, OTHER] {
            reporter.take(row(endpoint));
        }
        let routes = reporter.report(Vec::new(), Instant::now()).routes;
        let names = routes
            .iter()
            .map(|row| (&*row.endpoint, row.latency.count()));
        let names: Vec<_> = names.collect();
        let expect = [
            ("/t/a", 1),
            ("/t/b", 1),
            ("/t/*", 3),
            (UNMATCHED, 1),
            (OTHER, 1),
        ];
        assert_eq!(names, expect);
    }
}
