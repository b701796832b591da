//! Compression as a route calls it, read back with the codecs' own decoders.

#![expect(clippy::unwrap_used, reason = "a test panics")]

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{BrotliDecoder, DecodeV2, GzipDecoder, ZstdDecoder};
use gateway_spec::Compress;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    ETAG, VARY,
};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use pando_gateway::body::{Body, BodyError};
use pando_gateway::compress::{Asked, Compressor};
use proptest::prelude::*;
use tokio::sync::mpsc;

fn request(method: Method, accept: &str) -> http::request::Parts {
    let request = Request::builder()
        .method(method)
        .header(ACCEPT_ENCODING, accept);
    request.body(()).unwrap().into_parts().0
}

fn asked(method: Method, accept: &str) -> Asked {
    Asked::of(&request(method, accept))
}

fn response(body: impl Into<Body>, headers: &[(HeaderName, &str)]) -> Response<Body> {
    let mut response = Response::new(body.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, "text/html".parse().unwrap());
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// All that can be read of a stream that may not be at its end.
fn decode(encoding: &str, data: &[u8]) -> Vec<u8> {
    let mut decoder: Box<dyn DecodeV2> = match encoding {
        "gzip" => Box::new(GzipDecoder::new()),
        "br" => Box::new(BrotliDecoder::new()),
        "zstd" => Box::new(ZstdDecoder::new()),
        _ => return data.to_owned(),
    };
    let mut input = PartialBuffer::new(data);
    let mut out = Vec::new();
    loop {
        let mut buffer = vec![0; 64 * 1024];
        let mut output = WriteBuffer::new_initialized(&mut buffer);
        let end = decoder.decode(&mut input, &mut output).unwrap();
        out.extend_from_slice(output.written());
        if end || (input.unwritten().is_empty() && !output.has_no_spare_space()) {
            return out;
        }
    }
}

fn text(bytes: usize) -> Bytes {
    let words = (0_u32..).flat_map(|n| format!("<li>item {}</li>\n", n % 997).into_bytes());
    words.take(bytes).collect()
}

/// Frames that a test sends when it wants.
struct Channel(mpsc::UnboundedReceiver<Result<Frame<Bytes>, BodyError>>);

impl http_body::Body for Channel {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx)
    }
}

fn channel() -> (mpsc::UnboundedSender<Result<Frame<Bytes>, BodyError>>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Body::new(Channel(receiver)))
}

#[tokio::test]
async fn every_encoding_comes_back_whole() {
    let compressor = Compressor::new(&Compress::default());
    for encoding in ["gzip", "br", "zstd"] {
        for size in [1024, 5000, 64 * 1024, 64 * 1024 + 1, 3_000_000] {
            let content = text(size);
            let answer = response(content.clone(), &[]);
            let (parts, body) = compressor
                .apply(asked(Method::GET, encoding), answer)
                .into_parts();
            assert_eq!(parts.headers[CONTENT_ENCODING], encoding);
            let body = body.collect().await.unwrap().to_bytes();
            assert!(body.len() < size / 2, "{encoding} {size}: {}", body.len());
            assert!(decode(encoding, &body) == content, "{encoding} {size}");
            if let Some(length) = parts.headers.get(CONTENT_LENGTH) {
                assert_eq!(length.to_str().unwrap(), body.len().to_string());
            }
        }
    }
}

#[tokio::test]
async fn the_headers_of_a_compressed_answer() {
    let compressor = Compressor::new(&Compress::default());
    let answer = response(
        text(5000),
        &[
            (CONTENT_LENGTH, "5000"),
            (ACCEPT_RANGES, "bytes"),
            (ETAG, "\"abc\""),
            (VARY, "Origin"),
        ],
    );
    let answer = compressor.apply(asked(Method::GET, "gzip"), answer);
    let headers = answer.headers();
    assert_eq!(headers[ETAG], "W/\"abc\"");
    assert!(!headers.contains_key(ACCEPT_RANGES));
    assert_ne!(headers[CONTENT_LENGTH], "5000");
    let vary: Vec<_> = headers.get_all(VARY).iter().collect();
    assert_eq!(vary, ["Origin", "accept-encoding"]);

    let again = response(
        text(5000),
        &[(VARY, "X, Accept-Encoding"), (ETAG, "W/\"a\"")],
    );
    let again = compressor.apply(asked(Method::GET, "br"), again);
    assert_eq!(again.headers().get_all(VARY).iter().count(), 1);
    assert_eq!(again.headers()[ETAG], "W/\"a\"");

    // Who takes nothing gets it as it is, but caches must know that others get it otherwise.
    let plain = compressor.apply(asked(Method::GET, "identity"), response(text(5000), &[]));
    assert!(!plain.headers().contains_key(CONTENT_ENCODING));
    assert_eq!(plain.headers()[VARY], "accept-encoding");
}

#[tokio::test]
async fn what_is_left_as_it_is() {
    let compressor = Compressor::new(&Compress::default());
    let get = request(Method::GET, "gzip, br, zstd");
    let same = |request: &http::request::Parts, answer: Response<Body>, what: &str| {
        let (status, before) = (answer.status(), answer.headers().clone());
        let after = compressor.apply(Asked::of(request), answer);
        assert_eq!(
            (after.status(), after.headers()),
            (status, &before),
            "{what}"
        );
    };
    same(&get, response(text(1023), &[]), "small");
    same(
        &get,
        response(text(5000), &[(CONTENT_TYPE, "image/png")]),
        "no text",
    );
    same(
        &get,
        response(text(5000), &[(CONTENT_ENCODING, "gzip")]),
        "encoded",
    );
    same(
        &get,
        response(text(5000), &[(CACHE_CONTROL, "public, No-Transform")]),
        "no-transform",
    );
    let digest = HeaderName::from_static("content-digest");
    same(
        &get,
        response(text(5000), &[(digest, "sha-256=:x:")]),
        "digest",
    );
    same(
        &request(Method::HEAD, "gzip"),
        response(Body::empty(), &[(CONTENT_LENGTH, "5000")]),
        "head",
    );
    let mut untyped = response(text(5000), &[]);
    untyped.headers_mut().remove(CONTENT_TYPE);
    same(&get, untyped, "no type");
    for status in [204, 206, 304, 101] {
        let mut answer = response(text(5000), &[]);
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        same(&get, answer, "status");
    }
    let none = Compressor::new(&Compress {
        encodings: vec!["lzw".into()],
        ..Compress::default()
    });
    let answer = none.apply(Asked::of(&get), response(text(5000), &[]));
    assert!(!answer.headers().contains_key(CONTENT_ENCODING));
}

#[tokio::test]
async fn a_slow_stream_is_not_held_back() {
    let compressor = Compressor::new(&Compress::default());
    for kind in ["text/event-stream", "text/plain"] {
        for encoding in ["gzip", "br", "zstd"] {
            let (sender, body) = channel();
            let answer = response(body, &[(CONTENT_TYPE, kind)]);
            let mut body = compressor
                .apply(asked(Method::GET, encoding), answer)
                .into_body();
            let (mut sent, mut received) = (Vec::new(), Vec::new());
            for n in 0..5 {
                let event = format!("data: {n}\n\n");
                sent.extend_from_slice(event.as_bytes());
                sender.send(Ok(Frame::data(event.into()))).unwrap();
                while decode(encoding, &received) != sent {
                    let frame = tokio::time::timeout(Duration::from_secs(30), body.frame());
                    received.extend_from_slice(
                        frame
                            .await
                            .expect("it comes")
                            .unwrap()
                            .unwrap()
                            .data_ref()
                            .unwrap(),
                    );
                }
            }
            drop(sender);
            received.extend_from_slice(&body.collect().await.unwrap().to_bytes());
            assert_eq!(decode(encoding, &received), sent, "{encoding}");
        }
    }
}

#[tokio::test]
async fn trailers_follow_and_errors_break_off() {
    let compressor = Compressor::new(&Compress::default());
    let (sender, body) = channel();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    sender.send(Ok(Frame::data(text(100_000)))).unwrap();
    sender.send(Ok(Frame::trailers(trailers.clone()))).unwrap();
    drop(sender);
    let body = compressor
        .apply(asked(Method::GET, "gzip"), response(body, &[]))
        .into_body();
    let collected = body.collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert!(decode("gzip", &collected.to_bytes()) == text(100_000));

    let (sender, body) = channel();
    sender.send(Ok(Frame::data(text(100_000)))).unwrap();
    sender.send(Err("the upstream died".into())).unwrap();
    let body = compressor
        .apply(asked(Method::GET, "gzip"), response(body, &[]))
        .into_body();
    assert!(body.collect().await.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_in_any_frames_come_back(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..12),
        repeat in 1_usize..40,
        encoding in prop::sample::select(vec!["gzip", "br", "zstd"]),
        level in prop::option::of(0_u8..12),
    ) {
        let compressor = Compressor::new(&Compress { level, ..Compress::default() });
        let (sender, body) = channel();
        let mut sent = Vec::new();
        for chunk in &chunks {
            let chunk = chunk.repeat(repeat);
            sent.extend_from_slice(&chunk);
            sender.send(Ok(Frame::data(chunk.into()))).unwrap();
        }
        drop(sender);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let body = compressor.apply(asked(Method::GET, encoding), response(body, &[])).into_body();
        let received = runtime.block_on(body.collect()).unwrap().to_bytes();
        prop_assert!(decode(encoding, &received) == sent);
    }
}
