//! A client's stream as hyper reads and writes it: framing checked on the way in, waiting noted
//! both ways.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::conn::ConnState;
use super::frames::Frames;
use super::guard::{Fault, Guard, Phase};
use crate::clock;
use crate::measure::Measure;

/// Anything else that can be served: unix sockets, streams behind a PROXY header.
pub trait Other: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Other for S {}

pub enum ClientStream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Other(Box<dyn Other>),
}

struct Line {
    stream: ClientStream,
    /// `None` for HTTP/2.
    guard: Option<Guard>,
    /// Of HTTP/2.
    frames: Frames,
    /// Checked and not yet read by hyper.
    good: BytesMut,
    /// Came and not yet checked to its end.
    raw: BytesMut,
    /// `raw` is to be looked at again although nothing came.
    recheck: bool,
    fault: Option<Fault>,
    held: Option<Waker>,
    state: Arc<ConnState>,
    /// Of the thread, which counts what goes through.
    measure: Arc<Measure>,
    max_headers: usize,
}

/// Shared by hyper and the connection's own task.
#[derive(Clone)]
pub struct ClientIo(Arc<Mutex<Line>>);

impl ClientIo {
    pub fn new(
        stream: ClientStream,
        guard: Option<Guard>,
        state: Arc<ConnState>,
        measure: Arc<Measure>,
        max_headers: usize,
    ) -> Self {
        Self(Arc::new(Mutex::new(Line {
            stream,
            guard,
            frames: Frames::default(),
            good: BytesMut::new(),
            raw: BytesMut::new(),
            recheck: false,
            fault: None,
            held: None,
            state,
            measure,
            max_headers,
        })))
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a request for an upgrade is known.
    pub fn release(&self, upgraded: bool) {
        let mut line = self.line();
        if let Some(guard) = &mut line.guard {
            guard.release(upgraded);
            let phase = guard.phase();
            line.state.set_phase(phase, clock::now_ms());
        }
        line.recheck = true;
        if let Some(waker) = line.held.take() {
            waker.wake();
        }
    }

    /// Nothing that came is still to be read, and the socket can tell when more comes.
    pub fn is_parkable(&self) -> bool {
        let line = self.line();
        let known = matches!(line.stream, ClientStream::Tcp(_) | ClientStream::Tls(_));
        known && line.good.is_empty() && line.raw.is_empty() && line.fault.is_none()
    }

    /// Ready when something has come, its end included.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let line = self.line();
        let ready = match &line.stream {
            ClientStream::Tcp(stream) => stream.poll_read_ready(cx),
            ClientStream::Tls(stream) => stream.get_ref().0.poll_read_ready(cx),
            ClientStream::Other(_) => return Poll::Ready(()),
        };
        // An error is for the read that follows.
        ready.map(drop)
    }

    /// Writes an informational answer at once, or not at all: only where hyper has nothing left
    /// to write before it.
    pub fn write_early(&self, cx: &mut Context<'_>, mut bytes: Bytes) {
        let mut line = self.line();
        if line.state.write_is_blocked() {
            return;
        }
        let stream = &mut line.stream;
        while bytes.has_remaining() {
            // A partial write would break the next answer, but an empty socket takes this much.
            match stream.pin().poll_write(cx, &bytes) {
                Poll::Ready(Ok(n)) if n > 0 => bytes.advance(n),
                Poll::Ready(_) | Poll::Pending => return,
            }
        }
        let _ = stream.pin().poll_flush(cx);
    }
}

impl ClientStream {
    fn pin(&mut self) -> Pin<&mut dyn Other> {
        match self {
            Self::Tcp(stream) => Pin::new(stream),
            Self::Tls(stream) => Pin::new(&mut **stream),
            Self::Other(stream) => Pin::new(&mut **stream),
        }
    }
}

impl Line {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.good.is_empty() {
                let n = self.good.len().min(buf.remaining());
                buf.put_slice(&self.good.split_to(n));
                return Poll::Ready(Ok(()));
            }
            if let Some(fault) = self.fault.take() {
                self.good
                    .extend_from_slice(&poison(fault, self.max_headers));
                continue;
            }
            let Some(guard) = &mut self.guard else {
                return self.read_frames(cx, buf);
            };
            match guard.phase() {
                Phase::Held => {
                    self.held = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                // After a fault nothing that comes is of interest.
                Phase::Failed => return Poll::Ready(Ok(())),
                Phase::Through if self.raw.is_empty() => {
                    return self.read_through(cx, buf);
                }
                Phase::Idle | Phase::Head | Phase::Body | Phase::Through => {}
            }
            if self.raw.is_empty() {
                match self.read_straight(cx, buf)? {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(true) => return Poll::Ready(Ok(())),
                    Poll::Ready(false) => continue,
                }
            }
            if !std::mem::take(&mut self.recheck) {
                let read = tokio_util::io::poll_read_buf(self.stream.pin(), cx, &mut self.raw);
                self.state.read_waits(read.is_pending(), clock::now_ms());
                let n = ready!(read)?;
                self.measure.counts.bytes_in.add(n as u64);
                if n == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
            self.check_raw();
        }
    }

    /// HTTP/2: all in hyper's own buffer, but for trailers, and for a frame's head in part.
    fn read_frames(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let begun = buf.filled().len();
        loop {
            let n = if self.raw.is_empty() {
                let before = buf.filled().len();
                ready!(self.stream.pin().poll_read(cx, buf))?;
                let new = &buf.filled()[before..];
                let n = new.len();
                let passed = self.frames.pass(new);
                self.raw.extend_from_slice(&new[passed..]);
                buf.set_filled(before + passed);
                n
            } else {
                ready!(tokio_util::io::poll_read_buf(
                    self.stream.pin(),
                    cx,
                    &mut self.raw
                ))?
            };
            self.measure.counts.bytes_in.add(n as u64);
            if !self.raw.is_empty() {
                self.frames.take(&mut self.raw, &mut self.good);
                let room = buf.remaining();
                buf.put_slice(&self.good.split_to(room.min(self.good.len())));
            }
            let phase = self.frames.phase();
            if self.state.phase_differs(phase) {
                self.state.set_phase(phase, clock::now_ms());
            }
            if n == 0 || buf.filled().len() > begun {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// What nobody checks.
    fn read_through(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = self.stream.pin().poll_read(cx, buf);
        let n = buf.filled().len() - before;
        self.measure.counts.bytes_in.add(n as u64);
        read
    }

    /// The usual case: whole messages in hyper's own buffer. False if nothing in it is good yet.
    fn read_straight(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> io::Result<Poll<bool>> {
        let before = buf.filled().len();
        let read = self.stream.pin().poll_read(cx, buf);
        let phase = self.guard.as_ref().map_or(Phase::Through, Guard::phase);
        if phase == Phase::Body {
            self.state.read_waits(read.is_pending(), clock::now_ms());
        }
        match read {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(done) => done?,
        }
        let Some(guard) = &mut self.guard else {
            return Ok(Poll::Ready(true));
        };
        let new = &buf.filled()[before..];
        self.measure.counts.bytes_in.add(new.len() as u64);
        if new.is_empty() {
            return Ok(Poll::Ready(true));
        }
        let checked = guard.check(new);
        self.fault = checked.fault;
        self.raw.extend_from_slice(&new[checked.good..]);
        // What is left of a hold is checked when that ends; of a head, when more has come.
        self.recheck = false;
        let phase = guard.phase();
        self.state.set_phase(phase, clock::now_ms());
        buf.set_filled(before + checked.good);
        Ok(Poll::Ready(checked.good > 0))
    }

    fn check_raw(&mut self) {
        let Some(guard) = &mut self.guard else {
            self.good.unsplit(self.raw.split());
            return;
        };
        let checked = guard.check(&self.raw);
        self.fault = checked.fault;
        let phase = guard.phase();
        self.state.set_phase(phase, clock::now_ms());
        self.good = self.raw.split_to(checked.good);
        if checked.fault.is_some() {
            self.raw.clear();
        }
    }
}

/// Bytes that make hyper answer with the right error and close.
fn poison(fault: Fault, max_headers: usize) -> Vec<u8> {
    match fault {
        Fault::HeadTooLarge | Fault::TooManyHeaders => {
            let mut bytes = b"GET / HTTP/1.1\r\n".to_vec();
            for _ in 0..=max_headers {
                bytes.extend_from_slice(b"a:\r\n");
            }
            bytes.extend_from_slice(b"\r\n");
            bytes
        }
        Fault::BareLineFeed
        | Fault::Folded
        | Fault::Host
        | Fault::Length
        | Fault::LengthAndEncoding
        | Fault::Encoding
        | Fault::Chunk
        | Fault::Version => b"\0\r\n\r\n".to_vec(),
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.line().poll_read(cx, buf)
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut line = self.line();
        let done = line.stream.pin().poll_write(cx, bytes);
        line.note_write(done.is_pending());
        line.note_written(&done);
        done
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut line = self.line();
        let done = line.stream.pin().poll_write_vectored(cx, bytes);
        line.note_write(done.is_pending());
        line.note_written(&done);
        done
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self.line().stream, ClientStream::Tcp(_))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut line = self.line();
        if let ClientStream::Tcp(_) = line.stream {
            return Poll::Ready(Ok(()));
        }
        let done = line.stream.pin().poll_flush(cx);
        line.note_write(done.is_pending());
        done
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line().stream.pin().poll_shutdown(cx)
    }
}

impl Line {
    fn note_written(&self, done: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(n)) = done {
            self.measure.counts.bytes_out.add(*n as u64);
        }
    }

    fn note_write(&self, pending: bool) {
        if pending || self.state.write_is_blocked() {
            self.state.write_waits(pending, clock::now_ms());
        }
    }
}
