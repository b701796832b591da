//! `root`, `alias`, `index`, `try_files`.

use std::path::PathBuf;

use gateway_spec::{Action, Files, PathMatch, Rewrite, Route};

use super::Import;
use super::scope::Scope;
use super::tree::Directive;
use crate::command;

/// What `try_files` ends with.
enum Fallback<'t> {
    NotFound,
    Page(&'t str),
    Named(&'t str),
}

impl<'t> Import<'t> {
    /// The route of files, and the one that they fall through to.
    pub fn files(
        &mut self,
        path: PathMatch,
        scope: &Scope<'t>,
        directive: &'t Directive,
        server: &'t Directive,
    ) -> Vec<Route> {
        let fallback = scope.one("try_files").map(|one| (one, self.fallback(one)));
        let named = match &fallback {
            Some((one, Some(Fallback::Named(name)))) => {
                let route = self.named(name, path.clone(), scope, server);
                if route.is_none() {
                    self.notes
                        .untranslated(one, format!("`{name}` does not lead to an upstream"));
                }
                route
            }
            _ => None,
        };
        let Some((root, rewrite)) = self.root(&path, scope, directive) else {
            return named.into_iter().collect();
        };
        let mut files = Files {
            root,
            index: self.index(scope),
            spa: None,
            cache_control: None,
            precompressed: true,
            fall_through: named.is_some(),
            dotfiles: path.to_string().contains("/."),
        };
        if let Some((one, Some(Fallback::Page(page)))) = &fallback {
            let below = match (&path, &rewrite) {
                (PathMatch::Prefix(prefix), Some(Rewrite::StripPrefix)) => {
                    page.strip_prefix(prefix.as_str())
                }
                _ => page.strip_prefix('/'),
            };
            files.spa = below.filter(|page| !page.is_empty()).map(str::to_owned);
            match files.spa {
                Some(_) => self.notes.differs(
                    one,
                    "names with an extension that are not there get 404, not the page",
                ),
                None => self
                    .notes
                    .untranslated(one, "the page is not below these files"),
            }
        }
        let mut route = Route::new(path, Action::Files(files));
        route.rewrite = rewrite;
        self.around(&mut route, scope);
        std::iter::once(route).chain(named).collect()
    }

    /// The directory, and how the path is changed to find the file in it.
    fn root(
        &mut self,
        path: &PathMatch,
        scope: &Scope<'t>,
        directive: &'t Directive,
    ) -> Option<(PathBuf, Option<Rewrite>)> {
        let alias = scope.own("alias");
        let Some(written) = alias.or_else(|| scope.one("root")) else {
            self.notes.untranslated(directive, "it has no `root`");
            return None;
        };
        let text = written.arg(0);
        if text.is_empty() || text.contains('$') {
            self.notes
                .untranslated(written, "the directory is computed");
            return None;
        }
        let dir = command::absolute(self.tree.dir(), text);
        if !text.starts_with('/') {
            let why = format!(
                "nginx looks below its prefix, Pando here: {}",
                dir.display()
            );
            self.notes.differs(written, why);
        }
        if alias.is_none() {
            return Some((dir, None));
        }
        match path {
            PathMatch::Prefix(_) => Some((dir, Some(Rewrite::StripPrefix))),
            // An alias of one path is one file.
            PathMatch::Exact(_) => {
                let name = dir.file_name()?.to_str()?.to_owned();
                let plain = !name.contains(['{', '}', '?', '#', '%'])
                    && !name.contains(char::is_whitespace);
                if !plain {
                    self.notes
                        .untranslated(written, "the name of the file cannot stand in a path");
                    return None;
                }
                Some((
                    dir.parent()?.to_owned(),
                    Some(Rewrite::Template(format!("/{name}"))),
                ))
            }
            PathMatch::Params(_) | PathMatch::Extensions { .. } => {
                let why = "an alias beside an expression takes the place of nothing";
                self.notes.untranslated(written, why);
                None
            }
        }
    }

    fn index(&mut self, scope: &Scope<'t>) -> Vec<String> {
        let Some(directive) = scope.one("index") else {
            return vec!["index.html".into()];
        };
        let mut names = Vec::new();
        for name in &directive.args {
            if name.contains(['/', '$']) || name.ends_with(".php") || name.trim().is_empty() {
                self.notes.untranslated(
                    directive,
                    format!("`{name}` is not a file that can be served as it is"),
                );
            } else {
                names.push(name.clone());
            }
        }
        names
    }

    fn fallback(&mut self, directive: &'t Directive) -> Option<Fallback<'t>> {
        let (last, before) = directive.args.split_last()?;
        for name in before
            .iter()
            .filter(|name| !matches!(name.as_str(), "$uri" | "$uri/" | "$uri/index.html"))
        {
            self.notes
                .untranslated(directive, format!("`{name}` is not tried"));
        }
        match last.as_str() {
            "=404" | "$uri" | "$uri/" => Some(Fallback::NotFound),
            name if name.starts_with('@') => Some(Fallback::Named(name)),
            page if page.starts_with('/') && !page.contains(".php") => {
                let page = page.split('?').next().unwrap_or(page);
                let plain = !page.contains('$') && !page.split('/').any(|part| part == "..");
                if !plain {
                    self.notes
                        .untranslated(directive, format!("`{last}` is computed"));
                }
                plain.then_some(Fallback::Page(page))
            }
            _ => {
                self.notes.untranslated(
                    directive,
                    format!("`{last}` is not served; what is not there gets 404"),
                );
                None
            }
        }
    }
}
