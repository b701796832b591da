//! A body that is compressed as it comes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body as _, Frame};
use tokio::time::Sleep;

use super::encoder::{self, Encoder, End};
use crate::body::{Body, BodyError};

/// Compressed bytes are given on in frames of so many, fewer at a flush.
const FRAME_BYTES: usize = 16 * 1024;
/// Input of one step, and input after which other tasks of the thread get their turn.
const STEP_BYTES: usize = 32 * 1024;
const TURN_BYTES: usize = 128 * 1024;
/// Nothing waits longer for more input that would compress better together with it.
const FLUSH_AFTER: Duration = Duration::from_millis(5);

/// When what was given to the encoder goes on to the client although there may be more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    /// As soon as the source has nothing more at the moment.
    AtOnce,
    Soon,
}

enum State {
    Reading,
    /// A flush is to be ended before the encoder may be given more.
    Flushing,
    Finishing,
    Trailers,
    Failed(io::Error),
    Done,
}

/// Reading <-> Flushing, Reading -> Finishing -> Trailers -> Done; an error of the source ends it at once.
pub(super) struct Compressed {
    source: Body,
    encoder: Option<Encoder>,
    input: Bytes,
    out: Vec<u8>,
    filled: usize,
    trailers: Option<HeaderMap>,
    state: State,
    flush: Flush,
    /// The encoder may hold back something.
    dirty: bool,
    timer: Option<Pin<Box<Sleep>>>,
    /// Input since other tasks had their turn.
    spent: usize,
}

impl Compressed {
    pub(super) fn new(source: Body, encoder: Encoder, flush: Flush) -> Self {
        Self::begin(source, Some(encoder), flush)
    }

    fn begin(source: Body, encoder: Option<Encoder>, flush: Flush) -> Self {
        Self {
            source,
            encoder,
            input: Bytes::new(),
            out: vec![0; FRAME_BYTES],
            filled: 0,
            trailers: None,
            state: State::Reading,
            flush,
            dirty: false,
            timer: None,
            spent: 0,
        }
    }

    /// A body that breaks off.
    pub(super) fn failed(error: io::Error) -> Self {
        Self {
            state: State::Failed(error),
            ..Self::begin(Body::empty(), None, Flush::AtOnce)
        }
    }

    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if self.filled == self.out.len() && self.filled > 0 {
                return Poll::Ready(Some(Ok(self.frame())));
            }
            match std::mem::replace(&mut self.state, State::Done) {
                State::Reading => {
                    self.state = State::Reading;
                    if let Err(error) = ready!(self.poll_read(cx)) {
                        self.state = State::Done;
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                State::Flushing => {
                    self.state = State::Flushing;
                    if self.end(End::Flush)? {
                        self.dirty = false;
                        self.state = State::Reading;
                    }
                    if self.filled > 0 {
                        return Poll::Ready(Some(Ok(self.frame())));
                    }
                }
                State::Finishing => {
                    self.state = State::Finishing;
                    if self.end(End::Finish)? {
                        self.state = State::Trailers;
                        self.encoder = None;
                    }
                    if self.filled > 0 {
                        return Poll::Ready(Some(Ok(self.frame())));
                    }
                }
                State::Trailers => {
                    if let Some(trailers) = self.trailers.take() {
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                }
                State::Failed(error) => return Poll::Ready(Some(Err(error.into()))),
                State::Done => return Poll::Ready(None),
            }
        }
    }

    /// One step: some input into the encoder, or more input, or a flush. Ready after each.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        if !self.input.is_empty() {
            return self.poll_encode(cx);
        }
        match Pin::new(&mut self.source).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                match frame.into_data() {
                    Ok(data) => self.input = data,
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        self.state = State::Finishing;
                    }
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(error)),
            Poll::Ready(None) => {
                self.state = State::Finishing;
                Poll::Ready(Ok(()))
            }
            Poll::Pending if self.dirty => self.poll_flush(cx),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_encode(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        if self.spent >= TURN_BYTES {
            self.spent = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let step = self.input.len().min(STEP_BYTES);
        let Some(encoder) = &mut self.encoder else {
            return Poll::Ready(Err(closed().into()));
        };
        let input = &self.input[..step];
        let taken = encoder::encode(encoder, input, &mut self.out, &mut self.filled)?;
        self.input.advance(taken);
        self.spent += taken;
        self.dirty = true;
        Poll::Ready(Ok(()))
    }

    /// The source has nothing at the moment.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.spent = 0;
        if self.flush == Flush::Soon {
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(FLUSH_AFTER)));
            ready!(timer.as_mut().poll(cx));
        }
        self.timer = None;
        self.state = State::Flushing;
        Poll::Ready(Ok(()))
    }

    fn end(&mut self, end: End) -> io::Result<bool> {
        match &mut self.encoder {
            Some(encoder) => encoder::end(encoder, end, &mut self.out, &mut self.filled),
            None => Err(closed()),
        }
    }

    fn frame(&mut self) -> Frame<Bytes> {
        let bytes = Bytes::copy_from_slice(&self.out[..self.filled]);
        self.filled = 0;
        Frame::data(bytes)
    }
}

fn closed() -> io::Error {
    io::Error::other("the encoder has ended")
}

impl http_body::Body for Compressed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.get_mut().poll_bytes(cx)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Done)
    }
}
