//! Which processes listen on TCP ports, from /proc (proc(5)); for `pando init`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use pando_config::Listening;

/// The state LISTEN in /proc/net/tcp (the kernel's include/net/tcp_states.h).
const LISTEN: &str = "0A";
const MAX_PROCESSES: usize = 32_768;
const MAX_FDS: usize = 4_096;

/// Processes of this user that work in `dir` or below and listen. What cannot be read is left out.
pub fn in_dir(dir: &Path) -> Vec<Listening> {
    let mut ports = HashMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        ports.extend(parse_table(&fs::read_to_string(table).unwrap_or_default()));
    }
    if ports.is_empty() {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    let mut found: Vec<Listening> = pids
        .take(MAX_PROCESSES)
        .flat_map(|pid| of_process(pid, dir, &ports))
        .collect();
    found.sort_by_key(|l| (l.port, l.pid));
    found
}

fn of_process(pid: u32, dir: &Path, ports: &HashMap<u64, u16>) -> Vec<Listening> {
    let proc = Path::new("/proc").join(pid.to_string());
    if !fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir)) {
        return Vec::new();
    }
    let Ok(fds) = fs::read_dir(proc.join("fd")) else {
        return Vec::new();
    };
    let sockets = fds.take(MAX_FDS).filter_map(|fd| {
        let link = fs::read_link(fd.ok()?.path()).ok()?;
        let inode = link
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?
            .parse()
            .ok()?;
        ports.get(&inode).copied()
    });
    let mut own: Vec<u16> = sockets.collect();
    own.sort_unstable();
    own.dedup();
    let command = fs::read(proc.join("cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command)
        .replace('\0', " ")
        .trim()
        .to_owned();
    own.into_iter()
        .map(|port| Listening {
            pid,
            port,
            command: command.clone(),
        })
        .collect()
}

/// Inode to port of the sockets that listen.
fn parse_table(text: &str) -> HashMap<u64, u16> {
    let socket = |line: &str| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (state == LISTEN).then_some((inode, port))
    };
    text.lines().skip(1).filter_map(socket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                    uid  timeout inode\n   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 \
                    00:00000000 00000000  1000        0 4711 1 0000 100 0 0 10 0\n   \
                    1: 0100007F:0BB9 0100007F:0001 01 00000000:00000000 00:00000000 00000000  \
                    1000        0 4712 1 0000 100 0 0 10 0\n  garbage\n";
        assert_eq!(parse_table(text), HashMap::from([(4711, 3000)]));
    }

    #[test]
    fn a_listener_of_this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let here = std::env::current_dir().unwrap();
        let found = in_dir(&here);
        let pid = std::process::id();
        assert!(
            found.iter().any(|l| l.port == port && l.pid == pid),
            "{found:?}"
        );
        assert!(in_dir(Path::new("/nowhere")).is_empty());
    }
}
