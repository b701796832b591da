//! Private doors beside wildcard listeners.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;

use steer::{Beside, Group, OpenError, Single};

use crate::client::{self, Client};
use crate::tcp;

const HOST: Ipv4Addr = Ipv4Addr::new(127, 71, 3, 9);

fn next_hosts(first: Ipv4Addr) -> impl Iterator<Item = Ipv4Addr> {
    (0..4).map(move |n| Ipv4Addr::from_bits(first.to_bits() + n))
}

fn comes_to(door: &Beside, ids: std::ops::Range<u32>) {
    for id in ids {
        let client = Client::connect(door.local_addr(), id);
        let (connection, _) =
            client::eventually("a connection at the door", || door.accept().unwrap());
        assert_eq!(client::serve(connection), id);
        client.hear();
    }
}

#[test]
fn a_door_wins_over_the_group_and_the_group_goes_on() {
    let mut group = Group::open(&tcp(None, 0), 2).unwrap();
    group.steer(&[1]).unwrap();
    let port = group.local_addr().port();
    let door = Beside::open([HOST], port, &[]).unwrap();
    assert_eq!(door.local_addr(), SocketAddr::from((HOST, port)));
    comes_to(&door, 0..30);
    // Seats may still join, and get what goes to any other address.
    group.grow(4).unwrap();
    group.steer(&[3]).unwrap();
    let elsewhere = Client::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), 99);
    let (connection, _) = client::eventually("seat 3", || group.accept(3).unwrap());
    client::serve(connection);
    elsewhere.hear();
    assert_eq!(group.queued(0).unwrap() + group.queued(1).unwrap(), 0);
    comes_to(&door, 30..60);
}

#[test]
fn a_door_beside_a_listener_that_shares_with_nobody() {
    for host in [None, Some(Ipv4Addr::UNSPECIFIED.into())] {
        let single = Single::open(&tcp(host, 0)).unwrap();
        let port = single.local_addr().port();
        let door = Beside::open([HOST], port, &[single.socket().as_fd()]).unwrap();
        comes_to(&door, 0..10);
        // And it shares with nobody still.
        assert!(matches!(
            Single::open(&tcp(host, port)),
            Err(OpenError::InUse { .. })
        ));
    }
}

#[test]
fn a_host_that_is_taken_is_passed_over() {
    let group = Group::open(&tcp(None, 0), 1).unwrap();
    let port = group.local_addr().port();
    let hosts = || next_hosts(Ipv4Addr::new(127, 72, 0, 1));
    let doors: Vec<Beside> = (0..3)
        .map(|_| Beside::open(hosts(), port, &[]).unwrap())
        .collect();
    let last: Vec<u8> = doors
        .iter()
        .map(|door| match door.local_addr().ip() {
            std::net::IpAddr::V4(ip) => ip.octets()[3],
            std::net::IpAddr::V6(_) => 0,
        })
        .collect();
    assert_eq!(last, [1, 2, 3]);
    assert!(Beside::open([Ipv4Addr::new(127, 72, 0, 1)], port, &[]).is_err());
}

#[test]
fn a_door_outlives_its_opener_with_what_waits_at_it() {
    let door = Beside::open([HOST], 0, &[]).unwrap();
    let waiting = Client::connect(door.local_addr(), 5);
    let kept = door.share().as_fd().try_clone_to_owned().unwrap();
    drop(door);
    let door = Beside::adopt(kept).unwrap();
    let (connection, _) = client::eventually("what waited", || door.accept().unwrap());
    client::serve(connection);
    waiting.hear();
}
