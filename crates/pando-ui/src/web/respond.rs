//! Answers with the headers that every one of them has.

use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    HeaderValue, LOCATION, REFERRER_POLICY, SET_COOKIE, VARY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use hyper::{Response, StatusCode};
use pando_control::CallError;
use pando_control::api::Problem;
use serde::Serialize;

use super::assets::Asset;
use super::body::Body;

/// Scripts, styles and data from this server only; no inline code, no frames, no forms.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const FIXED: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    // The token and the path of the page stay here.
    (REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

pub type Answer = Response<Body>;

fn answer(status: StatusCode, media: &'static str, body: Body) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

pub fn asset(asset: &Asset, gzip: bool) -> Answer {
    let bytes = if gzip { &asset.gzip } else { &asset.plain };
    let mut response = answer(StatusCode::OK, asset.media, bytes.clone().into());
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    answer(status, "application/json", Bytes::from(bytes).into())
}

pub fn problem(status: StatusCode, problem: &Problem) -> Answer {
    json(status, &serde_json::json!({ "problem": problem }))
}

/// Something is wrong with the request itself.
pub fn wrong(status: StatusCode, what: &str, why: &str, fix: &str) -> Answer {
    problem(status, &said("dashboard", what, why, fix))
}

/// For a person whose browser shows it as it is.
pub fn text(status: StatusCode, text: &str) -> Answer {
    let bytes = Bytes::from(format!("{text}\n"));
    answer(status, "text/plain; charset=utf-8", bytes.into())
}

pub fn events(body: Body) -> Answer {
    answer(StatusCode::OK, "text/event-stream", body)
}

/// To the page, with the session's cookie.
///
/// # Errors
/// Never with the letters of a URL.
pub fn enter(cookie: &str, mount: &str) -> Result<Answer, hyper::header::InvalidHeaderValue> {
    let set = format!("{cookie}; Path={mount}; HttpOnly; SameSite=Strict");
    let (set, to) = (HeaderValue::from_str(&set)?, HeaderValue::from_str(mount)?);
    let mut response = text(StatusCode::SEE_OTHER, "to the dashboard");
    response.headers_mut().insert(SET_COOKIE, set);
    response.headers_mut().insert(LOCATION, to);
    Ok(response)
}

fn said(place: &str, what: &str, why: &str, fix: &str) -> Problem {
    Problem {
        place: place.into(),
        what: what.into(),
        why: why.into(),
        fix: fix.into(),
        exit_code: 1,
        ..Problem::default()
    }
}

/// A call that has no answer, as a person is told it.
pub fn call_problem(error: CallError) -> Problem {
    match error {
        CallError::Failed(problem) => *problem,
        CallError::Broken => said(
            "supervisor",
            "the supervisor was replaced during this",
            "it may or may not have been done",
            "look at the app's state, then try again if it is needed",
        ),
        CallError::Version { daemon } => said(
            "daemon",
            "the dashboard and the daemon do not understand each other",
            &format!("the daemon speaks version {daemon} of the control API"),
            "run `pando upgrade`, then `pando dashboard` again",
        ),
        CallError::Connect(error) => said(
            "daemon",
            "the daemon does not answer",
            &error.to_string(),
            "`pando ls` shows whether it runs; `pando resurrect` brings it back",
        ),
        CallError::Protocol(why) => said(
            "daemon",
            "the daemon's answer is not understood",
            &why,
            "run `pando upgrade`, then `pando dashboard` again",
        ),
    }
}
