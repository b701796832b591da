//! Addresses: port 0, both families, what cannot be had.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use steer::bpf::MAX_SEATS;
use steer::{Bind, Group, OpenError, Single};

use crate::client::{self, Client};
use crate::{loopback, tcp};

#[test]
fn port_zero_gives_all_seats_the_same_port() {
    let group = Group::open(&loopback(), 3).unwrap();
    assert_ne!(group.local_addr().port(), 0);
    for seat in 0..3 {
        let addr = rustix::net::getsockname(group.socket(seat).unwrap()).unwrap();
        assert_eq!(SocketAddr::try_from(addr).unwrap(), group.local_addr());
    }
    let other = Group::open(&loopback(), 1).unwrap();
    assert_ne!(other.local_addr(), group.local_addr());
}

#[test]
fn a_group_has_at_least_one_seat_and_never_shrinks() {
    let mut group = Group::open(&loopback(), 0).unwrap();
    assert_eq!(group.seats(), 1);
    group.grow(3).unwrap();
    group.grow(2).unwrap();
    assert_eq!(group.seats(), 3);
}

#[test]
fn no_host_is_both_families_where_there_is_ipv6() {
    let mut group = Group::open(&tcp(None, 0), 2).unwrap();
    let port = group.local_addr().port();
    let clients_of = |group: &Group, ip: IpAddr| {
        let client = Client::connect(SocketAddr::new(ip, port), 5);
        let (connection, peer) = client::eventually("a connection", || group.accept(1).unwrap());
        client::serve(connection);
        client.hear();
        assert_eq!(peer.ip().to_canonical(), ip);
    };
    group.steer(&[1]).unwrap();
    clients_of(&group, Ipv4Addr::LOCALHOST.into());
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        clients_of(&group, Ipv6Addr::LOCALHOST.into());
    }
}

#[test]
fn ipv6_only_leaves_ipv4_alone() {
    let bind = Bind::Tcp {
        host: None,
        port: 0,
        ipv6_only: true,
    };
    let group = match Group::open(&bind, 2) {
        Ok(group) => group,
        // A machine without IPv6.
        Err(error @ OpenError::NotAvailable { .. }) => return eprintln!("not shown: {error}"),
        Err(error) => panic!("{error}"),
    };
    let port = group.local_addr().port();
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    Group::open(&tcp(Some(Ipv4Addr::UNSPECIFIED.into()), port), 2).unwrap();
}

#[test]
fn an_address_of_another_machine_is_not_available() {
    // TEST-NET-1 of RFC 5737, on no interface.
    let host = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let error = Group::open(&tcp(Some(host), 0), 2).unwrap_err();
    assert!(matches!(error, OpenError::NotAvailable { .. }), "{error}");
    assert!(error.to_string().contains("192.0.2.1"), "{error}");
}

#[test]
fn a_low_port_needs_a_capability() {
    // Capabilities belong to the thread.
    let attempt = std::thread::spawn(|| {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_BIND_SERVICE);
        set_capabilities(None, sets).unwrap();
        Single::open(&tcp(Some(Ipv4Addr::LOCALHOST.into()), 7))
    });
    match attempt.join().unwrap() {
        Err(
            error @ OpenError::Denied {
                first_unprivileged, ..
            },
        ) => {
            assert!(first_unprivileged > 7);
            assert_eq!(error.errno(), 13);
            let text = error.to_string();
            assert!(
                text.contains("127.0.0.1:7") && text.contains("CAP_NET_BIND_SERVICE"),
                "{text}"
            );
        }
        // Containers commonly have no privileged ports at all.
        Ok(_) => eprintln!("not shown: every port is unprivileged here"),
        Err(error) => panic!("{error}"),
    }
}

/// The worst case of the steering program passes the kernel's checker.
#[test]
fn as_many_seats_as_promised_can_be_steered() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )
    .unwrap();
    let wanted = MAX_SEATS as u64 + 256;
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        return eprintln!("not shown: needs {wanted} file descriptors");
    }
    let mut group = Group::open(&loopback(), MAX_SEATS).unwrap();
    let odd: Vec<usize> = (1..MAX_SEATS).step_by(2).collect();
    group.steer(&odd).unwrap();
    let clients: Vec<Client> = (0..50)
        .map(|id| Client::connect(group.local_addr(), id))
        .collect();
    client::eventually("all at odd seats", || {
        let queued: u32 = odd.iter().map(|&seat| group.queued(seat).unwrap()).sum();
        (queued == 50).then_some(())
    });
    drop(clients);
    let error = group.grow(MAX_SEATS + 1).unwrap_err();
    assert!(matches!(error, OpenError::TooManySeats { .. }), "{error}");
    assert_eq!(group.seats(), MAX_SEATS);
}
