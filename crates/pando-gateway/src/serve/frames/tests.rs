use proptest::prelude::*;

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let head = Head {
        length: payload.len(),
        kind,
        flags,
        stream,
    };
    head.put(&mut out);
    out.put_slice(payload);
    out.to_vec()
}

/// What a request's head, then `trailers`, come out as behind the head.
fn check(trailers: &[u8], expect: &[u8]) {
    let head = [PREFACE, &frame(HEADERS, END_HEADERS, 1, b"\x82\x86\x84")].concat();
    let all = [&head[..], trailers].concat();
    for step in [1, 3, 8, 9, 10, all.len()] {
        let (mut frames, mut raw, mut out) = (Frames::default(), BytesMut::new(), BytesMut::new());
        for part in all.chunks(step) {
            raw.extend_from_slice(part);
            frames.take(&mut raw, &mut out);
        }
        assert!(raw.is_empty(), "{raw:?}");
        assert_eq!(&out[head.len()..], expect, "in steps of {step}");
        assert_eq!(&out[..head.len()], head);
    }
}

/// The two frames that trailers become.
fn pair(flags: u8, before: &[u8], end: u8, fields: &[u8]) -> Vec<u8> {
    let first = [before, MARK_FIELD].concat();
    let first = frame(HEADERS, flags, 1, &first);
    [first, frame(CONTINUATION, end, 1, fields)].concat()
}

#[test]
fn trailers_are_marked_before_their_first_field() {
    let end = END_STREAM | END_HEADERS;
    let plain = frame(HEADERS, end, 1, b"\x84");
    check(&plain, &pair(END_STREAM, b"", END_HEADERS, b"\x84"));
    let empty = frame(HEADERS, end, 1, b"");
    check(&empty, &pair(END_STREAM, b"", END_HEADERS, b""));
    // They go on in another frame.
    let open = frame(HEADERS, END_STREAM, 1, b"\x84");
    let rest = frame(CONTINUATION, END_HEADERS, 1, b"\x85");
    let expect = [pair(END_STREAM, b"", 0, b"\x84"), rest.clone()].concat();
    check(&[open, rest].concat(), &expect);
    // Sizes of the table stay first: of one byte, and of several.
    let sizes = frame(HEADERS, end, 1, b"\x20\x3f\xe1\x1f\x84");
    let expect = pair(END_STREAM, b"\x20\x3f\xe1\x1f", END_HEADERS, b"\x84");
    check(&sizes, &expect);
    let padded = frame(
        HEADERS,
        end | PADDED | PRIORITY,
        1,
        b"\x02\0\0\0\0\x10\x84PP",
    );
    let expect = pair(END_STREAM | PRIORITY, b"\0\0\0\0\x10", END_HEADERS, b"\x84");
    check(&padded, &expect);
}

#[test]
fn what_is_malformed_or_no_trailers_is_left_to_the_library() {
    let end = END_STREAM | END_HEADERS;
    for same in [
        frame(HEADERS, end | PADDED, 1, b"\x05\x84"),
        frame(HEADERS, end | PADDED, 1, b""),
        frame(HEADERS, end | PRIORITY, 1, b"\0\0"),
        frame(HEADERS, end, 1, b"\x3f\xff"),
        // The next request; a body; a frame of an unknown kind.
        frame(HEADERS, end, 3, b"\x82\x86\x84"),
        frame(0, 0, 1, &[0; 20_000]),
        frame(HEADERS, end, 1, &[0x84; MAX_PAYLOAD + 1]),
        frame(99, 0xff, 7, b"\x01\x02"),
    ] {
        check(&same, &same);
    }
}

/// Their errors are of another kind, and the library's to say.
#[test]
fn headers_of_a_stream_without_a_body_are_no_trailers() {
    let end = END_STREAM | END_HEADERS;
    let again = |stream| frame(HEADERS, end, stream, b"\x82\x86\x84");
    for same in [
        // Opened too late; after the body's end; after a reset; after trailers.
        [frame(HEADERS, END_HEADERS, 5, b"\x83"), again(3)],
        [frame(DATA, END_STREAM, 1, b"body"), again(1)],
        [frame(RESET, 0, 1, &[0; 4]), again(1)],
        [again(7), again(7)],
    ] {
        check(&same.concat(), &same.concat());
    }
    let twice = [again(1), again(1)].concat();
    let first = pair(END_STREAM, b"", END_HEADERS, b"\x82\x86\x84");
    check(&twice, &[first, again(1)].concat());
}

#[test]
fn bodies_are_bounded() {
    let mut frames = Frames::default();
    let opened = (0..3000).map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, b"\x83"));
    let mut raw = BytesMut::from(&[PREFACE, &opened.collect::<Vec<_>>().concat()].concat()[..]);
    frames.take(&mut raw, &mut BytesMut::new());
    assert_eq!(frames.bodies.len(), MAX_BODIES);
    assert_eq!(frames.bodies.last(), Some(&5999));
}

#[test]
fn a_head_in_part_is_waited_for() {
    let mut frames = Frames::default();
    let phase = |frames: &mut Frames, bytes: &[u8]| {
        let mut raw = BytesMut::from(bytes);
        frames.take(&mut raw, &mut BytesMut::new());
        assert!(raw.is_empty());
        frames.phase()
    };
    assert_eq!(phase(&mut frames, PREFACE), Phase::Head);
    let whole = frame(HEADERS, END_HEADERS, 1, b"\x82\x86\x84");
    assert_eq!(phase(&mut frames, &whole[..10]), Phase::Head);
    assert_eq!(phase(&mut frames, &whole[10..]), Phase::Idle);
    assert_eq!(phase(&mut frames, &frame(0, 1, 1, b"body")), Phase::Idle);
    let open = frame(HEADERS, 0, 3, b"\x82");
    assert_eq!(phase(&mut frames, &open), Phase::Head);
    let end = frame(CONTINUATION, END_HEADERS, 3, b"\x86");
    assert_eq!(phase(&mut frames, &end), Phase::Idle);
}

proptest! {
    #[test]
    fn any_bytes_in_any_parts(
        cut in 0usize..400,
        frames in prop::collection::vec(
            (0u8..11, any::<u8>(), 0u32..6, prop::collection::vec(any::<u8>(), 0..40)),
            0..12,
        ),
    ) {
        let frames = frames.iter();
        let frames = frames.flat_map(|(kind, flags, stream, load)| frame(*kind, *flags, *stream, load));
        let all: Vec<u8> = PREFACE.iter().copied().chain(frames).collect();
        fuzz_frames(cut, &all);
    }
}
