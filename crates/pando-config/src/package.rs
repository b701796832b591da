//! What a package.json says about how its app is started.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use app_spec::Runtime;
use serde_json::Value;

use crate::fs::FileSystem;
use crate::words;

/// A larger package.json is not one.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Package {
    /// Without its scope.
    pub name: Option<String>,
    pub main: Option<String>,
    pub scripts: BTreeMap<String, String>,
    pub dependencies: BTreeSet<String>,
    /// Patterns like `packages/*`.
    pub workspaces: Vec<String>,
    /// `pnpm`, `yarn`, as `packageManager` says.
    pub manager: Option<String>,
}

/// The package.json of a directory; `None` if there is none, the error's text if it is broken.
pub(crate) fn read(fs: &dyn FileSystem, dir: &Path) -> Option<Result<Package, String>> {
    let path = dir.join("package.json");
    if !fs.is_file(&path) {
        return None;
    }
    let text = match fs.read(&path, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => return Some(Err(error.to_string())),
    };
    let parsed = serde_json::from_slice::<Value>(&text).map_err(|error| error.to_string());
    Some(parsed.map(|value| package(&value)))
}

fn package(value: &Value) -> Package {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let keys = |key: &str| {
        let table = value.get(key).and_then(Value::as_object);
        table.into_iter().flat_map(|table| table.keys().cloned())
    };
    let scripts = value.get("scripts").and_then(Value::as_object);
    let scripts = scripts.into_iter().flatten();
    let workspaces = value.get("workspaces");
    let workspaces = workspaces.and_then(|w| w.get("packages").or(Some(w)));
    Package {
        name: text("name").and_then(|name| name.rsplit('/').next().map(str::to_owned)),
        main: text("main"),
        scripts: scripts
            .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
            .collect(),
        dependencies: keys("dependencies")
            .chain(keys("devDependencies"))
            .collect(),
        workspaces: workspaces
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|pattern| pattern.as_str().map(str::to_owned))
            .collect(),
        manager: text("packageManager")
            .and_then(|manager| manager.split('@').next().map(str::to_owned)),
    }
}

/// The package manager that a directory uses: as its package.json says, or by its lock file.
pub(crate) fn manager(fs: &dyn FileSystem, dir: &Path, package: &Package) -> String {
    if let Some(manager) = &package.manager {
        return manager.clone();
    }
    let locked = |file: &str| fs.is_file(&dir.join(file));
    let by_lock = [
        ("pnpm-lock.yaml", "pnpm"),
        ("yarn.lock", "yarn"),
        ("bun.lock", "bun"),
    ];
    by_lock
        .iter()
        .find(|(file, _)| locked(file))
        .map_or("npm", |(_, manager)| manager)
        .to_owned()
}

/// A command line that is node running a script: what `node --flag x.js args` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeLine {
    /// Assignments before the command.
    pub env: Vec<(String, String)>,
    /// `node`, or the path of one.
    pub program: String,
    pub node_args: Vec<String>,
    pub script: String,
    pub args: Vec<String>,
}

/// Node's options that take the next word as their value (node --help).
const VALUE_OPTIONS: [&str; 13] = [
    "-r",
    "--require",
    "--import",
    "--loader",
    "--experimental-loader",
    "-C",
    "--conditions",
    "--env-file",
    "--env-file-if-exists",
    "--title",
    "--icu-data-dir",
    "--openssl-config",
    "--inspect-port",
];

/// Options with which node runs something else than a script.
const NO_SCRIPT: [&str; 10] = [
    "-e",
    "--eval",
    "-p",
    "--print",
    "-c",
    "--check",
    "-i",
    "--interactive",
    "--test",
    "--run",
];

/// Reads a line such as `NODE_ENV=production node --flag dist/main.js x`; `None` if it is
/// anything but node with a script, or needs a shell.
pub(crate) fn node_line(line: &str) -> Option<NodeLine> {
    if words::needs_shell(line) {
        return None;
    }
    node_words(&words::split(line)?)
}

pub(crate) fn node_words(words: &[String]) -> Option<NodeLine> {
    let mut env = Vec::new();
    let mut rest = words.iter().map(String::as_str);
    let program = loop {
        let word = rest.next()?;
        match words::assignment(word) {
            Some((key, value)) => env.push((key.to_owned(), value.to_owned())),
            None if matches!(word, "cross-env" | "env" | "exec") => {}
            None => break word,
        }
    };
    if Runtime::of(program) != Runtime::Node {
        return None;
    }
    let (node_args, script) = node_options(&mut rest)?;
    let args = rest.map(str::to_owned).collect();
    Some(NodeLine {
        env,
        program: program.to_owned(),
        node_args,
        script,
        args,
    })
}

/// The options, and the script behind them.
fn node_options<'w>(words: &mut impl Iterator<Item = &'w str>) -> Option<(Vec<String>, String)> {
    let mut options = Vec::new();
    loop {
        let word = words.next()?;
        if word == "--" {
            return Some((options, words.next()?.to_owned()));
        }
        let name = word.split('=').next().unwrap_or(word);
        if NO_SCRIPT.contains(&name) || word == "-" {
            return None;
        }
        if !word.starts_with('-') {
            return Some((options, word.to_owned()));
        }
        options.push(word.to_owned());
        if VALUE_OPTIONS.contains(&word) {
            options.push(words.next()?.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: Option<(&str, &str, &str, &str)>) {
        let got = node_line(line).map(|l| {
            let env: Vec<_> = l.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
            (
                env.join(" "),
                l.node_args.join(" "),
                l.script,
                l.args.join(" "),
            )
        });
        let expect =
            expect.map(|(a, b, c, d)| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned()));
        assert_eq!(got, expect, "{line}");
    }

    #[test]
    fn node_lines() {
        check("node server.js", Some(("", "", "server.js", "")));
        check(
            "node --enable-source-maps dist/main a -b",
            Some(("", "--enable-source-maps", "dist/main", "a -b")),
        );
        check(
            "node -r dotenv/config x.js",
            Some(("", "-r dotenv/config", "x.js", "")),
        );
        check(
            "node --import=tsx x.ts",
            Some(("", "--import=tsx", "x.ts", "")),
        );
        check(
            "NODE_ENV=production node .",
            Some(("NODE_ENV=production", "", ".", "")),
        );
        check(
            "cross-env A=1 B='2 3' node x",
            Some(("A=1 B=2 3", "", "x", "")),
        );
        check("node -- -x.js", Some(("", "", "-x.js", "")));
        for other in [
            "",
            "node",
            "npm start",
            "node -e 1",
            "node a.js && b",
            "node $X",
            "next start",
            "node --test x.js",
            "node 'x",
            "node -r",
            "nodemon x.js",
        ] {
            check(other, None);
        }
    }

    #[test]
    fn a_package() {
        let text = r#"{"name":"@acme/api","main":"i.js","scripts":{"start":"node x","odd":1},
            "dependencies":{"express":"4"},"workspaces":{"packages":["p/*"]},"packageManager":"pnpm@9.0.0"}"#;
        let got = package(&serde_json::from_str(text).unwrap());
        assert_eq!(got.name.as_deref(), Some("api"));
        assert_eq!(got.scripts.len(), 1);
        assert!(got.dependencies.contains("express"));
        assert_eq!(got.workspaces, ["p/*"]);
        assert_eq!(got.manager.as_deref(), Some("pnpm"));
        assert_eq!(package(&serde_json::json!([])), Package::default());
    }
}
