//! One line of a log file, and how a batch of raw output becomes such lines.
//!
//! ```text
//! 2026-11-21T03:44:00.123Z 0 out text\n     a whole line of worker 0's stdout
//! 2026-11-21T03:44:00.123Z 0 err+ text\n    a piece: the line goes on in the next line of this
//!                                           worker and stream, with nothing between the two
//! ```
//! The text is what the worker wrote, byte for byte, less the newline. One stamp for each batch.

use memchr::{memchr, memchr_iter};

use crate::label::{Label, Stream};
use crate::stamp::{self, STAMP_BYTES};

/// A longer line is written in pieces of at most this many bytes.
pub const MAX_LINE_BYTES: usize = 256 * 1024;
/// A batch is cut once its formatted text reaches this; the rest is the next batch's.
pub const MAX_FORMATTED_BYTES: usize = 512 * 1024;
/// The stamp, a worker number of 10 digits, `out+` and three blanks.
pub const MAX_PREFIX_BYTES: usize = STAMP_BYTES + 1 + 10 + 1 + 4 + 1;

/// One line as readers return it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub app: String,
    /// The worker's instance number.
    pub worker: u32,
    pub stream: Stream,
    /// Milliseconds since the epoch at which the pump read it.
    pub time_ms: i64,
    /// Without its newline; any bytes.
    pub text: Vec<u8>,
    /// A piece: the next line of this worker and stream goes on where this ends.
    pub continues: bool,
}

/// What is to become of the bytes after the last newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Leave them in the pipe if they are fewer than this many, else write a piece.
    HoldUnder(usize),
    /// Write a piece.
    Piece,
    /// Nothing follows: write a whole line.
    Last,
}

/// How much of a batch went into the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub bytes: usize,
    /// Lines and pieces.
    pub lines: u64,
    /// The output was large enough before the end: there may be whole lines left.
    pub is_cut: bool,
}

/// The texts before each line of a batch: `2026-11-21T03:44:00.123Z 0 out ` and the piece's.
pub struct Prefix {
    whole: Vec<u8>,
    piece: Vec<u8>,
}

impl Prefix {
    pub fn new(label: &Label, time_ms: i64) -> Self {
        let mut head = stamp::format(time_ms).to_vec();
        head.extend_from_slice(format!(" {} {}", label.worker, label.stream).as_bytes());
        let with = |end: &[u8]| [head.as_slice(), end].concat();
        Self {
            whole: with(b" "),
            piece: with(b"+ "),
        }
    }
}

/// Appends `raw` to `out` as lines of a file. Stops early when `out` is large enough; what was
/// not taken is to be handed in again.
pub fn format(raw: &[u8], rest: Rest, prefix: &Prefix, out: &mut Vec<u8>) -> Taken {
    let mut taken = Taken::default();
    for newline in memchr_iter(b'\n', raw) {
        let mut line = &raw[taken.bytes..=newline];
        while line.len() > MAX_LINE_BYTES + 1 {
            push_piece(&line[..MAX_LINE_BYTES], prefix, out, &mut taken);
            line = &line[MAX_LINE_BYTES..];
            if out.len() >= MAX_FORMATTED_BYTES {
                taken.is_cut = true;
                return taken;
            }
        }
        out.extend_from_slice(&prefix.whole);
        out.extend_from_slice(line);
        taken.bytes = newline + 1;
        taken.lines += 1;
        if out.len() >= MAX_FORMATTED_BYTES {
            taken.is_cut = true;
            return taken;
        }
    }
    format_rest(raw, rest, prefix, out, &mut taken);
    taken
}

fn format_rest(raw: &[u8], rest: Rest, prefix: &Prefix, out: &mut Vec<u8>, taken: &mut Taken) {
    while raw.len() - taken.bytes > MAX_LINE_BYTES {
        push_piece(&raw[taken.bytes..][..MAX_LINE_BYTES], prefix, out, taken);
        if out.len() >= MAX_FORMATTED_BYTES {
            taken.is_cut = true;
            return;
        }
    }
    let tail = &raw[taken.bytes..];
    if tail.is_empty() {
        return;
    }
    match rest {
        Rest::HoldUnder(bytes) if tail.len() < bytes => {}
        Rest::HoldUnder(_) | Rest::Piece => push_piece(tail, prefix, out, taken),
        Rest::Last => {
            out.extend_from_slice(&prefix.whole);
            out.extend_from_slice(tail);
            out.push(b'\n');
            taken.bytes += tail.len();
            taken.lines += 1;
        }
    }
}

fn push_piece(text: &[u8], prefix: &Prefix, out: &mut Vec<u8>, taken: &mut Taken) {
    out.extend_from_slice(&prefix.piece);
    out.extend_from_slice(text);
    out.push(b'\n');
    taken.bytes += text.len();
    taken.lines += 1;
}

/// Reads a file's line, without its newline. A line that no pump wrote (an editor, a torn write)
/// becomes worker 0's with all its bytes as text and the time of its neighbour.
pub fn parse(app: &str, bytes: &[u8], neighbour_ms: i64) -> Line {
    let line = |worker, stream, time_ms, text: &[u8], continues| Line {
        app: app.to_owned(),
        worker,
        stream,
        time_ms,
        text: text.to_vec(),
        continues,
    };
    match parse_head(bytes) {
        Some((time_ms, worker, stream, continues, text)) => {
            line(worker, stream, time_ms, text, continues)
        }
        None => line(0, Stream::Out, neighbour_ms, bytes, false),
    }
}

type Head<'a> = (i64, u32, Stream, bool, &'a [u8]);

fn parse_head(bytes: &[u8]) -> Option<Head<'_>> {
    let time_ms = parse_time(bytes)?;
    let after = bytes.get(STAMP_BYTES + 1..)?;
    let (worker, after) = after.split_at(memchr(b' ', &after[..after.len().min(11)])?);
    let worker = std::str::from_utf8(worker).ok()?.parse().ok()?;
    let (word, text) = after[1..].split_at(memchr(b' ', &after[1..])?);
    let (stream, continues) = match word {
        b"out" => (Stream::Out, false),
        b"err" => (Stream::Err, false),
        b"out+" => (Stream::Out, true),
        b"err+" => (Stream::Err, true),
        _ => return None,
    };
    Some((time_ms, worker, stream, continues, &text[1..]))
}

/// The whole lines at the beginning of what [`format`] gave, perhaps cut short: their bytes here
/// and the raw bytes they were made of. (A last line that had no newline counts one more.)
pub fn whole_lines(formatted: &[u8]) -> (usize, usize) {
    let (mut end, mut raw) = (0, 0);
    for newline in memchr_iter(b'\n', formatted) {
        let Some((_, _, _, continues, text)) = parse_head(&formatted[end..newline]) else {
            break;
        };
        raw += text.len() + usize::from(!continues);
        end = newline + 1;
    }
    (end, raw)
}

/// The time of a file's line alone.
pub fn parse_time(bytes: &[u8]) -> Option<i64> {
    if bytes.get(STAMP_BYTES) != Some(&b' ') {
        return None;
    }
    stamp::parse(&bytes[..STAMP_BYTES])
}

/// Puts pieces together again, each joined line at the place of its last piece. A line whose end
/// is not among `lines` stays a piece (`continues`).
pub fn join(lines: Vec<Line>) -> Vec<Line> {
    let mut open: Vec<Line> = Vec::new();
    let mut whole = Vec::with_capacity(lines.len());
    for line in lines {
        let same = |o: &Line| (&o.app, o.worker, o.stream) == (&line.app, line.worker, line.stream);
        match open.iter().position(same) {
            Some(at) => {
                open[at].text.extend_from_slice(&line.text);
                if !line.continues {
                    let mut done = open.swap_remove(at);
                    done.continues = false;
                    whole.push(done);
                }
            }
            None if line.continues => open.push(line),
            None => whole.push(line),
        }
    }
    whole.append(&mut open);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> Label {
        Label {
            app: "a".into(),
            worker: 12,
            stream: Stream::Err,
        }
    }

    fn formatted(raw: &[u8], rest: Rest) -> (Taken, Vec<u8>) {
        let mut out = Vec::new();
        let taken = format(
            raw,
            rest,
            &Prefix::new(&label(), 1_795_232_640_123),
            &mut out,
        );
        (taken, out)
    }

    #[test]
    fn the_rest_is_held_or_written() {
        let check = |rest, bytes, expect: &str| {
            let (taken, out) = formatted(b"one\nrest", rest);
            assert_eq!(
                (taken.bytes, String::from_utf8(out).unwrap().as_str()),
                (bytes, expect)
            );
        };
        let at = "2026-11-21T03:44:00.123Z 12 err";
        check(Rest::HoldUnder(5), 4, &format!("{at} one\n"));
        check(Rest::HoldUnder(4), 8, &format!("{at} one\n{at}+ rest\n"));
        check(Rest::Piece, 8, &format!("{at} one\n{at}+ rest\n"));
        check(Rest::Last, 8, &format!("{at} one\n{at} rest\n"));
    }

    #[test]
    fn a_large_batch_is_cut_and_says_so() {
        let raw = b"x\n".repeat(50_000);
        let (taken, out) = formatted(&raw, Rest::HoldUnder(9));
        assert!(taken.is_cut && taken.bytes < raw.len() && out.ends_with(b"x\n"));
        assert!(!formatted(&raw[..1_000], Rest::HoldUnder(9)).0.is_cut);
    }

    #[test]
    fn a_line_reads_back_and_a_foreign_one_is_kept() {
        let line = parse("a", b"2026-11-21T03:44:00.123Z 12 err+ \xff text ", 0);
        assert_eq!(
            (line.worker, line.stream, line.continues),
            (12, Stream::Err, true)
        );
        assert_eq!(
            (line.time_ms, line.text.as_slice()),
            (1_795_232_640_123, &b"\xff text "[..])
        );
        for foreign in [
            "",
            "x",
            "2026-11-21T03:44:00.123Z",
            "2026-11-21T03:44:00.123Z 1 out",
        ] {
            let line = parse("a", foreign.as_bytes(), 7);
            assert_eq!(
                (line.time_ms, line.text.as_slice()),
                (7, foreign.as_bytes()),
                "{foreign}"
            );
        }
    }

    #[test]
    fn a_cut_batch_tells_how_much_of_the_raw_is_in_it() {
        let raw = [
            b"one\n\nthree\n".as_slice(),
            &[b'x'; MAX_LINE_BYTES + 9],
            b"\nlast",
        ]
        .concat();
        let (_, out) = formatted(&raw, Rest::Piece);
        assert_eq!(whole_lines(&out), (out.len(), raw.len()));
        for cut in [0, 1, 34, 35, 36, 40, 70, 100, 110, 1_000, out.len() - 1] {
            let (kept, taken) = whole_lines(&out[..cut]);
            let (again, mut rest) = formatted(&raw[taken..], Rest::Piece);
            assert_eq!(again.bytes, raw.len() - taken);
            rest.splice(..0, out[..kept].iter().copied());
            assert!(rest == out, "cut at {cut}");
        }
    }
}
