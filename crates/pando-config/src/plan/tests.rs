use std::path::PathBuf;

use app_spec::{Command, ExecMode, Health, RestartPolicy, Watch};

use super::*;

fn node() -> AppSpec {
    let command = Command::Script {
        script: "/srv/a.js".into(),
        interpreter: "node".into(),
        interpreter_args: vec![],
        args: vec![],
    };
    AppSpec::new("a", command, "/srv".into())
}

fn python(port: Option<u16>, instances: u32) -> AppSpec {
    let command = Command::Shell {
        line: "python3 -m http.server $PORT".into(),
    };
    let mut spec = AppSpec::new("a", command, "/srv".into());
    spec.port = port;
    spec.instances = Instances::Count(instances);
    spec
}

/// Short forms: `reload port: 1 -> 2`.
fn show(step: &Step) -> String {
    let list = |changed: &[Change]| {
        changed
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    match step {
        Step::Start(spec) => format!("start {}", spec.name),
        Step::Delete { name } => format!("delete {name}"),
        Step::Scale { from, to, .. } => {
            format!(
                "scale {} -> {}",
                differences::show_instances(*from),
                differences::show_instances(*to)
            )
        }
        Step::Reload { changed, .. } => format!("reload {}", list(changed)),
        Step::Restart { changed, .. } => format!("restart {}", list(changed)),
        Step::Configure { changed, .. } => format!("configure {}", list(changed)),
        Step::Unchanged { name } => format!("unchanged {name}"),
    }
}

#[track_caller]
fn check(from: &AppSpec, edit: impl FnOnce(&mut AppSpec), expect: &[&str]) {
    let mut to = from.clone();
    edit(&mut to);
    let steps = plan(std::slice::from_ref(from), &[to], &[]);
    assert_eq!(steps.iter().map(show).collect::<Vec<_>>(), expect);
}

#[test]
fn what_is_the_same_is_left_alone() {
    check(&node(), |_| {}, &["unchanged a"]);
    let edit = |s: &mut AppSpec| {
        s.base_env.insert("TERM".into(), "xterm".into());
        s.origin = Some("/srv/pando.toml".into());
    };
    check(&node(), edit, &["unchanged a"]);
}

#[test]
fn what_only_the_supervisor_knows_touches_no_worker() {
    type Edit = fn(&mut AppSpec);
    let table: [(Edit, &str); 15] = [
        (|s| s.memory_bytes = Some(1 << 30), "memory: (none) -> 1G"),
        (
            |s| s.timeouts.ready_ms = 1_500,
            "timeouts.ready: 30s -> 1500ms",
        ),
        (|s| s.timeouts.drain_ms = 0, "timeouts.drain: 5s -> 0s"),
        (|s| s.timeouts.stop_ms = 60_000, "timeouts.stop: 30s -> 1m"),
        (
            |s| s.stop.signal = "SIGINT".into(),
            "stop_signal: SIGTERM -> SIGINT",
        ),
        (|s| s.stop.message = true, "stop_message: false -> true"),
        (|s| s.wait_ready = true, "wait_ready: false -> true"),
        (
            |s| s.restart.policy = RestartPolicy::Never,
            "restart: always -> never",
        ),
        (
            |s| s.restart.max_fast_exits = 3,
            "restart.max_fast_exits: 16 -> 3",
        ),
        (
            |s| s.restart.stop_exit_codes = vec![0, 7],
            "restart.stop_exit_codes: (none) -> 0, 7",
        ),
        (|s| s.logs.keep = 3, "logs.keep: 10 -> 3"),
        (|s| s.logs.max_bytes = 1 << 20, "logs.max_size: 50M -> 1M"),
        (
            |s| s.logs.dir = Some("/var/log/a".into()),
            "logs.dir: (none) -> /var/log/a",
        ),
        (
            |s| s.depends_on = vec!["db".into()],
            "depends_on: (none) -> db",
        ),
        (
            |s| {
                s.watch = Some(Watch {
                    paths: vec!["/srv".into()],
                    ignore: vec!["t".into()],
                    delay_ms: 200,
                });
            },
            "watch: (none) -> /srv, not t, after 200ms",
        ),
    ];
    for (edit, expect) in table {
        check(&node(), edit, &[&format!("configure {expect}")]);
    }
}

#[test]
fn what_a_worker_is_made_of_is_reloaded() {
    check(
        &node(),
        |s| s.cwd = PathBuf::from("/x"),
        &["reload cwd: /srv -> /x"],
    );
    check(
        &node(),
        |s| s.agent = false,
        &["reload agent: true -> false"],
    );
    check(
        &node(),
        |s| s.user = Some("www".into()),
        &["reload user: (none) -> www"],
    );
    let args = |s: &mut AppSpec| {
        if let Command::Script { args, .. } = &mut s.command {
            args.push("a b".into());
        }
    };
    check(
        &node(),
        args,
        &["reload command: node /srv/a.js -> node /srv/a.js 'a b'"],
    );
    let env = |s: &mut AppSpec| {
        s.env.insert("NODE_ENV".into(), "production".into());
    };
    check(&node(), env, &["reload env.NODE_ENV: (none) -> production"]);
}

#[test]
fn health() {
    let mut from = node();
    let health = Health {
        target: "/h".into(),
        interval_ms: 10_000,
        timeout_ms: 5_000,
        failures: 3,
    };
    check(
        &from,
        |s| s.health = Some(health.clone()),
        &["reload health: (none) -> /h"],
    );
    from.health = Some(health);
    check(
        &from,
        |s| s.health = None,
        &["configure health: /h -> (none)"],
    );
    let slower = |s: &mut AppSpec| {
        let health = s.health.as_mut().unwrap();
        (health.interval_ms, health.failures) = (20_000, 5);
    };
    check(
        &from,
        slower,
        &["configure health.interval: 10s -> 20s, health.failures: 3 -> 5"],
    );
    check(
        &from,
        |s| s.health.as_mut().unwrap().target = "/x".into(),
        &["reload health: /h -> /x"],
    );
}

#[test]
fn counts_are_scaled_and_ride_along() {
    check(
        &node(),
        |s| s.instances = Instances::Max,
        &["scale 1 -> max"],
    );
    check(
        &node(),
        |s| s.instances = Instances::MaxLess(1),
        &["scale 1 -> -1"],
    );
    let both = |s: &mut AppSpec| {
        s.instances = Instances::Count(4);
        s.logs.keep = 1;
    };
    check(
        &node(),
        both,
        &["configure logs.keep: 10 -> 1", "scale 1 -> 4"],
    );
    let both = |s: &mut AppSpec| {
        s.instances = Instances::Count(4);
        s.agent = false;
    };
    check(
        &node(),
        both,
        &["reload agent: true -> false, instances: 1 -> 4"],
    );
    let mut to = node();
    (to.instances, to.logs.keep) = (Instances::Count(4), 1);
    let steps = plan(&[node()], &[to], &[]);
    let Step::Configure { spec, .. } = &steps[0] else {
        panic!("{steps:?}")
    };
    assert_eq!(
        spec.instances,
        Instances::Count(1),
        "the scaling is the second step's"
    );
}

#[test]
fn secrets_are_masked() {
    let mut from = node();
    from.env.insert("API_KEY".into(), "old".into());
    from.env
        .insert("DATABASE_URL".into(), "postgres://db/x".into());
    let edit = |s: &mut AppSpec| {
        s.env.insert("API_KEY".into(), "new".into());
        s.env
            .insert("DATABASE_URL".into(), "postgres://u:p@db/x".into());
    };
    let masked =
        "reload env.API_KEY: **** -> **** (changed), env.DATABASE_URL: **** -> **** (changed)";
    check(&from, edit, &[masked]);
}

#[test]
fn restarts_are_for_what_cannot_roll() {
    // Modes.
    check(
        &node(),
        |s| s.mode = ExecMode::Fork,
        &["restart exec_mode: cluster -> fork"],
    );
    check(
        &node(),
        |s| s.mode = ExecMode::Cluster,
        &["configure exec_mode: auto -> cluster"],
    );
    // Ways to open the port.
    check(
        &node(),
        |s| s.balance = Balance::IpHash,
        &["restart balance: steered -> ip-hash"],
    );
    check(
        &node(),
        |s| s.balance = Balance::Shared,
        &["restart balance: steered -> shared"],
    );
    let mut from = node();
    from.balance = Balance::IpHash;
    check(
        &from,
        |s| s.balance = Balance::Random,
        &["reload balance: ip-hash -> random"],
    );
    // Ports of fork mode.
    check(
        &python(Some(80), 1),
        |s| s.agent = false,
        &["restart agent: true -> false"],
    );
    check(
        &python(None, 1),
        |s| s.agent = false,
        &["restart agent: true -> false"],
    );
    check(
        &python(Some(80), 2),
        |s| s.agent = false,
        &["reload agent: true -> false"],
    );
    check(
        &python(Some(80), 1),
        |s| s.port = Some(81),
        &["reload port: 80 -> 81"],
    );
    check(
        &python(Some(80), 2),
        |s| s.port = Some(81),
        &["restart port: 80 -> 81"],
    );
    check(
        &python(Some(80), 2),
        |s| s.port = Some(82),
        &["reload port: 80 -> 82"],
    );
    check(
        &python(Some(80), 1),
        |s| s.memory_bytes = Some(1 << 30),
        &["configure memory: (none) -> 1G"],
    );
    check(
        &python(Some(80), 2),
        |s| s.balance = Balance::Random,
        &["configure balance: steered -> random"],
    );
}

#[test]
fn each_restart_says_why() {
    let mut to = python(Some(80), 1);
    to.agent = false;
    let steps = plan(&[python(Some(80), 1)], &[to], &[]);
    let Step::Restart { why, .. } = &steps[0] else {
        panic!("{steps:?}")
    };
    assert_eq!(
        why,
        "its only process holds port 80, and a second one cannot listen there"
    );
}

#[test]
fn only_what_this_file_started_is_deleted_and_first() {
    let named = |name: &str| AppSpec {
        name: name.into(),
        ..node()
    };
    let running = [named("mine"), named("yours"), named("kept")];
    let wanted = [named("new"), named("kept")];
    let managed = ["mine".to_owned(), "kept".to_owned(), "long-gone".to_owned()];
    let steps: Vec<_> = plan(&running, &wanted, &managed).iter().map(show).collect();
    assert_eq!(steps, ["delete mine", "start new", "unchanged kept"]);
}

#[test]
fn dependencies_come_first() {
    let app = |name: &str, needs: &[&str]| AppSpec {
        name: name.into(),
        depends_on: needs.iter().map(ToString::to_string).collect(),
        ..node()
    };
    let order = |apps: &[AppSpec]| {
        plan(&[], apps, &[])
            .iter()
            .map(|s| s.name().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        order(&[
            app("web", &["api"]),
            app("x", &[]),
            app("api", &["db"]),
            app("db", &[])
        ]),
        ["x", "db", "api", "web"]
    );
    assert_eq!(
        order(&[app("a", &["b"]), app("b", &["a"]), app("c", &["elsewhere"])]).len(),
        3
    );
}

#[test]
fn a_port_that_the_supervisor_gave_is_kept() {
    check(
        &python(Some(41_000), 2),
        |s| s.port = None,
        &["unchanged a"],
    );
    let mut to = python(None, 2);
    to.agent = false;
    let steps = plan(&[python(Some(41_000), 2)], &[to], &[]);
    let Step::Reload { spec, .. } = &steps[0] else {
        panic!("{steps:?}")
    };
    assert_eq!(spec.port, Some(41_000));
}

#[test]
fn a_cluster_port_is_told_once() {
    let mut from = node();
    from.port = Some(3000);
    from.env.insert("PORT".into(), "3000".into());
    let edit = |s: &mut AppSpec| {
        s.port = Some(4000);
        s.env.insert("PORT".into(), "4000".into());
    };
    check(&from, edit, &["reload port: 3000 -> 4000"]);
}
