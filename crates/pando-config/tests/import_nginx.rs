//! nginx's files, and what becomes of them.

mod world;

use std::path::Path;

use pando_config::import::{Imported, nginx};
use pando_config::{MemoryFs, parse};
use proptest::prelude::*;
use world::{base_env, show};

fn import(text: &str) -> Imported {
    let fs = MemoryFs::new().with("/etc/nginx/nginx.conf", text);
    nginx(Path::new("/etc/nginx/nginx.conf"), &fs).unwrap_or_else(|p| panic!("{text}\n{p}"))
}

/// The whole output, which must be read back as what was written.
fn toml(text: &str) -> String {
    let imported = import(text);
    let toml = imported.to_toml(Path::new("/etc/nginx/nginx.conf"));
    let mut fs = MemoryFs::new();
    fs.root = true;
    let (file, _) = parse(&toml, Path::new("/srv/pando.toml"), &base_env(), &fs)
        .unwrap_or_else(|p| panic!("{toml}\n{}", show(&p)));
    assert_eq!(file.gateway, Some(imported.spec), "{toml}");
    toml
}

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/nginx/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).expect("the fixture is there")
}

/// The files that people have, and all of what comes out. `UPDATE=1` writes the latter anew.
#[test]
fn whole_files() {
    for name in [
        "round-robin",
        "ip-hash",
        "production",
        "certbot",
        "kitchen-sink",
    ] {
        let got = toml(&fixture(&format!("{name}.conf")));
        if std::env::var_os("UPDATE").is_some() {
            let path = format!("{}/tests/nginx/{name}.toml", env!("CARGO_MANIFEST_DIR"));
            std::fs::write(path, &got).expect("the fixture can be written");
        }
        assert_eq!(got, fixture(&format!("{name}.toml")), "{name}");
    }
}

/// One server with these lines, without the comments.
fn server(lines: &str) -> String {
    let text = format!("server {{ listen 80; server_name x _;\n{lines}\n}}");
    let toml = toml(&text);
    let (_, body) = toml
        .split_once("[site.x]")
        .or_else(|| toml.split_once("[site.\"x\"]"))
        .unwrap_or(("", &toml));
    body.to_owned()
}

/// Notes of one server, `line: why`.
fn notes(lines: &str) -> Vec<String> {
    let text = format!("server {{ listen 80; server_name x _;\n{lines}\n}}");
    let notes = import(&text).notes;
    notes
        .iter()
        .map(|note| format!("{}: {}", note.line, note.why))
        .collect()
}

#[test]
fn a_directive_and_its_keys() {
    for (lines, expect) in [
        (
            "return 301 https://$host$request_uri;",
            "redirect = { to = \"https://{host}{uri}\", status = 301 }",
        ),
        (
            "return 302 https://$server_name/;",
            "redirect = \"https://x/\"",
        ),
        ("return 404;", "respond = 404"),
        (
            "return 200 ok;",
            "respond = { status = 200, body = \"ok\" }",
        ),
        (
            "location / { proxy_pass http://h; }",
            "upstreams = [\"h:80\"], preserve_host = false",
        ),
        (
            "location / { proxy_pass http://h; proxy_set_header Host $host; }",
            "{ path = \"/*\", upstreams = [\"h:80\"] }",
        ),
        (
            "location / { proxy_pass http://127.0.0.1:3000; }",
            "{ path = \"/*\", upstreams = [\"127.0.0.1:3000\"] }",
        ),
        (
            "location / { proxy_pass http://unix:/run/x.sock; }",
            "upstreams = [\"unix:/run/x.sock\"]",
        ),
        (
            "location / { proxy_pass http://unix:/run/x.sock:/v1/; }",
            "rewrite = { prefix = \"/v1/\" }",
        ),
        (
            "location /a/ { proxy_pass http://[::1]:3000/; }",
            "upstreams = [\"[::1]:3000\"], strip_prefix = true",
        ),
        (
            "location /a/ { proxy_pass http://1.1.1.1/b/; }",
            "rewrite = { prefix = \"/b/\" }",
        ),
        (
            "location /a/ { proxy_pass http://1.1.1.1/a/; }",
            "{ path = \"/a/*\", upstreams = [\"1.1.1.1:80\"] }",
        ),
        (
            "location = /a { proxy_pass http://1.1.1.1/b; }",
            "rewrite = \"/b{query}\"",
        ),
        (
            "location /a { rewrite ^/a/?(.*)$ /$1 break; proxy_pass http://1.1.1.1; }",
            "rewrite = { regex = \"^/a/?(.*)$\", to = \"/${1}\" }",
        ),
        (
            "location / { proxy_pass http://1.1.1.1; proxy_read_timeout 86400s; }",
            "pool = { read = \"24h\" }, timeout = \"24h\"",
        ),
        (
            "location / { proxy_pass http://1.1.1.1; proxy_connect_timeout 2; }",
            "pool = { connect = \"2s\" }",
        ),
        (
            "location / { proxy_pass http://1.1.1.1; proxy_next_upstream off; }",
            "retry = false",
        ),
        (
            "location / { proxy_pass http://1.1.1.1; proxy_next_upstream_tries 2; }",
            "retry = 1",
        ),
        (
            "location / { proxy_pass http://1.1.1.1; proxy_request_buffering off; }",
            "buffer = false",
        ),
        (
            "location / { proxy_pass http://1.1.1.1; proxy_hide_header X-Powered-By; }",
            "response_headers = { remove = [\"x-powered-by\"] }",
        ),
        (
            "location / { proxy_pass http://1.1.1.1; proxy_set_header Accept-Encoding \"\"; }",
            "request_headers = { remove = [\"accept-encoding\"] }",
        ),
        (
            "location / { proxy_pass http://1.1.1.1; expires 1h; }",
            "response_headers = { set = { cache-control = \"max-age=3600\" } }",
        ),
        ("location / { root /srv/www; }", "files = \"/srv/www\""),
        (
            "location / { root /srv/www; expires -1; }",
            "cache_control = \"no-cache\"",
        ),
        (
            "location /f/ { alias /srv/f/; }",
            "files = \"/srv/f\", strip_prefix = true",
        ),
        (
            "location = /icon { alias /srv/a/b.ico; }",
            "files = \"/srv/a\", rewrite = \"/b.ico\"",
        ),
        (
            "root /srv/www; location / { try_files $uri /app.html; }",
            "spa = \"app.html\"",
        ),
        (
            "location /a/ { alias /srv/a/; try_files $uri /a/index.html; }",
            "spa = \"index.html\"",
        ),
        (
            "location /.well-known/ { root /srv/acme; }",
            "dotfiles = true",
        ),
        (
            "root /srv/www; location ~ \\.(jpe?g|css)$ { expires 30d; }",
            "{ path = \"/*.{jpeg,jpg,css}\", files = \"/srv/www\", cache_control = \"max-age=2592000\" }",
        ),
        ("root /srv/www; gzip off;", "compress = false"),
        (
            "root /srv/www; gzip on; gzip_comp_level 5;",
            "compress = { level = 5 }",
        ),
        ("root /srv/www; client_max_body_size 50m;", "body = \"50M\""),
        (
            "root /srv/www; deny 10.0.0.1; allow 10.0.0.0/8; deny all;",
            "allow = [\"10.0.0.0/8\"], deny = [\"10.0.0.1/32\"]",
        ),
        (
            "root /srv/www; deny 10.0.0.1; allow all;",
            "deny = [\"10.0.0.1/32\"]",
        ),
        (
            "root /srv/www; deny all;",
            "deny = [\"0.0.0.0/0\", \"::/0\"]",
        ),
        (
            "root /srv/www; add_header X-A \"b c\" always;",
            "response_headers = { add = { x-a = \"b c\" } }",
        ),
        (
            "rewrite ^/old$ /new permanent; root /srv/www;",
            "{ path = \"/old\", redirect = { to = \"/new{query}\", status = 301 } }",
        ),
        (
            "rewrite ^/(.*)$ https://y/$1 permanent;",
            "redirect = { to = \"https://y{path}{query}\", status = 301 }",
        ),
    ] {
        let got = server(lines);
        assert!(got.contains(expect), "{lines}\n{got}");
        let silent: Vec<String> = notes(lines)
            .into_iter()
            .filter(|note| !note.contains("names with an extension"))
            .collect();
        assert_eq!(silent, [""; 0], "{lines}");
    }
}

#[test]
fn the_order_is_that_of_nginx() {
    let text = server(
        "location / { root /r; }\nlocation /a/b/ { root /r; }\nlocation ~ ^/re/ { root /r; }\nlocation /a/ { root /r; }\n\
         location ^~ /a/c/ { root /r; }\nlocation = /a/ { root /r; }\nlocation ^~ /a/c/d/ { root /r; location /a/c/d/e/ { root /n; } }",
    );
    let paths: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split("path = \"").nth(1)?.split('"').next())
        .collect();
    assert_eq!(
        paths,
        [
            "/a/",
            "/a/c/d/e/*",
            "/a/c/d/*",
            "/a/c/*",
            "/re/*",
            "/a/b/*",
            "/a/*",
            "/*"
        ]
    );
}

#[test]
fn what_cannot_be_said_is_listed() {
    for (lines, expect) in [
        (
            "location / { fastcgi_pass x; }",
            "2: Pando's upstreams speak HTTP",
        ),
        (
            "location / { proxy_pass http://$x; }",
            "2: the address is computed",
        ),
        (
            "location ~ [0-9] { root /r; }",
            "2: a route's path is exact",
        ),
        (
            "location / { root $document_root; }",
            "2: the directory is computed",
        ),
        (
            "root /r;\nfrobnicate on;",
            "3: Pando does not know this directive",
        ),
        ("root /r; error_page 404 /x;", "2: Pando has no error pages"),
        (
            "root /r; if ($http_x) { return 403; }",
            "2: Pando has no conditions",
        ),
        ("root /r; set $a b;", "2: Pando has no variables"),
        ("root /r; autoindex on;", "2: directories are not listed"),
        (
            "root /r; add_header X-A $upstream_addr;",
            "2: a value cannot hold `$upstream_addr`",
        ),
        (
            "root /r; limit_req zone=none;",
            "2: there is no limit_req_zone `none`",
        ),
        ("root /r; auth_request /auth;", "2: use `jwt`"),
        ("root /r; include none.conf;", "2: there is no such file"),
        (
            "location / { root /r; try_files $uri $uri/ /index.php?$args; }",
            "2: `/index.php?$args` is not served",
        ),
        ("return 444;", "2: nginx closes the connection"),
        (
            "listen 443 quic; root /r;",
            "2: Pando does not speak HTTP/3",
        ),
    ] {
        let got = notes(lines);
        assert!(
            got.iter().any(|note| note.starts_with(expect)),
            "{lines}\n{got:?}"
        );
    }
}

#[test]
fn what_is_no_nginx_is_refused() {
    let fs = MemoryFs::new().with("/x.conf", "server {\n listen 80\n}");
    let problem = nginx(Path::new("/x.conf"), &fs).unwrap_err();
    assert!(problem.is_error() && problem.line == 3, "{problem}");
    assert!(nginx(Path::new("/none.conf"), &fs).is_err());
}

/// Words of which nearly all of a configuration is made.
const PIECES: &[&str] = &[
    "server",
    "location",
    "upstream",
    "listen",
    "server_name",
    "proxy_pass",
    "root",
    "alias",
    "return",
    "rewrite",
    "try_files",
    "if",
    "limit_req",
    "limit_req_zone",
    "limit_conn",
    "limit_conn_zone",
    "add_header",
    "expires",
    "allow",
    "deny",
    "all",
    "index",
    "proxy_set_header",
    "gzip",
    "gzip_types",
    "on",
    "off",
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl",
    "proxy_cache",
    "proxy_cache_path",
    "proxy_cache_valid",
    "hash",
    "ip_hash",
    "auth_basic",
    "auth_basic_user_file",
    "access_log",
    "user",
    "http",
    "include",
    "map",
    "keepalive",
    "weight=3",
    "zone=a:1m",
    "zone=a",
    "rate=1r/s",
    "burst=2",
    "a",
    "b:1",
    "/",
    "/a/",
    "/x",
    "=",
    "~",
    "~*",
    "^~",
    "^/(a|b)/",
    "\\.css$",
    "80",
    "443",
    "0",
    "-1",
    "10m",
    "30s",
    "max",
    "http://a",
    "http://b:1/x",
    "https://c/",
    "unix:/s",
    "http://unix:/s:/u",
    "$host",
    "$uri",
    "$request_uri",
    "$1",
    "${x}",
    "$http_a",
    "$binary_remote_addr",
    "@n",
    "=404",
    "/index.html",
    "301",
    "200",
    "404",
    "permanent",
    "break",
    "x.y",
    "*.x",
    ".x",
    "_",
    "\"a b\"",
    "''",
    "é",
    "10.0.0.0/8",
    "::1",
    "[::]:80",
    "default_server",
    "default_type",
    "text/plain",
    "client_max_body_size",
    ";",
    ";",
    ";",
    ";",
    ";",
    ";",
    "{",
    "{",
    "{",
    "}",
    "}",
    "}",
    "\n",
    "#",
];

fn nearly_nginx() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..80).prop_map(|pieces| pieces.join(" "))
}

/// Whole directives, so that most of it is understood.
fn directives() -> impl Strategy<Value = String> {
    let directive = prop::collection::vec(prop::sample::select(PIECES), 1..5).prop_map(|words| {
        words
            .into_iter()
            .filter(|word| !";{}#\n".contains(*word))
            .collect::<Vec<_>>()
            .join(" ")
            + ";"
    });
    let location = (
        prop::sample::select(vec!["/", "/a/", "= /x", "^~ /b", "~ ^/(c|d)/", "@n"]),
        prop::collection::vec(directive.clone(), 0..6),
    )
        .prop_map(|(path, lines)| format!("location {path} {{ {} }}", lines.join(" ")));
    let server = (
        prop::collection::vec(directive, 0..6),
        prop::collection::vec(location, 0..4),
    )
        .prop_map(|(lines, locations)| {
            format!("server {{ {} {} }}", lines.join(" "), locations.join(" "))
        });
    prop::collection::vec(server, 1..4).prop_map(|servers| {
        format!("limit_req_zone $http_a$binary_remote_addr zone=a:1m rate=1r/s; limit_conn_zone $host zone=a:1m; upstream a {{ server b:1; }} {}", servers.join(" ").replace(" ;", " x;"))
    })
}

fn check(text: &str) {
    let fs = MemoryFs::new().with("/etc/nginx/nginx.conf", text);
    match nginx(Path::new("/etc/nginx/nginx.conf"), &fs) {
        Ok(imported) if imported.spec.sites.is_empty() => {}
        Ok(_) => {
            toml(text);
        }
        Err(problem) => assert!(problem.is_error() && !problem.to_string().is_empty()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in "\\PC*") {
        check(&text);
    }

    #[test]
    fn whatever_is_imported_can_be_read_back(text in nearly_nginx(), more in directives()) {
        check(&text);
        check(&format!("server {{ {text} }}"));
        check(&format!("server {{ location / {{ {text} }} }}"));
        check(&more);
    }
}
