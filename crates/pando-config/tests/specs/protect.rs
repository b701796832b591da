//! Who may ask, and how often.

use gateway_spec::*;
use proptest::prelude::*;

use super::{name, net, path, text};

pub fn key_parts() -> impl Strategy<Value = Vec<KeyPart>> {
    let part = prop_oneof![
        Just(KeyPart::Ip),
        Just(KeyPart::Path),
        Just(KeyPart::Everything),
        name().prop_map(KeyPart::Header),
        name().prop_map(KeyPart::Cookie),
    ];
    prop::collection::vec(part, 1..3)
}

pub fn limit() -> impl Strategy<Value = Limit> {
    let first = (
        key_parts(),
        prop::option::of(text()),
        1_u32..1000,
        2_u64..86_400_000,
    );
    (first, 0_u32..50, any::<[bool; 3]>()).prop_map(
        |((per, zone, rate, period_ms), burst, [nodelay, shared, dry_run])| Limit {
            per,
            zone,
            rate,
            period_ms,
            burst,
            nodelay,
            shared,
            dry_run,
        },
    )
}

pub fn named() -> impl Strategy<Value = Vec<(String, Secret)>> {
    prop::collection::btree_map(name(), "[a-z]{1,9}", 0..3)
        .prop_map(|map| map.into_iter().map(|(k, v)| (k, Secret::new(v))).collect())
}

pub fn auth() -> impl Strategy<Value = Auth> {
    let basic = (text(), named(), path()).prop_map(|(realm, users, file)| {
        Auth::Basic(Basic {
            realm,
            users,
            file: Some(file),
        })
    });
    let jwt = (
        text(),
        prop::option::of(text()),
        prop::option::of(name()),
        0_u64..100,
    )
        .prop_map(|(secret, issuer, cookie, leeway_seconds)| {
            Auth::Jwt(Jwt {
                jwks: Some("/srv/jwks".into()),
                secret: Some(Secret::new(secret)),
                algorithms: vec!["HS256".into()],
                audience: issuer.iter().cloned().collect(),
                issuer,
                cookie,
                forward: vec![("https://claim/x".into(), "x-user".into())],
                leeway_seconds,
            })
        });
    let keys = (name(), prop::option::of(text()), named(), path()).prop_map(
        |(header, query, keys, file)| {
            Auth::ApiKeys(ApiKeys {
                header,
                query,
                keys,
                file: Some(file),
            })
        },
    );
    prop_oneof![basic, jwt, keys]
}

pub fn cors() -> impl Strategy<Value = Cors> {
    (
        prop::collection::vec(name(), 0..2),
        0_u64..1_000_000,
        any::<bool>(),
    )
        .prop_map(|(headers, max_age_seconds, own)| Cors {
            origins: vec![if own { "https://a.example" } else { "*" }.into()],
            expose: headers.clone(),
            headers,
            credentials: own,
            max_age_seconds,
            ..Cors::default()
        })
}

pub fn security() -> impl Strategy<Value = SecurityHeaders> {
    (
        any::<bool>(),
        prop::option::of(text()),
        prop::option::of(text()),
    )
        .prop_map(|(on, one, other)| SecurityHeaders {
            content_type_options: on,
            frame_options: one.clone(),
            referrer_policy: other.clone(),
            content_security_policy: other.clone(),
            permissions_policy: one,
            cross_origin_opener_policy: other,
        })
}

pub fn protect() -> impl Strategy<Value = Protect> {
    let max = (key_parts(), 1_u32..100).prop_map(|(per, max)| ConnectionLimit { per, max });
    (
        prop::collection::vec(net(), 0..3),
        prop::collection::vec(net(), 0..3),
        prop::collection::vec(limit(), 0..3),
        prop::option::of(max),
        prop::option::of(auth()),
        prop::option::of(cors()),
        prop::option::of(security()),
    )
        .prop_map(
            |(allow, deny, limits, connections, auth, cors, headers)| Protect {
                allow,
                deny,
                limits,
                connections,
                auth,
                cors,
                headers,
            },
        )
}
