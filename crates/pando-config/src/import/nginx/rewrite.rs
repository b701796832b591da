//! `rewrite`.

use gateway_spec::{Action, PathMatch, Rewrite, Route};

use super::Import;
use super::pattern;
use super::reply::is_target;
use super::scope::Scope;
use super::tree::Directive;
use super::value;

const MAX_REGEX_BYTES: usize = 1 << 20;

impl<'t> Import<'t> {
    /// The one `rewrite` of a location that passes requests on.
    pub fn own_rewrite(&mut self, scope: &Scope<'t>) -> Option<Rewrite> {
        let mut found = None;
        for directive in scope.block().iter().filter(|one| one.name == "rewrite") {
            if is_redirect(directive) {
                let why = "a redirect by an expression beside proxy_pass; make it a route with `redirect`";
                self.notes.untranslated(directive, why);
            } else if found.is_some() {
                self.notes
                    .untranslated(directive, "a route has one `rewrite`; the first is kept");
            } else {
                found = self.expression(directive);
            }
        }
        found
    }

    fn expression(&mut self, directive: &'t Directive) -> Option<Rewrite> {
        let (pattern, to) = (directive.arg(0), directive.arg(1));
        let compiled = regex::RegexBuilder::new(pattern)
            .size_limit(MAX_REGEX_BYTES)
            .build();
        if compiled.is_err() || pattern.trim().is_empty() || pattern.contains('\0') {
            self.notes.untranslated(
                directive,
                "the expression has what Pando's do not, such as look-around",
            );
            return None;
        }
        let replacement = replacement(to);
        if replacement.is_none() {
            let why = "the replacement may hold $1 and its kin only, and no query";
            self.notes.untranslated(directive, why);
        }
        replacement.map(|replacement| Rewrite::Regex {
            pattern: pattern.to_owned(),
            replacement,
        })
    }

    /// Rewrites that stand before any location: redirects of one path or of all become routes.
    pub fn server_rewrites(&mut self, block: &'t [Directive], sink: &mut dyn FnMut(Route)) {
        for directive in block.iter().filter(|one| one.name == "rewrite") {
            if !is_redirect(directive) {
                let why = "a rewrite before a location is chosen; write `rewrite` into the routes it is for";
                self.notes.untranslated(directive, why);
                continue;
            }
            match redirect(directive) {
                Some(route) => sink(route),
                None => {
                    let why = "a redirect goes from a path, or from all paths; parts of it cannot be carried over";
                    self.notes.untranslated(directive, why);
                }
            }
        }
    }
}

fn is_redirect(directive: &Directive) -> bool {
    matches!(directive.arg(2), "permanent" | "redirect")
        || directive.arg(1).starts_with("http://")
        || directive.arg(1).starts_with("https://")
        || directive.arg(1).starts_with("$scheme://")
}

fn redirect(directive: &Directive) -> Option<Route> {
    let (pattern, to) = (directive.arg(0), directive.arg(1));
    let status = if directive.arg(2) == "permanent" {
        301
    } else {
        302
    };
    // nginx adds the query unless the replacement ends with a question mark.
    let (to, query) = match to.strip_suffix('?') {
        Some(to) => (to, ""),
        None if to.contains("$request_uri") || to.contains('?') => (to, ""),
        None => (to, "{query}"),
    };
    let (path, to) = match pattern {
        "^" | ".*" | "^/" | "^.*" | "^.*$" => (PathMatch::Prefix("/".into()), to.to_owned()),
        "^(.*)$" | "^(.*)" | "(.*)" => (PathMatch::Prefix("/".into()), to.replace("$1", "$uri")),
        "^/(.*)$" | "^/(.*)" => (PathMatch::Prefix("/".into()), to.replace("/$1", "$uri")),
        pattern => match &pattern::paths(pattern)?[..] {
            [PathMatch::Exact(path)] => (PathMatch::Exact(path.clone()), to.to_owned()),
            _ => return None,
        },
    };
    let to = format!("{}{query}", value::template(&to).ok()?);
    is_target(&to).then(|| Route::new(path, Action::Redirect { status, to }))
}

/// `$1` as `${1}`, so that letters may follow it.
fn replacement(text: &str) -> Option<String> {
    if !text.starts_with('/') && !text.starts_with('$') || text.contains(['?', '{', '}']) {
        return None;
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let digit = after.chars().next().filter(char::is_ascii_digit)?;
        out.push_str(&format!("${{{digit}}}"));
        rest = &after[1..];
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements() {
        for (text, expect) in [
            ("/$1", Some("/${1}")),
            ("/v2/$1a$2", Some("/v2/${1}a${2}")),
            ("$1", Some("${1}")),
            ("/x", Some("/x")),
            ("/x?$args", None),
            ("/$name", None),
            ("x", None),
        ] {
            assert_eq!(replacement(text).as_deref(), expect, "{text}");
        }
    }
}
