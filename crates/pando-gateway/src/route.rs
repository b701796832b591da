//! One route, ready to serve.

use std::sync::Arc;

use gateway_spec as spec;
use http::{HeaderName, HeaderValue};

use crate::cache::{RouteCache, Store};
use crate::compress::Compressor;
use crate::files::FileServer;
use crate::limits::{LimitStore, Limits};
use crate::protect::Protect;
use crate::routing::{self, Routing, template::Template};
use crate::tls::FileSource;
use crate::upstream::Group;

pub struct Route {
    pub name: Arc<str>,
    /// The site's name, for logs.
    pub site: Arc<str>,
    pub action: Action,
    pub protect: Protect,
    pub limits: Limits,
    pub cache: Option<RouteCache>,
    pub compress: Option<Compressor>,
    pub rewrite: Option<Rewrite>,
    pub request_headers: Vec<Edit>,
    pub response_headers: Vec<Edit>,
    pub body_bytes: u64,
    pub buffer_request: bool,
    pub timeout_ms: u64,
    spec: spec::Route,
}

pub enum Action {
    Proxy(Arc<Group>),
    Split(Vec<Branch>),
    Files(Box<FileServer>),
    Redirect {
        status: http::StatusCode,
        to: Template,
    },
    Respond {
        status: http::StatusCode,
        body: bytes::Bytes,
        content_type: HeaderValue,
    },
}

pub struct Branch {
    pub weight: u32,
    pub header: Option<(HeaderName, Option<String>)>,
    pub cookie: Option<(String, String)>,
    pub group: Arc<Group>,
}

pub enum Rewrite {
    /// Length of the matched prefix without its last slash, and what comes in its place.
    Prefix {
        strip: usize,
        with: String,
    },
    Template(Template),
    Regex {
        pattern: regex::Regex,
        replacement: String,
    },
}

pub enum Edit {
    Set(HeaderName, Template),
    Add(HeaderName, Template),
    Remove(HeaderName),
}

/// What a configuration is made from, beside its text: what lives longer than it.
pub struct Build<'b> {
    /// Gives the group for equal upstreams, made before or now.
    pub group: &'b mut dyn FnMut(&spec::Upstreams) -> Arc<Group>,
    /// Routes of the configuration before: equal ones go on with all they know.
    pub old: &'b Routing,
    pub files: &'b Arc<dyn FileSource>,
    pub cache: &'b Arc<Store>,
    pub limits: &'b Arc<LimitStore>,
}

impl Route {
    /// The same route of the configuration before, or a new one.
    pub fn new(spec: &spec::Route, site: &Arc<str>, build: &mut Build<'_>) -> Arc<Self> {
        let old = build.old.sites().filter(|s| s.name == *site);
        let mut old = old.flat_map(|site| site.routes());
        if let Some(route) = old.find(|route| route.spec == *spec) {
            // So that the groups are known to be in use.
            for upstreams in spec.action.upstreams() {
                (build.group)(upstreams);
            }
            return route.clone();
        }
        let scope = format!("{site} {:?}", spec.matches);
        let protect = &spec.protect;
        let cache = |cache| RouteCache::new(cache, build.cache.clone(), &scope);
        Arc::new(Self {
            name: spec.name.as_str().into(),
            site: site.clone(),
            protect: Protect::with_files(protect, build.files.clone()),
            limits: Limits::new(
                &scope,
                &protect.limits,
                protect.connections.as_ref(),
                build.limits,
            ),
            cache: spec.cache.as_ref().map(cache),
            compress: spec.compress.as_ref().map(Compressor::new),
            spec: spec.clone(),
            action: Action::new(&spec.action, build),
            rewrite: spec
                .rewrite
                .as_ref()
                .and_then(|r| Rewrite::new(r, &spec.matches.path)),
            request_headers: edits(&spec.request_headers),
            response_headers: edits(&spec.response_headers),
            body_bytes: spec.body_bytes,
            buffer_request: spec.buffer_request,
            timeout_ms: spec.timeout_ms,
        })
    }
}

impl Route {
    /// What it was made from.
    pub fn spec(&self) -> &spec::Route {
        &self.spec
    }

    /// The app that all its requests go to.
    pub fn app(&self) -> Option<&str> {
        let mut apps =
            self.spec
                .action
                .upstreams()
                .into_iter()
                .map(|upstreams| match &upstreams.target {
                    spec::Target::App(name) => Some(name.as_str()),
                    spec::Target::Addresses(_) => None,
                });
        let first = apps.next()??;
        apps.all(|app| app == Some(first)).then_some(first)
    }
}

impl Action {
    fn new(spec: &spec::Action, build: &mut Build<'_>) -> Self {
        match spec {
            spec::Action::Proxy(upstreams) => Self::Proxy((build.group)(upstreams)),
            spec::Action::Split(branches) => Self::Split(
                branches
                    .iter()
                    .map(|branch| Branch {
                        weight: branch.weight,
                        header: branch.header.as_ref().and_then(routing::header),
                        cookie: branch.cookie.clone(),
                        group: (build.group)(&branch.upstreams),
                    })
                    .collect(),
            ),
            spec::Action::Redirect { status, to } => Self::Redirect {
                status: http::StatusCode::from_u16(*status)
                    .unwrap_or(http::StatusCode::TEMPORARY_REDIRECT),
                to: Template::new(to),
            },
            spec::Action::Respond {
                status,
                body,
                content_type,
            } => Self::Respond {
                status: http::StatusCode::from_u16(*status).unwrap_or(http::StatusCode::OK),
                body: bytes::Bytes::from(body.clone().into_bytes()),
                content_type: content_type
                    .as_deref()
                    .and_then(|t| HeaderValue::from_str(t).ok())
                    .unwrap_or(HeaderValue::from_static("text/plain; charset=utf-8")),
            },
            spec::Action::Files(files) => Self::Files(Box::new(FileServer::new(files))),
        }
    }

    /// Where a request goes; `random` decides between branches that no header or cookie chose.
    pub fn group(&self, headers: &http::HeaderMap, random: u32) -> Option<&Arc<Group>> {
        let branches = match self {
            Self::Proxy(group) => return Some(group),
            Self::Split(branches) => branches,
            Self::Files(_) | Self::Redirect { .. } | Self::Respond { .. } => return None,
        };
        let chosen = branches.iter().find(|branch| branch.is_chosen(headers));
        if let Some(branch) = chosen {
            return Some(&branch.group);
        }
        let total: u32 = branches.iter().map(|b| b.weight).sum();
        let mut at = random.checked_rem(total)?;
        for branch in branches {
            match at.checked_sub(branch.weight) {
                Some(rest) => at = rest,
                None => return Some(&branch.group),
            }
        }
        None
    }
}

impl Branch {
    fn is_chosen(&self, headers: &http::HeaderMap) -> bool {
        let by_header = self
            .header
            .as_ref()
            .is_some_and(|h| routing::has(headers, h));
        let by_cookie = self
            .cookie
            .as_ref()
            .is_some_and(|(name, value)| crate::cookie::find(headers, name) == Some(value));
        by_header || by_cookie
    }
}

impl Rewrite {
    /// `None` for a pattern that does not compile, which the file's check refuses.
    fn new(spec: &spec::Rewrite, path: &spec::PathMatch) -> Option<Self> {
        let strip = match path {
            spec::PathMatch::Prefix(prefix) => prefix.trim_end_matches('/').len(),
            spec::PathMatch::Exact(exact) => exact.len(),
            spec::PathMatch::Params(_) | spec::PathMatch::Extensions { .. } => 0,
        };
        Some(match spec {
            spec::Rewrite::StripPrefix => Self::Prefix {
                strip,
                with: String::new(),
            },
            spec::Rewrite::ReplacePrefix(with) => Self::Prefix {
                strip,
                with: with.clone(),
            },
            spec::Rewrite::Template(text) => Self::Template(Template::new(text)),
            spec::Rewrite::Regex {
                pattern,
                replacement,
            } => Self::Regex {
                pattern: regex::Regex::new(pattern).ok()?,
                replacement: replacement.clone(),
            },
        })
    }
}

fn edits(specs: &[spec::HeaderEdit]) -> Vec<Edit> {
    let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).ok();
    let edits = specs.iter().filter_map(|edit| {
        Some(match edit {
            spec::HeaderEdit::Set { name: n, value } => Edit::Set(name(n)?, Template::new(value)),
            spec::HeaderEdit::Add { name: n, value } => Edit::Add(name(n)?, Template::new(value)),
            spec::HeaderEdit::Remove { name: n } => Edit::Remove(name(n)?),
        })
    });
    edits.collect()
}
