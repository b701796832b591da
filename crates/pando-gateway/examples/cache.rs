//! A cache and nothing else: `cargo run --example cache -- LISTEN UPSTREAM [DIRECTORY]`. To see how
//! the cache behaves, and what a hit costs, without the rest of the gateway.

use std::net::SocketAddr;
use std::sync::Arc;

use gateway_spec::{Cache, CacheDisk, CacheStore};
use http::header::{CONNECTION, HOST, HeaderValue, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pando_gateway::body::Body;
use pando_gateway::cache::{FetchFailed, RouteCache, Store};
use tokio::net::{TcpListener, TcpStream};

const DISK_BYTES: u64 = 256 * 1024 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(upstream)) = (args.next(), args.next()) else {
        return Err("LISTEN UPSTREAM [DIRECTORY]".into());
    };
    let upstream: SocketAddr = upstream.parse()?;
    let disk = args.next().map(|path| CacheDisk {
        path: path.into(),
        max_bytes: DISK_BYTES,
    });
    let store = Store::open(&CacheStore {
        disk,
        ..CacheStore::default()
    });
    let spec = Cache {
        stale_if_error_ms: 60_000,
        ..Cache::default()
    };
    let cache = RouteCache::new(&spec, store, "example");
    let listener = TcpListener::bind(listen).await?;
    println!("http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let cache = Arc::new(cache.clone());
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let cache = cache.clone();
            async move {
                let host = request.headers().get(HOST).cloned();
                let host = host.as_ref().and_then(|host| host.to_str().ok());
                let request = request.map(Body::from);
                let fetch = move |request| fetch(upstream, request);
                let (mut response, _) = cache
                    .handle("http", host.unwrap_or(""), request, fetch)
                    .await;
                for name in ["connection", "keep-alive", "transfer-encoding", "upgrade"] {
                    response.headers_mut().remove(name);
                }
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service),
        );
    }
}

async fn fetch(upstream: SocketAddr, request: Request<Body>) -> Response<Body> {
    match try_fetch(upstream, request).await {
        Ok(response) => response,
        Err(error) => {
            let mut response = Response::new(Body::from(format!("{error}\n")));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response.extensions_mut().insert(FetchFailed);
            response
        }
    }
}

async fn try_fetch(
    upstream: SocketAddr,
    mut request: Request<Body>,
) -> Result<Response<Body>, Box<dyn std::error::Error>> {
    let stream = TcpStream::connect(upstream).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    request.headers_mut().remove(TRANSFER_ENCODING);
    let close = HeaderValue::from_static("close");
    request.headers_mut().insert(CONNECTION, close);
    let response = sender.send_request(request).await?;
    Ok(response.map(Body::from))
}
