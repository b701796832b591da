//! What a worker wants to listen on, and the key under which both sides know it.

use std::fmt;

/// What a worker's `listen()` asked for, as its `queryServer` message says it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenAddress {
    /// `addressType` 4 or 6.
    Tcp {
        /// An IP address; the worker has resolved names. `None` is `::` dual stack, or `0.0.0.0`
        /// where there is no IPv6.
        host: Option<String>,
        /// 0 asks for any free port.
        port: u16,
        /// `UV_TCP_IPV6ONLY` was set.
        ipv6_only: bool,
    },
    /// Port -1: a unix socket.
    Unix {
        /// Absolute.
        path: String,
    },
    /// `listen({ fd })`: a descriptor number of the primary's, as under socket activation.
    Fd(i32),
    /// `addressType` `udp4` or `udp6`. Told, never asked: the core refuses it.
    Udp {
        /// `None` is the wildcard address.
        host: Option<String>,
        /// 0 asks for any free port.
        port: u16,
        /// `udp6`.
        ipv6: bool,
    },
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp {
                host: None, port, ..
            } => write!(f, "*:{port}"),
            Self::Tcp {
                host: Some(host),
                port,
                ..
            } => write_host_port(f, host, *port),
            Self::Unix { path } => f.write_str(path),
            Self::Fd(fd) => write!(f, "fd {fd}"),
            Self::Udp {
                host: None, port, ..
            } => write!(f, "udp *:{port}"),
            Self::Udp {
                host: Some(host),
                port,
                ..
            } => {
                f.write_str("udp ")?;
                write_host_port(f, host, *port)
            }
        }
    }
}

fn write_host_port(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    if host.contains(':') {
        write!(f, "[{host}]:{port}")
    } else {
        write!(f, "{host}:{port}")
    }
}

/// What one `listen()` is called by both sides: `address:port:addressType:fd`, and the worker's
/// index behind it when the port is 0, as Node >= 22 makes it (`internal/cluster/primary`,
/// `queryServer`). Node 18 and 20 add the index always; to a worker the key is only a name, so
/// one form serves them all. Absent fields read `undefined` and null ones `null`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandleKey(pub String);

impl HandleKey {
    /// The key as the protocol writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HandleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_a_person_writes_it() {
        let tcp = |host: Option<&str>| ListenAddress::Tcp {
            host: host.map(str::to_owned),
            port: 80,
            ipv6_only: false,
        };
        for (address, expect) in [
            (tcp(None), "*:80"),
            (tcp(Some("127.0.0.1")), "127.0.0.1:80"),
            (tcp(Some("::1")), "[::1]:80"),
            (
                ListenAddress::Unix {
                    path: "/run/a.sock".into(),
                },
                "/run/a.sock",
            ),
            (ListenAddress::Fd(3), "fd 3"),
            (
                ListenAddress::Udp {
                    host: None,
                    port: 53,
                    ipv6: true,
                },
                "udp *:53",
            ),
            (
                ListenAddress::Udp {
                    host: Some("::".into()),
                    port: 53,
                    ipv6: true,
                },
                "udp [::]:53",
            ),
        ] {
            assert_eq!(address.to_string(), expect);
        }
    }
}
