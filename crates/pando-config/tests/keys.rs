//! pando.toml: every key and what it becomes.

mod world;

use std::path::{Path, PathBuf};

use app_spec::{AppSpec, Balance, Command, ExecMode, Instances, RestartPolicy};
use pando_config::NodeVersion;
use world::{base_env, fs, read_with, show};

/// The app of `[app.a]` with these lines and a script, without any problem.
#[track_caller]
fn app(lines: &str) -> AppSpec {
    let text = format!("[app.a]\nscript = \"s.js\"\n{lines}\n");
    whole(&text).remove(0)
}

#[track_caller]
fn whole(text: &str) -> Vec<AppSpec> {
    let (apps, warnings) =
        read_with(text, &fs()).unwrap_or_else(|p| panic!("{text}\n{}", show(&p)));
    assert_eq!(warnings, [], "{text}");
    apps
}

fn script_of(spec: &AppSpec) -> (&str, &str, Vec<&str>, Vec<&str>) {
    match &spec.command {
        Command::Script {
            script,
            interpreter,
            interpreter_args,
            args,
        } => (
            script.to_str().expect("the paths of these tests are UTF-8"),
            interpreter,
            interpreter_args.iter().map(String::as_str).collect(),
            args.iter().map(String::as_str).collect(),
        ),
        Command::Shell { .. } | Command::Exec { .. } => panic!("{:?}", spec.command),
    }
}

#[test]
fn the_defaults_are_app_specs() {
    let got = app("");
    let command = Command::Script {
        script: "/srv/s.js".into(),
        interpreter: "node".into(),
        interpreter_args: vec![],
        args: vec![],
    };
    let mut expect = AppSpec::new("a", command, "/srv".into());
    expect.base_env = [("PATH", "/usr/bin:/bin"), ("HOME", "/root")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
    expect.origin = Some("/srv/pando.toml".into());
    assert_eq!(got, expect);
}

#[test]
fn scripts_by_kind() {
    for (script, path, interpreter) in [
        ("s.js", "/srv/s.js", "node"),
        ("./s.js", "/srv/s.js", "node"),
        ("/srv/s.js", "/srv/s.js", "node"),
        ("dist/main", "/srv/dist/main.js", "node"),
        ("s.py", "/srv/s.py", "python3"),
        ("s.sh", "/srv/s.sh", "bash"),
        ("www", "/srv/www", "node"),
    ] {
        let apps = whole(&format!("[app.a]\nscript = \"{script}\""));
        let got = script_of(&apps[0]);
        assert_eq!((got.0, got.1), (path, interpreter), "{script}");
    }
    let tool = &whole("[app.a]\nscript = \"tool\"\nargs = [\"x\"]")[0];
    assert_eq!(
        tool.command,
        Command::Exec {
            program: "/srv/tool".into(),
            args: vec!["x".into()]
        }
    );
    let typed = fs();
    for (version, runs) in [
        ((22, 18), true),
        ((23, 5), false),
        ((22, 17), false),
        ((26, 0), true),
    ] {
        let mut typed = typed.clone();
        typed.node = Some(NodeVersion {
            major: version.0,
            minor: version.1,
        });
        let text = "[app.a]\nscript = \"s.ts\"\n";
        assert_eq!(read_with(text, &typed).is_ok(), runs, "{version:?}");
        let loader = format!("{text}node_args = [\"--import\", \"tsx\"]");
        assert!(read_with(&loader, &typed).is_ok());
    }
}

#[test]
fn what_belongs_to_a_script() {
    let spec = app("args = [\"-p\", \"1 2\"]\nnode_args = \"--max-old-space-size=512 -r 'a b'\"");
    assert_eq!(
        script_of(&spec).2,
        ["--max-old-space-size=512", "-r", "a b"]
    );
    assert_eq!(script_of(&spec).3, ["-p", "1 2"]);
    assert_eq!(script_of(&app("interpreter = \"bun\"")).1, "bun");
    assert_eq!(
        script_of(&app("interpreter = \"nodes/node\"")).1,
        "/srv/nodes/node"
    );
    // The file's directory first, then the app's.
    let spec = &whole("[app.a]\nscript = \"api.js\"\ncwd = \"packages/api\"")[0];
    assert_eq!(script_of(spec).0, "/srv/packages/api/api.js");
    assert_eq!(spec.cwd, Path::new("/srv/packages/api"));
}

#[test]
fn commands() {
    let shell =
        &whole("[app.a]\ncommand = \"python3 -m http.server $PORT\"\nport = 8000\ninstances = 2")
            [0];
    assert_eq!(
        shell.command,
        Command::Shell {
            line: "python3 -m http.server $PORT".into()
        }
    );
    assert_eq!((shell.port, shell.is_cluster()), (Some(8000), false));
    let exec = &whole("[app.a]\ncommand = [\"npm\", \"start\"]\nargs = \"--x 1\"")[0];
    let args = ["start", "--x", "1"].map(str::to_owned).to_vec();
    assert_eq!(
        exec.command,
        Command::Exec {
            program: "npm".into(),
            args
        }
    );
}

#[test]
fn counts_modes_and_balance() {
    for (value, expect) in [
        ("4", Instances::Count(4)),
        ("\"4\"", Instances::Count(4)),
        ("\"max\"", Instances::Max),
        ("0", Instances::Max),
        ("-1", Instances::MaxLess(1)),
        ("0x10", Instances::Count(16)),
        ("512", Instances::Count(512)),
    ] {
        assert_eq!(
            app(&format!("instances = {value}")).instances,
            expect,
            "{value}"
        );
    }
    for (value, expect) in [
        ("steered", Balance::Steered),
        ("round-robin", Balance::RoundRobin),
        ("least-connections", Balance::LeastConnections),
        ("ip-hash", Balance::IpHash),
        ("random", Balance::Random),
        ("shared", Balance::Shared),
    ] {
        assert_eq!(app(&format!("balance = \"{value}\"")).balance, expect);
    }
    assert_eq!(app("exec_mode = \"fork\"").mode, ExecMode::Fork);
    assert_eq!(app("exec_mode = \"cluster\"").mode, ExecMode::Cluster);
    assert_eq!(app("exec_mode = \"auto\"").mode, ExecMode::Auto);
    assert_eq!(app("memory = \"1.5G\"").memory_bytes, Some(3 << 29));
}

#[test]
fn environments() {
    let spec = app(
        "env_file = [\".env\", \"second.env\"]\nenv = { N = 1, F = 1.5, T = true, S = \"x\", H = 0xff }",
    );
    let env: Vec<_> = spec.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(
        env,
        [
            "A=second",
            "B=/root/b",
            "F=1.5",
            "H=255",
            "N=1",
            "S=x",
            "T=true"
        ]
    );
    assert_eq!(
        app("env_file = \".env\"\nenv.A = \"last word\"").env["A"],
        "last word"
    );
    // PORT means the port where the app listens by itself.
    let spec = &whole("[app.a]\ncommand = \"x\"\nenv = { PORT = 4000 }")[0];
    assert_eq!(spec.port, Some(4000));
    assert_eq!(app("env = { PORT = 4000 }").port, None);
    let spec = app("port = 3000");
    assert_eq!((spec.port, spec.env["PORT"].as_str()), (Some(3000), "3000"));
}

#[test]
fn lifecycles() {
    let health = app("health = \"/healthz\"").health.unwrap();
    assert_eq!(
        (health.target.as_str(), health.interval_ms, health.failures),
        ("/healthz", 10_000, 3)
    );
    let json =
        r#"{"name":"a","command":{"shell":{"line":"x"}},"cwd":"/","health":{"target":"/healthz"}}"#;
    let defaults: AppSpec = serde_json::from_str(json).unwrap();
    assert_eq!(defaults.health, Some(health), "the defaults are app-spec's");
    let url = app("health = \"http://127.0.0.1:9000/h\"").health.unwrap();
    assert_eq!(url.target, "http://127.0.0.1:9000/h");
    let full = app(
        "[app.a.health]\nurl = \"http://[::1]:80/\"\ninterval = \"1s\"\ntimeout = \"500ms\"\nfailures = 5",
    );
    let health = full.health.unwrap();
    assert_eq!(
        (health.interval_ms, health.timeout_ms, health.failures),
        (1_000, 500, 5)
    );
    let spec = app("wait_ready = true\nstop_signal = \"int\"\nstop_message = true\nagent = false");
    assert!(spec.wait_ready && spec.stop.message && !spec.agent);
    assert_eq!(spec.stop.signal, "SIGINT");
    let times = app("timeouts = { ready = \"1m\", drain = \"0s\", stop = \"500ms\" }").timeouts;
    assert_eq!(
        (times.ready_ms, times.drain_ms, times.stop_ms),
        (60_000, 0, 500)
    );
    assert_eq!(
        app("restart = \"on-failure\"").restart.policy,
        RestartPolicy::OnFailure
    );
    let restart = app("restart = { policy = \"never\", min_uptime = \"2s\", max_fast_exits = 3, window = \"1m\", backoff_min = \"50ms\", backoff_max = \"1s\", stop_exit_codes = [0, 143] }").restart;
    assert_eq!(restart.policy, RestartPolicy::Never);
    assert_eq!(
        (
            restart.min_uptime_ms,
            restart.max_fast_exits,
            restart.window_ms
        ),
        (2_000, 3, 60_000)
    );
    assert_eq!(
        (restart.backoff_min_ms, restart.backoff_max_ms),
        (50, 1_000)
    );
    assert_eq!(restart.stop_exit_codes, [0, 143]);
}

#[test]
fn logs_watch_and_neighbours() {
    let logs = app("logs = { max_size = \"1M\", keep = 3, compress = false, dir = \"log\" }").logs;
    assert_eq!(
        (logs.max_bytes, logs.keep, logs.compress),
        (1 << 20, 3, false)
    );
    assert_eq!(logs.dir, Some("/srv/log".into()));
    let watch = app("watch = true").watch.unwrap();
    assert_eq!(
        (watch.paths, watch.delay_ms),
        (vec![PathBuf::from("/srv")], 200)
    );
    assert_eq!(app("watch = false").watch, None);
    assert_eq!(
        app("watch = [\"dist\"]").watch.unwrap().paths,
        [Path::new("/srv/dist")]
    );
    let watch = app("watch = { paths = \"dist\", ignore = [\"tmp\"], delay = \"1s\" }")
        .watch
        .unwrap();
    assert_eq!(
        (watch.ignore, watch.delay_ms),
        (vec!["tmp".to_owned()], 1_000)
    );
    let apps = whole("[app.b]\nscript = \"s.js\"\ndepends_on = \"a\"\n[app.a]\nscript = \"s.js\"");
    assert_eq!(
        (apps[0].name.as_str(), apps[1].name.as_str()),
        ("b", "a"),
        "in file order"
    );
    assert_eq!(apps[0].depends_on, ["a"]);
    let mut root = fs();
    root.root = true;
    for (written, user) in [("\"www-data\"", "www-data"), ("1000", "1000")] {
        let text = format!("[app.a]\nscript = \"s.js\"\nuser = {written}");
        let (apps, warnings) = read_with(&text, &root).unwrap();
        assert_eq!((apps[0].user.as_deref(), warnings), (Some(user), vec![]));
    }
}

#[test]
fn real_files_are_read_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pando.toml");
    assert_eq!(pando_config::find(dir.path()), None);
    let problems = pando_config::load(&path, &base_env()).unwrap_err();
    assert_eq!(
        (problems[0].line, problems[0].what.as_str()),
        (0, "cannot read this file")
    );
    std::fs::write(&path, "[app.a]\ncommand = \"true\"\n").unwrap();
    assert_eq!(pando_config::find(dir.path()), Some(path.clone()));
    let (file, warnings) = pando_config::load(&path, &base_env()).unwrap();
    assert_eq!(
        (file.apps.len(), file.apps[0].cwd.as_path(), warnings),
        (1, dir.path(), vec![])
    );
    std::fs::write(&path, b"\xff\xfe").unwrap();
    assert!(pando_config::load(&path, &base_env()).is_err());
}
