//! Root's signals, read from an fd.

#![expect(
    unsafe_code,
    reason = "signalfd, the signal mask and dispositions have no safe form"
)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// Forwarded to the supervisor.
pub const FORWARDED: [i32; 6] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
];

const RECORD: usize = size_of::<libc::signalfd_siginfo>();
const MAX_RECORDS: usize = 16;

/// SIGCHLD and the forwarded signals, blocked for this process and readable here. The mask
/// survives an exec, so none is lost while root replaces itself.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Also ignores SIGPIPE.
    pub fn new() -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the set that the other calls then only read or extend;
        // the fd that signalfd returns is new and owned by nobody else.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in FORWARDED.into_iter().chain([libc::SIGCHLD]) {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            if libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self {
                fd: OwnedFd::from_raw_fd(fd),
            })
        }
    }

    /// What has come since the last call, SIGCHLD included.
    pub fn read(&self) -> Vec<i32> {
        let mut buffer = [0_u8; RECORD * MAX_RECORDS];
        let Ok(length) = rustix::io::read(&self.fd, &mut buffer[..]) else {
            return Vec::new();
        };
        let records = buffer
            .get(..length)
            .unwrap_or_default()
            .chunks_exact(RECORD);
        // `ssi_signo` is the record's first field, a u32; signalfd(2).
        records
            .filter_map(|record| record.first_chunk::<4>())
            .filter_map(|number| i32::try_from(u32::from_ne_bytes(*number)).ok())
            .collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
