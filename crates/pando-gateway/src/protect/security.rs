//! Headers that make browsers careful. What the app sends itself stays.

use http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

#[derive(Debug)]
pub(super) struct SecurityHeaders(Vec<(HeaderName, HeaderValue)>);

impl SecurityHeaders {
    pub(super) fn new(spec: &gateway_spec::SecurityHeaders) -> Self {
        let sniff = spec.content_type_options.then(|| "nosniff".to_owned());
        let permissions = HeaderName::from_static("permissions-policy");
        let opener = HeaderName::from_static("cross-origin-opener-policy");
        let wanted = [
            (X_CONTENT_TYPE_OPTIONS, &sniff),
            (X_FRAME_OPTIONS, &spec.frame_options),
            (REFERRER_POLICY, &spec.referrer_policy),
            (CONTENT_SECURITY_POLICY, &spec.content_security_policy),
            (permissions, &spec.permissions_policy),
            (opener, &spec.cross_origin_opener_policy),
        ];
        let valid = wanted.into_iter().filter_map(|(name, text)| {
            let text = text.as_deref()?;
            let value = HeaderValue::from_str(text);
            if value.is_err() {
                tracing::error!(%name, text, "no valid value of a header: it is not sent");
            }
            Some((name, value.ok()?))
        });
        Self(valid.collect())
    }

    pub(super) fn decorate(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            if !headers.contains_key(name) {
                headers.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_app_says_stays() {
        let headers_of = SecurityHeaders::new(&gateway_spec::SecurityHeaders {
            content_security_policy: Some("default-src 'self'".into()),
            permissions_policy: Some("bad\nvalue".into()),
            ..gateway_spec::SecurityHeaders::default()
        });
        let mut headers = HeaderMap::new();
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers_of.decorate(&mut headers);
        assert_eq!(headers[X_FRAME_OPTIONS], "DENY");
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[REFERRER_POLICY], "strict-origin-when-cross-origin");
        assert_eq!(headers[CONTENT_SECURITY_POLICY], "default-src 'self'");
        assert_eq!(headers.len(), 4);
    }
}
