//! The rules of a shared HTTP cache (RFC 9111): pure, no clock, no store, no I/O.
//!
//! The caller brings the time as milliseconds since 1970 and keeps what it stores; this crate
//! decides:
//!
//! | question | answer |
//! |---|---|
//! | may this answer be stored, and how long is it fresh | [`assess`] |
//! | may this stored answer be used now | [`Freshness::usable`], [`Freshness::after_error`] |
//! | which fields are kept | [`stored_fields`] |
//! | is it the right variant | [`Vary`] |
//! | how is it validated, and what does a 304 change | [`condition`], [`freshen`] |
//! | does the client have it already | [`not_modified`] |
//! | which part of it was asked for | [`range::select`] |
//! | what does an unsafe method invalidate | [`invalidated`] |
//! | what is told about it | [`Report`] (RFC 9211) |
//!
//! Where the standard leaves a choice, the safe one is taken: a number that cannot be read is 0, of
//! two numbers the smaller one counts, and an `Age` that cannot be read makes an answer stale.
//!
//! Absent on purpose: stored 206 answers are not combined (RFC 9111 section 3.3), and HEAD answers
//! do not update stored ones (section 4.3.5).

mod control;
mod date;
mod fields;
mod freshness;
mod invalidation;
mod language;
pub mod range;
mod report;
mod storing;
mod targeted;
mod validation;
mod vary;

pub use control::{RequestControl, ResponseControl, Scope, directives};
pub use date::http_date_seconds;
pub use fields::stored_fields;
pub use freshness::{Freshness, Usable};
pub use invalidation::{Origin, invalidated};
pub use report::{Forward, Report};
pub use storing::{Asked, NotStored, Rules, SetCookie, assess, has_validator};
pub use targeted::{CAPABILITY, TARGET};
pub use validation::{Mismatch, condition, freshen, has_condition, not_modified, strip_conditions};
pub use vary::{MAX_VARY_FIELDS, Vary};
