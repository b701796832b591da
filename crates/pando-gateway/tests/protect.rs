//! Protection as a route calls it.

#![expect(clippy::unwrap_used, reason = "a test panics")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use gateway_spec::{ApiKeys, Auth, Basic, Cors, Jwt, Secret, SecurityHeaders};
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{Request, Response};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use pando_gateway::body::Body;
use pando_gateway::client::{Client, Scheme};
use pando_gateway::protect::{Granted, Protect};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn client(ip: &str) -> Client {
    Client {
        ip: ip.parse().unwrap(),
        peer: "127.0.0.1:1".parse().unwrap(),
        local: "127.0.0.1:2".parse().unwrap(),
        scheme: Scheme::Http,
    }
}

fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn auth(auth: Auth) -> Protect {
    Protect::new(&gateway_spec::Protect {
        auth: Some(auth),
        ..gateway_spec::Protect::default()
    })
}

async fn ask(protect: &Protect, head: &mut Parts) -> Result<Granted, Response<Body>> {
    protect.check(&client("192.0.2.1"), head).await
}

async fn status(protect: &Protect, uri: &str, headers: &[(&str, &str)]) -> u16 {
    match ask(protect, &mut head(uri, headers)).await {
        Ok(_) => 200,
        Err(response) => response.status().as_u16(),
    }
}

/// Polls: files are looked at again every few seconds, in the background.
async fn soon(protect: &Protect, uri: &str, headers: &[(&str, &str)], expected: u16) {
    for _ in 0..600 {
        if status(protect, uri, headers).await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never {expected}");
}

#[tokio::test]
async fn nothing_configured_is_nothing_done() {
    let protect = Protect::new(&gateway_spec::Protect::default());
    assert!(protect.is_empty());
    let mut head = head("/", &[("x-api-key-name", "kept")]);
    let granted = ask(&protect, &mut head).await.unwrap();
    assert!(granted.user.is_none() && head.headers.len() == 1);
}

#[tokio::test]
async fn by_address() {
    let protect = Protect::new(&gateway_spec::Protect {
        allow: vec!["10.0.0.0/8".parse().unwrap()],
        headers: Some(SecurityHeaders::default()),
        ..gateway_spec::Protect::default()
    });
    assert!(!protect.is_empty());
    assert!(
        protect
            .check(&client("10.1.1.1"), &mut head("/", &[]))
            .await
            .is_ok()
    );
    let refused = protect
        .check(&client("192.0.2.1"), &mut head("/", &[]))
        .await
        .unwrap_err();
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn basic_spec(users: &[(&str, &str)], file: Option<&Path>) -> Auth {
    let users = users
        .iter()
        .map(|(name, hash)| (name.to_string(), Secret::new(*hash)));
    Auth::Basic(Basic {
        realm: "staff".into(),
        users: users.collect(),
        file: file.map(Into::into),
    })
}

#[tokio::test]
async fn basic_auth_with_every_kind_of_hash() {
    let protect = auth(basic_spec(
        &[
            (
                "bcrypt",
                "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC",
            ),
            ("apr1", "$apr1$qHDFfhPC$nITSVHgYbDAK1Y0acGRnY0"),
            ("sha", "{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE="),
            ("plain", "myPassword"),
        ],
        None,
    ));
    for user in ["bcrypt", "apr1", "sha", "plain"] {
        for _ in 0..3 {
            let line = basic(user, "myPassword");
            let granted = ask(&protect, &mut head("/", &[("authorization", &line)]))
                .await
                .unwrap();
            assert_eq!(granted.user.as_deref(), Some(user));
            let line = basic(user, "myPasswor");
            assert_eq!(
                status(&protect, "/", &[("authorization", &line)]).await,
                401,
                "{user}"
            );
        }
    }
    let refused = ask(&protect, &mut head("/", &[])).await.unwrap_err();
    assert_eq!(refused.status(), 401);
    assert_eq!(
        refused.headers()[WWW_AUTHENTICATE],
        "Basic realm=\"staff\", charset=\"UTF-8\""
    );
    let nobody = basic("nobody", "myPassword");
    assert_eq!(
        status(&protect, "/", &[("authorization", &nobody)]).await,
        401
    );
    let good = basic("sha", "myPassword");
    let twice = [
        ("authorization", good.as_str()),
        ("authorization", good.as_str()),
    ];
    assert_eq!(status(&protect, "/", &twice).await, 401);
}

#[tokio::test]
async fn an_htpasswd_file_may_come_and_change_but_its_absence_opens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("htpasswd");
    let protect = auth(basic_spec(&[], Some(&path)));
    let line = basic("ann", "myPassword");
    let headers = [("authorization", line.as_str())];
    let refused = ask(&protect, &mut head("/", &headers)).await.unwrap_err();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key(RETRY_AFTER));
    std::fs::write(&path, "ann:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=\n").unwrap();
    soon(&protect, "/", &headers, 200).await;
    std::fs::write(
        &path,
        "bob:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=\n# ann is gone\n",
    )
    .unwrap();
    soon(&protect, "/", &headers, 401).await;
}

#[tokio::test]
async fn api_keys() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    std::fs::write(&path, "carol:three\n").unwrap();
    let hex = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let protect = auth(Auth::ApiKeys(ApiKeys {
        header: "x-api-key".into(),
        query: Some("key".into()),
        keys: vec![
            ("ann".into(), Secret::new("o n/e")),
            ("bob".into(), Secret::new(format!("sha256:{hex}"))),
        ],
        file: Some(path),
    }));
    for (uri, key, holder) in [
        ("/", "o n/e", Some("ann")),
        ("/?key=o%20n%2Fe", "", Some("ann")),
        ("/", "secret", Some("bob")),
        ("/", "three", Some("carol")),
        ("/", hex, None),
        ("/", "one", None),
        ("/?key=", "", None),
        ("/?kex=secret", "", None),
        // The header counts where it is.
        ("/?key=secret", "wrong", None),
    ] {
        let forged = [
            ("x-api-key-name", "root"),
            ("x_api_key_name", "root"),
            ("x-api-key", key),
        ];
        let headers = if key.is_empty() {
            &forged[..2]
        } else {
            &forged
        };
        let mut head = head(uri, headers);
        let granted = ask(&protect, &mut head).await;
        assert_eq!(
            granted
                .as_ref()
                .ok()
                .and_then(|granted| granted.user.as_deref()),
            holder,
            "{uri} {key}"
        );
        assert!(!head.headers.contains_key("x_api_key_name"));
        let forwarded = head
            .headers
            .get("x-api-key-name")
            .map(|name| name.to_str().unwrap());
        assert_eq!(forwarded, holder, "{uri} {key}");
    }
}

fn jwt_spec() -> Jwt {
    serde_json::from_value(json!({"forward": [["sub", "x-user"], ["roles", "x-roles"]]})).unwrap()
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[tokio::test]
async fn jwt_with_a_secret() {
    let protect = auth(Auth::Jwt(Jwt {
        secret: Some(Secret::new("s")),
        cookie: Some("session".into()),
        ..jwt_spec()
    }));
    let claims = json!({"sub": "ann", "roles": ["a", "b"], "exp": now() + 600});
    let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(b"s")).unwrap();
    let bearer = format!("Bearer {token}");
    let mut asked = head(
        "/",
        &[
            ("authorization", &bearer),
            ("x-user", "root"),
            ("x_roles", "root"),
        ],
    );
    let granted = ask(&protect, &mut asked).await.unwrap();
    assert_eq!(granted.user.as_deref(), Some("ann"));
    assert_eq!(
        (&asked.headers["x-user"], &asked.headers["x-roles"]),
        (&"ann".parse().unwrap(), &"a,b".parse().unwrap())
    );
    assert!(!asked.headers.contains_key("x_roles"));

    let cookie = format!("a=b; session={token}");
    assert_eq!(status(&protect, "/", &[("cookie", &cookie)]).await, 200);
    for (headers, challenge) in [
        (vec![], "Bearer"),
        (vec![("cookie", "session2=x")], "Bearer"),
        (vec![("authorization", "Basic x")], "Bearer"),
        (
            vec![("authorization", "Bearer x")],
            "Bearer error=\"invalid_token\", error_description=\"malformed\"",
        ),
    ] {
        let mut asked = head("/", &headers);
        asked.headers.insert("x-user", "root".parse().unwrap());
        let refused = ask(&protect, &mut asked).await.unwrap_err();
        assert_eq!(refused.status(), 401);
        assert_eq!(refused.headers()[WWW_AUTHENTICATE], challenge);
        assert!(!asked.headers.contains_key("x-user"));
    }
}

#[tokio::test]
async fn a_jwt_without_keys_or_algorithms_lets_nobody_in() {
    let bearer = [("authorization", "Bearer a.b.c")];
    let none = auth(Auth::Jwt(jwt_spec()));
    assert_eq!(status(&none, "/", &bearer).await, 503);
    let odd = auth(Auth::Jwt(Jwt {
        secret: Some(Secret::new("s")),
        algorithms: vec!["none".into()],
        ..jwt_spec()
    }));
    assert_eq!(status(&odd, "/", &bearer).await, 503);
    let absent = auth(Auth::Jwt(Jwt {
        jwks: Some("/nonexistent/jwks".into()),
        ..jwt_spec()
    }));
    assert_eq!(status(&absent, "/", &bearer).await, 503);
}

/// A private key and its public half as a JWK.
fn pair(id: &str, algorithm: Algorithm) -> (EncodingKey, Value) {
    let key = if algorithm == Algorithm::ES256 {
        &rcgen::PKCS_ECDSA_P256_SHA256
    } else {
        &rcgen::PKCS_ECDSA_P384_SHA384
    };
    let pair = rcgen::KeyPair::generate_for(key).unwrap();
    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, algorithm).unwrap()).unwrap();
    jwk["kid"] = id.into();
    (key, jwk)
}

fn signed(id: &str, algorithm: Algorithm, key: &EncodingKey) -> String {
    let header = Header {
        kid: Some(id.into()),
        ..Header::new(algorithm)
    };
    let token = encode(&header, &json!({"sub": "ann", "exp": now() + 600}), key).unwrap();
    format!("Bearer {token}")
}

#[tokio::test]
async fn jwt_with_keys_of_a_file() {
    let (one, one_jwk) = pair("one", Algorithm::ES256);
    let (two, two_jwk) = pair("two", Algorithm::ES384);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    std::fs::write(&path, json!({"keys": [one_jwk]}).to_string()).unwrap();
    let place = path.to_str().unwrap().to_owned();
    let protect = auth(Auth::Jwt(Jwt {
        jwks: Some(place),
        ..jwt_spec()
    }));
    let by_one = signed("one", Algorithm::ES256, &one);
    let by_two = signed("two", Algorithm::ES384, &two);
    assert_eq!(
        status(&protect, "/", &[("authorization", &by_one)]).await,
        200
    );
    assert_eq!(
        status(&protect, "/", &[("authorization", &by_two)]).await,
        401
    );
    let liar = signed("one", Algorithm::ES384, &two);
    assert_eq!(
        status(&protect, "/", &[("authorization", &liar)]).await,
        401
    );

    // The public key as an HMAC secret: the classic.
    let point = URL_SAFE_NO_PAD
        .decode(one_jwk["x"].as_str().unwrap())
        .unwrap();
    let header = Header {
        kid: Some("one".into()),
        ..Header::default()
    };
    let claims = json!({"sub": "root", "exp": now() + 600});
    let forged = encode(&header, &claims, &EncodingKey::from_secret(&point)).unwrap();
    let forged = format!("Bearer {forged}");
    assert_eq!(
        status(&protect, "/", &[("authorization", &forged)]).await,
        401
    );

    std::fs::write(&path, json!({"keys": [two_jwk]}).to_string()).unwrap();
    soon(&protect, "/", &[("authorization", &by_two)], 200).await;
    assert_eq!(
        status(&protect, "/", &[("authorization", &by_one)]).await,
        401
    );
}

/// Serves what `texts` yields, one connection a time; counts.
async fn serve(texts: Vec<(u16, String)>) -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /jwks HTTP/1.1"));
            let (status, text) =
                &texts[counted.fetch_add(1, Ordering::SeqCst).min(texts.len() - 1)];
            let length = text.len();
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{text}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, count)
}

#[tokio::test]
async fn jwt_with_keys_of_a_url() {
    let (one, one_jwk) = pair("one", Algorithm::ES256);
    let (two, two_jwk) = pair("two", Algorithm::ES256);
    let first = json!({"keys": [one_jwk]}).to_string();
    let second = json!({"keys": [one_jwk, two_jwk]}).to_string();
    let (url, count) = serve(vec![(200, first), (200, second)]).await;
    let protect = auth(Auth::Jwt(Jwt {
        jwks: Some(url),
        ..jwt_spec()
    }));
    let by_one = signed("one", Algorithm::ES256, &one);
    let by_two = signed("two", Algorithm::ES256, &two);
    let by_three = signed("three", Algorithm::ES256, &two);
    let asks = (0..20).map(|_| status(&protect, "/", &[]));
    for asked in asks {
        assert_eq!(asked.await, 401);
    }
    assert_eq!(count.load(Ordering::SeqCst), 0, "no token, no fetch");
    let headers = [("authorization", by_one.as_str())];
    let (a, b) = tokio::join!(
        status(&protect, "/", &headers),
        status(&protect, "/", &headers)
    );
    assert_eq!((a, b), (200, 200));
    assert_eq!(count.load(Ordering::SeqCst), 1, "one fetch for both");
    for _ in 0..20 {
        assert_eq!(
            status(&protect, "/", &[("authorization", &by_three)]).await,
            401
        );
    }
    assert_eq!(
        count.load(Ordering::SeqCst),
        1,
        "unknown keys cannot make us hammer"
    );
    soon(&protect, "/", &[("authorization", &by_two)], 200).await;
    assert_eq!(count.load(Ordering::SeqCst), 2);
    assert_eq!(
        status(&protect, "/", &[("authorization", &by_one)]).await,
        200
    );
}

#[tokio::test]
async fn a_url_that_fails_lets_nobody_in() {
    for (code, text) in [(500, "{}"), (200, "<html>"), (302, "")] {
        let (url, count) = serve(vec![(code, text.to_owned())]).await;
        let protect = auth(Auth::Jwt(Jwt {
            jwks: Some(url),
            ..jwt_spec()
        }));
        for _ in 0..5 {
            assert_eq!(
                status(&protect, "/", &[("authorization", "Bearer a.b.c")]).await,
                503
            );
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn cors_goes_before_and_around_authentication() {
    let protect = Protect::new(&gateway_spec::Protect {
        auth: Some(basic_spec(&[("ann", "pw")], None)),
        cors: Some(Cors {
            origins: vec!["https://a.example".into()],
            ..Cors::default()
        }),
        headers: Some(SecurityHeaders::default()),
        ..gateway_spec::Protect::default()
    });
    let origin = ("origin", "https://a.example");
    let mut preflight = head("/", &[origin, ("access-control-request-method", "PUT")]);
    preflight.method = http::Method::OPTIONS;
    let answer = ask(&protect, &mut preflight).await.unwrap_err();
    assert_eq!(answer.status(), 204);
    assert_eq!(
        answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN],
        "https://a.example"
    );
    assert_eq!(answer.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");

    // A script may read why it was refused.
    let refused = ask(&protect, &mut head("/", &[origin])).await.unwrap_err();
    assert_eq!(refused.status(), 401);
    assert_eq!(
        refused.headers()[ACCESS_CONTROL_ALLOW_ORIGIN],
        "https://a.example"
    );
    assert_eq!(refused.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");

    let line = basic("ann", "pw");
    let mut asked = head("/", &[origin, (AUTHORIZATION.as_str(), &line)]);
    let granted = ask(&protect, &mut asked).await.unwrap();
    let (mut parts, ()) = Response::new(()).into_parts();
    protect.decorate(&granted, &mut parts);
    assert_eq!(
        parts.headers[ACCESS_CONTROL_ALLOW_ORIGIN],
        "https://a.example"
    );
    assert_eq!(parts.headers[VARY], "origin");
    assert_eq!(parts.headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
}
