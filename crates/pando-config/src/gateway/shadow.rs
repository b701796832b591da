//! Routes that can never serve: an earlier one takes all that they match.

use gateway_spec::{Action, Matches, PathMatch};

use super::route::PlacedRoute;
use crate::problem::{Refusal, Report};

/// Pairs that are compared; a site with more routes than that is only partly looked at.
const MAX_PAIRS: usize = 1_000_000;

pub(super) fn check(routes: &[PlacedRoute], report: &mut Report) {
    let mut pairs = 0;
    for (index, later) in routes.iter().enumerate() {
        pairs += index;
        if pairs > MAX_PAIRS {
            return;
        }
        let earlier = routes[..index].iter().find(|earlier| {
            !falls_through(&earlier.route.action)
                && covers(&earlier.route.matches, &later.route.matches)
        });
        let Some(earlier) = earlier else {
            continue;
        };
        let what = format!("the route `{}` is never reached", later.route.name);
        let why = format!(
            "`{}` stands before it and takes all its requests",
            earlier.route.name
        );
        let fix = format!("move it above `{}`, or remove it", earlier.route.name);
        report.warning(&later.place, Refusal::new(what, why, fix));
    }
}

fn falls_through(action: &Action) -> bool {
    matches!(action, Action::Files(files) if files.fall_through)
}

/// Whether each request of `later` is one of `earlier` too.
fn covers(earlier: &Matches, later: &Matches) -> bool {
    let methods = earlier.methods.is_empty()
        || (!later.methods.is_empty()
            && later
                .methods
                .iter()
                .all(|method| earlier.methods.contains(method)));
    let headers = earlier.headers.iter().all(|wanted| {
        later.headers.iter().any(|header| {
            header.name == wanted.name && (wanted.value.is_none() || header.value == wanted.value)
        })
    });
    methods && headers && path_covers(&earlier.path, &later.path)
}

fn path_covers(earlier: &PathMatch, later: &PathMatch) -> bool {
    match (earlier, later) {
        (
            PathMatch::Prefix(prefix),
            PathMatch::Exact(path)
            | PathMatch::Prefix(path)
            | PathMatch::Extensions { prefix: path, .. },
        ) => path.starts_with(prefix.as_str()),
        (PathMatch::Prefix(prefix), PathMatch::Params(path)) => {
            let fixed = path.split('{').next().unwrap_or_default();
            fixed.starts_with(prefix.as_str())
        }
        (PathMatch::Exact(one), PathMatch::Exact(other)) => one == other,
        (PathMatch::Params(pattern), PathMatch::Exact(path) | PathMatch::Params(path)) => {
            params_cover(pattern, path)
        }
        (PathMatch::Extensions { prefix, extensions }, PathMatch::Exact(path)) => {
            path.starts_with(prefix.as_str()) && PathMatch::has_extension(path, extensions)
        }
        (
            PathMatch::Extensions { prefix, extensions },
            PathMatch::Extensions {
                prefix: later,
                extensions: wanted,
            },
        ) => {
            later.starts_with(prefix.as_str()) && wanted.iter().all(|one| extensions.contains(one))
        }
        (
            PathMatch::Exact(_) | PathMatch::Params(_) | PathMatch::Extensions { .. },
            PathMatch::Prefix(_) | PathMatch::Params(_) | PathMatch::Extensions { .. },
        ) => false,
    }
}

/// `/users/{id}/*` covers `/users/{name}/posts`.
fn params_cover(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some("*"), Some(_)) => return true,
            (Some(wanted), Some(segment)) => {
                let any = wanted.starts_with('{');
                let sound = if any {
                    !segment.is_empty() && segment != "*"
                } else {
                    wanted == segment
                };
                if !sound {
                    return false;
                }
            }
            (None, Some(_)) | (Some(_), None) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::path;

    #[test]
    fn paths_that_take_all_of_another() {
        for (earlier, later, expect) in [
            ("/*", "/a", true),
            ("/*", "/a/*", true),
            ("/*", "/{x}", true),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a", false),
            ("/a/*", "/*", false),
            ("/a", "/a", true),
            ("/a", "/a/*", false),
            ("/users/{id}", "/users/{name}", true),
            ("/users/{id}", "/users/me", true),
            ("/users/me", "/users/{id}", false),
            ("/users/{id}", "/users/{id}/x", false),
            ("/users/{id}/*", "/users/{x}/posts", true),
            ("/users/{id}/*", "/users/7/*", false),
            ("/users/{id}", "/users/*", false),
            ("/users/*", "/users/{id}", true),
            ("/{a}/x", "/{b}/*", false),
            ("/a/*", "/a/*.css", true),
            ("/a/*.css", "/a/*", false),
            ("/a/*.{css,js}", "/a/b/*.js", true),
            ("/a/*.{css,js}", "/a/*.{js,png}", false),
            ("/*.css", "/a.css", true),
        ] {
            let (one, other) = (path::read(earlier).unwrap(), path::read(later).unwrap());
            assert_eq!(path_covers(&one, &other), expect, "{earlier} {later}");
        }
    }
}
