//! Allow and deny by address.

use std::net::IpAddr;

use ipnet::IpNet;

/// The longest prefix that holds the address decides; of equal ones the denial. Where none does,
/// everybody may, unless there is a list of who is allowed.
#[derive(Debug)]
pub(super) struct Addresses {
    /// With whether it is allowed; longest prefixes first, and denials before allowances.
    rules: Vec<(IpNet, bool)>,
    otherwise: bool,
}

impl Addresses {
    pub(super) fn new(allow: &[IpNet], deny: &[IpNet]) -> Self {
        let allowed = allow.iter().map(|net| (*net, true));
        let mut rules: Vec<(IpNet, bool)> = deny
            .iter()
            .map(|net| (*net, false))
            .chain(allowed)
            .collect();
        // Stable, so denials stay first.
        rules.sort_by_key(|(net, _)| std::cmp::Reverse(net.prefix_len()));
        Self {
            rules,
            otherwise: allow.is_empty(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// An IPv4 address may be written as an IPv6 one (RFC 4291 section 2.5.5.2).
    pub(super) fn allows(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let rule = self.rules.iter().find(|(net, _)| net.contains(&ip));
        rule.map_or(self.otherwise, |(_, allowed)| *allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allow: &[&str], deny: &[&str], expected: &[(&str, bool)]) {
        let nets = |texts: &[&str]| -> Vec<IpNet> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let rules = Addresses::new(&nets(allow), &nets(deny));
        for (ip, allowed) in expected {
            assert_eq!(
                rules.allows(ip.parse().unwrap()),
                *allowed,
                "{allow:?} {deny:?} {ip}"
            );
        }
    }

    #[test]
    fn rules() {
        check(&[], &[], &[("192.0.2.1", true), ("::1", true)]);
        check(
            &["10.0.0.0/8"],
            &[],
            &[
                ("10.1.2.3", true),
                ("192.0.2.1", false),
                ("::1", false),
                ("::ffff:10.1.2.3", true),
            ],
        );
        check(
            &[],
            &["10.0.0.0/8"],
            &[("10.1.2.3", false), ("192.0.2.1", true)],
        );
        check(
            &["10.0.0.0/8"],
            &["10.9.0.0/16"],
            &[("10.9.1.1", false), ("10.8.1.1", true)],
        );
        check(
            &["10.9.0.0/16"],
            &["10.0.0.0/8"],
            &[
                ("10.9.1.1", true),
                ("10.8.1.1", false),
                ("192.0.2.1", false),
            ],
        );
        check(&["10.0.0.1/32"], &["10.0.0.1/32"], &[("10.0.0.1", false)]);
        check(
            &["2001:db8::/32"],
            &["2001:db8:1::/48"],
            &[("2001:db8::1", true), ("2001:db8:1::1", false)],
        );
        check(
            &["0.0.0.0/0"],
            &["::/0"],
            &[("192.0.2.1", true), ("2001:db8::1", false)],
        );
    }
}
