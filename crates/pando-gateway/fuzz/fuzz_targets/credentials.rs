//! What clients and administrators may write about credentials.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pando_gateway::protect::{fuzz_authorization, fuzz_htpasswd, fuzz_token};

fuzz_target!(|data: &[u8]| {
    fuzz_authorization(data);
    fuzz_htpasswd(data);
    fuzz_token(data);
});
