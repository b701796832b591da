//! Limits through the code that requests run, under a clock that stands still until all wait.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gateway_spec::{ConnectionLimit, KeyPart, Limit};
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode};
use pando_gateway::client::{Client, Scheme};
use pando_gateway::limits::{LimitStore, Limits, Pass};
use tokio::time::{Instant, sleep};

fn client(ip: &str) -> Client {
    let any = SocketAddr::from(([127, 0, 0, 1], 1));
    Client {
        ip: ip.parse().expect("an address"),
        peer: any,
        local: any,
        scheme: Scheme::Http,
    }
}

fn head(path: &str) -> Parts {
    let request = Request::builder().uri(path).body(());
    request.expect("a request").into_parts().0
}

fn limit(burst: u32) -> Limit {
    Limit {
        per: vec![KeyPart::Ip],
        zone: None,
        rate: 10,
        period_ms: 1000,
        burst,
        nodelay: true,
        shared: false,
        dry_run: false,
    }
}

/// Limits and the clock that they are asked by.
struct Route {
    limits: Limits,
    store: Arc<LimitStore>,
    start: Instant,
}

impl Route {
    fn new(limits: &[Limit], concurrent: Option<&ConnectionLimit>) -> Self {
        let store = Arc::new(LimitStore::default());
        Self {
            limits: Limits::new("a /", limits, concurrent, &store),
            store,
            start: Instant::now(),
        }
    }

    async fn ask(&self, ip: &str) -> Result<Pass, HeaderMap> {
        let now_ms = u64::try_from(self.start.elapsed().as_millis()).expect("a short test");
        let answer = self.limits.check(&client(ip), &head("/"), now_ms).await;
        answer.map_err(|refused| {
            assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
            refused.into_parts().0.headers
        })
    }

    async fn passed(&self, ip: &str, requests: usize) -> usize {
        let mut passed = 0;
        for _ in 0..requests {
            passed += usize::from(self.ask(ip).await.is_ok());
            sleep(Duration::from_millis(1)).await;
        }
        passed
    }
}

fn fields(headers: &HeaderMap) -> Vec<String> {
    let names = [
        "ratelimit-limit",
        "ratelimit-remaining",
        "ratelimit-reset",
        "ratelimit-policy",
        "retry-after",
    ];
    let value = |name| headers.get(name).map_or("-", |v| v.to_str().expect("text"));
    names.map(value).map(str::to_owned).to_vec()
}

#[tokio::test(start_paused = true)]
async fn nginxs_figures_without_delay() {
    let route = Route::new(&[limit(20)], None);
    assert_eq!(route.passed("10.0.0.1", 50).await, 21);
    sleep(Duration::from_millis(1050)).await;
    assert_eq!(route.passed("10.0.0.1", 50).await, 11);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(route.passed("10.0.0.1", 50).await, 21);
    assert_eq!(route.passed("10.0.0.2", 50).await, 21);
}

#[tokio::test(start_paused = true)]
async fn nginxs_figures_with_delay() {
    let delayed = Limit {
        nodelay: false,
        ..limit(5)
    };
    let route = Arc::new(Route::new(&[delayed], None));
    let start = Instant::now();
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let route = route.clone();
        asked.spawn(async move { (route.ask("10.0.0.1").await.is_ok(), start.elapsed()) });
    }
    let answers = asked.join_all().await;
    let mut waits: Vec<u128> = answers
        .iter()
        .filter(|(passed, _)| *passed)
        .map(|(_, wait)| wait.as_millis())
        .collect();
    waits.sort_unstable();
    assert_eq!(waits, [0, 100, 200, 300, 400, 500]);
    let refused = answers.iter().filter(|(passed, _)| !passed);
    assert!(refused.map(|(_, wait)| wait).all(Duration::is_zero));
}

#[tokio::test(start_paused = true)]
async fn answers_say_what_is_left() {
    let route = Route::new(&[limit(1)], None);
    let mut headers = HeaderMap::new();
    route.ask("10.0.0.1").await.unwrap().decorate(&mut headers);
    assert_eq!(fields(&headers), ["2", "1", "1", "10;w=1;burst=1", "-"]);
    headers.insert("ratelimit-limit", "99".parse().unwrap());
    route.ask("10.0.0.1").await.unwrap().decorate(&mut headers);
    assert_eq!(fields(&headers), ["2", "0", "1", "10;w=1;burst=1", "-"]);
    let refused = route.ask("10.0.0.1").await.unwrap_err();
    assert_eq!(fields(&refused), ["2", "0", "1", "10;w=1;burst=1", "1"]);
    assert_eq!(headers.get_all("ratelimit-limit").iter().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_one_limit_refuses_is_counted_by_none() {
    let hourly = Limit {
        period_ms: 3_600_000,
        ..limit(29)
    };
    let route = Route::new(&[hourly, limit(0)], None);
    // Ten a second pass the second limit; after three seconds the first has had its thirty.
    let mut passed = Vec::new();
    for _ in 0..4 {
        let mut now = 0;
        for _ in 0..10 {
            now += usize::from(route.ask("10.0.0.1").await.is_ok());
            now += usize::from(route.ask("10.0.0.1").await.is_ok());
            sleep(Duration::from_millis(100)).await;
        }
        passed.push(now);
    }
    assert_eq!(passed, [10, 10, 10, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_refuses_nothing_and_says_nothing_to_the_client() {
    let dry_run = Limit {
        dry_run: true,
        nodelay: false,
        ..limit(5)
    };
    let route = Route::new(&[dry_run], None);
    let start = Instant::now();
    assert_eq!(route.passed("10.0.0.1", 50).await, 50);
    assert_eq!(start.elapsed(), Duration::from_millis(50));
    let mut headers = HeaderMap::new();
    route.ask("10.0.0.1").await.unwrap().decorate(&mut headers);
    assert!(headers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn zones_survive_a_change_of_the_configuration() {
    let mut route = Route::new(&[limit(20)], None);
    assert_eq!(route.passed("10.0.0.1", 30).await, 21);
    // The burst is not of the zone: its change keeps what was counted.
    route.limits = Limits::new("a /", &[limit(22)], None, &route.store);
    assert_eq!(route.passed("10.0.0.1", 3).await, 2);
    let other = Limits::new("a /other", &[limit(20)], None, &route.store);
    let now_ms = u64::try_from(route.start.elapsed().as_millis()).unwrap();
    assert!(
        other
            .check(&client("10.0.0.1"), &head("/"), now_ms)
            .await
            .is_ok()
    );
    // The same zone in two places, and another rate.
    let named = Limit {
        zone: Some("z".into()),
        ..limit(0)
    };
    let one = Limits::new("a /1", std::slice::from_ref(&named), None, &route.store);
    let two = Limits::new("a /2", &[named], None, &route.store);
    assert!(
        one.check(&client("10.0.0.1"), &head("/"), now_ms)
            .await
            .is_ok()
    );
    assert!(
        two.check(&client("10.0.0.1"), &head("/"), now_ms)
            .await
            .is_err()
    );
    let faster = Limit {
        rate: 11,
        ..limit(20)
    };
    route.limits = Limits::new("a /", &[faster], None, &route.store);
    assert_eq!(route.passed("10.0.0.1", 30).await, 21);
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_are_limited_until_they_end() {
    let two = ConnectionLimit {
        per: vec![KeyPart::Ip],
        max: 2,
    };
    let mut route = Route::new(&[], Some(&two));
    let one = route.ask("10.0.0.1").await.unwrap();
    let other = route.ask("10.0.0.1").await.unwrap();
    let refused = route.ask("10.0.0.1").await.unwrap_err();
    assert_eq!(fields(&refused), ["-", "-", "-", "-", "1"]);
    assert!(route.ask("10.0.0.2").await.is_ok());
    drop(one);
    let again = route.ask("10.0.0.1").await.unwrap();
    // Requests that began under the configuration before still count.
    let three = ConnectionLimit { max: 3, ..two };
    route.limits = Limits::new("a /", &[], Some(&three), &route.store);
    let third = route.ask("10.0.0.1").await.unwrap();
    assert!(route.ask("10.0.0.1").await.is_err());
    drop((other, again, third));
    assert!(route.ask("10.0.0.1").await.is_ok());
}
