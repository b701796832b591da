//! Many requests for the same thing at the same time, and clients that go away.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::origin::{Answering, Bench, get, ok, text};
use bytes::Bytes;
use gateway_spec::Cache;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use pando_gateway::body::{Body, BodyError};
use pando_gateway::cache::{CacheStatus, Purge};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::yield_now;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const CLIENTS: usize = 50;

/// Answers once a permit is there, all of them alike.
fn gated(
    answer: fn(usize) -> Response<Body>,
) -> (Arc<Semaphore>, impl Fn(usize, Request<Body>) -> Answering) {
    let gate = Arc::new(Semaphore::new(0));
    let inner = gate.clone();
    let answering = move |n: usize, _| -> Answering {
        let gate = inner.clone();
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            answer(n)
        })
    };
    (gate, answering)
}

async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

fn crowd(bench: &Bench) -> Vec<tokio::task::JoinHandle<(CacheStatus, Bytes)>> {
    let one = |_| {
        let bench = bench.clone();
        tokio::spawn(async move { bench.read("/x").await })
    };
    (0..CLIENTS).map(one).collect()
}

#[tokio::test]
async fn one_fetch_serves_all() {
    let (gate, answer) = gated(|n| ok(&[FRESH], format!("body {n}")));
    let bench = Bench::slow(&Cache::default(), answer);
    let crowd = crowd(&bench);
    settle().await;
    assert_eq!(bench.asked(), 1);
    gate.add_permits(CLIENTS);
    let mut collapsed = 0;
    for client in crowd {
        let (status, body) = client.await.unwrap();
        assert_eq!(body, "body 0");
        collapsed += usize::from(status == CacheStatus::Collapsed);
    }
    assert_eq!((collapsed, bench.asked()), (CLIENTS - 1, 1));
}

#[tokio::test]
async fn what_is_not_to_be_shared_holds_up_nobody() {
    let (gate, answer) = gated(|n| ok(&[("cache-control", "private")], format!("body {n}")));
    let bench = Bench::slow(&Cache::default(), answer);
    let crowd = crowd(&bench);
    settle().await;
    assert_eq!(bench.asked(), 1);
    gate.add_permits(1);
    settle().await;
    // All the others are on their way at once, not one after the other.
    assert_eq!(bench.asked(), CLIENTS);
    gate.add_permits(CLIENTS);
    let mut bodies = Vec::new();
    for client in crowd {
        bodies.push(client.await.unwrap().1);
    }
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), CLIENTS);
    // And it is known now: nobody waits any more.
    let more = self::crowd(&bench);
    settle().await;
    assert_eq!(bench.asked(), 2 * CLIENTS);
    gate.add_permits(CLIENTS);
    for client in more {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn when_the_one_that_fetches_goes_away_another_takes_over() {
    let (gate, answer) = gated(|n| ok(&[FRESH], format!("body {n}")));
    let bench = Bench::slow(&Cache::default(), answer);
    let crowd = crowd(&bench);
    settle().await;
    crowd[0].abort();
    settle().await;
    assert_eq!(bench.asked(), 2);
    gate.add_permits(1);
    for client in crowd.into_iter().skip(1) {
        assert_eq!(client.await.unwrap().1, "body 1");
    }
}

type Piece = mpsc::Sender<&'static str>;

/// Answers with one body that the test sends.
fn streaming(length: Option<u64>) -> (Bench, Arc<Mutex<Option<Piece>>>) {
    let sender: Arc<Mutex<Option<Piece>>> = Arc::default();
    let inner = sender.clone();
    let spec = Cache {
        max_object_bytes: 6,
        ..Cache::default()
    };
    let bench = Bench::new(&spec, move |_| {
        let (piece, body) = pieces(length);
        *inner.lock().unwrap() = Some(piece);
        ok(&[FRESH], body)
    });
    (bench, sender)
}

/// A body that is sent piece by piece; it ends when the sender is dropped. `length` is announced.
fn pieces(length: Option<u64>) -> (mpsc::Sender<&'static str>, Body) {
    let (sender, receiver) = mpsc::channel(64);
    (sender, Body::new(Pieces { length, receiver }))
}

struct Pieces {
    length: Option<u64>,
    receiver: mpsc::Receiver<&'static str>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let piece = std::task::ready!(self.receiver.poll_recv(cx));
        Poll::Ready(piece.map(|piece| match piece {
            "error" => Err("broken".into()),
            piece => Ok(Frame::data(Bytes::from_static(piece.as_bytes()))),
        }))
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

async fn frame(response: &mut Response<Body>) -> Bytes {
    response
        .body_mut()
        .frame()
        .await
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap()
}

#[tokio::test]
async fn others_read_along_while_it_comes() {
    let (bench, sender) = streaming(Some(4));
    let (mut first, _) = bench.get("/x").await;
    let (mut second, status) = bench.get("/x").await;
    assert_eq!(status, CacheStatus::Collapsed);
    assert_eq!(second.headers()["content-length"], "4");
    let piece = sender.lock().unwrap().take().unwrap();
    piece.send("ab").await.unwrap();
    assert_eq!(frame(&mut second).await, "ab");
    assert_eq!(frame(&mut first).await, "ab");
    piece.send("cd").await.unwrap();
    drop(piece);
    assert_eq!(text(first).await, "cd");
    assert_eq!(text(second).await, "cd");
    assert_eq!(bench.read("/x").await, (CacheStatus::Hit, "abcd".into()));
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_lose_what_it_asked_for() {
    let (bench, sender) = streaming(None);
    let (first, _) = bench.get("/x").await;
    let piece = sender.lock().unwrap().take().unwrap();
    piece.send("ab").await.unwrap();
    drop(first);
    piece.send("cd").await.unwrap();
    drop(piece);
    settle().await;
    assert_eq!(bench.read("/x").await, (CacheStatus::Hit, "abcd".into()));
}

#[tokio::test]
async fn what_turns_out_too_large_goes_through_whole() {
    let (bench, sender) = streaming(None);
    let (first, _) = bench.get("/x").await;
    let waiter = tokio::spawn({
        let bench = bench.clone();
        async move { bench.get("/x").await }
    });
    settle().await;
    let piece = sender.lock().unwrap().take().unwrap();
    for text in ["abc", "def", "ghi", "jkl"] {
        piece.send(text).await.unwrap();
    }
    drop(piece);
    assert_eq!(text(first).await, "abcdefghijkl");
    let (second, status) = waiter.await.unwrap();
    assert_eq!((status, bench.asked()), (CacheStatus::Miss, 2));
    drop(second);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_and_not_stored() {
    let (bench, sender) = streaming(None);
    let (first, _) = bench.get("/x").await;
    let piece = sender.lock().unwrap().take().unwrap();
    piece.send("ab").await.unwrap();
    piece.send("error").await.unwrap();
    assert!(first.into_body().collect().await.is_err());
    let (_, status) = bench.get("/x").await;
    assert_eq!((status, bench.asked()), (CacheStatus::Miss, 2));
}

#[tokio::test]
async fn what_is_purged_while_it_comes_is_not_stored() {
    let (bench, sender) = streaming(None);
    let (first, _) = bench.get("/x").await;
    let piece = sender.lock().unwrap().take().unwrap();
    piece.send("ab").await.unwrap();
    bench.store.purge(&Purge::url("a.example/x"));
    drop(piece);
    assert_eq!(text(first).await, "ab");
    settle().await;
    assert_eq!(bench.get("/x").await.1, CacheStatus::Miss);
}

#[tokio::test]
async fn variants_do_not_wait_for_each_other() {
    let bench = Bench::slow(&Cache::default(), |n, request| {
        let language = request.headers()["accept-language"].clone();
        Box::pin(async move {
            let language = language.to_str().unwrap();
            ok(
                &[
                    FRESH,
                    ("vary", "accept-language"),
                    ("content-language", language),
                ],
                format!("{language} {n}"),
            )
        })
    });
    for (language, want) in [
        ("en", "en 0"),
        ("de", "de 1"),
        ("en", "en 0"),
        ("de", "de 1"),
    ] {
        let (response, _) = bench
            .send(get("/x", &[("accept-language", language)]))
            .await;
        assert_eq!(text(response).await, want);
    }
}
