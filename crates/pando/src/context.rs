//! What every command has at hand: the home, the output, and the daemon when it needs one.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use app_spec::AppSpec;
use monitor_spec::ask;
use monitor_spec::now::Now;
use pando_control::api::{Answer, AppView, Frame, Request, Select};
use pando_control::{CallError, Client, ConnectError};
use tokio::runtime::Runtime;

use crate::daemon;
use crate::display::output::Output;
use crate::display::progress::ProgressLine;
use crate::error::ExpectedError;
use crate::home;

/// How long a socket that refuses is tried by a command that starts no daemon. Root holds the
/// listener through every restart of the supervisor: refused means that there is no daemon, or that
/// another command starts one this moment.
const PATIENCE: Duration = Duration::from_millis(250);

/// What a command does where no daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// It starts one.
    Start,
    /// It starts one if apps are kept that have lost theirs, but not after `pando kill`.
    ForKeptApps,
    /// It does without.
    Never,
}

/// A command's surroundings. The runtime and the connection are made when first used, so that
/// `pando --version` takes no time.
pub struct Context {
    pub home: PathBuf,
    pub json: bool,
    pub out: Output,
    runtime: Option<Runtime>,
    client: Option<Client>,
}

impl Context {
    pub fn new(home: PathBuf, json: bool) -> Self {
        Self {
            home,
            json,
            out: Output::new(),
            runtime: None,
            client: None,
        }
    }

    /// Whether a daemon is there, after doing about it what `daemon` says.
    pub fn reach(&mut self, daemon: Daemon) -> anyhow::Result<bool> {
        if self.client.is_some() {
            return Ok(true);
        }
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        };
        let start = match daemon {
            Daemon::Start => true,
            Daemon::ForKeptApps => home::has_apps(&self.home) && !home::was_killed(&self.home),
            Daemon::Never => false,
        };
        let client = runtime.block_on(async {
            if start {
                return daemon::connect_or_start(&self.home).await.map(Some);
            }
            match Client::connect_within(&self.home, PATIENCE).await {
                Ok(client) => Ok(Some(client)),
                Err(ConnectError::NoDaemon { .. }) => Ok(None),
                Err(error) => Err(ExpectedError::from(error).into()),
            }
        });
        self.runtime = Some(runtime);
        self.client = client?;
        Ok(self.client.is_some())
    }

    /// Whether [`Context::reach`] has found or started a daemon.
    pub fn is_reached(&self) -> bool {
        self.client.is_some()
    }

    /// Makes a call; `on_frame` gets the output and each frame but the last.
    ///
    /// # Errors
    /// Without a daemon, and those of the call.
    pub fn call_raw(
        &mut self,
        request: Request,
        mut on_frame: impl FnMut(&mut Output, Frame),
    ) -> Result<Answer, CallError> {
        let (Some(runtime), Some(client)) = (&self.runtime, &mut self.client) else {
            let home = self.home.display().to_string();
            return Err(ConnectError::NoDaemon { home }.into());
        };
        let out = RefCell::new(&mut self.out);
        let call = client.call(request, |frame| on_frame(&mut out.borrow_mut(), frame));
        let mut call = std::pin::pin!(call);
        // Flushed whenever there is nothing more to read: a busy log goes out in large writes, a
        // quiet one line by line.
        runtime.block_on(std::future::poll_fn(|cx| {
            let polled = call.as_mut().poll(cx);
            out.borrow_mut().flush();
            polled
        }))
    }

    /// Makes a call and shows its progress.
    ///
    /// # Errors
    /// As a person is told them.
    pub fn call(&mut self, request: Request) -> anyhow::Result<Answer> {
        let mut progress = ProgressLine::new(self.json);
        let answer = self.call_raw(request, |_, frame| match frame {
            Frame::Progress(p) => progress.show(&p),
            Frame::Log(_)
            | Frame::Event(_)
            | Frame::Monitor(_)
            | Frame::Done(_)
            | Frame::Failed(_) => {}
        });
        progress.clear();
        answer.map_err(|e| ExpectedError::from(e).into())
    }

    /// The apps as they are; none without a daemon.
    pub fn list(&mut self, select: Select) -> anyhow::Result<Vec<AppView>> {
        let Answer::Apps(apps) = self.call(Request::List { select })? else {
            return Err(unexpected());
        };
        Ok(apps)
    }

    /// The specs as journaled.
    pub fn specs(&mut self, select: Select) -> anyhow::Result<Vec<AppSpec>> {
        let Answer::Specs(specs) = self.call(Request::Specs { select })? else {
            return Err(unexpected());
        };
        Ok(specs)
    }

    /// The metrics' picture of this second.
    ///
    /// # Errors
    /// A sentence that says why there is none within `limit`.
    pub fn now(&mut self, limit: Duration) -> Result<Now, String> {
        let (Some(runtime), Some(client)) = (&self.runtime, &mut self.client) else {
            return Err("no daemon runs".into());
        };
        let ask = ask::Ask::Now;
        let answer = runtime.block_on(async {
            let call = client.call(Request::Monitor { ask }, |_| {});
            tokio::time::timeout(limit, call).await
        });
        match answer {
            Ok(Ok(Answer::Monitor(answer))) => {
                if let ask::Answer::Now(now) = *answer {
                    Ok(*now)
                } else {
                    Err("the daemon answers another question".into())
                }
            }
            Ok(Ok(_)) => Err("the daemon answers another question".into()),
            Ok(Err(CallError::Failed(problem))) => Err(problem.why),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("nothing came within {limit:?}")),
        }
    }

    /// A call that changes something: what was done, and the apps as they are now.
    pub fn change(&mut self, request: Request) -> anyhow::Result<(Vec<String>, Vec<AppView>)> {
        let Answer::Changed { text, apps } = self.call(request)? else {
            return Err(unexpected());
        };
        Ok((text, apps))
    }

    /// The error of a command that needs apps where no daemon runs.
    pub fn nothing_runs(&self) -> anyhow::Error {
        let kept = home::has_apps(&self.home);
        let (why, fix) = if kept {
            (
                "`pando kill` ended it",
                "`pando resurrect` brings the apps back",
            )
        } else {
            (
                "no app was started yet",
                "`pando start server.js` starts one",
            )
        };
        let what = format!("no Pando daemon runs for {}", self.home.display());
        ExpectedError::failed(what, why, fix).into()
    }

    /// Drives a future to its end, after [`Context::reach`].
    ///
    /// # Errors
    /// There is no runtime yet.
    pub fn block_on<F: Future>(&mut self, future: F) -> anyhow::Result<F::Output> {
        match &self.runtime {
            Some(runtime) => Ok(runtime.block_on(future)),
            None => Err(self.nothing_runs()),
        }
    }

    /// Waits without holding up what the runtime drives.
    pub fn sleep(&mut self, time: Duration) {
        match &self.runtime {
            Some(runtime) => runtime.block_on(async { tokio::time::sleep(time).await }),
            None => std::thread::sleep(time),
        }
    }

    /// Whether a daemon accepts a connection this moment; makes no use of it.
    pub fn reach_now(&mut self) -> anyhow::Result<bool> {
        let Some(runtime) = &self.runtime else {
            return Ok(false);
        };
        let tried = Client::connect_within(&self.home, Duration::ZERO);
        match runtime.block_on(tried) {
            Ok(_) => Ok(true),
            Err(ConnectError::NoDaemon { .. }) => Ok(false),
            Err(error) => Err(ExpectedError::from(error).into()),
        }
    }

    /// Forgets the connection: the next call makes a new one.
    pub fn disconnect(&mut self) {
        self.client = None;
    }
}

/// An answer to another question; only a daemon of another version gives one.
pub fn unexpected() -> anyhow::Error {
    ExpectedError::from(CallError::Protocol("it answers another question".into())).into()
}

/// The apps that names on the command line mean; `all` is every one.
pub fn select(names: &[String]) -> Select {
    if names.iter().any(|name| name == "all") {
        Select::All
    } else {
        Select::Names(names.to_vec())
    }
}
