//! Where the control socket of a home directory is.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The socket's name in the home directory.
pub const SOCKET_NAME: &str = "pando.sock";

/// `sizeof(sun_path)` less its final zero byte (unix(7)), less room for the name that the socket
/// has while it is being made (see [`crate::server::bind`]).
const MAX_PATH_LEN: usize = 107 - ".new".len();

/// The control socket of `home` (`$PANDO_HOME`): `home/pando.sock`, or, where that is longer than
/// a socket's address may be, `/tmp/pando-<uid>/<hash of home>.sock`. Depends on nothing but
/// `home` and its owner, so that every shell, cron job and service finds the same one.
pub fn socket_path(home: &Path) -> PathBuf {
    let direct = home.join(SOCKET_NAME);
    if direct.as_os_str().len() <= MAX_PATH_LEN {
        return direct;
    }
    let uid = home
        .metadata()
        .map_or_else(|_| rustix::process::geteuid().as_raw(), |m| m.uid());
    short_path(home, uid)
}

fn short_path(home: &Path, uid: u32) -> PathBuf {
    let hash = fnv1a(home.as_os_str().as_bytes());
    PathBuf::from(format!("/tmp/pando-{uid}/{hash:016x}.sock"))
}

/// Makes the directory of a socket (0700) or refuses one that others could have prepared: in a
/// shared `/tmp` a directory of somebody else, or one that is open to others, is not ours.
///
/// # Errors
/// The directory cannot be made, or it is not a directory of this user with mode 0700 (only
/// ownership is asked of a directory that is not in `/tmp`).
pub(crate) fn prepare_parent(socket: &Path) -> io::Result<()> {
    let Some(parent) = socket.parent() else {
        return Ok(());
    };
    match std::fs::DirBuilder::new().mode(0o700).create(parent) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    if !parent.starts_with("/tmp") || socket.file_name().is_some_and(|n| n == SOCKET_NAME) {
        return Ok(());
    }
    let meta = parent.symlink_metadata()?;
    let ours = meta.uid() == rustix::process::geteuid().as_raw();
    if meta.is_dir() && ours && meta.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "{} is not a private directory of this user",
            parent.display()
        ),
    ))
}

/// FNV-1a, 64 bit (RFC 9923): stable over releases, which `std`'s hasher does not promise.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.iter().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_home_has_its_socket_inside() {
        assert_eq!(
            socket_path(Path::new("/home/a/.pando")),
            Path::new("/home/a/.pando/pando.sock")
        );
    }

    #[test]
    fn a_long_home_gets_a_short_path_that_is_its_own() {
        let a = socket_path(Path::new(&format!("/srv/{}", "a".repeat(120))));
        let again = socket_path(Path::new(&format!("/srv/{}", "a".repeat(120))));
        let b = socket_path(Path::new(&format!("/srv/{}", "b".repeat(120))));
        assert_eq!(a, again);
        assert_ne!(a, b);
        assert!(a.as_os_str().len() < 60, "{}", a.display());
        assert!(a.starts_with("/tmp"));
    }

    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
