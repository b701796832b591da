//! Whether a request that got no answer can have been read by the other side: asked of the
//! kernel (`TCP_INFO`, tcp(7)).

use std::os::fd::{AsRawFd, BorrowedFd};

/// The head of the kernel's `struct tcp_info` (include/uapi/linux/tcp.h), up to the fields read
/// here. The kernel fills as much as it is asked for.
#[repr(C)]
#[derive(Default)]
struct TcpInfo {
    bytes: [u8; 8],
    words: [u32; 24],
    pacing_rate: u64,
    max_pacing_rate: u64,
    bytes_acked: u64,
}

/// Bytes that the other side's kernel has acknowledged on this connection. What it never
/// acknowledged, no program there has read.
pub fn acknowledged(fd: BorrowedFd<'_>) -> Option<u64> {
    let mut info = TcpInfo::default();
    let wanted = std::mem::size_of::<TcpInfo>();
    let mut length = libc::socklen_t::try_from(wanted).ok()?;
    // SAFETY: `info` is plain data of `length` bytes that lives through the call, and getsockopt
    // writes at most that much into it.
    #[expect(unsafe_code, reason = "rustix has no TCP_INFO")]
    let done = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            std::ptr::from_mut(&mut info).cast(),
            &raw mut length,
        )
    };
    (done == 0 && length as usize == wanted).then_some(info.bytes_acked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn what_arrived_is_acknowledged_and_what_came_too_late_is_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let before = acknowledged(near.as_fd()).unwrap();
        near.write_all(b"hello").unwrap();
        far.read_exact(&mut [0; 5]).unwrap();
        let after = acknowledged(near.as_fd()).unwrap();
        assert_eq!(after - before, 5);
        drop(far);
        // The other side is gone: its kernel answers this with a reset, not with an ack.
        near.write_all(b"late").unwrap();
        let _ = near.read(&mut [0; 1]);
        assert_eq!(acknowledged(near.as_fd()).unwrap(), after);
    }
}
