//! Server and client over a real socket, with a handler that is a closure.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a fake handler knows a few calls"
)]

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use pando_control::api::{
    Answer, Frame, LogLine, LogQuery, LogStream, Problem, Progress, Request, Select,
};
use pando_control::call::{REPLY_QUEUE_FRAMES, TrySendError};
use pando_control::{
    Call, CallError, Client, ConnectError, Reply, ServeOptions, bind, listener_from_fd,
    serve_until, socket_path,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const GENEROUS: Duration = Duration::from_secs(20);

fn problem(what: &str) -> Problem {
    Problem {
        what: what.into(),
        exit_code: 1,
        ..Problem::default()
    }
}

fn line(time_ms: i64, text: &str) -> LogLine {
    LogLine {
        app: "api".into(),
        worker: 0,
        stream: LogStream::Out,
        time_ms,
        text: text.into(),
    }
}

/// A supervisor that may be killed (its task aborted) and started anew on the same listener.
struct Fake {
    task: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
}

impl Fake {
    fn start(
        listener: UnixListener,
        options: ServeOptions,
        mut handle: impl FnMut(Call) + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let (calls, mut arriving) = mpsc::channel(8);
            let serving = serve_until(listener, calls, options, async move {
                let _ = stopped.await;
            });
            let handling = async move {
                while let Some(call) = arriving.recv().await {
                    handle(call);
                }
            };
            let (served, ()) = tokio::join!(serving, handling);
            served.unwrap();
        });
        Self {
            task,
            stop: Some(stop),
        }
    }

    async fn stop(mut self) {
        drop(self.stop.take());
        tokio::time::timeout(GENEROUS, self.task)
            .await
            .unwrap()
            .unwrap();
    }

    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

fn home() -> (tempfile::TempDir, UnixListener) {
    let home = tempfile::tempdir().unwrap();
    let listener = bind(&socket_path(home.path())).unwrap();
    (home, listener)
}

fn echo(call: Call) {
    match call.request {
        Request::Version => call.reply.done(Answer::End),
        Request::Kill => call.reply.failed(problem("cannot")),
        Request::List {
            select: Select::Names(names),
        } => {
            for name in &names {
                let progress = Progress {
                    app: name.clone(),
                    ready: 1,
                    wanted: 2,
                    text: format!("starting {name}"),
                };
                call.reply.try_send(Frame::Progress(progress)).unwrap();
            }
            call.reply.done(Answer::Apps(Vec::new()));
        }
        other => call.reply.failed(problem(&format!("{other:?}"))),
    }
}

#[tokio::test]
async fn frames_arrive_in_order_and_the_answer_ends_the_call() {
    let (home, listener) = home();
    let fake = Fake::start(listener, ServeOptions::default(), echo);
    let mut client = Client::connect(home.path()).await.unwrap();
    let mut seen = Vec::new();
    let request = Request::List {
        select: Select::Names(vec!["a".into(), "b".into()]),
    };
    let answer = client
        .call(request, |f| {
            if let Frame::Progress(p) = f {
                seen.push(p.app);
            }
        })
        .await
        .unwrap();
    assert_eq!(
        (answer, seen),
        (Answer::Apps(Vec::new()), vec!["a".into(), "b".into()])
    );
    // The same client makes further calls; a problem comes back whole.
    assert_eq!(
        client.call(Request::Version, |_| {}).await.unwrap(),
        Answer::End
    );
    let Err(CallError::Failed(p)) = client.call(Request::Kill, |_| {}).await else {
        panic!()
    };
    assert_eq!(*p, problem("cannot"));
    fake.stop().await;
}

#[tokio::test]
async fn the_socket_is_private_and_bind_replaces_a_stale_one() {
    let (home, listener) = home();
    let path = socket_path(home.path());
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    drop(listener);
    let again = bind(&path).unwrap();
    assert_eq!(mode(), 0o600);
    let fake = Fake::start(again, ServeOptions::default(), echo);
    assert!(Client::connect(home.path()).await.is_ok());
    fake.stop().await;
}

#[tokio::test]
async fn a_home_with_a_long_path_works() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("h".repeat(150));
    std::fs::create_dir(&home).unwrap();
    let path = socket_path(&home);
    let fake = Fake::start(bind(&path).unwrap(), ServeOptions::default(), echo);
    let mut client = Client::connect(&home).await.unwrap();
    assert_eq!(
        client.call(Request::Version, |_| {}).await.unwrap(),
        Answer::End
    );
    fake.stop().await;
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn no_daemon_is_told_at_once_or_after_the_patience() {
    let home = tempfile::tempdir().unwrap();
    let error = Client::connect(home.path()).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoDaemon { .. }));
    drop(bind(&socket_path(home.path())).unwrap());
    let error = Client::connect_within(home.path(), Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::NoDaemon { .. }));
    // The next supervisor comes while a client waits.
    let waiting = tokio::spawn({
        let home = home.path().to_owned();
        async move { Client::connect_within(&home, GENEROUS).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let listener = bind(&socket_path(home.path())).unwrap();
    waiting.await.unwrap().unwrap();
    drop(listener);
}

/// Sends raw bytes, closes its writing side, and reads to the end.
async fn raw(path: &Path, bytes: Vec<u8>) -> String {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(GENEROUS)).unwrap();
        // The server may have answered and closed before everything was written.
        let _ = stream.write_all(&bytes);
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    })
    .await
    .unwrap()
}

fn post(body: &str) -> Vec<u8> {
    format!(
        "POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[tokio::test]
async fn garbage_is_refused_and_the_server_goes_on() {
    let (home, listener) = home();
    let options = ServeOptions {
        body_timeout: Duration::from_millis(200),
        ..ServeOptions::default()
    };
    let fake = Fake::start(listener, options, echo);
    let path = socket_path(home.path());
    let short = b"POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{".to_vec();
    let large = "POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n\r\n".to_string()
        + &" ".repeat(9_000_000);
    for (bytes, status, says) in [
        (
            vec![0, 159, 146, 150, b'\r', b'\n', b'\r', b'\n'],
            " 400 ",
            "",
        ),
        (post("not json"), " 400 ", "not understood"),
        (post("{\"call\":\"dance\"}"), " 400 ", "unknown variant"),
        (post(&"[".repeat(100_000)), " 400 ", "not understood"),
        (post("{\"call\":\"list\"}"), " 400 ", "missing field"),
        (short, " 408 ", "too slow"),
        (large.into_bytes(), " 413 ", "too large"),
        (
            b"GET /v2/apps HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            " 404 ",
            "unknown",
        ),
        (
            b"GET /v1/apps/api HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            " 200 ",
            "starting api",
        ),
        (
            post("{\"call\":\"version\"}"),
            " 200 ",
            "{\"done\":\"end\"}\n",
        ),
    ] {
        let answer = raw(&path, bytes).await;
        let head = answer.lines().next().unwrap_or_default();
        assert!(
            head.contains(status) && answer.contains(says),
            "{status} {says}: {answer:.300}"
        );
    }
    fake.stop().await;
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_closed() {
    let (home, listener) = home();
    let options = ServeOptions {
        header_timeout: Duration::from_millis(100),
        ..ServeOptions::default()
    };
    let fake = Fake::start(listener, options, echo);
    assert_eq!(
        raw(&socket_path(home.path()), b"GET /v1/".to_vec()).await,
        ""
    );
    fake.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let (home, listener) = home();
    let options = ServeOptions {
        max_connections: 2,
        ..ServeOptions::default()
    };
    let fake = Fake::start(listener, options, echo);
    let path = socket_path(home.path());
    let held: Vec<_> = (0..2)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    let mut client = Client::connect(home.path()).await.unwrap();
    let Err(CallError::Failed(p)) = client.call(Request::Version, |_| {}).await else {
        panic!()
    };
    assert_eq!(p.what, "too many connections");
    drop(held);
    let deadline = tokio::time::Instant::now() + GENEROUS;
    while client.call(Request::Version, |_| {}).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    fake.stop().await;
}

#[tokio::test]
async fn a_handler_notices_that_the_client_has_gone() {
    let (home, listener) = home();
    let (noticed, notice) = oneshot::channel();
    let mut noticed = Some(noticed);
    let fake = Fake::start(listener, ServeOptions::default(), move |call| {
        let noticed = noticed.take().unwrap();
        tokio::spawn(async move {
            call.reply.closed().await;
            assert!(call.reply.is_closed());
            noticed.send(()).unwrap();
        });
    });
    let mut client = Client::connect(home.path()).await.unwrap();
    let call = client.call(Request::Events, |_| {});
    assert!(
        tokio::time::timeout(Duration::from_millis(100), call)
            .await
            .is_err()
    );
    tokio::time::timeout(GENEROUS, notice)
        .await
        .unwrap()
        .unwrap();
    fake.stop().await;
}

#[tokio::test]
async fn a_call_that_nobody_answers_breaks_off_and_kill_gets_its_answer_out() {
    let (home, listener) = home();
    let (stop, mut stopped) = mpsc::channel::<Reply>(1);
    let fake = Fake::start(listener, ServeOptions::default(), move |call| {
        match call.request {
            Request::Kill => stop.try_send(call.reply).unwrap(),
            _ => drop(call),
        }
    });
    let mut client = Client::connect(home.path()).await.unwrap();
    let given_up = client.call(Request::Upgrade { path: None }, |_| {}).await;
    assert!(matches!(given_up, Err(CallError::Broken)), "{given_up:?}");
    let killing = tokio::spawn(async move { client.call(Request::Kill, |_| {}).await });
    let reply = stopped.recv().await.unwrap();
    let stopping = tokio::spawn(fake.stop());
    tokio::time::sleep(Duration::from_millis(50)).await;
    reply.done(Answer::End);
    assert_eq!(killing.await.unwrap().unwrap(), Answer::End);
    stopping.await.unwrap();
}

/// The listener outlives the supervisor, as root keeps it.
fn kept(listener: &UnixListener) -> UnixListener {
    listener_from_fd(OwnedFd::from(listener.try_clone().unwrap())).unwrap()
}

#[tokio::test]
async fn reads_go_on_with_the_next_supervisor_and_writes_say_that_they_broke() {
    let (home, listener) = home();
    let (got, mut calls) = mpsc::channel(8);
    let silent = {
        let got = got.clone();
        move |call: Call| got.try_send(call).unwrap()
    };
    let fake = Fake::start(kept(&listener), ServeOptions::default(), silent.clone());
    let call = |request: Request| {
        let home = home.path().to_owned();
        tokio::spawn(async move {
            Client::connect(&home)
                .await
                .unwrap()
                .call(request, |_| {})
                .await
        })
    };
    let read = call(Request::Version);
    let write = call(Request::Restart {
        select: Select::All,
        spec: None,
    });
    let held = [calls.recv().await.unwrap(), calls.recv().await.unwrap()];
    fake.kill().await;
    let Err(CallError::Broken) = write.await.unwrap() else {
        panic!()
    };
    let next = Fake::start(kept(&listener), ServeOptions::default(), silent);
    let again = calls.recv().await.unwrap();
    assert_eq!(again.request, Request::Version);
    again.reply.done(Answer::End);
    assert_eq!(read.await.unwrap().unwrap(), Answer::End);
    drop(held);
    next.stop().await;
}

#[tokio::test]
async fn a_follower_of_logs_misses_nothing_and_sees_nothing_twice() {
    let (home, listener) = home();
    let (sent, first_done) = oneshot::channel();
    let mut sent = Some(sent);
    let fake = Fake::start(kept(&listener), ServeOptions::default(), move |call| {
        for l in [line(1_000, "one"), line(2_000, "two")] {
            call.reply.try_send(Frame::Log(l)).unwrap();
        }
        sent.take().unwrap().send(call).unwrap();
    });
    let (seen, mut lines) = mpsc::unbounded_channel();
    let query = LogQuery {
        lines: 15,
        follow: true,
        ..LogQuery::default()
    };
    let mut client = Client::connect(home.path()).await.unwrap();
    let follower = tokio::spawn(async move {
        let request = Request::Logs { query };
        client
            .call(request, |f| {
                if let Frame::Log(l) = f {
                    seen.send(l.text).unwrap();
                }
            })
            .await
    });
    let held = first_done.await.unwrap();
    assert_eq!(lines.recv().await.unwrap(), "one");
    assert_eq!(lines.recv().await.unwrap(), "two");
    fake.kill().await;
    let next = Fake::start(kept(&listener), ServeOptions::default(), |call| {
        let Request::Logs { query } = &call.request else {
            panic!()
        };
        assert_eq!(query.since_ms, Some(1_000));
        for l in [line(1_000, "one"), line(2_000, "two"), line(2_000, "three")] {
            call.reply.try_send(Frame::Log(l)).unwrap();
        }
        call.reply.done(Answer::End);
    });
    assert_eq!(follower.await.unwrap().unwrap(), Answer::End);
    assert_eq!(lines.recv().await.unwrap(), "three");
    assert_eq!(lines.recv().await, None);
    drop(held);
    next.stop().await;
}

#[tokio::test]
async fn a_slow_reader_is_bounded_and_still_gets_the_end() {
    let (reply, mut frames) = Reply::channel();
    for n in 0..REPLY_QUEUE_FRAMES {
        reply
            .try_send(Frame::Log(line(i64::try_from(n).unwrap(), "x")))
            .unwrap();
    }
    let full = reply.try_send(Frame::Log(line(0, "y")));
    assert_eq!(
        full,
        Err(TrySendError::Full(Box::new(Frame::Log(line(0, "y")))))
    );
    reply.done(Answer::End);
    reply.failed(problem("too late"));
    let mut count = 0;
    let mut last = None;
    while let Some(frame) = frames.next().await {
        count += 1;
        last = Some(frame);
    }
    assert_eq!(
        (count, last),
        (REPLY_QUEUE_FRAMES + 1, Some(Frame::Done(Answer::End)))
    );
    assert!(reply.is_closed());
}
