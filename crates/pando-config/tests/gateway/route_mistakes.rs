//! Every mistake of a route with its exact place.

use super::mistakes::{app, line, route, wrong};
use super::read;
use super::world::show;

#[test]
fn in_a_route() {
    wrong(
        "[[site.x.routes]]\npath = \"/\"\n",
        &["1:1 the route does nothing"],
    );
    wrong("[site.x]\n", &["1:7 [site.\"x\"] has no routes"]);
    route(
        "upstream = \"h:1\"",
        1,
        "unknown key `upstream` in a route",
        "`upstreams`",
    );
    app(
        "files = \"public\"",
        1,
        "the route has both `app` and `files`",
        "two routes",
    );
    app(
        "upstreams = \"h:1\"",
        1,
        "the route has both `app` and `upstreams`",
        "split",
    );
    app("path = \"a\"", 8, "`a` is not a path to match", "\"/a\"");
    app(
        "path = \"/*php\"",
        8,
        "`/*php` is not a path to match",
        "write \"/*\"",
    );
    app(
        "location = \"/\"",
        1,
        "unknown key `location` in a route",
        "`path`",
    );
    app(
        "websocket = true",
        1,
        "unknown key `websocket` in a route",
        "without a setting",
    );
    app(
        "methods = [\"G T\"]",
        12,
        "`G T` is not a method",
        "all methods",
    );
    app(
        "headers = { \"a b\" = \"1\" }",
        13,
        "`a b` is not the name of a header",
        "x-request-id",
    );
    app(
        "headers = { a = false }",
        17,
        "`a = false` cannot be matched",
        "before this one",
    );
    app(
        "spa = true",
        1,
        "? `spa` has no effect beside `app`",
        "remove",
    );
    app(
        "path = \"/a\"\nstrip_prefix = true",
        1,
        "`/a` has no prefix that could be changed",
        "/a/*",
    );
    app(
        "rewrite = { regex = \"(\", to = \"/\" }",
        21,
        "`regex` is not a regular expression",
        "groups",
    );
    app(
        "rewrite = { regex = \"(\" }",
        11,
        "`rewrite` does not say how",
        "prefix",
    );
    app("rewrite = \"a\"", 11, "`a` is not a path", "/new/");
    app(
        "rewrite = \"/{hots}\"",
        11,
        "`{hots}` stands for nothing",
        "`{host}`",
    );
    app(
        "request_headers = { set = { connection = \"x\" } }",
        19,
        "`connection` cannot be changed",
        "remove",
    );
    app(
        "response_headers = { set = { a = \"x\\ny\" } }",
        34,
        "the value of a header has a control character",
        "one line",
    );
    app(
        "response_headers = { put = {} }",
        22,
        "unknown key `put` in [response_headers]",
        "set, add, remove",
    );
    app(
        "response_headers = { set = { a = \"{id}\" } }",
        34,
        "`{id}` stands for nothing",
        "known are {host}",
    );
    app("timeout = 60", 11, "`60` has no unit", "60s");
    app("body = \"big\"", 8, "`big` is not a size", "512M");
    app("cache = \"10\"", 9, "`10` has no unit", "10s");
    app(
        "cache = { tll = \"1m\" }",
        11,
        "unknown key `tll` in [cache]",
        "`ttl`",
    );
    app(
        "compress = { encodings = \"brotli\" }",
        26,
        "`brotli` is not an encoding",
        "\"br\"",
    );
    app(
        "compress = { types = \"json\" }",
        22,
        "`json` is not a media type",
        "application/json",
    );
    route(
        "redirect = \"example.com\"",
        12,
        "`example.com` is not where a browser can go",
        "https://example.com",
    );
    route(
        "redirect = { to = \"/\", status = 304 }",
        33,
        "304 is not a redirect",
        "308",
    );
    route(
        "redirect = \"/{id}\"",
        12,
        "`{id}` stands for nothing",
        "{uri}",
    );
}

#[test]
fn in_what_serves() {
    route(
        "files = \"none\"",
        9,
        "? there is no directory /srv/none",
        "create it",
    );
    route(
        "files = { dir = \"x\", root = \"public\" }",
        11,
        "unknown key `dir` in [files]",
        "the keys here",
    );
}

#[test]
fn in_upstreams_and_splits() {
    wrong(
        "[[site.x.routes]]\nsplit = [{ weight = 0, app = \"a\" }]",
        &[
            "2:9 all weights of `split` are zero",
            "2:10 this branch is never chosen",
        ],
    );
    let list = |text: &str, column, what: &str, fix: &str| {
        line("[[site.x.routes]]\n", text, column, what, fix);
    };
    list("upstreams = []", 13, "`upstreams` has 0 addresses", "app1");
    list("upstreams = \"h\"", 13, "`h` is not an upstream", "h:3000");
    list(
        "upstreams = [\"h:1\", \"H:1\"]",
        21,
        "`h:1` is listed twice",
        "weight",
    );
    list(
        "upstreams = [{ host = \"h\" , address = \"h:1\" }]",
        16,
        "unknown key `host` in an upstream",
        "`address`",
    );
    list(
        "upstreams = [{ weight = 1 }]",
        14,
        "this upstream has no `address`",
        "address = ",
    );
    list(
        "upstreams = [{ address = \"h:1\", weight = 0 }]",
        42,
        "`weight` is 0",
        "weight = 3",
    );
    list(
        "upstreams = [{ address = \"h:1\", backup = true }]",
        13,
        "all upstreams are backups",
        "backup",
    );
    list(
        "upstreams = [\"h:1\", 5]",
        21,
        "`upstreams` is a number",
        "app1",
    );
    list(
        "app = \"all\"",
        7,
        "`all` cannot be the name of an app",
        "another",
    );
    list(
        "split = []",
        9,
        "`split` is not a list of branches",
        "weight = 90",
    );
    list(
        "split = [{ weight = 0, app = \"a\", header = \"x: 1\" }]",
        9,
        "all weights of `split` are zero",
        "weight",
    );
    list(
        "split = [{ weight = 1 }]",
        10,
        "a branch of `split` goes to one place",
        "one of the two",
    );
    list(
        "split = [{ weight = 1, app = \"a\", cookie = \"c\" }]",
        44,
        "`c` is not a cookie with its value",
        "canary=1",
    );
    app(
        "balance = \"round_robin\"",
        11,
        "`balance` is \"round_robin\"",
        "\"round-robin\"",
    );
    app(
        "balance = \"random\"\nhash_key = \"ip\"",
        1,
        "`hash_key` has no effect with this balance",
        "ring-hash",
    );
    app(
        "hash_key = \"headr:x\"",
        12,
        "`headr:x` is not what a hash is made of",
        "header:x-user",
    );
    app("retry = 11", 9, "`retry` is 11", "retry = 2");
    app(
        "retry = { statuses = [200] }",
        23,
        "`statuses` has an item that is no such number",
        "statuses",
    );
    app(
        "health = \"up\"",
        10,
        "`up` is not a path to ask for",
        "/healthz",
    );
    app(
        "health = { statuses = [400, 200] }",
        23,
        "`statuses` is not a range",
        "[200, 399]",
    );
    app(
        "outlier = { eject = \"1h\" }",
        11,
        "`eject` is longer than `max_eject`",
        "longer",
    );
    app(
        "breaker = { error_share = 1.5 }",
        27,
        "`error_share` is not a share",
        "0.2",
    );
    app(
        "sticky = \"a b\"",
        10,
        "`a b` cannot be the name of a cookie",
        "pando_sticky",
    );
    app(
        "proxy_protocol = \"3\"",
        18,
        "`proxy_protocol` is \"3\"",
        "v1",
    );
    app(
        "upstream_tls = { insecure = true }",
        18,
        "? the upstream's certificate is not checked",
        "ca",
    );
    app(
        "upstream_tls = { cert = \"c\" }",
        18,
        "`upstream_tls` has only `cert`",
        "both",
    );
    wrong(
        "[app.api]\nscript = \"s.js\"\n[site.x]\nroutes = [{ app = \"apj\" }]",
        &["4:19 a route goes to `apj`, and there is no such app"],
    );
}

#[test]
fn in_what_protects() {
    app(
        "allow = \"10.0.0\"",
        9,
        "`10.0.0` is not a network",
        "10.0.0.0/8",
    );
    app(
        "limit = { per = \"ip\" }",
        1,
        "`limit` has no `rate`",
        "rate = ",
    );
    app(
        "limit = { rate = \"10\" }",
        18,
        "`10` is not a rate",
        "10/s",
    );
    app(
        "limit = { rate = \"10/s\", per = \"IP\" }",
        32,
        "`IP` is not what can be counted",
        "\"ip\"",
    );
    app(
        "limit = { rate = \"10/s\", key = \"ip\" }",
        26,
        "unknown key `key` in a limit",
        "`per`",
    );
    app(
        "limit = { rate = \"10/s\", shared = true }",
        26,
        "a limit is `shared`, and there is no Redis",
        "redis = ",
    );
    app(
        "connections = { per = \"ip\" }",
        1,
        "`connections` has no `max`",
        "max = 10",
    );
    app(
        "jwt = \"ftp://x\"",
        7,
        "`ftp://` cannot be fetched",
        "https://",
    );
    app(
        "jwt = { issuer = \"x\" }",
        1,
        "`jwt` has neither `jwks` nor `secret`",
        "jwks",
    );
    app(
        "jwt = { jwks = \"jwks.json\", algorithms = [\"none\"] }",
        43,
        "`none` is not an algorithm for tokens",
        "remove",
    );
    app(
        "jwt = { jwks = \"jwks.json\", algorithms = [\"RS25\"] }",
        43,
        "`RS25` is not an algorithm for tokens",
        "\"RS256\"",
    );
    app(
        "jwt = { secret = \"short\" }",
        18,
        "? `secret` is short",
        "openssl",
    );
    app(
        "basic_auth = { realm = \"r\" }",
        1,
        "`basic_auth` has neither `users` nor `file`",
        "users",
    );
    app(
        "basic_auth = { users = { bob = \"pw\" } }",
        32,
        "? the password of `bob` is not hashed",
        "htpasswd",
    );
    app(
        "basic_auth = { users = { bob = \"$6$x\" } }",
        32,
        "the password of `bob` is hashed in a way that is not known",
        "htpasswd",
    );
    app(
        "basic_auth = \"none\"",
        14,
        "? there is no file /srv/none",
        "path",
    );
    app(
        "api_keys = { keys = { bob = \"sha256:12\" } }",
        29,
        "the hash of the key of `bob` is not one",
        "sha256sum",
    );
    app(
        "basic_auth = \"htpasswd\"\njwt = \"https://i/k\"",
        1,
        "the route has both `basic_auth` and `jwt`",
        "two routes",
    );
    app(
        "cors = { credentials = true }",
        8,
        "`credentials` with every origin",
        "origins",
    );
    app(
        "cors = { origins = \"https://a.b/c\" }",
        20,
        "`https://a.b/c` is not an origin",
        "\"https://a.b\"",
    );
    app(
        "security_headers = { frame_options = true }",
        38,
        "`frame_options = true` does not say which",
        "false",
    );
}

#[test]
fn secrets_are_not_shown() {
    for text in [
        "basic_auth = { users = { bob = \"hidden\" } }",
        "jwt = { secret = \"hidden\" }",
        "api_keys = { keys = { bob = \"sha256:hidden\" } }",
    ] {
        let text =
            format!("[gateway]\nredis = \"hidden\"\n[[site.x.routes]]\napp = \"a\"\n{text}\n");
        let problems = read(&text).unwrap_err();
        let shown: String = show(&problems);
        assert!(!shown.contains("hidden"), "{shown}");
        assert!(problems.len() >= 2 || shown.contains("redis"), "{shown}");
    }
}

#[test]
fn routes_that_nothing_reaches() {
    wrong(
        "[site.x]\nroutes = [\n{ app = \"a\" },\n{ path = \"/b\", app = \"b\" },\n]\n",
        &["? 4:10 the route `/b` is never reached"],
    );
    wrong(
        "[site.x]\nroutes = [\n{ methods = \"GET\", app = \"a\" },\n{ path = \"/b\", app = \"b\" },\n{ path = \"/b\", methods = \"POST\", app = \"b\" },\n]\n",
        &["? 5:10 the route `/b` is never reached"],
    );
    let fine = "[site.x]\nroutes = [\n{ files = \"public\", fall_through = true },\n{ headers = { a = \"1\" }, app = \"a\" },\n{ headers = { a = true }, app = \"a\" },\n{ app = \"b\" },\n]\n";
    wrong(fine, &[]);
}
