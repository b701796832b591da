//! What is exported, in one table: each family with its name in Prometheus' way and in
//! OpenTelemetry's. The exposition and OTLP are two ways to write the same families.
//!
//! Names follow Prometheus' rules (base units, `_total`); where OpenTelemetry's semantic
//! conventions have a name for the same thing, that is the other one.

mod apps;
mod gateway;
mod machine;
mod workers;

use std::collections::BTreeMap;

use histogram::Histogram;
use monitor_spec::now::Now;

use crate::totals::Totals;

/// Rows of one family; what is measured is bounded far below it, one app at a time.
const MAX_ROWS: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows while the supervisor lives, from 0 at [`Totals::since_ms`].
    Counter,
    Gauge,
    /// Microseconds, written as seconds.
    Histogram,
}

/// Names, values. Few: a vector is the quickest map.
pub type Labels<'a> = Vec<(&'static str, &'a str)>;

#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Number(f64),
    Histogram(&'a Histogram),
}

/// What a family is called and what it says.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Without `_total`.
    pub name: &'static str,
    /// OpenTelemetry's name.
    pub otel: &'static str,
    /// OpenTelemetry's unit (UCUM).
    pub unit: &'static str,
    pub kind: Kind,
    pub help: &'static str,
}

pub struct Family<'a> {
    pub head: Head,
    rows: BTreeMap<Labels<'a>, Row<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub value: Value<'a>,
    /// When it was 0, in milliseconds since 1970; `None` of gauges, and of what began with
    /// [`Totals::since_ms`].
    pub since_ms: Option<i64>,
}

impl<'a> Family<'a> {
    fn new(head: Head) -> Self {
        Self {
            head,
            rows: BTreeMap::new(),
        }
    }

    /// A second row with the same labels (the successor of a worker in its place) replaces the
    /// first: twice the same series is no exposition.
    fn row(&mut self, labels: Labels<'a>, row: Row<'a>) {
        if self.rows.len() < MAX_ROWS || self.rows.contains_key(&labels) {
            self.rows.insert(labels, row);
        }
    }

    fn number(&mut self, labels: Labels<'a>, value: f64) {
        if value.is_finite() {
            let value = Value::Number(value);
            let since_ms = None;
            self.row(labels, Row { value, since_ms });
        }
    }

    fn count(&mut self, labels: Labels<'a>, count: u64, since_ms: i64) {
        self.sum(labels, count as f64, since_ms);
    }

    fn sum(&mut self, labels: Labels<'a>, sum: f64, since_ms: i64) {
        let value = Value::Number(sum);
        let since_ms = Some(since_ms);
        self.row(labels, Row { value, since_ms });
    }

    fn histogram(&mut self, labels: Labels<'a>, histogram: &'a Histogram, since_ms: i64) {
        let value = Value::Histogram(histogram);
        let since_ms = Some(since_ms);
        self.row(labels, Row { value, since_ms });
    }

    pub fn rows(&self) -> impl Iterator<Item = (&Labels<'a>, Row<'a>)> {
        self.rows.iter().map(|(labels, row)| (labels, *row))
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// What is exported at one moment.
pub struct Picture<'a> {
    pub now: &'a Now,
    pub totals: &'a Totals,
    /// Unplanned restarts by app; unlike those of [`Now`] they only grow.
    pub restarts: &'a BTreeMap<String, u64>,
}

/// Every family that has rows.
pub fn families<'a>(picture: &Picture<'a>) -> Vec<Family<'a>> {
    let mut all = Vec::new();
    machine::families(picture, &mut all);
    apps::families(picture, &mut all);
    workers::families(picture, &mut all);
    gateway::families(picture, &mut all);
    all.retain(|family| !family.is_empty());
    all
}

/// The heads of all families, also of those that have no row.
#[cfg(test)]
pub(crate) fn heads() -> Vec<Head> {
    let (now, totals, restarts) = (Now::default(), Totals::default(), BTreeMap::new());
    let picture = Picture {
        now: &now,
        totals: &totals,
        restarts: &restarts,
    };
    let mut all = Vec::new();
    machine::families(&picture, &mut all);
    apps::families(&picture, &mut all);
    workers::families(&picture, &mut all);
    gateway::families(&picture, &mut all);
    all.iter().map(|family| family.head).collect()
}

/// Microseconds as seconds.
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

/// Instance numbers as label values, which must outlive the families. More are not exported.
const INSTANCES: usize = 1024;

/// The text of an instance number, or `None` of one beyond any app's limit.
fn instance(number: u32) -> Option<&'static str> {
    static TEXTS: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    let texts = TEXTS.get_or_init(|| (0..INSTANCES).map(|n| n.to_string()).collect());
    texts.get(number as usize).map(String::as_str)
}

const fn head(
    kind: Kind,
    name: &'static str,
    otel: &'static str,
    unit: &'static str,
    help: &'static str,
) -> Head {
    Head {
        name,
        otel,
        unit,
        kind,
        help,
    }
}

const fn counter(
    name: &'static str,
    otel: &'static str,
    unit: &'static str,
    help: &'static str,
) -> Head {
    head(Kind::Counter, name, otel, unit, help)
}

const fn gauge(
    name: &'static str,
    otel: &'static str,
    unit: &'static str,
    help: &'static str,
) -> Head {
    head(Kind::Gauge, name, otel, unit, help)
}

const fn duration(name: &'static str, otel: &'static str, help: &'static str) -> Head {
    head(Kind::Histogram, name, otel, "s", help)
}
