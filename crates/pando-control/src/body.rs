//! An answer's frames as an HTTP body: one JSON object a line.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame as HttpFrame};

use crate::api::Frame;
use crate::call::ReplyFrames;

/// Frames that are written to the socket together. A follower of a busy log would otherwise pay a
/// write per line.
const FRAMES_PER_WRITE: usize = 128;

/// Either the frames of a call, or one text.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    Frames(ReplyFrames),
    Text(Option<Bytes>),
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<HttpFrame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Text(text) => Poll::Ready(text.take().map(|t| Ok(HttpFrame::data(t)))),
            Self::Frames(frames) => {
                let mut ready = Vec::new();
                match frames.poll_many(cx, &mut ready, FRAMES_PER_WRITE) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(0) => Poll::Ready(None),
                    Poll::Ready(_) => Poll::Ready(Some(Ok(HttpFrame::data(to_lines(&ready))))),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Text(None))
    }
}

fn to_lines(frames: &[Frame]) -> Bytes {
    let mut lines = Vec::with_capacity(frames.len() * 128);
    for frame in frames {
        let start = lines.len();
        match serde_json::to_writer(&mut lines, frame) {
            Ok(()) => lines.push(b'\n'),
            // Cannot be with these types (string keys, no NaN keys); a missing line is the least
            // bad answer to what cannot be.
            Err(_) => lines.truncate(start),
        }
    }
    Bytes::from(lines)
}
