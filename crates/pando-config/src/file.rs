use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use app_spec::AppSpec;

use crate::fs::FileSystem;
use crate::problem::Problem;

pub const FILE_NAME: &str = "pando.toml";
/// A larger pando.toml is not one.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;
pub const MAX_APPS: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: PathBuf,
    /// In file order.
    pub apps: Vec<AppSpec>,
}

pub fn load(
    path: &Path,
    base_env: &BTreeMap<String, String>,
) -> Result<(File, Vec<Problem>), Vec<Problem>> {
    let _ = (path, base_env);
    Err(vec![])
}

pub fn parse(
    text: &str,
    path: &Path,
    base_env: &BTreeMap<String, String>,
    fs: &dyn FileSystem,
) -> Result<(File, Vec<Problem>), Vec<Problem>> {
    let _ = (text, path, base_env, fs);
    Err(vec![])
}

pub fn find(start: &Path) -> Option<PathBuf> {
    let path = start.join(FILE_NAME);
    path.is_file().then_some(path)
}
