//! `pando start`: what each target means, and every flag.

#![allow(
    clippy::too_many_lines,
    reason = "tables of inputs and what is expected"
)]

mod world;

use std::collections::BTreeMap;
use std::path::Path;

use app_spec::{AppSpec, Balance, Command, ExecMode, Instances, RestartPolicy};
use pando_config::{MemoryFs, ModeFlag, NodeVersion, Problem, StartFlags, from_flags};
use world::{base_env, show};

fn fs() -> MemoryFs {
    world::fs()
        .with("/srv/my app.js", "")
        .with("/srv/server.js", "")
        .with("/srv/ecosystem.config.js", "")
        .with("/srv/pando.toml", "")
        .with("/srv/packages/api/package.json", r#"{"name":"@x/the-api","scripts":{"start":"NODE_ENV=production node --inspect api.js -q"}}"#)
        .with("/srv/packages/web/package.json", r#"{"scripts":{"start":"vite preview"}}"#)
        .with("/srv/packages/main/package.json", r#"{"main":"lib/i"}"#)
        .with("/srv/packages/main/lib/i.js", "")
        .with("/srv/packages/empty/package.json", "{}")
        .with("/srv/packages/broken/package.json", "{")
}

fn start(target: &str, args: &[&str]) -> StartFlags {
    let args = args.iter().map(ToString::to_string).collect();
    StartFlags {
        target: target.into(),
        args,
        ..StartFlags::default()
    }
}

fn run(flags: &StartFlags) -> Result<(AppSpec, Vec<Problem>), Vec<Problem>> {
    from_flags(flags, &base_env(), Path::new("/srv"), &fs())
}

#[track_caller]
fn spec(flags: &StartFlags) -> AppSpec {
    let (spec, warnings) = run(flags).unwrap_or_else(|p| panic!("{}", show(&p)));
    assert_eq!(warnings, []);
    spec
}

fn command(spec: &AppSpec) -> String {
    match &spec.command {
        Command::Script {
            script,
            interpreter,
            interpreter_args,
            args,
        } => {
            format!(
                "{interpreter} {interpreter_args:?} {} {args:?}",
                script.display()
            )
        }
        Command::Shell { line } => format!("sh {line}"),
        Command::Exec { program, args } => format!("exec {} {args:?}", program.display()),
    }
}

#[track_caller]
fn means(target: &str, args: &[&str], name: &str, expect: &str) {
    let spec = spec(&start(target, args));
    assert_eq!(
        (spec.name.as_str(), command(&spec).as_str()),
        (name, expect),
        "{target}"
    );
}

#[track_caller]
fn wrong(flags: &StartFlags, expect: &[&str]) {
    let problems = run(flags)
        .map(|(_, warnings)| warnings)
        .unwrap_or_else(|p| p);
    let whats: Vec<_> = problems.iter().map(|p| p.what.as_str()).collect();
    assert_eq!(whats, expect, "{}", show(&problems));
    for problem in problems {
        assert_eq!((problem.line, problem.file.as_ref()), (0, None));
        assert!(!problem.fix.is_empty(), "{problem}");
    }
}

#[test]
fn files_are_scripts() {
    means("server.js", &[], "server", "node [] /srv/server.js []");
    means(
        "./server.js",
        &["-p", "1"],
        "server",
        "node [] /srv/server.js [\"-p\", \"1\"]",
    );
    means("my app.js", &[], "my-app", "node [] /srv/my app.js []");
    means("s.py", &[], "s", "python3 [] /srv/s.py []");
    means("s.sh", &[], "s", "bash [] /srv/s.sh []");
    means("www", &[], "www", "node [] /srv/www []");
    means("tool", &["x"], "tool", "exec /srv/tool [\"x\"]");
    means("server", &[], "server", "node [] /srv/server.js []");
    means("dist/main", &[], "main", "node [] /srv/dist/main.js []");
}

#[test]
fn words_on_the_path_are_programs() {
    means("npm", &["start"], "srv", "exec npm [\"start\"]");
    means("npm", &["--", "start"], "srv", "exec npm [\"start\"]");
    means(
        "npm",
        &["run", "x", "--", "-v"],
        "srv",
        "exec npm [\"run\", \"x\", \"--\", \"-v\"]",
    );
    means(
        "python3",
        &["-m", "http.server"],
        "python3",
        "exec python3 [\"-m\", \"http.server\"]",
    );
    means(
        "node",
        &["server.js", "-v"],
        "server",
        "node [] /srv/server.js [\"-v\"]",
    );
    means(
        "node",
        &["--trace-gc", "-r", "x", "server"],
        "server",
        "node [\"--trace-gc\", \"-r\", \"x\"] /srv/server.js []",
    );
    means("node", &["-e", "1"], "node", "exec node [\"-e\", \"1\"]");
}

#[test]
fn lines_are_for_the_shell_but_for_node() {
    means(
        "python3 -m http.server $PORT",
        &[],
        "python3",
        "sh python3 -m http.server $PORT",
    );
    means(
        "A=1 python3 x",
        &["it's"],
        "python3",
        "sh A=1 python3 x 'it'\\''s'",
    );
    means("npm start", &[], "srv", "sh npm start");
    means(
        "cd dist && node main.js",
        &[],
        "cd",
        "sh cd dist && node main.js",
    );
    means(
        "node server.js --port 1",
        &[],
        "server",
        "node [] /srv/server.js [\"--port\", \"1\"]",
    );
    means(
        "node --trace-gc server",
        &["a b"],
        "server",
        "node [\"--trace-gc\"] /srv/server.js [\"a b\"]",
    );
    let got = spec(&start("A=1 node server.js", &[]));
    assert_eq!(got.env["A"], "1");
    assert!(got.is_cluster());
}

#[test]
fn directories_are_packages() {
    let api = spec(&start("packages/api", &["-v"]));
    assert_eq!(
        command(&api),
        "node [\"--inspect\"] /srv/packages/api/api.js [\"-q\", \"-v\"]"
    );
    assert_eq!(
        (api.name.as_str(), api.cwd.as_path()),
        ("the-api", Path::new("/srv/packages/api"))
    );
    assert_eq!(api.env["NODE_ENV"], "production");
    means("packages/web", &[], "web", "exec npm [\"start\"]");
    means(
        "packages/web",
        &["-p"],
        "web",
        "exec npm [\"start\", \"--\", \"-p\"]",
    );
    means(
        "packages/main",
        &[],
        "main",
        "node [] /srv/packages/main/lib/i.js []",
    );
    means(".", &[], "srv", "node [] /srv/server.js []");
    let mut elsewhere = start("packages/api", &[]);
    elsewhere.cwd = Some("dist".into());
    elsewhere.env = vec!["NODE_ENV=test".into()];
    let got = spec(&elsewhere);
    assert_eq!(
        (got.cwd.as_path(), got.env["NODE_ENV"].as_str()),
        (Path::new("/srv/dist"), "test")
    );
}

#[test]
fn targets_that_are_nothing() {
    let fix = |target: &str, what: &str, fix: &str| {
        let problems = run(&start(target, &[])).unwrap_err();
        assert_eq!(problems[0].what, what);
        assert!(problems[0].fix.contains(fix), "{}", problems[0]);
    };
    fix(
        "srever.js",
        "no such script: srever.js",
        "did you mean server.js?",
    );
    fix(
        "main.js",
        "no such script: main.js",
        "did you mean dist/main.js?",
    );
    fix("./zzz.js", "no such script: ./zzz.js", "check the path");
    fix(
        "servr",
        "no such script or program: servr",
        "did you mean server.js?",
    );
    fix(
        "nosuchthing",
        "no such script or program: nosuchthing",
        "check the path",
    );
    fix(
        "pyhton3 -m x",
        "no such program: pyhton3",
        "install pyhton3",
    );
    fix(
        "node srever.js",
        "no such script: srever.js",
        "did you mean server.js?",
    );
    fix("node", "`node` needs arguments", "pando start server.js");
    fix("npm", "`npm` needs arguments", "npm -- start");
    fix("", "there is nothing to start", "pando start");
    fix("a\0b", "there is a NUL character", "remove");
    fix("plain", "it is not known how to run plain", "chmod +x");
    fix(
        "ecosystem.config.js",
        "ecosystem.config.js is a file of PM2, not a script",
        "pando init",
    );
    fix("pando.toml", "pando.toml is not a script", "pando up");
    fix(
        "packages/empty",
        "/srv/packages/empty has no start script",
        "name the file",
    );
    fix(
        "packages/broken",
        "/srv/packages/broken/package.json cannot be read",
        "repair",
    );
    let none = MemoryFs::new().with("/srv/server.js", "");
    let problems = from_flags(
        &start("server.js", &[]),
        &BTreeMap::new(),
        Path::new("/srv"),
        &none,
    );
    assert_eq!(
        problems.unwrap_err()[0].what,
        "there is no `node` on the PATH"
    );
    let mut old = fs();
    old.node = Some(NodeVersion {
        major: 22,
        minor: 6,
    });
    let problem =
        &from_flags(&start("s.ts", &[]), &base_env(), Path::new("/srv"), &old).unwrap_err()[0];
    assert!(
        problem.fix.contains("--experimental-strip-types"),
        "{problem}"
    );
}

#[test]
fn every_flag_reaches_the_spec() {
    let text = |text: &str| Some(text.to_owned());
    let flags = StartFlags {
        name: text("api"),
        instances: text("-1"),
        balance: Some(Balance::IpHash),
        mode: Some(ModeFlag::Cluster),
        cwd: text("dist"),
        env: vec!["A=b=c".into(), "HOME".into()],
        env_file: vec![".env".into()],
        port: Some(3000),
        health: text("/h"),
        wait_ready: true,
        memory: text("1G"),
        interpreter: text("bun"),
        node_args: vec!["--smol -r x".into()],
        stop_signal: text("INT"),
        stop_message: true,
        stop_timeout: text("10s"),
        ready_timeout: text("5s"),
        drain_timeout: text("0s"),
        no_agent: true,
        watch: true,
        watch_paths: vec!["packages".into()],
        restart: Some(RestartPolicy::OnFailure),
        depends_on: vec!["db".into()],
        log_max_size: text("1M"),
        log_keep: Some(2),
        log_no_compress: true,
        log_dir: text("log"),
        ..start("server.js", &[])
    };
    let got = spec(&flags);
    assert_eq!(got.name, "api");
    assert_eq!(
        command(&got),
        "bun [\"--smol\", \"-r\", \"x\"] /srv/server.js []"
    );
    assert_eq!(
        (got.instances, got.mode, got.balance),
        (Instances::MaxLess(1), ExecMode::Cluster, Balance::IpHash)
    );
    assert_eq!(
        (got.cwd.as_path(), got.port),
        (Path::new("/srv/dist"), Some(3000))
    );
    assert_eq!(
        (
            got.env["A"].as_str(),
            got.env["B"].as_str(),
            got.env["HOME"].as_str()
        ),
        ("b=c", "/root/b", "/root")
    );
    assert_eq!(got.health.as_ref().unwrap().target, "/h");
    assert!(got.wait_ready && got.stop.message && !got.agent && got.origin.is_none());
    assert_eq!(
        (got.memory_bytes, got.stop.signal.as_str()),
        (Some(1 << 30), "SIGINT")
    );
    assert_eq!(
        (
            got.timeouts.ready_ms,
            got.timeouts.drain_ms,
            got.timeouts.stop_ms
        ),
        (5_000, 0, 10_000)
    );
    assert_eq!(
        got.watch.as_ref().unwrap().paths,
        [Path::new("/srv/packages")]
    );
    assert_eq!(
        (got.restart.policy, got.depends_on.as_slice()),
        (RestartPolicy::OnFailure, &["db".to_owned()][..])
    );
    assert_eq!(
        (got.logs.max_bytes, got.logs.keep, got.logs.compress),
        (1 << 20, 2, false)
    );
    assert_eq!(got.logs.dir.as_deref(), Some(Path::new("/srv/log")));
    assert_eq!(got.base_env.keys().collect::<Vec<_>>(), ["HOME", "PATH"]);
    let zero = StartFlags {
        instances: text("0"),
        watch: true,
        ..start("server.js", &[])
    };
    let zero = spec(&zero);
    assert_eq!(zero.instances, Instances::Max);
    assert_eq!(zero.watch.unwrap().paths, [Path::new("/srv")]);
}

#[test]
fn every_mistake_at_once() {
    let text = |text: &str| Some(text.to_owned());
    let flags = StartFlags {
        name: text("a b"),
        instances: text("5000"),
        cwd: text("nowhere"),
        env: vec!["NOPE".into(), "=1".into()],
        env_file: vec!["no.env".into()],
        port: Some(0),
        health: text("h"),
        memory: text("1"),
        stop_signal: text("x"),
        stop_timeout: text("0s"),
        ready_timeout: text("3"),
        watch_paths: vec!["no".into()],
        depends_on: vec!["a b".into()],
        log_max_size: text("1"),
        node_args: vec!["'".into()],
        ..start("srever.js", &[])
    };
    wrong(
        &flags,
        &[
            "--env-file: no such file: no.env",
            "--env: `NOPE` has no value",
            "--env: \"\" cannot be the name of an environment variable",
            "--cwd: no such directory: nowhere",
            "--name: `a b` cannot be the name of an app",
            "--node-args: a quote is never closed",
            "no such script: srever.js",
            "--instances: 5000 instances are too many",
            "--port: port 0 is no port",
            "--health: health \"h\" is neither path nor URL",
            "--memory: `1` has no unit",
            "--stop-signal: `x` is not a signal",
            "--ready-timeout: `3` has no unit",
            "--stop-timeout: it is zero",
            "--depends-on: `a b` cannot be the name of an app",
            "--watch: nothing to watch at no",
            "--log-max-size: `1` has no unit",
        ],
    );
}

#[test]
fn flags_that_do_not_fit() {
    let npm = || start("npm", &["start"]);
    let cluster = StartFlags {
        mode: Some(ModeFlag::Cluster),
        ..npm()
    };
    wrong(
        &cluster,
        &["--cluster: exec_mode \"cluster\" needs a script that node, bun or deno runs"],
    );
    wrong(
        &StartFlags {
            wait_ready: true,
            ..npm()
        },
        &["--wait-ready: `wait_ready` needs a script that node, bun or deno runs"],
    );
    wrong(
        &StartFlags {
            balance: Some(Balance::Shared),
            ..npm()
        },
        &["--balance: balance \"shared\" needs cluster mode"],
    );
    wrong(
        &StartFlags {
            balance: Some(Balance::Random),
            ..npm()
        },
        &["--balance: `balance` has no effect in fork mode"],
    );
    wrong(
        &StartFlags {
            node_args: vec!["-x".into()],
            ..npm()
        },
        &["--node-args: they would reach nobody"],
    );
    wrong(
        &StartFlags {
            user: Some("www".into()),
            ..npm()
        },
        &["--user: `user` has no effect, as this is not root"],
    );
    wrong(
        &StartFlags {
            interpreter: Some("perl6".into()),
            ..start("server.js", &[])
        },
        &["--interpreter: there is no `perl6` on the PATH"],
    );
}
