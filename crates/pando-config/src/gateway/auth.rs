//! `basic_auth`, `jwt`, `api_keys`: at most one of them.

use gateway_spec::{ApiKeys, Auth, Basic, Jwt, Secret};

use super::{field, headers, secret, upstreams};
use crate::app::Context;
use crate::command;
use crate::problem::{Place, Refusal, Report, did_you_mean};
use crate::table::{Table, Value, nothing_foreign};

const KEYS: [&str; 3] = ["basic_auth", "jwt", "api_keys"];
/// Users or keys in the file itself.
const MAX_NAMES: usize = 4096;
/// An HMAC key is at least as long as the hash (RFC 7518 section 3.2).
const MIN_SECRET_BYTES: usize = 32;

const ALGORITHMS: [&str; 12] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "EdDSA",
];

pub(super) fn read(table: &Table<'_>, context: &Context<'_>, report: &mut Report) -> Option<Auth> {
    let given: Vec<Value<'_>> = KEYS.iter().filter_map(|key| table.get(key)).collect();
    if let [first, second, ..] = &given[..] {
        let what = format!("the route has both `{}` and `{}`", first.key, second.key);
        let why = "a request proves who it is in one way";
        report.error(
            &second.key_place,
            Refusal::new(what, why, "remove one, or make it two routes"),
        );
    }
    let mut auths = given.iter().map(|value| match value.key {
        "basic_auth" => basic(value, context, report).map(Auth::Basic),
        "jwt" => jwt(value, context, report).map(Auth::Jwt),
        _ => api_keys(value, context, report).map(Auth::ApiKeys),
    });
    auths.next().flatten()
}

/// A path of an htpasswd file, or a table.
fn basic(value: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<Basic> {
    let mut basic = Basic {
        realm: "restricted".into(),
        users: Vec::new(),
        file: None,
    };
    if value.is_str() {
        basic.file = file(value, context, report);
        return basic.file.is_some().then_some(basic);
    }
    let table = value.table("basic_auth", "{ file = \"htpasswd\" }", report)?;
    table.only(&["realm", "users", "file"], nothing_foreign, report);
    field::set(&table, "realm", &mut basic.realm, report, |v, r| {
        let text = v.string("\"restricted\"", r)?;
        r.take(&v.place, headers::value(text))
            .map(|()| text.to_owned())
    });
    field::set(&table, "users", &mut basic.users, report, |v, r| {
        let names = names(v, context, r)?;
        for (name, secret, place) in &names {
            password(name, secret, place, r);
        }
        Some(
            names
                .into_iter()
                .map(|(name, secret, _)| (name, secret))
                .collect(),
        )
    });
    if let Some(value) = table.get("file") {
        basic.file = file(&value, context, report);
    }
    nobody(&table, "users", &["users", "file"], report)?;
    Some(basic)
}

/// Tells a hash that cannot be checked, and warns of a password that is none.
fn password(name: &str, secret: &Secret, place: &Place, report: &mut Report) {
    let text = secret.expose();
    let known = ["$2a$", "$2b$", "$2x$", "$2y$", "$apr1$", "{SHA}"];
    if known.iter().any(|prefix| text.starts_with(prefix)) {
        return;
    }
    let fix = "write what `htpasswd -nbB NAME PASSWORD` prints behind the colon";
    if text.starts_with('$') || text.starts_with('{') {
        let what = format!("the password of `{name}` is hashed in a way that is not known");
        let why = "known are bcrypt ($2y$), apr1 ($apr1$) and SHA ({SHA})";
        report.error(place, Refusal::new(what, why, fix));
        return;
    }
    let what = format!("the password of `{name}` is not hashed");
    let why = "whoever reads this file can use it";
    report.warning(place, Refusal::new(what, why, fix));
}

type Named = (String, Secret, Place);

/// `{ alice = "…", bob = { env = "BOB" } }`, in the order of the file.
fn names(value: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<Vec<Named>> {
    report.conceal(&value.place);
    let table = value.table(value.key, "{ alice = \"…\" }", report)?;
    let values = table.values();
    if let Some(first) = values.get(MAX_NAMES) {
        let what = format!("`{}` has more than {MAX_NAMES} names", value.key);
        report.error(
            &first.key_place,
            Refusal::new(what, "that is too long for this file", "use `file`"),
        );
        return None;
    }
    let mut names = Vec::new();
    for value in &values {
        if value.key.is_empty() || value.key.contains([':', '\0', '\n']) {
            let what = format!("`{}` cannot be a name here", value.key.escape_debug());
            report.error(
                &value.key_place,
                Refusal::new(what, "a colon ends a name", "choose another name"),
            );
            continue;
        }
        let secret = secret::read(value, context, report)?;
        names.push((value.key.to_owned(), secret, value.place.clone()));
    }
    Some(names)
}

/// A file that is not there is told, and refuses everybody until it is.
fn file(
    value: &Value<'_>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<std::path::PathBuf> {
    let path = field::path(value, "\"htpasswd\"", context, report)?;
    if !context.fs.is_file(&path) {
        let what = format!("there is no file {}", path.display());
        let why = "nobody it would name is let in until it is there";
        report.warning(&value.place, Refusal::new(what, why, "check the path"));
    }
    Some(path)
}

/// Neither of two sources is given: nobody could ever come in.
fn nobody(table: &Table<'_>, wanted: &str, sources: &[&str], report: &mut Report) -> Option<()> {
    if sources.iter().any(|key| table.get(key).is_some()) {
        return Some(());
    }
    let what = format!(
        "`{}` has neither `{}`",
        table.title,
        sources.join("` nor `")
    );
    let refusal = Refusal::new(what, "nobody could come in", format!("add `{wanted}`"));
    report.missing(&table.place, refusal);
    None
}

/// A JWKS by path or URL, or a table.
fn jwt(value: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<Jwt> {
    let mut jwt = Jwt {
        jwks: None,
        secret: None,
        algorithms: Vec::new(),
        issuer: None,
        audience: Vec::new(),
        cookie: None,
        forward: Vec::new(),
        leeway_seconds: 30,
    };
    if value.is_str() {
        jwt.jwks = jwks(value, context, report);
        return jwt.jwks.is_some().then_some(jwt);
    }
    let table = value.table(
        "jwt",
        "{ jwks = \"https://issuer.example/jwks.json\" }",
        report,
    )?;
    let keys = [
        "jwks",
        "secret",
        "algorithms",
        "issuer",
        "audience",
        "cookie",
        "forward",
        "leeway",
    ];
    table.only(&keys, nothing_foreign, report);
    field::set(&table, "jwks", &mut jwt.jwks, report, |v, r| {
        jwks(v, context, r).map(Some)
    });
    field::set(&table, "secret", &mut jwt.secret, report, |v, r| {
        hmac_key(v, context, r).map(Some)
    });
    field::set(
        &table,
        "algorithms",
        &mut jwt.algorithms,
        report,
        algorithms,
    );
    field::string(
        &table,
        "issuer",
        "\"https://issuer.example\"",
        &mut jwt.issuer,
        report,
    );
    field::strings(&table, "audience", "[\"api\"]", &mut jwt.audience, report);
    field::set(&table, "cookie", &mut jwt.cookie, report, cookie);
    field::set(&table, "forward", &mut jwt.forward, report, forward);
    let mut leeway_ms = jwt.leeway_seconds * 1000;
    field::duration_or_zero(&table, "leeway", &mut leeway_ms, report);
    jwt.leeway_seconds = leeway_ms / 1000;
    nobody(
        &table,
        "jwks = \"https://issuer.example/jwks.json\"",
        &["jwks", "secret"],
        report,
    )?;
    Some(jwt)
}

fn hmac_key(value: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<Secret> {
    let secret = secret::read(value, context, report)?;
    if secret.expose().len() < MIN_SECRET_BYTES {
        let why = "an HMAC key is at least 32 bytes (RFC 7518); a short one can be guessed";
        let refusal = Refusal::new("`secret` is short", why, "use `openssl rand -hex 32`");
        report.warning(&value.place, refusal);
    }
    Some(secret)
}

/// An http(s) URL as it is, a path made absolute.
fn jwks(value: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<String> {
    let text = value.string("\"https://issuer.example/jwks.json\"", report)?;
    if text.starts_with("https://") || text.starts_with("http://") {
        return Some(text.to_owned());
    }
    if let Some((scheme, _)) = text.split_once("://") {
        let what = format!("`{scheme}://` cannot be fetched");
        let why = "a JWKS is an http(s) URL, or a file";
        report.error(&value.place, Refusal::new(what, why, "use https://"));
        return None;
    }
    file(value, context, report)?;
    Some(command::absolute(context.dir, text).display().to_string())
}

fn algorithms(value: &Value<'_>, report: &mut Report) -> Option<Vec<String>> {
    let mut algorithms = Vec::new();
    for (text, place) in value.strings("[\"RS256\"]", report)? {
        if ALGORITHMS.contains(&text) {
            algorithms.push(text.to_owned());
            continue;
        }
        let what = format!("`{text}` is not an algorithm for tokens");
        let (why, fix) = if text.eq_ignore_ascii_case("none") {
            (
                "a token that is not signed proves nothing".to_owned(),
                "remove it".to_owned(),
            )
        } else {
            let near = did_you_mean(text, ALGORITHMS.iter().copied()).unwrap_or("RS256");
            (
                format!("known are {}", ALGORITHMS.join(", ")),
                format!("did you mean \"{near}\"?"),
            )
        };
        report.error(&place, Refusal::new(what, why, fix));
    }
    Some(algorithms)
}

fn cookie(value: &Value<'_>, report: &mut Report) -> Option<Option<String>> {
    let name = value.string("\"session\"", report)?;
    if !upstreams::is_cookie_name(name) {
        let what = format!("`{name}` cannot be the name of a cookie");
        let why = "a name has letters, digits, `-` and `_`";
        report.error(
            &value.place,
            Refusal::new(what, why, "write it like \"session\""),
        );
    }
    Some(Some(name.to_owned()))
}

/// `{ sub = "x-user" }`: claim and header.
fn forward(value: &Value<'_>, report: &mut Report) -> Option<Vec<(String, String)>> {
    let table = value.table("forward", "{ sub = \"x-user\" }", report)?;
    let mut pairs = Vec::new();
    for value in table.values() {
        let text = value.string("\"x-user\"", report);
        let name = text.and_then(|text| report.take(&value.place, headers::name(text)));
        pairs.extend(name.map(|name| (value.key.to_owned(), name)));
    }
    Some(pairs)
}

/// A path of a file with `name:key` lines, or a table.
fn api_keys(value: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<ApiKeys> {
    let mut keys = ApiKeys {
        header: "x-api-key".into(),
        query: None,
        keys: Vec::new(),
        file: None,
    };
    if value.is_str() {
        keys.file = file(value, context, report);
        return keys.file.is_some().then_some(keys);
    }
    let table = value.table("api_keys", "{ file = \"keys\" }", report)?;
    table.only(
        &["header", "query", "keys", "file"],
        nothing_foreign,
        report,
    );
    field::set(&table, "header", &mut keys.header, report, |v, r| {
        let text = v.string("\"x-api-key\"", r)?;
        r.take(&v.place, headers::name(text))
    });
    field::string(&table, "query", "\"key\"", &mut keys.query, report);
    field::set(&table, "keys", &mut keys.keys, report, |v, r| {
        let names = names(v, context, r)?;
        for (name, secret, place) in &names {
            key_hash(name, secret, place, r);
        }
        Some(
            names
                .into_iter()
                .map(|(name, secret, _)| (name, secret))
                .collect(),
        )
    });
    if let Some(value) = table.get("file") {
        keys.file = file(&value, context, report);
    }
    nobody(&table, "keys", &["keys", "file"], report)?;
    Some(keys)
}

fn key_hash(name: &str, secret: &Secret, place: &Place, report: &mut Report) {
    let Some(hex) = secret.expose().strip_prefix("sha256:") else {
        return;
    };
    if hex.len() != 64 || !hex.chars().all(|c| c.is_ascii_hexdigit()) {
        let what = format!("the hash of the key of `{name}` is not one");
        let why = "SHA-256 has 64 hexadecimal digits";
        let fix = "write what `printf %s KEY | sha256sum` prints";
        report.error(place, Refusal::new(what, why, fix));
    }
}
