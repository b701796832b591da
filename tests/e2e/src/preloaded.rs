//! A Node with the preload and nobody between: the test reads its reports itself, so what an app
//! did is known to the last request, and any Node and any flags can be tried in a second or two.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use monitor_spec::agent::{self, FD_VARIABLE, MAX_REPORT_BYTES, Report};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

use crate::wait;

/// Reports come once a second; a loaded machine may need far longer for the first.
const LIMIT: Duration = Duration::from_secs(60);
/// Reports that a test keeps.
const REPORTS_MAX: usize = 10_000;

/// Dropped, it ends the process.
#[derive(Debug)]
pub struct Preloaded {
    child: Child,
    socket: OwnedFd,
    theirs: Option<OwnedFd>,
    dir: tempfile::TempDir,
    pub seen: Seen,
}

/// What all reports say together.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub reports: Vec<Report>,
    pub routes: BTreeMap<(String, String), Route>,
    /// By kind and peer: calls and errors.
    pub outgoing: BTreeMap<(String, String), (u64, u64)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    pub count: u64,
    pub errors_4xx: u64,
    pub errors_5xx: u64,
    pub aborted: u64,
    pub streams: u64,
}

impl Seen {
    pub fn add(&mut self, report: Report) {
        for route in &report.routes {
            let name = (route.method.clone(), route.route.clone());
            let sum = self.routes.entry(name).or_default();
            sum.count += route.latency.count();
            sum.errors_4xx += route.errors_4xx;
            sum.errors_5xx += route.errors_5xx;
            sum.aborted += route.aborted;
            sum.streams += route.streams;
        }
        for out in &report.outgoing {
            let name = (out.kind.clone(), out.peer.clone());
            let sum = self.outgoing.entry(name).or_default();
            sum.0 += out.latency.count();
            sum.1 += out.errors;
        }
        self.reports.push(report);
    }

    pub fn route(&self, method: &str, route: &str) -> Route {
        let name = (method.to_owned(), route.to_owned());
        self.routes.get(&name).copied().unwrap_or_default()
    }

    /// Calls to a peer and those that failed.
    pub fn calls(&self, kind: &str, peer: &str) -> (u64, u64) {
        let name = (kind.to_owned(), peer.to_owned());
        self.outgoing.get(&name).copied().unwrap_or_default()
    }

    /// Requests of all routes.
    pub fn requests(&self) -> u64 {
        self.routes.values().map(|r| r.count + r.streams).sum()
    }

    pub fn last(&self) -> Report {
        self.reports.last().cloned().unwrap_or_default()
    }

    /// Names of the parts that the last report calls broken.
    pub fn broken(&self) -> Vec<String> {
        let broken = self.last().broken;
        broken.into_iter().map(|broken| broken.part).collect()
    }
}

impl Preloaded {
    /// `node args…` in `dir`, its `NODE_OPTIONS` those of a worker; `options` are the user's own.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(
        node: &Path,
        args: &[&str],
        dir: &Path,
        env: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let own = tempfile::Builder::new()
            .prefix("pando-preload-")
            .tempdir()?;
        let preload = own.path().join("agent.cjs");
        std::fs::write(&preload, node_agent::SOURCE)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let given = env.iter().find(|(name, _)| *name == "NODE_OPTIONS");
        let options = given.map_or("", |(_, value)| value);
        // Its socket comes as standard input, is made descriptor 4, and no other child gets it.
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$0\" \"$@\" 4<&0 </dev/null"])
            .arg(node)
            .args(args)
            .current_dir(dir)
            .envs(env.iter().copied())
            .env(
                "NODE_OPTIONS",
                format!("{options} --require={}", preload.display()),
            )
            .env(FD_VARIABLE, "4")
            .stdin(Stdio::from(theirs.try_clone()?))
            .stdout(File::create(own.path().join("out"))?)
            .stderr(File::create(own.path().join("err"))?);
        Ok(Self {
            child: command.spawn().context("sh does not start")?,
            socket: ours,
            theirs: Some(theirs),
            dir: own,
            seen: Seen::default(),
        })
    }

    /// Standard output and standard error so far.
    pub fn printed(&self) -> anyhow::Result<(String, String)> {
        let read = |name| {
            let mut text = String::new();
            File::open(self.dir.path().join(name))?.read_to_string(&mut text)?;
            anyhow::Ok(text)
        };
        Ok((read("out")?, read("err")?))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Takes the reports that are there.
    ///
    /// # Errors
    /// One is no report.
    pub fn read(&mut self) -> anyhow::Result<()> {
        let mut buffer = vec![0; MAX_REPORT_BYTES + 1];
        while self.seen.reports.len() < REPORTS_MAX {
            match recv(&self.socket, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) | Err(Errno::AGAIN) => return Ok(()),
                Ok((length, _)) => {
                    let text = buffer.get(..length).unwrap_or_default();
                    // What the test itself put there to fill it.
                    if text.starts_with(b"{") {
                        self.seen.add(agent::parse(text)?);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Fills the worker's end of the socket: what it writes next finds no room.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn fill(&mut self) -> anyhow::Result<()> {
        let theirs = self.theirs.as_ref().context("the socket was let go")?;
        for size in [64 << 10, 1 << 10, 1] {
            let junk = vec![b'x'; size];
            while send(theirs, &junk, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_ok() {}
        }
        Ok(())
    }

    /// Reads reports until they say what is wanted.
    ///
    /// # Errors
    /// They do not within a minute, or the process ended.
    pub fn until(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&Seen) -> bool,
    ) -> anyhow::Result<Seen> {
        let mut result = Ok(());
        let came = wait::until(LIMIT, || {
            result = self.read();
            let ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            result.is_err() || wanted(&self.seen) || ended
        });
        result?;
        let (out, err) = self.printed()?;
        ensure!(
            came && wanted(&self.seen),
            "{what} did not come: {:#?}\n{:#?}\nin {} reports, the last {:?}\nstdout: {out}\nstderr: {err}",
            self.seen.routes,
            self.seen.outgoing,
            self.seen.reports.len(),
            self.seen.reports.last(),
        );
        Ok(self.seen.clone())
    }

    /// Waits for its end: the exit code (none for a signal), standard output and standard error.
    ///
    /// # Errors
    /// It goes on for a minute.
    pub fn end(mut self) -> anyhow::Result<(Option<i32>, String, String, Seen)> {
        let mut code = None;
        let ended = wait::until(LIMIT, || match self.child.try_wait() {
            Ok(Some(status)) => {
                code = status.code();
                true
            }
            Ok(None) | Err(_) => false,
        });
        self.read()?;
        let (out, err) = self.printed()?;
        ensure!(ended, "it does not end\nstdout: {out}\nstderr: {err}");
        Ok((code, out, err, self.seen.clone()))
    }
}

impl Drop for Preloaded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
