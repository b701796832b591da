//! Active health checks: a GET on a connection of its own, at an interval.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::BytesMut;
use gateway_spec::Health;

use super::endpoint::Endpoint;
use super::group::Group;
use super::{connect, h1, h2};
use crate::body::Body;

/// Counts of one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Series {
    good: u32,
    bad: u32,
}

impl Series {
    /// Whether the endpoint changes, and to what.
    fn take(&mut self, healthy: bool, was_healthy: bool, health: &Health) -> Option<bool> {
        if healthy {
            (self.good, self.bad) = (self.good + 1, 0);
            (!was_healthy && self.good >= health.rise).then_some(true)
        } else {
            (self.good, self.bad) = (0, self.bad + 1);
            (was_healthy && self.bad >= health.fall).then_some(false)
        }
    }
}

/// Checks a group's endpoints for the life of the group.
pub async fn run(group: Arc<Group>, health: Health) {
    let mut all: HashMap<u64, Series> = HashMap::new();
    loop {
        let endpoints = group.endpoints().clone();
        all.retain(|id, _| endpoints.iter().any(|e| e.id == *id));
        for endpoint in endpoints.iter() {
            let limit = Duration::from_millis(health.timeout_ms);
            let result = match tokio::time::timeout(limit, probe(&group, endpoint, &health)).await {
                Ok(result) => result,
                Err(_) => Err(format!("no answer within {} ms", health.timeout_ms)),
            };
            let series = all.entry(endpoint.id).or_default();
            let was = !endpoint.unhealthy.load(Relaxed);
            let Some(now) = series.take(result.is_ok(), was, &health) else {
                continue;
            };
            endpoint.unhealthy.store(!now, Relaxed);
            let upstream = &endpoint.known.label;
            match result {
                Ok(status) => {
                    endpoint.since_ms.store(crate::clock::now_ms(), Relaxed);
                    group.wake_all();
                    tracing::info!(%upstream, status, "an upstream is healthy again");
                }
                Err(why) => tracing::warn!(%upstream, why, "an upstream fails its health check"),
            }
        }
        tokio::time::sleep(Duration::from_millis(health.interval_ms.max(100))).await;
    }
}

async fn probe(
    group: &Arc<Group>,
    endpoint: &Arc<Endpoint>,
    health: &Health,
) -> Result<u16, String> {
    let opened = connect::connect(group, endpoint, None).await;
    let (stream, is_h2) = opened.map_err(|error| format!("cannot connect: {error}"))?;
    let host = health.host.as_deref().unwrap_or(&endpoint.known.host);
    let status = if is_h2 {
        let mut shared = h2::Shared::open(stream).await.map_err(|e| e.to_string())?;
        let request = http::Request::builder()
            .uri(format!("http://{host}{}", health.path))
            .body(Body::Empty)
            .map_err(|error| error.to_string())?;
        let sent = shared.send(request).await;
        sent.map_err(|(error, _)| error.to_string())?.status()
    } else {
        let head = format!(
            "GET {} HTTP/1.1\r\nhost: {host}\r\nuser-agent: pando-health\r\nconnection: close\r\n\r\n",
            health.path
        );
        let request = h1::Outgoing {
            head: BytesMut::from(head.as_bytes()),
            body: Body::Empty,
            chunked: false,
            is_head: false,
            upgrade: false,
        };
        let mut ignore = |_: http::StatusCode, _: &http::HeaderMap| {};
        match h1::exchange(h1::Conn::new(stream), request, Arc::new(Throw), &mut ignore).await {
            Ok(h1::Answer::Response(response)) => response.status(),
            Ok(h1::Answer::Upgraded(..)) => return Err("it changed the protocol".into()),
            Err(failed) => return Err(failed.problem.to_string()),
        }
    };
    let (first, last) = health.statuses;
    let status = status.as_u16();
    if (first..=last).contains(&status) {
        Ok(status)
    } else {
        Err(format!("status {status}"))
    }
}

/// A probe's connection is used once.
struct Throw;

impl h1::Keeper for Throw {
    fn keep(&self, _conn: h1::Conn) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_several_in_a_row_to_change() {
        let health = Health::default();
        let mut series = Series::default();
        let mut say = |good, was| series.take(good, was, &health);
        assert_eq!(
            [say(false, true), say(false, true), say(false, true)],
            [None, None, Some(false)]
        );
        assert_eq!(
            [say(true, false), say(false, false), say(true, false)],
            [None, None, None]
        );
        assert_eq!(say(true, false), Some(true));
    }
}
