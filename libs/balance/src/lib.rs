//! Picking one of several endpoints for the next connection or request, and knowing when not to.
//!
//! Pure: the caller says which endpoints there are, which of them may be picked, how busy each is,
//! who asks and what time it is, and brings the random number. No clock, no global random source,
//! no I/O, and no allocation while the list of endpoints stays the same.
//!
//! | what | for |
//! |---|---|
//! | [`Picker`] | one endpoint for a connection: few, without weights |
//! | [`Balancer`] | one [`Member`] for a request: weights, latencies, keys |
//! | [`PeakEwma`] | what a member's answers take, and how long it has not answered |
//! | [`warmth`] | the growing share of a member that has just begun |
//! | [`Outlier`] | ejection of a member that fails where others do not |
//! | [`Breaker`] | no more requests where most fail |
//! | [`RetryBudget`] | how many requests may be tried again |
//! | [`Leaky`] | a rate limit, exactly nginx's `limit_req` |
//!
//! ```
//! use balance::{Endpoint, Picker, Policy};
//!
//! let mut picker = Picker::new(Policy::RoundRobin);
//! let endpoints = [
//!     Endpoint { id: 0, available: true, load: 3 },
//!     Endpoint { id: 1, available: false, load: 0 },
//!     Endpoint { id: 2, available: true, load: 9 },
//! ];
//! let random = 0x9e37_79b9_7f4a_7c15; // from the caller's generator
//! assert_eq!(picker.pick(&endpoints, None, random), Some(0));
//! assert_eq!(picker.pick(&endpoints, None, random), Some(2));
//! assert_eq!(picker.pick(&endpoints, None, random), Some(0));
//! ```
//!
//! Absent on purpose: active health checks and draining (the caller's `available`), queues, and
//! sticky cookies (the caller looks for the id that it finds in the cookie before it picks).

mod balancer;
mod breaker;
mod hash;
mod leaky;
mod member;
mod outlier;
mod peak_ewma;
mod picker;
mod policy;
mod rendezvous;
mod retry_budget;
mod ring;
mod sample;
mod slow_start;
mod smooth;
mod turns;
mod window;

pub use balancer::Balancer;
pub use breaker::{Breaker, BreakerOptions, Permit};
pub use hash::{address_key, text_key};
pub use leaky::{Bucket, Leaky, Verdict};
pub use member::{Candidate, Member, WARM};
pub use outlier::{Ejection, Outlier};
pub use peak_ewma::{DECAY_MS, PeakEwma};
pub use picker::{Endpoint, Picker};
pub use policy::Policy;
pub use retry_budget::{RETRIES_PER_SECOND_MIN, RetryBudget};
pub use slow_start::warmth;
