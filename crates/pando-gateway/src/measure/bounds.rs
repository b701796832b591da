//! Rows of a report within its bounds: the busiest stay, the rest of each route is one row.

use std::collections::BTreeMap;

use monitor_spec::{OTHER, edge};

/// A report as text, about: a line over the link may be four times as long.
const MAX_BYTES: usize = 1024 * 1024;
/// Fewer rows are not tried: so few fit whatever is in them.
const MIN_ROWS: usize = 8;

/// At most `limit` rows, and no more than fit a line. No count is lost.
pub fn rows(rows: Vec<edge::Route>, limit: usize) -> Vec<edge::Route> {
    let mut limit = limit.max(MIN_ROWS);
    let mut rows = fewer(rows, limit);
    while limit > MIN_ROWS && rows.iter().map(bytes).sum::<usize>() > MAX_BYTES {
        limit = (limit / 2).max(MIN_ROWS);
        rows = fewer(rows, limit);
    }
    rows
}

fn fewer(mut rows: Vec<edge::Route>, limit: usize) -> Vec<edge::Route> {
    if rows.len() <= limit {
        return rows;
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.latency.count()));
    let rest = rows.split_off(limit / 2);
    let mut others: BTreeMap<(String, String), edge::Route> = BTreeMap::new();
    for row in rest {
        let key = (row.site.clone(), row.route.clone());
        let other = others.entry(key).or_insert_with(|| edge::Route {
            site: row.site.clone(),
            route: row.route.clone(),
            app: row.app.clone(),
            endpoint: OTHER.into(),
            ..edge::Route::default()
        });
        merge(other, &row);
    }
    let mut others: Vec<edge::Route> = others.into_values().collect();
    others.sort_by_key(|row| std::cmp::Reverse(row.latency.count()));
    let keep = (limit - rows.len()).saturating_sub(1);
    let last = others.split_off(others.len().min(keep));
    rows.append(&mut others);
    if let Some(all) = last.into_iter().reduce(|mut all, row| {
        merge(&mut all, &row);
        all.site.clear();
        all.route.clear();
        all.app = None;
        all
    }) {
        rows.push(all);
    }
    rows
}

/// Adds the counts of `row`.
pub fn merge(all: &mut edge::Route, row: &edge::Route) {
    for (class, more) in all.classes.iter_mut().zip(row.classes) {
        *class += more;
    }
    all.aborted += row.aborted;
    all.bytes_out += row.bytes_out;
    all.latency.merge(&row.latency);
    all.upstream.merge(&row.upstream);
}

/// As JSON: names of fields, texts that may be escaped, and a pair of numbers a bucket.
fn bytes(row: &edge::Route) -> usize {
    let texts = [&row.site, &row.route, &row.method, &row.endpoint];
    let texts: usize = texts.iter().map(|text| text.len()).sum();
    let buckets = row.latency.buckets().count() + row.upstream.buckets().count();
    256 + 2 * texts + 12 * buckets
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(number: u64, spread: u64) -> edge::Route {
        let mut row = edge::Route {
            site: format!("s{}", number % 7),
            route: format!("r{}", number % 13),
            endpoint: format!("/{number}"),
            bytes_out: number,
            classes: [0, number, 0, 0, 1],
            ..edge::Route::default()
        };
        for at in 0..=spread {
            row.latency.record_many(at * at * 50, 1 + number % 5);
        }
        row
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn bounded_and_no_count_is_lost(count in 0u64..900, spread in 0u64..400, limit in 1usize..500) {
            let all: Vec<_> = (0..count).map(|number| row(number, spread)).collect();
            let sums = |rows: &[edge::Route]| {
                let count: u64 = rows.iter().map(|row| row.latency.count()).sum();
                let bytes: u64 = rows.iter().map(|row| row.bytes_out).sum();
                let fine: u64 = rows.iter().map(|row| row.classes[1]).sum();
                (count, bytes, fine)
            };
            let kept = rows(all.clone(), limit);
            prop_assert_eq!(sums(&kept), sums(&all));
            prop_assert!(kept.len() <= limit.max(MIN_ROWS));
            let text = serde_json::to_string(&kept).unwrap();
            prop_assert!(text.len() <= 2 * MAX_BYTES);
        }
    }
}
