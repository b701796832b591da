//! Hashes that are part of the behaviour: two machines, or one before and after an upgrade, must
//! place a key alike. So they are written down here, have no random key, and tests pin them.

use std::net::IpAddr;

/// SplitMix64's step: adds the golden gamma, then mixes (Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", OOPSLA 2014). A bijection whose every output bit depends on
/// every input bit.
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// 64 even bits scaled down to `0..count` (Lemire's multiply-shift: no division, bias below
/// count / 2^64).
pub(crate) fn scale(random: u64, count: u64) -> u64 {
    // Truncation is meant: the product's upper half is below `count`.
    ((u128::from(random) * u128::from(count)) >> u64::BITS) as u64
}

/// The key of a client's address for [`Balancer::pick`](crate::Balancer::pick). An IPv4 address
/// mapped into IPv6 counts as the IPv4 address.
#[must_use]
pub fn address_key(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(v4) => mix(u64::from(v4.to_bits())),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            // Truncation is meant: the two halves, one after the other.
            mix(mix((bits >> 64) as u64) ^ bits as u64)
        }
    }
}

/// The key of a text (a path, a header's value, an address as configured) for
/// [`Balancer::pick`](crate::Balancer::pick), or the stable id of a member by its name. Eight
/// bytes a step; whoever knows it can find two texts with one key, so it does not protect tables.
#[must_use]
pub fn text_key(text: &[u8]) -> u64 {
    let mut key = mix(text.len() as u64);
    for chunk in text.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        key = mix(key ^ u64::from_le_bytes(word));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of SplitMix64 seeded with 0 and with 1234567, as published with the
    /// generator's reference implementation.
    #[test]
    fn mix_is_splitmix64() {
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
    }

    /// A change here moves every key of every running system: never change these.
    #[test]
    fn text_keys_are_pinned() {
        let keys = ["", "a", "/api/users", "app1.internal:3000"].map(|t| text_key(t.as_bytes()));
        assert_eq!(keys, PINNED);
        assert_ne!(text_key(b"a"), text_key(b"a\0"));
    }

    const PINNED: [u64; 4] = [
        16_294_208_416_658_607_535,
        6_774_081_908_283_191_102,
        17_615_171_827_536_709_843,
        14_866_075_597_567_541_346,
    ];
}
