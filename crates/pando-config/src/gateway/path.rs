//! `path`: `/about`, `/static/*`, `/users/{id}`, `/users/{id}/*`, `/assets/*.{css,js}`.

use gateway_spec::PathMatch;

use crate::problem::Refusal;

const MAX_PATH: usize = 2048;
/// Extensions of one path.
const MAX_EXTENSIONS: usize = 64;

pub(super) fn read(text: &str) -> Result<PathMatch, Refusal> {
    let refuse = |why: &str, fix: String| {
        Err(Refusal::new(
            format!("`{text}` is not a path to match"),
            why,
            fix,
        ))
    };
    if text.len() > MAX_PATH {
        return refuse("it is longer than 2048 bytes", "use a shorter one".into());
    }
    if !text.starts_with('/') {
        let fix = if text == "*" {
            "/*".to_owned()
        } else {
            format!("/{}", text.trim_start_matches('*'))
        };
        return refuse("a path begins with a slash", format!("write \"{fix}\""));
    }
    if let Some(at) = text.find(['?', '#']) {
        return refuse(
            "a query is not part of the path",
            format!("write \"{}\"", &text[..at]),
        );
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        let fix = "write %20 for a space".to_owned();
        return refuse("it has a space or a control character", fix);
    }
    if text
        .split('/')
        .any(|segment| segment == "." || segment == "..")
    {
        let fix = "write the path without them".to_owned();
        return refuse("`.` and `..` are resolved before paths are compared", fix);
    }
    if let Some((prefix, extensions)) = text.split_once("*.")
        && !prefix.contains(['*', '{', '}'])
    {
        return extensions_of(text, prefix, extensions);
    }
    let stem = text.strip_suffix('*').unwrap_or(text);
    if stem.contains('*') {
        let fix = format!("write \"{}*\"", stem.split('*').next().unwrap_or("/"));
        return refuse("a `*` stands at the end only", fix);
    }
    if text.contains(['{', '}']) {
        parameters(text)?;
        return Ok(PathMatch::Params(text.to_owned()));
    }
    Ok(match text.strip_suffix('*') {
        Some(prefix) => PathMatch::Prefix(prefix.to_owned()),
        None => PathMatch::Exact(text.to_owned()),
    })
}

/// `css`, or `{css,js}`.
fn extensions_of(text: &str, prefix: &str, written: &str) -> Result<PathMatch, Refusal> {
    let inner = written
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let extensions: Vec<String> = inner
        .map_or(vec![written], |inner| inner.split(',').collect())
        .into_iter()
        .map(str::to_ascii_lowercase)
        .collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let sound = |one: &String| !one.is_empty() && one.chars().all(plain);
    if extensions.len() <= MAX_EXTENSIONS && extensions.iter().all(sound) {
        return Ok(PathMatch::Extensions {
            prefix: prefix.to_owned(),
            extensions,
        });
    }
    let what = format!("`{text}` is not a path to match");
    let why = "behind `*.` stands one extension, or up to 64 in braces";
    Err(Refusal::new(
        what,
        why,
        "write it like \"/assets/*.{css,js}\"",
    ))
}

/// Each `{name}` is a whole segment with a name of its own; a `*` is one too.
fn parameters(text: &str) -> Result<(), Refusal> {
    let mut names = Vec::new();
    for segment in text.split('/') {
        let name = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}'));
        let Some(name) = name else {
            if segment.contains(['{', '}']) || (segment.ends_with('*') && segment != "*") {
                let what = format!("`{text}` is not a path to match");
                let why = "a `{name}`, and a `*` behind one, stand for a whole segment";
                return Err(Refusal::new(what, why, "write it like \"/users/{id}/*\""));
            }
            continue;
        };
        if !is_name(name) {
            let what = format!("`{{{name}}}` is not a parameter");
            let why = "its name is letters, digits and `_`";
            return Err(Refusal::new(what, why, "write it like {id}"));
        }
        if names.contains(&name) {
            let what = format!("the path has `{{{name}}}` twice");
            let why = "each parameter needs a name of its own";
            return Err(Refusal::new(what, why, "rename one of the two"));
        }
        names.push(name);
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The names of a path's parameters.
pub(super) fn names(path: &PathMatch) -> Vec<&str> {
    match path {
        PathMatch::Exact(_) | PathMatch::Prefix(_) | PathMatch::Extensions { .. } => Vec::new(),
        PathMatch::Params(path) => path
            .split('/')
            .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
            .collect(),
    }
}

/// Whether the path has a prefix that can be taken off.
pub(super) fn has_prefix(path: &PathMatch) -> bool {
    matches!(path, PathMatch::Prefix(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_by_kind() {
        for (text, expect) in [
            ("/", PathMatch::Exact("/".into())),
            ("/*", PathMatch::Prefix("/".into())),
            ("/about", PathMatch::Exact("/about".into())),
            ("/static/*", PathMatch::Prefix("/static/".into())),
            ("/api*", PathMatch::Prefix("/api".into())),
            ("/users/{id}", PathMatch::Params("/users/{id}".into())),
            ("/{a}/x/{b}/*", PathMatch::Params("/{a}/x/{b}/*".into())),
        ] {
            assert_eq!(read(text).as_ref(), Ok(&expect), "{text}");
            assert_eq!(expect.to_string(), text);
        }
        for (text, prefix, all) in [
            ("/*.PNG", "/", vec!["png"]),
            ("/a/*.{css,JS}", "/a/", vec!["css", "js"]),
        ] {
            let expect = PathMatch::Extensions {
                prefix: prefix.into(),
                extensions: all.into_iter().map(str::to_owned).collect(),
            };
            assert_eq!(read(text), Ok(expect.clone()), "{text}");
            assert_eq!(read(&expect.to_string()), Ok(expect));
        }
    }

    #[test]
    fn what_is_no_path() {
        for (text, fix) in [
            ("about", "write \"/about\""),
            ("*", "write \"/*\""),
            ("*.php", "write \"/.php\""),
            ("/a?b=1", "write \"/a\""),
            ("/a b", "%20"),
            ("/a/../b", "without them"),
            ("/*.", "{css,js}"),
            ("/*.{css,}", "{css,js}"),
            ("/*.a*", "{css,js}"),
            ("/{id}/*.css", "write \"/{id}/*\""),
            ("/*php", "write \"/*\""),
            ("/a/*/b", "write \"/a/*\""),
            ("/u{id}", "/users/{id}/*"),
            ("/{id}x*", "/users/{id}/*"),
            ("/{id}/x*", "/users/{id}/*"),
            ("/{}", "{id}"),
            ("/{1}", "{id}"),
            ("/{a}/{a}", "rename"),
            ("/{", "/users/{id}/*"),
        ] {
            let refusal = read(text).expect_err(text);
            assert!(refusal.fix.contains(fix), "{text}: {refusal:?}");
        }
        assert!(read(&format!("/{}", "a".repeat(MAX_PATH))).is_err());
    }
}
