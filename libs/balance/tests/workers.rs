//! Four workers with one thread each, as Node's are, under a virtual clock: what balancing by
//! latency does when one of them stalls, and when some requests are slow by themselves.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use balance::{Balancer, Member, PeakEwma, Policy};

const SECOND: u64 = 1_000_000;
const WORKERS: usize = 4;

/// A generator that a test can repeat: SplitMix64's.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Exponentially distributed around `mean`.
    fn around(&mut self, mean: u64) -> u64 {
        (-(1.0 - self.share()).ln() * mean as f64) as u64 + 1
    }
}

struct Worker {
    id: u64,
    load: PeakEwma,
    /// When its event loop is done with all that it was given.
    free_at: u64,
}

impl Member for &Worker {
    fn id(&self) -> u64 {
        self.id
    }
    fn available(&self) -> bool {
        true
    }
    fn in_flight(&self) -> u32 {
        self.load.in_flight()
    }
    fn latency_us(&self, now_us: u64) -> u64 {
        self.load.latency_us(now_us)
    }
    fn wait_us(&self, now_us: u64) -> u64 {
        self.load.unanswered_us(now_us)
    }
}

/// One run.
struct World {
    policy: Policy,
    per_second: u64,
    /// Time of a request on the event loop.
    work_us: u64,
    /// Share of requests that wait for a database for [`World::slow_us`], off the loop.
    slow: f64,
    slow_us: u64,
    /// Worker 1 does nothing from the first time to the second.
    stall: (u64, u64),
    length: u64,
}

#[derive(Debug, Default)]
struct Outcome {
    requests: u32,
    /// Took longer than 200 ms without being slow by themselves.
    late: u32,
    /// Requests of each worker, and of each in the last two seconds.
    picks: [u32; WORKERS],
    last_picks: [u32; WORKERS],
}

impl World {
    fn quiet(policy: Policy) -> Self {
        Self {
            policy,
            per_second: 2000,
            work_us: 1000,
            slow: 0.0,
            slow_us: 0,
            stall: (0, 0),
            length: 20 * SECOND,
        }
    }

    fn run(&self, seed: u64) -> Outcome {
        let mut random = Random(seed);
        let balancer = Balancer::new(self.policy);
        let mut workers: Vec<Worker> = (0..WORKERS as u64)
            .map(|id| Worker {
                id,
                load: PeakEwma::default(),
                free_at: 0,
            })
            .collect();
        let mut answers: BinaryHeap<Reverse<(u64, usize, u64)>> = BinaryHeap::new();
        let mut outcome = Outcome::default();
        let mut now = SECOND;
        let end = now + self.length;
        while now < end {
            now += random.around(SECOND / self.per_second);
            while let Some(&Reverse((at, worker, begun))) = answers.peek()
                && at <= now
            {
                answers.pop();
                let load = &workers[worker].load;
                load.answered(at - begun, at);
                load.ended();
            }
            let picked = balancer.pick_seen(&workers, |worker| worker, None, random.next(), now);
            let picked = picked.expect("all are available");
            let worker = &mut workers[picked];
            worker.load.started(now);
            let mut begins = worker.free_at.max(now);
            let (from, to) = (SECOND + self.stall.0, SECOND + self.stall.1);
            if picked == 1 && (from..to).contains(&begins) {
                begins = to;
            }
            worker.free_at = begins + random.around(self.work_us);
            let slow = random.share() < self.slow;
            let done = worker.free_at + if slow { self.slow_us } else { 0 };
            answers.push(Reverse((done, picked, now)));
            outcome.requests += 1;
            outcome.late += u32::from(!slow && done - now > SECOND / 5);
            outcome.picks[picked] += 1;
            outcome.last_picks[picked] += u32::from(now + 2 * SECOND > end);
        }
        outcome
    }
}

#[test]
fn one_of_four_stalls_and_few_requests_notice() {
    for seed in 0..5 {
        let stalled = |policy| World {
            stall: (4 * SECOND, 9 * SECOND),
            ..World::quiet(policy)
        };
        let ours = stalled(Policy::PeakEwma).run(seed);
        assert!(
            f64::from(ours.late) < f64::from(ours.requests) * 0.001,
            "seed {seed}: {ours:?}"
        );
        // It takes part again, with at least a third of its share.
        let last: u32 = ours.last_picks.iter().sum();
        assert!(ours.last_picks[1] * 12 > last, "seed {seed}: {ours:?}");
        let turns = stalled(Policy::RoundRobin).run(seed);
        assert!(turns.late > turns.requests / 20, "seed {seed}: {turns:?}");
    }
}

/// A worker with a slow answer behind it, or on its way, is no stalled worker.
#[test]
fn slow_requests_do_not_idle_their_workers() {
    for seed in 0..5 {
        let world = World {
            slow: 0.01,
            slow_us: 2 * SECOND,
            ..World::quiet(Policy::PeakEwma)
        };
        let outcome = world.run(seed);
        assert_eq!(outcome.late, 0, "seed {seed}: {outcome:?}");
        let fair = outcome.requests / 4;
        let uneven = |picks: &u32| picks.abs_diff(fair) > fair / 3;
        assert!(
            !outcome.picks.iter().any(uneven),
            "seed {seed}: {outcome:?}"
        );
    }
}

/// With nothing to avoid, busy workers: latency is no worse than by least connections.
#[test]
fn load_is_spread_when_all_is_well() {
    for seed in 0..5 {
        let busy = |policy| World {
            per_second: 3200,
            ..World::quiet(policy)
        };
        let ours = busy(Policy::PeakEwma).run(seed);
        assert_eq!(ours.late, 0, "seed {seed}: {ours:?}");
        let fair = ours.requests / 4;
        let uneven = |picks: &u32| picks.abs_diff(fair) > fair / 4;
        assert!(!ours.picks.iter().any(uneven), "seed {seed}: {ours:?}");
    }
}
