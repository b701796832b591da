//! Random requests, changes and purges, all interleaved, against what must hold: every answer is of
//! the address, variant and part that was asked for, and none is older than the last change that
//! the cache was told of before it was asked.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::origin::{Bench, get, text};
use bytes::Bytes;
use gateway_spec::Cache;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::Frame;
use pando_gateway::body::{Body, BodyError};
use pando_gateway::cache::Purge;
use proptest::prelude::*;
use tokio::task::yield_now;

#[derive(Clone, Copy, Debug)]
enum Act {
    Get { ranged: bool },
    Post,
    Purge,
    PurgeKey,
    Leave,
}

#[derive(Clone, Debug)]
struct Step {
    act: Act,
    path: u8,
    language: u8,
    /// Turns of the event loop before it begins, and before the origin answers.
    wait: u8,
    think: u8,
    /// What the answer says of itself.
    control: u8,
}

const CONTROLS: [&str; 5] = [
    "max-age=3600",
    "max-age=3600",
    "max-age=0",
    "no-store",
    "max-age=0, stale-if-error=60",
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let act = prop_oneof![
        8 => any::<bool>().prop_map(|ranged| Act::Get { ranged }),
        2 => Just(Act::Post),
        1 => Just(Act::Purge),
        1 => Just(Act::PurgeKey),
        1 => Just(Act::Leave),
    ];
    let step = (act, 0u8..2, 0u8..2, 0u8..40, 0u8..12, 0u8..5).prop_map(
        |(act, path, language, wait, think, control)| Step {
            act,
            path,
            language,
            wait,
            think,
            control,
        },
    );
    prop::collection::vec(step, 1..40)
}

/// Pauses between its pieces.
struct Slow {
    pieces: VecDeque<Bytes>,
    pause: u8,
    left: u8,
}

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left > 0 {
            self.left -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.left = self.pause;
        Poll::Ready(self.pieces.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

/// Version of each address at the origin.
type Versions = Arc<Mutex<HashMap<String, usize>>>;

async fn origin(versions: Versions, request: Parts) -> Response<Body> {
    let path = request.uri.path().to_owned();
    let Parts {
        method, headers, ..
    } = request;
    let field = |name: &str| headers[name].to_str().unwrap();
    let number = |name: &str| field(name).parse::<u8>().unwrap();
    let (think, control) = (number("think"), number("control"));
    let language = field("accept-language");
    for _ in 0..think {
        yield_now().await;
    }
    if method == Method::POST {
        *versions.lock().unwrap().entry(path).or_default() += 1;
        return Response::new(Body::Empty);
    }
    let version = versions.lock().unwrap().get(&path).copied().unwrap_or(0);
    let tag = format!("\"{version}-{}\"", language);
    let response = Response::builder()
        .header("cache-control", CONTROLS[usize::from(control)])
        .header("vary", "accept-language")
        .header("surrogate-key", path.trim_start_matches('/'))
        .header("etag", &tag);
    if headers
        .get("if-none-match")
        .is_some_and(|asked| *asked == *tag)
    {
        return response
            .status(StatusCode::NOT_MODIFIED)
            .body(Body::Empty)
            .unwrap();
    }
    for _ in 0..think {
        yield_now().await;
    }
    let slow = Slow {
        pieces: [format!("{path} {} ", language), format!("{version:08}")]
            .map(Bytes::from)
            .into(),
        pause: think,
        left: think,
    };
    response.body(Body::new(slow)).unwrap()
}

/// What every answer from now on is at least.
type Floor = Arc<Mutex<HashMap<String, usize>>>;

async fn step(bench: Bench, versions: Versions, floor: Floor, step: Step) {
    for _ in 0..step.wait {
        yield_now().await;
    }
    let path = format!("/{}", step.path);
    let language = ["en", "de"][usize::from(step.language)];
    let fields = [
        ("accept-language", language),
        ("think", &step.think.to_string()),
        ("control", &step.control.to_string()),
    ];
    let mut request = get(&path, &fields);
    match step.act {
        Act::Get { ranged } => {
            if ranged {
                request
                    .headers_mut()
                    .insert("range", "bytes=-8".parse().unwrap());
            }
            let least = floor.lock().unwrap().get(&path).copied().unwrap_or(0);
            let (response, _) = bench.send(request).await;
            let part = response.status() == StatusCode::PARTIAL_CONTENT;
            let body = text(response).await;
            let body = std::str::from_utf8(&body).unwrap();
            let version = body[body.len() - 8..].parse::<usize>().unwrap();
            assert!(version >= least, "{body:?} is older than {least}");
            if !part {
                assert_eq!(body, format!("{path} {language} {version:08}"));
            }
        }
        Act::Leave => drop(bench.send(request).await),
        Act::Post => {
            *request.method_mut() = Method::POST;
            bench.send(request).await;
            raise(&versions, &floor, &path);
        }
        Act::Purge => {
            let purge = Purge::url(&format!("a.example{path}"));
            purge_of(&bench, &purge, &versions, &floor, &path);
        }
        Act::PurgeKey => {
            let purge = Purge::Key(step.path.to_string());
            purge_of(&bench, &purge, &versions, &floor, &path);
        }
    }
}

fn purge_of(bench: &Bench, purge: &Purge, versions: &Versions, floor: &Floor, path: &str) {
    bench.store.purge(purge);
    raise(versions, floor, path);
}

fn raise(versions: &Versions, floor: &Floor, path: &str) {
    let now = versions.lock().unwrap().get(path).copied().unwrap_or(0);
    let mut floor = floor.lock().unwrap();
    let least = floor.entry(path.to_owned()).or_default();
    *least = now.max(*least);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn nothing_wrong_and_nothing_outdated(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let versions = Versions::default();
            let at_origin = versions.clone();
            let bench = Bench::slow(&Cache::default(), move |_, request| {
                Box::pin(origin(at_origin.clone(), request.into_parts().0))
            });
            let floor = Floor::default();
            let tasks: Vec<_> = steps
                .into_iter()
                .map(|s| tokio::spawn(step(bench.clone(), versions.clone(), floor.clone(), s)))
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    }
}
