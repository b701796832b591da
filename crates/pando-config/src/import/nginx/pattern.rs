//! Regular expressions of locations that say no more than paths of pando.toml can.

use gateway_spec::PathMatch;

/// Paths that one expression may stand for.
const MAX_PATHS: usize = 64;

/// The extensions of `\.(css|js)$`, wherever they are: `jpe?g` is two.
pub(super) fn extensions(pattern: &str) -> Option<PathMatch> {
    let any = ["^.*", "^.+", ".*", ".+", ""];
    let rest = any
        .iter()
        .find_map(|start| pattern.strip_prefix(start)?.strip_prefix(r"\."))?;
    let rest = rest.strip_suffix('$')?;
    let group = rest
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'));
    let group = group.map_or(rest, |group| group.strip_prefix("?:").unwrap_or(group));
    let mut extensions: Vec<String> = Vec::new();
    for branch in group.split('|') {
        for text in with_and_without(branch)? {
            let text = text.to_ascii_lowercase();
            if !extensions.contains(&text) {
                extensions.push(text);
            }
        }
    }
    let path = PathMatch::Extensions {
        prefix: "/".into(),
        extensions,
    };
    (crate::gateway::path(&path.to_string()).as_ref() == Ok(&path)).then_some(path)
}

/// `jpe?g` is `jpeg` and `jpg`; `None` where there is any other sign of an expression.
fn with_and_without(branch: &str) -> Option<Vec<String>> {
    let (before, after) = match branch.split_once('?') {
        None => return Some(vec![plain(branch)?]),
        Some(parts) => parts,
    };
    let full = plain(&format!("{before}{after}"))?;
    let mut short = before.to_owned();
    short.pop()?;
    Some(vec![full, plain(&format!("{short}{after}"))?])
}

/// The paths that an expression matches: `^/api/`, `^/(a|b)/`, `^/about$`, `^/x/.*`. `None` for
/// all that needs an expression.
pub(super) fn paths(pattern: &str) -> Option<Vec<PathMatch>> {
    let rest = pattern.strip_prefix('^')?;
    let (rest, exact) = match rest.strip_suffix('$') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    // What may stand or not at the end says nothing about where a path begins.
    let open = [".*", "(.*)", "(.*)?"]
        .iter()
        .find_map(|tail| rest.strip_suffix(tail));
    let (rest, exact) = match open {
        Some(rest) => (rest, false),
        None => (rest, exact),
    };
    let texts = texts(rest)?;
    let path = |text: String| {
        if exact {
            PathMatch::Exact(text)
        } else {
            PathMatch::Prefix(text)
        }
    };
    let sound = |text: &String| text.starts_with('/') && !text.contains(['{', '}', '*']);
    texts
        .iter()
        .all(sound)
        .then(|| texts.into_iter().map(path).collect())
}

/// Every text that the expression stands for, if it has nothing but letters and `(a|b)`.
fn texts(pattern: &str) -> Option<Vec<String>> {
    let mut texts = vec![String::new()];
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let escaped = chars.next().filter(|c| !c.is_ascii_alphanumeric())?;
                texts.iter_mut().for_each(|text| text.push(escaped));
            }
            '(' => {
                let (group, behind) = chars.as_str().split_once(')')?;
                chars = behind.chars();
                let group = group.strip_prefix("?:").unwrap_or(group);
                let branches: Option<Vec<String>> = group.split('|').map(plain).collect();
                texts = combine(&texts, &branches?)?;
            }
            '.' | '*' | '+' | '?' | '[' | ']' | '|' | ')' | '{' | '}' | '^' | '$' => return None,
            c => texts.iter_mut().for_each(|text| text.push(c)),
        }
    }
    Some(texts)
}

fn combine(texts: &[String], branches: &[String]) -> Option<Vec<String>> {
    if texts.len() * branches.len() > MAX_PATHS {
        return None;
    }
    let both = texts
        .iter()
        .flat_map(|text| branches.iter().map(move |branch| format!("{text}{branch}")));
    Some(both.collect())
}

/// A branch without any sign of an expression but escapes of signs.
fn plain(branch: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = branch.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().filter(|c| !c.is_ascii_alphanumeric())?),
            c if "().*+?[]{}|^$".contains(c) => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

/// Whether the expression is about names that begin with a dot, which Pando does not serve unless
/// told to.
pub(super) fn is_dotfiles(pattern: &str) -> bool {
    let rest = pattern.trim_start_matches("(^|/)");
    let hidden = rest
        .strip_prefix(r"/\.")
        .or_else(|| rest.strip_prefix(r"^/\."));
    hidden.is_some() || (rest != pattern && rest.starts_with(r"\."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_are_paths() {
        for (pattern, expect) in [
            ("^/api/", vec!["/api/*"]),
            ("^/api/.*$", vec!["/api/*"]),
            ("^/about$", vec!["/about"]),
            ("^/(img|css)/", vec!["/img/*", "/css/*"]),
            ("^/(?:a|b)/(c|d)$", vec!["/a/c", "/a/d", "/b/c", "/b/d"]),
            (r"^/a\.b/", vec!["/a.b/*"]),
            ("^/v1(.*)$", vec!["/v1*"]),
        ] {
            let got: Vec<String> = paths(pattern)
                .expect(pattern)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(got, expect, "{pattern}");
        }
        for pattern in [
            "/api/",
            r"\.(css|js)$",
            r"^/\d+",
            "^/a.b",
            "^/a+",
            "^a",
            "^/[ab]",
            "^/(a",
            "^/(a|(b))",
            "",
        ] {
            assert_eq!(paths(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn expressions_of_extensions() {
        for (pattern, expect) in [
            (r"\.css$", "/*.css"),
            (r"\.(css|js)$", "/*.{css,js}"),
            (r".*\.(?:jpe?g|PNG|woff2?)$", "/*.{jpeg,jpg,png,woff2,woff}"),
        ] {
            let got = extensions(pattern).expect(pattern);
            assert_eq!(got.to_string(), expect, "{pattern}");
        }
        for pattern in [
            r"\.php",
            r"\.php(/|$)",
            r"^/a\.css$",
            r"\.[a-z]+$",
            r"\.(a|b",
            r"\.$",
            "css$",
        ] {
            assert_eq!(extensions(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn expressions_of_hidden_names() {
        for pattern in [r"/\.", r"/\.ht", r"/\.(git|svn)", r"(^|/)\."] {
            assert!(is_dotfiles(pattern), "{pattern}");
        }
        for pattern in [r"\.php$", "^/api", r"\.(css|js)$"] {
            assert!(!is_dotfiles(pattern), "{pattern}");
        }
    }
}
