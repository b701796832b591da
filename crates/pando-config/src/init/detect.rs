//! Which apps a directory has, and how each is started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Listening;
use crate::command::{Surroundings, strips_types};
use crate::fs::FileSystem;
use crate::package::{self, NodeLine, Package};
use crate::{dotenv, name, words};

/// Packages of a workspace that are looked at.
const MAX_PACKAGES: usize = 64;
const MAX_WORKSPACE_FILE_BYTES: u64 = 64 * 1024;

/// Scripts of a package.json that start it for production, the best first.
const START_SCRIPTS: [&str; 3] = ["start:prod", "start:production", "start"];

/// Files that usually are an app where no package.json says more.
const ENTRIES: [&str; 10] = [
    "server.js",
    "app.js",
    "main.js",
    "index.js",
    "server.mjs",
    "index.mjs",
    "dist/main.js",
    "dist/server.js",
    "dist/index.js",
    "build/index.js",
];

/// Dependencies that say what an app is, the more telling first.
const FRAMEWORKS: [(&str, &str); 15] = [
    ("next", "Next.js"),
    ("nuxt", "Nuxt"),
    ("@nestjs/core", "NestJS"),
    ("@remix-run/serve", "Remix"),
    ("@react-router/serve", "React Router"),
    ("@sveltejs/adapter-node", "SvelteKit"),
    ("@astrojs/node", "Astro"),
    ("@strapi/strapi", "Strapi"),
    ("@adonisjs/core", "AdonisJS"),
    ("fastify", "Fastify"),
    ("@hapi/hapi", "hapi"),
    ("koa", "Koa"),
    ("hono", "Hono"),
    ("restify", "Restify"),
    ("express", "Express"),
];

/// How one app is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Node(NodeLine),
    /// A line for the shell.
    Command(String),
}

/// One app, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub name: String,
    pub start: Start,
    /// Relative to the file, where it is not its directory.
    pub cwd: Option<String>,
    pub framework: Option<&'static str>,
    /// Clients come back to the worker they were with.
    pub sticky: bool,
    /// The command as it could be once something is built.
    pub better: Option<String>,
    pub env_file: bool,
    pub listens: Option<Listening>,
    /// Where PORT is in the env file.
    pub port_in_env: bool,
    /// Written because there was nothing to find.
    pub placeholder: bool,
}

impl Found {
    fn new(name: &str, start: Start) -> Self {
        Self {
            name: name::make_valid(name),
            start,
            cwd: None,
            framework: None,
            sticky: false,
            better: None,
            env_file: false,
            listens: None,
            port_in_env: false,
            placeholder: false,
        }
    }

    pub fn placeholder(dir: &Path) -> Self {
        let start = Start::Command("echo replace this command; exec sleep 86400".to_owned());
        Self {
            placeholder: true,
            ..Self::new(&dir_name(dir), start)
        }
    }
}

fn dir_name(dir: &Path) -> String {
    dir.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

pub(super) fn apps(
    dir: &Path,
    fs: &dyn FileSystem,
    running: &[Listening],
    notes: &mut Vec<String>,
) -> Vec<Found> {
    let mut apps: Vec<Found> = Vec::new();
    let packages = packages(dir, fs, notes);
    for (place, package) in &packages {
        let Some(mut app) = of_package(place, package, fs, notes) else {
            continue;
        };
        if let Ok(inside) = place.strip_prefix(dir)
            && !inside.as_os_str().is_empty()
        {
            app.cwd = Some(inside.display().to_string());
        }
        apps.push(app);
    }
    if packages.is_empty() {
        apps.extend(without_package(dir, fs, running));
    }
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for app in &mut apps {
        let count = taken.entry(app.name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            app.name = name::make_valid(&format!("{}-{count}", app.name));
        }
    }
    let alone = apps.len() == 1;
    for app in &mut apps {
        let place = app
            .cwd
            .as_ref()
            .map_or_else(|| dir.to_path_buf(), |cwd| dir.join(cwd));
        env_file(app, &place, fs, notes);
        listening(app, alone, running, notes);
    }
    apps
}

/// The directory's own package, and those of its workspace.
fn packages(dir: &Path, fs: &dyn FileSystem, notes: &mut Vec<String>) -> Vec<(PathBuf, Package)> {
    let root = match package::read(fs, dir) {
        None => return Vec::new(),
        Some(Err(error)) => {
            notes.push(format!("package.json cannot be read: {error}."));
            return Vec::new();
        }
        Some(Ok(package)) => package,
    };
    let patterns = [root.workspaces.clone(), pnpm_patterns(dir, fs)].concat();
    let mut packages = vec![(dir.to_path_buf(), root)];
    let places = patterns.iter().flat_map(|pattern| expand(dir, pattern, fs));
    for place in places.take(MAX_PACKAGES) {
        if let Some(Ok(package)) = package::read(fs, &place) {
            packages.push((place, package));
        }
    }
    packages
}

/// The list under `packages:` of a pnpm-workspace.yaml, read by its lines.
fn pnpm_patterns(dir: &Path, fs: &dyn FileSystem) -> Vec<String> {
    let path = dir.join("pnpm-workspace.yaml");
    let Ok(bytes) = fs.read(&path, MAX_WORKSPACE_FILE_BYTES) else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with("packages:"))
        .skip(1);
    lines
        .map_while(|line| {
            line.trim()
                .strip_prefix('-')
                .map(|rest| rest.trim().to_owned())
        })
        .map(|pattern| pattern.trim_matches(['"', '\'']).to_owned())
        .collect()
}

/// `packages/*` or a plain directory; other patterns are not followed.
fn expand(dir: &Path, pattern: &str, fs: &dyn FileSystem) -> Vec<PathBuf> {
    let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
    let inside =
        |path: &str| !path.is_empty() && !path.contains(['*', '!', '{']) && !path.contains("..");
    match pattern.strip_suffix("/*") {
        Some(parent) if inside(parent) => {
            let parent = dir.join(parent);
            fs.names(&parent)
                .into_iter()
                .map(|name| parent.join(name))
                .collect()
        }
        Some(_) => Vec::new(),
        None if inside(pattern) => vec![dir.join(pattern)],
        None => Vec::new(),
    }
}

fn of_package(
    dir: &Path,
    package: &Package,
    fs: &dyn FileSystem,
    notes: &mut Vec<String>,
) -> Option<Found> {
    let name = package.name.clone().unwrap_or_else(|| dir_name(dir));
    let scripts = START_SCRIPTS
        .iter()
        .filter_map(|script| Some((*script, package.scripts.get(*script)?.as_str())));
    let scripts: Vec<(&str, &str)> = scripts.collect();
    let ready = scripts.iter().find_map(|(_, line)| runnable(dir, line, fs));
    let mut found = match (ready, scripts.first()) {
        (Some(node), _) => Found::new(&name, Start::Node(node)),
        (None, Some((script, line))) => {
            let manager = package::manager(fs, dir, package);
            let run = if *script == "start" {
                "start".into()
            } else {
                format!("run {script}")
            };
            let mut found = Found::new(&name, Start::Command(format!("{manager} {run}")));
            if let Some(node) = package::node_line(line) {
                notes.push(format!(
                    "{name}: {} is not there yet; build it and use `script` to run it on every core.",
                    node.script
                ));
                found.better = Some(node.script);
            }
            found
        }
        (None, None) => Found::new(&name, Start::Node(entry(dir, package, fs)?)),
    };
    let has = |dependency: &str| package.dependencies.contains(dependency);
    found.framework = FRAMEWORKS
        .iter()
        .find(|(name, _)| has(name))
        .map(|(_, title)| *title);
    found.sticky = has("socket.io") && matches!(found.start, Start::Node(_));
    if found.sticky {
        notes.push(format!("{name} uses socket.io: balance is \"ip-hash\", so that polling clients stay with their worker."));
    }
    if has("express-session") && !found.sticky {
        notes.push(format!("{name} uses express-session: keep sessions in a store that all workers share, or set balance = \"ip-hash\"."));
    }
    Some(found)
}

fn surroundings<'a>(dir: &'a Path, fs: &'a dyn FileSystem) -> Surroundings<'a> {
    Surroundings {
        fs,
        base: dir,
        cwd: dir,
        path_var: "",
    }
}

/// A start script's line as a script that is there and that node can run.
fn runnable(dir: &Path, line: &str, fs: &dyn FileSystem) -> Option<NodeLine> {
    let node = package::node_line(line).or_else(|| next_start(dir, line, fs))?;
    let path = surroundings(dir, fs).find_script(&node.script).ok()?;
    let typed = path
        .extension()
        .is_some_and(|e| e == "ts" || e == "mts" || e == "cts");
    let strips = || fs.node_version(Path::new("node")).is_some_and(strips_types);
    // The name of the file itself: `.` and `dist/main` are read by node only.
    let script = path
        .strip_prefix(dir)
        .unwrap_or(&path)
        .display()
        .to_string();
    (!typed || strips()).then_some(NodeLine { script, ..node })
}

/// `next start` is a script of node's in the package itself.
fn next_start(dir: &Path, line: &str, fs: &dyn FileSystem) -> Option<NodeLine> {
    if words::needs_shell(line) {
        return None;
    }
    let all = words::split(line)?;
    let (program, args) = all.split_first()?;
    let script = "node_modules/next/dist/bin/next";
    let built = program == "next"
        && args.first().is_some_and(|arg| arg == "start")
        && fs.is_file(&dir.join(script));
    let node = || NodeLine {
        program: "node".into(),
        script: script.into(),
        args: args.to_vec(),
        ..NodeLine::default()
    };
    built.then(node)
}

/// A package without a start script: npm would run server.js, node its main.
fn entry(dir: &Path, package: &Package, fs: &dyn FileSystem) -> Option<NodeLine> {
    let candidates = ["server.js"].into_iter().chain(package.main.as_deref());
    // A library has a main too: only what looks like a server counts.
    let serves = FRAMEWORKS
        .iter()
        .any(|(name, _)| package.dependencies.contains(*name));
    candidates
        .filter(|file| *file == "server.js" || serves)
        .find_map(|file| runnable(dir, &format!("node {}", words::quote(file)), fs))
}

/// No package.json: a file with a usual name, or what already runs.
fn without_package(dir: &Path, fs: &dyn FileSystem, running: &[Listening]) -> Option<Found> {
    let name = dir_name(dir);
    let entry = ENTRIES
        .iter()
        .find_map(|file| runnable(dir, &format!("node {file}"), fs));
    if let Some(node) = entry {
        return Some(Found::new(&name, Start::Node(node)));
    }
    let runs_here = |listening: &Listening| {
        let node = package::node_line(&listening.command)?;
        let path = surroundings(dir, fs).find_script(&node.script).ok()?;
        path.starts_with(dir)
            .then(|| Found::new(&name, Start::Node(node)))
    };
    running.iter().find_map(runs_here)
}

fn env_file(app: &mut Found, dir: &Path, fs: &dyn FileSystem, notes: &mut Vec<String>) {
    let path = dir.join(".env");
    if !fs.is_file(&path) || app.framework == Some("Next.js") {
        return;
    }
    let text = fs
        .read(&path, dotenv::MAX_BYTES)
        .ok()
        .and_then(|b| String::from_utf8(b).ok());
    let vars = text.and_then(|text| dotenv::parse(&text, &path, &BTreeMap::new()).ok());
    match vars {
        Some(vars) => {
            app.env_file = true;
            app.port_in_env = vars.contains_key("PORT");
        }
        None => notes.push(format!(
            "{}: .env has a mistake and was left out.",
            app.name
        )),
    }
}

/// The process that serves this app today: by its script's name, or as the only app there is.
fn listening(app: &mut Found, alone: bool, running: &[Listening], notes: &mut Vec<String>) {
    let serves = |listening: &&Listening| {
        let mut all = listening.command.split_whitespace();
        let program = all.next().and_then(|p| p.rsplit('/').next()).unwrap_or("");
        match &app.start {
            Start::Node(node) => {
                let file = node.script.rsplit('/').next().unwrap_or(&node.script);
                let stem = file.split('.').next().unwrap_or(file);
                all.any(|w| w.rsplit('/').next().is_some_and(|w| w == file || w == stem))
            }
            Start::Command(line) => {
                alone
                    && !app.placeholder
                    && (program == "node" || line.starts_with(program) && !program.is_empty())
            }
        }
    };
    let Some(found) = running.iter().find(serves) else {
        return;
    };
    notes.push(format!(
        "{} listens on port {} already (pid {}): stop that process before `pando up`.",
        app.name, found.port, found.pid
    ));
    app.listens = Some(found.clone());
}
