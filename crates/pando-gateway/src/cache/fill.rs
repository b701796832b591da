//! A body on its way into the store, read by every client that waits for it at the same time.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use crate::body::{Body, BodyError};

/// Bytes that all fills together may hold, taken and given back.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicU64,
}

impl Budget {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            left: AtomicU64::new(bytes),
        }
    }

    fn take(&self, bytes: u64) -> bool {
        let taken = |left: u64| left.checked_sub(bytes);
        let order = Ordering::Relaxed;
        self.left.fetch_update(order, order, taken).is_ok()
    }

    fn give(&self, bytes: u64) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The body as far as it came. One pump writes, any number of readers follow.
pub(super) struct Fill {
    /// Known beforehand, so that readers can be let in: it is certain to fit.
    pub(super) length: Option<u64>,
    budget: Arc<Budget>,
    readers: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    chunks: Vec<Bytes>,
    bytes: u64,
    reserved: u64,
    trailers: Option<HeaderMap>,
    end: End,
    wakers: Vec<Waker>,
}

#[derive(Default)]
enum End {
    #[default]
    Open,
    Complete,
    Failed,
    /// Too large to be kept: the rest goes straight to the one reader there is.
    Handed(Option<Body>),
}

impl Fill {
    /// `None` when there is no room for the length that is announced.
    pub(super) fn new(length: Option<u64>, budget: Arc<Budget>) -> Option<Arc<Self>> {
        let reserved = length.unwrap_or(0);
        if !budget.take(reserved) {
            return None;
        }
        let state = State {
            reserved,
            ..State::default()
        };
        Some(Arc::new(Self {
            length,
            budget,
            readers: AtomicUsize::new(0),
            state: Mutex::new(state),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to it; false when that is more than fits, and nothing was added.
    pub(super) fn push(&self, data: &Bytes, max_bytes: u64) -> bool {
        let mut state = self.state();
        let bytes = state.bytes + data.len() as u64;
        if bytes > max_bytes {
            return false;
        }
        let more = bytes.saturating_sub(state.reserved);
        if more > 0 && !self.budget.take(more) {
            return false;
        }
        state.reserved += more;
        state.bytes = bytes;
        state.chunks.push(data.clone());
        wake(&mut state);
        true
    }

    pub(super) fn trailers(&self, trailers: HeaderMap) {
        self.state().trailers = Some(trailers);
    }

    /// Ends it; all bytes in one piece of their own.
    pub(super) fn complete(&self) -> Bytes {
        let mut state = self.state();
        state.end = End::Complete;
        wake(&mut state);
        let mut whole = BytesMut::with_capacity(usize::try_from(state.bytes).unwrap_or(0));
        for chunk in &state.chunks {
            whole.extend_from_slice(chunk);
        }
        whole.freeze()
    }

    pub(super) fn fail(&self) {
        let mut state = self.state();
        state.end = End::Failed;
        wake(&mut state);
    }

    /// The rest goes to the first reader; only when no other was let in.
    pub(super) fn hand_over(&self, rest: Body) {
        let mut state = self.state();
        state.end = End::Handed(Some(rest));
        wake(&mut state);
    }

    /// Whether anybody reads it.
    pub(super) fn is_wanted(&self) -> bool {
        self.readers.load(Ordering::Relaxed) > 0
    }

    pub(super) fn reader(self: &Arc<Self>) -> Body {
        self.readers.fetch_add(1, Ordering::Relaxed);
        Body::new(Reader {
            fill: Some(self.clone()),
            _counted: Counted(self.clone()),
            next: 0,
            read: 0,
            rest: None,
        })
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        let reserved = self.state().reserved;
        self.budget.give(reserved);
    }
}

fn wake(state: &mut State) {
    for waker in state.wakers.drain(..) {
        waker.wake();
    }
}

struct Reader {
    /// `None` once it has ended or was handed over.
    fill: Option<Arc<Fill>>,
    _counted: Counted,
    next: usize,
    read: u64,
    /// What was handed over.
    rest: Option<Body>,
}

/// One reader, as long as it lives.
struct Counted(Arc<Fill>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

type NextFrame = Option<Result<Frame<Bytes>, BodyError>>;

impl Reader {
    /// `None` when the rest comes from elsewhere: there is no fill any more.
    fn poll_fill(&mut self, fill: &Arc<Fill>, cx: &mut Context<'_>) -> Poll<Option<NextFrame>> {
        let mut state = fill.state();
        if let Some(chunk) = state.chunks.get(self.next) {
            self.next += 1;
            self.read += chunk.len() as u64;
            return Poll::Ready(Some(Some(Ok(Frame::data(chunk.clone())))));
        }
        match &mut state.end {
            End::Open => {
                if !state.wakers.iter().any(|w| w.will_wake(cx.waker())) {
                    state.wakers.push(cx.waker().clone());
                }
                Poll::Pending
            }
            End::Handed(rest @ Some(_)) => {
                self.rest = rest.take();
                self.fill = None;
                // All that was kept is read: it need not be kept for anybody else.
                state.chunks.clear();
                fill.budget.give(std::mem::take(&mut state.reserved));
                Poll::Ready(None)
            }
            End::Failed | End::Handed(None) => {
                self.fill = None;
                let why = "the upstream's answer broke off";
                Poll::Ready(Some(Some(Err(why.into()))))
            }
            End::Complete => {
                self.fill = None;
                let trailers = state.trailers.clone();
                Poll::Ready(Some(trailers.map(|fields| Ok(Frame::trailers(fields)))))
            }
        }
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<NextFrame> {
        let this = &mut *self;
        if let Some(fill) = this.fill.clone()
            && let Some(frame) = std::task::ready!(this.poll_fill(&fill, cx))
        {
            return Poll::Ready(frame);
        }
        match &mut this.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match (&self.fill, &self.rest) {
            (Some(fill), _) => {
                fill.length.is_some_and(|length| length == self.read)
                    && fill.state().trailers.is_none()
            }
            (None, Some(rest)) => rest.is_end_stream(),
            (None, None) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.fill.as_ref().and_then(|fill| fill.length) {
            Some(length) => SizeHint::with_exact(length.saturating_sub(self.read)),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(future)
    }

    async fn read(body: Body) -> Result<Bytes, BodyError> {
        Ok(body.collect().await?.to_bytes())
    }

    #[test]
    fn readers_early_and_late_get_all() {
        block_on(async {
            let budget = Arc::new(Budget::new(100));
            let fill = Fill::new(None, budget.clone()).unwrap();
            let early = tokio::spawn(read(fill.reader()));
            tokio::task::yield_now().await;
            assert!(fill.push(&Bytes::from_static(b"ab"), 10));
            tokio::task::yield_now().await;
            assert!(fill.push(&Bytes::from_static(b"cd"), 10));
            let late = fill.reader();
            assert_eq!(fill.complete(), "abcd");
            assert_eq!(early.await.unwrap().unwrap(), "abcd");
            assert_eq!(read(late).await.unwrap(), "abcd");
            assert!(!fill.is_wanted());
            drop(fill);
            assert!(budget.take(100), "all was given back");
        });
    }

    #[test]
    fn what_is_too_large_is_handed_over() {
        block_on(async {
            let fill = Fill::new(None, Arc::new(Budget::new(100))).unwrap();
            let reader = fill.reader();
            assert!(fill.push(&Bytes::from_static(b"ab"), 3));
            assert!(!fill.push(&Bytes::from_static(b"cd"), 3));
            fill.hand_over(Bytes::from_static(b"cdef").into());
            assert_eq!(read(reader).await.unwrap(), "abcdef");
        });
    }

    #[test]
    fn a_failure_is_told_and_room_is_bounded() {
        block_on(async {
            let budget = Arc::new(Budget::new(3));
            assert!(Fill::new(Some(4), budget.clone()).is_none());
            let fill = Fill::new(None, budget).unwrap();
            assert!(fill.push(&Bytes::from_static(b"ab"), 10));
            assert!(!fill.push(&Bytes::from_static(b"cd"), 10));
            let reader = fill.reader();
            fill.fail();
            assert!(read(reader).await.is_err());
        });
    }
}
