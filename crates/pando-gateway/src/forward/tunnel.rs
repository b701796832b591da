//! Connections that left HTTP: bytes both ways until one side is through.

use std::sync::Arc;

use base64::Engine as _;
use http::{HeaderValue, Response, StatusCode, header, response};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::Upgrading;
use crate::body::Body;
use crate::proxy_protocol::Prefixed;
use crate::shared::Thread;
use crate::upstream::{Ticket, h1};

/// A nonce for the upstream's handshake (RFC 6455 section 4.1).
pub fn websocket_key() -> String {
    let nonce: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
    base64::engine::general_purpose::STANDARD.encode(nonce)
}

/// The answer to the client; the tunnel begins when hyper has sent it.
pub fn start(
    mut parts: response::Parts,
    conn: h1::Conn,
    upgrading: Upgrading,
    ticket: Ticket,
    thread: &Arc<Thread>,
) -> Response<Body> {
    let Upgrading {
        on,
        protocol,
        extended,
    } = upgrading;
    if extended {
        parts.status = StatusCode::OK;
        parts.headers.remove("sec-websocket-accept");
    } else {
        let upgrade = HeaderValue::from_static("upgrade");
        parts.headers.insert(header::CONNECTION, upgrade);
        if let Ok(protocol) = HeaderValue::from_bytes(&protocol) {
            parts.headers.insert(header::UPGRADE, protocol);
        }
    }
    let guard = thread.shared.tunnel();
    tokio::spawn(async move {
        let _guard = guard;
        let client = match on.await {
            Ok(client) => client,
            Err(error) => {
                tracing::debug!(%error, "an upgrade was not completed by the client");
                return;
            }
        };
        let (stream, early) = conn.into_parts();
        let mut upstream = Prefixed::new(stream, early);
        let mut client = TokioIo::new(client);
        // However it ends, it has ended for both.
        let moved = copy_bidirectional(&mut client, &mut upstream).await;
        tracing::trace!(?moved, upstream = %ticket.endpoint.known.label, "a tunnel has ended");
    });
    Response::from_parts(parts, Body::Empty)
}
