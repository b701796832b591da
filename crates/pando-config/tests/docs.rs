//! What docs/ shows of [gateway] and [site] can be copied.

use std::collections::BTreeMap;
use std::path::Path;

use pando_config::{MemoryFs, parse};

/// Indented blocks that begin with a header of the gateway's.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in text.lines() {
        match (line.strip_prefix("    "), blocks.last_mut()) {
            (Some(line), Some(block)) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, Some(block)) if line.is_empty() && !block.is_empty() => block.push('\n'),
            (None, _) => blocks.push(String::new()),
            (Some(_), None) => {}
        }
    }
    blocks.retain(|block| block.starts_with("[gateway") || block.starts_with("[site"));
    blocks
}

#[test]
fn tls() {
    let text = include_str!("../../../docs/tls.md");
    let blocks = blocks(text);
    assert_eq!(blocks.len(), 5);
    let mut fs = MemoryFs::new()
        .with("/etc/tls/example.com/fullchain.pem", "")
        .with("/etc/tls/example.com/privkey.pem", "")
        .with("/srv/ca.pem", "");
    fs.root = true;
    for block in blocks {
        let read = parse(&block, Path::new("/srv/pando.toml"), &BTreeMap::new(), &fs);
        match read {
            Ok((file, problems)) => {
                assert!(problems.is_empty(), "{block}\n{problems:#?}");
                assert!(file.gateway.is_some());
            }
            Err(problems) => panic!("{block}\n{problems:#?}"),
        }
    }
}
