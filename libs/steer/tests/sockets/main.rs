//! Real sockets on ephemeral ports of the loopback interface.
#![expect(
    clippy::unwrap_used,
    reason = "tests, with their stand-ins for clients and workers"
)]

mod adoption;
mod beside;
mod client;
mod in_flight;
mod opening;
mod ownership;
mod reloads;
mod unix;
mod worker;

use std::net::{IpAddr, Ipv4Addr};

use steer::Bind;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn tcp(host: Option<IpAddr>, port: u16) -> Bind {
    Bind::Tcp {
        host,
        port,
        ipv6_only: false,
    }
}

fn loopback() -> Bind {
    tcp(Some(LOOPBACK), 0)
}
