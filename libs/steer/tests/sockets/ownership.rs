//! Whose a port is: nobody is joined by accident, and the holder is named.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use steer::{Bind, Group, OpenError, Single, holder, listening_ports};

use crate::client::{self, Client};
use crate::{LOOPBACK, loopback, tcp};

/// Somebody else's listener that offers to share its port.
fn stranger(addr: SocketAddr) -> OwnedFd {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        Some(ipproto::TCP),
    )
    .unwrap();
    sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    sockopt::set_socket_reuseport(&socket, true).unwrap();
    rustix::net::bind(&socket, &addr).unwrap();
    rustix::net::listen(&socket, 16).unwrap();
    socket
}

fn address_of(socket: &OwnedFd) -> SocketAddr {
    rustix::net::getsockname(socket)
        .unwrap()
        .try_into()
        .unwrap()
}

fn is_taken_by_this_process(result: Result<Group, OpenError>) {
    let error = result.unwrap_err();
    assert_eq!(error.errno(), 98);
    let text = error.to_string();
    let OpenError::InUse {
        addr,
        holder: Some(holder),
    } = error
    else {
        panic!("{text}")
    };
    assert_eq!(holder.pid, std::process::id());
    assert!(
        holder.name.contains("sockets"),
        "this test's command line: {}",
        holder.name
    );
    assert!(text.contains(&addr.to_string()), "{text}");
    assert!(
        text.contains(&format!("process {} ({})", holder.pid, holder.name)),
        "{text}"
    );
}

#[test]
fn a_taken_port_names_its_holder() {
    let taken = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    is_taken_by_this_process(Group::open(&tcp(Some(LOOPBACK), port), 2));
    // A wildcard that covers it, in each family.
    is_taken_by_this_process(Group::open(
        &tcp(Some(Ipv4Addr::UNSPECIFIED.into()), port),
        2,
    ));
    is_taken_by_this_process(Group::open(&tcp(None, port), 2));
    let single = Single::open(&tcp(Some(LOOPBACK), port)).unwrap_err();
    assert!(
        matches!(
            single,
            OpenError::InUse {
                holder: Some(_),
                ..
            }
        ),
        "{single}"
    );
}

#[test]
fn a_connection_that_uses_the_port_is_named_too() {
    let server = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let client = client::connect(server.local_addr().unwrap());
    let port = client.local_addr().unwrap().port();
    is_taken_by_this_process(Group::open(&tcp(Some(LOOPBACK), port), 1));
}

#[test]
fn a_stranger_that_shares_its_port_is_not_joined() {
    let stranger = stranger((LOOPBACK, 0).into());
    let port = address_of(&stranger).port();
    // One seat or more: a single one is not yet a group to look for strangers in.
    for seats in 1..4 {
        is_taken_by_this_process(Group::open(&tcp(Some(LOOPBACK), port), seats));
    }
    // Neither is one of our own groups.
    let group = Group::open(&loopback(), 2).unwrap();
    let port = group.local_addr().port();
    is_taken_by_this_process(Group::open(&tcp(Some(LOOPBACK), port), 2));
}

/// It cannot be kept out of the kernel's group, but it gets nothing, and we do not miscount.
#[test]
fn a_stranger_that_joins_later_gets_nothing_and_stops_growth() {
    let mut group = Group::open(&loopback(), 2).unwrap();
    group.steer(&[0, 1]).unwrap();
    let stranger = stranger(group.local_addr());
    let error = group.grow(4).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::InUse {
                holder: Some(_),
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(group.seats(), 2);

    let clients: Vec<Client> = (0..60)
        .map(|id| Client::connect(group.local_addr(), id))
        .collect();
    client::eventually("all at our seats", || {
        (group.queued(0).unwrap() + group.queued(1).unwrap() == 60).then_some(())
    });
    drop(clients);
    drop(stranger);

    group.grow(4).unwrap();
    for seat in [3, 2] {
        group.steer(&[seat]).unwrap();
        let client = Client::connect(group.local_addr(), 1);
        client::eventually("one at the new seat", || group.accept(seat).unwrap());
        drop(client);
    }
}

#[test]
fn a_closed_group_leaves_the_port_free() {
    let group = Group::open(&loopback(), 3).unwrap();
    let addr = group.local_addr();
    // Closed by the server first, so that the port is in TIME_WAIT.
    let client = client::connect(addr);
    let taken = client::eventually("a connection", || {
        (0..3).find_map(|seat| group.accept(seat).unwrap())
    });
    drop(taken);
    drop(group);
    drop(client);
    assert_eq!(holder(addr).map(|holder| holder.pid), None);
    Group::open(&tcp(Some(LOOPBACK), addr.port()), 3).unwrap();
}

#[test]
fn listening_ports_are_those_of_the_process() {
    let pid = std::process::id();
    let group = Group::open(&loopback(), 3).unwrap();
    let everywhere = Single::open(&Bind::Tcp {
        host: None,
        port: 0,
        ipv6_only: false,
    })
    .unwrap();
    let ports = listening_ports(&[pid]);
    for addr in [group.local_addr(), everywhere.local_addr()] {
        assert_eq!(
            ports.iter().filter(|&&listed| listed == addr).count(),
            1,
            "{addr}"
        );
    }
    assert_eq!(listening_ports(&[]), []);
    // No process has this number: it is the largest that is none.
    assert_eq!(listening_ports(&[u32::MAX]), []);

    let any: IpAddr = Ipv4Addr::UNSPECIFIED.into();
    let port = group.local_addr().port();
    assert_eq!(holder(SocketAddr::new(any, port)).unwrap().pid, pid);
}
