//! Packages of the npm registry, installed once into target/test-cache and shared by all tests.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use rustix::fs::FlockOperation;

/// NestJS on Express.
pub const NEST: [&str; 5] = [
    "@nestjs/core@11",
    "@nestjs/common@11",
    "@nestjs/platform-express@11",
    "reflect-metadata@0.2",
    "rxjs@7",
];

/// The workspace's root.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Where installed things are kept between runs.
pub fn cache_dir() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target
        .unwrap_or_else(|| workspace().join("target"))
        .join("test-cache")
}

/// A lock over processes, by file; held while the value lives.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    pub fn take(path: &Path) -> anyhow::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = File::create(path).with_context(|| format!("lock {}", path.display()))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        Ok(Self { _file: file })
    }
}

/// A directory whose node_modules holds `packages` (`express@5`, `ws@8`).
pub fn install(packages: &[&str]) -> anyhow::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    packages.hash(&mut hasher);
    let first = packages
        .first()
        .copied()
        .unwrap_or("none")
        .replace(['/', '@'], "-");
    let name = format!("npm{first}-{:016x}", hasher.finish());
    let dir = cache_dir().join(&name);
    let _lock = FileLock::take(&cache_dir().join(format!("{name}.lock")))?;
    if dir.join("installed").exists() {
        return Ok(dir);
    }
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("package.json"), "{\"private\":true}\n")?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"])
        .args(packages);
    run_npm(npm, &dir)?;
    fs::write(dir.join("installed"), "")?;
    Ok(dir)
}

/// `npm ci` in `dir`, unless its node_modules is newer than its lock file.
pub fn clean_install(dir: &Path) -> anyhow::Result<()> {
    let _lock = FileLock::take(&cache_dir().join("npm-ci.lock"))?;
    let changed = |path: &str| fs::metadata(dir.join(path)).and_then(|m| m.modified());
    if let (Ok(installed), Ok(locked)) = (
        changed("node_modules/.package-lock.json"),
        changed("package-lock.json"),
    ) && installed >= locked
    {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
    run_npm(npm, dir)
}

fn run_npm(mut npm: Command, dir: &Path) -> anyhow::Result<()> {
    let output = npm
        .current_dir(dir)
        .output()
        .context("npm does not start: is Node installed?")?;
    if !output.status.success() {
        bail!(
            "npm failed in {}: {}{}",
            dir.display(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// The directory of a `node` of that major version, to be put first on PATH.
pub fn node_bin_dir(major: u32) -> anyhow::Result<PathBuf> {
    let dir = install(&[&format!("node@{major}")])?.join("node_modules/node/bin");
    if !dir.join("node").exists() {
        bail!(
            "the npm package node@{major} brought no {}",
            dir.join("node").display()
        );
    }
    Ok(dir)
}

/// PATH with `dir` in front.
pub fn path_with(dir: &Path) -> anyhow::Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(dir.to_owned()).chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(dirs)?)
}

/// Whether a program is on PATH.
pub fn on_path(program: impl AsRef<OsStr>) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program.as_ref()).is_file())
}
