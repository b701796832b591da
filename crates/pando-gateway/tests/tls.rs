//! Certificates served to real clients: choice by name, reload, stand-ins, resumption, groups.

#![expect(clippy::unwrap_used, reason = "tests")]

mod tls_support;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gateway_spec::{Protocol, Tls, UpstreamTls};
use pando_gateway::tls::{Certificates, DirectFiles, client, server_config};
use rustls::{HandshakeKind, NamedGroup, ProtocolVersion};
use tls_support::{Authority, connect, files_site, roots, serve, site, write};

fn certificates(sites: &[gateway_spec::Site]) -> Arc<Certificates> {
    let certificates = Certificates::new(Arc::new(DirectFiles));
    certificates.apply(sites);
    certificates
}

fn seen(stream: &tls_support::Client) -> Vec<u8> {
    let (_, connection) = stream.get_ref();
    connection.peer_certificates().unwrap()[0].to_vec()
}

fn der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes())
        .unwrap()
        .to_vec()
}

#[tokio::test]
async fn the_name_chooses_exact_then_wildcard_then_default() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let exact = authority.issue(&["a.example.com"]);
    let wild = authority.issue(&["*.example.com"]);
    let any = authority.issue(&["fallback.example", "x.y.example.com", "127.0.0.1"]);
    let certificates = certificates(&[
        files_site(dir.path(), &["a.example.com"], &exact),
        files_site(dir.path(), &["*.example.com"], &wild),
        files_site(dir.path(), &["*"], &any),
        site(&["plain.example"], None),
    ]);
    let address = serve(server_config(&certificates).unwrap()).await;
    let client = Arc::new(tls_support::client(authority.roots()));
    for (name, expect) in [
        ("a.example.com", &exact),
        ("b.example.com", &wild),
        ("x.y.example.com", &any),
        ("fallback.example", &any),
        ("127.0.0.1", &any),
    ] {
        let stream = connect(address, &client, name).await.unwrap();
        assert_eq!(seen(&stream), der(&expect.0), "{name}");
    }
    assert!(certificates.status(SystemTime::now()).iter().all(|status| {
        status.problem.is_none() && status.not_after.is_some() && status.source.ends_with(".crt")
    }));
}

#[tokio::test]
async fn an_unknown_name_is_refused_and_no_name_gets_the_first_site() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let pair = authority.issue(&["a.example", "127.0.0.1"]);
    let certificates = certificates(&[files_site(dir.path(), &["a.example"], &pair)]);
    let address = serve(server_config(&certificates).unwrap()).await;
    let client = Arc::new(tls_support::client(authority.roots()));
    let refused = connect(address, &client, "b.example").await.unwrap_err();
    assert!(refused.to_string().contains("AccessDenied"), "{refused}");
    connect(address, &client, "127.0.0.1").await.unwrap();
}

#[tokio::test]
async fn a_missing_certificate_costs_only_its_own_site() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let good = authority.issue(&["good.example"]);
    let late = authority.issue(&["late.example"]);
    let tls = Tls::Files {
        cert: dir.path().join("late.example.crt"),
        key: dir.path().join("late.example.key"),
    };
    let certificates = Certificates::new(Arc::new(DirectFiles));
    let problems = certificates.apply(&[
        site(&["late.example"], Some(tls)),
        files_site(dir.path(), &["good.example"], &good),
        site(&["auto.example"], Some(Tls::Auto)),
    ]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let address = serve(server_config(&certificates).unwrap()).await;
    let strict = Arc::new(tls_support::client(authority.roots()));
    connect(address, &strict, "good.example").await.unwrap();
    connect(address, &strict, "late.example").await.unwrap_err();
    let tls = UpstreamTls {
        insecure: true,
        ..UpstreamTls::default()
    };
    let lax = client::connector(&tls, Protocol::Http1, &DirectFiles).unwrap();
    connect(address, &lax, "late.example").await.unwrap();
    connect(address, &lax, "auto.example").await.unwrap();
    let status = certificates.status(SystemTime::now());
    assert!(status[0].not_after.is_none() && status[0].problem.is_some());
    assert!(status[1].problem.is_none());

    files_site(dir.path(), &["late.example"], &late);
    certificates.look();
    connect(address, &strict, "late.example").await.unwrap();
}

#[tokio::test]
async fn files_that_change_are_served_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (old, new) = (
        authority.issue(&["a.example"]),
        authority.issue(&["a.example"]),
    );
    let certificates = certificates(&[files_site(dir.path(), &["a.example"], &old)]);
    tokio::spawn(certificates.clone().watch(Duration::from_millis(20)));
    let address = serve(server_config(&certificates).unwrap()).await;
    let mut config = tls_support::client(authority.roots());
    config.resumption = rustls::client::Resumption::disabled();
    let client = Arc::new(config);
    let mut open = connect(address, &client, "a.example").await.unwrap();
    assert_eq!(seen(&open), der(&old.0));

    // The certificate first: for a while the pair does not match.
    write(dir.path(), "a.example.crt", &new.0);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stream = connect(address, &client, "a.example").await.unwrap();
    assert_eq!(seen(&stream), der(&old.0));
    let key: PathBuf = write(dir.path(), "next.key", &new.1);
    std::fs::rename(key, dir.path().join("a.example.key")).unwrap();
    for _ in 0..500 {
        let stream = connect(address, &client, "a.example").await.unwrap();
        if seen(&stream) == der(&new.0) {
            // Connections of the old certificate live on.
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            open.write_all(b"still").await.unwrap();
            open.read_exact(&mut [0; 5]).await.unwrap();
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the new certificate was never served");
}

#[tokio::test]
async fn sessions_are_resumed_in_both_versions_and_post_quantum_is_preferred() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let pair = authority.issue(&["a.example"]);
    let certificates = certificates(&[files_site(dir.path(), &["a.example"], &pair)]);
    let address = serve(server_config(&certificates).unwrap()).await;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut config =
            rustls::ClientConfig::builder_with_provider(pando_gateway::tls::provider())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(authority.roots())
                .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let config = Arc::new(config);
        let first = connect(address, &config, "a.example").await.unwrap();
        let connection = first.get_ref().1;
        assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(connection.alpn_protocol(), Some(&b"h2"[..]));
        if connection.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
            let group = connection.negotiated_key_exchange_group().unwrap();
            assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
        }
        drop(first);
        let again = connect(address, &config, "a.example").await.unwrap();
        assert_eq!(
            again.get_ref().1.handshake_kind(),
            Some(HandshakeKind::Resumed),
            "{version:?}"
        );
    }
}

#[tokio::test]
async fn upstreams_are_verified_as_configured() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let pair = authority.issue(&["up.example", "127.0.0.1"]);
    let served = certificates(&[files_site(dir.path(), &["up.example"], &pair)]);
    let address = serve(server_config(&served).unwrap()).await;
    let ca = write(dir.path(), "ca.pem", &authority.pem());
    let to = |tls: UpstreamTls, protocol| client::connector(&tls, protocol, &DirectFiles);

    let by_web = to(UpstreamTls::default(), Protocol::Https).unwrap();
    connect(address, &by_web, "up.example").await.unwrap_err();
    let with_ca = UpstreamTls {
        ca: Some(ca),
        ..UpstreamTls::default()
    };
    let by_ca = to(with_ca.clone(), Protocol::Https).unwrap();
    let stream = connect(address, &by_ca, "up.example").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    connect(address, &by_ca, "127.0.0.1").await.unwrap();

    // A self-signed certificate marked as an authority's, listed itself.
    let own = Authority::new();
    let mut params = rcgen::CertificateParams::new(vec!["self.example".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let own_pem = params.self_signed(own.0.key()).unwrap().pem();
    let own_pair = (own_pem.clone(), own.0.key().serialize_pem());
    let served = certificates(&[files_site(dir.path(), &["self.example"], &own_pair)]);
    let address = serve(server_config(&served).unwrap()).await;
    connect(address, &by_ca, "self.example").await.unwrap_err();
    let listed = UpstreamTls {
        ca: Some(write(dir.path(), "self.pem", &own_pem)),
        ..UpstreamTls::default()
    };
    let by_list = to(listed, Protocol::H2).unwrap();
    connect(address, &by_list, "self.example").await.unwrap();
    let wrong = connect(address, &by_list, "127.0.0.1").await.unwrap_err();
    assert!(wrong.to_string().contains("NotValidForName"), "{wrong}");

    let missing = UpstreamTls {
        ca: Some(dir.path().join("none.pem")),
        ..UpstreamTls::default()
    };
    let problem = to(missing, Protocol::Https).unwrap_err();
    assert!(problem.to_string().contains("none.pem"), "{problem}");
}

#[tokio::test]
async fn an_upstream_that_asks_gets_our_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (cert, key) = authority.issue(&["up.example"]);
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(authority.roots()),
        pando_gateway::tls::provider(),
    );
    let pair = pando_gateway::tls::Certificate::from_pem(cert.as_bytes(), key.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(pando_gateway::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair.key)));
    let address = serve(Arc::new(config)).await;
    let ours = authority.issue(&["gateway.example"]);
    let mut tls = UpstreamTls {
        ca: Some(write(dir.path(), "ca.pem", &authority.pem())),
        ..UpstreamTls::default()
    };
    let without = client::connector(&tls, Protocol::Http1, &DirectFiles).unwrap();
    connect(address, &without, "up.example").await.unwrap_err();
    tls.client = Some((
        write(dir.path(), "our.crt", &ours.0),
        write(dir.path(), "our.key", &ours.1),
    ));
    let with = client::connector(&tls, Protocol::Http1, &DirectFiles).unwrap();
    connect(address, &with, "up.example").await.unwrap();
    assert_eq!(roots(&authority.pem()).len(), 1);
}

#[tokio::test]
async fn an_upstreams_authorities_may_come_late_and_change() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (Authority::new(), Authority::new());
    let pair = first.issue(&["up.example"]);
    let served = certificates(&[files_site(dir.path(), &["up.example"], &pair)]);
    let address = serve(server_config(&served).unwrap()).await;
    let tls = UpstreamTls {
        ca: Some(dir.path().join("ca.pem")),
        ..UpstreamTls::default()
    };
    let connectors = client::Connectors::new(tls, Arc::new(DirectFiles));
    let problem = connectors.get(Protocol::H2).unwrap_err().to_string();
    assert!(problem.contains("ca.pem"), "{problem}");
    write(dir.path(), "ca.pem", &second.pem());
    connectors.look();
    let wrong = connectors.get(Protocol::Https).unwrap();
    connect(address, &wrong, "up.example").await.unwrap_err();
    let both = second.pem() + &first.pem();
    write(dir.path(), "ca.pem", &both);
    connectors.look();
    let right = connectors.get(Protocol::Https).unwrap();
    connect(address, &right, "up.example").await.unwrap();
    write(dir.path(), "ca.pem", "damaged");
    connectors.look();
    let kept = connectors.get(Protocol::H2).unwrap();
    connect(address, &kept, "up.example").await.unwrap();
}

/// OpenSSL's client, where there is one: TLS 1.2 and 1.3, resumption, refusal of TLS 1.1.
#[tokio::test]
async fn openssl_agrees() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let pair = authority.issue(&["a.example"]);
    let certificates = certificates(&[files_site(dir.path(), &["a.example"], &pair)]);
    let address = serve(server_config(&certificates).unwrap()).await;
    let ca = write(dir.path(), "ca.pem", &authority.pem());
    let openssl = async |extra: &[&str]| {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-connect", &address.to_string()])
            .args([
                "-servername",
                "a.example",
                "-verify_return_error",
                "-CAfile",
            ])
            .arg(&ca)
            .args(extra)
            .stdin(std::process::Stdio::null());
        let run = tokio::task::spawn_blocking(move || command.output());
        let output = run.await.unwrap().ok()?;
        let text = [output.stdout, output.stderr].concat();
        Some(String::from_utf8_lossy(&text).into_owned())
    };
    let Some(text) = openssl(&["-tls1_3", "-alpn", "h2"]).await else {
        println!("skipped: there is no openssl");
        return;
    };
    assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
    assert!(text.contains("ALPN protocol: h2"), "{text}");
    let text = openssl(&["-tls1_2", "-reconnect"]).await.unwrap();
    assert!(text.contains("Protocol  : TLSv1.2"), "{text}");
    assert_eq!(text.matches("Reused, TLSv1.2").count(), 5, "{text}");
    let text = openssl(&["-tls1_2", "-reconnect", "-no_ticket"])
        .await
        .unwrap();
    assert_eq!(text.matches("Reused, TLSv1.2").count(), 5, "{text}");
    let text = openssl(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"])
        .await
        .unwrap();
    assert!(!text.contains("Cipher is ECDHE"), "{text}");
}
