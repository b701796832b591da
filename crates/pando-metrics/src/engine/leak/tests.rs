use proptest::prelude::*;

use super::*;

/// What is said of floors by `bytes(second)`, at the end.
fn run(of: Of, seconds: u32, every: u32, bytes: impl Fn(f64) -> f64) -> Option<f64> {
    let mut leak = Leak::new(of);
    for second in (0..seconds).step_by(every as usize) {
        leak.add(f64::from(second), bytes(f64::from(second)));
    }
    leak.bytes_per_hour()
}

/// Noise without a random source: within -1 and 1.
fn noise(seed: f64) -> f64 {
    ((seed * 12.9898).sin() * 43_758.547).fract()
}

fn near(got: Option<f64>, expect: f64) {
    let got = got.expect("a leak");
    assert!((got / expect - 1.0).abs() < 0.05, "{got} for {expect}");
}

#[test]
fn a_known_leak_shows_its_slope() {
    for (mb_per_hour, seconds, every) in [
        (36.0, 900, 1),
        (36.0, 7_200, 7),
        (600.0, 1_000, 20),
        (600.0, 50_000, 60),
        // 1 MB a second, after two minutes.
        (3_600.0, 120, 1),
    ] {
        let slope = mb_per_hour * MB / 3_600.0;
        let line = |s: f64| 50.0 * MB + slope * s;
        near(run(Of::Floors, seconds, every, line), mb_per_hour * MB);
        let noisy = |s: f64| line(s) + noise(s) * slope * 10.0;
        near(run(Of::Floors, seconds, every, noisy), mb_per_hour * MB);
    }
    let resident = |s: f64| 100.0 * MB + s * MB / 36.0 + noise(s) * 2.0 * MB;
    near(run(Of::Resident, 3_000, 1, resident), 100.0 * MB);
}

#[test]
fn high_floors_now_and_then_do_not_move_it() {
    let line = |s: f64| {
        let outlier = s % 100.0 < 1.0;
        50.0 * MB + s * MB / 60.0 + if outlier { 300.0 * MB } else { 0.0 }
    };
    near(run(Of::Floors, 3_000, 1, line), 60.0 * MB);
}

#[test]
fn what_is_no_leak() {
    let check = |what: &str, bytes: &dyn Fn(f64) -> f64| {
        for seconds in [90, 200, 700, 3_000, 20_000] {
            for of in [Of::Floors, Of::Resident] {
                let got = run(of, seconds, 1, bytes);
                assert_eq!(got, None, "{what} over {seconds} s");
            }
        }
    };
    check("constant", &|_| 80.0 * MB);
    check("noise", &|s| 80.0 * MB + noise(s) * 20.0 * MB);
    check("sawtooth of a minute", &|s| 80.0 * MB + (s % 60.0) * MB);
    check("sawtooth of 17 s", &|s| 80.0 * MB + (s % 17.0) * 5.0 * MB);
    check("a cache that fills", &|s| {
        80.0 * MB + 60.0 * MB * (1.0 - (-s / 20.0).exp())
    });
    check("shrinking", &|s| 800.0 * MB - s * MB / 60.0);
    check("a step", &|s| if s < 60.0 { 80.0 * MB } else { 120.0 * MB });
    check("a little", &|s| 80.0 * MB + s * 10.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_number_panics(values in proptest::collection::vec((any::<f64>(), any::<f64>()), 0..200)) {
        let mut leak = Leak::new(Of::Floors);
        for (at, bytes) in values {
            leak.add(at, bytes);
        }
    }
}

/// Chance alone may look like a trend for as long as one point stands, not more often. The noise
/// is the same in each run: what chance does is no reason for a test to fail.
#[test]
fn white_noise_is_no_leak() {
    use proptest::strategy::{Strategy, ValueTree};
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let noise = (
        proptest::collection::vec(0.0f64..1.0, 200..900),
        0.0f64..200.0,
    );
    let (mut said_in_all, mut looks) = (0, 0);
    for _ in 0..64 {
        let (values, spread) = noise.new_tree(&mut runner).unwrap().current();
        let mut leak = Leak::new(Of::Floors);
        let mut said = 0;
        for (n, value) in values.iter().enumerate() {
            leak.add(n as f64 * 5.0, 100.0 * MB + value * spread * MB);
            said += usize::from(leak.bytes_per_hour().is_some());
        }
        assert!(said * 10 <= values.len(), "{said} of {}", values.len());
        said_in_all += said;
        looks += values.len();
    }
    assert!(said_in_all * 200 <= looks, "{said_in_all} of {looks}");
}
