//! Whatever is written, the parser answers, and each problem has its place.

mod world;

use std::collections::BTreeMap;
use std::path::Path;

use pando_config::{StartFlags, from_flags, is_valid_name, make_valid_name, parse_dotenv};
use proptest::prelude::*;
use world::{base_env, fs, read_with};

/// Pieces of which a file that nearly makes sense can be put together.
const PIECES: [&str; 48] = [
    "[app.a]",
    "[app.b]",
    "[app]",
    "[app.\"x y\"]",
    "[[app.a]]",
    "[site.x]",
    "[app.a.health]",
    "script",
    "command",
    "instances",
    "env",
    "env_file",
    "health",
    "timeouts",
    "restart",
    "logs",
    "watch",
    "port",
    "memory",
    "args",
    "user",
    "depends_on",
    "balance",
    " = ",
    "= ",
    "\"s.js\"",
    "\"\"",
    "'x",
    "\"max\"",
    "-1",
    "0",
    "5000",
    "1.5",
    "true",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\n",
    "\n",
    "\n",
    "path",
    "\"30s\"",
    "\"1G\"",
    "#",
    "é\u{1F333}",
    "\r\n",
];

fn nearly_a_file() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)
        .prop_map(|pieces| pieces.concat())
}

fn check(text: &str) {
    let problems = match read_with(text, &fs()) {
        Ok((apps, warnings)) => {
            assert!(!apps.is_empty());
            warnings
        }
        Err(problems) => {
            assert!(problems.iter().any(|p| p.is_error()), "{text:?}");
            problems
        }
    };
    let lines = text.split('\n').count();
    for problem in problems {
        assert!(
            problem.line >= 1 && problem.column >= 1,
            "{text:?}: {problem}"
        );
        assert!(
            problem.file.is_some() && !problem.what.is_empty(),
            "{text:?}: {problem}"
        );
        let here = problem.file.as_deref() == Some(Path::new("/srv/pando.toml"));
        assert!(!here || problem.line <= lines, "{text:?}: {problem}");
        let _ = problem.to_string();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in "\\PC*") {
        check(&text);
    }

    #[test]
    fn any_text_that_is_nearly_a_file_is_answered(text in nearly_a_file()) {
        check(&text);
        check(&format!("[app.a]\nscript = \"s.js\"\n{text}"));
    }

    #[test]
    fn any_env_file_is_answered(text in "([A-C]=|export |\"|'|`|#|\\$\\{[A-C]\\}|\\$\\{|\\\\|\\n|\\r\\n| |\\PC){0,40}") {
        if let Err(problems) = parse_dotenv(&text, Path::new(".env"), &BTreeMap::new()) {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert!(problem.line >= 1 && problem.column >= 1 && problem.excerpt.is_none());
            }
        }
    }

    #[test]
    fn any_value_in_double_quotes_comes_back(value in "[^\\\\\"$\\x00\\r]{0,40}") {
        let vars = parse_dotenv(&format!("A=\"{value}\"\n"), Path::new(".env"), &BTreeMap::new());
        let vars = vars.unwrap();
        prop_assert_eq!(vars.get("A"), Some(&value));
    }

    #[test]
    fn any_target_is_answered(target in "\\PC{0,30}", args in prop::collection::vec("\\PC{0,8}", 0..4)) {
        let flags = StartFlags { target, args, ..StartFlags::default() };
        match from_flags(&flags, &base_env(), Path::new("/srv"), &fs()) {
            Ok((spec, _)) => prop_assert!(is_valid_name(&spec.name)),
            Err(problems) => prop_assert!(problems.iter().any(|p| p.is_error())),
        }
    }

    #[test]
    fn any_name_can_be_made_valid(name in "\\PC*") {
        prop_assert!(is_valid_name(&make_valid_name(&name)));
    }
}
