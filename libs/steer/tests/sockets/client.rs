//! The other end: connects, says who it is, and wants its word back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt;

/// For anything that should be there at once.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A client's name for itself; the server echoes it.
pub type Id = [u8; 4];

pub struct Client {
    pub id: u32,
    stream: TcpStream,
}

impl Client {
    /// Connects and sends its id.
    pub fn connect(addr: SocketAddr, id: u32) -> Client {
        let mut client = Client {
            id,
            stream: connect(addr),
        };
        client.say();
        client
    }

    pub fn say(&mut self) {
        self.stream.write_all(&self.id.to_be_bytes()).unwrap();
    }

    /// Waits for the echo.
    pub fn hear(mut self) {
        let mut echo = Id::default();
        self.stream
            .read_exact(&mut echo)
            .unwrap_or_else(|e| panic!("client {}: {e}", self.id));
        assert_eq!(u32::from_be_bytes(echo), self.id);
    }
}

pub fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    // Ends in a reset, so that thousands of clients do not use up the ports by TIME_WAIT.
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    stream
}

/// The server's side of one connection: reads the client's id and echoes it.
pub fn serve(connection: OwnedFd) -> u32 {
    let mut stream = TcpStream::from(connection);
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut id = Id::default();
    stream.read_exact(&mut id).unwrap();
    stream.write_all(&id).unwrap();
    u32::from_be_bytes(id)
}

/// Polls until there is an answer; a test that waits longer has failed.
pub fn eventually<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = poll() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}
