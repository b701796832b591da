//! Handshakes that were under way when the filter changed, and queues of workers that are gone.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};
use steer::{Group, SteerError};

use crate::client::{self, Client, PATIENCE};
use crate::loopback;
use crate::worker;

/// A client whose kernel holds back the handshake's last packet until there is data to send
/// (or 40 to 200 ms have passed): what TCP_QUICKACK turned off before connect does.
fn half_open(addr: std::net::SocketAddr) -> TcpStream {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        Some(ipproto::TCP),
    )
    .unwrap();
    sockopt::set_tcp_quickack(&socket, false).unwrap();
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
    rustix::net::connect(&socket, &addr).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn a_handshake_ends_at_the_seat_where_it_began() {
    use std::io::{Read, Write};
    const CLIENTS: u32 = 20;
    let mut group = Group::open(&loopback(), 2).unwrap();
    group.steer(&[0]).unwrap();
    let mut clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| half_open(group.local_addr()))
        .collect();
    group.steer(&[1]).unwrap();
    for (client, id) in clients.iter_mut().zip(0..CLIENTS) {
        client.write_all(&id.to_be_bytes()).unwrap();
    }
    let mut served: Vec<u32> = (0..CLIENTS)
        .map(|_| {
            let accept = || group.accept(0).unwrap();
            let (connection, peer) = client::eventually("a connection at the old seat", accept);
            assert_eq!(peer.ip(), Ipv4Addr::LOCALHOST);
            client::serve(connection)
        })
        .collect();
    served.sort_unstable();
    assert_eq!(served, (0..CLIENTS).collect::<Vec<_>>());
    assert!(group.accept(1).unwrap().is_none());
    for (client, id) in clients.iter_mut().zip(0..CLIENTS) {
        let mut echo = client::Id::default();
        client.read_exact(&mut echo).unwrap();
        assert_eq!(u32::from_be_bytes(echo), id);
    }
    Client::connect(group.local_addr(), 99);
    client::eventually("a connection at the new seat", || group.accept(1).unwrap());
}

#[test]
fn what_waits_behind_a_dead_worker_is_still_there() {
    let mut group = Group::open(&loopback(), 3).unwrap();
    group.steer(&[1]).unwrap();
    let dead = worker::duplicate(&group, 1);
    let clients: Vec<Client> = (0..30)
        .map(|id| Client::connect(group.local_addr(), id))
        .collect();
    client::eventually("thirty waiting", || {
        (group.queued(1).unwrap() == 30).then_some(())
    });
    drop(dead);
    group.steer(&[0, 2]).unwrap();
    assert_eq!(group.queued(1).unwrap(), 30);
    for left in (0..30).rev() {
        let (connection, _) = group.accept(1).unwrap().unwrap();
        assert_eq!(group.queued(1).unwrap(), left);
        client::serve(connection);
    }
    assert!(group.accept(1).unwrap().is_none());
    clients.into_iter().for_each(Client::hear);
}

#[test]
fn an_empty_set_leaves_the_filter() {
    let mut group = Group::open(&loopback(), 2).unwrap();
    group.steer(&[1]).unwrap();
    group.steer(&[]).unwrap();
    assert_eq!(group.steered(), [1]);
    let clients: Vec<Client> = (0..20)
        .map(|id| Client::connect(group.local_addr(), id))
        .collect();
    client::eventually("all wait at the last seat", || {
        (group.queued(1).unwrap() == 20).then_some(())
    });
    drop(clients);
}

#[test]
fn a_group_that_was_never_steered_serves_all_its_seats() {
    let group = Group::open(&loopback(), 2).unwrap();
    let clients: Vec<Client> = (0..200)
        .map(|id| Client::connect(group.local_addr(), id))
        .collect();
    client::eventually("all wait somewhere, some at each", || {
        let queued = [0, 1].map(|seat| group.queued(seat).unwrap());
        (queued[0] > 0 && queued[1] > 0 && queued[0] + queued[1] == 200).then_some(())
    });
    drop(clients);
}

#[test]
fn a_seat_that_does_not_exist_is_refused() {
    let mut group = Group::open(&loopback(), 2).unwrap();
    group.steer(&[0]).unwrap();
    let error = group.steer(&[0, 2]).unwrap_err();
    assert!(
        matches!(error, SteerError::NoSuchSeat { seat: 2, seats: 2 }),
        "{error}"
    );
    assert_eq!(group.steered(), [0], "the filter before stays");
    assert_eq!(
        group.queued(2).unwrap_err().kind(),
        std::io::ErrorKind::InvalidInput
    );
    assert_eq!(
        group.accept(2).unwrap_err().kind(),
        std::io::ErrorKind::InvalidInput
    );
    assert!(group.socket(2).is_none() && group.share(2).is_none());
}
