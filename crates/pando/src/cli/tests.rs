//! Every verb as it is typed.

use clap::error::ErrorKind;
use pando_control::api::ScaleChange;

use super::*;

fn parsed(line: &str) -> Cli {
    Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|e| panic!("{line}: {e}"))
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_and_alias_is_taken() {
    for line in [
        "pando start",
        "pando start server.js -i max --name api -e A=1 --env B=2 --env-file .env -p 3000",
        "pando start -i -1 server.js",
        "pando start npm start",
        "pando start server.js -- --port 3000 -x",
        "pando start server.js --watch --health /healthz --wait-ready --memory 512M --no-wait",
        "pando start server.js --watch=src --watch=lib --node-args --inspect --balance ip-hash",
        "pando start x --restart on-failure --mode fork --log-max-size 1M --log-keep 3",
        "pando stop api web",
        "pando restart all",
        "pando reload api --update-env",
        "pando reload api --as-is",
        "pando delete api",
        "pando del api",
        "pando rm api",
        "pando scale api 4",
        "pando scale api +2",
        "pando scale api -1",
        "pando scale api max --json",
        "pando ls",
        "pando list --json",
        "pando status",
        "pando ps api",
        "pando --json ls",
        "pando monit",
        "pando monit api",
        "pando top",
        "pando top --once --sort cpu",
        "pando top -1 --json",
        "pando show api",
        "pando describe api",
        "pando logs",
        "pando logs api web --lines 100 --no-follow --err --worker 2 --since 10m --until 5m",
        "pando logs --nostream --out",
        "pando env api --diff",
        "pando signal usr2 api",
        "pando events --json",
        "pando plan",
        "pando up --file deploy/pando.toml",
        "pando down -f .",
        "pando init --force --print",
        "pando run server.js -i 2 --log-format json",
        "pando run",
        "pando resurrect",
        "pando upgrade",
        "pando upgrade /usr/local/bin/pando",
        "pando kill --home /srv/pando",
        "pando completions bash",
        "pando completions zsh",
        "pando completions fish",
        "pando --home /x root --daemon",
        "pando root --resume 7",
        "pando supervisor --fd 3",
        "pando --pando-selfcheck",
    ] {
        parsed(line);
    }
}

#[test]
fn mistakes_are_refused() {
    for (line, kind) in [
        ("pando", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("pando dance", ErrorKind::InvalidSubcommand),
        ("pando stop", ErrorKind::MissingRequiredArgument),
        ("pando scale api", ErrorKind::MissingRequiredArgument),
        ("pando scale api many", ErrorKind::ValueValidation),
        ("pando signal nope api", ErrorKind::ValueValidation),
        ("pando logs --out --err", ErrorKind::ArgumentConflict),
        ("pando start x --balance fair", ErrorKind::InvalidValue),
        ("pando start x --prot 3000", ErrorKind::UnknownArgument),
        ("pando ls --lines", ErrorKind::UnknownArgument),
        ("pando completions cmd", ErrorKind::InvalidValue),
    ] {
        let error = Cli::try_parse_from(line.split_whitespace()).unwrap_err();
        assert_eq!(error.kind(), kind, "{line}");
        assert_eq!(error.exit_code(), i32::from(exit::WRONG_CALL), "{line}");
    }
}

#[test]
fn values_arrive_where_they_belong() {
    let Some(Verb::Scale(args)) = parsed("pando scale api -1").verb else {
        panic!()
    };
    assert!(format!("{args:?}").contains(&format!("{:?}", ScaleChange::Down(1))));
    let cli = parsed("pando start server.js a b -i -1 --watch=src -e X=1 -- -i 4");
    let Some(Verb::Start(args)) = cli.verb else {
        panic!()
    };
    let shown = format!("{args:?}");
    for part in [
        "target: Some(\"server.js\")",
        "args: [\"a\", \"b\", \"-i\", \"4\"]",
        "instances: Some(\"-1\")",
        "watch: [\"src\"]",
        "env: [\"X=1\"]",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}
