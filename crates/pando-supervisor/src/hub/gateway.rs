//! The gateway's side of the hub: words to it, descriptors that it may have, questions that
//! callers ask it, and the user that it runs as.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use app_spec::{AppSpec, GATEWAY};
use gateway_spec::PathUse;
use gateway_spec::link::{
    Answer, AppState, Ask, MAX_LINE_BYTES, MAX_SPEC_BYTES, ToGateway, encode,
};
use node_cluster::WorkerId;
use pando_control::Reply;
use pando_control::api;
use rustix::fs::OFlags;

use super::launch::{UserEntry, find_user};
use super::{Hub, now_ms};
use crate::core::Ms;

/// The program of the process that becomes the gateway: root's own, whatever its path is by now.
/// It is looked up in the child, which is root's copy until it executes.
pub(super) const OWN_PROGRAM: &str = "/proc/self/exe";
/// A question of a caller is answered within this, or not at all.
const ASK_MS: Ms = 10_000;
const QUESTIONS_MAX: usize = 64;
/// Users that a gateway runs as when root starts it and the file names none.
const USERS: [&str; 2] = ["www-data", "nobody"];

/// Callers that wait for a gateway's answer.
#[derive(Default)]
pub(super) struct Questions {
    next: u64,
    open: BTreeMap<u64, (Reply, Ms)>,
}

impl Questions {
    pub fn next_at(&self) -> Option<Ms> {
        self.open.values().map(|(_, until)| *until).min()
    }

    fn ask(&mut self, reply: Reply, until: Ms) -> u64 {
        self.next += 1;
        self.open.insert(self.next, (reply, until));
        self.next
    }
}

impl Hub {
    /// Where a gateway keeps its things.
    fn gateway_state(&self) -> PathBuf {
        self.options.home.join(GATEWAY)
    }

    pub(super) fn tell_gateway(&mut self, worker: WorkerId, mut say: ToGateway) {
        match &mut say {
            ToGateway::Config { state, .. } => *state = self.gateway_state(),
            ToGateway::Apps(apps) => {
                for app in apps {
                    let failing = matches!(app.state, AppState::CrashLoop | AppState::Exited);
                    let failed = self.core.app(&app.app).and_then(crate::core::App::failed);
                    if let Some(failed) = failed.filter(|_| failing) {
                        app.errors = self.last_errors(failed);
                    }
                }
            }
            ToGateway::Opened { .. } | ToGateway::Ask { .. } => {}
        }
        self.say_to_gateway(worker, &say, None);
    }

    fn say_to_gateway(&mut self, worker: WorkerId, say: &ToGateway, fd: Option<Arc<OwnedFd>>) {
        match encode(say) {
            Ok(line) if line.len() <= MAX_LINE_BYTES => self.queue_line(worker, line, fd),
            Ok(line) => tracing::error!(bytes = line.len(), "too long for a gateway"),
            Err(error) => tracing::error!(%error, "a word to a gateway cannot be written"),
        }
    }

    /// Opens what the gateway's configuration names, with the supervisor's rights, and nothing
    /// else.
    pub(super) fn open_for(&mut self, worker: WorkerId, id: u64, path: &Path) {
        let state = self.gateway_state();
        let app = self.core.app_of(worker);
        let named = app.into_iter().flat_map(crate::core::App::gateway_specs);
        let used = named
            .flat_map(|spec| spec.paths(&state))
            .find(|(named, _)| named == path)
            .map(|(_, used)| used);
        let user = app.and_then(|app| gateway_user(app.spec()).ok().flatten());
        let opened = match used {
            Some(used) => open(path, used, user.as_ref()),
            None => Err(io::Error::other("the configuration does not name it")),
        };
        let (error, fd) = match opened {
            Ok(fd) => (None, Some(Arc::new(fd))),
            Err(error) => (Some(error.to_string()), None),
        };
        self.say_to_gateway(worker, &ToGateway::Opened { id, error }, fd);
    }

    /// A caller's question, to the gateway that serves.
    pub(super) fn ask_gateway(&mut self, ask: Ask, reply: Reply) {
        let serving = self.core.app(GATEWAY).and_then(|app| {
            let ready = app.workers().find(|w| w.is_ready() && w.has_channel());
            ready.filter(|_| app.spec().gateway.is_some()).map(|w| w.id)
        });
        let Some(worker) = serving else {
            return reply.failed(gateway_problem(
                "no gateway is serving",
                "",
                "`pando ls` shows whether one is to",
            ));
        };
        if self.questions.open.len() >= QUESTIONS_MAX {
            return reply.failed(gateway_problem(
                "the gateway was not asked",
                "too many questions wait for an answer",
                "try again",
            ));
        }
        let id = self.questions.ask(reply, now_ms() + ASK_MS);
        self.say_to_gateway(worker, &ToGateway::Ask { id, ask }, None);
    }

    pub(super) fn gateway_answered(&mut self, question: u64, result: Result<Box<Answer>, String>) {
        let Some((reply, _)) = self.questions.open.remove(&question) else {
            return;
        };
        match result {
            Ok(answer) => reply.done(api::Answer::Gateway(*answer)),
            Err(why) => reply.failed(gateway_problem("the gateway could not do it", &why, "")),
        }
    }

    pub(super) fn drop_old_questions(&mut self, now: Ms) {
        let old = |_: &u64, (_, until): &mut (Reply, Ms)| *until <= now;
        let over: Vec<_> = self.questions.open.extract_if(.., old).collect();
        for (_, (reply, _)) in over {
            reply.failed(gateway_problem(
                "the gateway did not answer",
                "10 s have passed",
                "`pando logs gateway` shows what it does",
            ));
        }
    }
}

fn gateway_problem(what: &str, why: &str, fix: &str) -> api::Problem {
    api::Problem {
        place: format!("app {GATEWAY}"),
        what: what.to_owned(),
        why: why.to_owned(),
        fix: fix.to_owned(),
        exit_code: 1,
        ..api::Problem::default()
    }
}

/// What no supervisor can run: an app with the gateway's name, a gateway that fits into no line.
pub(super) fn refuse_spec(spec: &AppSpec) -> Option<api::Problem> {
    let wrong = |what: String, why: &str, fix: &str| {
        Some(api::Problem {
            exit_code: 2,
            ..gateway_problem(&what, why, fix)
        })
    };
    let Some(gateway) = &spec.gateway else {
        let why = "that is the name of Pando's own gateway in `pando ls`, logs and commands";
        let what = format!("no app can be named {GATEWAY}");
        return (spec.name == GATEWAY)
            .then(|| wrong(what, why, "choose another name"))
            .flatten();
    };
    let bytes = serde_json::to_vec(gateway).map_or(0, |text| text.len());
    if bytes <= MAX_SPEC_BYTES {
        return None;
    }
    let mib = |bytes: usize| bytes.div_ceil(1024 * 1024);
    let what = format!("the gateway's sites are too many: {} MiB", mib(bytes));
    let why = format!("one gateway takes up to {} MiB", mib(MAX_SPEC_BYTES));
    wrong(
        what,
        &why,
        "serve some of them from another machine or home",
    )
}

pub(super) fn one_gateway() -> api::Problem {
    api::Problem {
        exit_code: 2,
        ..gateway_problem(
            "the gateway is one process",
            "it has a thread for each core, which share its connections and its cache",
            "`threads` in [gateway] sets their number",
        )
    }
}

/// Whom a gateway runs as: nobody else than we are, unless we are root.
pub(super) fn gateway_user(spec: &AppSpec) -> Result<Option<UserEntry>, String> {
    let named = spec.gateway.as_ref().and_then(|g| g.user.as_deref());
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    match named {
        Some(name) => find_user(name).map(Some),
        None => Ok(USERS.iter().find_map(|name| find_user(name).ok())),
    }
}

fn open(path: &Path, used: PathUse, user: Option<&UserEntry>) -> io::Result<OwnedFd> {
    let mut options = fs::OpenOptions::new();
    // A named pipe must not hold the supervisor up.
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    match used {
        PathUse::Read => options.read(true),
        PathUse::ReadDir => {
            flags |= OFlags::DIRECTORY;
            options.read(true)
        }
        PathUse::OwnDir => {
            make_own_dir(path, user)?;
            flags |= OFlags::DIRECTORY;
            options.read(true)
        }
        PathUse::Append => {
            make_log(path, user)?;
            options.append(true)
        }
    };
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    Ok(options.custom_flags(flags).open(path)?.into())
}

/// Makes the file if it is not there, the user's: it is opened again through its descriptor, which
/// asks for the file's own rights.
fn make_log(path: &Path, user: Option<&UserEntry>) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    match options.append(true).create_new(true).mode(0o640).open(path) {
        Ok(file) => match user {
            Some(user) => std::os::unix::fs::fchown(file, Some(user.user.uid), Some(user.user.gid)),
            None => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the directory if it is not there, the user's. One that is there stays whose it is: a path
/// that a person chose badly, like /root, must not change hands.
fn make_own_dir(path: &Path, user: Option<&UserEntry>) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path)?;
    match user {
        Some(user) => std::os::unix::fs::chown(path, Some(user.user.uid), Some(user.user.gid)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_opened_depends_on_its_use() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("a/b");
        assert!(open(&own, PathUse::ReadDir, None).is_err());
        open(&own, PathUse::OwnDir, None).unwrap();
        let mode = fs::metadata(&own).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let file = own.join("f");
        assert!(open(&file, PathUse::Read, None).is_err());
        open(&file, PathUse::Append, None).unwrap();
        open(&file, PathUse::Read, None).unwrap();
        assert!(open(&file, PathUse::ReadDir, None).is_err());
    }

    #[test]
    fn a_name_that_is_taken_and_a_description_that_is_too_long_are_refused() {
        let command = app_spec::Command::Shell { line: "x".into() };
        let app = AppSpec::new(GATEWAY, command.clone(), "/".into());
        assert!(refuse_spec(&app).unwrap().what.contains("named gateway"));
        assert!(refuse_spec(&AppSpec::new("api", command, "/".into())).is_none());
        let mut spec = gateway_spec::GatewaySpec::default();
        assert!(refuse_spec(&AppSpec::of_gateway(spec.clone())).is_none());
        let host = "x".repeat(MAX_SPEC_BYTES);
        spec.sites = vec![gateway_spec::Site::new([host], Vec::new())];
        let problem = refuse_spec(&AppSpec::of_gateway(spec)).unwrap();
        assert!(problem.what.contains("4 MiB"), "{problem:?}");
    }

    #[test]
    fn a_pipe_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        open(&path, PathUse::Read, None).unwrap();
    }
}
