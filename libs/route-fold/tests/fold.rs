//! The table that the preload's JavaScript agrees on too, and what holds for any paths.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use route_fold::{Folder, OTHER};

#[test]
fn the_shared_table() {
    let groups: serde_json::Value = serde_json::from_str(include_str!("examples.json")).unwrap();
    for group in groups.as_array().unwrap() {
        let mut folder = Folder::new(200);
        let before = group["before"].as_array().into_iter().flatten();
        for path in before {
            folder.fold(path.as_str().unwrap());
        }
        for (path, expect) in group["paths"].as_object().unwrap() {
            let endpoint = folder.fold(path);
            assert_eq!(folder.name(endpoint), expect.as_str().unwrap(), "{path}");
            let again = folder.refold(expect.as_str().unwrap());
            assert_eq!(again, endpoint, "a name is its own endpoint: {expect}");
        }
    }
}

#[test]
fn where_another_folder_merged_this_one_does() {
    let mut folder = Folder::new(200);
    let alone = folder.refold("/t/a/b");
    assert_eq!(folder.name(alone), "/t/a/b");
    let merged = folder.refold("/t/*/b");
    assert_eq!(folder.name(alone), "/t/a/b", "until it is settled");
    assert_eq!(folder.refold("/t/a/b"), merged);
    folder.settle();
    assert_eq!(folder.name(alone), "");
}

fn paths() -> impl Strategy<Value = Vec<String>> {
    let segment = prop_oneof![
        "[a-z]{1,3}",
        "[0-9]{1,4}",
        "[a-z0-9@.%-]{0,40}",
        "\\PC{0,8}",
        Just("*".to_owned()),
        Just(":id".to_owned()),
    ];
    let path = proptest::collection::vec(segment, 0..15).prop_map(|parts| parts.join("/"));
    proptest::collection::vec(path, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn bounded_deterministic_and_no_count_is_lost(paths in paths(), max in 1usize..40, every in 1usize..50) {
        let count = |paths: &[String]| {
            let mut folder = Folder::new(max);
            let mut rows: Vec<u64> = Vec::new();
            let mut total: BTreeMap<String, u64> = BTreeMap::new();
            let mut most = 0;
            let take = |folder: &mut Folder, rows: &mut Vec<u64>, total: &mut BTreeMap<String, u64>| {
                for (number, times) in rows.iter_mut().enumerate() {
 let times = std::mem::take(times);
                    if times > 0 {
                        let name = folder.names().nth(number).unwrap().to_owned();
                        *total.entry(name).or_default() += times;
                    }
                }
                folder.settle();
            };
            for (at, path) in paths.iter().enumerate() {
                let endpoint = folder.fold(path);
                rows.resize(rows.len().max(folder.len()), 0);
                rows[endpoint.index()] += 1;
                most = most.max(folder.len());
                if at % every == 0 {
                    take(&mut folder, &mut rows, &mut total);
                }
            }
            take(&mut folder, &mut rows, &mut total);
            (total, most)
        };
        let (total, most) = count(&paths);
        prop_assert!(most <= 2 * max + 1);
        prop_assert_eq!(total.values().sum::<u64>(), paths.len() as u64);
        prop_assert_eq!(&count(&paths).0, &total);
    }

    #[test]
    fn a_name_folds_to_itself(paths in paths()) {
        let mut folder = Folder::new(200);
        for path in &paths {
            folder.fold(path);
        }
        let names: BTreeSet<String> = folder.names().skip(1).map(str::to_owned).collect();
        let mut other = Folder::new(400);
        for name in &names {
            let endpoint = other.refold(name);
            prop_assert!(endpoint != OTHER);
        }
        prop_assert!(other.len() <= 401 * 2);
    }
}

/// The preload folds for servers without a router that it knows: the same table, in Node.
#[test]
fn the_preload_agrees() {
    const CHECK: &str = "
const table = { row: (method, path) => path, release() {} };
for (const group of EXAMPLES) {
  const folder = new Folder(table);
  for (const path of group.before ?? []) folder.row('GET', path);
  for (const [path, expect] of Object.entries(group.paths)) {
    require('assert').strictEqual(folder.row('GET', path), expect, path);
  }
}";
    let fold = include_str!("../../node-agent/src/preload/fold.js");
    let examples = include_str!("examples.json");
    let script = format!("{fold}\nconst EXAMPLES = {examples};\n{CHECK}");
    let node = std::process::Command::new("node")
        .args(["-e", &script])
        .output()
        .unwrap();
    assert!(
        node.status.success(),
        "{}",
        String::from_utf8_lossy(&node.stderr)
    );
}
