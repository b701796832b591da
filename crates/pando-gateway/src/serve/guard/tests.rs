use super::*;

fn whole(text: &str) -> Result<Phase, Fault> {
    let mut guard = Guard::new(8192, 100);
    let checked = guard.check(text.as_bytes());
    // Byte by byte the verdict is the same.
    let mut slow = Guard::new(8192, 100);
    let (mut kept, mut good, mut fault) = (Vec::new(), 0, None);
    for byte in text.bytes() {
        kept.push(byte);
        let step = slow.check(&kept);
        kept.drain(..step.good);
        good += step.good;
        if step.fault.is_some() {
            fault = step.fault;
            break;
        }
    }
    assert_eq!((good, fault), (checked.good, checked.fault), "{text:?}");
    match checked.fault {
        Some(fault) => Err(fault),
        None => Ok(guard.phase()),
    }
}

#[test]
fn what_has_one_meaning_passes() {
    for (text, phase) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Phase::Idle),
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Phase::Idle),
        ("GET / HTTP/1.0\r\n\r\n", Phase::Idle),
        ("GET / HTTP/1.1\r\nHo", Phase::Head),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nhost:b\r\n\r\n",
            Phase::Idle,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab",
            Phase::Body,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nt: v\r\n\r\n",
            Phase::Idle,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\nxx",
            Phase::Held,
        ),
    ] {
        assert_eq!(whole(text), Ok(phase), "{text:?}");
    }
}

#[test]
fn what_has_two_meanings_does_not() {
    let post =
        |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}");
    for (text, fault) in [
        (
            "GET / HTTP/1.1\r\nHost: a\r\n\n".to_owned(),
            Fault::BareLineFeed,
        ),
        (
            "GET / HTTP/1.1\nHost: a\n\n".to_owned(),
            Fault::BareLineFeed,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n".to_owned(),
            Fault::BareLineFeed,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n".to_owned(),
            Fault::Folded,
        ),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), Fault::Host),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(),
            Fault::Host,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(),
            Fault::Host,
        ),
        ("GET /\r\n\r\n".to_owned(), Fault::Version),
        (
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(),
            Fault::Version,
        ),
        (
            post("Content-Length: 1\r\nContent-Length: 1\r\n", "a"),
            Fault::Length,
        ),
        (post("Content-Length: +1\r\n", "a"), Fault::Length),
        (post("Content-Length: 1, 1\r\n", "a"), Fault::Length),
        (
            post(
                "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            Fault::LengthAndEncoding,
        ),
        (post("Transfer-Encoding: xchunked\r\n", ""), Fault::Encoding),
        (
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                "",
            ),
            Fault::Encoding,
        ),
        (
            post("Transfer-Encoding: gzip, chunked\r\n", ""),
            Fault::Encoding,
        ),
    ] {
        assert_eq!(whole(&text), Err(fault), "{text:?}");
    }
}

#[test]
fn chunks_are_read_strictly() {
    for body in [
        "0x1\r\na\r\n",
        "1 \r\na\r\n",
        "1\na\r\n",
        "1\r\nab\r\n",
        "\r\n",
        "11111111111111111\r\n",
    ] {
        let text =
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(whole(&text), Err(Fault::Chunk), "{text:?}");
    }
}

#[test]
fn a_held_stream_goes_on_when_the_answer_is_known() {
    let mut guard = Guard::new(8192, 100);
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n";
    assert_eq!(guard.check(request).good, request.len());
    assert_eq!(guard.check(b"more").good, 0);
    guard.release(true);
    assert_eq!(guard.check(b"more").good, 4);
    let mut guard = Guard::new(8192, 100);
    guard.check(request);
    guard.release(false);
    assert_eq!(guard.check(b"mo\nre").fault, Some(Fault::BareLineFeed));
}

#[test]
fn a_head_has_a_bound() {
    let mut guard = Guard::new(100, 2);
    assert_eq!(guard.check(&[b'a'; 101]).fault, Some(Fault::HeadTooLarge));
    let mut guard = Guard::new(100, 2);
    let many = b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n";
    assert_eq!(guard.check(many).fault, Some(Fault::TooManyHeaders));
}
