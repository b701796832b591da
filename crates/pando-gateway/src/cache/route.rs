//! The cache of one route: what of its requests the cache is asked about at all.

use std::sync::Arc;

use gateway_spec::Cache;
use http::header::{
    CONTENT_LENGTH, CONTENT_LOCATION, COOKIE, EXPIRES, HOST, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_cache::{
    Asked, Forward, Origin, Report, RequestControl, ResponseControl, Rules, SetCookie, assess,
    has_condition, invalidated,
};

use super::key::Address;
use super::outcome::CacheStatus;
use super::store::Store;
use super::{now_ms, pump, retrieve};
use crate::body::Body;

/// Cheap to clone and shared by all connections.
#[derive(Clone)]
pub struct RouteCache {
    route: Arc<Route>,
}

pub(super) struct Route {
    pub(super) store: Arc<Store>,
    pub(super) rules: Rules,
    /// Entries of other routes are not seen.
    pub(super) scope: u64,
    pub(super) max_object_bytes: u64,
    /// Sorted into every entry's `Vary`.
    pub(super) key_headers: Vec<HeaderName>,
    pub(super) ignore_query: Vec<String>,
    pub(super) surrogate_header: String,
    bypass_cookies: Vec<String>,
}

impl RouteCache {
    /// `identity` tells routes apart that serve the same addresses differently; what is on disk is
    /// found again under the same one.
    pub fn new(spec: &Cache, store: Arc<Store>, identity: &str) -> Self {
        let names = spec.key_headers.iter();
        let key_headers = names.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
        Self {
            route: Arc::new(Route {
                store,
                rules: Rules {
                    default_ttl_ms: spec.default_ttl_ms,
                    force_ttl_ms: spec.force_ttl_ms,
                    stale_while_revalidate_ms: spec.stale_while_revalidate_ms,
                    stale_if_error_ms: spec.stale_if_error_ms,
                    set_cookie: SetCookie::default(),
                },
                scope: fnv1a(identity),
                max_object_bytes: spec.max_object_bytes,
                key_headers: key_headers.collect(),
                ignore_query: spec.ignore_query.clone(),
                surrogate_header: spec.surrogate_header.to_ascii_lowercase(),
                bypass_cookies: spec.bypass_cookies.clone(),
            }),
        }
    }

    /// Answers `request` from the store, or with what `fetch` brings. A failed fetch is an answer
    /// too, with [`super::FetchFailed`] among its extensions. `host` is the name that answers
    /// are kept under, with or without a port.
    pub async fn handle<F, Fut>(
        &self,
        scheme: &str,
        host: &str,
        request: Request<Body>,
        fetch: F,
    ) -> (Response<Body>, CacheStatus)
    where
        F: Fn(Request<Body>) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Response<Body>> + Send + 'static,
    {
        let retrieves = [Method::GET, Method::HEAD].contains(request.method());
        // Whatever waits is on the heap: idle connections have room for this future too.
        let (response, status) = if !retrieves {
            let altered = Box::pin(self.route.alter(scheme, host, request, &fetch));
            (altered.await, CacheStatus::Bypass)
        } else if self.route.bypasses(&request) {
            let mut response = Box::pin(fetch(request)).await;
            reported(&mut response, Forward::Bypass);
            (response, CacheStatus::Bypass)
        } else {
            let (parts, body) = request.into_parts();
            match retrieve::in_memory(&self.route, scheme, host, &parts, &fetch) {
                Ok(answer) => answer,
                Err(search) => {
                    let route = self.route.clone();
                    let beyond = retrieve::beyond_memory(route, search, parts, body, fetch);
                    Box::pin(beyond).await
                }
            }
        };
        self.route.store.counted(status);
        (response, status)
    }
}

impl Route {
    fn bypasses(&self, request: &Request<Body>) -> bool {
        let headers = request.headers();
        let body = headers.contains_key(TRANSFER_ENCODING)
            || headers
                .get(CONTENT_LENGTH)
                .is_some_and(|length| length != "0");
        body || !request.body().is_end_stream()
            || headers.contains_key(UPGRADE)
            || has_condition(headers)
            || (!self.bypass_cookies.is_empty() && has_cookie(headers, &self.bypass_cookies))
    }

    pub(super) fn address<'a>(&self, scheme: &'a str, host: &'a str, path: &'a str) -> Address<'a> {
        Address::new(scheme, host, path, &self.ignore_query)
    }

    /// A method that may change what is stored, or asks for what is never stored.
    async fn alter<F, Fut>(
        self: &Arc<Self>,
        scheme: &str,
        host: &str,
        request: Request<Body>,
        fetch: &F,
    ) -> Response<Body>
    where
        F: Fn(Request<Body>) -> Fut,
        Fut: Future<Output = Response<Body>>,
    {
        let method = request.method().clone();
        let path = path(request.uri()).to_owned();
        let asked = (method == Method::POST).then(|| request.headers().clone());
        let sent_ms = now_ms();
        // Locations name the host as the client does, with a port that `host` may lack.
        let named = request.headers().get(HOST).cloned();
        let named = named.as_ref().and_then(|host| host.to_str().ok());
        let mut response = fetch(request).await;
        let origin = Origin {
            scheme,
            host: named.unwrap_or(host),
            path_and_query: &path,
        };
        for path in invalidated(&method, response.status(), origin, response.headers()) {
            let address = self.address(scheme, host, &path);
            self.store
                .invalidate(address.hash(&self.store.hasher), &address.text());
        }
        if let Some(asked) = asked
            && is_its_own_representation(origin, &response)
        {
            let origin = Origin { host, ..origin };
            return self.keep_posted(origin, &asked, sent_ms, response);
        }
        reported(&mut response, Forward::Method);
        response
    }

    /// The answer to a POST that is what a GET would bring (RFC 9110 section 9.3.3).
    fn keep_posted(
        self: &Arc<Self>,
        origin: Origin<'_>,
        request: &HeaderMap,
        sent_ms: u64,
        response: Response<Body>,
    ) -> Response<Body> {
        let asked = asked(request, RequestControl::parse(request).no_store);
        let now_ms = now_ms();
        let head = response.headers();
        let assessed = assess(&self.rules, asked, response.status(), head, sent_ms, now_ms);
        let address = self.address(origin.scheme, origin.host, origin.path_and_query);
        let target = pump::Target {
            hash: address.hash(&self.store.hasher),
            address: address.text(),
            moment: self.store.moment(),
        };
        let report = Report {
            forward: Some(Forward::Method),
            ..Report::default()
        };
        match assessed {
            Ok(freshness) => self.fill(target, request, response, freshness, None, report),
            Err(_) => {
                let mut response = response;
                report.write(response.headers_mut());
                response
            }
        }
    }
}

/// 200 with explicit freshness that names the address asked for as its own.
fn is_its_own_representation(origin: Origin<'_>, response: &Response<Body>) -> bool {
    let headers = response.headers();
    let Some(location) = headers.get(CONTENT_LOCATION).and_then(|l| l.to_str().ok()) else {
        return false;
    };
    let control = ResponseControl::parse(headers);
    let explicit = control.max_age.or(control.s_maxage).is_some() || headers.contains_key(EXPIRES);
    explicit
        && response.status() == StatusCode::OK
        && origin.resolve(location).as_deref() == Some(origin.path_and_query)
}

pub(super) fn asked(request: &HeaderMap, no_store: bool) -> Asked {
    Asked {
        authorization: request.contains_key(http::header::AUTHORIZATION),
        no_store,
    }
}

pub(super) fn path(uri: &http::Uri) -> &str {
    uri.path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str)
}

pub(super) fn reported(response: &mut Response<Body>, forward: Forward) {
    // An answer that switches protocols is not the cache's to speak of.
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let report = Report {
            forward: Some(forward),
            ..Report::default()
        };
        report.write(response.headers_mut());
    }
}

fn has_cookie(headers: &HeaderMap, names: &[String]) -> bool {
    let lines = headers.get_all(COOKIE).iter();
    let mut pairs = lines.flat_map(|line| line.as_bytes().split(|b| *b == b';'));
    pairs.any(|pair| {
        let name = pair.split(|b| *b == b'=').next().unwrap_or_default();
        let name = name.trim_ascii();
        names.iter().any(|wanted| wanted.as_bytes() == name)
    })
}

/// The same in every process: scopes are written to disk.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn cookies_by_name() {
        let check = |line: &'static str, want| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_static(line));
            assert_eq!(has_cookie(&headers, &["sid".to_owned()]), want, "{line}");
        };
        check("sid=1", true);
        check("a=b; sid=1", true);
        check("a=sid; xsid=1", false);
    }
}
