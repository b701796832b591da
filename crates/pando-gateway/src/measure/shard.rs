//! Requests of one thread since the last report, by route, method and endpoint.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Weak};

use histogram::Histogram;
use http::Method;
use monitor_spec::{MAX_ENDPOINTS, OTHER, UNMATCHED, edge};
use route_fold::Folder;

use crate::route::Route;

/// Rows of one thread between two reports; what comes after has one row.
const MAX_ROWS: usize = 2048;

/// What is known of a request that has ended.
#[derive(Clone, Copy)]
pub struct Done<'d> {
    /// First host of the site, if one has the request's.
    pub site: Option<&'d Arc<str>>,
    pub route: Option<&'d Arc<Route>>,
    pub method: &'d Method,
    pub path: &'d str,
    /// 0: there was no answer.
    pub status: u16,
    pub aborted: bool,
    pub bytes_out: u64,
    pub latency_us: u64,
    pub upstream_us: Option<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Shard {
    /// By address of the route, or of the site's name where there is no route.
    routes: HashMap<usize, Rows, BuildHasherDefault<AddressHasher>>,
    rows: usize,
    rest: Option<Box<Row>>,
}

#[derive(Debug)]
struct Rows {
    site: Arc<str>,
    /// Keeps the address from being another route's.
    route: Weak<Route>,
    name: Arc<str>,
    app: Option<Arc<str>>,
    folder: Folder,
    endpoints: Vec<Methods>,
    unmatched: Methods,
}

/// Rows of one endpoint: mostly one.
type Methods = Vec<(&'static str, Row)>;

#[derive(Debug, Default)]
struct Row {
    classes: [u64; 5],
    aborted: u64,
    bytes_out: u64,
    latency: Histogram,
    upstream: Histogram,
}

/// For addresses, which nobody outside chooses.
#[derive(Debug, Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, address: usize) {
        // Fibonacci hashing; the table takes the upper bits too.
        let mixed = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Shard {
    pub fn record(&mut self, done: &Done<'_>) {
        let key = match (done.route, done.site) {
            (Some(route), _) => Arc::as_ptr(route) as usize,
            (None, Some(site)) => Arc::as_ptr(site).cast::<u8>() as usize,
            (None, None) => 0,
        };
        let full = self.rows >= MAX_ROWS;
        if full && !self.routes.contains_key(&key) {
            self.rest.get_or_insert_default().add(done);
            return;
        }
        let rows = self.routes.entry(key).or_insert_with(|| Rows::new(done));
        let methods = if done.route.is_none() || done.status == 404 {
            &mut rows.unmatched
        } else {
            let at = rows.folder.fold(done.path).index();
            if rows.endpoints.len() <= at {
                rows.endpoints.resize_with(at + 1, Vec::new);
            }
            &mut rows.endpoints[at]
        };
        let method = method_name(done.method);
        if let Some((_, row)) = methods.iter_mut().find(|(name, _)| *name == method) {
            row.add(done);
        } else if full {
            self.rest.get_or_insert_default().add(done);
        } else {
            let mut row = Row::default();
            row.add(done);
            methods.push((method, row));
            self.rows += 1;
        }
    }

    /// All rows since the last time.
    pub fn take(&mut self) -> Vec<edge::Route> {
        let mut all = Vec::with_capacity(self.rows + 1);
        for rows in self.routes.values_mut() {
            rows.take(&mut all);
        }
        self.routes.retain(|_, rows| rows.route.strong_count() > 0);
        self.rows = 0;
        if let Some(rest) = self.rest.take() {
            all.push(rest.named("", OTHER));
        }
        all
    }
}

impl Rows {
    fn new(done: &Done<'_>) -> Self {
        let app = done.route.and_then(|route| route.app());
        Self {
            site: done.site.map_or_else(|| "".into(), Arc::clone),
            route: done.route.map_or_else(Weak::new, Arc::downgrade),
            name: done.route.map_or_else(|| "".into(), |r| r.name.clone()),
            app: app.map(Into::into),
            folder: Folder::new(MAX_ENDPOINTS),
            endpoints: Vec::new(),
            unmatched: Vec::new(),
        }
    }

    fn take(&mut self, all: &mut Vec<edge::Route>) {
        let folded = self.endpoints.iter_mut().zip(self.folder.names());
        let folded = folded.map(|(methods, name)| match name {
            "" => (methods, OTHER),
            name => (methods, name),
        });
        for (methods, endpoint) in folded.chain([(&mut self.unmatched, UNMATCHED)]) {
            all.extend(methods.drain(..).map(|(method, row)| edge::Route {
                site: self.site.to_string(),
                route: self.name.to_string(),
                app: self.app.as_deref().map(str::to_owned),
                ..row.named(method, endpoint)
            }));
        }
        self.folder.settle();
    }
}

impl Row {
    fn add(&mut self, done: &Done<'_>) {
        let class = usize::from(done.status / 100);
        if let Some(count) = class.checked_sub(1).and_then(|at| self.classes.get_mut(at)) {
            *count += 1;
        }
        self.aborted += u64::from(done.aborted);
        self.bytes_out += done.bytes_out;
        self.latency.record(done.latency_us);
        if let Some(upstream_us) = done.upstream_us {
            self.upstream.record(upstream_us);
        }
    }

    fn named(self, method: &str, endpoint: &str) -> edge::Route {
        edge::Route {
            method: method.to_owned(),
            endpoint: endpoint.to_owned(),
            classes: self.classes,
            aborted: self.aborted,
            bytes_out: self.bytes_out,
            latency: self.latency,
            upstream: self.upstream,
            ..edge::Route::default()
        }
    }
}

/// Clients may write any method: those that are not known are one, as OpenTelemetry calls it.
pub fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}
