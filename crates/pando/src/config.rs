//! From flags and pando.toml to specs: pando-config joined to this process's directory and
//! environment.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use app_spec::AppSpec;
use gateway_spec::GatewaySpec;
use monitor_spec::settings::MonitorSpec;
use pando_config::{Problem, RealFs, StartFlags};

use crate::error::ExpectedError;

/// The environment that apps started by this command get, where it is text.
pub fn shell_env() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The directory this command was given in.
pub fn cwd() -> anyhow::Result<PathBuf> {
    std::env::current_dir().map_err(|e| {
        let what = "the current directory cannot be used";
        ExpectedError::failed(what, e.to_string(), "change to a directory that exists").into()
    })
}

/// The app that the flags describe. Warnings go to stderr.
pub fn from_flags(flags: &StartFlags) -> anyhow::Result<AppSpec> {
    let cwd = cwd()?;
    let (spec, warnings) = pando_config::from_flags(flags, &shell_env(), &cwd, &RealFs)
        .map_err(ExpectedError::Config)?;
    warn(&warnings);
    Ok(spec)
}

/// The apps of a pando.toml, and its gateway as the last one, each with the file as its origin.
/// Warnings go to stderr.
pub fn load(path: &Path, base_env: &BTreeMap<String, String>) -> anyhow::Result<Vec<AppSpec>> {
    Ok(load_all(path, base_env)?.0)
}

/// As [`load`], with how the file wants the home to be watched, if it says so.
pub fn load_all(
    path: &Path,
    base_env: &BTreeMap<String, String>,
) -> anyhow::Result<(Vec<AppSpec>, Option<MonitorSpec>)> {
    let (file, warnings) = pando_config::load(path, base_env).map_err(ExpectedError::Config)?;
    warn(&warnings);
    let origin = canonical(path);
    let gateway = file.gateway.map(AppSpec::of_gateway);
    let monitor = file.monitor.map(|spec| MonitorSpec {
        origin: Some(origin.clone()),
        ..spec
    });
    let apps = file
        .apps
        .into_iter()
        .chain(gateway)
        .map(|spec| AppSpec {
            origin: Some(origin.clone()),
            ..spec
        })
        .collect();
    Ok((apps, monitor))
}

/// The gateway of a pando.toml. Warnings go to stderr.
pub fn gateway(path: &Path) -> anyhow::Result<GatewaySpec> {
    let loaded = pando_config::load(path, &shell_env());
    let (file, warnings) = loaded.map_err(ExpectedError::Config)?;
    warn(&warnings);
    file.gateway.ok_or_else(|| {
        ExpectedError::wrong_call(
            format!("{} has no gateway", path.display()),
            "there is neither [gateway] nor [site.…] in it",
            "add a site, as docs/gateway-configuration.md shows",
        )
        .into()
    })
}

/// The pando.toml that a command means: the one named, or the one found from here.
pub fn file(asked: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = asked {
        let path = if path.is_dir() {
            path.join(pando_config::FILE_NAME)
        } else {
            path.to_owned()
        };
        return Ok(canonical(&path));
    }
    let cwd = cwd()?;
    pando_config::find(&cwd)
        .map(|path| canonical(&path))
        .ok_or_else(|| {
            ExpectedError::wrong_call(
                format!(
                    "there is no {} in {}",
                    pando_config::FILE_NAME,
                    cwd.display()
                ),
                "this command works on a file",
                "`pando init` writes one from what it finds; --file names one elsewhere",
            )
            .into()
        })
}

/// One name for one file; a file that is gone (`pando down` after `rm`) keeps its absolute path.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize()
        .or_else(|_| std::path::absolute(path))
        .unwrap_or_else(|_| path.to_owned())
}

fn warn(problems: &[Problem]) {
    for problem in problems {
        // A stderr that is closed hears no warnings.
        let _ = writeln!(std::io::stderr(), "{problem}");
    }
}
