//! What docs/ shows of a gateway can be copied: every such block is read without an error.

mod world;

use std::collections::BTreeSet;
use std::path::Path;

use pando_config::parse;
use world::{base_env, fs, show};

/// Blocks that are indented by four spaces.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in text.lines() {
        let last = blocks.len() - 1;
        match line.strip_prefix("    ") {
            Some(code) => blocks[last] += &format!("{code}\n"),
            None if line.is_empty() && !blocks[last].is_empty() => blocks[last].push('\n'),
            None => blocks.push(String::new()),
        }
    }
    blocks
}

/// A whole pando.toml around a block, or `None` if it is none.
fn whole(block: &str) -> Option<String> {
    let site = block
        .starts_with("routes = [")
        .then_some("[site.\"example.com\"]\n");
    if site.is_none() && !block.starts_with("[gateway") && !block.starts_with("[site") {
        return None;
    }
    let mut text = format!("{}{block}", site.unwrap_or_default());
    let named = block
        .split("app = \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    for app in named.collect::<BTreeSet<_>>() {
        if !block.contains(&format!("[app.{app}]")) {
            text += &format!("[app.{app}]\nscript = \"s.js\"\n");
        }
    }
    Some(text)
}

#[test]
fn every_gateway_of_the_docs_is_one() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut env = base_env();
    for name in ["BOB_HASH", "BETA_KEY", "JWT_SECRET", "REDIS_URL"] {
        env.insert(name.into(), "$2y$10$abcdefghijklmnopqrstuvwxyz".into());
    }
    let mut read = 0;
    for entry in std::fs::read_dir(docs).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        for text in blocks(&std::fs::read_to_string(&path).unwrap())
            .iter()
            .filter_map(|b| whole(b))
        {
            if let Err(problems) = parse(&text, Path::new("/srv/pando.toml"), &env, &fs()) {
                panic!("{}:\n{text}\n{}", path.display(), show(&problems));
            }
            read += 1;
        }
    }
    assert!(read >= 10, "{read}");
}
