//! The protocol library's plain data as a next supervisor reads it: wire types, converted by hand.

use node_cluster::{HandleKey, ListenAddress, Snapshot, SnapshotKey};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    Tcp {
        host: Option<String>,
        port: u16,
        ipv6_only: bool,
    },
    Unix {
        path: String,
    },
    Fd {
        fd: i32,
    },
    Udp {
        host: Option<String>,
        port: u16,
        ipv6: bool,
    },
}

impl Address {
    pub fn of(address: &ListenAddress) -> Self {
        match address.clone() {
            ListenAddress::Tcp {
                host,
                port,
                ipv6_only,
            } => Self::Tcp {
                host,
                port,
                ipv6_only,
            },
            ListenAddress::Unix { path } => Self::Unix { path },
            ListenAddress::Fd(fd) => Self::Fd { fd },
            ListenAddress::Udp { host, port, ipv6 } => Self::Udp { host, port, ipv6 },
        }
    }

    pub fn listen_address(&self) -> ListenAddress {
        match self.clone() {
            Self::Tcp {
                host,
                port,
                ipv6_only,
            } => ListenAddress::Tcp {
                host,
                port,
                ipv6_only,
            },
            Self::Unix { path } => ListenAddress::Unix { path },
            Self::Fd { fd } => ListenAddress::Fd(fd),
            Self::Udp { host, port, ipv6 } => ListenAddress::Udp { host, port, ipv6 },
        }
    }
}

/// What the protocol knows of one worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    online: bool,
    listened: bool,
    disconnecting: bool,
    bun: bool,
    keys: Vec<Key>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Key {
    key: String,
    address: Address,
    port: Option<u16>,
    listening: bool,
    data: Option<String>,
}

impl Protocol {
    pub fn of(snapshot: Snapshot) -> Self {
        let keys = snapshot.keys.into_iter().map(|k| Key {
            key: k.key.0,
            address: Address::of(&k.address),
            port: k.port,
            listening: k.listening,
            data: k.data,
        });
        Self {
            online: snapshot.online,
            listened: snapshot.listened,
            disconnecting: snapshot.disconnecting,
            bun: snapshot.bun,
            keys: keys.collect(),
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        let keys = self.keys.iter().map(|k| SnapshotKey {
            key: HandleKey(k.key.clone()),
            address: k.address.listen_address(),
            port: k.port,
            listening: k.listening,
            data: k.data.clone(),
        });
        Snapshot {
            online: self.online,
            listened: self.listened,
            disconnecting: self.disconnecting,
            bun: self.bun,
            keys: keys.collect(),
        }
    }
}
