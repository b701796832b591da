//! The rules of a shared HTTP cache (RFC 9111): pure, no clock, no store, no I/O.
