//! One route.

use gateway_spec::{
    Action, Branch, Cache, Compress, Files, HeaderEdit, HeaderMatch, Rewrite, Route,
};

use super::item::{Changed, Item};
use super::{Keys, protect, upstreams};

pub(super) fn keys(route: &Route) -> Keys {
    let mut keys = Changed::default();
    let path = route.matches.path.to_string();
    keys.push("path", Item::text(&path));
    keys.if_not("name", &route.name, &path, |text| Item::text(text.as_str()));
    keys.texts("methods", &route.matches.methods, &[]);
    if !route.matches.headers.is_empty() {
        keys.push(
            "headers",
            Item::Table(route.matches.headers.iter().map(header_match).collect()),
        );
    }
    action(&route.action, &mut keys);
    keys.some(
        "rewrite",
        route
            .rewrite
            .as_ref()
            .filter(|r| **r != Rewrite::StripPrefix),
        rewrite,
    );
    keys.boolean(
        "strip_prefix",
        route.rewrite == Some(Rewrite::StripPrefix),
        false,
    );
    for (key, edits) in [
        ("request_headers", &route.request_headers),
        ("response_headers", &route.response_headers),
    ] {
        if !edits.is_empty() {
            keys.push(key, header_edits(edits));
        }
    }
    protect::keys(&route.protect, &mut keys);
    keys.some("cache", route.cache.as_ref(), cache);
    match &route.compress {
        None => keys.push("compress", Item::Bool(false)),
        Some(compress) => keys.if_not("compress", compress, &Compress::default(), self::compress),
    }
    let default = Route::new(route.matches.path.clone(), route.action.clone());
    keys.if_not(
        "body",
        &route.body_bytes,
        &default.body_bytes,
        |bytes| match *bytes {
            u64::MAX => Item::text("unlimited"),
            bytes => Item::size(bytes),
        },
    );
    keys.boolean("buffer", route.buffer_request, default.buffer_request);
    keys.duration("timeout", route.timeout_ms, default.timeout_ms);
    keys.0
}

fn header_match(header: &HeaderMatch) -> (String, Item) {
    let value = header
        .value
        .as_ref()
        .map_or(Item::Bool(true), |text| Item::text(text.as_str()));
    (header.name.clone(), value)
}

fn action(action: &Action, keys: &mut Changed) {
    match action {
        Action::Proxy(group) => upstreams::keys(group, keys),
        Action::Split(branches) => {
            keys.push("split", Item::List(branches.iter().map(branch).collect()));
        }
        Action::Files(files) => self::files(files, keys),
        Action::Redirect { status: 302, to } => keys.push("redirect", Item::text(to)),
        Action::Redirect { status, to } => keys.push(
            "redirect",
            Item::Table(vec![
                ("to".into(), Item::text(to)),
                ("status".into(), Item::Number(u64::from(*status))),
            ]),
        ),
        Action::Respond {
            status,
            body,
            content_type,
        } => {
            let number = Item::Number(u64::from(*status));
            if body.is_empty() && content_type.is_none() {
                return keys.push("respond", number);
            }
            let mut table = Changed::default();
            table.push("status", number);
            table.push("body", Item::text(body));
            table.text("content_type", content_type.as_ref());
            keys.push("respond", table.table());
        }
    }
}

fn branch(branch: &Branch) -> Item {
    let mut keys = Changed::default();
    keys.number("weight", branch.weight, 0_u32);
    upstreams::keys(&branch.upstreams, &mut keys);
    keys.some("header", branch.header.as_ref(), |header| {
        match &header.value {
            Some(value) => Item::text(format!("{}: {value}", header.name)),
            None => Item::text(&header.name),
        }
    });
    keys.some("cookie", branch.cookie.as_ref(), |(name, value)| {
        Item::text(format!("{name}={value}"))
    });
    keys.table()
}

fn files(files: &Files, keys: &mut Changed) {
    keys.push("files", Item::text(files.root.display().to_string()));
    keys.texts("index", &files.index, &["index.html".to_owned()]);
    keys.text("spa", files.spa.as_ref());
    keys.text("cache_control", files.cache_control.as_ref());
    keys.boolean("precompressed", files.precompressed, true);
    keys.boolean("fall_through", files.fall_through, false);
    keys.boolean("dotfiles", files.dotfiles, false);
}

fn rewrite(rewrite: &Rewrite) -> Item {
    match rewrite {
        Rewrite::StripPrefix => Item::Bool(true),
        Rewrite::ReplacePrefix(prefix) => Item::Table(vec![("prefix".into(), Item::text(prefix))]),
        Rewrite::Template(text) => Item::text(text),
        Rewrite::Regex {
            pattern,
            replacement,
        } => Item::Table(vec![
            ("regex".into(), Item::text(pattern)),
            ("to".into(), Item::text(replacement)),
        ]),
    }
}

/// Changes of one kind that follow each other, under names that are not yet in their table.
struct Run {
    kind: &'static str,
    pairs: Vec<(String, Item)>,
}

/// One table if each kind comes once, else a list of tables, so that the order is kept.
fn header_edits(edits: &[HeaderEdit]) -> Item {
    let mut runs: Vec<Run> = Vec::new();
    for edit in edits {
        let (kind, name, value) = match edit {
            HeaderEdit::Set { name, value } => ("set", name, Item::text(value)),
            HeaderEdit::Add { name, value } => ("add", name, Item::text(value)),
            HeaderEdit::Remove { name } => ("remove", name, Item::text(name)),
        };
        let pair = (name.clone(), value);
        match runs.last_mut() {
            Some(run) if run.kind == kind && run.pairs.iter().all(|(other, _)| other != name) => {
                run.pairs.push(pair);
            }
            _ => runs.push(Run {
                kind,
                pairs: vec![pair],
            }),
        }
    }
    let once = |run: &Run| runs.iter().filter(|other| other.kind == run.kind).count() == 1;
    let simple = runs.iter().all(once);
    let mut tables: Vec<(String, Item)> = runs.into_iter().map(run).collect();
    if simple {
        return Item::Table(tables);
    }
    Item::List(
        tables
            .drain(..)
            .map(|table| Item::Table(vec![table]))
            .collect(),
    )
}

fn run(run: Run) -> (String, Item) {
    let item = match run.kind {
        "remove" => Item::List(run.pairs.into_iter().map(|(_, name)| name).collect()),
        _ => Item::Table(run.pairs),
    };
    (run.kind.to_owned(), item)
}

fn cache(cache: &Cache) -> Item {
    let (mut keys, default) = (Changed::default(), Cache::default());
    keys.some("ttl", cache.default_ttl_ms.as_ref(), |ms| {
        Item::duration(*ms)
    });
    keys.some("force_ttl", cache.force_ttl_ms.as_ref(), |ms| {
        Item::duration(*ms)
    });
    keys.duration(
        "stale_while_revalidate",
        cache.stale_while_revalidate_ms,
        default.stale_while_revalidate_ms,
    );
    keys.duration(
        "stale_if_error",
        cache.stale_if_error_ms,
        default.stale_if_error_ms,
    );
    keys.size(
        "max_object",
        cache.max_object_bytes,
        default.max_object_bytes,
    );
    keys.texts("key_headers", &cache.key_headers, &[]);
    keys.texts("ignore_query", &cache.ignore_query, &[]);
    keys.texts("bypass_cookies", &cache.bypass_cookies, &[]);
    keys.if_not(
        "surrogate_header",
        &cache.surrogate_header,
        &default.surrogate_header,
        |text| Item::text(text.as_str()),
    );
    keys.table_or_true()
}

fn compress(compress: &Compress) -> Item {
    let (mut keys, default) = (Changed::default(), Compress::default());
    keys.texts("encodings", &compress.encodings, &default.encodings);
    keys.size("min_size", compress.min_bytes, default.min_bytes);
    keys.texts("types", &compress.types, &[]);
    keys.some("level", compress.level.as_ref(), |level| {
        Item::Number(u64::from(*level))
    });
    keys.table_or_true()
}
