//! The PROXY protocol, versions 1 and 2, in and out: a proxy before us says whose connection it is.
//!
//! Source: "The PROXY protocol, versions 1 & 2" (haproxy.org, doc/proxy-protocol.txt), sections
//! 2.1 and 2.2. Absent on purpose: the meaning of TLVs (they are passed over, checksums too), and
//! unix addresses (such a connection keeps the addresses that it has).

mod header;
mod parse;
mod prefixed;
mod read;

pub use header::{Header, write_v1, write_v2, write_v2_local};
pub use parse::{Addresses, Error, MAX_HEADER_BYTES, parse};
pub use prefixed::Prefixed;
pub use read::read_header;
