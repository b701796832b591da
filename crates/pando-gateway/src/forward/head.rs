//! The head of a request as an upstream gets it: what the client sent, without what belongs to
//! its connection, and with what a proxy adds.

use std::fmt::Write as _;

use bytes::{BufMut, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};

use crate::client::Client;

pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// A request's head and what is added to it.
pub struct Onward<'r> {
    pub method: &'r Method,
    /// Path and query.
    pub target: &'r str,
    pub host: &'r [u8],
    /// The client's, edits of the route included.
    pub headers: &'r HeaderMap,
    pub client: &'r Client,
    /// The peer's own words about whom it speaks for are believed.
    pub trusted: bool,
    pub request_id: &'r str,
    /// With the span of this try, where there is one.
    pub traceparent: Option<&'r str>,
    /// `tracestate` belongs to that trace.
    pub trace_continues: bool,
    pub length: Length,
    /// The protocol to change to, and whether it comes from an HTTP/2 client (RFC 8441).
    pub upgrade: Option<Upgrade<'r>>,
}

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    None,
    Known(u64),
    Chunked,
}

#[derive(Clone, Copy, Debug)]
pub struct Upgrade<'r> {
    pub protocol: &'r [u8],
    /// The `Sec-WebSocket-Key` to send, where the client's protocol has none.
    pub key: Option<&'r str>,
}

impl Onward<'_> {
    /// For HTTP/1.1.
    pub fn encode(&self) -> BytesMut {
        let mut out = BytesMut::with_capacity(1024);
        out.put_slice(self.method.as_str().as_bytes());
        out.put_u8(b' ');
        out.put_slice(self.target.as_bytes());
        out.put_slice(b" HTTP/1.1\r\nhost: ");
        out.put_slice(self.host);
        out.put_slice(b"\r\n");
        let named = Named::of(self.headers);
        for (name, value) in self.headers {
            if !self.is_replaced(name) && !named.has(name) {
                put(&mut out, name.as_str().as_bytes(), value.as_bytes());
            }
        }
        self.put_forwarded(&mut out);
        self.put_framing(&mut out);
        out.put_slice(b"\r\n");
        out
    }

    fn put_forwarded(&self, out: &mut BytesMut) {
        let ip = Ip(self.client);
        out.put_slice(b"x-forwarded-for: ");
        if self.trusted {
            for value in self.headers.get_all(X_FORWARDED_FOR) {
                out.put_slice(value.as_bytes());
                out.put_slice(b", ");
            }
            let peer = self.client.peer.ip().to_canonical();
            // Writing to memory cannot fail.
            let _ = write!(out, "{peer}");
        } else {
            let _ = write!(out, "{ip}");
        }
        let _ = write!(out, "\r\nx-real-ip: {ip}\r\nx-forwarded-proto: ");
        out.put_slice(self.client.scheme.as_str().as_bytes());
        out.put_slice(b"\r\nx-forwarded-host: ");
        out.put_slice(self.forwarded_host());
        out.put_slice(b"\r\nx-request-id: ");
        out.put_slice(self.request_id.as_bytes());
        out.put_slice(b"\r\n");
        if let Some(traceparent) = self.traceparent {
            put(out, b"traceparent", traceparent.as_bytes());
        }
    }

    fn put_framing(&self, out: &mut BytesMut) {
        match self.length {
            Length::None => {}
            Length::Known(length) => {
                put(
                    out,
                    b"content-length",
                    itoa::Buffer::new().format(length).as_bytes(),
                );
            }
            Length::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
        }
        let Some(upgrade) = self.upgrade else {
            return;
        };
        out.put_slice(b"connection: upgrade\r\n");
        put(out, b"upgrade", upgrade.protocol);
        if let Some(key) = upgrade.key {
            put(out, b"sec-websocket-key", key.as_bytes());
        }
    }

    /// The host that the client asked for, as the first proxy before us saw it.
    fn forwarded_host(&self) -> &[u8] {
        let given = self.headers.get(X_FORWARDED_HOST).filter(|_| self.trusted);
        let given = given.or_else(|| self.headers.get(header::HOST));
        given.map_or(self.host, HeaderValue::as_bytes)
    }

    /// Written anew, or not passed on at all.
    fn is_replaced(&self, name: &HeaderName) -> bool {
        is_hop_by_hop(name)
            || *name == header::HOST
            || *name == header::CONTENT_LENGTH
            || *name == header::EXPECT
            || *name == X_FORWARDED_FOR
            || *name == X_FORWARDED_PROTO
            || *name == X_FORWARDED_HOST
            || *name == X_REAL_IP
            || *name == X_REQUEST_ID
            || *name == TRACEPARENT
            || (*name == TRACESTATE && !self.trace_continues)
            || (*name == header::FORWARDED && !self.trusted)
    }

    /// For HTTP/2: the client's headers changed in place.
    pub fn amend(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        let named = Named::of(self.headers);
        for name in self.headers.keys() {
            if self.is_replaced(name) || named.has(name) {
                headers.remove(name);
            }
        }
        let trailers = self.headers.get(header::TE);
        if trailers.is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers")) {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        let mut block = BytesMut::with_capacity(512);
        self.put_forwarded(&mut block);
        for line in <[u8]>::split(&block, |&b| b == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(colon) = memchr::memmem::find(line, b": ") else {
                continue;
            };
            let name = HeaderName::from_bytes(&line[..colon]);
            let value = HeaderValue::from_bytes(&line[colon + 2..]);
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.insert(name, value);
            }
        }
        if let Length::Known(length) = self.length {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        headers
    }
}

fn put(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// The client's address without the IPv6 mapping of a dual-stack socket.
struct Ip<'c>(&'c Client);

impl std::fmt::Display for Ip<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.ip.to_canonical())
    }
}

/// RFC 9110 section 7.6.1, and those that older software sends.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::TRANSFER_ENCODING
        || *name == header::UPGRADE
        || *name == header::TE
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
}

/// The headers that `Connection` names: they end at the proxy too (RFC 9110 section 7.6.1).
pub struct Named<'h>(Option<&'h HeaderMap>);

impl<'h> Named<'h> {
    pub fn of(headers: &'h HeaderMap) -> Self {
        Self(headers.contains_key(header::CONNECTION).then_some(headers))
    }

    fn has(&self, name: &HeaderName) -> bool {
        let Some(headers) = self.0 else {
            return false;
        };
        // What a proxy relies on cannot be taken away by naming it.
        if *name == header::HOST || *name == header::CONTENT_LENGTH || *name == header::COOKIE {
            return false;
        }
        headers.get_all(header::CONNECTION).iter().any(|value| {
            let words = value.as_bytes().split(|&b| b == b',');
            words
                .map(<[u8]>::trim_ascii)
                .any(|word| word.eq_ignore_ascii_case(name.as_str().as_bytes()))
        })
    }
}

/// Takes out of an answer what belongs to the upstream's connection.
pub fn clean_answer(headers: &mut HeaderMap, version: Version) {
    if headers.contains_key(header::CONNECTION) {
        let named = Named::of(headers);
        let gone: Vec<HeaderName> = headers.keys().filter(|n| named.has(n)).cloned().collect();
        for name in gone {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    if version <= Version::HTTP_11 {
        headers.remove(KEEP_ALIVE);
        headers.remove(header::TRANSFER_ENCODING);
        headers.remove(header::UPGRADE);
        headers.remove(PROXY_CONNECTION);
    }
}
