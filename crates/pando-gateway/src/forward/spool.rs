//! A request's body before it goes on: taken whole where it is to be held, so that a slow client
//! occupies no worker and the request can be sent a second time.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::task::JoinHandle;

use super::head::Length;
use crate::body::{Body, BodyError};

/// Held in memory; beyond it a temporary file.
const MEMORY_BYTES: usize = 64 * 1024;
const FILE_READ: usize = 128 * 1024;

pub enum Spooled {
    Empty,
    Memory(Bytes),
    File(Arc<File>, u64),
    /// Passed through as it comes; `None` once it was sent.
    Stream(Option<Body>, Option<u64>),
}

#[derive(Debug)]
pub enum Refusal {
    TooLarge,
    Broken(BodyError),
    Slow,
    Disk(std::io::Error),
}

impl Refusal {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Disk(_) => StatusCode::INSUFFICIENT_STORAGE,
        }
    }

    pub fn why(&self) -> &'static str {
        match self {
            Self::TooLarge => "the request's body is larger than this route takes",
            Self::Broken(error) => {
                tracing::debug!(%error, "a request's body broke off");
                "the request's body broke off"
            }
            Self::Slow => "the request's body came too slowly",
            Self::Disk(error) => {
                tracing::error!(%error, "a request's body cannot be kept in a temporary file");
                "the request's body cannot be kept for now"
            }
        }
    }
}

/// Takes a body in, or readies it for passing through.
pub async fn take(
    body: Body,
    headers: &HeaderMap,
    max: u64,
    streams: bool,
    idle: Duration,
) -> Result<Spooled, Refusal> {
    if body.is_end_stream() {
        return Ok(Spooled::Empty);
    }
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > max) {
        return Err(Refusal::TooLarge);
    }
    if streams {
        let limited = Body::new(Limited { body, left: max });
        return Ok(Spooled::Stream(Some(limited), length));
    }
    Box::pin(hold(body, max, idle)).await
}

async fn hold(mut body: Body, max: u64, idle: Duration) -> Result<Spooled, Refusal> {
    let mut memory = BytesMut::new();
    let mut first = Bytes::new();
    let mut total = 0u64;
    let mut file: Option<Arc<File>> = None;
    loop {
        let frame = tokio::time::timeout(idle, body.frame()).await;
        let Some(frame) = frame.map_err(|_| Refusal::Slow)? else {
            break;
        };
        let Ok(data) = frame.map_err(Refusal::Broken)?.into_data() else {
            continue;
        };
        let at = total;
        total += data.len() as u64;
        if total > max {
            return Err(Refusal::TooLarge);
        }
        match &file {
            None if at == 0 && data.len() <= MEMORY_BYTES => first = data,
            None if at as usize + data.len() <= MEMORY_BYTES => {
                memory.extend_from_slice(&std::mem::take(&mut first));
                memory.extend_from_slice(&data);
            }
            None => {
                memory.extend_from_slice(&std::mem::take(&mut first));
                let begun = Arc::new(tempfile::tempfile().map_err(Refusal::Disk)?);
                write(&begun, memory.split().freeze(), 0).await?;
                write(&begun, data, at).await?;
                file = Some(begun);
            }
            Some(file) => write(file, data, at).await?,
        }
    }
    Ok(match file {
        Some(file) => Spooled::File(file, total),
        None if total == 0 => Spooled::Empty,
        None if memory.is_empty() => Spooled::Memory(first),
        None => Spooled::Memory(memory.freeze()),
    })
}

async fn write(file: &Arc<File>, data: Bytes, at: u64) -> Result<(), Refusal> {
    let file = file.clone();
    let done = tokio::task::spawn_blocking(move || file.write_all_at(&data, at)).await;
    done.map_err(|error| Refusal::Disk(std::io::Error::other(error)))?
        .map_err(Refusal::Disk)
}

impl Spooled {
    pub fn is_replayable(&self) -> bool {
        match self {
            Self::Empty | Self::Memory(_) | Self::File(..) => true,
            Self::Stream(body, _) => body.is_some(),
        }
    }

    pub fn length(&self) -> Length {
        match self {
            Self::Empty | Self::Stream(_, Some(0)) => Length::None,
            Self::Memory(bytes) => Length::Known(bytes.len() as u64),
            Self::File(_, length) | Self::Stream(_, Some(length)) => Length::Known(*length),
            Self::Stream(_, None) => Length::Chunked,
        }
    }

    /// The body for one try.
    pub fn send(&mut self) -> Body {
        match self {
            Self::Empty => Body::Empty,
            Self::Memory(bytes) => bytes.clone().into(),
            Self::File(file, length) => Body::new(FileBody {
                file: file.clone(),
                at: 0,
                length: *length,
                reading: None,
            }),
            Self::Stream(body, _) => body.take().unwrap_or_default(),
        }
    }
}

/// A body with a bound on its size.
struct Limited {
    body: Body,
    left: u64,
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            match self.left.checked_sub(data.len() as u64) {
                Some(left) => self.left = left,
                None => return Poll::Ready(Some(Err("larger than this route takes".into()))),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Reads a temporary file piece by piece, away from the event loop.
struct FileBody {
    file: Arc<File>,
    at: u64,
    length: u64,
    reading: Option<JoinHandle<std::io::Result<Bytes>>>,
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.at >= this.length {
            return Poll::Ready(None);
        }
        let reading = this.reading.get_or_insert_with(|| {
            let (file, at) = (this.file.clone(), this.at);
            let size = usize::try_from(this.length - at)
                .unwrap_or(FILE_READ)
                .min(FILE_READ);
            tokio::task::spawn_blocking(move || {
                let mut data = vec![0; size];
                file.read_exact_at(&mut data, at)?;
                Ok(data.into())
            })
        });
        let data = ready!(Pin::new(reading).poll(cx));
        this.reading = None;
        match data {
            Ok(Ok(data)) => {
                this.at += data.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Ok(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length - self.at)
    }
}
