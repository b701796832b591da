//! Limits that machines share, with a real Redis that comes and goes.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gateway_spec::{KeyPart, Limit, Secret};
use pando_gateway::client::{Client, Scheme};
use pando_gateway::limits::{LimitStore, Limits};

/// For what should happen soon.
const PATIENCE: Duration = Duration::from_secs(20);

struct Redis {
    port: u16,
    child: Child,
    _dir: tempfile::TempDir,
}

impl Redis {
    fn start(port: u16) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let child = Command::new("redis-server")
            .args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"])
            .args(["--port", &port.to_string(), "--requirepass", "s3cret"])
            .arg("--dir")
            .arg(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server (Debian package redis-server)");
        Self {
            port,
            child,
            _dir: dir,
        }
    }

    fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Stopped or going on, as a host that is overloaded: connections stay.
    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let done = Command::new("kill").args([signal, &pid]).status();
        assert!(done.expect("kill").success());
    }

    fn url(&self) -> Secret {
        Secret::new(format!("redis://:s3cret@127.0.0.1:{}", self.port))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// One gateway of several.
struct Machine {
    store: Arc<LimitStore>,
    limits: Limits,
    start: Instant,
}

impl Machine {
    fn new(limit: &Limit, redis: &Redis) -> Self {
        let store = Arc::new(LimitStore::default());
        store.redis(Some(&redis.url())).expect("a good address");
        Self {
            limits: Limits::new("a /", std::slice::from_ref(limit), None, &store),
            store,
            start: Instant::now(),
        }
    }

    /// Another limit, over the same connection to Redis.
    fn change(&mut self, limit: &Limit) {
        self.limits = Limits::new("a /", std::slice::from_ref(limit), None, &self.store);
    }

    async fn passes(&self, ip: [u8; 4]) -> bool {
        let any = SocketAddr::from(([127, 0, 0, 1], 1));
        let client = Client {
            ip: ip.into(),
            peer: any,
            local: any,
            scheme: Scheme::Http,
        };
        let head = http::Request::new(()).into_parts().0;
        let now_ms = u64::try_from(self.start.elapsed().as_millis()).expect("a short test");
        self.limits.check(&client, &head, now_ms).await.is_ok()
    }

    async fn passed(&self, ip: [u8; 4], requests: usize) -> usize {
        let mut passed = 0;
        for _ in 0..requests {
            passed += usize::from(self.passes(ip).await);
        }
        passed
    }
}

/// So slow that the time a test takes lets nobody in.
fn limit(burst: u32) -> Limit {
    Limit {
        per: vec![KeyPart::Ip],
        zone: None,
        rate: 1,
        period_ms: 3_600_000,
        burst,
        nodelay: true,
        shared: true,
        dry_run: false,
    }
}

/// Waits until both count together: a new address is let in once by the one, then by the other
/// no more. Returns the address to be used next.
async fn together(one: &Machine, two: &Machine, mut next: u8) -> u8 {
    let start = Instant::now();
    loop {
        let ip = [10, 0, 1, next];
        next += 1;
        let first = one.passed(ip, 2).await + two.passed(ip, 2).await;
        if first == 2 {
            return next;
        }
        assert!(
            start.elapsed() < PATIENCE && next < 250,
            "they never counted together"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn machines_count_together_and_alone_while_redis_is_dead() {
    let mut redis = Redis::start(free_port());
    let (one, two) = (
        Machine::new(&limit(1), &redis),
        Machine::new(&limit(1), &redis),
    );
    let next = together(&one, &two, 0).await;

    redis.kill();
    // What was counted together still holds on the machine that counted it.
    let used = [10, 0, 1, next - 1];
    assert_eq!(one.passed(used, 5).await, 0);
    let start = Instant::now();
    for n in 0..50 {
        assert_eq!(one.passed([10, 0, 2, n], 3).await, 2);
        assert_eq!(two.passed([10, 0, 2, n], 3).await, 2);
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "requests waited for a dead Redis"
    );

    let redis = Redis::start(redis.port);
    let next = together(&one, &two, next).await;

    // It stops answering while connections stay: the first requests wait their 50 ms, no others.
    redis.signal("-STOP");
    let start = Instant::now();
    for n in 0..50 {
        assert_eq!(one.passed([10, 0, 3, n], 3).await, 2);
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "requests waited for a stopped Redis"
    );
    redis.signal("-CONT");
    together(&one, &two, next).await;
}

/// What two machines let through together is what one bucket lets through.
#[tokio::test]
async fn redis_counts_as_the_local_bucket_does() {
    let redis = Redis::start(free_port());
    let mut machines = [(); 2].map(|()| Machine::new(&limit(1), &redis));
    together(&machines[0], &machines[1], 0).await;
    let by_the_second = Limit {
        rate: 10,
        period_ms: 1000,
        ..limit(20)
    };
    for machine in &mut machines {
        machine.change(&by_the_second);
    }
    let ip = [10, 0, 8, 8];
    let start = Instant::now();
    let (mut passed, mut asked) = (0, 0);
    while start.elapsed() < Duration::from_millis(2_500) {
        passed += machines[asked % 2].passed(ip, 1).await;
        asked += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The burst, the first, and ten a second; a second more or less for a busy machine.
    let due = 21 + start.elapsed().as_millis() / 100;
    let passed = passed as u128;
    assert!(
        passed <= due + 1 && passed + 10 >= due,
        "{passed} of {asked}, due {due}"
    );
}

/// The thread that holds the connection ends; the others go on and join anew.
#[test]
fn the_connection_outlives_the_thread_that_made_it() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime")
    };
    let redis = Redis::start(free_port());
    let (one, two, next) = runtime().block_on(async {
        let (one, two) = (
            Machine::new(&limit(1), &redis),
            Machine::new(&limit(1), &redis),
        );
        let next = together(&one, &two, 0).await;
        (one, two, next)
    });
    let next = runtime().block_on(together(&one, &two, next));
    // Ended while it joins.
    let port = redis.port;
    drop(redis);
    runtime().block_on(async { assert_eq!(one.passed([10, 0, 7, 7], 3).await, 2) });
    let redis = Redis::start(port);
    runtime().block_on(together(&one, &two, next));
    drop(redis);
}

/// What the log says, as lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

thread_local! {
    /// Where this thread's lines go.
    static HERE: std::cell::RefCell<Option<Log>> = const { std::cell::RefCell::new(None) };
}

/// Ends the log of a thread.
struct Here;

impl Drop for Here {
    fn drop(&mut self) {
        HERE.take();
    }
}

impl Log {
    /// Of this thread, until the guard is dropped. One subscriber serves the whole process: with
    /// one a thread, a line whose first use races another thread's is never asked for again.
    fn here() -> (Self, Here) {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            tracing_subscriber::fmt()
                .with_writer(|| HERE.with_borrow(Clone::clone).unwrap_or_default())
                .with_ansi(false)
                .with_max_level(tracing::Level::INFO)
                .init();
        });
        let log = Self::default();
        HERE.set(Some(log.clone()));
        (log, Here)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text")
    }
}

#[tokio::test]
async fn a_redis_that_speaks_no_tls_is_said_to_be_away() {
    let (log, _here) = Log::here();
    let redis = Redis::start(free_port());
    let machine = Machine::new(&limit(1), &redis);
    let url = format!("rediss://:s3cret@127.0.0.1:{}", redis.port);
    machine.store.redis(Some(&Secret::new(url))).unwrap();
    let start = Instant::now();
    while !log.text().contains("does not answer") {
        assert!(
            start.elapsed() < PATIENCE,
            "nothing was said: {}",
            log.text()
        );
        machine.passed([10, 0, 9, 9], 3).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!log.text().contains("s3cret"));
}

#[tokio::test]
async fn the_log_says_once_that_redis_is_away_and_once_that_it_is_back() {
    let (log, _here) = Log::here();
    let mut redis = Redis::start(free_port());
    let (one, two) = (
        Machine::new(&limit(1), &redis),
        Machine::new(&limit(1), &redis),
    );
    let next = together(&one, &two, 0).await;
    // Redis may have been asked before it listened.
    log.0.lock().unwrap().clear();
    let said = |what: &str| {
        let log = log.text();
        assert!(!log.contains("s3cret"), "{log}");
        log.lines().filter(|line| line.contains(what)).count()
    };
    redis.kill();
    for n in 0..30 {
        assert_eq!(one.passed([10, 0, 2, n], 3).await, 2);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Once for each machine, when it has noticed.
    assert_eq!(said("does not answer"), 1);
    assert_eq!(two.passed([10, 0, 4, 1], 1).await, 1);
    assert_eq!(said("does not answer"), 2);
    assert_eq!(said("answers again"), 0);
    let _redis = Redis::start(redis.port);
    together(&one, &two, next).await;
    assert_eq!([said("does not answer"), said("answers again")], [2, 2]);
}

#[tokio::test]
async fn limits_that_stay_follow_a_change_of_the_redis() {
    let (first, second) = (Redis::start(free_port()), Redis::start(free_port()));
    let [one, two] = [(); 2].map(|()| Machine::new(&limit(1), &first));
    let next = together(&one, &two, 0).await;
    drop(first);
    for machine in [&one, &two] {
        machine.store.redis(Some(&second.url())).unwrap();
    }
    together(&one, &two, next).await;
    assert!(one.store.redis(None).is_ok());
    assert_eq!(one.passed([10, 0, 9, 9], 3).await, 2);
}

#[tokio::test]
async fn an_address_that_makes_no_sense_is_refused() {
    let store = LimitStore::default();
    assert!(store.redis(Some(&Secret::new("http://x"))).is_err());
    assert!(store.redis(None).is_ok());
    for url in ["rediss://:pw@127.0.0.1:1/2", "redis+unix:///run/redis.sock"] {
        assert!(store.redis(Some(&Secret::new(url))).is_ok(), "{url}");
    }
}
