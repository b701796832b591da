//! Why an order failed, and what that means for the next.

use std::time::SystemTime;

use instant_acme::Error;
use serde::{Deserialize, Serialize};

/// RFC 8555, section 6.7.
const URN: &str = "urn:ietf:params:acme:error:";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The authority said no: a validation failed, a name is not allowed.
    #[default]
    Refused,
    /// The authority could not be reached, or erred itself.
    Unreachable,
    /// The authority said "too many".
    Limited,
}

#[derive(Debug)]
pub(super) struct Failure {
    pub kind: Kind,
    pub why: String,
    pub retry_after: Option<SystemTime>,
    /// The authority does not know our account (any more).
    pub no_account: bool,
}

impl Failure {
    pub fn new(kind: Kind, why: impl Into<String>) -> Self {
        Self {
            kind,
            why: why.into(),
            retry_after: None,
            no_account: false,
        }
    }

    pub fn refused(why: impl Into<String>) -> Self {
        Self::new(Kind::Refused, why)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let Error::Api(problem) = &error else {
            let refused = matches!(
                error,
                Error::Timeout(_) | Error::Unsupported(_) | Error::KeyRejected | Error::Crypto
            );
            let kind = if refused {
                Kind::Refused
            } else {
                Kind::Unreachable
            };
            return Self::new(kind, chain(&error));
        };
        let name = problem.r#type.as_deref().unwrap_or_default();
        let name = name.strip_prefix(URN).unwrap_or(name);
        let server = name == "serverInternal" || problem.status.is_some_and(|status| status >= 500);
        let kind = if name == "rateLimited" {
            Kind::Limited
        } else if server {
            Kind::Unreachable
        } else {
            Kind::Refused
        };
        Self {
            no_account: name == "accountDoesNotExist",
            ..Self::new(kind, error.to_string())
        }
    }
}

/// An error with its causes; libraries keep the telling part in the last.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
