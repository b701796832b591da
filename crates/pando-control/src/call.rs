//! A call as its handler sees it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::{mpsc, oneshot};

use crate::api::{Answer, Frame, Problem, Request};

/// Frames that wait for a client that reads slowly.
pub const REPLY_QUEUE_FRAMES: usize = 1024;

/// One request with the way to answer it.
#[derive(Debug)]
pub struct Call {
    pub request: Request,
    pub reply: Reply,
}

/// The answer's stream. Clones write to the same stream; it ends with the first [`Reply::done`] or
/// [`Reply::failed`]. If every clone is dropped without either, the stream just
/// ends: to the client that is a supervisor that went away in the middle of the call.
#[derive(Clone, Debug)]
pub struct Reply {
    frames: mpsc::Sender<Frame>,
    /// The last frame has its own way out, so that ending never waits and never fails because the
    /// queue is full.
    last: Arc<Mutex<Option<oneshot::Sender<Frame>>>>,
}

/// The client has gone, or the answer has ended: nobody reads what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the caller has gone")]
pub struct Gone;

/// Why a frame was not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TrySendError {
    /// The client reads too slowly; the frame is given back.
    #[error("the caller reads too slowly")]
    Full(Box<Frame>),
    #[error("the caller has gone")]
    Gone,
}

/// The reading side of a [`Reply`].
#[derive(Debug)]
pub struct ReplyFrames {
    frames: mpsc::Receiver<Frame>,
    end: End,
}

#[derive(Debug)]
enum End {
    /// The handler works on it.
    Open(oneshot::Receiver<Frame>),
    /// Goes out after what is still queued.
    Last(Frame),
    Over,
}

impl Reply {
    /// A reply and what reads it: the server's side, and for tests of handlers.
    pub fn channel() -> (Self, ReplyFrames) {
        let (frames, frames_rx) = mpsc::channel(REPLY_QUEUE_FRAMES);
        let (last, last_rx) = oneshot::channel();
        let reply = Self {
            frames,
            last: Arc::new(Mutex::new(Some(last))),
        };
        (
            reply,
            ReplyFrames {
                frames: frames_rx,
                end: End::Open(last_rx),
            },
        )
    }

    /// Sends a frame, waiting while the client is [`REPLY_QUEUE_FRAMES`] behind. For tasks that
    /// serve one client; a task that owns state uses [`Reply::try_send`].
    ///
    /// # Errors
    /// [`Gone`]: nobody reads any more.
    pub async fn send(&self, frame: Frame) -> Result<(), Gone> {
        match frame {
            Frame::Done(_) | Frame::Failed(_) => {
                self.end(frame);
                Ok(())
            }
            Frame::Progress(_) | Frame::Log(_) | Frame::Event(_) | Frame::Monitor(_) => {
                self.frames.send(frame).await.map_err(|_| Gone)
            }
        }
    }

    /// As [`Reply::send`], for a plain thread that serves one client. Must not be called on a
    /// runtime's thread.
    ///
    /// # Errors
    /// [`Gone`]: nobody reads any more.
    pub fn send_blocking(&self, frame: Frame) -> Result<(), Gone> {
        match frame {
            Frame::Done(_) | Frame::Failed(_) => {
                self.end(frame);
                Ok(())
            }
            Frame::Progress(_) | Frame::Log(_) | Frame::Event(_) | Frame::Monitor(_) => {
                self.frames.blocking_send(frame).map_err(|_| Gone)
            }
        }
    }

    /// Sends a frame if there is room.
    ///
    /// # Errors
    /// [`TrySendError::Full`] gives the frame back; [`TrySendError::Gone`]: nobody reads.
    pub fn try_send(&self, frame: Frame) -> Result<(), TrySendError> {
        match frame {
            Frame::Done(_) | Frame::Failed(_) => {
                self.end(frame);
                Ok(())
            }
            Frame::Progress(_) | Frame::Log(_) | Frame::Event(_) | Frame::Monitor(_) => {
                self.frames.try_send(frame).map_err(|e| match e {
                    mpsc::error::TrySendError::Full(frame) => TrySendError::Full(Box::new(frame)),
                    mpsc::error::TrySendError::Closed(_) => TrySendError::Gone,
                })
            }
        }
    }

    /// Ends the answer well, after all frames that were sent. Never waits.
    pub fn done(&self, answer: Answer) {
        self.end(Frame::Done(answer));
    }

    /// Ends the answer with a problem. Never waits.
    pub fn failed(&self, problem: Problem) {
        self.end(Frame::Failed(problem));
    }

    /// Whether the client has gone, so that further work for it is in vain.
    pub fn is_closed(&self) -> bool {
        self.frames.is_closed()
    }

    /// Returns when the client has gone.
    pub async fn closed(&self) {
        self.frames.closed().await;
    }

    fn end(&self, frame: Frame) {
        let last = self
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(last) = last {
            // A client that has gone needs no last frame.
            let _ = last.send(frame);
        }
    }
}

impl ReplyFrames {
    /// The next frame in order; `None` after the last one.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut one = Vec::with_capacity(1);
        std::future::poll_fn(|cx| self.poll_many(cx, &mut one, 1)).await;
        one.pop()
    }

    /// Appends up to `limit` frames, and says how many; none only after the last one.
    pub(crate) fn poll_many(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<Frame>,
        limit: usize,
    ) -> Poll<usize> {
        // The end is looked at first: what was sent before it is then in the queue.
        if let End::Open(last) = &mut self.end {
            if let Poll::Ready(frame) = Pin::new(last).poll(cx) {
                self.end = frame.map_or(End::Over, End::Last);
                self.frames.close();
            } else {
                // None of the queue's senders is left: the end follows at once, and wakes.
                return match self.frames.poll_recv_many(cx, into, limit) {
                    Poll::Ready(0) | Poll::Pending => Poll::Pending,
                    Poll::Ready(count) => Poll::Ready(count),
                };
            }
        }
        let before = into.len();
        while into.len() - before < limit {
            match self.frames.try_recv() {
                Ok(frame) => into.push(frame),
                Err(_) => {
                    if let End::Last(frame) = std::mem::replace(&mut self.end, End::Over) {
                        into.push(frame);
                    }
                    break;
                }
            }
        }
        Poll::Ready(into.len() - before)
    }
}
