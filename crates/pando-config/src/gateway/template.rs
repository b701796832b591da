//! Texts with `{host}` and the like in them: redirects, rewrites, values of headers.

use gateway_spec::PathMatch;

use super::path;
use crate::problem::{Place, Refusal, Report, did_you_mean};

/// What every template may hold.
const REQUEST: [&str; 5] = ["host", "path", "query", "uri", "scheme"];
/// What values of headers may hold beside it.
const HEADERS: [&str; 2] = ["client_ip", "request_id"];

/// What a template may name.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Target,
    Header,
}

/// Tells every `{name}` that would stand for nothing. Braces around anything but a word are text.
pub(super) fn check(text: &str, kind: Kind, route: &PathMatch, place: &Place, report: &mut Report) {
    let mut known: Vec<&str> = REQUEST.to_vec();
    if matches!(kind, Kind::Header) {
        known.extend(HEADERS);
    }
    known.extend(path::names(route));
    for name in words(text).filter(|name| !known.contains(name)) {
        let what = format!("`{{{name}}}` stands for nothing");
        let why = "it is not a part of a request, nor a parameter of the route's path";
        let fix = match did_you_mean(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{{{near}}}`?"),
            None => format!("known are {}", braced(&known)),
        };
        report.error(place, Refusal::new(what, why, fix));
    }
}

fn braced(names: &[&str]) -> String {
    let braced: Vec<String> = names.iter().map(|name| format!("{{{name}}}")).collect();
    braced.join(", ")
}

/// The words that stand in braces.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let behind = text.split('{').skip(1);
    behind
        .filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
        .filter(|name| {
            !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_braces() {
        let found: Vec<&str> =
            words("https://{host}/x{a_1}/{\"json\": 1}/{}/{ x }/{open").collect();
        assert_eq!(found, ["host", "a_1"]);
    }
}
