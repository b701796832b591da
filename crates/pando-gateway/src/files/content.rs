//! Bytes of files on their way to a client.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::JoinHandle;

use super::range::Span;
use crate::body::BodyError;

/// Read at once.
const CHUNK_BYTES: usize = 128 * 1024;
/// Buffers that a thread keeps for later.
const KEEP_BUFFERS: usize = 8;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of `CHUNK_BYTES` that goes back to its thread when the last user lets go of it.
struct Chunk {
    buffer: Vec<u8>,
    len: usize,
}

impl Chunk {
    fn new() -> Self {
        let kept = BUFFERS.with_borrow_mut(Vec::pop);
        Self {
            buffer: kept.unwrap_or_else(|| vec![0; CHUNK_BYTES]),
            len: 0,
        }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        // At the end of a thread the store may be gone.
        let _ = BUFFERS.try_with(|buffers| {
            let mut buffers = buffers.borrow_mut();
            if buffers.len() < KEEP_BUFFERS {
                buffers.push(buffer);
            }
        });
    }
}

/// Reads what the page cache has, without waiting for a disk; `WouldBlock` if it has nothing.
pub(super) fn read_now(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut buffers = [IoSliceMut::new(buffer)];
    match rustix::io::preadv2(file, &mut buffers, offset, ReadWriteFlags::NOWAIT) {
        // Not every file system can.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Err(io::ErrorKind::WouldBlock.into()),
        read => Ok(read?),
    }
}

/// Text between parts, or a part of the file.
pub(super) enum Piece {
    Text(Bytes),
    File(Span),
}

/// Pieces in their order. Large files are read as the client takes them.
pub(super) struct Pieces {
    file: Arc<File>,
    pieces: VecDeque<Piece>,
    remaining: u64,
    /// A read that waits for the disk, on another thread.
    reading: Option<JoinHandle<io::Result<Chunk>>>,
    /// A chunk was given away: whoever sends it may do so before the next is read. Then its
    /// buffer comes back while it is still in the processor's cache, and others have their turn.
    given: bool,
}

impl Pieces {
    pub(super) fn new(file: File, pieces: impl IntoIterator<Item = Piece>) -> Self {
        let pieces: VecDeque<Piece> = pieces.into_iter().collect();
        let len = |piece: &Piece| match piece {
            Piece::Text(text) => text.len() as u64,
            Piece::File(span) => span.length(),
        };
        Self {
            remaining: pieces.iter().map(len).sum(),
            file: Arc::new(file),
            pieces,
            reading: None,
            given: false,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(reading) = &mut self.reading {
            let joined = std::task::ready!(Pin::new(reading).poll(cx));
            self.reading = None;
            let chunk = joined.map_err(io::Error::other).and_then(|read| read);
            return Poll::Ready(Some(chunk.map(|chunk| self.took(chunk))));
        }
        let span = match self.pieces.front() {
            None => return Poll::Ready(None),
            Some(Piece::File(span)) => *span,
            Some(Piece::Text(_)) => return Poll::Ready(self.text().map(Ok)),
        };
        if std::mem::take(&mut self.given) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut chunk = Chunk::new();
        let want = usize::try_from(span.length()).map_or(CHUNK_BYTES, |len| len.min(CHUNK_BYTES));
        match read_now(&self.file, &mut chunk.buffer[..want], span.start) {
            Ok(0) => Poll::Ready(Some(Err(shorter()))),
            Ok(read) => {
                chunk.len = read;
                Poll::Ready(Some(Ok(self.took(chunk))))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let file = Arc::clone(&self.file);
                self.reading = Some(tokio::task::spawn_blocking(move || {
                    file.read_exact_at(&mut chunk.buffer[..want], span.start)?;
                    chunk.len = want;
                    Ok(chunk)
                }));
                self.poll_next(cx)
            }
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn text(&mut self) -> Option<Bytes> {
        let Some(Piece::Text(text)) = self.pieces.pop_front() else {
            return None;
        };
        self.remaining -= text.len() as u64;
        Some(text)
    }

    /// The bytes read from the front piece leave it.
    fn took(&mut self, chunk: Chunk) -> Bytes {
        self.remaining -= chunk.len as u64;
        self.given = true;
        if let Some(Piece::File(span)) = self.pieces.front_mut() {
            span.start += chunk.len as u64;
            if span.start >= span.end {
                self.pieces.pop_front();
            }
        }
        Bytes::from_owner(chunk)
    }
}

fn shorter() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the file became shorter while it was sent",
    )
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = std::task::ready!(self.get_mut().poll_next(cx));
        Poll::Ready(next.map(|read| read.map(Frame::data).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
