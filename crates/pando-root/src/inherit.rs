//! Fds that come by number: from the environment, from an argument, from the state of a root
//! before its re-exec.

#![expect(unsafe_code, reason = "an fd number from outside becomes an owned fd")]

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// Takes an inherited fd and marks it close-on-exec. Each number once: the caller answers for
/// it that nothing else in this process owns that number.
///
/// # Errors
/// The number is that of no open fd.
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    check(number)?;
    // SAFETY: the number is open (just checked) and, by this function's contract, owned by no one.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
    Ok(fd)
}

/// Whether the number is that of an open fd.
///
/// # Errors
/// `EBADF` if not.
pub fn check(number: RawFd) -> io::Result<()> {
    if number < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: only asked for its flags, which fails cleanly if it is not open; -1 was excluded.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_getfd(fd)?;
    Ok(())
}

/// Lets an fd through the next exec, or not.
///
/// # Errors
/// Those of fcntl(2).
pub fn set_inherited(fd: BorrowedFd<'_>, inherited: bool) -> io::Result<()> {
    let flags = if inherited {
        FdFlags::empty()
    } else {
        FdFlags::CLOEXEC
    };
    Ok(fcntl_setfd(fd, flags)?)
}
