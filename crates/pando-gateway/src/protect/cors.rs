//! The CORS protocol of the Fetch standard. Where it is configured the gateway alone speaks it:
//! what the app says of it is replaced.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::body::Body;

#[derive(Debug)]
pub(super) struct Cors {
    /// Everybody, without credentials.
    any: bool,
    origins: Vec<Pattern>,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

/// `https://a.example`, or with one star: `https://*.example`.
#[derive(Debug)]
struct Pattern {
    before: String,
    after: Option<String>,
}

impl Pattern {
    fn new(text: &str) -> Self {
        let text = text.trim_end_matches('/').to_ascii_lowercase();
        match text.split_once('*') {
            None => Self {
                before: text,
                after: None,
            },
            Some((before, after)) => Self {
                before: before.to_owned(),
                after: Some(after.to_owned()),
            },
        }
    }

    /// The star is one or more labels of a host, never a port or a path.
    fn matches(&self, origin: &str) -> bool {
        let Some(after) = &self.after else {
            return origin == self.before;
        };
        let middle = origin
            .strip_prefix(&self.before)
            .and_then(|rest| rest.strip_suffix(after.as_str()));
        middle.is_some_and(|middle| {
            let label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
            !middle.is_empty() && middle.bytes().all(label)
        })
    }
}

impl Cors {
    pub(super) fn new(spec: &gateway_spec::Cors) -> Self {
        let any = spec.origins.iter().any(|origin| origin == "*");
        if any && spec.credentials {
            tracing::error!(
                "CORS for every origin cannot be with credentials: they are not allowed; \
                 list the origins"
            );
        }
        Self {
            any,
            origins: spec.origins.iter().map(|text| Pattern::new(text)).collect(),
            methods: list(&spec.methods),
            headers: list(&spec.headers),
            expose: list(&spec.expose),
            credentials: spec.credentials && !any,
            max_age: HeaderValue::from(spec.max_age_seconds),
        }
    }

    /// The answer to a preflight; `None` for any other request.
    pub(super) fn preflight(&self, head: &Parts) -> Option<Response<Body>> {
        let origin = head.headers.get(ORIGIN)?;
        let asks = head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if head.method != Method::OPTIONS || !asks {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        self.origin(Some(origin), headers);
        // The answer depends on what was asked in any case.
        for name in [
            ACCESS_CONTROL_REQUEST_METHOD,
            ACCESS_CONTROL_REQUEST_HEADERS,
        ] {
            headers.append(VARY, HeaderValue::from(name));
        }
        if !self.allows(origin) {
            *response.status_mut() = StatusCode::FORBIDDEN;
            return Some(response);
        }
        if let Some(methods) = &self.methods {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
        }
        let asked = head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS);
        if let Some(allowed) = self.headers.as_ref().or(asked) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed.clone());
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        Some(response)
    }

    /// What every other answer says.
    pub(super) fn decorate(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        headers.remove(ACCESS_CONTROL_EXPOSE_HEADERS);
        self.origin(origin, headers);
        if let Some(expose) = &self.expose
            && headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN)
        {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    fn origin(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
        headers.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS);
        if self.any {
            let everybody = HeaderValue::from_static("*");
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, everybody);
            return;
        }
        if !varies_by_origin(headers) {
            headers.append(VARY, HeaderValue::from(ORIGIN));
        }
        if let Some(origin) = origin.filter(|origin| self.allows(origin)) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            if self.credentials {
                let yes = HeaderValue::from_static("true");
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
            }
        }
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let matches = |origin: &str| self.origins.iter().any(|pattern| pattern.matches(origin));
        self.any
            || origin
                .to_str()
                .is_ok_and(|text| matches(&text.to_ascii_lowercase()))
    }
}

fn list(names: &[String]) -> Option<HeaderValue> {
    if names.is_empty() {
        return None;
    }
    HeaderValue::from_str(&names.join(", "))
        .inspect_err(|_| tracing::error!(?names, "no valid list for CORS: it is not sent"))
        .ok()
}

fn varies_by_origin(headers: &HeaderMap) -> bool {
    headers.get_all(VARY).iter().any(|line| {
        let mut names = line.to_str().unwrap_or_default().split(',').map(str::trim);
        names.any(|name| name == "*" || name.eq_ignore_ascii_case("origin"))
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn cors(origins: &[&str], credentials: bool) -> Cors {
        Cors::new(&gateway_spec::Cors {
            origins: origins.iter().map(|&text| text.into()).collect(),
            credentials,
            ..gateway_spec::Cors::default()
        })
    }

    fn head(method: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn origins() {
        let check = |pattern: &str, origin: &'static str, expected| {
            let allowed = cors(&[pattern], false).allows(&HeaderValue::from_static(origin));
            assert_eq!(allowed, expected, "{pattern} {origin}");
        };
        check("https://a.example", "https://a.example", true);
        check("https://a.example", "https://A.example", true);
        check("https://a.example/", "https://a.example", true);
        check("https://a.example", "http://a.example", false);
        check("https://a.example", "https://a.example:8443", false);
        check("https://a.example", "https://a.example.evil", false);
        check("https://a.example", "null", false);
        check("https://*.example", "https://a.example", true);
        check("https://*.example", "https://a.b.example", true);
        check("https://*.example", "https://example", false);
        check("https://*.example", "https://.example", false);
        check("https://*.example", "https://evil/.example", false);
        check("https://*.example", "https://evil:1@.example", false);
        check("https://*.example:8443", "https://a.example:8443", true);
        check("http://localhost:*", "http://localhost:3000", true);
        check("*", "https://anybody", true);
        check("null", "null", true);
    }

    #[test]
    fn a_preflight_is_answered() {
        let ask = [
            ("origin", "https://a.example"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "x-a, content-type"),
        ];
        let listed = cors(&["https://a.example"], true);
        let answer = listed.preflight(&head("OPTIONS", &ask)).unwrap();
        assert_eq!(answer.status(), 204);
        let headers = answer.headers();
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://a.example");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_HEADERS], "x-a, content-type");
        assert_eq!(
            headers[ACCESS_CONTROL_ALLOW_METHODS],
            "GET, HEAD, POST, PUT, PATCH, DELETE"
        );
        assert_eq!(headers[ACCESS_CONTROL_MAX_AGE], "600");
        assert_eq!(headers.get_all(VARY).iter().count(), 3);

        let other = [("origin", "https://b.example"), ask[1]];
        let answer = listed.preflight(&head("OPTIONS", &other)).unwrap();
        assert_eq!(answer.status(), 403);
        assert!(!answer.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));

        assert!(listed.preflight(&head("OPTIONS", &ask[..1])).is_none());
        assert!(listed.preflight(&head("OPTIONS", &ask[1..])).is_none());
        assert!(listed.preflight(&head("GET", &ask)).is_none());
    }

    #[test]
    fn everybody_never_gets_credentials() {
        let mut headers = HeaderMap::new();
        headers.insert(
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
        let origin = HeaderValue::from_static("https://a.example");
        cors(&["*"], true).decorate(Some(&origin), &mut headers);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
        assert!(!headers.contains_key(VARY));
    }

    #[test]
    fn other_answers_say_who_may_read_them() {
        let listed = Cors::new(&gateway_spec::Cors {
            origins: vec!["https://a.example".into()],
            expose: vec!["x-total".into()],
            ..gateway_spec::Cors::default()
        });
        let origin = HeaderValue::from_static("https://a.example");
        let mut headers = HeaderMap::new();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        listed.decorate(Some(&origin), &mut headers);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], origin);
        assert_eq!(headers[ACCESS_CONTROL_EXPOSE_HEADERS], "x-total");
        assert_eq!(headers[VARY], "origin");

        // Caches must not give the answer for nobody to somebody.
        for other in [None, Some(HeaderValue::from_static("https://b.example"))] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            listed.decorate(other.as_ref(), &mut headers);
            assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
            assert!(!headers.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS));
            assert_eq!(headers[VARY], "origin");
        }
    }
}
