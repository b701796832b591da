//! Minutes of misfortune under load: stalls, reloads, upgrades, a killed supervisor, killed workers,
//! drawn from a seed. At the end nothing may be missing and nothing left over.

use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::{Load, Pando, Tally, http, local, process};

use crate::shell;

const DEFAULT_MINUTES: u64 = 10;
const WORKERS: &str = "4";
const NEW_PER_SECOND: u32 = 200;
const CLIENTS: usize = 32;
const PAUSE: Duration = Duration::from_millis(10);
const BETWEEN: Duration = Duration::from_millis(1500);
/// A killed worker takes the requests that it was at with it, which no supervisor can undo.
const LOST_BY_A_KILL: u64 = CLIENTS as u64;

#[derive(Clone, Copy, Debug)]
enum Misfortune {
    Stall,
    Reload,
    KillSupervisor,
    Upgrade,
    Scale,
    KillWorker,
}

const ALL: [Misfortune; 6] = [
    Misfortune::Stall,
    Misfortune::Reload,
    Misfortune::KillSupervisor,
    Misfortune::Upgrade,
    Misfortune::Scale,
    Misfortune::KillWorker,
];

pub fn run(args: &[&str]) -> anyhow::Result<()> {
    let minutes = shell::number_after(args, "--minutes", DEFAULT_MINUTES)?;
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let mut seed = shell::number_after(args, "--seed", clock.as_secs())? | 1;
    println!("soak: {minutes} minutes, --seed {seed}");
    let mut pando = Pando::new()?;
    let port = pando.start_hello(WORKERS, &[])?;
    let (root, _) = pando.wait_daemon()?;
    let new = Load::open(port, NEW_PER_SECOND).spawn()?;
    let kept = Load::keep_alive(port, CLIENTS).pausing(PAUSE).spawn()?;
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let mut kills = 0;
    while Instant::now() < end {
        std::thread::sleep(BETWEEN);
        let misfortune = ALL[(random(&mut seed) % ALL.len() as u64) as usize];
        println!("soak: {misfortune:?}");
        kills += u64::from(matches!(misfortune, Misfortune::KillWorker));
        strike(&pando, port, misfortune)?;
    }
    pando.cmd(&["scale", "api", WORKERS])?.ok()?;
    pando.wait_ready("api", 4)?;
    ensure!(
        pando.wait_daemon()?.0 == root,
        "root is another process than at the start"
    );
    new.stop();
    check("new connections", &new.finish()?, kills)?;
    check("kept connections", &kept.finish()?, kills)
}

fn strike(pando: &Pando, port: u16, misfortune: Misfortune) -> anyhow::Result<()> {
    match misfortune {
        Misfortune::Stall => {
            http::get(local(port), "/stall?ms=1000")?;
        }
        Misfortune::Reload => drop(pando.cmd(&["reload", "api"])?.ok()?),
        Misfortune::KillSupervisor => process::kill(pando.wait_daemon()?.1),
        Misfortune::Upgrade => drop(pando.cmd(&["upgrade"])?.ok()?),
        Misfortune::Scale => {
            pando.cmd(&["scale", "api", "+1"])?.ok()?;
            pando.cmd(&["scale", "api", "-1"])?.ok()?;
        }
        Misfortune::KillWorker => {
            if let Some(pid) = pando.app("api")?.pids().first() {
                process::kill(*pid);
            }
        }
    }
    Ok(())
}

fn check(which: &str, tally: &Tally, kills: u64) -> anyhow::Result<()> {
    println!("{which}: {}", tally.summary());
    let allowed = kills * LOST_BY_A_KILL;
    ensure!(
        tally.failures() <= allowed,
        "{which}: {} failures, {allowed} allowed",
        tally.failures()
    );
    Ok(())
}

/// xorshift64: a seed replays its run.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
