//! The charts of a page: which quantities, over which time, and where their values are from. The
//! last two minutes come with each picture; longer spans are asked for.

use monitor_spec::ask::{Query, Series};
use monitor_spec::metric::Metric;
use monitor_spec::now::{History, Now};

use super::chart::Limits;
use super::page::{self, Page};
use super::verdict;

/// Names and lengths of what can be looked at.
pub const SPANS: [(&str, i64); 8] = [
    ("1m", 60_000),
    ("2m", 120_000),
    ("10m", 600_000),
    ("1h", 3_600_000),
    ("6h", 21_600_000),
    ("1d", 86_400_000),
    ("7d", 604_800_000),
    ("30d", 2_592_000_000),
];
const SPAN_AT_FIRST: usize = 1;
/// Of a series: two for each cell of the widest chart.
const POINTS: u32 = 120;
/// How often series are asked for at most and at least.
const REFRESH_MIN_MS: i64 = 2_000;
const REFRESH_MAX_MS: i64 = 30_000;

/// The quantities of a page's charts in the order of their importance.
pub fn metrics(subject: &Page) -> &'static [Metric] {
    match subject {
        Page::App(_) | Page::Worker { .. } => &[
            Metric::Rate,
            Metric::LatencyP95,
            Metric::LagP99,
            Metric::Memory,
            Metric::Cpu,
            Metric::Errors5xx,
        ],
        Page::Endpoint { .. } | Page::Gateway => {
            &[Metric::Rate, Metric::LatencyP95, Metric::Errors5xx]
        }
        Page::Apps | Page::Top | Page::Alerts | Page::Events | Page::Logs => &[],
    }
}

pub fn title(metric: Metric) -> &'static str {
    const TITLES: [(Metric, &str); 6] = [
        (Metric::Rate, "requests/s"),
        (Metric::LatencyP95, "p95"),
        (Metric::LagP99, "loop lag"),
        (Metric::Memory, "memory"),
        (Metric::Cpu, "cpu"),
        (Metric::Errors5xx, "5xx/s"),
    ];
    let found = TITLES.iter().find(|(of, _)| *of == metric);
    found.map_or(metric.name(), |(_, title)| title)
}

/// The least value that fills a chart.
pub fn floor(metric: Metric) -> f64 {
    match metric.unit() {
        "us" => 2_000.0,
        "percent" => 10.0,
        "bytes" => 1_048_576.0,
        _ => 1.0,
    }
}

pub fn limits(metric: Metric, now: &Now, subject: &Page) -> Limits {
    if metric == Metric::LagP99 {
        return verdict::LAG;
    }
    if metric == Metric::Errors5xx {
        return Limits {
            warn: None,
            bad: Some(f64::MIN_POSITIVE),
        };
    }
    // The limit is of one worker.
    if let Page::Worker { app, .. } = subject
        && metric == Metric::Memory
    {
        return verdict::memory(page::app(now, app).and_then(|app| app.memory_limit_bytes));
    }
    Limits::default()
}

/// Values of one chart, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    pub values: Vec<Option<f64>>,
    /// The number of the newest, counted in steps since 1970.
    pub tick: u64,
}

/// What is asked for and what came.
#[derive(Debug)]
pub struct Wanted {
    pub span: usize,
    id: u64,
    subject: Page,
    asked_ms: Option<i64>,
    points: Vec<Option<Points>>,
    window: (i64, i64),
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            span: SPAN_AT_FIRST,
            id: 0,
            subject: Page::Apps,
            asked_ms: None,
            points: Vec::new(),
            window: (0, 0),
        }
    }
}

impl Wanted {
    pub fn span_name(&self) -> &'static str {
        self.pair().0
    }

    fn pair(&self) -> (&'static str, i64) {
        SPANS[self.span.min(SPANS.len() - 1)]
    }

    /// Pictures have it.
    fn is_live(&self, subject: &Page) -> bool {
        self.span <= SPAN_AT_FIRST && !matches!(subject, Page::Endpoint { .. })
    }

    pub fn zoom(&mut self, span: usize) {
        self.span = span.min(SPANS.len() - 1);
        self.forget();
    }

    fn forget(&mut self) {
        self.id += 1;
        self.points.clear();
        self.asked_ms = None;
    }

    /// Queries to be made now, with their id.
    pub fn due(&mut self, subject: Page, at_ms: i64, now_ms: i64) -> Option<(u64, Vec<Query>)> {
        if subject != self.subject {
            self.subject = subject;
            self.forget();
        }
        let wanted = metrics(&self.subject);
        let (_, span_ms) = self.pair();
        let step_ms = span_ms / i64::from(POINTS);
        let every = step_ms.clamp(REFRESH_MIN_MS, REFRESH_MAX_MS);
        let is_live = self.is_live(&self.subject);
        let is_fresh = self.asked_ms.is_some_and(|asked| at_ms - asked < every);
        if is_live || wanted.is_empty() || is_fresh {
            return None;
        }
        self.asked_ms = Some(at_ms);
        self.window = (now_ms - span_ms, now_ms);
        self.points.resize(wanted.len(), None);
        let queries = wanted.iter().map(|metric| self.query(*metric));
        Some((self.id, queries.collect()))
    }

    fn query(&self, metric: Metric) -> Query {
        let mut worker = None;
        let mut endpoint = None;
        if let Page::Worker { instance, .. } = &self.subject {
            worker = Some(*instance);
        } else if let Page::Endpoint { method, route, .. } = &self.subject {
            endpoint = Some(format!("{method} {route}"));
        }
        Query {
            metric,
            app: self.subject.app().unwrap_or("").to_owned(),
            worker,
            endpoint,
            by_worker: false,
            from_ms: self.window.0,
            to_ms: self.window.1,
            points: POINTS,
        }
    }

    pub fn take(&mut self, id: u64, of: usize, series: &[Series]) {
        let (from_ms, to_ms) = self.window;
        if id == self.id
            && let Some(place) = self.points.get_mut(of)
        {
            // No answer is an empty chart, not one on its way.
            let points = series.first().map(|series| placed(series, from_ms, to_ms));
            *place = Some(points.unwrap_or_default());
        }
    }

    /// Values of the chart at that place of [`metrics`]; `None` while they are on their way.
    pub fn points(&self, subject: &Page, of: usize, now: &Now) -> Option<Points> {
        if self.is_live(subject) {
            let metric = *metrics(subject).get(of)?;
            let history = history(now, subject)?;
            let values = live(history, metric);
            let seconds = usize::try_from(self.pair().1 / 1_000).unwrap_or(usize::MAX);
            let skipped = values.len().saturating_sub(seconds);
            return Some(Points {
                values: values[skipped..].iter().map(|v| v.map(f64::from)).collect(),
                tick: u64::try_from(now.time_ms / 1_000).unwrap_or(0),
            });
        }
        let asked = *subject == self.subject;
        self.points.get(of).filter(|_| asked)?.clone()
    }
}

/// A series with its gaps at both ends, so that its right edge is the window's.
fn placed(series: &Series, from_ms: i64, to_ms: i64) -> Points {
    const POINTS_MAX: i64 = 2_000;
    let step = series.step_ms.max(1);
    let before = (series.start_ms.saturating_sub(from_ms) / step).clamp(0, POINTS_MAX);
    let len = i64::try_from(series.values.len()).unwrap_or(POINTS_MAX);
    let end = series.start_ms.saturating_add(len.saturating_mul(step));
    let after = (to_ms.saturating_sub(end) / step).clamp(0, POINTS_MAX);
    let gap = |count: i64| vec![None; usize::try_from(count).unwrap_or(0)];
    let most = usize::try_from(POINTS_MAX).unwrap_or(0);
    let known = series.values.iter().take(most).copied();
    let values: Vec<Option<f64>> = gap(before)
        .into_iter()
        .chain(known)
        .chain(gap(after))
        .collect();
    Points {
        values,
        tick: u64::try_from(to_ms / step).unwrap_or(0),
    }
}

fn history<'a>(now: &'a Now, subject: &Page) -> Option<&'a History> {
    if let Page::Worker { app, instance } = subject {
        page::worker(now, app, *instance).map(|worker| &worker.history)
    } else if let Page::App(name) = subject {
        page::app(now, name).map(|app| &app.history)
    } else {
        now.gateway.as_ref().map(|gateway| &gateway.history)
    }
}

fn live(history: &History, metric: Metric) -> &[Option<f32>] {
    let all = [
        (Metric::Rate, &history.rate),
        (Metric::LatencyP95, &history.p95_us),
        (Metric::Errors5xx, &history.errors),
        (Metric::LagP99, &history.lag_us),
        (Metric::Cpu, &history.cpu_percent),
        (Metric::Memory, &history.memory_bytes),
    ];
    let found = all.into_iter().find(|(of, _)| *of == metric);
    found.map_or(&[], |(_, values)| values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(start_ms: i64, values: &[f64]) -> Series {
        Series {
            start_ms,
            step_ms: 1_000,
            values: values.iter().copied().map(Some).collect(),
            ..Series::default()
        }
    }

    #[test]
    fn what_pictures_have_is_not_asked_for() {
        let mut wanted = Wanted::default();
        let app = Page::App("api".into());
        assert_eq!(wanted.due(app.clone(), 10_000, 10_000), None);
        wanted.zoom(3);
        let (id, queries) = wanted.due(app.clone(), 10_000, 9_000_000).unwrap();
        assert_eq!(queries.len(), metrics(&app).len());
        assert_eq!(queries[0].to_ms - queries[0].from_ms, 3_600_000);
        assert_eq!(
            wanted.due(app.clone(), 10_500, 9_000_500),
            None,
            "not again at once"
        );
        wanted.take(id, 0, &[series(9_000_000 - 3_000, &[1.0, 2.0])]);
        let now = crate::sample::now();
        let points = wanted.points(&app, 0, &now).unwrap();
        assert_eq!(
            points.values.last(),
            Some(&None),
            "the second that is missing"
        );
        assert_eq!(points.values.iter().flatten().count(), 2);
        assert_eq!(wanted.points(&app, 1, &now), None);
        // An answer to what is not on the screen any more.
        wanted.zoom(4);
        wanted.take(id, 0, &[series(0, &[7.0])]);
        assert_eq!(wanted.points(&app, 0, &now), None);
    }

    #[test]
    fn a_lying_series_costs_no_memory() {
        for (start_ms, step_ms) in [(i64::MAX, 1), (i64::MIN, 0), (0, -5)] {
            let series = Series {
                step_ms,
                ..series(start_ms, &[1.0])
            };
            assert!(placed(&series, 0, i64::MAX).values.len() <= 4_001);
        }
    }

    #[test]
    fn endpoints_are_always_asked_for() {
        let page = Page::Endpoint {
            app: "api".into(),
            method: "GET".into(),
            route: "/".into(),
        };
        let (_, queries) = Wanted::default().due(page, 10_000, 10_000).unwrap();
        assert_eq!(queries[0].endpoint.as_deref(), Some("GET /"));
    }
}
