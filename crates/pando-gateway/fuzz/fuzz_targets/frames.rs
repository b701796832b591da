//! Any bytes as what a client of HTTP/2 sends, whole and in two parts: the same comes out.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, stream) = input;
    // Behind a preface and a first request, so that trailers are near.
    let begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x03\x01\x04\0\0\0\x01\x82\x86\x84";
    let data = [begin, stream].concat();
    pando_gateway::serve::frames::fuzz_frames(usize::from(cut), &data);
});
