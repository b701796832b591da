//! A PROXY protocol header: no panic, bounded, and what is written for its addresses is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pando_gateway::proxy_protocol::{Addresses, MAX_HEADER_BYTES, parse, write_v1, write_v2};

fuzz_target!(|bytes: &[u8]| match parse(bytes) {
    Ok(Some((addresses, length))) => {
        assert!(length <= bytes.len() && length <= MAX_HEADER_BYTES);
        assert_eq!(parse(&bytes[..length]).unwrap(), Some((addresses, length)));
        if let Addresses::Of { source, destination } = addresses {
            for header in [write_v1(source, destination), write_v2(source, destination)] {
                assert!(matches!(parse(header.as_ref()), Ok(Some((Addresses::Of { .. }, _)))));
            }
        }
    }
    Ok(None) => assert!(bytes.len() < MAX_HEADER_BYTES),
    Err(_) => {}
});
