//! fork and exec. Everything that allocates happens before the fork; between fork and exec the
//! child makes only system calls (signal-safety(7)) and reports the first that fails through a
//! pipe that a working exec closes.

#![expect(unsafe_code, reason = "fork, exec and what a child does between them")]

use std::ffi::{CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::null;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::proto::{MAX_TARGET_FD, User};

/// What to execute.
#[derive(Debug)]
pub enum Program<'a> {
    Path(CString),
    /// The open file itself (O_PATH), whatever its path is now. Not for scripts.
    File(BorrowedFd<'a>),
}

/// A process to be, complete.
#[derive(Debug)]
pub struct Command<'a> {
    pub program: Program<'a>,
    /// argv[0] included.
    pub args: Vec<CString>,
    pub env: Vec<CString>,
    pub cwd: Option<CString>,
    /// Which fd becomes which number. 0, 1 and 2 are /dev/null if they are not among them.
    pub fds: Vec<(BorrowedFd<'a>, RawFd)>,
    pub user: Option<User>,
    /// SIGKILL when root dies.
    pub dies_with_root: bool,
    /// Soft and hard RLIMIT_NOFILE.
    pub nofile: libc::rlimit,
}

/// A process that was forked; `report` tells what became of it, see [`read_report`].
#[derive(Debug)]
pub struct Started {
    pub pid: i32,
    pub report: OwnedFd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{stage}: {}", io::Error::from_raw_os_error(*errno))]
pub struct SpawnError {
    pub stage: &'static str,
    pub errno: i32,
}

/// What a spawn's report says.
#[derive(Debug)]
pub enum Report {
    Pending,
    /// Exec worked.
    Running,
    Failed(SpawnError),
}

/// In the order of the child's steps; a report carries the index.
const STAGES: [&str; 10] = [
    "setsid",
    "fds",
    "nofile",
    "setgroups",
    "setgid",
    "setuid",
    "pdeathsig",
    "chdir",
    "exec",
    "unknown",
];
const SETSID: u8 = 0;
const FDS: u8 = 1;
const NOFILE: u8 = 2;
const SETGROUPS: u8 = 3;
const SETGID: u8 = 4;
const SETUID: u8 = 5;
const PDEATHSIG: u8 = 6;
const CHDIR: u8 = 7;
const EXEC: u8 = 8;

const FAILED: i32 = 127;
const FIRST_FREE: RawFd = MAX_TARGET_FD + 1;
const LAST_SIGNAL: i32 = 64;
/// Of the kernel's sigset_t.
const SIGSET_BYTES: usize = 8;

/// Forks and returns at once; the exec is still to come.
///
/// # Errors
/// The pipe or the fork failed, or a target fd is out of range.
pub fn spawn(command: &Command<'_>) -> Result<Started, SpawnError> {
    if command
        .fds
        .iter()
        .any(|(_, target)| !(0..=MAX_TARGET_FD).contains(target))
    {
        return Err(SpawnError {
            stage: "fds",
            errno: libc::EBADF,
        });
    }
    let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
    let (report, report_in) = pipe_with(flags).map_err(|error| SpawnError {
        stage: "pipe",
        errno: error.raw_os_error(),
    })?;
    let (args, env) = (pointers(&command.args), pointers(&command.env));
    let mut plan = Plan {
        command,
        args: &args,
        env: &env,
        root: rustix::process::getpid().as_raw_nonzero().get(),
        report: report_in.as_raw_fd(),
        file: None,
        moved: vec![-1; command.fds.len()],
    };
    // SAFETY: root has one thread, so the child may use everything it had; it never returns.
    match unsafe { libc::fork() } {
        -1 => Err(SpawnError {
            stage: "fork",
            errno: last_errno(),
        }),
        0 => {
            // SAFETY: this is the child of a process with one thread.
            let (stage, errno) = unsafe { plan.run() };
            plan.fail(stage, errno)
        }
        pid => Ok(Started { pid, report }),
    }
}

/// What became of a spawn, without waiting.
pub fn read_report(report: &OwnedFd) -> Report {
    let mut record = [0_u8; 8];
    match rustix::io::read(report, &mut record[..]) {
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Report::Pending,
        Ok(8) => {
            let [stage, _, _, _, errno @ ..] = record;
            let stage = STAGES.get(usize::from(stage)).copied().unwrap_or("unknown");
            Report::Failed(SpawnError {
                stage,
                errno: i32::from_ne_bytes(errno),
            })
        }
        Ok(_) | Err(_) => Report::Running,
    }
}

/// Replaces this process. Returns only if that failed.
pub fn exec(program: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> io::Error {
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both arrays end with a null and point into strings that outlive the call.
    unsafe { exec_file(program.as_raw_fd(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// # Safety
/// `args` and `env` are null-terminated arrays of C strings.
unsafe fn exec_file(file: RawFd, args: *const *const c_char, env: *const *const c_char) {
    // SAFETY: as this function's own contract; the path is an empty C string.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file,
            c"".as_ptr(),
            args,
            env,
            libc::AT_EMPTY_PATH,
        );
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([null()]).collect()
}

fn last_errno() -> i32 {
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

fn check(stage: u8, result: i32) -> Result<i32, (u8, i32)> {
    if result < 0 {
        Err((stage, last_errno()))
    } else {
        Ok(result)
    }
}

/// All that the child needs, laid out before the fork.
struct Plan<'a> {
    command: &'a Command<'a>,
    args: &'a [*const c_char],
    env: &'a [*const c_char],
    root: i32,
    report: RawFd,
    /// The program's file, where it is while the targets are filled.
    file: Option<RawFd>,
    /// Room for where the fds are while the targets are filled.
    moved: Vec<RawFd>,
}

impl Plan<'_> {
    /// Returns the step that failed and its errno, if exec was not reached or failed.
    ///
    /// # Safety
    /// Only in a child just forked from a process with one thread. Allocates nothing.
    unsafe fn run(&mut self) -> (u8, i32) {
        // SAFETY: as this function's own contract.
        unsafe {
            reset_signals();
            if let Err(failed) = self.prepare() {
                return failed;
            }
            match &self.command.program {
                Program::Path(path) => {
                    libc::execve(path.as_ptr(), self.args.as_ptr(), self.env.as_ptr());
                }
                Program::File(_) => {
                    let file = self.file.unwrap_or(-1);
                    exec_file(file, self.args.as_ptr(), self.env.as_ptr());
                }
            }
        }
        (EXEC, last_errno())
    }

    /// # Safety
    /// As [`Plan::run`].
    unsafe fn prepare(&mut self) -> Result<(), (u8, i32)> {
        // SAFETY: system calls on this process alone, with pointers into `command`.
        unsafe {
            check(SETSID, libc::setsid())?;
            self.place_fds()?;
            check(
                NOFILE,
                libc::setrlimit(libc::RLIMIT_NOFILE, &raw const self.command.nofile),
            )?;
            if let Some(user) = &self.command.user {
                check(
                    SETGROUPS,
                    libc::setgroups(user.groups.len(), user.groups.as_ptr()),
                )?;
                check(SETGID, libc::setresgid(user.gid, user.gid, user.gid))?;
                check(SETUID, libc::setresuid(user.uid, user.uid, user.uid))?;
            }
            // After the change of user, which clears it; PR_SET_PDEATHSIG(2const).
            if self.command.dies_with_root {
                check(
                    PDEATHSIG,
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL),
                )?;
                if libc::getppid() != self.root {
                    return Err((PDEATHSIG, libc::ESRCH));
                }
            }
            if let Some(cwd) = &self.command.cwd {
                check(CHDIR, libc::chdir(cwd.as_ptr()))?;
            }
        }
        Ok(())
    }

    /// Moves everything above the targets first, so that no target overwrites a source.
    ///
    /// # Safety
    /// As [`Plan::run`].
    unsafe fn place_fds(&mut self) -> Result<(), (u8, i32)> {
        // SAFETY: the fds are open in this process; those replaced belong to no one in the child.
        unsafe {
            let up = |fd: RawFd| check(FDS, libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, FIRST_FREE));
            self.report = up(self.report)?;
            if let Program::File(file) = &self.command.program {
                self.file = Some(up(file.as_raw_fd())?);
            }
            for ((source, _), moved) in self.command.fds.iter().zip(&mut self.moved) {
                *moved = up(source.as_raw_fd())?;
            }
            // Second line: everything that root holds is close-on-exec by itself.
            libc::close_range(
                3,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC as libc::c_int,
            );
            let named = |fd| self.command.fds.iter().any(|(_, target)| *target == fd);
            if !(named(0) && named(1) && named(2)) {
                let open = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
                let null = up(check(FDS, open)?)?;
                for fd in 0..3 {
                    check(FDS, libc::dup2(null, fd))?;
                }
            }
            for ((_, target), moved) in self.command.fds.iter().zip(&self.moved) {
                check(FDS, libc::dup2(*moved, *target))?;
            }
        }
        Ok(())
    }

    fn fail(&self, stage: u8, errno: i32) -> ! {
        let mut record = [0_u8; 8];
        let [first, _, _, _, rest @ ..] = &mut record;
        *first = stage;
        *rest = errno.to_ne_bytes();
        // SAFETY: `record` is readable for its length; _exit runs nothing of root's.
        unsafe {
            libc::write(self.report, record.as_ptr().cast(), record.len());
            libc::_exit(FAILED)
        }
    }
}

/// Every disposition to default, nothing blocked.
///
/// # Safety
/// Only in a child just forked.
unsafe fn reset_signals() {
    // SAFETY: the kernel's sigaction is shorter than the zeros it is given, which say SIG_DFL and
    // no flags; signals that cannot be changed fail, which is fine; the empty set is initialised
    // before use.
    unsafe {
        // Not through libc, which keeps two signals for itself and leaves them as they were.
        let default = [0_u64; 8];
        for signal in 1..=LAST_SIGNAL {
            let old = std::ptr::null_mut::<u64>();
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                old,
                SIGSET_BYTES,
            );
        }
        let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}
