//! Static files: small ones from memory, looked at again once a second; large ones as the client
//! takes them.
//!
//! A name goes through `path` (what may be asked for), `open` (what the kernel lets be opened
//! below the root), `page` (what is there), `condition` and `range` (what the client has and
//! wants), and `answer`. System calls are made on the serving thread as long as the kernel
//! answers from memory (`RESOLVE_CACHED`, `RWF_NOWAIT`); what needs the disk goes to the blocking
//! pool.
//!
//! Absent: directory listings, and sendfile: hyper has no way to it.

mod answer;
pub mod condition;
mod content;
mod open;
mod page;
pub mod path;
pub mod range;

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use quick_cache::sync::Cache;
use rustix::io::Errno;

use crate::body::Body;
use open::{FRESH_MS, Root, Stamp, Wait};
use page::{Found, Lookup, Page, Variant};

/// Memory for the files of one server.
const MAX_CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// A hint for the cache, not a bound: it makes one shard for each 32 names, and a shard must hold
/// several of the largest files that are kept.
const CACHE_NAMES: usize = 256;

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    Response(Response<Body>),
    /// There is no such file and the next route is to be asked (`fall_through`).
    NotFound,
}

/// The files of one route. Never fails to start: while there is no root, nothing is found.
#[derive(Debug)]
pub struct FileServer {
    root: Arc<Root>,
    lookup: Lookup,
    names: Cache<Box<[u8]>, Arc<Seen>, Weight>,
    cache_control: Option<HeaderValue>,
    spa: Option<String>,
    fall_through: bool,
    dotfiles: bool,
}

/// What a name meant when it was looked up.
#[derive(Debug)]
struct Seen {
    found: Found,
    checked_ms: u64,
}

#[derive(Clone, Debug)]
struct Weight;

impl quick_cache::Weighter<Box<[u8]>, Arc<Seen>> for Weight {
    fn weight(&self, name: &Box<[u8]>, seen: &Arc<Seen>) -> u64 {
        let found = match &seen.found {
            Found::File(page) => page.weight(),
            Found::Directory => 0,
        };
        256 + name.len() as u64 + found
    }
}

impl FileServer {
    pub fn new(spec: &gateway_spec::Files) -> Self {
        let cache_control = spec.cache_control.as_deref().and_then(|text| {
            HeaderValue::from_str(text)
                .inspect_err(|_| tracing::error!(text, "no valid cache_control: it is not sent"))
                .ok()
        });
        Self {
            root: Arc::new(Root::new(spec.root.clone())),
            lookup: Lookup {
                index: spec.index.clone(),
                precompressed: spec.precompressed,
            },
            names: Cache::with_weighter(CACHE_NAMES, MAX_CACHE_BYTES, Weight),
            cache_control,
            spa: spec.spa.clone(),
            fall_through: spec.fall_through,
            dotfiles: spec.dotfiles,
        }
    }

    /// `path` is what to look up below the root: percent-encoded, with or without its leading
    /// slash. Redirects go by the path of `head`, which may be another one.
    pub async fn serve(&self, head: &Parts, path: &str) -> Outcome {
        if head.method != Method::GET && head.method != Method::HEAD {
            return self.or_next(|| {
                let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
                let headers = response.headers_mut();
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                response
            });
        }
        let Some(name) = path::resolve(path, self.dotfiles) else {
            return self.not_found();
        };
        match self.find(&name).await {
            Ok(seen) => match &seen.found {
                Found::File(page) => {
                    let policy = self.cache_control.as_ref();
                    Outcome::Response(self.answer(head, page, policy).await)
                }
                Found::Directory => Outcome::Response(redirect(head)),
            },
            Err(error) if is_absent(&error) => self.absent(head, &name).await,
            Err(error) => Outcome::Response(failed(&error)),
        }
    }

    /// Nothing of this name: the page of a single-page application, or nothing at all.
    async fn absent(&self, head: &Parts, name: &[u8]) -> Outcome {
        let Some(spa) = self.spa.as_deref().filter(|_| is_page(head, name)) else {
            return self.not_found();
        };
        match self.find(spa.trim_start_matches('/').as_bytes()).await {
            Ok(seen) => match &seen.found {
                Found::File(page) => {
                    // This path may be a file tomorrow, and this page another after a deploy.
                    let policy = HeaderValue::from_static("no-cache");
                    Outcome::Response(self.answer(head, page, Some(&policy)).await)
                }
                Found::Directory => self.not_found(),
            },
            Err(error) if is_absent(&error) => self.not_found(),
            Err(error) => Outcome::Response(failed(&error)),
        }
    }

    fn not_found(&self) -> Outcome {
        self.or_next(|| plain(StatusCode::NOT_FOUND, "not found\n"))
    }

    fn or_next(&self, response: impl FnOnce() -> Response<Body>) -> Outcome {
        if self.fall_through {
            Outcome::NotFound
        } else {
            Outcome::Response(response())
        }
    }

    async fn find(&self, name: &[u8]) -> io::Result<Arc<Seen>> {
        let now_ms = self.root.now_ms();
        let former = self.names.get(name);
        if let Some(seen) = &former
            && now_ms.saturating_sub(seen.checked_ms) < FRESH_MS
        {
            return Ok(Arc::clone(seen));
        }
        let found = self.look(name, former.clone(), now_ms).await;
        if found.is_err() && former.is_some() {
            self.names.remove(name);
        }
        let seen = Arc::new(Seen {
            found: found?,
            checked_ms: now_ms,
        });
        self.names.insert(name.into(), Arc::clone(&seen));
        Ok(seen)
    }

    async fn look(&self, name: &[u8], former: Option<Arc<Seen>>, now_ms: u64) -> io::Result<Found> {
        let directory = self.root.directory(now_ms)?;
        let old = former.as_ref().map(|seen| &seen.found);
        let found = page::find(&self.root, &directory, name, &self.lookup, old, Wait::No);
        match found {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let (root, lookup) = (Arc::clone(&self.root), self.lookup.clone());
                let name = name.to_owned();
                blocking(move || {
                    let old = former.as_ref().map(|seen| &seen.found);
                    page::find(&root, &directory, &name, &lookup, old, Wait::Yes)
                })
                .await
            }
            found => found,
        }
    }

    /// The file of a variant that is not kept in memory, and what it is now.
    async fn open(&self, variant: &Variant) -> io::Result<(File, Stamp)> {
        let directory = self.root.directory(self.root.now_ms())?;
        let opened = self.root.open(&directory, &variant.name, Wait::No);
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let (root, name) = (Arc::clone(&self.root), variant.name.clone());
                blocking(move || root.open(&directory, &name, Wait::Yes)).await
            }
            opened => opened,
        }?;
        let stat = rustix::fs::fstat(&file)?;
        if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok((file, Stamp::of(&stat)))
    }

    async fn answer(
        &self,
        head: &Parts,
        page: &Page,
        policy: Option<&HeaderValue>,
    ) -> Response<Body> {
        let variant = answer::choose(&head.headers, page);
        let ask = answer::Ask {
            head,
            content_type: &page.content_type,
            varies: !page.copies.is_empty(),
            policy,
            now: SystemTime::now,
        };
        if let Some(content) = &variant.content {
            return ask.kept(variant, content);
        }
        match self.open(variant).await {
            Ok((file, stamp)) if stamp == variant.stamp => ask.file(variant, file),
            Ok((file, stamp)) => {
                ask.file(&Variant::new(&variant.name, variant.encoding, stamp), file)
            }
            Err(error) if is_absent(&error) => plain(StatusCode::NOT_FOUND, "not found\n"),
            Err(error) => failed(&error),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(io::Error::other)?
}

/// The ways in which the system says that a name means nothing that may be served. `XDEV` is a
/// link that leads out of the root.
fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || matches!(
            Errno::from_io_error(error),
            Some(Errno::NOTDIR | Errno::XDEV | Errno::LOOP | Errno::NAMETOOLONG | Errno::NXIO)
        )
}

fn failed(error: &io::Error) -> Response<Body> {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return plain(StatusCode::FORBIDDEN, "forbidden\n");
    }
    tracing::error!(%error, "a file cannot be read");
    plain(
        StatusCode::SERVICE_UNAVAILABLE,
        "the file cannot be read now\n",
    )
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

/// Adds the slash. Relative to what the client asked for, so that it holds behind rewrites and
/// can never name another host.
fn redirect(head: &Parts) -> Response<Body> {
    let last = head.uri.path().rsplit('/').next().unwrap_or_default();
    let query = head
        .uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let headers = response.headers_mut();
    match HeaderValue::from_str(&format!("./{last}/{query}")) {
        Ok(location) => drop(headers.insert(LOCATION, location)),
        Err(_) => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    // Browsers keep a 301 for ever; the directory may become a file.
    let policy = HeaderValue::from_static("no-cache");
    response.headers_mut().insert(CACHE_CONTROL, policy);
    response
}

/// Whether a navigation may have asked for this: no extension, and HTML is taken.
fn is_page(head: &Parts, name: &[u8]) -> bool {
    let last = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let takes_html = |line: &HeaderValue| {
        line.to_str()
            .is_ok_and(|line| line.contains("text/html") || line.contains("*/*"))
    };
    let mut accept = head.headers.get_all(ACCEPT).iter().peekable();
    !last.contains(&b'.') && (accept.peek().is_none() || accept.any(takes_html))
}
