//! `pando run`: what goes to the files also goes to this process's stdout, from a thread of its
//! own. When stdout is slow the pump leaves the lines in the pipes until there is room again: in
//! the foreground stdout is the log, so it may hold the workers up as it would without Pando.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use memchr::memchr_iter;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::json::to_json;
use crate::line::{Line, parse};
use crate::options::Echo;

/// Batches of at most about 1 MiB that wait for stdout.
const MAX_WAITING: usize = 4;
/// How long a stop waits for stdout to take the rest.
const STOP_WAIT: Duration = Duration::from_secs(2);
const STOP_POLL: Duration = Duration::from_millis(2);

struct Batch {
    app: String,
    /// Lines as they are in the file.
    lines: Vec<u8>,
}

pub struct EchoWriter {
    batches: Option<SyncSender<Batch>>,
    waiting: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl EchoWriter {
    pub fn start(format: Echo) -> io::Result<Self> {
        let (batches, queue) = sync_channel(MAX_WAITING);
        let waiting = Arc::new(AtomicUsize::new(0));
        let done = waiting.clone();
        let thread = std::thread::Builder::new()
            .name("log-echo".into())
            .spawn(move || work(&queue, &done, format))?;
        Ok(Self {
            batches: Some(batches),
            waiting,
            thread: Some(thread),
        })
    }

    /// Whether a batch would be taken now.
    pub fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Acquire) < MAX_WAITING
    }

    /// To be called when there is room.
    pub fn write(&self, app: &str, lines: &[u8]) {
        let Some(batches) = &self.batches else { return };
        self.waiting.fetch_add(1, Ordering::AcqRel);
        if batches
            .try_send(Batch {
                app: app.to_owned(),
                lines: lines.to_vec(),
            })
            .is_err()
        {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for EchoWriter {
    fn drop(&mut self) {
        self.batches = None;
        let deadline = Instant::now() + STOP_WAIT;
        let Some(thread) = self.thread.take() else {
            return;
        };
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(STOP_POLL);
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

fn work(queue: &Receiver<Batch>, waiting: &AtomicUsize, format: Echo) {
    let stdout = io::stdout();
    let mut open = true;
    while let Ok(batch) = queue.recv() {
        if open {
            // Nobody reads any more: the files go on.
            open = write_all(&stdout, &present(&batch, format)).is_ok();
        }
        waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

fn present(batch: &Batch, format: Echo) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.lines.len());
    let mut from = 0;
    for newline in memchr_iter(b'\n', &batch.lines) {
        let line = parse(&batch.app, &batch.lines[from..newline], 0);
        from = newline + 1;
        match format {
            Echo::Text => push_text(&line, &mut out),
            Echo::Json => {
                out.extend_from_slice(to_json(&line).as_bytes());
                out.push(b'\n');
            }
        }
    }
    out
}

fn push_text(line: &Line, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{} {} | ", line.app, line.worker).as_bytes());
    out.extend_from_slice(&line.text);
    out.push(b'\n');
}

fn write_all(to: impl AsFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(&to, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::new(&to, PollFlags::OUT)], None)?;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_as_text_and_as_json() {
        let lines =
            b"2026-11-21T03:44:00.123Z 0 out hello\n2026-11-21T03:44:00.123Z 0 out {\"a\":1}\n";
        let batch = Batch {
            app: "api".into(),
            lines: lines.to_vec(),
        };
        assert_eq!(
            present(&batch, Echo::Text),
            b"api 0 | hello\napi 0 | {\"a\":1}\n"
        );
        let json = String::from_utf8(present(&batch, Echo::Json)).unwrap();
        assert_eq!(json.lines().count(), 2);
        assert!(
            json.contains(r#""message":"hello""#) && json.contains(r#"{"a":1,"#),
            "{json}"
        );
    }
}
