//! What of a site's hosts an authority can be asked for.

use std::net::IpAddr;

use crate::problem::Problem;

/// Names in one certificate; the best known authority takes no more.
const MAX_NAMES: usize = 100;

/// The names to order for a site with these hosts, and what cannot be had.
pub(super) fn names(hosts: &[String]) -> (Vec<String>, Option<Problem>) {
    let hosts_bare = hosts.iter().map(|host| bare(host));
    let (wild, names): (Vec<String>, Vec<String>) = hosts_bare.partition(|host| host.contains('*'));
    let place = format!("site {}", hosts.first().map_or("?", String::as_str));
    if let Some(host) = wild.first() {
        let what = format!("no certificate for {host} from an authority");
        let why =
            "a wildcard is certified only by an entry in DNS (DNS-01), which Pando does not make";
        let fix = "name each host that is served, or give the site `cert` and `key` files";
        return (names, Some(Problem::new(place, what, why, fix)));
    }
    if names.len() > MAX_NAMES {
        let what = "no certificate from an authority";
        let why = format!(
            "the site has {} hosts, and a certificate {MAX_NAMES}",
            names.len()
        );
        let fix = "split it into several sites";
        return (Vec::new(), Some(Problem::new(place, what, why, fix)));
    }
    (names, None)
}

pub(super) fn identifier(name: &str) -> instant_acme::Identifier {
    match name.parse::<IpAddr>() {
        Ok(ip) => instant_acme::Identifier::Ip(ip),
        Err(_) => instant_acme::Identifier::Dns(name.to_owned()),
    }
}

pub(super) fn is_ip(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok()
}

/// Without the brackets of an IPv6 address.
fn bare(host: &str) -> String {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(host).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hosts: &[&str], expect: &[&str], problem: bool) {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.into()).collect();
        let (got, told) = names(&hosts);
        assert_eq!(got, expect);
        assert_eq!(told.is_some(), problem, "{told:?}");
    }

    #[test]
    fn wildcards_are_told_and_the_rest_is_ordered() {
        check(
            &["a.example", "b.example"],
            &["a.example", "b.example"],
            false,
        );
        check(&["a.example", "*.a.example"], &["a.example"], true);
        check(&["*"], &[], true);
        check(&["[::1]", "192.0.2.1"], &["::1", "192.0.2.1"], false);
        assert!(is_ip("::1") && !is_ip("a.example"));
    }
}
