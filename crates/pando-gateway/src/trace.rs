//! Traces: `traceparent` in and on (W3C Trace Context, level 1), and spans of requests as OTLP.
//!
//! ```text
//! Account (server span) ─┐
//!                        ├─> Tracer ──bounded queue──> export ──POST /v1/traces──> collector
//! AttemptSpan (client) ──┘
//! ```
//! Serving threads only put spans in the queue; what finds no room is counted and said.

mod attempt;
pub mod context;
mod encode;
mod export;
mod server;
mod span;

pub use attempt::AttemptSpan;
pub use export::Tracer;
pub use server::{Told, server_span};
pub use span::{Kind, Span, Value};
