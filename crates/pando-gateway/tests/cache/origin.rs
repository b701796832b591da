//! An origin that answers as a test says, and counts how often it was asked.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gateway_spec::{Cache, CacheStore};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use pando_gateway::body::Body;
use pando_gateway::cache::{CacheStatus, RouteCache, Store};

pub type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

#[derive(Clone)]
pub struct Bench {
    pub store: Arc<Store>,
    pub cache: RouteCache,
    pub asked: Arc<AtomicUsize>,
    /// The fields of the last request that reached the origin.
    pub last: Arc<Mutex<HeaderMap>>,
    answer: Arc<dyn Fn(usize, Request<Body>) -> Answering + Send + Sync>,
}

impl Bench {
    pub fn new(
        spec: &Cache,
        answer: impl Fn(usize) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        Self::slow(spec, move |n, _| {
            let response = answer(n);
            Box::pin(async move { response })
        })
    }

    pub fn slow(
        spec: &Cache,
        answer: impl Fn(usize, Request<Body>) -> Answering + Send + Sync + 'static,
    ) -> Self {
        let store = Store::open(&CacheStore::default());
        Self {
            cache: RouteCache::new(spec, store.clone(), "test"),
            store,
            asked: Arc::default(),
            last: Arc::default(),
            answer: Arc::new(answer),
        }
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub async fn send(&self, request: Request<Body>) -> (Response<Body>, CacheStatus) {
        let this = self.clone();
        let fetch = move |request: Request<Body>| {
            *this.last.lock().unwrap() = request.headers().clone();
            let n = this.asked.fetch_add(1, Ordering::SeqCst);
            (this.answer)(n, request)
        };
        self.cache.handle("http", "a.example", request, fetch).await
    }

    pub async fn get(&self, path: &str) -> (Response<Body>, CacheStatus) {
        self.send(get(path, &[])).await
    }

    /// Status for the log and body of a GET.
    pub async fn read(&self, path: &str) -> (CacheStatus, Bytes) {
        let (response, status) = self.get(path).await;
        (status, text(response).await)
    }
}

pub fn get(path: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Body::Empty).unwrap()
}

pub fn ok(fields: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::builder();
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

pub async fn text(response: Response<Body>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}
