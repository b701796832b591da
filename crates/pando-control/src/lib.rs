//! The control API of Pando: HTTP with JSON over a unix socket (mode 0600), versioned, streaming.

pub mod api;
