//! How an app's process is made: which interpreter runs a script, whether a program is there.
//!
//! Interpreters and programs that are found on the PATH stay bare names in the spec, so that an
//! upgrade of node needs no change of it; what is found anywhere else becomes an absolute path.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use app_spec::{Command, Runtime};

use crate::fs::{FileSystem, NodeVersion};
use crate::package;
use crate::problem::{Refusal, did_you_mean};

const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const MAX_PATH_DIRS: usize = 256;
/// Enough for any `#!` line; the kernel reads 256 bytes.
const SHEBANG_BYTES: u64 = 256;
/// Where builds put what a person names by its source.
const BUILD_DIRS: [&str; 5] = ["dist", "build", "src", "lib", "out"];

/// The machine as one app sees it.
pub(crate) struct Surroundings<'a> {
    pub fs: &'a dyn FileSystem,
    /// Relative paths start here: the directory of pando.toml, or the caller's.
    pub base: &'a Path,
    /// The app's working directory.
    pub cwd: &'a Path,
    pub path_var: &'a str,
}

/// The PATH that the app's processes will have.
pub(crate) fn path_var<'e>(
    env: &'e BTreeMap<String, String>,
    base_env: &'e BTreeMap<String, String>,
) -> &'e str {
    env.get("PATH")
        .or_else(|| base_env.get("PATH"))
        .map_or(DEFAULT_PATH, String::as_str)
}

/// A script as written, with what was said of how to run it.
pub(crate) struct Script<'a> {
    pub written: &'a str,
    pub interpreter: Option<&'a str>,
    pub interpreter_args: Vec<String>,
    pub args: Vec<String>,
}

/// What was wrong: the script itself, or its interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Script(Refusal),
    Interpreter(Refusal),
}

impl Surroundings<'_> {
    /// The program of this name: on the PATH, or in the app's `node_modules/.bin`.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let dirs = self
            .path_var
            .split(':')
            .filter(|dir| !dir.is_empty())
            .take(MAX_PATH_DIRS);
        let on_path = dirs.map(|dir| self.cwd.join(dir).join(name));
        on_path.into_iter().find(|path| self.fs.is_executable(path))
    }

    fn local_program(&self, name: &str) -> Option<PathBuf> {
        let path = self.cwd.join("node_modules/.bin").join(name);
        self.fs.is_executable(&path).then_some(path)
    }

    /// A program without its arguments: a path, or a name to be looked up.
    pub fn resolve_program(&self, written: &str) -> Result<PathBuf, Refusal> {
        if written.contains('/') {
            let path = absolute(self.base, written);
            return if self.fs.is_executable(&path) {
                Ok(path)
            } else {
                Err(self.no_program_at(written, &path))
            };
        }
        if self.program(written).is_some() {
            return Ok(PathBuf::from(written));
        }
        self.local_program(written)
            .ok_or_else(|| self.no_program(written))
    }

    fn no_program_at(&self, written: &str, path: &Path) -> Refusal {
        if self.fs.is_file(path) {
            let fix = format!("chmod +x {}", path.display());
            return Refusal::new(
                format!("`{written}` is not executable"),
                "it has no execute bit",
                fix,
            );
        }
        let why = format!("{} is not a file", path.display());
        Refusal::new(format!("no such program: {written}"), why, "check the path")
    }

    fn no_program(&self, name: &str) -> Refusal {
        let what = format!("there is no `{name}` on the PATH");
        let why = format!("the PATH is {}", self.path_var);
        let fix = match name {
            "node" => {
                "install Node.js, or give the path of its binary as the interpreter".to_owned()
            }
            _ => format!("install {name}, or give its full path"),
        };
        Refusal::new(what, why, fix)
    }

    /// The file that a script's name means, as node itself would find it.
    pub fn find_script(&self, written: &str) -> Result<PathBuf, Refusal> {
        let bases = [self.base, self.cwd];
        let exact = bases
            .iter()
            .map(|base| absolute(base, written))
            .find(|p| self.fs.is_file(p));
        if let Some(path) = exact {
            return Ok(path);
        }
        let entry = bases
            .iter()
            .find_map(|base| self.node_entry(&absolute(base, written)));
        entry.ok_or_else(|| self.no_script(written))
    }

    /// `dist/main` for `dist/main.js`, a directory for its package's main (Node's
    /// lib/internal/modules/cjs/loader.js, without JSON and addons).
    fn node_entry(&self, path: &Path) -> Option<PathBuf> {
        if !self.fs.is_dir(path) {
            let named = append(path, ".js");
            return self.fs.is_file(&named).then_some(named);
        }
        let main = package::read(self.fs, path)
            .and_then(Result::ok)
            .and_then(|p| p.main);
        let main = main.map(|main| absolute(path, &main));
        let candidates = main
            .into_iter()
            .flat_map(|main| [main.clone(), append(&main, ".js"), main.join("index.js")]);
        candidates
            .chain([path.join("index.js")])
            .find(|file| self.fs.is_file(file))
    }

    pub fn no_script(&self, written: &str) -> Refusal {
        let path = absolute(self.base, written);
        let what = format!("no such script: {written}");
        let (why, fix) = if self.fs.is_dir(&path) {
            let why = format!(
                "{} is a directory with no package.json main and no index.js",
                path.display()
            );
            (why, "name the file to run".to_owned())
        } else {
            let fix = match self.nearest(&path) {
                Some(near) => format!("did you mean {near}?"),
                None if written.contains(char::is_whitespace) => {
                    "for a command line use `command`".to_owned()
                }
                None => "check the path".to_owned(),
            };
            (format!("there is no file {}", path.display()), fix)
        };
        Refusal::new(what, why, fix)
    }

    /// A file near the path in name or place, relative to the base directory.
    fn nearest(&self, path: &Path) -> Option<String> {
        let (dir, name) = (path.parent()?, path.file_name()?.to_str()?);
        let show = |path: &Path| {
            path.strip_prefix(self.base)
                .unwrap_or(path)
                .display()
                .to_string()
        };
        let built = BUILD_DIRS.iter().map(|build| dir.join(build).join(name));
        if let Some(built) = built.into_iter().find(|path| self.fs.is_file(path)) {
            return Some(show(&built));
        }
        let names = self.fs.names(dir);
        let files = names
            .iter()
            .filter(|n| self.fs.is_file(&dir.join(n.as_str())));
        let files: Vec<&str> = files.map(String::as_str).collect();
        // `servr` for `server.js`: a name typed without its extension is compared without.
        let stem = |file: &'_ str| file.split('.').next().unwrap_or(file).to_owned();
        let stems: Vec<String> = files.iter().map(|file| stem(file)).collect();
        let near = did_you_mean(name, files.iter().copied()).or_else(|| {
            let near = did_you_mean(name, stems.iter().map(String::as_str))?;
            files
                .iter()
                .copied()
                .find(|file| stem(file) == near && !near.is_empty())
        })?;
        Some(show(&dir.join(near)))
    }

    /// How a script is run, and a warning if there is something to know.
    pub fn resolve_script(&self, script: Script<'_>) -> Result<Command, Wrong> {
        let path = self.find_script(script.written).map_err(Wrong::Script)?;
        let chosen = match script.interpreter {
            Some("none") => How::Exec,
            Some(name) => How::Run(name.to_owned()),
            None => self.how(&path).map_err(Wrong::Script)?,
        };
        let interpreter = match chosen {
            How::Run(interpreter) => interpreter,
            How::Exec => return self.exec(path, script),
        };
        let program = self
            .resolve_program(&interpreter)
            .map_err(Wrong::Interpreter)?;
        if Runtime::of(&interpreter) == Runtime::Node {
            self.check_types(&path, &interpreter, &script.interpreter_args)
                .map_err(Wrong::Script)?;
        }
        Ok(Command::Script {
            script: path,
            interpreter: program.display().to_string(),
            interpreter_args: script.interpreter_args,
            args: script.args,
        })
    }

    fn exec(&self, path: PathBuf, script: Script<'_>) -> Result<Command, Wrong> {
        if !self.fs.is_executable(&path) {
            return Err(Wrong::Script(self.no_program_at(script.written, &path)));
        }
        if !script.interpreter_args.is_empty() {
            return Err(Wrong::Interpreter(Refusal::new(
                format!(
                    "{} has no interpreter that could take node_args",
                    script.written
                ),
                "it is run as a program",
                "name an interpreter, or move them to args",
            )));
        }
        Ok(Command::Exec {
            program: path,
            args: script.args,
        })
    }

    fn how(&self, path: &Path) -> Result<How, Refusal> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        let shebang = self.shebang(path);
        let by_extension = match extension {
            "js" | "mjs" | "cjs" | "ts" | "mts" | "cts" => Some("node"),
            "py" => Some("python3"),
            "rb" => Some("ruby"),
            "pl" => Some("perl"),
            "php" => Some("php"),
            // A script that says bash would break in sh.
            "sh" | "bash" => match shebang.as_deref() {
                Some(shell @ ("bash" | "zsh" | "dash" | "ksh")) => Some(shell),
                Some(_) | None if extension == "bash" => Some("bash"),
                Some(_) | None => Some("sh"),
            },
            _ => None,
        };
        if let Some(interpreter) = by_extension {
            return Ok(How::Run(interpreter.to_owned()));
        }
        let executable = self.fs.is_executable(path);
        match shebang {
            Some(program) if Runtime::of(&program) != Runtime::Other => Ok(How::Run(program)),
            Some(_) | None if executable => Ok(How::Exec),
            Some(program) => Ok(How::Run(program)),
            None => Err(no_interpreter(path, extension)),
        }
    }

    /// The program of a `#!` line: its base name, or what `env` is told to run.
    fn shebang(&self, path: &Path) -> Option<String> {
        let head = self.fs.read(path, SHEBANG_BYTES).ok()?;
        let line = head.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
        let line = std::str::from_utf8(line).ok()?;
        let mut words = line.split_whitespace();
        let program = words.next()?.rsplit('/').next()?;
        let program = if program == "env" {
            words.find(|w| !w.starts_with('-'))?
        } else {
            program
        };
        (!program.is_empty()).then(|| program.to_owned())
    }

    /// TypeScript runs in node alone where node strips types by itself.
    fn check_types(&self, path: &Path, node: &str, node_args: &[String]) -> Result<(), Refusal> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        let loads = |arg: &String| TYPE_OPTIONS.iter().any(|option| arg.starts_with(option));
        if !matches!(extension, "ts" | "mts" | "cts") || node_args.iter().any(loads) {
            return Ok(());
        }
        let program = if node.contains('/') {
            Some(PathBuf::from(node))
        } else {
            self.program(node)
        };
        let version = program.and_then(|program| self.fs.node_version(&program));
        let Some(version) = version else {
            return Ok(());
        };
        if strips_types(version) {
            return Ok(());
        }
        let NodeVersion { major, minor } = version;
        let mut fix = "npm install tsx and set node_args to [\"--import\", \"tsx\"], or compile it and name the .js".to_owned();
        if version
            >= (NodeVersion {
                major: 22,
                minor: 6,
            })
        {
            fix = "set node_args to [\"--experimental-strip-types\"], or upgrade node".to_owned();
        }
        Err(Refusal::new(
            format!("node {major}.{minor} cannot run TypeScript by itself"),
            "node strips types from version 22.18 and 23.6 on",
            fix,
        ))
    }
}

enum How {
    Run(String),
    Exec,
}

/// Options of node that make it run TypeScript, or load something that may.
const TYPE_OPTIONS: [&str; 6] = [
    "-r",
    "--require",
    "--import",
    "--loader",
    "--experimental-loader",
    "--experimental-",
];

/// Type stripping without a flag: nodejs.org/api/typescript.html, its history.
pub(crate) fn strips_types(version: NodeVersion) -> bool {
    version.major > 23
        || version.major == 23 && version.minor >= 6
        || version.major == 22 && version.minor >= 18
}

fn no_interpreter(path: &Path, extension: &str) -> Refusal {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let why = match extension {
        "tsx" | "jsx" => "node runs no JSX",
        "json" | "toml" | "yml" | "yaml" => "it is a file of settings, not a program",
        _ => "its extension says nothing, it has no #! line and no execute bit",
    };
    let fix = match extension {
        "tsx" | "jsx" => "build it and name the result, or set the interpreter to \"tsx\"",
        "json" | "toml" | "yml" | "yaml" => "name the program to run",
        _ => "name the interpreter, or chmod +x the file",
    };
    Refusal::new(format!("it is not known how to run {name}"), why, fix)
}

/// The path from `base`, without `.` in it; links stay as they are, so `..` does too.
pub(crate) fn absolute(base: &Path, written: &str) -> PathBuf {
    base.join(written).components().collect()
}

fn append(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
