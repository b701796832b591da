//! However a stream of requests is cut into reads, the guard says the same of it.

use pando_gateway::serve::guard::{Fault, Guard, Phase};
use proptest::prelude::*;

const MAX_HEAD: usize = 512;
const MAX_HEADERS: usize = 8;

/// Good bytes, fault and phase at the end, `cuts` being the sizes of the reads.
fn verdict(stream: &[u8], cuts: &[usize]) -> (usize, Option<Fault>, Phase) {
    let mut guard = Guard::new(MAX_HEAD, MAX_HEADERS);
    let (mut kept, mut good) = (Vec::new(), 0);
    let mut sizes = cuts.iter().copied().cycle();
    let mut rest = stream;
    while !rest.is_empty() {
        let n = sizes.next().unwrap_or(1).clamp(1, rest.len());
        kept.extend_from_slice(&rest[..n]);
        rest = &rest[n..];
        let checked = guard.check(&kept);
        kept.drain(..checked.good);
        good += checked.good;
        if checked.fault.is_some() {
            return (good, checked.fault, guard.phase());
        }
    }
    (good, None, guard.phase())
}

/// Pieces that requests are made of, right and wrong ones.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("GET / HTTP/1.1\r\n".to_owned()),
        Just("POST /a HTTP/1.0\r\n".to_owned()),
        Just("Host: a\r\n".to_owned()),
        Just("Content-Length: 3\r\n".to_owned()),
        Just("Transfer-Encoding: chunked\r\n".to_owned()),
        Just("Upgrade: x\r\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just(" folded\r\n".to_owned()),
        Just("3\r\nabc\r\n".to_owned()),
        Just("0\r\n\r\n".to_owned()),
        Just("abc".to_owned()),
        "[ -~\r\n]{0,12}",
    ]
}

proptest! {
    #[test]
    fn reads_of_any_size_mean_the_same(
        pieces in prop::collection::vec(piece(), 0..24),
        cuts in prop::collection::vec(1_usize..40, 1..8),
    ) {
        let stream = pieces.concat();
        // A head that is too large is noticed at the first read that shows it.
        prop_assume!(stream.len() < MAX_HEAD);
        let whole = verdict(stream.as_bytes(), &[stream.len().max(1)]);
        let cut = verdict(stream.as_bytes(), &cuts);
        prop_assert_eq!(whole.0, cut.0);
        // A fault may be seen earlier, before more has come, but never another way.
        prop_assert_eq!(whole.1.is_some(), cut.1.is_some());
        prop_assert_eq!(whole.2, cut.2);
    }
}
