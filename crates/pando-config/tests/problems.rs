//! pando.toml: every mistake with its exact place.

#![allow(
    clippy::too_many_lines,
    reason = "tables of inputs and what is expected"
)]

mod world;

use app_spec::AppSpec;
use pando_config::{MemoryFs, NodeVersion};
use world::{fs, read_with, short, show};

#[track_caller]
fn whole(text: &str) -> Vec<AppSpec> {
    let (apps, warnings) =
        read_with(text, &fs()).unwrap_or_else(|p| panic!("{text}\n{}", show(&p)));
    assert_eq!(warnings, [], "{text}");
    apps
}

/// Problems of a whole text, errors or warnings.
#[track_caller]
fn wrong(text: &str, expect: &[&str]) {
    let problems = match read_with(text, &fs()) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    };
    assert_eq!(short(&problems), expect, "{text}\n{}", show(&problems));
    for problem in problems {
        assert!(
            !problem.why.is_empty() && !problem.fix.is_empty(),
            "{problem}"
        );
    }
}

/// The one problem of a third line below `[app.a]` and a script.
#[track_caller]
fn line(line: &str, column: usize, what: &str, fix: &str) {
    let text = format!("[app.a]\nscript = \"s.js\"\n{line}\n");
    let problems = read_with(&text, &fs())
        .map(|(_, w)| w)
        .unwrap_or_else(|p| p);
    assert_eq!(
        short(&problems),
        [format!("3:{column} {what}")],
        "{line}\n{}",
        show(&problems)
    );
    assert!(problems[0].fix.contains(fix), "{line}: {}", problems[0].fix);
    assert!(!problems[0].why.is_empty(), "{line}");
}

#[test]
fn types_and_unknown_keys() {
    line(
        "instnaces = 4",
        1,
        "unknown key `instnaces` in [app.a]",
        "did you mean `instances`?",
    );
    line(
        "kill_timeout = 3",
        1,
        "unknown key `kill_timeout`",
        "did you mean `timeouts.stop`?",
    );
    line("name = \"x\"", 1, "unknown key `name`", "change the header");
    line(
        "zzzzzz = 1",
        1,
        "unknown key `zzzzzz` in [app.a]",
        "the keys here are script, ",
    );
    line(
        "health = { pth = \"/\", path = \"/\" }",
        12,
        "unknown key `pth` in [app.a.health]",
        "`path`",
    );
    line(
        "timeouts = { raedy = \"1s\" }",
        14,
        "unknown key `raedy` in [app.a.timeouts]",
        "`ready`",
    );
    line(
        "restart = { polcy = \"never\" }",
        13,
        "unknown key `polcy` in [app.a.restart]",
        "`policy`",
    );
    line(
        "logs = { kep = 1 }",
        10,
        "unknown key `kep` in [app.a.logs]",
        "`keep`",
    );
    line(
        "watch = { path = \"dist\" }",
        11,
        "unknown key `path` in [app.a.watch]",
        "`paths`",
    );
    line("args = 1", 8, "`args` is a number", "args = [");
    line(
        "args = [1]",
        9,
        "`args` has a number in its list",
        "args = [",
    );
    line(
        "args = \"'a\"",
        8,
        "`args` has a quote that is never closed",
        "close it",
    );
    line(
        "wait_ready = \"yes\"",
        14,
        "`wait_ready` is a string",
        "wait_ready = true",
    );
    line("agent = 1", 9, "`agent` is a number", "agent = true");
    line(
        "cwd = true",
        7,
        "`cwd` is a boolean",
        "cwd = \"packages/api\"",
    );
    line("cwd = \" \"", 7, "`cwd` is empty", "remove the key");
    line(
        "cwd = \"a\\u0000\"",
        7,
        "`cwd` has a NUL character",
        "remove it",
    );
    line("env = [1]", 7, "`env` is a list", "NODE_ENV");
    line("env = { A = [] }", 13, "`A` is a list", "A = \"text\"");
    line(
        "env = { A = 2020-01-01 }",
        13,
        "`A` is a date",
        "A = \"text\"",
    );
    line("logs = \"x\"", 8, "`logs` is a string", "logs = {");
    line("timeouts = 5", 12, "`timeouts` is a number", "timeouts = {");
    line("watch = 5", 9, "`watch` is a number", "watch = [");
    line("user = 1.5", 8, "`user` is a fraction", "user = ");
    line(
        "restart = { stop_exit_codes = 1 }",
        31,
        "`stop_exit_codes` is a number",
        "[0, 143]",
    );
}

#[test]
fn values_out_of_bounds() {
    line(
        "instances = 5000",
        13,
        "5000 instances are too many",
        "\"max\"",
    );
    line(
        "instances = -5000",
        13,
        "-5000 instances make no sense",
        "\"max\"",
    );
    line(
        "instances = \"many\"",
        13,
        "`many` is not a number of instances",
        "\"max\"",
    );
    line(
        "instances = 1.5",
        13,
        "`instances` is a fraction",
        "instances = 4",
    );
    line(
        "instances = 99999999999999999999",
        13,
        "`instances` is 99999999999999999999",
        "instances = 4",
    );
    line(
        "instances = { min = 1 }",
        13,
        "`instances` with min and max is not supported by this version",
        "number",
    );
    line(
        "scale = \"slo\"",
        1,
        "`scale` is not supported by this version",
        "instances",
    );
    line(
        "exec_mode = \"clutser\"",
        13,
        "`exec_mode` is \"clutser\"",
        "did you mean \"cluster\"?",
    );
    line(
        "balance = \"rr\"",
        11,
        "`balance` is \"rr\"",
        "use \"steered\"",
    );
    line(
        "balance = \"least-connection\"",
        11,
        "`balance` is \"least-connection\"",
        "\"least-connections\"",
    );
    line("port = 0", 8, "`port` is 0", "port = 3000");
    line("port = 70000", 8, "`port` is 70000", "port = 3000");
    line("port = \"3000\"", 8, "`port` is a string", "port = 3000");
    line("memory = 512", 10, "`512` has no unit", "\"512M\"");
    line("memory = \"512\"", 10, "`512` has no unit", "\"512M\"");
    line(
        "memory = \"1M\"",
        10,
        "a memory limit of 1M is surely a typing error",
        "16M",
    );
    line("memory = \"lots\"", 10, "`lots` is not a size", "\"512M\"");
    line("memory = true", 10, "`memory` is a boolean", "\"512M\"");
    line(
        "timeouts = { ready = 3000 }",
        22,
        "`3000` has no unit",
        "\"3s\"",
    );
    line(
        "timeouts = { ready = \"0s\" }",
        22,
        "`ready` is zero",
        "default",
    );
    line(
        "timeouts = { stop = \"0ms\" }",
        21,
        "`stop` is zero",
        "default",
    );
    line(
        "timeouts = { stop = \"2d\" }",
        21,
        "`2d` is longer than a day",
        "\"24h\"",
    );
    line(
        "timeouts = { stop = \"48h\" }",
        21,
        "`48h` is longer than a day",
        "24h",
    );
    line(
        "stop_signal = \"SIGTREM\"",
        15,
        "`SIGTREM` is not a signal",
        "\"SIGTERM\"",
    );
    line(
        "stop_signal = \"SIGSTOP\"",
        15,
        "SIGSTOP cannot stop an app",
        "SIGTERM",
    );
    line(
        "restart = \"allways\"",
        11,
        "`restart` is \"allways\"",
        "\"always\"",
    );
    line(
        "restart = { max_fast_exits = 0 }",
        30,
        "`max_fast_exits` is 0",
        "16",
    );
    line(
        "restart = { stop_exit_codes = [0, 256] }",
        35,
        "`stop_exit_codes` has an item that is no such number",
        "[0, 143]",
    );
    line(
        "restart = { backoff_min = \"1m\", backoff_max = \"1s\" }",
        1,
        "backoff_min (1m) is longer than backoff_max (1s)",
        "exchange",
    );
    line(
        "restart = { window = \"0s\" }",
        22,
        "`window` is zero",
        "default",
    );
    line(
        "logs = { max_size = \"1K\" }",
        21,
        "a log file of less than 4K is surely a typing error",
        "50M",
    );
    line("logs = { keep = -1 }", 17, "`keep` is -1", "keep = 10");
    line(
        "watch = [\"nowhere\"]",
        10,
        "nothing to watch at nowhere",
        "check the path",
    );
    line("watch = []", 9, "`watch` is empty", "true");
    line(
        "watch = { ignore = [\"*.log\"] }",
        21,
        "`ignore` has \"*.log\", which is not one part of a path",
        "patterns",
    );
}

#[test]
fn health_targets() {
    line(
        "health = \"healthz\"",
        10,
        "health \"healthz\" is neither path nor URL",
        "\"/healthz\"",
    );
    line(
        "health = \"https://x/h\"",
        10,
        "health \"https://x/h\" is https",
        "http://",
    );
    line(
        "health = \"http://\"",
        10,
        "health \"http://\" has no valid host",
        "127.0.0.1",
    );
    line(
        "health = \"http://x:99999/\"",
        10,
        "health \"http://x:99999/\" has no valid host",
        "127.0.0.1",
    );
    line(
        "health = \"http://u:p@x/\"",
        10,
        "health \"http://u:p@x/\" has no valid host",
        "127.0.0.1",
    );
    line(
        "health = \"/a b\"",
        10,
        "health \"/a b\" is not a path",
        "percent-encode",
    );
    line("health = true", 10, "`health` is a boolean", "\"/healthz\"");
    line(
        "health = { interval = \"1s\" }",
        1,
        "[app.a.health] has neither `path` nor `url`",
        "path =",
    );
    line(
        "health = { path = \"/\", url = \"http://x/\" }",
        24,
        "both `path` and `url` are given",
        "remove",
    );
}

#[test]
fn files_and_programs() {
    line(
        "cwd = \"nowhere\"",
        7,
        "no such directory: nowhere",
        "create it",
    );
    line(
        "env_file = \"no.env\"",
        12,
        "no such file: no.env",
        "env_file",
    );
    line(
        "env_file = [\".env\", \"no.env\"]",
        21,
        "no such file: no.env",
        "env_file",
    );
    line(
        "env = { NODE_UNIQUE_ID = \"1\" }",
        9,
        "`NODE_UNIQUE_ID` cannot be set",
        "remove",
    );
    line(
        "env = { \"a b\" = \"1\" }",
        9,
        "\"a b\" cannot be the name of an environment variable",
        "letters",
    );
    line(
        "interpreter = \"perl6\"",
        15,
        "there is no `perl6` on the PATH",
        "install perl6",
    );
    line(
        "interpreter = \"./no/node\"",
        15,
        "no such program: ./no/node",
        "check",
    );
    line(
        "command = \"npm start\"",
        1,
        "both `script` and `command` are given",
        "remove",
    );
    for (script, what, fix) in [
        ("S.js", "no such script: S.js", "did you mean s.js?"),
        (
            "main.js",
            "no such script: main.js",
            "did you mean dist/main.js?",
        ),
        ("npm start", "no such script: npm start", "use `command`"),
        ("packages", "no such script: packages", "name the file"),
        ("plain", "it is not known how to run plain", "chmod +x"),
        (
            "app.json",
            "it is not known how to run app.json",
            "name the program",
        ),
        ("s.rb", "there is no `ruby` on the PATH", "install ruby"),
    ] {
        let text = format!("[app.a]\nscript = \"{script}\"\n");
        let problems = read_with(&text, &fs()).unwrap_err();
        assert_eq!(short(&problems), [format!("2:10 {what}")]);
        assert!(problems[0].fix.contains(fix), "{}", problems[0].fix);
    }
    let no_node = MemoryFs::new().with("/srv/s.js", "");
    let problems = read_with("[app.a]\nscript = \"s.js\"", &no_node).unwrap_err();
    assert_eq!(short(&problems), ["2:10 there is no `node` on the PATH"]);
    let mut old = fs();
    old.node = Some(NodeVersion {
        major: 20,
        minor: 1,
    });
    let problems = read_with("[app.a]\nscript = \"s.ts\"", &old).unwrap_err();
    assert_eq!(
        short(&problems),
        ["2:10 node 20.1 cannot run TypeScript by itself"]
    );
}

#[test]
fn commands_that_cannot_be() {
    wrong(
        "[app.a]\ncommand = []",
        &["2:11 `command` names no program"],
    );
    wrong(
        "[app.a]\ncommand = [\"nope\"]",
        &["2:12 there is no `nope` on the PATH"],
    );
    wrong(
        "[app.a]\ncommand = [\"./s.js\"]",
        &["2:12 `./s.js` is not executable"],
    );
    wrong(
        "[app.a]\ncommand = \"x\"\nargs = \"y\"",
        &["3:1 `args` beside a shell line"],
    );
    wrong(
        "[app.a]\ncommand = \"x\"\ninterpreter = \"node\"\nnode_args = \"-r x\"",
        &[
            "3:1 `interpreter` has no meaning with `command`",
            "4:1 `node_args` has no meaning with `command`",
        ],
    );
    wrong(
        "[app.a]\nscript = \"tool\"\nnode_args = \"-x\"",
        &["2:10 tool has no interpreter that could take node_args"],
    );
    wrong(
        "[app.a]\ninstances = 1",
        &["1:6 [app.a] has neither `script` nor `command`"],
    );
}

#[test]
fn settings_that_do_not_fit_together() {
    let shell = "[app.a]\ncommand = \"x\"\n";
    let check = |line: &str, expect: &[&str]| wrong(&format!("{shell}{line}"), expect);
    check(
        "exec_mode = \"cluster\"",
        &["3:13 exec_mode \"cluster\" needs a script that node, bun or deno runs"],
    );
    check(
        "balance = \"shared\"",
        &["3:11 balance \"shared\" needs cluster mode"],
    );
    check(
        "balance = \"random\"",
        &["? 3:11 `balance` has no effect in fork mode"],
    );
    check(
        "wait_ready = true",
        &["3:14 `wait_ready` needs a script that node, bun or deno runs"],
    );
    check(
        "stop_message = true",
        &["3:16 `stop_message` needs a script that node, bun or deno runs"],
    );
    check(
        "port = 65535\ninstances = 2",
        &["3:8 the ports of the last instances would be above 65535"],
    );
    check(
        "port = 3000\nenv.PORT = 4000",
        &["3:8 `port` is 3000, and PORT in the environment is 4000"],
    );
    wrong(
        "[app.a]\nscript = \"s.js\"\nuser = \"www\"",
        &["? 3:8 `user` has no effect, as this is not root"],
    );
    wrong(
        "[app.a]\ncommand = \"node s.js\"\ninstances = 4",
        &["? 3:13 the instances of a shell line cannot share a port"],
    );
    wrong(
        "[app.a]\nscript = \"s.js\"\nexec_mode = \"fork\"\nbalance = \"shared\"",
        &["4:11 balance \"shared\" needs cluster mode"],
    );
}

#[test]
fn apps_that_do_not_fit_together() {
    wrong(
        "[app.a]\nscript = \"s.js\"\nport = 3000\n[app.b]\nscript = \"s.js\"\nport = 3000",
        &["6:8 port 3000 is used by [app.a] too"],
    );
    wrong(
        "[app.a]\ncommand = \"x\"\nport = 3000\ninstances = 4\n[app.b]\nscript = \"s.js\"\nport = 3003",
        &["7:8 port 3003 is used by [app.a] too"],
    );
    wrong(
        "[app.a]\nscript = \"s.js\"\ndepends_on = [\"bb\"]\n[app.b]\nscript = \"s.js\"",
        &["3:14 a depends on `bb`, and there is no such app"],
    );
    wrong(
        "[app.a]\nscript = \"s.js\"\ndepends_on = [\"a\"]",
        &["3:14 depends_on goes in a circle: a -> a"],
    );
    wrong(
        "[app.x]\nscript = \"s.js\"\ndepends_on = [\"a\"]\n[app.a]\nscript = \"s.js\"\ndepends_on = [\"b\"]\n[app.b]\nscript = \"s.js\"\ndepends_on = [\"c\"]\n[app.c]\nscript = \"s.js\"\ndepends_on = [\"a\"]",
        &["6:14 depends_on goes in a circle: a -> b -> c -> a"],
    );
    // An app that is broken is still an app.
    wrong(
        "[app.a]\nscript = \"no.js\"\n[app.b]\nscript = \"s.js\"\ndepends_on = \"a\"",
        &["2:10 no such script: no.js"],
    );
    // A diamond is no circle.
    let diamond = "[app.a]\nscript=\"s.js\"\n[app.b]\nscript=\"s.js\"\ndepends_on=\"a\"\n[app.c]\nscript=\"s.js\"\ndepends_on=\"a\"\n[app.d]\nscript=\"s.js\"\ndepends_on=[\"b\",\"c\"]";
    assert_eq!(whole(diamond).len(), 4);
}

#[test]
fn the_top_of_the_file() {
    wrong("", &["1:1 there is no app in this file"]);
    wrong("[app]", &["1:2 there is no app in this file"]);
    wrong("app = 1", &["1:7 `app` is a number"]);
    wrong(
        "[app]\nscript = \"s.js\"",
        &["2:1 [app] has a key `script` that is not an app"],
    );
    wrong(
        "[app.all]\nscript = \"s.js\"",
        &["1:6 `all` cannot be the name of an app"],
    );
    wrong(
        "[app.\"a b\"]\nscript = \"s.js\"",
        &["1:6 `a b` cannot be the name of an app"],
    );
    let app = "[app.a]\nscript = \"s.js\"\n";
    wrong(
        &format!("{app}[gateway]\nlisten = []\n[site.\"*\"]\n[postgres.main]\n"),
        &[
            "4:10 `listen` is empty",
            "5:7 [site.\"*\"] has no routes",
            "6:2 [postgres] is not supported by this version",
        ],
    );
    wrong(
        &format!("ap = 1\n{app}[gatway]"),
        &[
            "1:1 unknown key `ap` at the top of the file",
            "4:2 unknown key `gatway` at the top of the file",
        ],
    );
}

#[test]
fn text_that_is_not_toml() {
    wrong(
        "[app.a]\nscript = \"s.js\"\n[app.a]\nscript = \"s.js\"",
        &["3:6 `a` is given twice"],
    );
    wrong(
        "[app.a]\nscript = \"s.js\"\nport = 1\nport = 2",
        &["4:1 `port` is given twice"],
    );
    // What else is wrong is told too, but not what a broken line may have meant.
    let problems = read_with("[app.a]\nscript = s.js\ninstnaces = 1\n", &fs()).unwrap_err();
    let lines: Vec<_> = problems.iter().map(|p| p.line).collect();
    assert_eq!(
        lines.iter().filter(|l| **l == 3).count(),
        1,
        "{}",
        show(&problems)
    );
    assert!(
        lines.contains(&2) && !lines.contains(&1),
        "{}",
        show(&problems)
    );
}

#[test]
fn every_problem_at_once_in_order() {
    wrong(
        "[app.a]\nscript = \"no.js\"\nmemory = 5\nhealth = \"x\"\n\n[app.b]\ncommand = \"x\"\nwait_ready = true\nenv_file = \"bad.env\"\n",
        &[
            "2:10 no such script: no.js",
            "3:10 `5` has no unit",
            "4:10 health \"x\" is neither path nor URL",
            "8:14 `wait_ready` needs a script that node, bun or deno runs",
            // Other files come after.
            "2:1 this line has no `=`",
        ],
    );
}

#[test]
fn shown_with_its_line_and_a_caret() {
    let problems = read_with("[app.a]\nscript = \"s.js\"\n\tinstnaces = 4\n", &fs()).unwrap_err();
    let expect = "\
/srv/pando.toml:3:2: error: unknown key `instnaces` in [app.a]
  |
3 | \tinstnaces = 4
  | \t^^^^^^^^^
  why: a key that is not known would be ignored silently
  fix: did you mean `instances`?";
    assert_eq!(problems[0].to_string(), expect);
    let problems =
        read_with("[app.a]\nscript = \"s.js\"\nenv_file = \"bad.env\"", &fs()).unwrap_err();
    assert!(
        problems[0]
            .to_string()
            .starts_with("/srv/bad.env:2:1: error: this line has no `=`\n  why")
    );
}
