//! Any `Accept-Encoding`: what is chosen is wanted.
#![no_main]

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use pando_gateway::compress::{Accepted, Encoding};

fuzz_target!(|header: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(header) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, value);
    let accepted = Accepted::of(&headers);
    if let Some(best) = accepted.best(Encoding::ALL) {
        let most = Encoding::ALL.map(|encoding| accepted.quality(encoding));
        assert_eq!(Some(accepted.quality(best)), most.into_iter().max());
        assert!(accepted.quality(best) > 0);
    }
});
