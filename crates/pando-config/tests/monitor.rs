//! `[metrics]`, `[otlp]`, `[alerts]` and `[alert.NAME]`: what is read, and every mistake with its
//! place.

mod world;

use std::path::Path;

use monitor_spec::settings::{AlertRule, Condition, MonitorSpec, Notify, Otlp};
use pando_config::{File, Problem, parse, plan_monitor};
use world::{base_env, fs, short, show};

const SITE: &str = "[site.\"a.example\"]\nroutes = [{ respond = 204 }]\n";

fn read(text: &str) -> Result<(File, Vec<Problem>), Vec<Problem>> {
    let mut env = base_env();
    env.insert("HOOK".into(), "https://hooks.example/T0/word".into());
    env.insert("KEY".into(), "Bearer word".into());
    parse(text, Path::new("/srv/pando.toml"), &env, &fs())
}

#[track_caller]
fn sound(text: &str) -> File {
    let (file, warnings) = read(text).unwrap_or_else(|p| panic!("{text}\n{}", show(&p)));
    assert_eq!(warnings, [], "{text}");
    file
}

#[track_caller]
fn wrong(text: &str, expect: &[(&str, &str)]) {
    let problems = read(text)
        .map(|(_, warnings)| warnings)
        .unwrap_or_else(|p| p);
    let places: Vec<&str> = expect.iter().map(|(place, _)| *place).collect();
    assert_eq!(short(&problems), places, "{text}\n{}", show(&problems));
    for (problem, (_, fix)) in problems.iter().zip(expect) {
        assert!(
            problem.fix.contains(fix) && !problem.why.is_empty(),
            "{problem}"
        );
    }
}

#[test]
fn a_file_without_them_says_nothing_of_them() {
    assert_eq!(sound(SITE).monitor, None);
    assert_eq!(
        sound("[metrics]\n").monitor.unwrap(),
        MonitorSpec {
            origin: Some("/srv/pando.toml".into()),
            ..MonitorSpec::default()
        }
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one file with everything")]
fn everything_is_read() {
    let text = r#"
[app.api]
script = "s.js"
[metrics]
listen = ["127.0.0.1:9464", "[::1]:9464"]
disk = "500M"
[otlp]
endpoint = "https://collector.example:4318/otlp/"
headers = { Authorization = { env = "KEY" }, x-team = "a" }
sample = "5%"
interval = "30s"
service = "shop"
[alerts]
defaults = false
notify = ["log", { webhook = { env = "HOOK" } }]
[alert.slow]
when = "p99 > 1s"
for = "2m"
apps = ["api"]
notify = { command = "page $PANDO_ALERT_LINE" }
[alert.errors]
when = "error_rate > 2%"
min_rate = "30/m"
[alert.loop]
when = "crash_loop"
"#;
    let file = sound(text);
    let rule = |name: &str, condition, for_ms| AlertRule {
        name: name.into(),
        apps: Vec::new(),
        condition,
        for_ms,
        notify: Vec::new(),
    };
    let slow = Condition::Latency {
        percentile: 99,
        above_us: 1_000_000,
    };
    let errors = Condition::ErrorRate {
        above: 0.02,
        min_rate: 0.5,
    };
    let headers = [("authorization", "Bearer word"), ("x-team", "a")];
    let expect = MonitorSpec {
        origin: Some("/srv/pando.toml".into()),
        listen: vec![
            "127.0.0.1:9464".parse().unwrap(),
            "[::1]:9464".parse().unwrap(),
        ],
        disk_bytes: 500 << 20,
        otlp: Some(Otlp {
            endpoint: "https://collector.example:4318/otlp".into(),
            headers: headers.map(|(k, v)| (k.into(), v.into())).into(),
            sample: 0.05,
            interval_ms: 30_000,
            service: "shop".into(),
            ..Otlp::default()
        }),
        default_alerts: false,
        alerts: vec![
            AlertRule {
                apps: vec!["api".into()],
                notify: vec![Notify::Command {
                    line: "page $PANDO_ALERT_LINE".into(),
                }],
                ..rule("slow", slow, 120_000)
            },
            rule("errors", errors, 60_000),
            rule("loop", Condition::CrashLoop, 0),
        ],
        notify: vec![
            Notify::Log,
            Notify::Webhook {
                url: "https://hooks.example/T0/word".into(),
            },
        ],
    };
    assert_eq!(file.monitor, Some(expect));
}

#[test]
fn the_gateway_sends_spans_where_the_file_says() {
    let with = |more: &str| format!("[otlp]\nendpoint = \"http://127.0.0.1:4318\"\n{more}{SITE}");
    let otlp = |text: &str| sound(text).gateway.unwrap().otlp;
    assert_eq!(otlp(&with("")).unwrap().endpoint, "http://127.0.0.1:4318");
    assert_eq!(otlp(&with("traces = false\n")), None);
    assert_eq!(otlp(SITE), None);
}

#[test]
fn mistakes_of_metrics_and_otlp() {
    wrong(
        "[metrics]\nport = 1\nlisten = [\"9464\", \"x:1\"]\ndisk = \"1M\"\n",
        &[
            ("2:1 unknown key `port` in [metrics]", "`listen`"),
            ("3:11 `9464` is not an address", "write \"127.0.0.1:9464\""),
            ("3:19 `x:1` is not an address", "\"127.0.0.1:9464\""),
            ("4:8 `disk` is too small", "\"200M\""),
        ],
    );
    wrong(
        "[app.a]\nscript = \"s.js\"\n[metric]\n",
        &[(
            "3:2 unknown key `metric` at the top of the file",
            "`metrics`",
        )],
    );
    wrong(
        "[otlp]\nsample = 0.5\n",
        &[("1:2 [otlp] has no `endpoint`", "4318")],
    );
    wrong(
        "[otlp]\nendpoint = \"127.0.0.1:4318\"\nsample = 2\ninterval = \"100ms\"\nprotocol = 1\n",
        &[
            ("2:12 `endpoint` is not a URL", "http://127.0.0.1:4318"),
            ("3:10 `sample` is not a share", "0.2"),
            ("4:12 `interval` is too short", "1s"),
            ("5:1 unknown key `protocol` in [otlp]", "remove it"),
        ],
    );
    wrong(
        "[otlp]\nendpoint = \"http://c:4318/v1/traces\"\n",
        &[(
            "2:12 `http://c:4318/v1/traces` has the path of one signal",
            "write \"http://c:4318\"",
        )],
    );
    wrong(
        "[otlp]\nendpoint = \"http://c:4317\"\n",
        &[(
            "? 2:12 `http://c:4317` may be another protocol's port",
            "http://c:4318",
        )],
    );
    wrong(
        "[otlp]\nendpoint = \"http://c\"\nheaders = { \"a b\" = \"x\", b = { env = \"NONE\" } }\n",
        &[
            ("3:13 `a b` is not the name of a header", ""),
            ("3:38 there is no NONE in the environment", "export NONE"),
        ],
    );
}

#[test]
fn mistakes_of_alerts() {
    let app = "[app.api]\nscript = \"s.js\"\n";
    wrong(
        &format!("{app}[alert.slow]\nwhen = \"p59 > 1s\"\nfor = \"2 min\"\napps = [\"apj\"]\n"),
        &[
            ("4:8 `p59 > 1s` asks for nothing that is known", "p50"),
            ("5:7 `2 min` is not a duration", "30s"),
            ("? 6:9 no app `apj` is in this file", "`api`"),
        ],
    );
    wrong(
        "[alert.slow]\nfor = \"2m\"\n",
        &[("1:8 [alert.slow] does not say when", "p95")],
    );
    wrong(
        "[alert]\nwhen = \"disk < 5%\"\n",
        &[(
            "2:1 [alert] has a key `when` that is not a rule",
            "[alert.NAME]",
        )],
    );
    wrong(
        "[alerts]\nwhen = \"disk < 5%\"\n",
        &[("2:1 unknown key `when` in [alerts]", "[alert.NAME]")],
    );
    wrong(
        "[alert.\"a b\"]\nwhen = \"degraded\"\n",
        &[("1:8 `a b` cannot be the name of an alert", "`a-b`")],
    );
    wrong(
        "[alert.d]\nwhen = \"disk < 5%\"\napps = []\nmin_rate = \"1/s\"\n",
        &[
            ("3:1 this rule has no apps", "remove"),
            ("4:1 `min_rate` is not for this rule", "error_rate"),
        ],
    );
}

#[test]
fn a_place_for_alerts_is_never_shown() {
    for (notify, what) in [
        (
            "\"hooks.example/T0/word\"",
            "this is not a place for alerts",
        ),
        ("\"https:// hooks/word\"", "this webhook is not a URL"),
        ("{ webhook = \"hooks/word\" }", "this webhook is not a URL"),
        ("{ }", "this names no one place"),
        ("5", "`notify` is a number"),
    ] {
        let problems = read(&format!("[alerts]\nnotify = [{notify}]\n")).unwrap_err();
        assert_eq!(problems.len(), 1, "{}", show(&problems));
        assert_eq!(problems[0].what, what);
        assert!(!problems[0].to_string().contains("word"), "{}", problems[0]);
    }
}

#[test]
fn a_plan_tells_each_setting_and_no_secret() {
    let of = |text: &str| sound(text).monitor.unwrap();
    let old = of(
        "[metrics]\nlisten = \"127.0.0.1:1\"\n[alerts]\nnotify = \"https://h.example/word1\"\n\
                  [alert.slow]\nwhen = \"p95 > 1s\"\n",
    );
    let new = of("[otlp]\nendpoint = \"http://c\"\nheaders = { key = \"word\" }\n[alerts]\n\
                  notify = \"https://h.example/word2\"\n[alert.slow]\nwhen = \"certificate < 14d\"\nfor = 0\n"
        .replace("for = 0", "for = \"0s\"").as_str());
    let lines: Vec<String> = plan_monitor(&old, &new)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        lines,
        [
            "metrics.listen: 127.0.0.1:1 -> (none)",
            "alerts.notify: webhook https://h.example/… -> webhook https://h.example/… (another)",
            "alert.slow: p95 > 1s for 1m -> certificate < 14d",
            "otlp.endpoint: (none) -> http://c",
            "otlp.headers.key: (none) -> ***",
        ]
    );
    assert!(plan_monitor(&new, &new).is_empty());
    assert!(!format!("{new:?}").contains("word"));
}
