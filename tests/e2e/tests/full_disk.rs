//! The metrics' store on a disk that is full: before the start, while all runs, and free again.

use std::time::Duration;

use anyhow::ensure;
use e2e::{Load, Pando, SmallDisk, process, wait};
use monitor_spec::ask::{Answer, Ask};

/// The store tries again every ten seconds, and what failed less than 20 s ago is not over.
const SOON: Duration = Duration::from_secs(90);

fn problems(pando: &Pando) -> Vec<String> {
    pando.now().map(|now| now.problems).unwrap_or_default()
}

fn wait_said(pando: &Pando, store: &str) -> anyhow::Result<()> {
    let said = wait::until(SOON, || {
        let problems = problems(pando);
        let words = ["since 2", store, "memory only"];
        problems
            .iter()
            .any(|text| words.iter().all(|word| text.contains(word)))
    });
    ensure!(said, "{:?}", problems(pando));
    // It is still there when nobody expects it to come and go.
    std::thread::sleep(Duration::from_secs(15));
    let ls = pando.cmd(&["ls"])?.ok()?;
    ensure!(
        ls.stdout.contains("measuring: since 2"),
        "pando ls: {}",
        ls.stdout
    );
    let query = pando.cmd(&["metrics", "query", "rps", "--app", "api"])?;
    query.ok()?.says(&["warning: since 2", "memory only"])?;
    Ok(())
}

fn wait_well(pando: &Pando) -> anyhow::Result<()> {
    let well = wait::until(SOON, || {
        pando.now().is_ok_and(|now| now.problems.is_empty())
    });
    ensure!(well, "{:?}", problems(pando));
    Ok(())
}

fn told(pando: &Pando, kind: &str) -> anyhow::Result<Vec<String>> {
    let ask = Ask::Events {
        app: String::new(),
        from_ms: 0,
        to_ms: i64::MAX,
    };
    let Answer::Events(events) = pando.ask_monitor(&ask)? else {
        anyhow::bail!("no events");
    };
    let of_kind = events.into_iter().filter(|event| event.kind == kind);
    Ok(of_kind.map(|event| event.text).collect())
}

fn serves(port: u16) -> anyhow::Result<()> {
    let tally = Load::rate(port, 20, 2)
        .lasting(Duration::from_secs(3))
        .run()?;
    ensure!(tally.failures() == 0, "{}", tally.summary());
    Ok(())
}

#[test]
fn a_full_disk_costs_no_app_and_is_said() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let dir = pando.home().join("metrics");
    std::fs::create_dir_all(&dir)?;
    let name = "a_full_disk_costs_no_app_and_is_said";
    let Some(disk) = SmallDisk::mount(&dir, "2m", name)? else {
        return Ok(());
    };
    let store = dir.join("history.db").display().to_string();
    disk.fill()?;
    let port = pando.start_hello("1", &[])?;
    let (_, supervisor) = pando.wait_daemon()?;
    serves(port)?;
    wait_said(&pando, &store)?;
    serves(port)?;

    disk.free()?;
    wait_well(&pando)?;
    let well = told(&pando, "store-well")?;
    ensure!(
        well.len() == 1 && well[0].contains("nothing was lost"),
        "{well:?}"
    );

    disk.fill()?;
    wait_said(&pando, &store)?;
    serves(port)?;
    pando.cmd(&["reload", "api"])?.ok()?;
    pando.wait_ready("api", 1)?;
    let now = pando.wait_daemon()?.1;
    ensure!(now == supervisor, "another supervisor: {supervisor}, {now}");

    disk.free()?;
    wait_well(&pando)?;
    // What happened meanwhile is on disk now: it outlives the supervisor.
    process::kill(supervisor);
    let kept = wait::until(SOON, || {
        pando.daemon().is_some_and(|(_, now)| now != supervisor)
            && told(&pando, "store-well").is_ok_and(|told| told.len() == 2)
            && told(&pando, "store-failing").is_ok_and(|told| told.len() == 2)
    });
    ensure!(kept, "{:?}", told(&pando, "store-well"));
    serves(port)?;
    Ok(())
}
