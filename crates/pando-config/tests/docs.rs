//! What the pages show is what is read: each pando.toml of docs/ is sound, each import comes out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pando_config::import::nginx;
use pando_config::{FileSystem, MemoryFs, NodeVersion, parse};

fn pages() -> Vec<(PathBuf, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(dir).expect("docs can be read") {
        let path = entry.expect("docs can be read").path();
        if path.extension().is_some_and(|ext| ext == "md") {
            let text = std::fs::read_to_string(&path).expect("a page is text");
            pages.push((path, text));
        }
    }
    pages
}

/// Indented blocks, without their indent; a fenced block counts too.
fn blocks(page: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    let mut fenced = false;
    for line in page.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
            blocks.push(String::new());
            continue;
        }
        let last = blocks.len() - 1;
        if let Some(code) = line.strip_prefix("    ").or(fenced.then_some(line)) {
            blocks[last].push_str(code);
            blocks[last].push('\n');
        } else if line.is_empty() {
            blocks[last].push('\n');
        } else {
            blocks.push(String::new());
        }
    }
    blocks.retain(|block| !block.trim().is_empty());
    blocks
}

/// A machine where every script and program is there.
struct Everything;

impl FileSystem for Everything {
    fn is_file(&self, _: &Path) -> bool {
        true
    }
    fn is_dir(&self, _: &Path) -> bool {
        true
    }
    fn is_executable(&self, _: &Path) -> bool {
        true
    }
    fn read(&self, path: &Path, _: u64) -> std::io::Result<Vec<u8>> {
        let is_env = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().contains("env"));
        Ok(if is_env {
            b"A=1\n".to_vec()
        } else {
            b"0123456789abcdef0123456789abcdef".to_vec()
        })
    }
    fn names(&self, _: &Path) -> Vec<String> {
        Vec::new()
    }
    fn is_root(&self) -> bool {
        true
    }
    fn node_version(&self, _: &Path) -> Option<NodeVersion> {
        None
    }
}

fn env() -> BTreeMap<String, String> {
    // Secrets that examples take from the environment.
    let names = [
        "PATH",
        "REDIS",
        "REDIS_URL",
        "JWT_SECRET",
        "EAB_KEY",
        "API_KEY",
        "PARTNER_KEY",
        "OTLP_KEY",
    ];
    let secret = "redis://0123456789abcdef0123456789abcdef";
    let mut env: BTreeMap<String, String> = names
        .map(|name| (name.to_owned(), secret.to_owned()))
        .into();
    env.insert("ALERT_HOOK".into(), "https://hooks.example/x".into());
    env
}

#[test]
fn every_file_of_the_pages_is_sound() {
    let mut seen = 0;
    for (path, page) in pages() {
        for block in blocks(&page) {
            let is_gateway = block.lines().any(|line| {
                [
                    "[gateway", "[site.", "[[site.", "[metrics", "[otlp", "[alert",
                ]
                .iter()
                .any(|head| line.starts_with(head))
            });
            if !is_gateway {
                continue;
            }
            seen += 1;
            if let Err(problems) = parse(&block, Path::new("/srv/pando.toml"), &env(), &Everything)
            {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                panic!("{}:\n{block}\n{}", path.display(), problems.join("\n"));
            }
        }
    }
    assert!(seen >= 8, "only {seen} were found");
}

#[test]
fn the_page_about_nginx_shows_what_the_import_writes() {
    let pages = pages();
    let (_, page) = pages
        .iter()
        .find(|(path, _)| path.ends_with("migrating-from-nginx.md"))
        .expect("the page is there");
    let mut seen = 0;
    for (before, after) in page
        .split("\nbecomes\n")
        .zip(page.split("\nbecomes\n").skip(1))
    {
        let nginx_conf = blocks(before).pop().expect("an example stands before");
        let wanted = blocks(after).remove(0);
        let fs = MemoryFs::new().with("/etc/nginx/nginx.conf", &nginx_conf);
        let path = Path::new("/etc/nginx/nginx.conf");
        let got = nginx(path, &fs)
            .expect("the example is nginx's")
            .to_toml(path);
        let got: String = got
            .lines()
            .skip_while(|line| line.starts_with('#') || line.is_empty())
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(got.trim(), wanted.trim());
        seen += 1;
    }
    assert_eq!(seen, 2);
}

/// The first column of the reference's tables names only what is known, and all of that: a key that
/// is not known would make the example with it fail, one that is not named is missed here.
#[test]
fn the_reference_names_every_key() {
    let pages = pages();
    let (_, page) = pages
        .iter()
        .find(|(path, _)| path.ends_with("gateway-configuration.md"))
        .expect("the page is there");
    let text = "[gateway]\nzzz = 1\n[gateway.limits]\nzzz = 1\n[gateway.timeouts]\nzzz = 1\n[gateway.acme]\nzzz = 1\n[gateway.access_log]\nzzz = 1\n[gateway.cache]\nzzz = 1\n\
        [site.a]\nzzz = 1\nroutes = []\n[[site.b.routes]]\nzzz = 1\napp = \"a\"\n\
        retry = { zzz = 1 }\nhealth = { zzz = 1 }\noutlier = { zzz = 1 }\nbreaker = { zzz = 1 }\npool = { zzz = 1 }\nupstream_tls = { zzz = 1 }\n\
        limit = { zzz = 1, rate = \"1/s\" }\njwt = { zzz = 1 }\ncors = { zzz = 1 }\nsecurity_headers = { zzz = 1 }\ncache = { zzz = 1 }\ncompress = { zzz = 1 }\n";
    let problems =
        parse(text, Path::new("/srv/pando.toml"), &env(), &Everything).expect_err("it is wrong");
    let mut seen = 0;
    for problem in problems
        .iter()
        .filter(|problem| problem.what.contains("unknown key `zzz`"))
    {
        let keys = problem
            .fix
            .strip_prefix("remove it; the keys here are ")
            .unwrap_or_else(|| panic!("{problem}"));
        for key in keys
            .split(", ")
            .filter(|key| !["location", "proxy_pass", "rate_limit"].contains(key))
        {
            let named = page.contains(&format!("`{key}`")) || page.contains(&format!(".{key}`"));
            assert!(named, "{key} is not in the reference: {}", problem.what);
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} keys were looked at");
}
