//! The channel against a plain socket at the other end.
#![expect(clippy::unwrap_used, reason = "a test panics")]

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use node_cluster::{
    Channel, Flush, Incoming, MAX_LINE_BYTES, MAX_QUEUED_BYTES, MAX_QUEUED_MESSAGES, QueueFull,
    ReadState, dummy,
};
use proptest::prelude::*;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

fn pair() -> (Channel, UnixStream) {
    let (channel, theirs) = Channel::pair().unwrap();
    (channel, UnixStream::from(theirs))
}

fn send_with(socket: &UnixStream, bytes: &[u8], fds: &[&OwnedFd]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
    assert!(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(&fds)));
    let sent = sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::empty(),
    )
    .unwrap();
    assert_eq!(sent, bytes.len());
}

/// One read of the other end: bytes and the number of descriptors that came with them.
fn receive(socket: &UnixStream) -> (Vec<u8>, usize) {
    let mut buffer = vec![0; 65536];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [std::io::IoSliceMut::new(&mut buffer)];
    let message = recvmsg(socket, &mut slices, &mut control, RecvFlags::empty()).unwrap();
    let fds = control.drain().map(|message| {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            fds.count()
        } else {
            0
        }
    });
    let fds = fds.sum();
    buffer.truncate(message.bytes);
    (buffer, fds)
}

fn read_all(channel: &mut Channel) -> (Vec<(String, bool)>, ReadState) {
    let mut out = Vec::new();
    let state = channel.read(&mut |incoming| match incoming {
        Incoming::Line(line, fd) => {
            out.push((String::from_utf8(line.to_vec()).unwrap(), fd.is_some()));
        }
        Incoming::Oversized { bytes } => out.push((format!("oversized {bytes}"), false)),
    });
    (out, state.unwrap())
}

#[test]
fn each_message_goes_alone_with_its_descriptor() {
    let (mut channel, theirs) = pair();
    let fd = Arc::new(dummy().unwrap());
    channel.queue(b"plain\n".to_vec(), None).unwrap();
    channel.queue(b"one\n".to_vec(), Some(fd.clone())).unwrap();
    channel.queue(b"two\n".to_vec(), Some(fd.clone())).unwrap();
    channel.queue(b"last\n".to_vec(), None).unwrap();
    assert_eq!(channel.queued(), 4);
    assert_eq!(channel.flush().unwrap(), Flush::Done);
    assert_eq!(Arc::strong_count(&fd), 1, "a sent descriptor is not kept");
    // Linux ends a read behind a descriptor and glues plain bytes before it: see the module.
    assert_eq!(receive(&theirs), (b"plain\none\n".to_vec(), 1));
    assert_eq!(receive(&theirs), (b"two\n".to_vec(), 1));
    assert_eq!(receive(&theirs), (b"last\n".to_vec(), 0));
}

#[test]
fn a_worker_that_never_reads_fills_a_bounded_queue() {
    let (mut channel, mut theirs) = pair();
    let fd = Arc::new(dummy().unwrap());
    let mut sent = 0;
    let full = loop {
        match channel.queue(format!("{sent}\n").into_bytes(), Some(fd.clone())) {
            Ok(()) => sent += 1,
            Err(full) => break full,
        }
        channel.flush().unwrap();
    };
    assert_eq!(full.messages, MAX_QUEUED_MESSAGES);
    assert!(channel.wants_write());
    assert!(sent > MAX_QUEUED_MESSAGES + 100, "{sent}");

    // It reads after all: nothing is lost, doubled or out of order.
    theirs
        .set_read_timeout(Some(std::time::Duration::from_secs(20)))
        .unwrap();
    let (mut text, mut fds) = (Vec::new(), 0);
    while fds < sent {
        let (bytes, count) = receive(&theirs);
        text.extend(bytes);
        fds += count;
        channel.flush().unwrap();
    }
    assert_eq!(channel.flush().unwrap(), Flush::Done);
    assert!(!channel.wants_write());
    let expect: String = (0..sent).map(|n| format!("{n}\n")).collect();
    assert_eq!(String::from_utf8(text).unwrap(), expect);
    theirs.set_nonblocking(true).unwrap();
    assert!(theirs.read(&mut [0; 1]).is_err());
}

#[test]
fn bytes_are_bounded_too() {
    let (mut channel, _theirs) = pair();
    channel
        .queue(vec![b'x'; MAX_QUEUED_BYTES - 10], None)
        .unwrap();
    let full = QueueFull {
        messages: 1,
        bytes: MAX_QUEUED_BYTES - 10,
    };
    assert_eq!(channel.queue(vec![b'x'; 11], None), Err(full));
    channel.queue(vec![b'x'; 10], None).unwrap();
    assert_eq!(
        channel.queue(b"\n".to_vec(), None).unwrap_err().bytes,
        MAX_QUEUED_BYTES
    );
}

#[test]
fn a_long_message_is_resumed_and_its_descriptor_goes_once() {
    let (mut channel, theirs) = pair();
    let mut line = vec![b'x'; 3_000_000];
    line.push(b'\n');
    channel
        .queue(line.clone(), Some(Arc::new(dummy().unwrap())))
        .unwrap();
    channel
        .queue(b"after\n".to_vec(), Some(Arc::new(dummy().unwrap())))
        .unwrap();
    line.extend_from_slice(b"after\n");
    assert_eq!(channel.flush().unwrap(), Flush::Blocked);
    let (mut got, mut at) = (Vec::new(), Vec::new());
    while got.len() < line.len() {
        let (bytes, fds) = receive(&theirs);
        at.extend((0..fds).map(|_| got.len() + bytes.len()));
        got.extend(bytes);
        channel.flush().unwrap();
    }
    assert!(got == line);
    assert!(
        at.len() == 2 && at[0] < 3_000_000 && at[1] == line.len(),
        "{at:?}"
    );
}

#[test]
fn a_received_descriptor_belongs_to_the_line_it_was_sent_with() {
    let (mut channel, theirs) = pair();
    let fd = dummy().unwrap();
    (&theirs).write_all(b"plain\nalso plain\n").unwrap();
    send_with(&theirs, b"with\n", &[&fd]);
    (&theirs).write_all(b"without\n").unwrap();
    send_with(&theirs, b"begun ", &[&fd]);
    (&theirs).write_all(b"and ").unwrap();
    (&theirs).write_all(b"ended\nplain\n").unwrap();
    send_with(&theirs, b"again\n", &[&fd]);
    let (lines, state) = read_all(&mut channel);
    let expect = [
        ("plain", false),
        ("also plain", false),
        ("with", true),
        ("without", false),
        ("begun and ended", true),
        ("plain", false),
        ("again", true),
    ];
    assert_eq!(lines, expect.map(|(line, fd)| (line.to_owned(), fd)));
    assert_eq!(state, ReadState::Open);
}

#[test]
fn what_was_written_before_the_end_is_read() {
    let (mut channel, theirs) = pair();
    (&theirs).write_all(b"last words\nand half").unwrap();
    channel.queue(b"unread\n".to_vec(), None).unwrap();
    channel.flush().unwrap();
    drop(theirs); // with unread bytes: the kernel says ECONNRESET
    channel.queue(b"late\n".to_vec(), None).unwrap();
    assert!(channel.flush().is_err());
    let (lines, mut state) = read_all(&mut channel);
    assert_eq!(lines, [("last words".to_owned(), false)]);
    if state == ReadState::Open {
        state = read_all(&mut channel).1;
    }
    assert_eq!(state, ReadState::Closed);
}

#[test]
fn an_oversized_line_is_told_once_and_the_work_of_a_call_is_bounded() {
    let (mut channel, theirs) = pair();
    let writer = std::thread::spawn(move || {
        let mut theirs = theirs;
        theirs.write_all(&vec![b'x'; 10 * MAX_LINE_BYTES]).unwrap();
        theirs.write_all(b"\nnext\n").unwrap();
    });
    let mut got = Vec::new();
    loop {
        let (lines, state) = read_all(&mut channel);
        got.extend(lines);
        if state == ReadState::Closed {
            break;
        }
    }
    writer.join().unwrap();
    let oversized = format!("oversized {}", 10 * MAX_LINE_BYTES);
    assert_eq!(got, [(oversized, false), ("next".to_owned(), false)]);
}

#[test]
fn has_more_says_that_a_call_stopped_for_its_bound() {
    let (mut channel, theirs) = pair();
    let fd = dummy().unwrap();
    for _ in 0..20 {
        send_with(&theirs, b"l\n", &[&fd]); // each ends a read
    }
    let (lines, _) = read_all(&mut channel);
    assert!(lines.len() < 20 && channel.has_more());
    let (rest, _) = read_all(&mut channel);
    assert_eq!(lines.len() + rest.len(), 20);
    assert!(!channel.has_more());
}

#[test]
fn surplus_descriptors_are_closed() {
    let (mut channel, theirs) = pair();
    let (mut watched, end) = UnixStream::pair().unwrap();
    let end = OwnedFd::from(end);
    send_with(&theirs, b"three\n", &[&end, &end, &end]);
    for _ in 0..10 {
        send_with(&theirs, b"never ends ", &[&end]);
    }
    drop(end);
    let (lines, _) = read_all(&mut channel);
    assert_eq!(lines, [("three".to_owned(), true)]);
    watched.set_nonblocking(true).unwrap();
    assert!(
        watched.read(&mut [0; 1]).is_err(),
        "the unfinished line keeps its own"
    );
    (&theirs).write_all(b"\n").unwrap();
    read_all(&mut channel);
    assert_eq!(
        watched.read(&mut [0; 1]).unwrap(),
        0,
        "every duplicate is closed"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Lines with and without descriptors, each cut into writes anywhere, arrive as they were
    /// sent; the descriptor goes with a line's first write.
    #[test]
    fn descriptors_find_their_lines(
        lines in prop::collection::vec(("[a-z]{0,8}", any::<bool>(), 0_usize..9), 0..30),
        reads in prop::collection::vec(any::<bool>(), 30),
    ) {
        let (mut channel, theirs) = pair();
        let fd = dummy().unwrap();
        let mut got = Vec::new();
        for ((line, with, cut), read) in lines.iter().zip(reads) {
            let bytes = format!("{line}\n").into_bytes();
            let (head, tail) = bytes.split_at((*cut).clamp(1, bytes.len()));
            let fds = [&fd];
            send_with(&theirs, head, if *with { &fds } else { &[] });
            if read {
                got.extend(read_all(&mut channel).0);
            }
            (&theirs).write_all(tail).unwrap();
        }
        for _ in 0..4 {
            got.extend(read_all(&mut channel).0);
        }
        let expect: Vec<_> = lines.into_iter().map(|(line, with, _)| (line, with)).collect();
        prop_assert_eq!(got, expect);
    }
}
