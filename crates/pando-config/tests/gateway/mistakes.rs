//! Every mistake with its exact place.

use super::read;
use super::world::{short, show};

/// All problems of a text, errors or warnings.
#[track_caller]
pub fn wrong(text: &str, expect: &[&str]) {
    let problems = read(text).map(|(_, w)| w).unwrap_or_else(|p| p);
    assert_eq!(short(&problems), expect, "{text}\n{}", show(&problems));
    for problem in problems {
        assert!(
            !problem.why.is_empty() && !problem.fix.is_empty(),
            "{problem}"
        );
    }
}

/// The one problem of a line, `before` it the lines that it stands below.
#[track_caller]
pub fn line(before: &str, line: &str, column: usize, what: &str, fix: &str) {
    let text = format!("{before}{line}\n");
    let problems = read(&text).map(|(_, w)| w).unwrap_or_else(|p| p);
    // The last of several lines is the wrong one.
    let place = before.matches('\n').count() + line.matches('\n').count() + 1;
    let expect = match what.strip_prefix("? ") {
        Some(what) => format!("? {place}:{column} {what}"),
        None => format!("{place}:{column} {what}"),
    };
    assert_eq!(short(&problems), [expect], "{line}\n{}", show(&problems));
    assert!(problems[0].fix.contains(fix), "{line}: {}", problems[0].fix);
    assert!(!problems[0].why.is_empty(), "{line}");
}

#[track_caller]
fn gateway(text: &str, column: usize, what: &str, fix: &str) {
    line(
        "[site.x]\napp = \"a\"\n[gateway]\n",
        text,
        column,
        what,
        fix,
    );
}

#[track_caller]
fn site(text: &str, column: usize, what: &str, fix: &str) {
    line("[site.x]\n", text, column, what, fix);
}

#[track_caller]
pub fn route(text: &str, column: usize, what: &str, fix: &str) {
    line(
        "[[site.x.routes]]\npath = \"/a/*\"\n",
        text,
        column,
        what,
        fix,
    );
}

/// Of a route that goes to an app.
#[track_caller]
pub fn app(text: &str, column: usize, what: &str, fix: &str) {
    line("[[site.x.routes]]\napp = \"a\"\n", text, column, what, fix);
}

#[test]
fn in_the_gateway() {
    gateway(
        "lisen = []",
        1,
        "unknown key `lisen` in [gateway]",
        "did you mean `listen`?",
    );
    gateway(
        "routes = []",
        1,
        "unknown key `routes` in [gateway]",
        "[site.",
    );
    gateway("listen = 80", 10, "`listen` is a number", "listen = [");
    gateway("listen = []", 10, "`listen` is empty", "remove the key");
    gateway(
        "listen = [\"example.com:80\"]",
        11,
        "`example.com:80` is not an address to listen at",
        "\"0.0.0.0:80\"",
    );
    gateway(
        "listen = [\"localhost:8080\"]",
        11,
        "`localhost:8080` is not an address to listen at",
        "\"127.0.0.1:8080\"",
    );
    gateway(
        "listen = [\"127.0.0.1\"]",
        11,
        "`127.0.0.1` is not an address to listen at",
        "\"127.0.0.1:80\"",
    );
    gateway("listen = [\":0\"]", 11, "`:0` has port 0", "1 to 65535");
    gateway(
        "listen = [\":8080 ssl\"]",
        11,
        "`ssl` says nothing about a listener",
        "`tls`",
    );
    gateway(
        "listen = [\":8080 http2\"]",
        11,
        "`http2` says nothing about a listener",
        "remove",
    );
    gateway(
        "listen = [\":8080\", \"0.0.0.0:8080\"]",
        20,
        "`0.0.0.0:8080` is listened at twice",
        "remove one",
    );
    gateway(
        "listen = [\"unix:\"]",
        11,
        "`unix:` names no socket",
        "unix:/run",
    );
    gateway(
        "listen = [\":80\"]",
        11,
        "? port 80 may need root",
        "CAP_NET_BIND_SERVICE",
    );
    gateway(
        "listen = [\":8443 tls\"]",
        11,
        "? `0.0.0.0:8443` has `tls`, and no site has a certificate",
        "give a site `tls`",
    );
    gateway("threads = 0", 11, "`threads` is 0", "threads = 2");
    gateway(
        "trusted_proxies = [\"10.0.0.0/33\"]",
        20,
        "`10.0.0.0/33` is not a network",
        "10.0.0.0/8",
    );
    gateway(
        "trusted_proxies = \"localhost\"",
        19,
        "`localhost` is not a network",
        "127.0.0.0/8",
    );
    gateway(
        "limits = { header = 1 }",
        12,
        "unknown key `header` in [gateway.limits]",
        "`headers`",
    );
    gateway(
        "timeouts = { idle = \"0s\" }",
        21,
        "`idle` is zero",
        "default",
    );
    gateway(
        "timeouts = { idle = 75 }",
        21,
        "`75` has no unit",
        "\"75s\"",
    );
    gateway(
        "access_log = { sample = 2 }",
        25,
        "`sample` is not a share",
        "20%",
    );
    gateway(
        "access_log = { format = \"clf\" }",
        25,
        "`format` is \"clf\"",
        "\"json\"",
    );
    gateway(
        "cache = { disk = { path = \"/c\" } }",
        11,
        "a cache on disk needs `path` and `max`",
        "max",
    );
    gateway(
        "acme = { directory = \"le\" }",
        22,
        "`le` is not the URL of a directory",
        "https://",
    );
    gateway(
        "acme = { email = \"me\" }",
        18,
        "`me` is not an address for mail",
        "ops@",
    );
    gateway(
        "acme = { eab = { kid = \"k\" } }",
        10,
        "`eab` needs `kid` and `key`",
        "eab = ",
    );
    gateway(
        "health = \"livez\"",
        10,
        "health = \"livez\" is no path",
        "/livez",
    );
    gateway(
        "redis = \"127.0.0.1:6379\"",
        9,
        "`redis` is not the URL of a Redis",
        "redis://",
    );
    gateway(
        "redis = { env = \"NO_SUCH\" }",
        17,
        "there is no NO_SUCH in the environment",
        "export",
    );
    gateway(
        "redis = { file = \"none\" }",
        18,
        "the secret in /srv/none cannot be read",
        "path",
    );
    gateway(
        "redis = { env = \"A\", file = \"b\" }",
        9,
        "`redis` does not say where the secret is",
        "env",
    );
    wrong(
        "[gateway]\n",
        &["? 1:2 there is no site for the gateway to serve"],
    );
    wrong(
        "gateway = 1\n",
        &[
            "? 1:1 there is no site for the gateway to serve",
            "1:11 `gateway` is a number",
        ],
    );
}

#[test]
fn in_a_site() {
    wrong(
        "[site]\nroutes = []\n",
        &[
            "? 1:2 there is no site for the gateway to serve",
            "2:1 [site] has a key `routes` that is not a site",
        ],
    );
    wrong(
        "[site.\"a.b:80\"]\napp = \"a\"\n",
        &["1:7 `a.b:80` is not a host"],
    );
    wrong(
        "[site.\"*.*\"]\napp = \"a\"\n",
        &["1:7 `*.*` is not a host"],
    );
    wrong(
        "[site.a]\napp = \"x\"\n[site.b]\napp = \"x\"\naliases = \"A\"\n",
        &["5:11 `a` belongs to [site.\"a\"] too"],
    );
    wrong(
        "[site.a]\napp = \"x\"\naliases = [\"a\"]\n",
        &["3:12 this site has `a` twice"],
    );
    site(
        "rotes = []",
        1,
        "unknown key `rotes` in [site.\"x\"]",
        "`routes`",
    );
    site("routes = {}", 10, "`routes` is not a list", "[[site.");
    site(
        "routes = []\nbalance = \"random\"",
        1,
        "unknown key `balance` in a [site]",
        "one of `routes`",
    );
    let with_app = "[site.x]\napp = \"a\"\n";
    line(
        with_app,
        "server_name = \"y\"",
        1,
        "unknown key `server_name` in a [site]",
        "aliases",
    );
    line(
        with_app,
        "listen = []",
        1,
        "unknown key `listen` in a [site]",
        "[gateway]",
    );
    line(with_app, "tls = \"aut\"", 7, "`tls` is \"aut\"", "\"auto\"");
    line(
        with_app,
        "tls = { cert = \"cert.pem\" }",
        1,
        "`tls` has no `key`",
        "key",
    );
    line(
        with_app,
        "tls = { certificate = \"c\", cert = \"cert.pem\", key = \"key.pem\" }",
        9,
        "unknown key `certificate` in `tls`",
        "`cert`",
    );
    line(
        with_app,
        "tls = { cert = \"no.pem\", key = \"key.pem\" }",
        16,
        "? there is no file /srv/no.pem",
        "auto",
    );
    wrong(
        "[site.x]\napp = \"a\"\nhsts = true\n",
        &["? 1:7 `hsts` without `tls`"],
    );
    line(
        "[gateway]\nlisten = \":8080\"\n[site.x]\napp = \"a\"\n",
        "tls = \"auto\"",
        1,
        "this site has `tls`, and no listener has",
        "443 tls",
    );
    line(
        "[site.\"*.x\"]\napp = \"a\"\n",
        "tls = \"auto\"",
        1,
        "there is no certificate for `*.x` with tls = \"auto\"",
        "name each host",
    );
}
