//! A series of points out of blocks of any resolution. Percentiles come from histograms that are
//! merged over each point's time, never from other percentiles.

use histogram::Histogram;
use monitor_spec::ask::Query;
use monitor_spec::metric::Metric;

use super::block::{Block, SAMPLES_MAX};
use super::tier::Tier;
use crate::row::{Fold, Scope, fold, is_latency};

/// Points of one series.
const POINTS_MAX: i64 = 50_000;

/// Which points are made, and from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub from_s: i64,
    /// The first second that is not asked for.
    pub to_s: i64,
    pub step_s: i64,
    /// What is read of the store.
    pub tier: Tier,
}

impl Plan {
    /// The least step for a span that is so old, for at most so many points.
    pub fn new(query: &Query, now_s: i64, coarse: bool) -> Self {
        // Years beyond reason would only cost.
        let oldest = now_s.saturating_sub(Tier::Minutes.keep_s() + 86_400);
        let to_s = ceil_s(query.to_ms).clamp(oldest, now_s.saturating_add(1));
        let from_s = query.from_ms.div_euclid(1_000).clamp(oldest, to_s);
        let age = now_s - from_s;
        let base = if age <= Tier::Seconds.keep_s() && !coarse {
            Tier::Seconds
        } else if age <= Tier::Tens.keep_s() {
            Tier::Tens
        } else {
            Tier::Minutes
        };
        let span = (to_s - from_s).max(1);
        let wanted = if query.points == 0 {
            POINTS_MAX
        } else {
            i64::from(query.points).clamp(1, POINTS_MAX)
        };
        let step = base.step_s().max((span + wanted - 1) / wanted);
        // A step is of whole steps of what it is made from.
        let tier = Tier::ALL.into_iter().rev();
        let tier = tier
            .filter(|tier| *tier >= base)
            .find(|tier| step >= tier.step_s());
        let tier = tier.unwrap_or(base);
        let step_s = (step + tier.step_s() - 1) / tier.step_s() * tier.step_s();
        Self {
            from_s: from_s.div_euclid(step_s) * step_s,
            to_s,
            step_s,
            tier,
        }
    }

    fn len(&self) -> usize {
        let count = (self.to_s - self.from_s + self.step_s - 1) / self.step_s;
        usize::try_from(count.clamp(1, POINTS_MAX + 1)).unwrap_or(1)
    }
}

fn ceil_s(ms: i64) -> i64 {
    ms.saturating_add(999).div_euclid(1_000)
}

/// Which columns a metric is made from.
pub fn wants(metric: Metric) -> impl Fn(Metric) -> bool {
    move |known| known == metric
}

/// Points that are being made.
#[derive(Debug)]
pub struct Points {
    plan: Plan,
    metric: Metric,
    values: Vec<Value>,
    latency: Vec<Histogram>,
    pub any: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Value {
    sum: f64,
    weight: f64,
    max: Option<f64>,
}

impl Points {
    pub fn new(plan: Plan, metric: Metric) -> Self {
        let (values, latency) = if is_latency(metric) {
            (0, plan.len())
        } else {
            (plan.len(), 0)
        };
        Self {
            plan,
            metric,
            values: vec![Value::default(); values],
            latency: vec![Histogram::new(); latency],
            any: false,
        }
    }

    /// Adds a block; samples outside of `from_s..to_s` are left out.
    pub fn add(&mut self, tier: Tier, start_s: i64, block: &Block, span: std::ops::Range<i64>) {
        let step = tier.step_s();
        let from = span.start.max(self.plan.from_s - step + 1);
        let to = span.end.min(self.plan.to_s);
        let inside = |at: i64| at >= from && at < to;
        if let (false, Some(column)) = (self.values.is_empty(), block.values.get(&self.metric)) {
            for (place, value) in column.iter().enumerate().take(SAMPLES_MAX) {
                let at = start_s + place as i64 * step;
                if inside(at) && !value.is_nan() {
                    self.add_value(at, step, f64::from(*value));
                }
            }
        }
        if self.latency.is_empty() {
            return;
        }
        for (place, latency) in &block.latency {
            let at = start_s + i64::from(*place) * step;
            if inside(at) {
                self.any = true;
                for point in self.points_of(at, step) {
                    if let Some(sum) = self.latency.get_mut(point) {
                        sum.merge(latency);
                    }
                }
            }
        }
    }

    fn add_value(&mut self, at: i64, step: i64, value: f64) {
        self.any = true;
        for point in self.points_of(at, step) {
            if let Some(sum) = self.values.get_mut(point) {
                sum.sum += value * step as f64;
                sum.weight += step as f64;
                sum.max = Some(sum.max.map_or(value, |max| max.max(value)));
            }
        }
    }

    /// A sample that is longer than a point is in all of its points.
    fn points_of(&self, at: i64, step: i64) -> std::ops::RangeInclusive<usize> {
        let point = |at: i64| {
            let point = (at - self.plan.from_s).div_euclid(self.plan.step_s).max(0);
            usize::try_from(point).unwrap_or(0)
        };
        if self.plan.step_s >= step {
            return point(at)..=point(at);
        }
        point(at)..=point(at + step - 1)
    }

    pub fn finish(self) -> Vec<Option<f64>> {
        let metric = self.metric;
        if is_latency(metric) {
            return self.latency.iter().map(|h| of_latency(metric, h)).collect();
        }
        let max = fold(metric) == Fold::Max;
        let values = self.values.into_iter().map(|value| {
            if max {
                value.max
            } else {
                (value.weight > 0.0).then(|| value.sum / value.weight)
            }
        });
        values.collect()
    }
}

fn of_latency(metric: Metric, latency: &Histogram) -> Option<f64> {
    if latency.is_empty() {
        return None;
    }
    let shares = [
        (Metric::LatencyP50, 0.5),
        (Metric::LatencyP95, 0.95),
        (Metric::LatencyP99, 0.99),
        (Metric::LatencyMax, 1.0),
    ];
    match shares.iter().find(|(known, _)| *known == metric) {
        Some((_, share)) => latency.quantile(*share),
        None => latency.mean(),
    }
}

/// Whether only what is kept by slots of ten seconds can answer.
pub fn is_coarse(metric: Metric, scope: &Scope) -> bool {
    scope.is_coarse() || (is_latency(metric) && matches!(scope, Scope::Worker(..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(from_s: i64, to_s: i64, points: u32, now_s: i64) -> Plan {
        let query = Query {
            metric: Metric::Cpu,
            app: String::new(),
            worker: None,
            endpoint: None,
            by_worker: false,
            from_ms: from_s * 1_000,
            to_ms: to_s * 1_000,
            points,
        };
        Plan::new(&query, now_s, false)
    }

    #[test]
    fn the_step_fits_age_and_points() {
        let now = 10_000_000;
        for (back, points, step, tier) in [
            (600, 0, 1, Tier::Seconds),
            (3_600, 0, 1, Tier::Seconds),
            (3_600, 300, 20, Tier::Tens),
            (3_600, 1_000, 4, Tier::Seconds),
            (7_200, 0, 10, Tier::Tens),
            (86_400, 100, 900, Tier::Minutes),
            (86_400, 2_000, 50, Tier::Tens),
            (30 * 86_400, 0, 60, Tier::Minutes),
            (30 * 86_400, 500, 5_220, Tier::Minutes),
        ] {
            let plan = plan(now - back, now, points, now);
            assert_eq!((plan.step_s, plan.tier), (step, tier), "{back} {points}");
            assert_eq!(plan.from_s % step, 0);
        }
        // Nonsense is brought into bounds.
        let wild = plan(i64::MIN / 2_000, i64::MAX / 2_000, 0, now);
        assert!(wild.len() <= POINTS_MAX as usize + 1);
        assert_eq!(plan(50, 40, 7, now).len(), 1);
    }

    #[test]
    fn points_are_means_and_maxima() {
        let plan = Plan {
            from_s: 1_000,
            to_s: 1_060,
            step_s: 20,
            tier: Tier::Seconds,
        };
        let mut block = Block::default();
        for n in 0..30 {
            block.put(n, Metric::Cpu, n as f32);
            block.put(n, Metric::LagMax, n as f32);
        }
        let run = |metric| {
            let mut points = Points::new(plan, metric);
            points.add(Tier::Seconds, 1_000, &block, 0..i64::MAX);
            points.finish()
        };
        assert_eq!(run(Metric::Cpu), [Some(9.5), Some(24.5), None]);
        assert_eq!(run(Metric::LagMax), [Some(19.0), Some(29.0), None]);
        assert_eq!(run(Metric::Fds), [None, None, None]);
    }

    #[test]
    fn a_coarse_sample_is_in_all_its_points() {
        let plan = Plan {
            from_s: 1_000,
            to_s: 1_030,
            step_s: 5,
            tier: Tier::Seconds,
        };
        let mut block = Block::default();
        block.put(0, Metric::Cpu, 8.0);
        let mut points = Points::new(plan, Metric::Cpu);
        points.add(Tier::Tens, 1_010, &block, 0..i64::MAX);
        let expect = [None, None, Some(8.0), Some(8.0), None, None];
        assert_eq!(points.finish(), expect);
    }
}
