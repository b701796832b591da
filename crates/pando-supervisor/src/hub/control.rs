//! The thread beside the hub: the control socket and the health probes, on one tokio runtime.

use std::io;
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::{Mail, Mailbox};

/// Calls taken from the socket and not yet by the hub.
const CALLS_MAX: usize = 64;

pub(super) struct Control {
    pub runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Starts to serve the control socket.
    pub fn start(listener: UnixListener, mailbox: Mailbox) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || runtime.block_on(serve(listener, mailbox, stopped)))?;
        Ok(Self {
            runtime: handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Control {
    /// Takes no further call: callers wait at the socket for the next supervisor. Answers that
    /// are under way still go out.
    pub fn stop_accepting(&mut self) {
        drop(self.stop.take());
    }
}

impl Drop for Control {
    /// Answers in flight go out first.
    fn drop(&mut self) {
        self.stop_accepting();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the control thread panicked");
        }
    }
}

async fn serve(listener: UnixListener, mailbox: Mailbox, stopped: oneshot::Receiver<()>) {
    let (calls, mut received) = mpsc::channel(CALLS_MAX);
    let forward = tokio::spawn(async move {
        while let Some(call) = received.recv().await {
            // The hub reads its mail within milliseconds; if it is that far behind, so are we.
            if !mailbox.post(Mail::Call(call)) {
                return;
            }
        }
    });
    let stopped = async {
        // An error is the sender's drop, which says the same.
        let _ = stopped.await;
    };
    let options = pando_control::ServeOptions::default();
    if let Err(error) = pando_control::serve_until(listener, calls, options, stopped).await {
        tracing::error!(%error, "the control socket");
    }
    forward.abort();
}
