//! The two socket options that no safe wrapper has: attaching the steering program, and reading
//! the accept queue's length. All unsafe code of this crate is here.
#![expect(
    unsafe_code,
    reason = "getsockopt and setsockopt with structs that rustix does not know"
)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::bpf::Insn;

/// asm-generic/socket.h; the libc crate has it for Android only.
const SO_ATTACH_REUSEPORT_CBPF: libc::c_int = 51;

/// The kernel's `struct sock_fprog` (linux/filter.h).
#[repr(C)]
struct Program {
    len: u16,
    insns: *const Insn,
}

/// Makes `program` the steering program of the socket's reuseport group, in place of the one
/// before. The switch is atomic: every SYN sees the old program or the new one.
///
/// # Errors
/// EINVAL for a program that the kernel's checker refuses or a socket without a group, ENOMEM
/// for one larger than `net.core.optmem_max`.
pub(crate) fn attach_reuseport_program(fd: BorrowedFd<'_>, program: &[Insn]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = Program {
        len,
        insns: program.as_ptr(),
    };
    // SAFETY: `Program` has the layout of `struct sock_fprog` and `Insn` that of
    // `struct sock_filter`; `insns` points to `len` of them, borrowed for the whole call; the
    // kernel only reads and keeps no pointer.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of::<Program>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `tcpi_unacked` of TCP_INFO, which for a listening socket is the number of connections in its
/// accept queue (tcp_get_info in the kernel's net/ipv4/tcp.c).
pub(crate) fn accept_queue_len(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` has room for `len` bytes, and the kernel writes at most that many.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `tcp_info` consists of integers only, for which the zeroes beneath what the kernel
    // wrote are valid.
    Ok(unsafe { info.assume_init() }.tcpi_unacked)
}
