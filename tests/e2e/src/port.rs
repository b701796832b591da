//! Free ports. A port is free when it was so a moment ago on every address: tests take each from
//! one process-wide counter over a range below the ephemeral one, so that neither the kernel nor
//! a sister test hands it out in between.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::Mutex;

const FIRST: u16 = 10_000;
const LAST: u16 = 31_000;

static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// A port that nothing listens on.
///
/// # Errors
/// When the whole range is in use.
pub fn free() -> io::Result<u16> {
    free_run(1)
}

/// The first of so many ports in a row that nothing listens on and no sister test is given.
///
/// # Errors
/// When there are none.
pub fn free_run(count: u16) -> io::Result<u16> {
    let mut next = NEXT
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut candidate = next.map_or_else(start_of_process, Ok)?;
    for _ in FIRST..LAST {
        if candidate > LAST - count {
            candidate = FIRST;
        }
        let run = candidate..candidate + count;
        if run.clone().all(is_free) {
            *next = Some(run.end);
            return Ok(run.start);
        }
        candidate += 1;
    }
    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        "no free port from 10000 to 31000",
    ))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
        && TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok()
}

/// Each process starts elsewhere in the range.
fn start_of_process() -> io::Result<u16> {
    use io::Read;
    let mut random = [0; 2];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(FIRST + u16::from_ne_bytes(random) % (LAST - FIRST))
}
