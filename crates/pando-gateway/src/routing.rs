//! From a request to the route that serves it: host, then the first route that matches.

pub mod path;
mod pattern;
pub mod template;

use std::collections::HashMap;
use std::sync::Arc;

use gateway_spec::{GatewaySpec, HeaderMatch, Matches, PathMatch};
use http::{HeaderMap, HeaderName, Method};

use crate::route::{Build, Route};
use pattern::Pattern;

/// All sites of one configuration.
#[derive(Default)]
pub struct Routing {
    exact: HashMap<Box<str>, Arc<Site>>,
    /// `.example.com` for `*.example.com`, the longest first.
    wildcards: Vec<(Box<str>, Arc<Site>)>,
    any: Option<Arc<Site>>,
}

pub struct Site {
    /// As logs call it: its first host.
    pub name: Arc<str>,
    pub redirect_https: bool,
    pub hsts: Option<http::HeaderValue>,
    routes: Vec<(Matcher, Arc<Route>)>,
}

/// What a route's path bound to names.
pub type Params = Vec<(String, String)>;

/// A route that matches, its place among the site's, and its parameters.
pub struct Found<'s> {
    pub route: &'s Arc<Route>,
    pub index: usize,
    pub params: Params,
}

impl Routing {
    pub fn new(spec: &GatewaySpec, build: &mut Build<'_>) -> Self {
        let mut routing = Self::default();
        for spec in &spec.sites {
            let site = Arc::new(Site::new(spec, build));
            for host in &spec.hosts {
                let host = host.to_ascii_lowercase();
                if host == "*" {
                    routing.any = Some(site.clone());
                } else if let Some(suffix) = host.strip_prefix('*') {
                    routing.wildcards.push((suffix.into(), site.clone()));
                } else {
                    routing.exact.insert(host.into(), site.clone());
                }
            }
        }
        routing
            .wildcards
            .sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        routing
    }

    /// The site of a host, given in lower case and without a port.
    pub fn site(&self, host: &str) -> Option<&Arc<Site>> {
        if self.exact.is_empty() && self.wildcards.is_empty() {
            return self.any.as_ref();
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        self.exact
            .get(host)
            .or_else(|| {
                let mut wildcards = self.wildcards.iter();
                wildcards
                    .find(|(suffix, _)| host.len() > suffix.len() && host.ends_with(&**suffix))
                    .map(|(_, site)| site)
            })
            .or(self.any.as_ref())
    }

    pub fn sites(&self) -> impl Iterator<Item = &Arc<Site>> {
        let wildcards = self.wildcards.iter().map(|(_, site)| site);
        self.exact.values().chain(wildcards).chain(&self.any)
    }
}

impl Site {
    fn new(spec: &gateway_spec::Site, build: &mut Build<'_>) -> Self {
        let name: Arc<str> = spec.hosts.first().map_or("*", String::as_str).into();
        let routes = spec.routes.iter().map(|route| {
            let compiled = Route::new(route, &name, build);
            (Matcher::new(&route.matches), compiled)
        });
        Self {
            redirect_https: spec.redirect_https.unwrap_or(spec.tls.is_some()),
            hsts: spec.hsts_seconds.and_then(|seconds| {
                http::HeaderValue::from_str(&format!("max-age={seconds}")).ok()
            }),
            routes: routes.collect(),
            name,
        }
    }

    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter().map(|(_, route)| route)
    }

    /// The first route from `from` on that takes the request.
    pub fn find(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        from: usize,
    ) -> Option<Found<'_>> {
        let routes = self.routes.iter().enumerate().skip(from);
        for (index, (matcher, route)) in routes {
            if let Some(params) = matcher.matches(method, path, headers) {
                return Some(Found {
                    route,
                    index,
                    params,
                });
            }
        }
        None
    }

    /// Every route with why it does not take the request; `None` for the one that does and all
    /// behind it.
    pub fn explain(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Vec<(Arc<Route>, Option<String>)> {
        let routes = self.routes.iter();
        routes
            .map(|(matcher, route)| (route.clone(), matcher.refusal(method, path, headers)))
            .collect()
    }
}

struct Matcher {
    path: PathMatcher,
    methods: Vec<Method>,
    headers: Vec<(HeaderName, Option<String>)>,
}

enum PathMatcher {
    Exact(String),
    Prefix(String),
    Pattern(Pattern),
    Extensions(String, Vec<String>),
}

impl Matcher {
    fn new(spec: &Matches) -> Self {
        let path = match &spec.path {
            PathMatch::Exact(path) => PathMatcher::Exact(path.clone()),
            PathMatch::Prefix(prefix) => PathMatcher::Prefix(prefix.clone()),
            PathMatch::Params(pattern) => PathMatcher::Pattern(Pattern::new(pattern)),
            PathMatch::Extensions { prefix, extensions } => {
                PathMatcher::Extensions(prefix.clone(), extensions.clone())
            }
        };
        let methods = spec.methods.iter();
        Self {
            path,
            methods: methods
                .filter_map(|m| Method::from_bytes(m.as_bytes()).ok())
                .collect(),
            headers: spec.headers.iter().filter_map(header).collect(),
        }
    }

    fn matches(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Params> {
        let params = self.path.matches(path)?;
        (self.takes_method(method) && self.headers.iter().all(|h| has(headers, h)))
            .then_some(params)
    }

    fn takes_method(&self, method: &Method) -> bool {
        self.methods.is_empty()
            || self.methods.contains(method)
            || (method == Method::HEAD && self.methods.contains(&Method::GET))
    }

    fn refusal(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<String> {
        if self.path.matches(path).is_none() {
            return Some("the path does not match".into());
        }
        if !self.takes_method(method) {
            return Some(format!("it does not take {method}"));
        }
        let missing = self.headers.iter().find(|h| !has(headers, h))?;
        Some(match &missing.1 {
            Some(value) => format!("header {} is not {value:?}", missing.0),
            None => format!("there is no header {}", missing.0),
        })
    }
}

/// A header to look for; one whose name cannot be one never matches, and the file's check says so.
pub fn header(spec: &HeaderMatch) -> Option<(HeaderName, Option<String>)> {
    let name = HeaderName::from_bytes(spec.name.as_bytes()).ok()?;
    Some((name, spec.value.clone()))
}

/// Whether a header is there, with that value if one is asked for.
pub fn has(headers: &HeaderMap, (name, value): &(HeaderName, Option<String>)) -> bool {
    let mut values = headers.get_all(name).iter();
    match value {
        Some(wanted) => values.any(|v| v.as_bytes() == wanted.as_bytes()),
        None => values.next().is_some(),
    }
}

impl PathMatcher {
    fn matches(&self, path: &str) -> Option<Params> {
        match self {
            Self::Exact(exact) => (path == exact).then(Vec::new),
            Self::Prefix(prefix) => path.starts_with(&**prefix).then(Vec::new),
            Self::Pattern(pattern) => pattern.matches(path),
            Self::Extensions(prefix, extensions) => (path.starts_with(&**prefix)
                && PathMatch::has_extension(path, extensions))
            .then(Vec::new),
        }
    }
}
