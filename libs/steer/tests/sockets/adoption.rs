//! Sockets that outlive the process that opened them: here they travel through a socketpair, as
//! they do from a supervisor to root and back.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use steer::{Group, OpenError, Single};

use crate::client::{self, Client};
use crate::loopback;

/// One message and one descriptor each, through a socketpair and out again.
fn pass(sockets: &[BorrowedFd<'_>]) -> Vec<OwnedFd> {
    let (here, there) = UnixStream::pair().unwrap();
    let pass_one = |socket: &BorrowedFd<'_>| {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = [*socket];
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(
            &here,
            &[IoSlice::new(b"x")],
            &mut ancillary,
            SendFlags::empty(),
        )
        .unwrap();

        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let mut data = [IoSliceMut::new(&mut byte)];
        recvmsg(&there, &mut data, &mut ancillary, RecvFlags::CMSG_CLOEXEC).unwrap();
        let Some(RecvAncillaryMessage::ScmRights(mut fds)) = ancillary.drain().next() else {
            panic!("no descriptor came through");
        };
        fds.next().unwrap()
    };
    sockets.iter().map(pass_one).collect()
}

fn sockets(group: &Group) -> Vec<BorrowedFd<'_>> {
    (0..group.seats())
        .map(|seat| group.socket(seat).unwrap().as_fd())
        .collect()
}

fn lands_at(group: &Group, seat: usize, first_id: u32) {
    let ids = first_id..first_id + 20;
    let clients: Vec<Client> = ids
        .map(|id| Client::connect(group.local_addr(), id))
        .collect();
    for _ in &clients {
        let accept = || group.accept(seat).unwrap();
        let (connection, _) = client::eventually("a connection at the seat", accept);
        client::serve(connection);
    }
    clients.into_iter().for_each(Client::hear);
}

#[test]
fn a_successor_takes_over_queues_filter_and_order() {
    let mut first = Group::open(&loopback(), 4).unwrap();
    first.steer(&[2]).unwrap();
    let addr = first.local_addr();
    let waiting: Vec<Client> = (0..10).map(|id| Client::connect(addr, id)).collect();
    let held_by_root = pass(&sockets(&first));
    drop(first);
    // Nobody but root has the sockets now, and the filter still steers.
    let more: Vec<Client> = (10..20).map(|id| Client::connect(addr, id)).collect();

    let borrowed: Vec<BorrowedFd<'_>> = held_by_root.iter().map(AsFd::as_fd).collect();
    let mut second = Group::adopt(loopback(), pass(&borrowed)).unwrap();
    assert_eq!((second.seats(), second.local_addr()), (4, addr));
    for _ in 0..20 {
        let accept = || second.accept(2).unwrap();
        client::serve(client::eventually("a connection of before", accept).0);
    }
    waiting.into_iter().chain(more).for_each(Client::hear);

    second.grow(6).unwrap();
    for seat in [0, 5, 3, 1, 4, 2] {
        second.steer(&[seat]).unwrap();
        lands_at(&second, seat, 100);
    }
}

#[test]
fn sockets_that_are_no_seats_are_refused() {
    let refused = |sockets: Vec<OwnedFd>, seat: usize| {
        let error = Group::adopt(loopback(), sockets).unwrap_err();
        assert!(
            matches!(error, OpenError::Adopt { seat: at, .. } if at == seat),
            "{error}"
        );
    };
    let seat = || pass(&sockets(&Group::open(&loopback(), 1).unwrap())).remove(0);
    refused(vec![], 0);
    refused(vec![seat(), seat()], 1);
    refused(vec![UnixStream::pair().unwrap().0.into()], 0);
    let single = Single::open(&loopback()).unwrap();
    refused(pass(&[single.socket().as_fd()]), 0);
    let connection = client::connect(single.local_addr());
    refused(vec![connection.into()], 0);
}

#[test]
fn a_single_listener_is_adopted_with_its_queue() {
    let first = Single::open(&loopback()).unwrap();
    let client = Client::connect(first.local_addr(), 7);
    let passed = pass(&[first.socket().as_fd()]).remove(0);
    let addr = first.local_addr();
    drop(first);
    let second = Single::adopt(loopback(), passed).unwrap();
    assert_eq!(second.local_addr(), addr);
    client::eventually("one waiting", || {
        (second.queued().unwrap() == 1).then_some(())
    });
    let (connection, _) = second.accept().unwrap().unwrap();
    assert_eq!(client::serve(connection), 7);
    client.hear();
    assert!(second.accept().unwrap().is_none());
}
