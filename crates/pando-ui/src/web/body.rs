//! An answer's body: bytes that are there, or pieces that come.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Pieces that wait for a browser that reads slowly; who makes them waits then, or misses some.
pub const PIECES: usize = 1;

pub enum Body {
    Whole(Option<Bytes>),
    Pieces {
        pieces: mpsc::Receiver<Bytes>,
        /// Ends with the body, that is with the connection.
        _maker: JoinSet<()>,
    },
}

impl Body {
    /// A body whose pieces a task makes, which ends when nobody reads any more.
    pub fn made_by<F>(maker: impl FnOnce(mpsc::Sender<Bytes>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, pieces) = mpsc::channel(PIECES);
        let mut set = JoinSet::new();
        set.spawn(maker(sender));
        Self::Pieces {
            pieces,
            _maker: set,
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Pieces { pieces, .. } => pieces.poll_recv(cx),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(bytes) => {
                hyper::body::SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Self::Pieces { .. } => hyper::body::SizeHint::default(),
        }
    }
}
