//! Buckets that machines share, in Redis or Valkey (5 or later).
//!
//! ```text
//! Idle --first request--> Joining --answers--> Joined --no answer in time--> Joining
//! ```
//! A request asks Redis only in `Joined`, and for no longer than [`ANSWER_MS`]; in every other
//! state, and when the answer does not come, it is counted on this machine. One task at a time
//! joins, with growing pauses; also a Redis that answers now and then is joined that seldom. What
//! is said in the log is said once for each change.
//!
//! Each answer is also written into the machine's own zone. So the local count goes on from the
//! last shared one when Redis dies, and whoever is over the limit by that copy is refused without
//! asking Redis: a flood does not reach it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use balance::Leaky;
use gateway_spec::Secret;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Script};
use tokio::time::{Instant, sleep, timeout};

/// How long a request waits for Redis.
const ANSWER_MS: u64 = 50;
/// How long joining may take.
const JOIN_MS: u64 = 1_000;
/// Pauses between two tries to join.
const PAUSE_MIN_MS: u64 = 100;
const PAUSE_MAX_MS: u64 = 5_000;
/// Joined for at least this long, the next pause is the shortest again.
const STABLE_MS: u64 = 10_000;

/// A Redis with the script, for the life of one address.
pub(super) struct Shared {
    client: Client,
    script: Script,
    link: Mutex<Link>,
}

struct Link {
    state: State,
    /// Of the connection: who finds an old one broken says nothing of the new one.
    era: u64,
    pause_ms: u64,
    /// That Redis is away was said.
    said: bool,
}

enum State {
    Idle,
    Joining,
    Joined {
        connection: MultiplexedConnection,
        since: Instant,
    },
}

impl Shared {
    /// # Errors
    /// The address cannot be understood.
    pub(super) fn new(url: &Secret) -> Result<Self, RedisError> {
        Ok(Self {
            client: Client::open(url.expose())?,
            script: Script::new(include_str!("pour.lua")),
            link: Mutex::new(Link {
                state: State::Idle,
                era: 0,
                pause_ms: PAUSE_MIN_MS,
                said: false,
            }),
        })
    }

    /// The level of the bucket before this request, which is counted if it fits; `None` if it is
    /// not known (in time): count locally.
    pub(super) async fn pour(self: &Arc<Self>, key: &str, limit: &Leaky) -> Option<u64> {
        let (mut connection, era) = self.joined()?;
        let mut call = self.script.prepare_invoke();
        let capacity = limit.quota().saturating_mul(limit.period_ms.max(1));
        call.key(key)
            .arg(limit.rate.max(1))
            .arg(limit.period_ms.max(1))
            .arg(capacity);
        let answer = call.invoke_async::<String>(&mut connection);
        let why = match timeout(Duration::from_millis(ANSWER_MS), answer).await {
            Ok(Ok(level)) => match level.parse() {
                Ok(level) => return Some(level),
                Err(_) => "its answer is not a number".to_owned(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {ANSWER_MS} ms"),
        };
        self.lost(era, &why);
        None
    }

    /// The connection and its era, if there is one; begins to join if nobody has.
    fn joined(self: &Arc<Self>) -> Option<(MultiplexedConnection, u64)> {
        let mut link = self.link();
        match &link.state {
            State::Joined { connection, .. } => return Some((connection.clone(), link.era)),
            State::Joining => {}
            State::Idle => self.start(&mut link, 0),
        }
        None
    }

    /// Begins to join before the first request needs it; does nothing outside a runtime.
    pub(super) fn warm(self: &Arc<Self>) {
        let mut link = self.link();
        if matches!(link.state, State::Idle) && tokio::runtime::Handle::try_current().is_ok() {
            self.start(&mut link, 0);
        }
    }

    fn lost(self: &Arc<Self>, era: u64, why: &str) {
        let mut link = self.link();
        let State::Joined { since, .. } = &link.state else {
            return;
        };
        if link.era != era {
            return;
        }
        let pause_ms = if since.elapsed() >= Duration::from_millis(STABLE_MS) {
            link.pause_ms = PAUSE_MIN_MS;
            0
        } else {
            link.pause()
        };
        link.away(&self.place(), why);
        self.start(&mut link, pause_ms);
    }

    fn start(self: &Arc<Self>, link: &mut Link, pause_ms: u64) {
        link.state = State::Joining;
        let task = Joining(Arc::downgrade(self));
        tokio::spawn(async move { task.run(pause_ms).await });
    }

    async fn join(&self) -> Result<MultiplexedConnection, String> {
        // Deadlines are ours.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let join = async {
            let connect = self
                .client
                .get_multiplexed_async_connection_with_config(&config);
            let mut connection = connect.await?;
            self.script.load_async(&mut connection).await?;
            Ok(connection)
        };
        let joined = match timeout(Duration::from_millis(JOIN_MS), join).await {
            Ok(joined) => joined,
            Err(_) => return Err(format!("no connection within {JOIN_MS} ms")),
        };
        let mut connection = joined.map_err(|error: RedisError| error.to_string())?;
        let ping = redis::cmd("PING");
        let pong = ping.query_async::<()>(&mut connection);
        match timeout(Duration::from_millis(ANSWER_MS), pong).await {
            Ok(pong) => pong.map(|()| connection).map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {ANSWER_MS} ms")),
        }
    }

    /// Host and port or path, without the password.
    fn place(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that joins. If its thread's runtime ends before it has, the next request begins anew.
struct Joining(Weak<Shared>);

impl Joining {
    async fn run(&self, mut pause_ms: u64) {
        loop {
            // Nothing is held meanwhile: a Redis that nobody uses any more is not joined.
            sleep(Duration::from_millis(pause_ms)).await;
            let Some(shared) = self.0.upgrade() else {
                return;
            };
            match shared.join().await {
                Ok(connection) => {
                    shared.link().here(&shared.place(), connection);
                    return;
                }
                Err(why) => shared.link().away(&shared.place(), &why),
            }
            pause_ms = shared.link().pause();
        }
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        let Some(shared) = self.0.upgrade() else {
            return;
        };
        let mut link = shared.link();
        if matches!(link.state, State::Joining) {
            link.state = State::Idle;
        }
    }
}

impl Link {
    fn here(&mut self, place: &str, connection: MultiplexedConnection) {
        if std::mem::take(&mut self.said) {
            tracing::warn!(
                redis = place,
                "Redis answers again: rate limits with `shared = true` count over all machines"
            );
        }
        self.era += 1;
        self.state = State::Joined {
            connection,
            since: Instant::now(),
        };
    }

    fn away(&mut self, place: &str, why: &str) {
        if !std::mem::replace(&mut self.said, true) {
            tracing::warn!(
                redis = place,
                why,
                "Redis does not answer: until it does, rate limits with `shared = true` count on \
                 each machine alone. Look whether it runs and whether its address is right."
            );
        }
    }

    /// The next pause, each twice as long as the one before.
    fn pause(&mut self) -> u64 {
        let pause_ms = self.pause_ms;
        self.pause_ms = (pause_ms * 2).min(PAUSE_MAX_MS);
        pause_ms
    }
}
