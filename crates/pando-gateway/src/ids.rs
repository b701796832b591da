//! The names of one request: `X-Request-Id`, and its place in a trace (W3C Trace Context).

use http::{HeaderMap, HeaderValue};

use crate::trace::context::{Context, hex_of};

const MAX_REQUEST_ID: usize = 128;

/// Passed on from the client, or begun here.
#[derive(Debug)]
pub struct Ids {
    request_id: String,
    /// What goes on where no span is recorded, and where the log's trace id is from.
    traceparent: Option<String>,
    recorded: Option<Box<Recorded>>,
    /// The client's trace goes on.
    continued: bool,
}

/// A request whose span is recorded.
#[derive(Debug)]
pub struct Recorded {
    pub context: Context,
    /// The client's span.
    pub parent: Option<u64>,
}

impl Ids {
    /// A client's request id is kept if it is short and plain; its trace goes on if it is valid.
    /// `samples`, of a gateway that sends spans, says whether a trace that begins here is
    /// recorded; one that goes on goes by its flag. Without it none begins here: an app that
    /// traces by itself decides for itself.
    pub fn of(
        headers: &HeaderMap,
        samples: Option<impl FnOnce(u128) -> bool>,
        random: impl FnOnce() -> [u64; 3],
    ) -> Self {
        let given = headers.get("x-request-id").and_then(|v| v.to_str().ok());
        let given = given.filter(|id| is_plain(id));
        let came = Context::of(headers);
        if came.is_none() && samples.is_none() && given.is_some() {
            return Self::untraced(given.unwrap_or_default().to_owned());
        }
        let [a, b, c] = random();
        let fresh = u128::from(a) << 64 | u128::from(b | 1);
        let Some(samples) = samples else {
            let request_id = request_id(given, came.map_or(fresh, |came| came.trace_id));
            return Self {
                traceparent: came.map(|_| whole(headers)),
                continued: came.is_some(),
                ..Self::untraced(request_id)
            };
        };
        let trace_id = came.map_or(fresh, |came| came.trace_id);
        let sampled = came.map_or_else(|| samples(trace_id), Context::is_sampled);
        let context = Context {
            trace_id,
            span_id: c | 1,
            flags: Context::flags(sampled, came),
        };
        let recorded = sampled.then(|| Recorded {
            context,
            parent: came.map(|came| came.span_id),
        });
        // A client's span that is not recorded here stays the parent of what the app does.
        let through = came.is_some() && !sampled;
        Self {
            request_id: request_id(given, trace_id),
            traceparent: Some(if through {
                whole(headers)
            } else {
                context.header()
            }),
            recorded: recorded.map(Box::new),
            continued: came.is_some(),
        }
    }

    fn untraced(request_id: String) -> Self {
        Self {
            request_id,
            traceparent: None,
            recorded: None,
            continued: false,
        }
    }

    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    pub fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }

    pub fn recorded(&self) -> Option<&Recorded> {
        self.recorded.as_deref()
    }

    /// Whether the client's `tracestate` belongs to the trace that goes on.
    pub fn is_continued(&self) -> bool {
        self.continued
    }

    /// 32 hex digits; empty without a trace.
    pub fn trace_id(&self) -> &str {
        let text = self.traceparent.as_deref();
        text.and_then(|text| text.get(3..35)).unwrap_or("")
    }
}

fn whole(headers: &HeaderMap) -> String {
    let value = headers.get(crate::forward::head::TRACEPARENT);
    let text = value.map(HeaderValue::as_bytes).unwrap_or_default();
    String::from_utf8_lossy(text.trim_ascii()).into_owned()
}

fn request_id(given: Option<&str>, number: u128) -> String {
    if let Some(id) = given {
        return id.to_owned();
    }
    hex_of(number)
}

fn is_plain(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= MAX_REQUEST_ID
        && id.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'=' | b'/' | b'+')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

    fn ids(pairs: &[(&'static str, &str)], samples: Option<bool>) -> Ids {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        Ids::of(&headers, samples.map(|yes| move |_| yes), || [1, 2, 3])
    }

    #[test]
    fn without_spans_traces_go_through_and_none_begins() {
        let made = ids(&[], None);
        assert_eq!(made.request_id(), "00000000000000010000000000000003");
        assert_eq!((made.traceparent(), made.trace_id()), (None, ""));
        let trace = format!("{TRACE}-00");
        let kept = ids(&[("traceparent", &trace), ("x-request-id", "abc-1")], None);
        assert_eq!(kept.traceparent(), Some(&*trace));
        assert_eq!(kept.request_id(), "abc-1");
        assert_eq!(kept.trace_id(), &TRACE[3..35]);
        assert!(kept.is_continued() && kept.recorded().is_none());
        let later = format!("cc-{}-01-more", &TRACE[3..]);
        assert_eq!(
            ids(&[("traceparent", &later)], None).traceparent(),
            Some(&*later)
        );
        let bad = ids(
            &[("traceparent", "00-0-0-0"), ("x-request-id", "a b")],
            None,
        );
        assert_eq!((bad.traceparent(), bad.is_continued()), (None, false));
        assert_ne!(bad.request_id(), "a b");
    }

    #[test]
    fn with_spans_a_trace_begins_or_goes_on_by_its_flag() {
        let begun = ids(&[], Some(true));
        let recorded = begun.recorded().unwrap();
        assert_eq!(recorded.parent, None);
        assert_eq!(begun.traceparent(), Some(&*recorded.context.header()));
        assert!(
            begun
                .traceparent()
                .unwrap()
                .ends_with("-0000000000000003-01")
        );
        assert_eq!(begun.request_id(), begun.trace_id());
        let begun = ids(&[], Some(false));
        assert!(begun.recorded().is_none());
        assert!(begun.traceparent().unwrap().ends_with("-00"));
        let sampled = format!("{TRACE}-03");
        let child = ids(&[("traceparent", &sampled)], Some(false));
        let recorded = child.recorded().unwrap();
        assert_eq!(recorded.parent, Some(0x00f0_67aa_0ba9_02b7));
        assert_eq!((recorded.context.span_id, recorded.context.flags), (3, 3));
        assert_eq!(child.trace_id(), &TRACE[3..35]);
        let unsampled = format!("{TRACE}-00");
        let through = ids(&[("traceparent", &unsampled)], Some(true));
        assert!(through.recorded().is_none() && through.is_continued());
        assert_eq!(through.traceparent(), Some(&*unsampled));
        let twice = [("traceparent", &*sampled), ("traceparent", &*sampled)];
        assert!(!ids(&twice, Some(false)).is_continued());
    }
}
