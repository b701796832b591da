//! What `pando start TARGET` means: a script, a program, a shell line or a package's directory.
//!
//! ```text
//! a file                      -> a script, by its extension or its #! line
//! a directory                 -> its package.json's start script
//! "two words", $, | and so on -> node with a script: that script; else a line for the shell
//! a word on the PATH          -> that program; node: its script
//! a file less its extension   -> as node finds it: server, dist/main
//! ```

use std::path::{Path, PathBuf};

use app_spec::Command;

use crate::command::{Script, Surroundings, Wrong, absolute};
use crate::flags::{self, StartFlags, TARGET};
use crate::package::{self, NodeLine};
use crate::problem::{Place, Refusal, Report};
use crate::words;

/// Words that a shell understands without a program (POSIX, 2.14 and 2.4; and `[`, `echo`, …).
const SHELL_WORDS: [&str; 44] = [
    ".", ":", "[", "alias", "bg", "break", "case", "cd", "command", "continue", "echo", "eval",
    "exec", "exit", "export", "false", "fg", "for", "getopts", "hash", "if", "jobs", "kill",
    "local", "printf", "pwd", "read", "readonly", "return", "set", "shift", "source", "test",
    "time", "times", "trap", "true", "type", "ulimit", "umask", "unset", "until", "wait", "while",
];

const PACKAGE_MANAGERS: [&str; 5] = ["npm", "npx", "pnpm", "yarn", "bun"];

/// What was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub command: Command,
    /// Not yet made valid.
    pub name: String,
    pub cwd: PathBuf,
    /// Assignments that stood before the command, below the user's own.
    pub env: Vec<(String, String)>,
}

impl Target {
    /// Stands in for a target with a problem, so that the rest can be checked.
    pub fn none(cwd: &Path) -> Self {
        let command = Command::Shell {
            line: String::new(),
        };
        Self {
            command,
            name: String::new(),
            cwd: cwd.to_path_buf(),
            env: Vec::new(),
        }
    }
}

/// The flags that concern the command, and the surroundings.
struct Resolver<'a> {
    flags: &'a StartFlags,
    at: &'a Surroundings<'a>,
    node_args: Vec<String>,
    args: Vec<String>,
}

pub(crate) fn resolve(
    flags: &StartFlags,
    at: &Surroundings<'_>,
    report: &mut Report,
) -> Option<Target> {
    let node_args = flags::node_args(flags, report);
    // `npm -- start`: the dashes end Pando's flags and are not the program's.
    let args = flags
        .args
        .strip_prefix(&["--".to_owned()][..])
        .unwrap_or(&flags.args)
        .to_vec();
    let nul = args
        .iter()
        .chain(&node_args)
        .chain([&flags.target])
        .any(|text| text.contains('\0'));
    if nul {
        let why = "no path and no argument can hold one";
        report.error(
            &TARGET,
            Refusal::new("there is a NUL character", why, "remove it"),
        );
        return None;
    }
    let resolver = Resolver {
        flags,
        at,
        node_args,
        args,
    };
    match resolver.target() {
        Ok(target) => {
            resolver.unused(&target, report);
            Some(target)
        }
        Err(Wrong::Script(refusal)) => {
            report.error(&TARGET, refusal);
            None
        }
        Err(Wrong::Interpreter(refusal)) => {
            let chosen = flags.interpreter.is_some();
            report.error(
                if chosen {
                    &Place::Flag("--interpreter")
                } else {
                    &TARGET
                },
                refusal,
            );
            None
        }
    }
}

impl Resolver<'_> {
    fn target(&self) -> Result<Target, Wrong> {
        let target = self.flags.target.trim();
        let path = absolute(self.at.base, target);
        if target.is_empty() {
            let fix = "name a script, a command or a directory: pando start server.js";
            return Err(Wrong::Script(Refusal::new(
                "there is nothing to start",
                "",
                fix,
            )));
        }
        if self.at.fs.is_file(&path) {
            settings_file(&path).map_err(Wrong::Script)?;
            return self.script(target);
        }
        if self.flags.interpreter.is_some() {
            return self.script(target);
        }
        if self.at.fs.is_dir(&path) && (target.contains(['/', '.']) || self.is_package(&path)) {
            return self.directory(&path);
        }
        if target.contains(char::is_whitespace) || words::needs_shell(target) {
            return self.line(target);
        }
        if !target.contains('/') && self.at.program(target).is_some() {
            return self.program(target);
        }
        match self.at.find_script(target) {
            Ok(_) => self.script(target),
            Err(refusal) => Err(Wrong::Script(self.nothing(target, refusal))),
        }
    }

    fn is_package(&self, dir: &Path) -> bool {
        self.at.fs.is_file(&dir.join("package.json"))
    }

    /// Neither script nor program.
    fn nothing(&self, target: &str, refusal: Refusal) -> Refusal {
        let first = target.split_whitespace().next().unwrap_or(target);
        if first.contains('/') || Path::new(first).extension().is_some() {
            return refusal;
        }
        let what = format!("no such script or program: {target}");
        let why = format!("{}, and no `{first}` on the PATH", refusal.why);
        Refusal::new(what, why, refusal.fix)
    }

    fn script(&self, written: &str) -> Result<Target, Wrong> {
        let ask = Script {
            written,
            interpreter: self.flags.interpreter.as_deref(),
            interpreter_args: self.node_args.clone(),
            args: self.args.clone(),
        };
        let command = self.at.resolve_script(ask)?;
        Ok(self.named(command, self.at.cwd))
    }

    fn named(&self, command: Command, cwd: &Path) -> Target {
        let stem = |path: &Path| {
            path.file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let name = match &command {
            Command::Script { script, .. } => stem(script),
            Command::Exec { program, .. } => match stem(program) {
                manager if PACKAGE_MANAGERS.contains(&manager.as_str()) => self.package_name(cwd),
                name => name,
            },
            Command::Shell { line } => {
                let mut words = line.split_whitespace();
                let first = words.find(|word| words::assignment(word).is_none());
                match first.map_or_else(String::new, |word| stem(Path::new(word))) {
                    manager if PACKAGE_MANAGERS.contains(&manager.as_str()) => {
                        self.package_name(cwd)
                    }
                    name => name,
                }
            }
        };
        Target {
            command,
            name,
            cwd: cwd.to_path_buf(),
            env: Vec::new(),
        }
    }

    fn package_name(&self, dir: &Path) -> String {
        let package = package::read(self.at.fs, dir).and_then(Result::ok);
        package.and_then(|package| package.name).unwrap_or_else(|| {
            dir.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        })
    }

    /// `node --flag script args`, in `dir`.
    fn node(&self, line: NodeLine, dir: &Path) -> Result<Target, Wrong> {
        let inside = Surroundings {
            base: dir,
            cwd: dir,
            ..*self.at
        };
        let command = inside.resolve_script(Script {
            written: &line.script,
            interpreter: Some(&line.program),
            interpreter_args: line
                .node_args
                .into_iter()
                .chain(self.node_args.clone())
                .collect(),
            args: line.args,
        })?;
        Ok(Target {
            env: line.env,
            ..self.named(command, dir)
        })
    }

    fn line(&self, line: &str) -> Result<Target, Wrong> {
        let quoted = self.args.iter().map(|arg| words::quote(arg));
        let line = [line.to_owned()]
            .into_iter()
            .chain(quoted)
            .collect::<Vec<_>>()
            .join(" ");
        if let Some(node) = package::node_line(&line) {
            return self.node(node, self.at.cwd);
        }
        let first = line
            .split_whitespace()
            .find(|word| words::assignment(word).is_none());
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
        if let Some(first) = first
            && first.chars().all(plain)
            && !SHELL_WORDS.contains(&first)
            && self.at.resolve_program(first).is_err()
        {
            let refusal = self.at.no_script(&self.flags.target);
            let near = refusal.fix.starts_with("did you mean");
            let fix = if near {
                refusal.fix
            } else {
                format!("install {first}, or check the spelling")
            };
            let what = format!("no such program: {first}");
            let why = format!("it is not on the PATH, which is {}", self.at.path_var);
            return Err(Wrong::Script(Refusal::new(what, why, fix)));
        }
        Ok(self.named(Command::Shell { line }, self.at.cwd))
    }

    fn program(&self, name: &str) -> Result<Target, Wrong> {
        let words: Vec<String> = [name.to_owned()]
            .into_iter()
            .chain(self.args.clone())
            .collect();
        if let Some(node) = package::node_words(&words) {
            return self.node(node, self.at.cwd);
        }
        if self.args.is_empty() && matches!(name, "node" | "nodejs" | "npm" | "npx" | "pnpm") {
            let why = format!("{name} alone starts no app");
            let fix = if name.starts_with("node") {
                "name the script: pando start server.js"
            } else {
                "name what it runs: pando start npm -- start"
            };
            return Err(Wrong::Script(Refusal::new(
                format!("`{name}` needs arguments"),
                why,
                fix,
            )));
        }
        let program = self.at.resolve_program(name).map_err(Wrong::Script)?;
        let command = Command::Exec {
            program,
            args: self.args.clone(),
        };
        Ok(self.named(command, self.at.cwd))
    }

    /// A package's start script, as `npm start` would run it.
    fn directory(&self, dir: &Path) -> Result<Target, Wrong> {
        let dir_name = self.package_name(dir);
        let work = if self.flags.cwd.is_some() {
            self.at.cwd
        } else {
            dir
        };
        let found = match package::read(self.at.fs, dir) {
            None => {
                return self.entry(dir).map(|t| Target {
                    name: dir_name,
                    cwd: work.to_path_buf(),
                    ..t
                });
            }
            Some(Err(error)) => {
                let what = format!("{} cannot be read", dir.join("package.json").display());
                return Err(Wrong::Script(Refusal::new(
                    what,
                    error,
                    "repair it, or name a script",
                )));
            }
            Some(Ok(package)) => package,
        };
        let target = match found.scripts.get("start") {
            Some(start) => match package::node_line(start) {
                Some(mut line) => {
                    line.args.extend(self.args.iter().cloned());
                    self.node(line, dir)?
                }
                None => self.manager_start(&package::manager(self.at.fs, dir, &found), dir)?,
            },
            None => self.entry(dir)?,
        };
        Ok(Target {
            name: dir_name,
            cwd: work.to_path_buf(),
            ..target
        })
    }

    fn manager_start(&self, manager: &str, dir: &Path) -> Result<Target, Wrong> {
        let inside = Surroundings {
            base: dir,
            cwd: dir,
            ..*self.at
        };
        let program = inside.resolve_program(manager).map_err(Wrong::Script)?;
        let mut args = vec!["start".to_owned()];
        if !self.args.is_empty() {
            args.push("--".to_owned());
            args.extend(self.args.iter().cloned());
        }
        Ok(self.named(Command::Exec { program, args }, dir))
    }

    /// What runs a directory without a start script: its main, or npm's default, server.js.
    fn entry(&self, dir: &Path) -> Result<Target, Wrong> {
        let server = dir.join("server.js");
        let path = if self.at.fs.is_file(&server) {
            server
        } else {
            self.at.find_script(&dir.display().to_string()).map_err(|refusal| {
                let what = format!("{} has no start script", dir.display());
                let why = "there is no `start` in its package.json, no main, no server.js and no index.js";
                Wrong::Script(Refusal::new(what, why, refusal.fix))
            })?
        };
        self.script(&path.display().to_string())
    }

    /// Flags that what is started cannot take.
    fn unused(&self, target: &Target, report: &mut Report) {
        let no_interpreter = !matches!(target.command, Command::Script { .. });
        if no_interpreter && !self.node_args.is_empty() {
            let why = "what is started is not a script that Pando runs with node";
            let fix = "set NODE_OPTIONS with --env, or start the script itself";
            let refusal = Refusal::new("they would reach nobody", why, fix);
            report.error(&Place::Flag("--node-args"), refusal);
        }
    }
}

/// Files that describe apps and are none.
fn settings_file(path: &Path) -> Result<(), Refusal> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name == crate::file::FILE_NAME {
        let why = "it describes apps, it is none";
        return Err(Refusal::new("pando.toml is not a script", why, "pando up"));
    }
    let config = [".config.js", ".config.cjs", ".config.mjs"]
        .iter()
        .any(|end| name.ends_with(end));
    if config && (name.starts_with("ecosystem.") || name.starts_with("pm2.")) {
        return Err(Refusal::new(
            format!("{name} is a file of PM2, not a script"),
            "this version reads pando.toml only",
            "write a pando.toml with `pando init`, then `pando up`",
        ));
    }
    Ok(())
}
