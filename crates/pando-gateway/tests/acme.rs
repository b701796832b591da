//! Certificates from a real ACME server: both validations, several hosts, restarts, renewal, failure.

#![expect(clippy::unwrap_used, reason = "tests")]

mod pebble_support;
mod tls_support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use gateway_spec::{
    Action, GatewaySpec, Listen, ListenAddress, PathMatch, Route, Secret, Site, Tls,
};
use pando_gateway::acme::{Acme, Method, Options, Pace};
use pando_gateway::serve::Listening;
use pando_gateway::tls::{
    Certificate, CertificateStatus, Certificates, DirectFiles, server_config,
};
use pebble_support::{PATIENCE, Pebble, programs, serve_challenges};
use serde_json::json;
use tls_support::{client, connect, serve, site};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

/// What a gateway process has of this.
struct Gateway {
    certificates: Arc<Certificates>,
    acme: Acme,
    keeper: JoinHandle<()>,
    http: SocketAddr,
    tls: SocketAddr,
}

impl Gateway {
    async fn start() -> Self {
        let certificates = Certificates::new(Arc::new(DirectFiles));
        let (acme, keeper) = Acme::new(certificates.clone(), Arc::new(DirectFiles));
        let http = serve_challenges(acme.challenges().clone()).await;
        let tls = serve(server_config(&certificates).unwrap()).await;
        let keeper = tokio::spawn(keeper.run());
        Self {
            certificates,
            acme,
            keeper,
            http,
            tls,
        }
    }

    async fn pebble(&self, programs: &pebble_support::Programs) -> Pebble {
        Pebble::start(programs, self.http.port(), self.tls.port()).await
    }

    fn apply(&self, options: Options, sites: &[Site]) {
        self.certificates.apply(sites);
        self.acme.apply(options, sites);
    }

    async fn until(&self, what: &str, is: impl Fn(&[CertificateStatus]) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = self.certificates.status(SystemTime::now());
            if is(&status) {
                return;
            }
            let late = tokio::time::Instant::now() > deadline;
            assert!(!late, "never {what}: {status:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_all_are_served(&self) {
        self.until("served", |status| {
            status.iter().all(|status| status.not_after.is_some())
        })
        .await;
    }

    /// The certificate that a client which trusts `roots` gets for `host`.
    async fn serial(&self, roots: &rustls::RootCertStore, host: &str) -> Vec<u8> {
        let stream = connect(self.tls, &Arc::new(client(roots.clone())), host).await;
        let stream = stream.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

fn quick() -> Pace {
    let moment = Duration::from_millis(300);
    Pace {
        look: moment,
        locked: moment,
        refused: (moment, moment),
        unreachable: (moment, moment),
        limited: moment,
        issued: Duration::from_secs(1),
    }
}

fn options(pebble: &Pebble, storage: &Path, methods: &[Method]) -> Options {
    Options {
        directory: pebble.directory(),
        email: Some("admin@example.com".into()),
        root: Some(pebble.root()),
        storage: storage.to_path_buf(),
        eab: None,
        methods: methods.to_vec(),
        pace: quick(),
    }
}

fn auto(hosts: &[&str]) -> Site {
    site(hosts, Some(Tls::Auto))
}

#[tokio::test]
async fn by_http_for_several_hosts_and_kept_over_a_restart() {
    let Some(programs) = programs() else { return };
    let storage = tempfile::tempdir().unwrap();
    let gateway = Gateway::start().await;
    let mut pebble = gateway.pebble(&programs).await;
    let roots = pebble.issuer().await;
    let options = options(&pebble, storage.path(), &[Method::Http01]);
    let sites = [
        auto(&["a.example", "www.a.example"]),
        auto(&["b.example"]),
        site(&["plain.example"], None),
    ];
    gateway.apply(options.clone(), &sites);
    gateway.until_all_are_served().await;
    let first = gateway.serial(&roots, "a.example").await;
    assert_eq!(first, gateway.serial(&roots, "www.a.example").await);
    assert_ne!(first, gateway.serial(&roots, "b.example").await);
    drop(gateway);

    // The authority is gone: what is stored serves.
    pebble.stop();
    let gateway = Gateway::start().await;
    gateway.apply(options.clone(), &sites);
    gateway.until_all_are_served().await;
    assert_eq!(first, gateway.serial(&roots, "a.example").await);

    // A site that goes and comes back needs no order either.
    gateway.apply(options.clone(), &sites[1..]);
    connect(gateway.tls, &Arc::new(client(roots.clone())), "a.example")
        .await
        .unwrap_err();
    gateway.apply(options, &sites);
    gateway.until_all_are_served().await;
    assert_eq!(first, gateway.serial(&roots, "a.example").await);
}

#[tokio::test]
async fn a_site_that_gets_another_host_is_served_meanwhile() {
    let Some(programs) = programs() else { return };
    let storage = tempfile::tempdir().unwrap();
    let gateway = Gateway::start().await;
    let mut pebble = gateway.pebble(&programs).await;
    let roots = pebble.issuer().await;
    let options = options(&pebble, storage.path(), &[Method::Http01]);
    gateway.apply(options.clone(), &[auto(&["a.example"])]);
    gateway.until_all_are_served().await;
    let first = gateway.serial(&roots, "a.example").await;

    pebble.stop();
    let sites = [auto(&["a.example", "www.a.example"])];
    gateway.apply(options.clone(), &sites);
    assert_eq!(first, gateway.serial(&roots, "a.example").await, "at once");
    let told = |status: &[CertificateStatus]| status[1].problem.is_some();
    gateway.until("told", told).await;
    assert_eq!(first, gateway.serial(&roots, "a.example").await);

    drop(gateway);
    let gateway = Gateway::start().await;
    gateway.apply(options.clone(), &sites);
    gateway.until_all_are_served().await;
    assert_eq!(
        first,
        gateway.serial(&roots, "a.example").await,
        "restarted"
    );

    let pebble = gateway.pebble(&programs).await;
    let roots = pebble.issuer().await;
    let options = Options {
        directory: pebble.directory(),
        root: Some(pebble.root()),
        ..options
    };
    gateway.apply(options, &sites);
    let both = |status: &[CertificateStatus]| status.iter().all(|status| status.problem.is_none());
    gateway.until("complete", both).await;
    gateway.serial(&roots, "www.a.example").await;
}

#[tokio::test]
async fn by_a_handshake() {
    let Some(programs) = programs() else { return };
    let storage = tempfile::tempdir().unwrap();
    let gateway = Gateway::start().await;
    let pebble = gateway.pebble(&programs).await;
    let options = options(&pebble, storage.path(), &[Method::TlsAlpn01]);
    gateway.apply(options, &[auto(&["a.example", "b.example"])]);
    gateway.until_all_are_served().await;
    let roots = pebble.issuer().await;
    gateway.serial(&roots, "b.example").await;

    // Validations are answered only while one is asked for.
    let mut config = client(roots);
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let refused = connect(gateway.tls, &Arc::new(config), "a.example").await;
    assert!(refused.unwrap_err().to_string().contains("AccessDenied"));
}

#[tokio::test]
async fn a_certificate_is_renewed_before_it_ends() {
    let Some(programs) = programs() else { return };
    let storage = tempfile::tempdir().unwrap();
    let gateway = Gateway::start().await;
    let short = json!({ "certificateValidityPeriod": 9 });
    let (http, tls) = (gateway.http.port(), gateway.tls.port());
    let mut pebble = Pebble::prepare(&programs, http, tls, &short);
    pebble.run().await;
    let options = options(&pebble, storage.path(), &[Method::Http01]);
    gateway.apply(options, &[auto(&["a.example"])]);
    gateway.until_all_are_served().await;
    let roots = pebble.issuer().await;
    let first = gateway.serial(&roots, "a.example").await;
    let end = gateway.certificates.status(SystemTime::now())[0].not_after;
    gateway
        .until("renewed", |status| status[0].not_after > end)
        .await;
    assert_ne!(first, gateway.serial(&roots, "a.example").await);
}

#[tokio::test]
async fn an_authority_that_is_down_is_asked_again() {
    let Some(programs) = programs() else { return };
    let storage = tempfile::tempdir().unwrap();
    let gateway = Gateway::start().await;
    let (http, tls) = (gateway.http.port(), gateway.tls.port());
    let mut pebble = Pebble::prepare(&programs, http, tls, &json!({}));
    let options = options(&pebble, storage.path(), &[Method::Http01]);
    gateway.apply(options.clone(), &[auto(&["a.example"])]);
    let told = |status: &[CertificateStatus]| {
        let problem = status[0].problem.as_ref();
        problem.is_some_and(|problem| problem.to_string().contains("/dir"))
    };
    gateway.until("told", told).await;
    pebble.run().await;
    gateway.until_all_are_served().await;
    gateway
        .until("well", |status| status[0].problem.is_none())
        .await;

    // It forgets everything; a new account is opened for the next site.
    pebble.stop();
    pebble.run().await;
    let sites = [auto(&["a.example"]), auto(&["b.example"])];
    gateway.apply(options, &sites);
    gateway.until_all_are_served().await;
}

#[tokio::test]
async fn a_refusal_is_told_and_the_other_way_is_tried() {
    let Some(programs) = programs() else { return };
    let storage = tempfile::tempdir().unwrap();
    let gateway = Gateway::start().await;
    // Nobody answers where the authority looks for HTTP.
    let nowhere = serve_challenges(Arc::default()).await;
    let mut pebble = Pebble::prepare(&programs, nowhere.port(), gateway.tls.port(), &json!({}));
    pebble.run().await;
    let sites = [auto(&["a.example", "*.a.example"])];
    let by_http = options(&pebble, storage.path(), &[Method::Http01]);
    gateway.apply(by_http.clone(), &sites[..0]);
    let plain = [auto(&["b.example"])];
    gateway.apply(by_http, &plain);
    let told = |status: &[CertificateStatus]| {
        let problem = status[0].problem.as_ref().map(ToString::to_string);
        problem.is_some_and(|problem| problem.contains("404") && problem.contains("b.example"))
    };
    gateway.until("told", told).await;

    let both = options(
        &pebble,
        storage.path(),
        &[Method::Http01, Method::TlsAlpn01],
    );
    gateway.apply(both.clone(), &plain);
    gateway.until_all_are_served().await;
    // What cannot be had is said, and the rest is served.
    gateway.apply(both, &sites);
    gateway.until_all_are_served().await;
    let status = gateway.certificates.status(SystemTime::now());
    let problem = status[1].problem.as_ref().unwrap().to_string();
    assert!(problem.contains("*.a.example"), "{problem}");
}

#[tokio::test]
async fn accounts_may_be_bound_to_another_account() {
    let Some(programs) = programs() else { return };
    let storage = tempfile::tempdir().unwrap();
    let gateway = Gateway::start().await;
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let bound = json!({
        "externalAccountBindingRequired": true,
        "externalAccountMACKeys": { "kid-1": key },
    });
    let (http, tls) = (gateway.http.port(), gateway.tls.port());
    let mut pebble = Pebble::prepare(&programs, http, tls, &bound);
    pebble.run().await;
    let without = options(&pebble, storage.path(), &[Method::Http01]);
    let sites = [auto(&["a.example"])];
    gateway.apply(without.clone(), &sites);
    gateway
        .until("told", |status| status[0].problem.is_some())
        .await;
    let with = Options {
        eab: Some(("kid-1".into(), Secret::new(key))),
        ..without
    };
    gateway.apply(with, &sites);
    gateway.until_all_are_served().await;
}

#[tokio::test]
async fn two_processes_order_once() {
    let Some(programs) = programs() else { return };
    let storage = tempfile::tempdir().unwrap();
    let (old, new) = (Gateway::start().await, Gateway::start().await);
    // The authority asks the old process only, whoever orders.
    let pebble = old.pebble(&programs).await;
    let options = options(&pebble, storage.path(), &[Method::Http01]);
    let sites = [auto(&["a.example"]), auto(&["b.example"])];
    for gateway in [&new, &old] {
        gateway.apply(options.clone(), &sites);
    }
    let roots = pebble.issuer().await;
    for host in ["a.example", "b.example"] {
        old.until_all_are_served().await;
        new.until_all_are_served().await;
        let (by_old, by_new) = (
            old.serial(&roots, host).await,
            new.serial(&roots, host).await,
        );
        assert_eq!(by_old, by_new, "{host}");
    }
}

#[tokio::test]
async fn storage_that_cannot_be_written_orders_nothing() {
    let Some(programs) = programs() else { return };
    let gateway = Gateway::start().await;
    let pebble = gateway.pebble(&programs).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let storage = file.path().join("acme");
    let options = options(&pebble, &storage, &[Method::Http01]);
    gateway.apply(options, &[auto(&["a.example"])]);
    let told = |status: &[CertificateStatus]| {
        let problem = status[0].problem.as_ref().map(ToString::to_string);
        problem.is_some_and(|problem| problem.contains("storage"))
    };
    gateway.until("told", told).await;
}

/// A plain and a TLS listener with the socket of each.
fn listening(tls: bool) -> Listening {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let plain = Listen::plain(address);
    Listening {
        listen: Listen { tls, ..plain },
        socket: listener.into(),
    }
}

fn port(listening: &Listening) -> u16 {
    match &listening.listen.address {
        ListenAddress::Tcp(address) => address.port(),
        ListenAddress::Unix(_) => 0,
    }
}

/// Everything together: validations come before redirects, and requests are served with what came.
#[tokio::test]
async fn a_whole_gateway_gets_its_certificates() {
    let Some(programs) = programs() else { return };
    let state = tempfile::tempdir().unwrap();
    let (plain, tls) = (listening(false), listening(true));
    let (http, https) = (port(&plain), port(&tls));
    let mut pebble = Pebble::prepare(&programs, http, https, &json!({}));
    pebble.run().await;
    let hello = Action::Respond {
        status: 200,
        body: "hello".into(),
        content_type: None,
    };
    let route = Route::new(PathMatch::Prefix("/".into()), hello);
    let spec = GatewaySpec {
        listen: vec![plain.listen.clone(), tls.listen.clone()],
        sites: vec![Site {
            tls: Some(Tls::Auto),
            ..Site::new(["a.example"], vec![route])
        }],
        threads: Some(1),
        access_log: gateway_spec::AccessLog {
            on: false,
            ..gateway_spec::AccessLog::default()
        },
        acme: gateway_spec::Acme {
            directory: pebble.directory(),
            root: Some(pebble.root()),
            ..gateway_spec::Acme::default()
        },
        ..GatewaySpec::default()
    };
    let files = Arc::new(DirectFiles);
    let path = state.path().to_path_buf();
    let gateway = pando_gateway::gateway::Gateway::new(spec, files, path).unwrap();
    gateway.listen(plain).await.unwrap();
    gateway.listen(tls).await.unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while gateway.stats()["certificates"][0]["not_after"].is_null() {
        let late = tokio::time::Instant::now() > deadline;
        assert!(!late, "{:#}", gateway.stats()["certificates"]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let config = Arc::new(client(pebble.issuer().await));
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", https)).await;
    let name = "a.example".try_into().unwrap();
    let connector = tokio_rustls::TlsConnector::from(config);
    let mut stream = connector.connect(name, stream.unwrap()).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("hello"), "{answer}");
    assert!(state.path().join("acme/lock").exists());
}

/// An authority that has had enough: every request is answered so.
async fn overloaded(authority: &tls_support::Authority) -> (SocketAddr, Arc<AtomicU32>) {
    let (cert, key) = authority.issue(&["localhost"]);
    let pair = Certificate::from_pem(cert.as_bytes(), key.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(pando_gateway::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair.key)));
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicU32::new(0)));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            counted.fetch_add(1, Ordering::Relaxed);
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let answer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 86400\r\n\
                          Content-Length: 2\r\nConnection: close\r\n\r\n{}";
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, count)
}

#[tokio::test]
async fn an_authority_that_has_had_enough_is_left_alone() {
    let storage = tempfile::tempdir().unwrap();
    let authority = tls_support::Authority::new();
    let (address, count) = overloaded(&authority).await;
    let options = Options {
        directory: format!("https://localhost:{}/dir", address.port()),
        email: None,
        root: Some(tls_support::write(
            storage.path(),
            "root.pem",
            &authority.pem(),
        )),
        storage: storage.path().join("acme"),
        eab: None,
        methods: vec![Method::Http01],
        pace: quick(),
    };
    let tomorrow = SystemTime::now() + Duration::from_secs(86400);
    for _restart in 0..2 {
        let gateway = Gateway::start().await;
        gateway.apply(options.clone(), &[auto(&["a.example"])]);
        let told = |status: &[CertificateStatus]| status[0].problem.is_some();
        gateway.until("told", told).await;
        // Many times the pace of this test.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(count.load(Ordering::Relaxed), 1);
        let status = gateway.certificates.status(SystemTime::now());
        let problem = status[0].problem.as_ref().unwrap().to_string();
        let day = httpdate::fmt_http_date(tomorrow)[..16].to_owned();
        assert!(problem.contains(&day), "{day}: {problem}");
    }
}
