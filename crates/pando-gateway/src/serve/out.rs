//! The body that goes to a client: tells the request's account what is sent, and closes it when it
//! ends, however it ends.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::body::{Body, BodyError};
use crate::limits::Pass;
use crate::measure::account::Account;

/// See the module.
pub struct OutBody {
    body: Body,
    account: Box<Account>,
    _pass: Pass,
}

impl OutBody {
    pub fn new(body: Body, account: Box<Account>, pass: Pass) -> Self {
        Self {
            body,
            account,
            _pass: pass,
        }
    }
}

impl http_body::Body for OutBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.account.sends(data.len() as u64);
                }
                // Nothing follows trailers, and nobody asks.
                if frame.is_trailers() || this.body.is_end_stream() {
                    this.account.body_ends(false);
                }
            }
            Poll::Ready(Some(Err(_))) => this.account.body_ends(true),
            Poll::Ready(None) => this.account.body_ends(false),
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
