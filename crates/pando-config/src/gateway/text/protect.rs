//! Who may ask, and how often.

use gateway_spec::{
    ApiKeys, Auth, Basic, ConnectionLimit, Cors, Jwt, KeyPart, Limit, Protect, Secret,
    SecurityHeaders,
};

use super::item::{Changed, Item};
use crate::units;

pub(super) fn keys(protect: &Protect, keys: &mut Changed) {
    for (key, nets) in [("allow", &protect.allow), ("deny", &protect.deny)] {
        if !nets.is_empty() {
            keys.push(key, Item::texts(nets.iter().map(ToString::to_string)));
        }
    }
    match &protect.limits[..] {
        [] => {}
        [one] => keys.push("limit", limit(one)),
        several => keys.push("limit", Item::List(several.iter().map(limit).collect())),
    }
    keys.some("connections", protect.connections.as_ref(), connections);
    match &protect.auth {
        None => {}
        Some(Auth::Basic(basic)) => keys.push("basic_auth", self::basic(basic)),
        Some(Auth::Jwt(jwt)) => keys.push("jwt", self::jwt(jwt)),
        Some(Auth::ApiKeys(api)) => keys.push("api_keys", api_keys(api)),
    }
    keys.some("cors", protect.cors.as_ref(), cors);
    keys.some("security_headers", protect.headers.as_ref(), security);
}

fn limit(limit: &Limit) -> Item {
    let mut keys = Changed::default();
    keys.push("per", parts(&limit.per));
    keys.push("rate", Item::text(rate(limit.rate, limit.period_ms)));
    keys.number("burst", limit.burst, 0_u32);
    keys.boolean("nodelay", limit.nodelay, true);
    keys.boolean("shared", limit.shared, false);
    keys.boolean("dry_run", limit.dry_run, false);
    keys.text("zone", limit.zone.as_ref());
    keys.table()
}

fn rate(rate: u32, period_ms: u64) -> String {
    match period_ms {
        1_000 => format!("{rate}/s"),
        60_000 => format!("{rate}/m"),
        3_600_000 => format!("{rate}/h"),
        ms => format!("{rate}/{}", units::show_duration(ms)),
    }
}

fn parts(parts: &[KeyPart]) -> Item {
    let texts: Vec<String> = parts
        .iter()
        .map(|part| match part {
            KeyPart::Ip => "ip".into(),
            KeyPart::Path => "path".into(),
            KeyPart::Everything => "everything".into(),
            KeyPart::Header(name) => format!("header:{name}"),
            KeyPart::Cookie(name) => format!("cookie:{name}"),
        })
        .collect();
    match &texts[..] {
        [one] => Item::text(one),
        _ => Item::texts(texts),
    }
}

fn connections(limit: &ConnectionLimit) -> Item {
    let max = Item::Number(u64::from(limit.max));
    if limit.per == [KeyPart::Ip] {
        return max;
    }
    Item::Table(vec![("per".into(), parts(&limit.per)), ("max".into(), max)])
}

fn names(names: &[(String, Secret)]) -> Item {
    let pair = |(name, secret): &(String, Secret)| {
        (name.clone(), Item::Secret(secret.expose().to_owned()))
    };
    Item::Table(names.iter().map(pair).collect())
}

fn basic(basic: &Basic) -> Item {
    let mut keys = Changed::default();
    keys.if_not("realm", &basic.realm.as_str(), &"restricted", |realm| {
        Item::text(*realm)
    });
    if !basic.users.is_empty() {
        keys.push("users", names(&basic.users));
    }
    keys.path("file", basic.file.as_ref());
    keys.table()
}

fn jwt(jwt: &Jwt) -> Item {
    let mut keys = Changed::default();
    keys.text("jwks", jwt.jwks.as_ref());
    keys.some("secret", jwt.secret.as_ref(), |secret| {
        Item::Secret(secret.expose().to_owned())
    });
    keys.texts("algorithms", &jwt.algorithms, &[]);
    keys.text("issuer", jwt.issuer.as_ref());
    keys.texts("audience", &jwt.audience, &[]);
    keys.text("cookie", jwt.cookie.as_ref());
    if !jwt.forward.is_empty() {
        let pairs = jwt
            .forward
            .iter()
            .map(|(claim, header)| (claim.clone(), Item::text(header)));
        keys.push("forward", Item::Table(pairs.collect()));
    }
    keys.duration("leeway", jwt.leeway_seconds * 1000, 30_000);
    keys.table()
}

fn api_keys(api: &ApiKeys) -> Item {
    let mut keys = Changed::default();
    keys.if_not("header", &api.header.as_str(), &"x-api-key", |name| {
        Item::text(*name)
    });
    keys.text("query", api.query.as_ref());
    if !api.keys.is_empty() {
        keys.push("keys", names(&api.keys));
    }
    keys.path("file", api.file.as_ref());
    keys.table()
}

fn cors(cors: &Cors) -> Item {
    let (mut keys, default) = (Changed::default(), Cors::default());
    keys.texts("origins", &cors.origins, &default.origins);
    keys.texts("methods", &cors.methods, &default.methods);
    keys.texts("headers", &cors.headers, &[]);
    keys.texts("expose", &cors.expose, &[]);
    keys.boolean("credentials", cors.credentials, false);
    keys.duration(
        "max_age",
        cors.max_age_seconds.saturating_mul(1000),
        default.max_age_seconds * 1000,
    );
    keys.table_or_true()
}

fn security(headers: &SecurityHeaders) -> Item {
    let (mut keys, default) = (Changed::default(), SecurityHeaders::default());
    keys.boolean(
        "content_type_options",
        headers.content_type_options,
        default.content_type_options,
    );
    for (key, value, default) in [
        (
            "frame_options",
            &headers.frame_options,
            &default.frame_options,
        ),
        (
            "referrer_policy",
            &headers.referrer_policy,
            &default.referrer_policy,
        ),
        (
            "content_security_policy",
            &headers.content_security_policy,
            &default.content_security_policy,
        ),
        (
            "permissions_policy",
            &headers.permissions_policy,
            &default.permissions_policy,
        ),
        (
            "cross_origin_opener_policy",
            &headers.cross_origin_opener_policy,
            &default.cross_origin_opener_policy,
        ),
    ] {
        keys.if_not(key, value, default, |value| match value {
            Some(text) => Item::text(text),
            None => Item::Bool(false),
        });
    }
    keys.table_or_true()
}
