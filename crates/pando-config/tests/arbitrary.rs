//! Whatever is written, the parser answers, and each problem has its place.

mod world;

use std::collections::BTreeMap;
use std::path::Path;

use pando_config::{StartFlags, from_flags, is_valid_name, make_valid_name, parse, parse_dotenv};
use proptest::prelude::*;
use world::{base_env, fs};

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

/// The same of a gateway: keys of a route and values of all kinds.
const GATEWAY_PIECES: &[&str] = &[
    "path",
    "methods",
    "headers",
    "app",
    "upstreams",
    "split",
    "files",
    "redirect",
    "respond",
    "balance",
    "hash_key",
    "sticky",
    "retry",
    "health",
    "outlier",
    "breaker",
    "pool",
    "slow_start",
    "max_connections",
    "queue",
    "upstream_tls",
    "proxy_protocol",
    "resolve",
    "index",
    "spa",
    "cache_control",
    "rewrite",
    "strip_prefix",
    "request_headers",
    "response_headers",
    "allow",
    "deny",
    "limit",
    "connections",
    "basic_auth",
    "jwt",
    "api_keys",
    "cors",
    "security_headers",
    "cache",
    "compress",
    "body",
    "timeout",
    "listen",
    "trusted_proxies",
    "limits",
    "timeouts",
    "access_log",
    "acme",
    "redis",
    "tls",
    "aliases",
    "hsts",
    "routes",
    "[",
    "[",
    "[",
    "]",
    "]",
    "]",
    "{ ",
    "{ ",
    "{ ",
    " }",
    " }",
    " }",
    ", ",
    ", ",
    ", ",
    "\n",
    " = ",
    " = ",
    " = ",
    " = ",
    "true",
    "false",
    "0",
    "7",
    "0.5",
    "\"10/s\"",
    "\"ip\"",
    "\"/a/*\"",
    "\"/{id}/x\"",
    "\"h:1\"",
    "\"https://h\"",
    "\"unix:/x\"",
    "\"10.0.0.0/8\"",
    "\"header:x\"",
    "\"cookie:c\"",
    "\"30s\"",
    "\"1M\"",
    "\"auto\"",
    "\"*\"",
    "\"a=1\"",
    "\"{host}\"",
    "\"(\"",
    "\"\"",
    "\"0.0.0.0:443 tls\"",
    "\"redis://h\"",
    "\"$2y$x\"",
    "set",
    "add",
    "remove",
    "rate",
    "per",
    "max",
    "weight",
    "address",
    "users",
    "file",
    "secret",
    "regex",
    "to",
    "prefix",
    "status",
    "cert",
    "key",
    "\"x-a\"",
    "root",
    "disk",
    "eab",
];

fn nearly_a_gateway() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(GATEWAY_PIECES), 0..60)
        .prop_map(|pieces| pieces.concat())
}

/// One key of a route with any value.
fn nearly_a_route() -> impl Strategy<Value = String> {
    (prop::sample::select(GATEWAY_PIECES), nearly_a_gateway())
        .prop_map(|(key, value)| format!("{key} = {value}"))
}

fn nearly_a_file() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)
        .prop_map(|pieces| pieces.concat())
}

fn check(text: &str) {
    let problems = match parse(text, Path::new("/srv/pando.toml"), &base_env(), &fs()) {
        Ok((file, warnings)) => {
            assert!(!file.apps.is_empty() || file.gateway.is_some());
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
    fn any_text_that_is_nearly_a_gateway_is_answered(text in nearly_a_gateway(), route in nearly_a_route()) {
        check(&text);
        check(&format!("[gateway]\n{text}"));
        check(&format!("[site.x]\n{text}"));
        check(&format!("[[site.x.routes]]\n{text}"));
        check(&format!("[[site.x.routes]]\napp = \"a\"\n{route}"));
        check(&format!("[site.x]\nupstreams = \"h:1\"\n{route}"));
        check(&format!("[gateway]\n{route}"));
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
