//! Memory that grows steadily. What is judged is the heap's floor after major collections (for
//! processes without one their resident memory, far more cautiously), by the least of each short
//! span of time. A leak is a line that stays: the Theil-Sen slope (the median of all pairs'
//! slopes, Sen 1968), significant by the Mann-Kendall test, in the first and in the second half
//! of the time. A sawtooth or a cache that fills up is none.

/// Points that are kept: pairs are compared, so 60 cost 1770 slopes a point.
const POINTS_MAX: usize = 60;
/// The first spans; they double when there are too many, up to the last.
const FIRST_SPAN_S: f64 = 10.0;
const LAST_SPAN_S: f64 = 160.0;
const POINTS_LEAST: usize = 8;
/// Of the Mann-Kendall test: 0.1 % by chance.
const SIGNIFICANT: f64 = 3.09;
/// The slopes of both halves of a line are alike within this factor.
const STEADY: f64 = 3.0;

/// The growth is so many times what points are off the line by.
const CLEAR: f64 = 3.0;

/// How sure one must be.
#[derive(Clone, Copy, Debug)]
struct Demand {
    seconds: f64,
    bytes: f64,
    /// Growth as a share of what there was.
    share: f64,
}

const MB: f64 = 1024.0 * 1024.0;
const OF_FLOORS: [Demand; 2] = [
    Demand {
        seconds: 600.0,
        bytes: 2.0 * MB,
        share: 0.03,
    },
    // A fast one need not wait.
    Demand {
        seconds: 75.0,
        bytes: 16.0 * MB,
        share: 0.3,
    },
];
const OF_RESIDENT: [Demand; 1] = [Demand {
    seconds: 1_800.0,
    bytes: 32.0 * MB,
    share: 0.1,
}];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Floors,
    Resident,
}

#[derive(Clone, Debug)]
pub(crate) struct Leak {
    of: Of,
    span_s: f64,
    /// (seconds, least bytes) of each span, oldest first; the last is not over.
    points: Vec<(f64, f64)>,
    bytes_per_hour: Option<f64>,
}

impl Leak {
    pub fn new(of: Of) -> Self {
        Self {
            of,
            span_s: FIRST_SPAN_S,
            points: Vec::new(),
            bytes_per_hour: None,
        }
    }

    /// A floor seen now.
    pub fn add(&mut self, now_s: f64, bytes: f64) {
        if !bytes.is_finite() || !now_s.is_finite() {
            return;
        }
        match self.points.last_mut() {
            Some((at, least)) if same_span(*at, now_s, self.span_s) => {
                // The lowest point counts with its own time, or the line would be skewed.
                if bytes < *least {
                    (*at, *least) = (now_s, bytes);
                }
                return;
            }
            _ => self.points.push((now_s, bytes)),
        }
        if self.points.len() > POINTS_MAX {
            self.thin_out();
        }
        let done = self.points.len() - 1;
        self.bytes_per_hour = judge(self.points.get(..done).unwrap_or_default(), self.of);
    }

    fn thin_out(&mut self) {
        if self.span_s >= LAST_SPAN_S {
            self.points.remove(0);
            return;
        }
        self.span_s *= 2.0;
        let mut wider: Vec<(f64, f64)> = Vec::new();
        for point in self.points.drain(..) {
            match wider.last_mut() {
                Some(last) if same_span(last.0, point.0, self.span_s) => {
                    if point.1 < last.1 {
                        *last = point;
                    }
                }
                _ => wider.push(point),
            }
        }
        self.points = wider;
    }

    /// What it gains an hour, if it is a leak.
    pub fn bytes_per_hour(&self) -> Option<f64> {
        self.bytes_per_hour
    }
}

fn same_span(a: f64, b: f64, span: f64) -> bool {
    (a / span).floor() == (b / span).floor()
}

fn judge(points: &[(f64, f64)], of: Of) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    if points.len() < POINTS_LEAST {
        return None;
    }
    let slope = slope(points)?;
    let seconds = last.0 - first.0;
    let growth = slope * seconds;
    let demands: &[Demand] = match of {
        Of::Floors => &OF_FLOORS,
        Of::Resident => &OF_RESIDENT,
    };
    let enough = demands.iter().any(|demand| {
        seconds >= demand.seconds && growth >= demand.bytes.max(demand.share * first.1.max(0.0))
    });
    let (early, late) = points.split_at(points.len() / 2);
    let steady = self::slope(early)? >= slope / STEADY && self::slope(late)? >= slope / STEADY;
    let clear = growth >= CLEAR * spread(points, slope);
    (enough && steady && clear && trend(points) >= SIGNIFICANT).then_some(slope * 3_600.0)
}

/// How far points are off the line: a standard deviation, by the median of distances.
fn spread(points: &[(f64, f64)], slope: f64) -> f64 {
    let mut rests: Vec<f64> = points
        .iter()
        .map(|(at, bytes)| bytes - slope * at)
        .collect();
    let middle = median(&mut rests).unwrap_or(0.0);
    let mut off: Vec<f64> = rests.iter().map(|rest| (rest - middle).abs()).collect();
    // Of a normal distribution.
    median(&mut off).unwrap_or(0.0) * 1.4826
}

fn median(values: &mut [f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    let (_, median, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}

/// The median of the slopes of all pairs.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let mut slopes = Vec::with_capacity(points.len() * points.len().saturating_sub(1) / 2);
    for (n, early) in points.iter().enumerate() {
        for late in points.iter().skip(n + 1) {
            if late.0 > early.0 {
                slopes.push((late.1 - early.1) / (late.0 - early.0));
            }
        }
    }
    median(&mut slopes)
}

/// The Mann-Kendall statistic: how many standard deviations of chance the order is away from none.
fn trend(points: &[(f64, f64)]) -> f64 {
    let mut score = 0.0;
    for (n, early) in points.iter().enumerate() {
        for late in points.iter().skip(n + 1) {
            score += f64::from((late.1 > early.1) as i8 - (late.1 < early.1) as i8);
        }
    }
    let n = points.len() as f64;
    let deviation = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    (score - 1.0) / deviation.max(1.0)
}

#[cfg(test)]
mod tests;
