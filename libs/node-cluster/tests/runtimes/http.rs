//! A client that asks one thing on one connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A request that was sent, its answer not read.
pub struct Request<S>(S);

impl<S: Read + Write> Request<S> {
    /// Asks for `/` on a connection that is to be closed after it.
    pub fn send(mut stream: S) -> Self {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            .unwrap();
        Self(stream)
    }

    /// The body, by reading to the end.
    pub fn body(mut self) -> String {
        let mut text = String::new();
        self.0.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        text.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

pub fn client(address: SocketAddr) -> Request<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    Request::send(stream)
}

/// Request and answer, where the worker accepts by itself.
pub fn get(address: SocketAddr) -> String {
    client(address).body()
}
