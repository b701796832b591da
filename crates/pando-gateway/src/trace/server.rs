//! The span of a request that a client sent.

use std::time::{Duration, SystemTime};

use http::{HeaderValue, Version};

use super::span::{Kind, Span};
use crate::measure::account::Account;
use crate::measure::method_name;

/// What is written of a request beside its account.
pub struct Told<'t> {
    pub start: SystemTime,
    pub took: Duration,
    pub version: Version,
    pub user_agent: Option<&'t HeaderValue>,
    pub state: Option<HeaderValue>,
    pub aborted: bool,
    pub sent: u64,
}

/// `None` where the request is not recorded. No query: it may hold secrets.
pub fn server_span(account: &Account, told: Told<'_>) -> Option<Span> {
    let recorded = account.ids.recorded()?;
    let method = method_name(&account.method);
    let known = if method == "_OTHER" { "HTTP" } else { method };
    let route = account.route.as_ref().map(|route| &*route.name);
    let mut span = Span {
        context: recorded.context,
        parent: recorded.parent,
        state: told.state,
        kind: Kind::Server,
        name: route.map_or_else(|| known.to_owned(), |route| format!("{known} {route}")),
        start: told.start,
        took: told.took,
        failed: account.status >= 500 || account.status == 0,
        attributes: Vec::with_capacity(16),
    };
    span.put("http.request.method", method);
    if method == "_OTHER" {
        span.put("http.request.method_original", account.method.as_str());
    }
    span.put("url.path", account.path());
    span.put("url.scheme", account.client.scheme.as_str());
    if let Some(route) = route {
        span.put("http.route", route);
    }
    span.put_server(&account.host);
    span.put("client.address", account.client.ip.to_string());
    span.put("network.protocol.version", version(told.version));
    if let Some(agent) = told.user_agent.and_then(|agent| agent.to_str().ok()) {
        span.put("user_agent.original", agent);
    }
    if account.status > 0 {
        span.put("http.response.status_code", account.status);
        span.put("http.response.body.size", told.sent);
    }
    if account.status >= 500 {
        span.put("error.type", account.status.to_string());
    } else if told.aborted {
        span.put("error.type", "client_closed");
    }
    if !account.cache.is_empty() {
        span.put("pando.cache", account.cache);
    }
    span.put("pando.request_id", account.ids.request_id());
    Some(span)
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}
