//! The Cache-Status field (RFC 9211).

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Why a request went on to the origin (RFC 9211 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// This cache does not handle such requests.
    Bypass,
    Method,
    /// Nothing is stored of this address.
    UriMiss,
    /// Something is, but another variant.
    VaryMiss,
    /// The client asked for it.
    Request,
    Stale,
}

/// What became of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// `None` is a hit.
    pub forward: Option<Forward>,
    /// The origin's status, where it is not the answer's.
    pub forward_status: Option<StatusCode>,
    pub stored: bool,
    /// The answer is another request's.
    pub collapsed: bool,
    /// Seconds of freshness left; negative when stale.
    pub ttl: Option<i64>,
}

impl Report {
    /// Appends to the field, as the cache nearest to the client.
    pub fn write(&self, headers: &mut HeaderMap) {
        let mut text = String::with_capacity(48);
        text.push_str(crate::TARGET);
        match self.forward {
            None => text.push_str("; hit"),
            Some(forward) => {
                text.push_str("; fwd=");
                text.push_str(forward.as_str());
            }
        }
        if let Some(status) = self.forward_status {
            let _ = write!(text, "; fwd-status={}", status.as_u16());
        }
        if self.stored {
            text.push_str("; stored");
        }
        if self.collapsed {
            text.push_str("; collapsed");
        }
        if let Some(ttl) = self.ttl {
            let _ = write!(text, "; ttl={ttl}");
        }
        if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(text)) {
            headers.append(CACHE_STATUS, value);
        }
    }
}

impl Forward {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let check = |report: Report, want: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_STATUS, HeaderValue::from_static("origin; hit"));
            report.write(&mut headers);
            let got: Vec<_> = headers.get_all(CACHE_STATUS).iter().collect();
            assert_eq!(got, ["origin; hit", want]);
        };
        check(
            Report {
                ttl: Some(5),
                ..Report::default()
            },
            "pando; hit; ttl=5",
        );
        let full = Report {
            forward: Some(Forward::Stale),
            forward_status: Some(StatusCode::NOT_MODIFIED),
            stored: true,
            collapsed: true,
            ttl: Some(-3),
        };
        check(
            full,
            "pando; fwd=stale; fwd-status=304; stored; collapsed; ttl=-3",
        );
    }
}
