//! Private addresses of workers: opening, keeping copies at root, taking them up again.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use node_cluster::HandleKey;
use pando_root::proto::ToRoot;
use steer::Beside;

use super::Hub;
use super::listeners::{open_failure, private_name};
use crate::core::{Input, OpenFailure, PRIVATE_HOSTS_TRIED, PrivateSnapshot};

/// 127.64.0.0/10: beside what people use of 127.0.0.0/8.
const FIRST_HOST: u32 = 0x7f40_0000;
const HOSTS: u32 = 1 << 22;

impl Hub {
    pub(super) fn open_private(&mut self, app: String, key: HandleKey, seat: usize, port: u16) {
        let result = self.try_open_private(&app, &key, seat, port);
        self.inputs.push_back(Input::OpenedPrivate {
            app,
            key,
            seat,
            result,
        });
    }

    fn try_open_private(
        &mut self,
        app: &str,
        key: &HandleKey,
        seat: usize,
        port: u16,
    ) -> Result<SocketAddr, OpenFailure> {
        let home = self.options.home.display().to_string();
        let hosts = hosts(&format!("{home}\0{app}\0{key}\0{seat}"));
        let others = self.listeners.sockets(app, key);
        let others: Vec<_> = others.iter().map(AsFd::as_fd).collect();
        let door = Beside::open(hosts, port, &others).map_err(|error| open_failure(&error))?;
        let addr = door.local_addr();
        self.store_fd(private_name(app, key, seat), door.share().as_fd());
        self.watch_link();
        self.add_door(app, key, seat, door);
        Ok(addr)
    }

    pub(super) fn close_private(&mut self, app: &str, key: &HandleKey, seat: usize) {
        self.remove_door(app, key, seat);
        self.tell_root(&ToRoot::Drop {
            name: private_name(app, key, seat),
        });
    }

    /// Takes up those that root still has. What is lost is opened anew when it is missed.
    pub(super) fn adopt_private(
        &mut self,
        app: &str,
        kept: PrivateSnapshot,
        mut take: impl FnMut(&str) -> Option<OwnedFd>,
    ) -> PrivateSnapshot {
        let key = HandleKey(kept.key.clone());
        let mut seats = kept.seats;
        seats.retain(|(seat, _)| {
            let socket = take(&private_name(app, &key, *seat));
            match socket.map(Beside::adopt) {
                Some(Ok(door)) => {
                    self.add_door(app, &key, *seat, door);
                    true
                }
                Some(Err(error)) => {
                    tracing::error!(%error, app, seat, "a private address was lost");
                    false
                }
                None => false,
            }
        });
        PrivateSnapshot {
            key: kept.key,
            seats,
        }
    }
}

/// Where a seat may listen, the same at every start: the name decides.
fn hosts(name: &str) -> impl Iterator<Item = Ipv4Addr> + use<> {
    let first = crc32fast::hash(name.as_bytes());
    (0..PRIVATE_HOSTS_TRIED).map(move |n| {
        let offset = first.wrapping_add(n.wrapping_mul(0x9e37_79b9)) % HOSTS;
        Ipv4Addr::from_bits(FIRST_HOST + offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_stable_and_of_their_own_range() {
        let all: Vec<Ipv4Addr> = hosts("a").collect();
        assert_eq!(all, hosts("a").collect::<Vec<_>>());
        assert_ne!(all[0], hosts("b").next().unwrap());
        for host in all {
            let [first, second, ..] = host.octets();
            assert!(first == 127 && (64..128).contains(&second), "{host}");
        }
    }
}
