//! The encoders, with settings for answers: fast, and with memory that fits the body.

use std::io;

use bytes::Bytes;
use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::CParameter;
use compression_codecs::{BrotliEncoder, EncodeV2, GzipEncoder, ZstdEncoder};

use super::Encoding;

/// Good ratios at the speed of a network. Brotli's 4 is the last that searches hash chains only
/// one step deep.
const GZIP_LEVEL: u8 = 5;
const BROTLI_LEVEL: u8 = 4;
const ZSTD_LEVEL: u8 = 3;
/// Levels of pando.toml.
const MAX_LEVEL: u8 = 9;
/// Windows, as powers of two: browsers take 8 MiB, which would be so much memory an answer.
const MIN_WINDOW: u32 = 15;
const MAX_WINDOW: u32 = 19;
/// zstd's tables at level 3.
const ZSTD_HASH_LOG: u32 = 17;
const ZSTD_CHAIN_LOG: u32 = 16;

pub(super) type Encoder = Box<dyn EncodeV2 + Send>;

/// For a body of `length` bytes, or of nobody knows how many.
pub(super) fn new(
    encoding: Encoding,
    level: Option<u8>,
    length: Option<u64>,
) -> io::Result<Encoder> {
    let level = |default: u8| i32::from(level.unwrap_or(default).clamp(1, MAX_LEVEL));
    let window = window(length);
    Ok(match encoding {
        Encoding::Gzip => {
            let level = Level::Precise(level(GZIP_LEVEL));
            Box::new(GzipEncoder::new(level.into()))
        }
        Encoding::Brotli => {
            let params = EncoderParams::default()
                .quality(Level::Precise(level(BROTLI_LEVEL)))
                .window_size(window as i32);
            let hint = length.and_then(|length| usize::try_from(length).ok());
            Box::new(BrotliEncoder::new(params.size_hint(hint.unwrap_or(0))))
        }
        Encoding::Zstd => {
            let params = [
                CParameter::window_log(window),
                CParameter::hash_log(window.min(ZSTD_HASH_LOG)),
                CParameter::chain_log(window.min(ZSTD_CHAIN_LOG)),
            ];
            Box::new(ZstdEncoder::new_with_params(level(ZSTD_LEVEL), &params))
        }
    })
}

fn window(length: Option<u64>) -> u32 {
    let wanted = length.map_or(MAX_WINDOW, |length| {
        u64::BITS - length.saturating_sub(1).leading_zeros()
    });
    wanted.clamp(MIN_WINDOW, MAX_WINDOW)
}

/// Writes into the rest of `out` from `filled`; says how much of `input` was taken.
pub(super) fn encode(
    encoder: &mut Encoder,
    input: &[u8],
    out: &mut [u8],
    filled: &mut usize,
) -> io::Result<usize> {
    let mut input = PartialBuffer::new(input);
    let mut buffer = WriteBuffer::new_initialized(&mut out[*filled..]);
    encoder.encode(&mut input, &mut buffer)?;
    *filled += buffer.written_len();
    Ok(input.written_len())
}

#[derive(Clone, Copy)]
pub(super) enum End {
    /// All that was given can be read by the client.
    Flush,
    Finish,
}

/// False: there is more, once `out` has room.
pub(super) fn end(
    encoder: &mut Encoder,
    end: End,
    out: &mut [u8],
    filled: &mut usize,
) -> io::Result<bool> {
    let mut buffer = WriteBuffer::new_initialized(&mut out[*filled..]);
    let done = match end {
        End::Flush => encoder.flush(&mut buffer)?,
        End::Finish => encoder.finish(&mut buffer)?,
    };
    *filled += buffer.written_len();
    Ok(done)
}

/// A whole body. `content` is small, so the buffer is about as large.
pub(super) fn at_once(mut encoder: Encoder, content: &[u8]) -> io::Result<Bytes> {
    let mut out = vec![0; content.len() / 2 + 256];
    let (mut filled, mut taken) = (0, 0);
    while taken < content.len() {
        taken += encode(&mut encoder, &content[taken..], &mut out, &mut filled)?;
        grow(&mut out, filled);
    }
    while !end(&mut encoder, End::Finish, &mut out, &mut filled)? {
        grow(&mut out, filled);
    }
    out.truncate(filled);
    Ok(out.into())
}

fn grow(out: &mut Vec<u8>, filled: usize) {
    if filled == out.len() {
        out.resize(filled * 2, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_fit_the_body() {
        for (length, expected) in [
            (Some(0), 15),
            (Some(1), 15),
            (Some(1 << 15), 15),
            (Some((1 << 15) + 1), 16),
            (Some(1 << 30), 19),
            (None, 19),
        ] {
            assert_eq!(window(length), expected, "{length:?}");
        }
    }
}
