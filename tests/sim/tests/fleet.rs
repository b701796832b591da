//! Whole runs, many seeds. `SEED=n` runs one.

use app_spec::Balance;
use sim::{Faults, World};

const SEEDS: u64 = 256;
const NEVER: Faults = Faults {
    crash: 0,
    stall: 0,
    reload: 0,
    bad_build: 0,
    scale: 0,
    supervisor_death: 0,
    gateway_death: 0,
};

fn seeds() -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (1..=SEEDS).collect(),
    }
}

fn fleet(instances: u32, balances: &[Balance], faults: Faults) {
    fleet_of(instances, balances, faults, |world| world);
}

fn fleet_of(
    instances: u32,
    balances: &[Balance],
    faults: Faults,
    with: impl Fn(World) -> World + std::panic::RefUnwindSafe,
) {
    for seed in seeds() {
        let turn = usize::try_from(seed).expect("small") % balances.len();
        let balance = balances[turn];
        let run = std::panic::catch_unwind(|| {
            let mut world = with(World::new(seed, instances, balance, faults));
            world.run(1_000, false);
            world.run(20_000, true);
            world.run(45_000, false);
            let state = world.describe();
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.check()));
            if checked.is_err() {
                panic!("{state}");
            }
        });
        assert!(run.is_ok(), "SEED={seed} fails");
    }
}

#[test]
fn nothing_is_lost_without_faults() {
    let mut world = World::new(1, 4, Balance::Steered, NEVER);
    world.run(20_000, true);
    world.check();
    assert_eq!(world.excused(), 0);
    assert_eq!(world.outcomes[0], "api: started, 4 of 4 ready");
}

#[test]
fn reloads_lose_no_connection_at_all() {
    for seed in seeds() {
        let faults = Faults {
            reload: 300,
            bad_build: 3,
            ..NEVER
        };
        let mut world = World::new(seed, 4, Balance::Steered, faults);
        world.run(20_000, true);
        world.run(40_000, false);
        world.check();
        assert_eq!(world.excused(), 0, "SEED={seed}");
    }
}

#[test]
fn a_fleet_survives_crashes_stalls_and_reloads() {
    let faults = Faults {
        crash: 200,
        stall: 150,
        reload: 500,
        bad_build: 3,
        ..NEVER
    };
    fleet(4, &[Balance::Steered], faults);
}

#[test]
fn a_single_worker_survives_too() {
    let faults = Faults {
        crash: 300,
        stall: 300,
        reload: 500,
        bad_build: 2,
        ..NEVER
    };
    fleet(1, &[Balance::Steered], faults);
}

#[test]
fn hand_over_loses_nothing_either() {
    let faults = Faults {
        crash: 300,
        stall: 300,
        reload: 500,
        bad_build: 3,
        ..NEVER
    };
    let balances = [
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::IpHash,
    ];
    fleet(3, &balances, faults);
}

#[test]
fn supervisors_may_die_at_any_moment() {
    let faults = Faults {
        crash: 400,
        stall: 400,
        reload: 600,
        bad_build: 4,
        scale: 900,
        supervisor_death: 200,
        ..NEVER
    };
    fleet(4, &[Balance::Steered], faults);
}

#[test]
fn a_shared_listener_works_the_same() {
    let faults = Faults {
        crash: 300,
        stall: 300,
        reload: 500,
        bad_build: 3,
        ..NEVER
    };
    fleet(2, &[Balance::Shared], faults);
}

#[test]
fn what_comes_by_the_gateway_reaches_the_worker_it_is_for() {
    for balance in [Balance::Steered, Balance::RoundRobin, Balance::Shared] {
        let mut world = World::new(1, 4, balance, NEVER).with_gateway();
        world.run(20_000, true);
        world.check();
        assert_eq!((world.excused(), world.astray()), (0, 0));
        assert!(world.aimed() > 500, "{}", world.aimed());
    }
}

#[test]
fn reloads_behind_a_gateway_lose_no_connection_at_all() {
    for seed in seeds() {
        let faults = Faults {
            reload: 300,
            bad_build: 3,
            ..NEVER
        };
        let mut world = World::new(seed, 4, Balance::Steered, faults).with_gateway();
        world.run(20_000, true);
        world.run(40_000, false);
        world.check();
        assert_eq!(world.excused(), 0, "SEED={seed}");
    }
}

#[test]
fn a_fleet_behind_a_gateway_survives_everything() {
    let faults = Faults {
        crash: 300,
        stall: 300,
        reload: 600,
        bad_build: 4,
        scale: 900,
        supervisor_death: 300,
        gateway_death: 700,
    };
    let balances = [Balance::Steered, Balance::RoundRobin, Balance::Shared];
    fleet_of(4, &balances, faults, World::with_gateway);
}

#[test]
fn a_single_worker_behind_a_gateway_survives_too() {
    let faults = Faults {
        crash: 300,
        stall: 300,
        reload: 500,
        bad_build: 2,
        gateway_death: 700,
        ..NEVER
    };
    fleet_of(1, &[Balance::Steered], faults, World::with_gateway);
}
