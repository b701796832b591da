use proptest::prelude::*;

use super::super::{write_v1, write_v2, write_v2_local};
use super::*;

fn of(source: &str, destination: &str) -> Addresses {
    Addresses::Of {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

fn check(bytes: &[u8], expect: Addresses) {
    let (addresses, length) = parse(bytes).unwrap().expect("complete");
    assert_eq!(addresses, expect, "{}", bytes.escape_ascii());
    assert_eq!(length, bytes.len());
    for end in 0..bytes.len() {
        assert!(
            parse(&bytes[..end]).unwrap().is_none(),
            "{end} bytes are not enough"
        );
    }
    let more = [bytes, b"PROXY"].concat();
    assert_eq!(parse(&more).unwrap(), Some((expect, bytes.len())));
}

fn refused(bytes: &[u8]) -> Error {
    match parse(bytes) {
        Err(error) => error,
        Ok(got) => panic!("{}: {got:?}", bytes.escape_ascii()),
    }
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, body].concat()
}

#[test]
fn lines() {
    check(
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
        of("192.0.2.1:56324", "198.51.100.2:443"),
    );
    check(
        b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
        of("[2001:db8::1]:1", "[2001:db8::2]:65535"),
    );
    check(b"PROXY UNKNOWN\r\n", Addresses::Unknown);
    check(
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
        Addresses::Unknown,
    );
}

#[test]
fn bad_lines() {
    for line in [
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1\n 192.0.2.2 1 2\r\n",
        "PROXY \r\n",
    ] {
        assert!(
            matches!(refused(line.as_bytes()), Error::Malformed(_)),
            "{line}"
        );
    }
    let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
    assert!(matches!(refused(&endless), Error::Malformed(_)));
    assert!(parse(&endless[..106]).unwrap().is_none());
    assert!(matches!(refused(b"GET / HTTP/1.1\r\n"), Error::Missing));
    assert!(matches!(refused(b"\x16\x03\x01\x02\x00"), Error::Missing));
    assert!(matches!(refused(b"\r\n\r\nGET"), Error::Missing));
    assert!(matches!(refused(b"proxy TCP4"), Error::Missing));
}

#[test]
fn binary_headers() {
    let body = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 1, 187];
    let expect = of("192.0.2.1:56324", "198.51.100.2:443");
    check(&v2(0x21, 0x11, &body), expect);
    let tlvs = [&body[..], &[0x03, 0, 4, 9, 9, 9, 9, 0xe0, 0, 1, 7]].concat();
    check(&v2(0x21, 0x11, &tlvs), expect);
    check(&v2(0x20, 0x11, &body), Addresses::Unknown);
    check(&v2(0x20, 0x00, &[]), Addresses::Unknown);
    check(&v2(0x20, 0x77, &[1, 2]), Addresses::Unknown);
    check(&v2(0x21, 0x00, &[1, 2, 3]), Addresses::Unknown);
    check(&v2(0x21, 0x31, &[b'/'; 216]), Addresses::Unknown);
}

#[test]
fn bad_binary_headers() {
    let body = [0; 36];
    for (command, family, body) in [
        (0x22, 0x11, &body[..12]),
        (0x11, 0x11, &body[..12]),
        (0x21, 0x13, &body[..12]),
        (0x21, 0x41, &body[..]),
        (0x21, 0x11, &body[..11]),
        (0x21, 0x21, &body[..35]),
    ] {
        let bytes = v2(command, family, body);
        assert!(matches!(refused(&bytes), Error::Malformed(_)), "{bytes:x?}");
    }
    assert!(matches!(
        refused(&v2(0x21, 0x11, &[0; MAX_HEADER_BYTES])),
        Error::TooLong
    ));
}

#[test]
fn written_headers_are_read_again() {
    check(write_v2_local().as_ref(), Addresses::Unknown);
    let (four, mapped) = (
        "192.0.2.1:5".parse().unwrap(),
        "[::ffff:1.2.3.4]:6".parse().unwrap(),
    );
    let six = "[2001:db8::1]:7".parse().unwrap();
    check(
        write_v1(four, mapped).as_ref(),
        of("192.0.2.1:5", "1.2.3.4:6"),
    );
    check(
        write_v2(mapped, four).as_ref(),
        of("1.2.3.4:6", "192.0.2.1:5"),
    );
    let mixed = of("[::ffff:192.0.2.1]:5", "[2001:db8::1]:7");
    check(write_v1(four, six).as_ref(), mixed);
    check(write_v2(four, six).as_ref(), mixed);
    let long: SocketAddr = "[1111:2222:3333:4444:5555:6666:7777:8888]:65535"
        .parse()
        .unwrap();
    check(
        write_v1(long, long).as_ref(),
        of(&long.to_string(), &long.to_string()),
    );
}

proptest! {
    #[test]
    fn any_addresses_survive(from in any::<(IpAddr, u16)>(), to in any::<(IpAddr, u16)>()) {
        let (from, to) = (SocketAddr::from(from), SocketAddr::from(to));
        for header in [write_v1(from, to), write_v2(from, to)] {
            let (read, length) = parse(header.as_ref()).unwrap().unwrap();
            prop_assert_eq!(length, header.as_ref().len());
            let Addresses::Of { source, destination } = read else { panic!("{header:?}") };
            prop_assert_eq!(source.ip().to_canonical(), from.ip().to_canonical());
            prop_assert_eq!(destination.ip().to_canonical(), to.ip().to_canonical());
            prop_assert_eq!((source.port(), destination.port()), (from.port(), to.port()));
        }
    }

    /// What another parser takes from a version 2 header, ours takes too.
    #[test]
    fn another_parser_agrees(from in any::<([u8; 4], u16)>(), body in any::<[u8; 40]>(), cut in 0usize..40) {
        let header = write_v2(from.into(), from.into());
        prop_assert!(ppp::v2::Header::try_from(header.as_ref()).is_ok());
        let line = write_v1(from.into(), from.into());
        prop_assert!(ppp::v1::Header::try_from(line.as_ref()).is_ok());
        let bytes = v2(0x21, 0x11, &body[..cut]);
        prop_assert_eq!(parse(&bytes).is_ok(), ppp::v2::Header::try_from(&bytes[..]).is_ok());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
        let _ = parse(&[&SIGNATURE[..], &bytes].concat());
        let _ = parse(&[LINE_START, &bytes].concat());
    }
}
