//! The server: HTTP/1.1 on loopback, bounded connections, every request checked before it is
//! looked into.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderName};
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::access::{Access, LINK_LIFE, Refused, SECRET_BYTES, Secret, Session};
use super::assets::Assets;
use super::body::Body;
use super::guard::{self, Breach};
use super::live::Live;
use super::logs::{self, Search};
use super::respond::{self, Answer};
use super::route::{Route, route};
use super::{ask, guard::Kind};

/// A browser has six at most, a tab two or three of them.
const MAX_CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// Of an order.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// After an `accept` that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const COOKIE: &str = "pando";
const CSRF: HeaderName = HeaderName::from_static("pando-csrf");

pub struct Options {
    /// Of the daemon.
    pub home: PathBuf,
    /// On 127.0.0.1; 0 is any that is free.
    pub port: u16,
    /// No orders.
    pub read_only: bool,
}

struct Shared {
    options: Options,
    assets: Assets,
    access: Mutex<Access>,
    live: Live,
    /// The page's path. A browser sends cookies of 127.0.0.1 to every port of it; one that nobody
    /// can guess keeps the cookie from other servers of this machine.
    mount: String,
    start: Instant,
}

/// A server that has its port.
pub struct Dashboard {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl Dashboard {
    /// # Errors
    /// The port is taken, or the system has no random bytes.
    pub async fn bind(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let shared = Shared {
            assets: Assets::load()?,
            access: Mutex::default(),
            live: Live::new(),
            mount: format!("/p/{}/", random()?.text()),
            start: Instant::now(),
            options,
        };
        Ok(Self {
            listener,
            shared: Arc::new(shared),
        })
    }

    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// A way to make links while it serves.
    ///
    /// # Errors
    /// The system's.
    pub fn links(&self) -> io::Result<Links> {
        Ok(Links {
            address: self.address()?,
            shared: Arc::clone(&self.shared),
        })
    }

    /// Serves until the future is dropped.
    pub async fn serve(self) -> Infallible {
        let mut tasks = JoinSet::new();
        let home = self.shared.options.home.clone();
        tasks.spawn(self.shared.live.clone().run(home));
        loop {
            let accepted = tokio::select! {
                // The other one is the pictures'.
                accepted = self.listener.accept(), if tasks.len() <= MAX_CONNECTIONS => accepted,
                Some(_) = tasks.join_next() => continue,
            };
            match accepted {
                Ok((stream, _)) => {
                    tasks.spawn(connection(stream, Arc::clone(&self.shared)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

/// Makes links; each opens the page once.
pub struct Links {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Links {
    /// # Errors
    /// The system has no random bytes.
    pub fn next(&self) -> io::Result<String> {
        let token = random()?;
        let link = format!("http://{}/?token={}", self.address, token.text());
        let now = self.shared.start.elapsed();
        self.shared.with_access(|access| access.offer(now, token));
        Ok(link)
    }
}

fn random() -> io::Result<Secret> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::from)?;
    Ok(Secret::new(bytes))
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // Pictures are small and should not wait for each other.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    // A connection that breaks concerns nobody but its browser.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Shared {
    fn with_access<T>(&self, action: impl FnOnce(&mut Access) -> T) -> T {
        action(&mut self.access.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let uri = request.uri();
        let query = uri.query().unwrap_or_default();
        let wanted = route(request.method(), uri.path(), query, &self.mount);
        let kind = wanted.kind();
        match guard::check(request.headers(), kind) {
            Ok(()) => {}
            Err(breach) => return refuse(breach),
        }
        match wanted {
            Route::Link(token) => return self.open(&token),
            Route::Front => return closed(),
            Route::Missing => return missing(),
            Route::Method => return wrong_method(),
            Route::Asset(_)
            | Route::Hello
            | Route::Live
            | Route::Series(_)
            | Route::Ask(_)
            | Route::Logs(_)
            | Route::Order
            | Route::Wrong(_) => {}
        }
        let cookie = guard::cookie(request.headers(), COOKIE).unwrap_or_default();
        let session = self.with_access(|access| access.session(cookie).cloned());
        match session {
            Some(session) => self.inside(wanted, request, &session).await,
            None if kind == Kind::Page => closed(),
            None => respond::wrong(
                StatusCode::UNAUTHORIZED,
                "this browser has no session",
                "the dashboard was started again, or another browser took the session's place",
                "open the link that `pando dashboard` prints",
            ),
        }
    }

    fn open(&self, token: &str) -> Answer {
        let (Ok(cookie), Ok(csrf)) = (random(), random()) else {
            return respond::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The system has no random bytes.",
            );
        };
        let pair = format!("{COOKIE}={}", cookie.text());
        let session = Session { cookie, csrf };
        let now = self.start.elapsed();
        match self.with_access(|access| access.exchange(now, token, session)) {
            Ok(()) => respond::enter(&pair, &self.mount).unwrap_or_else(|_| closed()),
            Err(Refused::Unknown) => respond::text(
                StatusCode::FORBIDDEN,
                "This link was used already, or is not of this dashboard.\n\n\
                 A link opens the dashboard once. For another one press Enter where `pando dashboard` runs, or run it again.",
            ),
            Err(Refused::Late) => respond::text(
                StatusCode::FORBIDDEN,
                &format!(
                    "This link is too old: it is good for {} minutes.\n\n\
                     For another one press Enter where `pando dashboard` runs, or run it again.",
                    LINK_LIFE.as_secs() / 60
                ),
            ),
        }
    }

    /// For those who have a session.
    async fn inside(&self, wanted: Route, request: Request<Incoming>, session: &Session) -> Answer {
        let home = self.options.home.clone();
        match wanted {
            Route::Asset(name) => match self.assets.find(&name) {
                Some(asset) => respond::asset(asset, takes_gzip(&request)),
                None => missing(),
            },
            Route::Hello => respond::json(
                StatusCode::OK,
                &json!({
                    "csrf": session.csrf.text(),
                    "read_only": self.options.read_only,
                    "version": env!("CARGO_PKG_VERSION"),
                }),
            ),
            Route::Live => respond::events(Body::made_by(|out| self.live.serve(out))),
            Route::Series(queries) => told(ask::series(&home, queries).await),
            Route::Ask(question) => told(ask::question(&home, question).await),
            Route::Logs(lines) => match Search::new(&lines.search) {
                Ok(search) => {
                    respond::events(Body::made_by(|out| logs::serve(home, lines, search, out)))
                }
                Err(why) => respond::wrong(
                    StatusCode::BAD_REQUEST,
                    "the search is not understood",
                    &why,
                    "text between slashes is a regular expression; without them it is plain text",
                ),
            },
            Route::Order => self.order(request, session).await,
            Route::Wrong(why) => respond::wrong(
                StatusCode::BAD_REQUEST,
                "the question is not understood",
                &why,
                "",
            ),
            Route::Link(_) | Route::Front | Route::Missing | Route::Method => missing(),
        }
    }

    async fn order(&self, request: Request<Incoming>, session: &Session) -> Answer {
        if self.options.read_only {
            return respond::wrong(
                StatusCode::FORBIDDEN,
                "this dashboard only shows",
                "it was started with --read-only",
                "use the `pando` command, or start a dashboard without it",
            );
        }
        let header = |name: &HeaderName| request.headers().get(name).and_then(|v| v.to_str().ok());
        let is_json = header(&CONTENT_TYPE).is_some_and(|media| media == "application/json");
        if !is_json || !session.has_csrf(header(&CSRF).unwrap_or_default()) {
            return refuse(Breach::Origin);
        }
        let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
        let Ok(Ok(body)) = timeout(BODY_TIMEOUT, body).await else {
            return respond::wrong(
                StatusCode::BAD_REQUEST,
                "the order could not be read",
                "it is too large or came too slowly",
                "",
            );
        };
        match serde_json::from_slice(&body.to_bytes()) {
            Ok(order) => told(ask::order(&self.options.home, order).await),
            Err(error) => respond::wrong(
                StatusCode::BAD_REQUEST,
                "the order is not understood",
                &error.to_string(),
                "",
            ),
        }
    }
}

fn told(asked: ask::Asked) -> Answer {
    match asked {
        Ok(value) => respond::json(StatusCode::OK, &value),
        Err((status, problem)) => respond::problem(status, &problem),
    }
}

fn takes_gzip(request: &Request<Incoming>) -> bool {
    let said = request.headers().get(ACCEPT_ENCODING);
    let said = said.and_then(|value| value.to_str().ok()).unwrap_or("");
    said.split(',')
        .any(|coding| coding.trim().eq_ignore_ascii_case("gzip"))
}

fn closed() -> Answer {
    respond::text(
        StatusCode::UNAUTHORIZED,
        "This is Pando's dashboard. Open the link that `pando dashboard` prints; it has a token that is good once.",
    )
}

fn missing() -> Answer {
    respond::wrong(StatusCode::NOT_FOUND, "there is nothing here", "", "")
}

fn wrong_method() -> Answer {
    respond::wrong(
        StatusCode::METHOD_NOT_ALLOWED,
        "the method is not one of this address",
        &format!("pages and data are read with {}", Method::GET),
        "",
    )
}

fn refuse(breach: Breach) -> Answer {
    let (what, why) = match breach {
        Breach::Host => (
            "the request is for another host",
            "a dashboard answers to 127.0.0.1, localhost and [::1] only",
        ),
        Breach::Origin => (
            "the request comes from another page",
            "only the dashboard's own page may ask this",
        ),
    };
    respond::wrong(
        StatusCode::FORBIDDEN,
        what,
        why,
        "open the link that `pando dashboard` prints; over ssh, forward the port with `ssh -L`",
    )
}
