//! The gateway by itself, as a plain reverse proxy: `pando gateway -c pando.toml`.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use gateway_spec::link::ConfigOutcome;
use gateway_spec::{GatewaySpec, Listen, ListenAddress};
use tokio::signal::unix::{SignalKind, signal};

use crate::gateway::Gateway;
use crate::serve::Listening;
use crate::tls::DirectFiles;

const BACKLOG: i32 = 4096;

/// Reads the file again: the new description, or what is wrong with it, for the log.
pub type Reread = Box<dyn Fn() -> Result<GatewaySpec, String>>;

/// `state` is the directory for what must last. Serves until SIGTERM or SIGINT, then drains. SIGHUP reads the file again and opens the
/// access log anew.
///
/// # Errors
/// A thread cannot be started, or none of the addresses can be listened on.
pub fn run(spec: GatewaySpec, state: PathBuf, reread: Reread) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(spec, state, reread))
}

async fn serve(spec: GatewaySpec, state: PathBuf, reread: Reread) -> io::Result<()> {
    let mut sockets = Vec::new();
    for listen in &spec.listen {
        // One address that is taken does not keep the others from being served.
        match bind(listen) {
            Ok(socket) => sockets.push(Listening {
                listen: listen.clone(),
                socket,
            }),
            Err(error) => {
                tracing::error!(address = %listen.address, %error, "cannot listen; is it in use?");
            }
        }
    }
    if sockets.is_empty() {
        return Err(io::Error::other("none of its addresses can be listened on"));
    }
    let mut gateway = Gateway::new(spec, Arc::new(DirectFiles), state)?;
    gateway.say_no_apps();
    for listening in sockets {
        tracing::info!(address = %listening.listen.address, tls = listening.listen.tls, "listening");
        gateway.listen(listening).await?;
    }
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = hangup.recv() => reload(&mut gateway, &reread),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    gateway.drain().await;
    Ok(())
}

fn reload(gateway: &mut Gateway, reread: &Reread) {
    gateway.reopen_logs();
    match reread() {
        Ok(spec) => match gateway.apply(spec) {
            ConfigOutcome::Applied => {
                gateway.say_no_apps();
                tracing::info!("the new configuration is in force");
            }
            ConfigOutcome::Unchanged => tracing::info!("the configuration has not changed"),
            outcome @ (ConfigOutcome::Rejected { .. }
            | ConfigOutcome::RolledBack { .. }
            | ConfigOutcome::NeedsReload { .. }) => {
                tracing::error!(?outcome, "the configuration stays as it was");
            }
        },
        Err(problems) => tracing::error!("the configuration stays as it was:\n{problems}"),
    }
}

fn bind(listen: &Listen) -> io::Result<OwnedFd> {
    match &listen.address {
        ListenAddress::Tcp(address) => {
            let domain = socket2::Domain::for_address(*address);
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&(*address).into())?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        }
        ListenAddress::Unix(path) => {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            Ok(std::os::unix::net::UnixListener::bind(path)?.into())
        }
    }
}
