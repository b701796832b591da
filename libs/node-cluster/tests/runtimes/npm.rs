//! JavaScript runtimes from npm, installed once into a cache directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The runtime of an npm package (`node@24`, `bun@1`, `deno@2`). Fails the test if npm does.
pub fn runtime(package: &str) -> PathBuf {
    let dir = cache().join(package);
    fs::create_dir_all(&dir).unwrap();
    let lock = File::create(dir.join("lock")).unwrap();
    lock.lock().unwrap();
    let program = program(&dir, package);
    if !dir.join("installed").exists() {
        install(&dir, package);
        assert!(
            program.exists(),
            "{package} brought no {}",
            program.display()
        );
        fs::write(dir.join("installed"), "").unwrap();
    }
    program
}

fn program(dir: &Path, package: &str) -> PathBuf {
    let name = package.split('@').next().unwrap();
    dir.join("node_modules/.bin").join(name)
}

fn cache() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-cache");
    let root = std::env::var_os("PANDO_TEST_CACHE").map_or(target, PathBuf::from);
    root.join("node-cluster")
}

fn install(dir: &Path, package: &str) {
    fs::write(dir.join("package.json"), "{\"private\":true}\n").unwrap();
    let output = Command::new("npm")
        .args([
            "install",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
            package,
        ])
        .current_dir(dir)
        .output()
        .expect("npm starts");
    assert!(
        output.status.success(),
        "npm install {package}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
