//! What the client is told: the `RateLimit` fields (draft-ietf-httpapi-ratelimit-headers-06) and
//! the refusal (RFC 6585 section 4).

use balance::{Bucket, Leaky};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::body::Body;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The part that does not change from request to request.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    /// Requests that may come at once, burst included: what `RateLimit-Remaining` counts from.
    limit: HeaderValue,
    /// `10;w=1;burst=20`: the rate, its period in seconds, the burst.
    policy: HeaderValue,
}

impl Policy {
    pub(super) fn new(limit: &Leaky) -> Self {
        let seconds = limit.period_ms.div_ceil(1000).max(1);
        // Whole seconds are all that the field can say.
        let rate = u64::from(limit.rate).saturating_mul(seconds * 1000) / limit.period_ms.max(1);
        let policy = format!("{rate};w={seconds};burst={}", limit.burst);
        Self {
            limit: HeaderValue::from(limit.quota()),
            // Digits and these few letters: never refused.
            policy: HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("0;w=1")),
        }
    }
}

/// What is left of one limit.
#[derive(Clone, Debug)]
pub(super) struct Quota {
    policy: Policy,
    pub(super) remaining: u32,
    reset_ms: u64,
}

impl Quota {
    pub(super) fn of(policy: &Policy, limit: &Leaky, bucket: &Bucket, now_ms: u64) -> Self {
        Self {
            policy: policy.clone(),
            remaining: limit.remaining(bucket, now_ms),
            reset_ms: limit.reset_ms(bucket, now_ms),
        }
    }

    /// Replaces what an app says itself: the client asked this gateway.
    pub(super) fn decorate(&self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, self.policy.limit.clone());
        headers.insert(REMAINING, self.remaining.into());
        headers.insert(RESET, seconds(self.reset_ms).into());
        headers.insert(POLICY, self.policy.policy.clone());
    }
}

/// 429, to be tried again after `retry_after_ms`.
pub(super) fn refusal(quota: Option<&Quota>, retry_after_ms: u64) -> Response<Body> {
    let mut answer = Response::new(Body::from("429 too many requests\n"));
    *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(RETRY_AFTER, seconds(retry_after_ms).max(1).into());
    if let Some(quota) = quota {
        quota.decorate(headers);
    }
    answer
}

/// Whole seconds after which it is surely so.
fn seconds(ms: u64) -> u64 {
    ms.div_ceil(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_says_rate_window_and_burst() {
        let policy = |rate, period_ms, burst| {
            let limit = Leaky {
                rate,
                period_ms,
                burst,
                nodelay: true,
            };
            Policy::new(&limit).policy.to_str().unwrap().to_owned()
        };
        assert_eq!(policy(10, 1000, 20), "10;w=1;burst=20");
        assert_eq!(policy(30, 60_000, 0), "30;w=60;burst=0");
        assert_eq!(policy(1, 100, 5), "10;w=1;burst=5");
        assert_eq!(policy(3, 1500, 5), "4;w=2;burst=5");
        assert_eq!(
            policy(u32::MAX, 0, u32::MAX),
            "4294967295000;w=1;burst=4294967295"
        );
    }
}
