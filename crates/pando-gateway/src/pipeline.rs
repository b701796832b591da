//! One request from its head to its answer: a table of contents of what the gateway does.
//!
//! What most requests do not do is boxed where it is awaited: the future of every request is as
//! large as its largest way, and is moved before it is first polled.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::Incoming;

use crate::body::Body;
use crate::cache::RouteCache;
use crate::client::{Client, Scheme};
use crate::files;
use crate::forward::{self, Call, Served, Upgrading};
use crate::ids::Ids;
use crate::limits::Pass;
use crate::measure::account::Account;
use crate::protect::Granted;
use crate::reply;
use crate::route::{Action, Edit, Rewrite, Route};
use crate::routing::template::{Template, Values};
use crate::routing::{Params, Site, path};
use crate::serve::OutBody;
use crate::serve::conn::ConnState;
use crate::serve::io::ClientIo;
use crate::shared::{Config, Thread};
use crate::trace::Tracer;
use crate::{clock, compress};

/// The connection a request came by.
pub struct Origin {
    pub conn: Arc<ConnState>,
    pub io: ClientIo,
}

/// One request on its way.
struct Exchange {
    thread: Arc<Thread>,
    origin: Arc<Origin>,
    config: Arc<Config>,
    client: Client,
    trusted: bool,
    ids: Arc<Ids>,
    tracer: Option<Arc<Tracer>>,
    /// As the client wrote it, with its port.
    host: Arc<str>,
}

/// What has become of it so far.
struct Trace {
    account: Box<Account>,
    granted: Granted,
    /// Path, query and parameters, for templates of the answer's headers.
    matched: Option<Box<(String, Option<String>, Params)>>,
    /// The request's place among the concurrent ones, until the answer is complete.
    pass: Pass,
}

/// Answers a request. Never fails: an error is an answer.
pub async fn answer(
    thread: Arc<Thread>,
    origin: Arc<Origin>,
    request: Request<Incoming>,
) -> Response<OutBody> {
    let begun = Instant::now();
    let config = thread.shared.config.load_full();
    let samples = config.tracer.as_ref();
    let samples = samples.map(|tracer| |trace_id| tracer.samples(trace_id));
    let ids = Arc::new(Ids::of(request.headers(), samples, || {
        std::array::from_fn(|_| fastrand::u64(..))
    }));
    let recorded = ids.recorded().is_some();
    // Most requests are not recorded, and all threads would count at its one counter.
    let tracer = config.tracer.as_ref().filter(|_| recorded).cloned();
    let (client, trusted) = client(&origin.conn, &config, request.headers());
    let host: Arc<str> = host_of(&request).unwrap_or("").into();
    let detailed = config.access_log.is_on() || recorded;
    let mut trace = Trace {
        account: Account::open(
            &thread,
            &origin.conn,
            (&host, &ids),
            (&request, client),
            (begun, detailed),
        ),
        granted: Granted::default(),
        matched: None,
        pass: Pass::default(),
    };
    trace.account.tracer = tracer.clone();
    let log = &config.access_log;
    trace.account.log = log.is_on().then(|| log.clone());
    let is_old = request.version() == Version::HTTP_10;
    let asks_close = is_old && !says_keep_alive(request.headers());
    let exchange = Exchange {
        thread,
        origin,
        config,
        client,
        trusted,
        ids,
        tracer,
        host,
    };
    let may_hold = !exchange.origin.conn.is_h2 && request.headers().contains_key(header::UPGRADE);
    let response = exchange.answer(request, &mut trace).await;
    if may_hold {
        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        exchange.origin.io.release(upgraded);
    }
    exchange.finish(response, trace, asks_close)
}

/// Whom the request is from: the peer, or whom a trusted peer speaks for.
fn client(conn: &ConnState, config: &Config, headers: &http::HeaderMap) -> (Client, bool) {
    let mut client = Client {
        ip: conn.peer.ip().to_canonical(),
        peer: conn.peer,
        local: conn.local,
        scheme: conn.scheme,
    };
    let trusted = config.trusts(client.ip);
    if trusted {
        let for_whom = headers.get_all(forward::head::X_FORWARDED_FOR).iter();
        let hops = for_whom
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','));
        let hops: Vec<std::net::IpAddr> = hops.filter_map(|hop| hop.trim().parse().ok()).collect();
        // The last that is not one of ours: those before it are whatever the client wrote.
        if let Some(ip) = hops
            .iter()
            .rev()
            .find(|ip| !config.trusts(**ip))
            .or(hops.first())
        {
            client.ip = ip.to_canonical();
        }
        if headers
            .get(forward::head::X_FORWARDED_PROTO)
            .is_some_and(|v| v == "https")
        {
            client.scheme = Scheme::Https;
        }
    }
    (client, trusted)
}

/// The target's authority, else `Host` (RFC 9112 section 3.2.2).
fn host_of(request: &Request<Incoming>) -> Option<&str> {
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => request.headers().get(header::HOST)?.to_str().ok(),
    }
}

/// Lower case and without the port, as sites are found by.
pub(crate) fn site_name(host: &str) -> std::borrow::Cow<'_, str> {
    let end = match host.rfind(':') {
        Some(colon) if !host.ends_with(']') => colon,
        Some(_) | None => host.len(),
    };
    let name = &host[..end];
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}

fn is_look(request: &Request<Incoming>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

fn says_keep_alive(headers: &http::HeaderMap) -> bool {
    let connection = headers.get(header::CONNECTION);
    connection.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"keep-alive"))
}

impl Exchange {
    async fn answer(&self, mut request: Request<Incoming>, trace: &mut Trace) -> Response<Body> {
        let health = self.config.health.as_deref();
        if health.is_some_and(|health| health == request.uri().path()) && is_look(&request) {
            trace.account.quiet = true;
            return self.health();
        }
        let upgrade = self.upgrade(&mut request);
        let (parts, body) = request.into_parts();
        if self.host.is_empty() || self.host.contains('@') {
            return self.refuse(StatusCode::BAD_REQUEST, "there is no host in the request");
        }
        let name = site_name(&self.host);
        let Some(site) = self.config.routing.site(&name) else {
            return self.refuse(StatusCode::NOT_FOUND, "no site has this host name");
        };
        trace.account.site = Some(site.clone());
        if let Some(answer) = self.challenge(parts.uri.path()) {
            return answer;
        }
        if site.redirect_https && self.client.scheme == Scheme::Http {
            return self.to_https(&parts.uri, &name);
        }
        // A CONNECT that is not an extended one asks for a forward proxy, which this is not.
        let connect = parts.method == Method::CONNECT && upgrade.is_none();
        let path = match parts.uri.path() {
            _ if connect => None,
            "*" if parts.method == Method::OPTIONS => Some("*".into()),
            path => path::normalise(path),
        };
        let Some(path) = path else {
            return self.refuse(StatusCode::BAD_REQUEST, "the path is not valid");
        };
        let path = path.into_owned();
        let site = site.clone();
        self.route(&site, &path, parts, body, upgrade, trace).await
    }

    /// The first route that takes the request and has an answer.
    async fn route(
        &self,
        site: &Site,
        path: &str,
        mut parts: http::request::Parts,
        body: Incoming,
        mut upgrade: Option<Upgrading>,
        trace: &mut Trace,
    ) -> Response<Body> {
        let mut from = 0;
        loop {
            let Some(found) = site.find(&parts.method, path, &parts.headers, from) else {
                let why = "no route of this site takes this request";
                return self.refuse(StatusCode::NOT_FOUND, why);
            };
            let route = found.route.clone();
            trace.account.route = Some(route.clone());
            if let Err(refusal) = self.admit(&route, &mut parts, trace).await {
                return refusal;
            }
            if !route.response_headers.is_empty() {
                let query = parts.uri.query().map(str::to_owned);
                trace.matched = Some(Box::new((path.to_owned(), query, found.params.clone())));
            }
            let asked = route.compress.as_ref().map(|_| compress::Asked::of(&parts));
            let response = if let Action::Files(files) = &route.action {
                let rewritten = self.rewritten(&route, path, &found.params, parts.uri.query());
                let (of_path, _) = split_query(rewritten.as_deref().unwrap_or(path));
                match Box::pin(files.serve(&parts, of_path)).await {
                    files::Outcome::Response(response) => response,
                    files::Outcome::NotFound => {
                        from = found.index + 1;
                        continue;
                    }
                }
            } else {
                self.rewrite(&route, path, &found.params, &mut parts);
                self.edit(&route.request_headers, path, &found.params, &mut parts);
                let request = Request::from_parts(parts, body.into());
                self.act(&route, path, &found.params, request, upgrade.take(), trace)
                    .await
            };
            return match (&route.compress, asked) {
                (Some(compress), Some(asked)) => compress.apply(asked, response),
                (Some(_) | None, _) => response,
            };
        }
    }

    /// Addresses, then limits, then who it is.
    async fn admit(
        &self,
        route: &Route,
        parts: &mut http::request::Parts,
        trace: &mut Trace,
    ) -> Result<(), Response<Body>> {
        let guarded = !route.protect.is_empty();
        if guarded {
            trace.granted = route.protect.begin(parts);
        }
        if guarded && let Some(refusal) = route.protect.refuse_address(&self.client) {
            return Err(refusal);
        }
        if !route.limits.is_empty() {
            let now_ms = clock::now_ms();
            let checked = Box::pin(route.limits.check(&self.client, parts, now_ms)).await;
            trace.pass = checked.inspect_err(|_| self.thread.counts().limited.add(1))?;
        }
        if guarded {
            let granted = &mut trace.granted;
            Box::pin(route.protect.authenticate(parts, granted)).await?;
        }
        Ok(())
    }

    /// For load balancers in front. While another gateway takes over there is nothing to see.
    fn health(&self) -> Response<Body> {
        let (status, text) = if self.thread.shared.leaving.load(Relaxed) {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        } else {
            (StatusCode::OK, "ok\n")
        };
        let mut response = reply::plain(status, text);
        let no_store = HeaderValue::from_static("no-store");
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, no_store);
        response
    }

    /// A certificate authority's question (RFC 8555 section 8.3).
    fn challenge(&self, path: &str) -> Option<Response<Body>> {
        let token = path.strip_prefix("/.well-known/acme-challenge/")?;
        let answer = self.thread.shared.challenges.response(token)?;
        Some(reply::plain(StatusCode::OK, answer))
    }

    async fn act(
        &self,
        route: &Arc<Route>,
        path: &str,
        params: &Params,
        request: Request<Body>,
        upgrade: Option<Upgrading>,
        trace: &mut Trace,
    ) -> Response<Body> {
        match &route.action {
            Action::Files(_) => self.refuse(StatusCode::NOT_FOUND, "there is no such file"),
            Action::Redirect { status, to } => {
                let to = to.render(&self.values(path, request.uri().query(), params));
                reply::redirect(*status, &to)
            }
            Action::Respond {
                status,
                body,
                content_type,
            } => {
                let mut response = reply::plain(*status, body.clone());
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, content_type.clone());
                response
            }
            Action::Proxy(_) | Action::Split(_) => {
                let Some(group) = route.action.group(request.headers(), fastrand::u32(..)) else {
                    return self.refuse(StatusCode::SERVICE_UNAVAILABLE, "no branch has a weight");
                };
                let call = Call {
                    thread: self.thread.clone(),
                    route: route.clone(),
                    group: group.clone(),
                    client: self.client,
                    trusted: self.trusted,
                    ids: self.ids.clone(),
                    tracer: self.tracer.clone(),
                    host: self.host.clone(),
                    early: (!self.origin.conn.is_h2).then(|| self.origin.conn.clone()),
                };
                // What one user may see is not for the next one.
                let for_all = upgrade.is_none() && !route.protect.authenticates();
                if let Some(cache) = route.cache.as_ref().filter(|_| for_all) {
                    return Box::pin(self.cached(cache, call, request, trace)).await;
                }
                forward::forward(&call, request, upgrade).await
            }
        }
    }

    async fn cached(
        &self,
        cache: &RouteCache,
        mut call: Call,
        request: Request<Body>,
        trace: &mut Trace,
    ) -> Response<Body> {
        // What is fetched for many may take longer than this client's connection lives.
        call.early = None;
        let call = Arc::new(call);
        let fetch = move |request| {
            let call = call.clone();
            async move { forward::forward(&call, request, None).await }
        };
        let scheme = self.client.scheme.as_str();
        let (response, status) = cache.handle(scheme, &self.host, request, fetch).await;
        trace.account.cache = status.as_str();
        response
    }

    /// What the request asks to change to; `None` for what is no upgrade or must not be one.
    fn upgrade(&self, request: &mut Request<Incoming>) -> Option<Upgrading> {
        if let Some(protocol) = request.extensions().get::<hyper::ext::Protocol>() {
            let protocol = protocol.as_str().as_bytes().to_vec();
            return Some(Upgrading {
                on: hyper::upgrade::on(request),
                protocol,
                extended: true,
            });
        }
        let protocol = request.headers().get(header::UPGRADE)?.as_bytes().to_vec();
        let named = request
            .headers()
            .get_all(header::CONNECTION)
            .iter()
            .any(|value| {
                let mut words = value.as_bytes().split(|&b| b == b',');
                words.any(|w| w.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
            });
        // Moving to h2c would let requests pass that no route has seen.
        let bodiless = http_body::Body::is_end_stream(request.body());
        let wanted = named && bodiless && !protocol.eq_ignore_ascii_case(b"h2c");
        if !wanted || request.version() != Version::HTTP_11 {
            self.origin.io.release(false);
            return None;
        }
        Some(Upgrading {
            on: hyper::upgrade::on(request),
            protocol,
            extended: false,
        })
    }

    fn refuse(&self, status: StatusCode, why: &str) -> Response<Body> {
        reply::error(status, why, &self.ids)
    }

    fn to_https(&self, uri: &Uri, name: &str) -> Response<Body> {
        let port = self.config.https_port.filter(|port| *port != 443);
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        let target = uri.path_and_query().map_or("/", |pq| pq.as_str());
        let to = format!("https://{name}{port}{target}");
        reply::redirect(StatusCode::PERMANENT_REDIRECT, &to)
    }

    fn values<'v>(
        &'v self,
        path: &'v str,
        query: Option<&'v str>,
        params: &'v Params,
    ) -> Values<'v> {
        Values {
            host: &self.host,
            path,
            query,
            scheme: self.client.scheme.as_str(),
            client_ip: &self.client.ip,
            request_id: self.ids.request_id(),
            params,
        }
    }

    /// Sets the path that goes on: the one that was matched, or what the route makes of it.
    fn rewrite(
        &self,
        route: &Route,
        path: &str,
        params: &Params,
        parts: &mut http::request::Parts,
    ) {
        let query = parts.uri.query();
        let target = match self.rewritten(route, path, params, query) {
            Some(target) => target,
            None if path == parts.uri.path() => return,
            None => with_query(path, query),
        };
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        match target.parse() {
            Ok(target) => uri.path_and_query = Some(target),
            Err(error) => {
                tracing::warn!(route = %route.name, %error, "a rewrite makes no valid path");
            }
        }
        parts.uri = Uri::from_parts(uri).unwrap_or_default();
    }

    /// Path and query as the route changes them.
    fn rewritten(
        &self,
        route: &Route,
        path: &str,
        params: &Params,
        query: Option<&str>,
    ) -> Option<String> {
        Some(match route.rewrite.as_ref()? {
            Rewrite::Prefix { strip, with } => {
                let rest = path.get(*strip..).unwrap_or("");
                let rest = rest.strip_prefix('/').unwrap_or(rest);
                let slash = if with.ends_with('/') { "" } else { "/" };
                with_query(&format!("{with}{slash}{rest}"), query)
            }
            Rewrite::Template(template) => template.render(&self.values(path, query, params)),
            Rewrite::Regex {
                pattern,
                replacement,
            } => with_query(&pattern.replace(path, replacement), query),
        })
    }

    fn edit(&self, edits: &[Edit], path: &str, params: &Params, parts: &mut http::request::Parts) {
        if !edits.is_empty() {
            let query = parts.uri.query().map(str::to_owned);
            let values = self.values(path, query.as_deref(), params);
            apply(edits, &values, &mut parts.headers);
        }
    }

    /// The last touches, for every answer.
    fn finish(
        &self,
        response: Response<Body>,
        mut trace: Trace,
        asks_close: bool,
    ) -> Response<OutBody> {
        let (mut parts, body) = response.into_parts();
        trace.pass.decorate(&mut parts.headers);
        let route = trace.account.route.as_ref();
        if let Some(route) = route.filter(|r| !r.protect.is_empty()) {
            route.protect.decorate(&trace.granted, &mut parts);
        }
        if let Some(route) = route.filter(|r| !r.response_headers.is_empty()) {
            let (path, query, params) = trace.matched.take().map_or_else(Default::default, |m| *m);
            let values = self.values(&path, query.as_deref(), &params);
            apply(&route.response_headers, &values, &mut parts.headers);
        }
        let hsts = trace
            .account
            .site
            .as_ref()
            .and_then(|site| site.hsts.as_ref());
        if let Some(hsts) = hsts.filter(|_| self.client.scheme == Scheme::Https) {
            parts
                .headers
                .insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        if self.origin.conn.is_h2 {
            parts.headers.remove(header::CONNECTION);
        } else if (self.thread.shared.is_draining() || asks_close)
            && parts.status != StatusCode::SWITCHING_PROTOCOLS
        {
            parts
                .headers
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let log = &self.config.access_log;
        let mut account = trace.account;
        if let Some(served) = parts.extensions.remove::<Served>() {
            account.served = served;
        }
        account.user = trace.granted.user;
        if !log.wants(parts.status.as_u16()) {
            account.log = None;
        }
        let length = http_body::Body::size_hint(&body).exact();
        account.answered(parts.status.as_u16(), length);
        let body = OutBody::new(body, account, trace.pass);
        Response::from_parts(parts, body)
    }
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

fn with_query(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

fn apply(edits: &[Edit], values: &Values<'_>, headers: &mut http::HeaderMap) {
    let value = |template: &Template| HeaderValue::from_str(&template.render(values)).ok();
    for edit in edits {
        match edit {
            Edit::Set(name, template) => {
                if let Some(value) = value(template) {
                    headers.insert(name, value);
                }
            }
            Edit::Add(name, template) => {
                if let Some(value) = value(template) {
                    headers.append(name, value);
                }
            }
            Edit::Remove(name) => {
                headers.remove(name);
            }
        }
    }
}
