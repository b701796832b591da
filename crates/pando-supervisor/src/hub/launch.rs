//! From the core's order to root's: command line, environment, pipes, channel.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use app_spec::{AppSpec, Command, Runtime};
use monitor_spec::agent::FD_VARIABLE;
use node_cluster::{Channel, WorkerId};
use pando_logs::{Label, SourceId, Stream};
use pando_root::proto::{SpawnSpec, ToRoot, User};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::effects::child;
use super::gateway::{OWN_PROGRAM, gateway_user};
use super::{Hub, preload};
use crate::core::{Input, SpawnOrder, Target};

/// The channel's number in the child.
const CHANNEL_FD: i32 = 3;
/// The number of the socket for its preload's reports.
const AGENT_FD: i32 = 4;

/// What the hub keeps of a new worker's descriptors.
struct Ends {
    out: OwnedFd,
    err: OwnedFd,
    channel: Option<Channel>,
    agent: Option<OwnedFd>,
}

impl Hub {
    pub(super) fn spawn(&mut self, order: &SpawnOrder) {
        if let Err(why) = self.try_spawn(order) {
            let event = Target::SpawnFailed { why };
            self.inputs.push_back(Input::Worker {
                worker: order.worker,
                event,
            });
        }
    }

    fn try_spawn(&mut self, order: &SpawnOrder) -> Result<(), String> {
        let spec = self.spawn_spec(order)?;
        let no_fds = |error: io::Error| format!("no descriptors for its pipes: {error}");
        let (out, out_child) = pipe().map_err(no_fds)?;
        let (err, err_child) = pipe().map_err(no_fds)?;
        let mut fds = vec![out_child, err_child];
        let channel = if order.channel {
            let (channel, theirs) = Channel::pair().map_err(no_fds)?;
            fds.push(theirs);
            Some(channel)
        } else {
            None
        };
        let agent = if has_preload(&order.spec) {
            let (agent, theirs) = super::monitor::agent_pair().map_err(no_fds)?;
            fds.push(theirs);
            Some(agent)
        } else {
            None
        };
        let ends = Ends {
            out,
            err,
            channel,
            agent,
        };
        self.store(order.worker, &ends);
        let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let sent = self.link.send(&ToRoot::Spawn(spec), &borrowed);
        self.watch_link();
        sent.map_err(|error| format!("root did not take the order: {error}"))?;
        self.attach(order, ends);
        Ok(())
    }

    /// Root keeps duplicates, so that a worker outlives this supervisor.
    fn store(&mut self, worker: WorkerId, ends: &Ends) {
        self.store_fd(format!("out/{}", worker.0), ends.out.as_fd());
        self.store_fd(format!("err/{}", worker.0), ends.err.as_fd());
        if let Some(channel) = &ends.channel {
            self.store_fd(format!("chan/{}", worker.0), channel.as_fd());
        }
        if let Some(agent) = &ends.agent {
            self.store_agent(worker, agent);
        }
    }

    pub(super) fn store_fd(&mut self, name: String, fd: std::os::fd::BorrowedFd<'_>) {
        if let Err(error) = self.link.send(&ToRoot::Store { name }, &[fd]) {
            tracing::error!(%error, "root does not keep a descriptor");
        }
    }

    fn attach(&mut self, order: &SpawnOrder, ends: Ends) {
        self.attach_logs(order.worker, &order.app, order.instance, ends.out, ends.err);
        if let Some(channel) = ends.channel {
            self.add_channel(order.worker, channel);
        }
        if let Some(agent) = ends.agent {
            self.attach_agent(order.worker, &order.app, order.instance, agent);
        }
    }

    pub(super) fn attach_logs(
        &mut self,
        worker: WorkerId,
        app: &str,
        instance: u32,
        out: OwnedFd,
        err: OwnedFd,
    ) {
        for (stream, fd) in [(Stream::Out, out), (Stream::Err, err)] {
            let label = Label {
                app: app.to_owned(),
                worker: instance,
                stream,
            };
            self.pump.attach(source(worker, stream), label, fd);
        }
    }

    pub(super) fn finish_logs(&mut self, worker: WorkerId) {
        self.pump.finish(source(worker, Stream::Out));
        self.pump.finish(source(worker, Stream::Err));
    }

    /// The last lines of a worker's stderr.
    pub(super) fn last_errors(&self, worker: WorkerId) -> Vec<String> {
        self.pump.recent_errors(source(worker, Stream::Err))
    }

    pub(super) fn spawn_failed(&mut self, worker: WorkerId, stage: &str, errno: i32) {
        let error = io::Error::from(Errno::from_raw_os_error(errno));
        let why = format!("{stage}: {error}");
        self.close_channel(worker);
        self.finish_logs(worker);
        for name in ["out", "err", "chan", "agent"] {
            self.tell_root(&ToRoot::Drop {
                name: format!("{name}/{}", worker.0),
            });
        }
        let event = Target::SpawnFailed { why };
        self.inputs.push_back(Input::Worker { worker, event });
    }

    fn spawn_spec(&self, order: &SpawnOrder) -> Result<SpawnSpec, String> {
        let spec = &*order.spec;
        let env = self.environment(order)?;
        let (program, args) = if spec.gateway.is_some() {
            self.gateway_command()
        } else {
            command_line(spec, env.get("PATH").map(String::as_str))?
        };
        let user = user_of(spec)?;
        if let Some(port) = order.port {
            check_port(port)?;
        }
        let mut fds = vec![1, 2];
        if order.channel {
            fds.push(CHANNEL_FD);
        }
        if has_preload(spec) {
            fds.push(AGENT_FD);
        }
        Ok(SpawnSpec {
            child: child(order.worker),
            program,
            args,
            argv0: spec.gateway.is_some().then(|| "pando".to_owned()),
            env: env.into_iter().collect(),
            cwd: spec.cwd.clone(),
            fds,
            user: user.map(|entry| entry.user),
            marker: order.worker.0.to_string(),
            nofile: true,
        })
    }

    /// Root's own binary, which may be another than this one after an upgrade.
    fn gateway_command(&self) -> (PathBuf, Vec<String>) {
        let home = self.options.home.display().to_string();
        let args = ["--home", &home, "gateway", "--worker"];
        (OWN_PROGRAM.into(), args.map(str::to_owned).to_vec())
    }

    /// What the worker sees: the shell's environment, the app's own over it, Node's and ours.
    fn environment(&self, order: &SpawnOrder) -> Result<BTreeMap<String, String>, String> {
        let spec = &*order.spec;
        let mut env = app_environment(spec);
        if let Some(entry) = user_of(spec)? {
            let own = [
                ("HOME", &entry.home),
                ("USER", &entry.name),
                ("LOGNAME", &entry.name),
            ];
            for (key, value) in own {
                if !spec.env.contains_key(key) {
                    env.insert(key.into(), value.clone());
                }
            }
        }
        env.insert("NODE_APP_INSTANCE".into(), order.instance.to_string());
        if let Some(port) = order.port {
            env.insert("PORT".into(), port.to_string());
        }
        if order.channel {
            env.insert("NODE_CHANNEL_FD".into(), CHANNEL_FD.to_string());
            env.insert("NODE_CHANNEL_SERIALIZATION_MODE".into(), "json".into());
        }
        if order.cluster {
            env.insert("NODE_UNIQUE_ID".into(), order.worker.0.to_string());
        }
        if has_preload(spec) {
            let path = preload::install(&self.options.home, spec.user.is_some())
                .map_err(|error| format!("the preload cannot be written: {error}"))?;
            let options = preload::node_options(env.get("NODE_OPTIONS").map(String::as_str), &path);
            env.insert("NODE_OPTIONS".into(), options);
            env.insert(FD_VARIABLE.into(), AGENT_FD.to_string());
        }
        Ok(env)
    }
}

/// Its processes run the preload: they are Node's own, and nobody has turned it off.
pub(super) fn has_preload(spec: &AppSpec) -> bool {
    spec.agent && spec.runtime() == Some(Runtime::Node) && !bars_preloads(spec)
}

/// Node 20's permission model ends a process whose preload lies outside of what it may read;
/// from Node 22 on it does not.
fn bars_preloads(spec: &AppSpec) -> bool {
    const FLAG: &str = "--experimental-permission";
    let of_command = match &spec.command {
        Command::Script {
            interpreter_args, ..
        } => interpreter_args.iter().any(|arg| arg == FLAG),
        Command::Shell { .. } | Command::Exec { .. } => false,
    };
    let options = spec.env.get("NODE_OPTIONS");
    let options = options.or_else(|| spec.base_env.get("NODE_OPTIONS"));
    of_command || options.is_some_and(|text| text.contains(FLAG))
}

/// Whom the app runs as, if as somebody else than we are.
fn user_of(spec: &AppSpec) -> Result<Option<UserEntry>, String> {
    if spec.gateway.is_some() {
        return gateway_user(spec);
    }
    spec.user.as_deref().map(find_user).transpose()
}

/// The environment that the app is given, without what belongs to one worker.
pub(super) fn app_environment(spec: &AppSpec) -> BTreeMap<String, String> {
    let mut env = spec.base_env.clone();
    for foreign in [
        "NODE_CHANNEL_FD",
        "NODE_CHANNEL_SERIALIZATION_MODE",
        "NODE_UNIQUE_ID",
        // Of a worker whose app started us.
        FD_VARIABLE,
        "PANDO_AGENT_PID",
    ] {
        env.remove(foreign);
    }
    env.extend(spec.env.clone());
    env.insert("PANDO_APP".into(), spec.name.clone());
    env
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

/// Two log sources a worker.
pub(super) fn source(worker: WorkerId, stream: Stream) -> SourceId {
    let bit = match stream {
        Stream::Out => 0,
        Stream::Err => 1,
    };
    SourceId(u64::from(worker.0) << 1 | bit)
}

/// Program and arguments; the program found on `path`.
fn command_line(spec: &AppSpec, path: Option<&str>) -> Result<(PathBuf, Vec<String>), String> {
    match &spec.command {
        Command::Shell { line } => Ok(("/bin/sh".into(), vec!["-c".into(), line.clone()])),
        Command::Exec { program, args } => Ok((find_program(program, path)?, args.clone())),
        Command::Script {
            script,
            interpreter,
            interpreter_args,
            args,
        } => {
            if !script.exists() {
                return Err(format!("there is no script {}", script.display()));
            }
            let mut all = interpreter_args.clone();
            if Runtime::of(interpreter) == Runtime::Deno && interpreter_args.is_empty() {
                all.extend(["run".to_owned(), "--allow-all".to_owned()]);
            }
            all.push(script.display().to_string());
            all.extend(args.iter().cloned());
            Ok((find_program(Path::new(interpreter), path)?, all))
        }
    }
}

/// execvp's search, done here because the PATH that counts is the app's.
fn find_program(program: &Path, path: Option<&str>) -> Result<PathBuf, String> {
    if program.components().count() > 1 {
        return Ok(program.to_owned());
    }
    let path = path.unwrap_or("/usr/local/bin:/usr/bin:/bin");
    path.split(':')
        .filter(|dir| !dir.is_empty())
        .map(|dir| Path::new(dir).join(program))
        .find(|candidate| rustix::fs::access(candidate, rustix::fs::Access::EXEC_OK).is_ok())
        .ok_or_else(|| {
            format!(
                "there is no {} on the app's PATH ({path})",
                program.display()
            )
        })
}

/// A port that somebody else holds would answer in the app's place, so it is looked at before.
fn check_port(port: u16) -> Result<(), String> {
    let free = |ip: IpAddr| match TcpListener::bind((ip, port)) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Some(SocketAddr::new(ip, port)),
        Ok(_) | Err(_) => None,
    };
    let any = [
        IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::from(Ipv6Addr::UNSPECIFIED),
    ];
    let Some(taken) = any.into_iter().find_map(free) else {
        return Ok(());
    };
    let holder = steer::holder(taken).map_or(String::new(), |holder| format!(" by {holder}"));
    Err(format!("port {port} is already in use{holder}"))
}

/// An entry of /etc/passwd.
pub(super) struct UserEntry {
    pub name: String,
    pub home: String,
    pub user: User,
}

/// A user by name or number from /etc/passwd, with the groups of /etc/group.
pub(super) fn find_user(name: &str) -> Result<UserEntry, String> {
    let read = |file: &str| {
        std::fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))
    };
    let passwd = read("/etc/passwd")?;
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|f| f.len() > 3 && (f[0] == name || f[2] == name))
        .ok_or_else(|| format!("there is no user {name} in /etc/passwd"))?;
    let number = |text: &str| text.parse().map_err(|_| format!("a bad entry for {name}"));
    let (uid, gid) = (number(entry[2])?, number(entry[3])?);
    let groups = read("/etc/group")?
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .filter(|f| f.len() > 3 && f[3].split(',').any(|member| member == entry[0]))
        .filter_map(|f| f[2].parse().ok())
        .chain([gid])
        .collect();
    Ok(UserEntry {
        name: entry[0].to_owned(),
        home: entry.get(5).copied().unwrap_or("/").to_owned(),
        user: User { uid, gid, groups },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_on_the_apps_own_path() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("runme");
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        let path = dir.path().display().to_string();
        assert!(
            find_program(Path::new("runme"), Some(&path))
                .unwrap_err()
                .contains("no runme")
        );
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        assert_eq!(
            find_program(Path::new("runme"), Some(&path)).unwrap(),
            program
        );
        assert_eq!(
            find_program(Path::new("/x/y"), None).unwrap(),
            Path::new("/x/y")
        );
    }

    #[test]
    fn a_process_that_may_not_read_the_preload_gets_none() {
        let script = |args: &[&str]| Command::Script {
            script: "/srv/server.js".into(),
            interpreter: "node".into(),
            interpreter_args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            args: Vec::new(),
        };
        let spec = |args: &[&str]| AppSpec::new("api", script(args), "/srv".into());
        assert!(has_preload(&spec(&[])));
        assert!(has_preload(&spec(&["--permission"])));
        assert!(!has_preload(&spec(&["--experimental-permission"])));
        let mut by_env = spec(&[]);
        let options = "--experimental-permission --allow-fs-read=/srv";
        by_env.env.insert("NODE_OPTIONS".into(), options.into());
        assert!(!has_preload(&by_env));
        let mut off = spec(&[]);
        off.agent = false;
        assert!(!has_preload(&off));
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        assert_eq!(find_user("root").unwrap().user.uid, 0);
        let entry = find_user("0").unwrap();
        assert_eq!((entry.user.gid, entry.name.as_str()), (0, "root"));
        assert!(entry.home.starts_with('/'));
        let nobody = find_user("nobody-of-this-name").err().unwrap();
        assert!(nobody.contains("no user"));
    }

    #[test]
    fn a_port_that_is_taken_is_refused_with_its_holder() {
        for ip in [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            Ipv4Addr::UNSPECIFIED.into(),
        ] {
            let holder = TcpListener::bind((ip, 0)).unwrap();
            let port = holder.local_addr().unwrap().port();
            let why = check_port(port).unwrap_err();
            assert!(why.contains(&std::process::id().to_string()), "{why}");
            drop(holder);
            check_port(port).unwrap();
        }
    }
}
