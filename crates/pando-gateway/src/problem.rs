//! What a person must know and do, when something of the gateway does not work.

/// Printed as one sentence: `site a.example: cannot read the certificate /x.pem: no such file; …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}: {why}; {fix}")]
pub struct Problem {
    /// Which site, upstream or file.
    pub place: String,
    pub what: String,
    pub why: String,
    pub fix: String,
}

impl Problem {
    pub fn new(
        place: impl Into<String>,
        what: impl Into<String>,
        why: impl ToString,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
            why: why.to_string(),
            fix: fix.into(),
        }
    }
}
