//! Listening on a unix path.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::OpenError;
use crate::holder;
use crate::listener::BACKLOG;
use crate::proc_net;

/// Binds and listens on a unix stream socket, non-blocking and close-on-exec. A path that begins
/// with a zero byte is a name of Linux's abstract namespace. The file is not removed when the
/// socket is closed.
///
/// A socket file that nobody listens on, as a killed process leaves it behind, is replaced. To
/// find out, one connection is made to it; a live listener sees it open and close.
///
/// # Errors
/// [`OpenError::PathInUse`] if somebody listens, [`OpenError::NotASocket`] if something else lies
/// there, [`OpenError::Io`] for the rest: no such directory, no permission, a path of more than
/// 107 bytes.
pub fn open_unix(path: &Path) -> Result<OwnedFd, OpenError> {
    let io_error = |errno: Errno| OpenError::Io {
        at: path.display().to_string(),
        source: errno.into(),
    };
    let addr = address(path).map_err(io_error)?;
    let socket = stream_socket().map_err(io_error)?;
    match net::bind(&socket, &addr) {
        Ok(()) => {}
        Err(Errno::ADDRINUSE) => replace(path, &addr, &socket)?,
        Err(errno) => return Err(io_error(errno)),
    }
    net::listen(&socket, BACKLOG).map_err(io_error)?;
    Ok(socket)
}

fn address(path: &Path) -> Result<SocketAddrUnix, Errno> {
    match path.as_os_str().as_bytes().strip_prefix(b"\0") {
        Some(name) => SocketAddrUnix::new_abstract_name(name),
        None => SocketAddrUnix::new(path),
    }
}

fn stream_socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Binds where something lies already, if that is a socket file without a listener.
fn replace(path: &Path, addr: &SocketAddrUnix, socket: &OwnedFd) -> Result<(), OpenError> {
    if addr.abstract_name().is_some() {
        return Err(in_use(path));
    }
    let io_error = |source: io::Error| OpenError::Io {
        at: path.display().to_string(),
        source,
    };
    // Two that find the same stale file must not remove each other's new one: whoever cannot
    // lock the directory is the later one. Where directories cannot be locked, there is luck.
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(parent.unwrap_or(Path::new("."))).map_err(io_error)?;
    if flock(&directory, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        return Err(in_use(path));
    }
    let file = fs::symlink_metadata(path).map_err(io_error)?;
    if !file.file_type().is_socket() {
        return Err(OpenError::NotASocket {
            path: path.to_owned(),
        });
    }
    // Anything but this refusal, such as a full queue or a lack of permission, may be a listener.
    let probe = stream_socket().map_err(|errno| io_error(errno.into()))?;
    if net::connect(&probe, addr) != Err(Errno::CONNREFUSED) {
        return Err(in_use(path));
    }
    fs::remove_file(path).map_err(io_error)?;
    match net::bind(socket, addr) {
        Ok(()) => Ok(()),
        Err(Errno::ADDRINUSE) => Err(in_use(path)),
        Err(errno) => Err(io_error(errno.into())),
    }
}

fn in_use(path: &Path) -> OpenError {
    let bytes = path.as_os_str().as_bytes();
    // As /proc/net/unix and everybody else writes abstract names.
    let name = match bytes.strip_prefix(b"\0") {
        Some(name) => OsString::from_vec([b"@", name].concat()),
        None => path.as_os_str().to_owned(),
    };
    let holder = proc_net::unix_inodes(&name)
        .into_iter()
        .find_map(holder::holder_of);
    OpenError::PathInUse {
        path: name.into(),
        holder,
    }
}
