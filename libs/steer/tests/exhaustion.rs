//! Out of file descriptors in the middle of growing. Alone in its process: the limit is the
//! whole process's.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use steer::{Bind, Group, OpenError};

#[test]
fn growth_that_fails_leaves_the_group_as_it_was() {
    let host = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let mut group = Group::open(
        &Bind::Tcp {
            host,
            port: 0,
            ipv6_only: false,
        },
        3,
    )
    .unwrap();
    let open = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(open + 5),
            ..limit
        },
    )
    .unwrap();
    let error = group.grow(20).unwrap_err();
    setrlimit(Resource::Nofile, limit).unwrap();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert_eq!((error.errno(), group.seats()), (24, 3), "EMFILE");

    group.grow(8).unwrap();
    for seat in 0..8 {
        group.steer(&[seat]).unwrap();
        let client = TcpStream::connect(group.local_addr()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while group.accept(seat).unwrap().is_none() {
            assert!(Instant::now() < deadline, "nothing came to seat {seat}");
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(client);
    }
}
