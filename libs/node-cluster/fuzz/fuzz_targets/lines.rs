//! The framing, cut anywhere, gives what one push gives. `cargo +nightly fuzz run lines`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use node_cluster::{Framed, Lines};

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, stream) = input;
    let whole = collect(std::iter::once(stream));
    assert_eq!(whole, collect(stream.chunks(usize::from(cut).max(1))));
    let newlines = stream.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(whole.len(), newlines);
});

fn collect<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Result<Vec<u8>, u64>> {
    let mut lines = Lines::new();
    let mut out = Vec::new();
    for chunk in chunks {
        lines.push(chunk);
        while let Some(line) = lines.next_line() {
            out.push(match line {
                Framed::Line(line) => Ok(line.to_vec()),
                Framed::Oversized { bytes } => Err(bytes),
            });
        }
    }
    out
}
