//! Requests that two servers might read in two ways, or none should read at all. RFC 9112
//! sections 2.2, 3, 5, 6, 7 and 11.2; the attacks are those of "HTTP Desync Attacks" and its kin.
//!
//! In the bytes `@` stands for a path of the case's own, `!` for one that nobody may ask for.

/// What must happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// One answer with a status of 400 and above, or none, and the connection is closed; the origin
    /// sees nothing.
    Refused,
    /// So many requests reach the origin and are answered, and nothing else happens.
    Served(usize),
    /// Both are right; the origin sees one well-framed request, or none.
    Either,
    /// The first is answered, what follows is refused and the connection closed.
    ServedThenRefused,
}

use Want::{Either, Refused, Served, ServedThenRefused};

pub struct Case {
    pub name: &'static str,
    pub bytes: &'static [u8],
    pub want: Want,
}

const fn case(name: &'static str, want: Want, bytes: &'static [u8]) -> Case {
    Case { name, bytes, want }
}

pub const CASES: &[Case] = &[
    case("an ordinary GET", Served(1), b"GET @ HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("an ordinary POST", Served(1), b"POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
    case("an ordinary chunked POST", Served(1), b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    // Two lengths.
    case("Content-Length, then Transfer-Encoding", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET ! HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("Transfer-Encoding, then Content-Length", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2f\r\nGET ! HTTP/1.1\r\nHost: a\r\nX-Fill: abcdef\r\n\r\n\r\n0\r\n\r\n"),
    case("the same Content-Length twice", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    case("two Content-Lengths", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 34\r\n\r\nabcGET ! HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("two Content-Lengths, the smaller last", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 34\r\nContent-Length: 3\r\n\r\nabcGET ! HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a list as Content-Length", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc"),
    case("Content-Length with a sign", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"),
    case("a negative Content-Length", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc"),
    case("a hexadecimal Content-Length", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc"),
    case("Content-Length with a letter", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 3a\r\n\r\nabc"),
    case("Content-Length with a space inside", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 3 3\r\n\r\nabc"),
    case("an empty Content-Length", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\nGET ! HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a Content-Length beyond 64 bits", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551619\r\n\r\nabc"),
    case("a space before the colon of Content-Length", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc"),
    // Transfer codings.
    case("chunked twice, in two fields", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    case("chunked, chunked", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    case("chunked, then identity in another field", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    case("xchunked", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET ! HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("chunked, identity", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    case("identity", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc"),
    case("gzip, chunked", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    case("identity, chunked", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n"),
    case("an empty Transfer-Encoding", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \r\nContent-Length: 3\r\n\r\nabc"),
    case("a quoted chunked", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    case("a space before the colon of Transfer-Encoding", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\nGET ! HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a tab before the colon of Transfer-Encoding", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    case("a tab before chunked", Either, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n"),
    case("a vertical tab before chunked", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n"),
    case("a form feed after chunked", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x0c\r\n\r\n0\r\n\r\n"),
    case("CHUNKED in capitals", Either, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n"),
    case("chunked, folded", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    case("chunked in HTTP/1.0", Refused, b"POST @ HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET ! HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("chunked before a field of garbage", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nX: x\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    // Chunks.
    case("chunk size 0x1", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n"),
    case("chunk size with a sign", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n"),
    case("a negative chunk size", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n"),
    case("an empty chunk size", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\na\r\n0\r\n\r\n"),
    case("a space before a chunk size", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 1\r\na\r\n0\r\n\r\n"),
    case("a space after a chunk size", Either, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n"),
    case("a chunk size beyond 64 bits", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n0\r\n\r\n"),
    case("a chunk extension", Either, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\na\r\n0\r\n\r\n"),
    case("a bare LF in a chunk extension", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n"),
    case("a bare LF after a chunk size", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n"),
    case("a bare CR after a chunk size", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\rXa\r\n0\r\n\r\n"),
    case("a chunk longer than it says", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n"),
    case("a chunk that ends with a bare LF", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n"),
    case("a last chunk without its last CRLF, then a request", Refused, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGET ! HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a second length in the trailers", Either, b"POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 40\r\n\r\n"),
    // Lines.
    case("bare LF in place of every CRLF", Refused, b"GET @ HTTP/1.1\nHost: a\n\n"),
    case("a bare LF after the request line", Refused, b"GET @ HTTP/1.1\nHost: a\r\n\r\n"),
    case("a bare LF after a field", Refused, b"GET @ HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
    case("a bare LF as the empty line", Refused, b"GET @ HTTP/1.1\r\nHost: a\r\n\n"),
    case("a bare CR in a value", Refused, b"GET @ HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
    case("bare CRs for line ends", Refused, b"GET @ HTTP/1.1\rHost: a\r\r\r\n\r\n"),
    case("a folded field", Refused, b"GET @ HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
    case("a folded field, by a tab", Refused, b"GET @ HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n"),
    case("a space before the first field", Refused, b"GET @ HTTP/1.1\r\n Host: a\r\nHost: b\r\n\r\n"),
    case("NUL in a value", Refused, b"GET @ HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
    case("NUL in a name", Refused, b"GET @ HTTP/1.1\r\nHost: a\r\nX\0Y: a\r\n\r\n"),
    case("NUL in the target", Refused, b"GET @\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a name with a space", Refused, b"GET @ HTTP/1.1\r\nHost: a\r\nX Y: a\r\n\r\n"),
    case("a name with a bracket", Refused, b"GET @ HTTP/1.1\r\nHost: a\r\nX(: a\r\n\r\n"),
    case("a name beyond ASCII", Refused, b"GET @ HTTP/1.1\r\nHost: a\r\nX\xc3\xa4: a\r\n\r\n"),
    case("an empty name", Refused, b"GET @ HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n"),
    case("a line without a colon", Refused, b"GET @ HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n"),
    case("an empty line before the request", Either, b"\r\nGET @ HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a value beyond ASCII", Either, b"GET @ HTTP/1.1\r\nHost: a\r\nX: \xc3\xa4\xff\r\n\r\n"),
    // Host.
    case("no Host", Refused, b"GET @ HTTP/1.1\r\nX: a\r\n\r\n"),
    case("two Hosts", Refused, b"GET @ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    case("the same Host twice", Refused, b"GET @ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    case("Host with a path", Refused, b"GET @ HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    case("Host with a user", Refused, b"GET @ HTTP/1.1\r\nHost: b@a\r\n\r\n"),
    case("Host with a space", Refused, b"GET @ HTTP/1.1\r\nHost: a b\r\n\r\n"),
    case("Host with a list", Refused, b"GET @ HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    case("a port that is no number", Either, b"GET @ HTTP/1.1\r\nHost: a:b\r\n\r\n"),
    case("an absolute target", Either, b"GET http://a@ HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("an absolute target with a user", Refused, b"GET http://b@a@ HTTP/1.1\r\nHost: a\r\n\r\n"),
    // The request line.
    case("HTTP/0.9", Refused, b"GET @\r\n\r\n"),
    case("HTTP/1.0 with Host", Served(1), b"GET @ HTTP/1.0\r\nHost: a\r\n\r\n"),
    case("HTTP/1.0, kept", Served(1), b"GET @ HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"),
    case("HTTP/1.2", Refused, b"GET @ HTTP/1.2\r\nHost: a\r\n\r\n"),
    case("HTTP/2.0 in a request line", Refused, b"GET @ HTTP/2.0\r\nHost: a\r\n\r\n"),
    case("HTTP/1.10", Refused, b"GET @ HTTP/1.10\r\nHost: a\r\n\r\n"),
    case("http/1.1 in small letters", Refused, b"GET @ http/1.1\r\nHost: a\r\n\r\n"),
    case("another protocol", Refused, b"GET @ HTCPCP/1.0\r\nHost: a\r\n\r\n"),
    case("two spaces after the method", Refused, b"GET  @ HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("two spaces before the version", Refused, b"GET @  HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a tab after the method", Refused, b"GET\t@ HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a space before the method", Refused, b" GET @ HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a space in the target", Refused, b"GET @ x HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a space after the version", Refused, b"GET @ HTTP/1.1 \r\nHost: a\r\n\r\n"),
    case("a method with a colon", Refused, b"G:T @ HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a control character in the target", Refused, b"GET @\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a target without a slash", Refused, b"GET x@ HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("CONNECT", Refused, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    case("TLS where none is", Refused, b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n"),
    // More than one.
    case("five requests at once", Served(5), b"GET @ HTTP/1.1\r\nHost: a\r\n\r\nGET @ HTTP/1.1\r\nHost: a\r\n\r\nGET @ HTTP/1.1\r\nHost: a\r\n\r\nGET @ HTTP/1.1\r\nHost: a\r\n\r\nGET @ HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("two POSTs at once", Served(2), b"POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcPOST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
    case("garbage after a body", ServedThenRefused, b"POST @ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok\x01\x02garbage\r\n\r\n"),
    case("a request within a body", Served(1), b"GET @ HTTP/1.1\r\nHost: a\r\nContent-Length: 31\r\n\r\nGET ! HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("a request after Connection: close", Served(1), b"GET @ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET ! HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("Connection that names the framing", Served(1), b"POST @ HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 31\r\n\r\nGET ! HTTP/1.1\r\nHost: a\r\n\r\n"),
    case("Connection that names Transfer-Encoding", Either, b"POST @ HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n1f\r\nGET ! HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n"),
    case("Connection that names Host", Either, b"GET @ HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n"),
    case("an upgrade to h2c", Either, b"GET @ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"),
];
