//! The link over a real socket pair, with `node_cluster::Primary` at the other end.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it looks for"
)]

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use gateway_spec::link::{AppState, ToGateway, decode_value, encode};
use node_cluster::{Attach, Channel, ConnId, Effect, Incoming, ListenReply, Primary, WorkerId};

use super::*;

const WORKER: WorkerId = WorkerId(1);

struct Supervisor {
    channel: Channel,
    primary: Primary,
    listener: Arc<OwnedFd>,
    conn: Arc<OwnedFd>,
    said: Vec<FromGateway>,
    effects: Vec<Effect>,
}

impl Supervisor {
    fn new(channel: Channel) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (conn, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut primary = Primary::new(node_cluster::Options::default());
        primary.join(WORKER);
        Self {
            channel,
            primary,
            listener: Arc::new(listener.into()),
            conn: Arc::new(conn.into()),
            said: Vec::new(),
            effects: Vec::new(),
        }
    }

    fn tell(&mut self, say: &ToGateway, fd: Option<Arc<OwnedFd>>) {
        self.channel.queue(encode(say).unwrap(), fd).unwrap();
    }

    fn step(&mut self) {
        let mut lines = Vec::new();
        self.channel
            .read(&mut |incoming| {
                if let Incoming::Line(line, fd) = incoming {
                    lines.push((line.to_vec(), fd.is_some()));
                }
            })
            .unwrap();
        for (line, fd) in lines {
            let effects = self.primary.receive(WORKER, &line, fd);
            self.carry_out(effects);
        }
        self.channel.flush().unwrap();
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { line, attach, .. } => {
                    let fd = match attach {
                        Attach::Listener(..) => Some(Arc::clone(&self.listener)),
                        Attach::Conn(_) | Attach::Dummy(_) => Some(Arc::clone(&self.conn)),
                        Attach::None => None,
                    };
                    self.channel.queue(line, fd).unwrap();
                }
                Effect::Query { query, .. } => {
                    let effects = self.primary.answer(query, ListenReply::Handle);
                    self.carry_out(effects);
                }
                Effect::Agent { message, .. } if message["act"] == "gateway" => {
                    self.said.push(decode_value(message).unwrap());
                }
                other => self.effects.push(other),
            }
        }
    }

    async fn until<T>(&mut self, mut found: impl FnMut(&mut Self) -> Option<T>) -> T {
        for _ in 0..5_000 {
            self.step();
            if let Some(found) = found(self) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("never: {:?} {:?}", self.said, self.effects)
    }
}

fn spec() -> GatewaySpec {
    GatewaySpec {
        listen: vec![Listen::plain("127.0.0.1:80".parse().unwrap())],
        ..GatewaySpec::default()
    }
}

fn config(id: u64) -> ToGateway {
    ToGateway::Config {
        id,
        spec: Box::new(spec()),
        state: "/h/gateway".into(),
    }
}

async fn started() -> (Supervisor, Handle, mpsc::Receiver<Event>) {
    let (ours, theirs) = Channel::pair().unwrap();
    let (driver, handle, mut events) = connect(theirs).unwrap();
    tokio::spawn(driver.run());
    let mut supervisor = Supervisor::new(ours);
    supervisor.tell(&config(1), None);
    let first = supervisor.until(|_| events.try_recv().ok()).await;
    assert!(matches!(first, Event::Config { id: 1, .. }), "{first:?}");
    let next = supervisor.until(|_| events.try_recv().ok()).await;
    assert!(matches!(next, Event::Listener { index: 0, .. }), "{next:?}");
    handle.ready().await;
    supervisor
        .until(|s| {
            let heard = |e: &Effect| matches!(e, Effect::Listening { .. });
            s.effects.iter().any(heard).then_some(())
        })
        .await;
    (supervisor, handle, events)
}

#[tokio::test]
async fn no_report_is_made_for_a_supervisor_that_does_not_read() {
    let (mut supervisor, handle, _events) = started().await;
    let full = || Report {
        routes: vec![monitor_spec::edge::Route::default(); 500],
        ..Report::default()
    };
    let mut sent = 0;
    let mut refused = 0;
    // The socket takes some of them; then there is no room, however often it is asked.
    while refused < 50 {
        match handle.room_for_report() {
            Some(room) => {
                room.send(full());
                sent += 1;
                assert!(sent < 1_000, "it is bounded");
            }
            None => refused += 1,
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let heard = |s: &Supervisor| {
        let reports = s.said.iter();
        reports
            .filter(|say| matches!(say, FromGateway::Report(_)))
            .count()
    };
    let all = supervisor.until(|s| (heard(s) == sent).then_some(())).await;
    assert_eq!((all, sent > 0), ((), true));
    supervisor
        .until(|_| handle.room_for_report().map(|_| ()))
        .await;
}

#[tokio::test]
async fn a_gateway_becomes_ready_takes_a_connection_and_answers_pings() {
    let (mut supervisor, _handle, mut events) = started().await;
    let key = supervisor
        .effects
        .iter()
        .find_map(|e| match e {
            Effect::Listening { key, .. } => Some(key.clone()),
            _ => None,
        })
        .unwrap();
    let effects = supervisor.primary.deliver(WORKER, &key, ConnId(9));
    supervisor.carry_out(effects);
    let (_, effects) = supervisor.primary.ping(WORKER);
    supervisor.carry_out(effects);
    let event = supervisor.until(|_| events.try_recv().ok()).await;
    assert!(matches!(event, Event::Connection { listener: 0, .. }));
    for wanted in [
        |e: &Effect| {
            matches!(
                e,
                Effect::Accepted {
                    conn: ConnId(9),
                    ..
                }
            )
        },
        |e: &Effect| matches!(e, Effect::Pong { .. }),
    ] {
        supervisor
            .until(|s| s.effects.iter().any(wanted).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn a_core_may_wait_for_a_file_while_events_pile_up() {
    let (mut supervisor, handle, mut events) = started().await;
    let asking = tokio::spawn({
        let handle = handle.clone();
        async move { handle.open(Path::new("/etc/c.pem")).await }
    });
    let id = supervisor
        .until(|s| {
            s.said.iter().find_map(|say| match say {
                FromGateway::Open { id, .. } => Some(*id),
                _ => None,
            })
        })
        .await;
    for n in 0..500 {
        let mut app = AppEndpoints::unknown("api");
        app.state = if n == 499 {
            AppState::Ready
        } else {
            AppState::Waking
        };
        supervisor.tell(&ToGateway::Apps(vec![app]), None);
        supervisor.tell(&config(n + 10), None);
        supervisor.step();
        if n % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let file = Arc::new(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
    supervisor.tell(&ToGateway::Opened { id, error: None }, Some(file));
    supervisor
        .until(|s| (s.channel.queued() == 0).then_some(()))
        .await;
    let opened = asking.await.unwrap().unwrap();
    assert!(rustix::io::fcntl_getfd(opened.as_fd()).is_ok());
    // The states of one app were brought together.
    let (mut states, mut configs) = (Vec::new(), 0);
    while configs < 500 {
        match supervisor.until(|_| events.try_recv().ok()).await {
            Event::Apps(apps) => states.push(apps[0].state),
            Event::Config { .. } => configs += 1,
            other => panic!("{other:?}"),
        }
    }
    while let Ok(Event::Apps(apps)) = events.try_recv() {
        states.push(apps[0].state);
    }
    assert_eq!(states.last(), Some(&AppState::Ready));
    handle.config_result(7, ConfigOutcome::Applied).await;
    let done = FromGateway::Config {
        id: 7,
        outcome: ConfigOutcome::Applied,
    };
    supervisor
        .until(|s| s.said.contains(&done).then_some(()))
        .await;
}

#[tokio::test]
async fn the_end_of_the_channel_is_told_and_ends_what_waits() {
    let (supervisor, handle, mut events) = started().await;
    let asking = tokio::spawn(async move { handle.open(Path::new("/x")).await });
    tokio::task::yield_now().await;
    drop(supervisor);
    loop {
        match tokio::time::timeout(Duration::from_secs(10), events.recv()).await {
            Ok(Some(Event::Closed)) => break,
            Ok(Some(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(asking.await.unwrap().is_err());
}
