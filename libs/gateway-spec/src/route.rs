//! Which requests a route takes, and what it does with them.

use serde::{Deserialize, Serialize};

use crate::protect::Protect;
use crate::respond::{Cache, Compress, Files};
use crate::upstream::Upstreams;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// What logs, metrics and `explain` call it; by default its path as it was written.
    pub name: String,
    pub matches: Matches,
    pub action: Action,
    #[serde(default)]
    pub rewrite: Option<Rewrite>,
    #[serde(default)]
    pub request_headers: Vec<HeaderEdit>,
    #[serde(default)]
    pub response_headers: Vec<HeaderEdit>,
    #[serde(default)]
    pub protect: Protect,
    #[serde(default)]
    pub cache: Option<Cache>,
    /// `None`: answers are not compressed. The default of pando.toml is on.
    #[serde(default)]
    pub compress: Option<Compress>,
    /// A larger request body is refused with 413.
    #[serde(default = "body_bytes")]
    pub body_bytes: u64,
    /// Hold a request's body until all of it is here (up to 64 KiB in memory, then a temporary
    /// file), so that a slow client does not occupy a worker. Off for upgrades, gRPC and bodies
    /// that announce `Expect: 100-continue` only when they must stream.
    #[serde(default = "yes")]
    pub buffer_request: bool,
    /// From the request's start to the answer's headers.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
}

/// All parts must match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matches {
    pub path: PathMatch,
    /// Upper case; none means all.
    #[serde(default)]
    pub methods: Vec<String>,
    #[serde(default)]
    pub headers: Vec<HeaderMatch>,
}

/// A request's path is compared after percent-decoding of unreserved characters and removal of
/// dot segments (RFC 3986 section 6.2.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathMatch {
    /// `/about`
    Exact(String),
    /// `/static/*` is `Prefix("/static/")`, `/*` is `Prefix("/")`.
    Prefix(String),
    /// `/users/{id}/posts`, or with a tail `/users/{id}/*`: each `{name}` is one segment.
    Params(String),
    /// `/assets/*.{css,js}`: the prefix, and one of these behind the last dot, in lower case but
    /// compared without regard to it.
    Extensions {
        prefix: String,
        extensions: Vec<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderMatch {
    /// Lower case.
    pub name: String,
    /// `None`: present with any value.
    pub value: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are Proxy; a box would be one more look-up for each request"
)]
pub enum Action {
    Proxy(Upstreams),
    /// A canary: the first branch whose header or cookie matches, else one by weight.
    Split(Vec<Branch>),
    Files(Files),
    /// `to` may hold `{host}`, `{path}`, `{query}`, `{uri}`, `{scheme}` and the path's parameters.
    Redirect {
        status: u16,
        to: String,
    },
    Respond {
        status: u16,
        body: String,
        content_type: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    /// Share of the requests that no `header` or `cookie` decided.
    #[serde(default)]
    pub weight: u32,
    #[serde(default)]
    pub header: Option<HeaderMatch>,
    /// Name and value of a cookie that selects this branch.
    #[serde(default)]
    pub cookie: Option<(String, String)>,
    pub upstreams: Upstreams,
}

/// How the path is changed before it goes to the upstream or to the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rewrite {
    /// The matched prefix is taken off: `/api/users` with `/api/*` becomes `/users`.
    StripPrefix,
    /// The matched prefix is replaced by this one.
    ReplacePrefix(String),
    /// A template as of [`Action::Redirect`].
    Template(String),
    /// A regular expression of the whole path and its replacement with `$1`.
    Regex {
        pattern: String,
        replacement: String,
    },
}

/// In order; templates as of [`Action::Redirect`], and `{client_ip}`, `{request_id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderEdit {
    Set { name: String, value: String },
    Add { name: String, value: String },
    Remove { name: String },
}

impl Route {
    /// A route with every default.
    pub fn new(path: PathMatch, action: Action) -> Self {
        Self {
            name: path.to_string(),
            matches: Matches {
                path,
                methods: Vec::new(),
                headers: Vec::new(),
            },
            action,
            rewrite: None,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            protect: Protect::default(),
            cache: None,
            compress: Some(Compress::default()),
            body_bytes: body_bytes(),
            buffer_request: true,
            timeout_ms: timeout_ms(),
        }
    }
}

impl PathMatch {
    /// Whether a path has one of the extensions of [`PathMatch::Extensions`] at its end.
    pub fn has_extension(path: &str, extensions: &[String]) -> bool {
        let name = path.rsplit('/').next().unwrap_or_default().as_bytes();
        extensions.iter().any(|extension| {
            let Some(dot) = name.len().checked_sub(extension.len() + 1) else {
                return false;
            };
            name[dot] == b'.' && name[dot + 1..].eq_ignore_ascii_case(extension.as_bytes())
        })
    }
}

impl Action {
    /// Every group of upstreams that it may send a request to.
    pub fn upstreams(&self) -> Vec<&Upstreams> {
        match self {
            Self::Proxy(upstreams) => vec![upstreams],
            Self::Split(branches) => branches.iter().map(|branch| &branch.upstreams).collect(),
            Self::Files(_) | Self::Redirect { .. } | Self::Respond { .. } => Vec::new(),
        }
    }
}

impl std::fmt::Display for PathMatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(path) | Self::Params(path) => f.write_str(path),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Extensions { prefix, extensions } => match &extensions[..] {
                [one] => write!(f, "{prefix}*.{one}"),
                all => write!(f, "{prefix}*.{{{}}}", all.join(",")),
            },
        }
    }
}

fn body_bytes() -> u64 {
    16 * 1024 * 1024
}
fn timeout_ms() -> u64 {
    60_000
}
fn yes() -> bool {
    true
}
