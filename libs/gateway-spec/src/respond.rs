//! What is answered without, or after, an upstream: files, compression, the cache.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Absolute.
    pub root: PathBuf,
    #[serde(default = "index")]
    pub index: Vec<String>,
    /// Served with 200 for what is not there and looks like a page: `index.html`.
    #[serde(default)]
    pub spa: Option<String>,
    /// The `Cache-Control` of the answers.
    #[serde(default)]
    pub cache_control: Option<String>,
    /// Serve `.br`, `.zst` or `.gz` beside the file to clients that take it.
    #[serde(default = "yes")]
    pub precompressed: bool,
    /// A file that is not there is the next route's.
    #[serde(default)]
    pub fall_through: bool,
    /// Names that begin with a dot, but never `..`.
    #[serde(default)]
    pub dotfiles: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compress {
    /// In order of preference where the client's q-values are equal: `zstd`, `br`, `gzip`.
    pub encodings: Vec<String>,
    /// Smaller answers stay as they are.
    pub min_bytes: u64,
    /// Media types, `text/*`; none means the built-in list.
    pub types: Vec<String>,
    /// 1 (fast) to 9 (small); `None` is a good one for each encoding.
    pub level: Option<u8>,
}

/// RFC 9111 rules, as a shared cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Freshness of answers that say nothing about it; `None` uses the heuristic of RFC 9111
    /// section 4.2.2.
    pub default_ttl_ms: Option<u64>,
    /// Used in place of what the answer says.
    pub force_ttl_ms: Option<u64>,
    /// As of RFC 5861, for answers that do not say it.
    pub stale_while_revalidate_ms: u64,
    pub stale_if_error_ms: u64,
    /// Larger answers pass by.
    pub max_object_bytes: u64,
    /// Parts of the key beside method, scheme, host, path and query.
    pub key_headers: Vec<String>,
    /// Query parameters that do not count: `utm_source`.
    pub ignore_query: Vec<String>,
    /// Requests with one of these cookies pass by.
    pub bypass_cookies: Vec<String>,
    /// The answer's header with surrogate keys, for purging in groups.
    pub surrogate_header: String,
}

impl Default for Compress {
    fn default() -> Self {
        Self {
            encodings: ["zstd", "br", "gzip"].map(str::to_owned).to_vec(),
            min_bytes: 1024,
            types: Vec::new(),
            level: None,
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            default_ttl_ms: None,
            force_ttl_ms: None,
            stale_while_revalidate_ms: 0,
            stale_if_error_ms: 0,
            max_object_bytes: 8 * 1024 * 1024,
            key_headers: Vec::new(),
            ignore_query: Vec::new(),
            bypass_cookies: Vec::new(),
            surrogate_header: "surrogate-key".into(),
        }
    }
}

fn index() -> Vec<String> {
    vec!["index.html".into()]
}
fn yes() -> bool {
    true
}
