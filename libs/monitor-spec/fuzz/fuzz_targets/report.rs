//! Arbitrary bytes of a worker to the parser of reports: no panic, and what comes out keeps its
//! bounds. `cargo +nightly fuzz run report`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitor_spec::agent::{MAX_NAME_BYTES, MAX_ROWS, parse};

fuzz_target!(|bytes: &[u8]| {
    let Ok(report) = parse(bytes) else { return };
    assert!(report.routes.len() + report.outgoing.len() <= MAX_ROWS);
    for time in [report.took_ms, report.active_ms, report.idle_ms] {
        assert!(time.is_finite() && time >= 0.0);
    }
    for route in &report.routes {
        assert!(route.route.len() <= MAX_NAME_BYTES && !route.route.contains('\u{1b}'));
        assert!(route.errors_4xx + route.errors_5xx <= route.latency.count());
        if let Some(p99) = route.latency.quantile(0.99) {
            assert!(p99.is_finite());
        }
    }
});
