//! From the addresses of a file to endpoints; names are looked up again and again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gateway_spec::{Target, Upstream};

use super::endpoint::{Address, Known};
use super::group::Group;

/// Addresses of one name that are used.
const MAX_ADDRESSES: usize = 256;
/// After a look-up that failed, at most.
const RETRY: Duration = Duration::from_secs(2);
const LOOKUP: Duration = Duration::from_secs(5);

/// Whether a group's addresses have names that must be looked up.
pub fn has_names(group: &Group) -> bool {
    upstreams(group).iter().any(|u| fixed(u).is_none())
}

/// Sets those endpoints that need no look-up, at once.
pub fn set_fixed(group: &Group) {
    if let Target::Addresses(list) = &group.spec.target {
        group.set(list.iter().filter_map(fixed).collect());
    }
}

/// Looks names up for the life of the group.
pub async fn run(group: Arc<Group>) {
    let mut last: Vec<Vec<SocketAddr>> = vec![Vec::new(); upstreams(&group).len()];
    loop {
        let mut failed = false;
        for (upstream, last) in upstreams(&group).iter().zip(&mut last) {
            if fixed(upstream).is_some() {
                continue;
            }
            match look_up(&upstream.address).await {
                Ok(found) => *last = found,
                Err(error) => {
                    failed = true;
                    // What was known goes on: a name server's failure is not the upstream's.
                    tracing::warn!(
                        upstream = upstream.address, %error, known = last.len(),
                        "a name does not resolve; it is tried again"
                    );
                }
            }
        }
        let known = upstreams(&group).iter().zip(&last);
        group.set(
            known
                .flat_map(|(upstream, addresses)| known_as(upstream, addresses))
                .collect(),
        );
        let pause = Duration::from_millis(group.spec.resolve_ms.max(100));
        tokio::time::sleep(if failed { pause.min(RETRY) } else { pause }).await;
    }
}

async fn look_up(address: &str) -> std::io::Result<Vec<SocketAddr>> {
    let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host(address));
    let found = found
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    let mut all: Vec<SocketAddr> = found.take(MAX_ADDRESSES).collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn upstreams(group: &Group) -> &[Upstream] {
    match &group.spec.target {
        Target::App(_) => &[],
        Target::Addresses(list) => list,
    }
}

/// An address that is one already.
fn fixed(upstream: &Upstream) -> Option<Known> {
    let address = match upstream.address.strip_prefix("unix:") {
        Some(path) => Address::Unix(path.into()),
        None => Address::Tcp(upstream.address.parse().ok()?),
    };
    Some(known(upstream, address, host_of(&upstream.address)))
}

fn known_as<'u>(
    upstream: &'u Upstream,
    addresses: &'u [SocketAddr],
) -> impl Iterator<Item = Known> + 'u {
    let host = host_of(&upstream.address);
    let of_file = fixed(upstream);
    let resolved = addresses
        .iter()
        .map(move |address| known(upstream, Address::Tcp(*address), host));
    of_file.into_iter().chain(resolved)
}

fn known(upstream: &Upstream, address: Address, host: &str) -> Known {
    let label = match &address {
        Address::Tcp(at) if *at.to_string() != *upstream.address => {
            format!("{} ({at})", upstream.address)
        }
        Address::Tcp(_) | Address::Unix(_) => upstream.address.clone(),
    };
    Known {
        address,
        label: label.into(),
        worker: None,
        instance: None,
        host: host.into(),
        protocol: upstream.protocol,
        weight: upstream.weight,
        backup: upstream.backup,
    }
}

/// Without the port, and without the brackets of an IPv6 address.
fn host_of(address: &str) -> &str {
    if address.starts_with("unix:") {
        return "localhost";
    }
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_endpoints_and_names_are_not_yet() {
        for (text, fixed_as, host) in [
            ("127.0.0.1:80", true, "127.0.0.1"),
            ("[::1]:80", true, "::1"),
            ("unix:/run/x.sock", true, "localhost"),
            ("app.internal:80", false, "app.internal"),
        ] {
            let upstream = Upstream::new(text);
            assert_eq!(fixed(&upstream).is_some(), fixed_as, "{text}");
            assert_eq!(host_of(text), host, "{text}");
        }
    }
}
