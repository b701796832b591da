//! The gateway as the worker of a supervisor: `pando gateway --worker`, which the supervisor
//! starts. Sockets, configuration and news of the apps come over the link.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gateway_spec::GatewaySpec;
use gateway_spec::link::{Answer, Ask, ConfigOutcome};
use monitor_spec::edge::Certificate;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::gateway::{Gateway, LAST_SPANS};
use crate::link::{self, Driver, Event, Handle, LinkFiles, Places};
use crate::measure::Reporter;
use crate::serve::{Incoming, Listening};

/// Between two looks at what is still open while it drains.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Between two reports of what was measured.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at the certificates, in reports.
const CERTIFICATES_EVERY: u32 = 10;
/// What was written last goes out.
const LAST_FLUSH: Duration = Duration::from_millis(50);

/// Serves until the supervisor says that it is to end.
///
/// # Errors
/// No thread can be started, the channel is none, an address cannot be listened on.
pub fn run(channel: OwnedFd) -> io::Result<()> {
    // It was executed as /proc/self/exe, which would be its name in `ps` and `top`.
    if let Err(error) = rustix::thread::set_name(c"pando-gateway") {
        tracing::debug!(%error, "no name for the process");
    }
    let (driver, handle, events) = link::connect(channel)?;
    // On a thread of its own: files are read by whoever needs them, who then waits for the link.
    std::thread::Builder::new()
        .name("link".into())
        .spawn(move || drive(driver))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(Managed::new(handle).serve(events))
}

fn drive(driver: Driver) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(driver.run()),
        // Its queues end with it, which ends the gateway.
        Err(error) => tracing::error!(%error, "the link cannot run"),
    }
}

fn seconds() -> Interval {
    let mut seconds = interval(REPORT_EVERY);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    seconds
}

struct Managed {
    handle: Handle,
    gateway: Option<Gateway>,
    places: Places,
    /// Listening sockets that are still to come before it is ready.
    missing: usize,
    ready: bool,
    draining: Option<Draining>,
    reporter: Reporter,
    certificates: Vec<Certificate>,
    reports: u32,
}

struct Draining {
    until: Instant,
    told: bool,
    /// The supervisor waits for the end of the process.
    leave: bool,
}

impl Managed {
    fn new(handle: Handle) -> Self {
        Self {
            handle,
            gateway: None,
            places: Places::default(),
            missing: 0,
            ready: false,
            draining: None,
            reporter: Reporter::default(),
            certificates: Vec::new(),
            reports: 0,
        }
    }

    async fn serve(mut self, mut events: mpsc::Receiver<Event>) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut second = seconds();
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Closed) | None => break,
                    Some(event) => self.event(event).await?,
                },
                _ = terminate.recv() => self.leave().await,
                _ = second.tick() => self.measure(),
                () = tokio::time::sleep(LOOK_EVERY), if self.draining.is_some() => {}
            }
            if self.drained().await {
                break;
            }
        }
        self.measure();
        if let Some(gateway) = &self.gateway {
            gateway.flush(LAST_FLUSH);
            gateway.flush_spans(LAST_SPANS).await;
        }
        Ok(())
    }

    async fn event(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Config { id, spec, state } => {
                let mut spec = *spec;
                let state = self.places.resolve(&self.handle, &mut spec, &state).await;
                let outcome = self.configure(spec, state)?;
                self.handle.config_result(id, outcome).await;
                self.check_ready().await;
            }
            Event::Listener { socket, listen, .. } => {
                if let Some(gateway) = &self.gateway {
                    tracing::info!(address = %listen.address, tls = listen.tls, "listening");
                    gateway.listen(Listening { listen, socket }).await?;
                }
                self.missing = self.missing.saturating_sub(1);
                self.check_ready().await;
            }
            Event::ListenFailed { listen, error } => {
                let what = format!("cannot listen on {}: {error}", listen.address);
                return Err(io::Error::new(error.kind(), what));
            }
            Event::Connection { listener, socket } => {
                if let Some(gateway) = &self.gateway
                    && let Some(listen) = gateway.spec().listen.get(listener).cloned()
                {
                    gateway.serve(Incoming { listen, socket }).await;
                }
            }
            Event::Apps(apps) => {
                if let Some(gateway) = &mut self.gateway {
                    gateway.apps(apps);
                }
            }
            Event::Ask { id, ask } => {
                let result = self.answer(ask);
                self.handle.answer(id, result).await;
            }
            Event::Drain { quick } => {
                if let Some(gateway) = self.gateway.as_ref().filter(|_| quick) {
                    gateway.shared().leaving.store(true, Relaxed);
                }
                self.drain().await;
            }
            Event::Disconnect => self.leave().await,
            Event::Closed => {}
        }
        Ok(())
    }

    fn configure(&mut self, spec: GatewaySpec, state: PathBuf) -> io::Result<ConfigOutcome> {
        if let Some(gateway) = &mut self.gateway {
            return Ok(gateway.apply(spec));
        }
        self.missing = spec.listen.len();
        let files = Arc::new(LinkFiles::new(self.handle.clone()));
        let gateway = Gateway::new(spec, files, state)?;
        gateway.shared().reports.store(true, Relaxed);
        self.gateway = Some(gateway);
        Ok(ConfigOutcome::Applied)
    }

    async fn check_ready(&mut self) {
        if self.missing == 0 && !std::mem::replace(&mut self.ready, true) {
            self.handle.ready().await;
        }
    }

    fn answer(&self, ask: Ask) -> Result<Answer, String> {
        let gateway = self.gateway.as_ref().ok_or("it is starting")?;
        match ask {
            Ask::Stats => Ok(Answer::Stats(gateway.stats())),
            Ask::Purge(purge) => Ok(Answer::Purged {
                count: gateway.purge(&purge),
            }),
        }
    }

    /// Says what was measured since the last time, and which threads stand still.
    fn measure(&mut self) {
        let Some(gateway) = &self.gateway else {
            return;
        };
        let now = Instant::now();
        for stall in self.reporter.stalls(gateway.shared(), now) {
            let (kind, text) = stall.event();
            tracing::warn!("{text}");
            self.handle.event(kind, text);
        }
        self.reporter.gather(gateway.shared(), now);
        let Some(room) = self.handle.room_for_report() else {
            return;
        };
        if self.reports.is_multiple_of(CERTIFICATES_EVERY) {
            self.certificates = gateway.certificates();
        }
        self.reports = self.reports.wrapping_add(1);
        room.send(self.reporter.report(self.certificates.clone(), now));
    }

    async fn drain(&mut self) {
        if self.draining.is_some() {
            return;
        }
        let drain_ms = self
            .gateway
            .as_ref()
            .map_or(0, |g| g.spec().timeouts.drain_ms);
        self.draining = Some(Draining {
            until: Instant::now() + Duration::from_millis(drain_ms),
            told: false,
            leave: false,
        });
        if let Some(gateway) = &self.gateway {
            gateway.begin_drain().await;
        }
    }

    async fn leave(&mut self) {
        self.drain().await;
        if let Some(draining) = &mut self.draining {
            draining.leave = true;
        }
    }

    /// Tells once that nothing is open any more; whether to end now.
    async fn drained(&mut self) -> bool {
        let Some(draining) = &mut self.draining else {
            return false;
        };
        let over = self.gateway.as_ref().is_none_or(Gateway::is_drained);
        if !over && Instant::now() < draining.until {
            return false;
        }
        let leave = draining.leave;
        if !std::mem::replace(&mut draining.told, true) {
            // Before it: whoever hears that may end this process.
            self.measure();
            self.handle.drained().await;
        }
        leave
    }
}
