//! Which route takes a request, and why; where it would go. What `pando gateway explain` prints.

use std::net::IpAddr;
use std::sync::Arc;

use gateway_spec::{Action, CacheStore, GatewaySpec, Rewrite, Target, Upstreams};
use http::{HeaderMap, Method, Uri};

use crate::cache::Store;
use crate::limits::LimitStore;
use crate::pipeline::site_name;
use crate::route::{Build, Route};
use crate::routing::{Routing, path};
use crate::tls::DirectFiles;
use crate::upstream::group::KeySource;
use crate::upstream::{Group, resolve};

/// A request to ask about.
#[derive(Clone, Debug)]
pub struct Question {
    pub method: Method,
    /// Absolute: scheme, host and path.
    pub uri: Uri,
    pub headers: HeaderMap,
    pub client: IpAddr,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Explanation {
    /// Hosts of the site that has the request's host.
    pub site: Option<String>,
    /// As routes see the path.
    pub path: Option<String>,
    /// The site's routes in order, and why each does not take the request. The first without a
    /// reason serves it; those behind it are not looked at.
    pub routes: Vec<RouteVerdict>,
    /// What the route does: in order, one line each.
    pub steps: Vec<String>,
    /// Where it would go by the balance alone, were all upstreams idle and well.
    pub upstream: Option<String>,
    /// Why no route serves it.
    pub refusal: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RouteVerdict {
    pub route: String,
    /// `None` for the one that serves.
    pub why_not: Option<String>,
}

/// Answers from the description alone; nothing is connected to.
pub fn explain(spec: &GatewaySpec, question: &Question) -> Explanation {
    let mut explanation = Explanation::default();
    let Some(host) = question.uri.host() else {
        explanation.refusal = Some("400: there is no host in the URL".into());
        return explanation;
    };
    let routing = routing(spec);
    let Some(site) = routing.site(&site_name(host)) else {
        explanation.refusal = Some(format!("404: no site has the host {host}"));
        return explanation;
    };
    explanation.site = Some(site.name.to_string());
    if site.redirect_https && question.uri.scheme_str() == Some("http") {
        explanation.refusal = Some("308: the site is served by HTTPS only".into());
        return explanation;
    }
    let Some(path) = path::normalise(question.uri.path()) else {
        explanation.refusal = Some("400: the path is not valid".into());
        return explanation;
    };
    explanation.path = Some(path.clone().into_owned());
    for (route, why_not) in site.explain(&question.method, &path, &question.headers) {
        let serves = why_not.is_none();
        explanation.routes.push(RouteVerdict {
            route: route.name.to_string(),
            why_not,
        });
        if serves {
            follow(&route, &path, question, &mut explanation);
            return explanation;
        }
    }
    explanation.refusal = Some("404: no route of the site takes it".into());
    explanation
}

fn routing(spec: &GatewaySpec) -> Routing {
    let files: Arc<dyn crate::tls::FileSource> = Arc::new(DirectFiles);
    let nothing_kept = CacheStore {
        disk: None,
        ..spec.cache_store.clone()
    };
    let mut groups: Vec<Arc<Group>> = Vec::new();
    let mut group = |upstreams: &Upstreams| {
        if let Some(group) = groups.iter().find(|g| g.spec == *upstreams) {
            return group.clone();
        }
        let group = Arc::new(Group::new(upstreams.clone(), 1, files.clone()));
        resolve::set_fixed(&group);
        groups.push(group.clone());
        group
    };
    let mut build = Build {
        group: &mut group,
        old: &Routing::default(),
        files: &files,
        cache: &Store::open(&nothing_kept),
        limits: &Arc::new(LimitStore::default()),
    };
    Routing::new(spec, &mut build)
}

fn follow(route: &Arc<Route>, path: &str, question: &Question, explanation: &mut Explanation) {
    let spec = route.spec();
    let steps = &mut explanation.steps;
    protection(spec, steps);
    match &spec.rewrite {
        None => {}
        Some(Rewrite::StripPrefix) => steps.push("the matched prefix is taken off the path".into()),
        Some(Rewrite::ReplacePrefix(with)) => {
            steps.push(format!("the matched prefix becomes {with}"));
        }
        Some(Rewrite::Template(template)) => steps.push(format!("the path becomes {template}")),
        Some(Rewrite::Regex {
            pattern,
            replacement,
        }) => steps.push(format!("the path is rewritten: {pattern} to {replacement}")),
    }
    if spec.cache.is_some() {
        steps.push("answers come from the cache where they may".into());
    }
    match &spec.action {
        Action::Files(files) => steps.push(format!("files below {}", files.root.display())),
        Action::Redirect { status, to } => steps.push(format!("redirect {status} to {to}")),
        Action::Respond { status, .. } => steps.push(format!("answer {status}")),
        Action::Proxy(_) | Action::Split(_) => {
            let Some(group) = route.action.group(&question.headers, 0) else {
                steps.push("no branch has a weight".into());
                return;
            };
            upstream(group, path, question, explanation);
        }
    }
}

fn protection(spec: &gateway_spec::Route, steps: &mut Vec<String>) {
    let protect = &spec.protect;
    if !protect.allow.is_empty() || !protect.deny.is_empty() {
        steps.push("the client's address is checked".into());
    }
    for limit in &protect.limits {
        steps.push(format!(
            "at most {} requests in {} ms for each {:?}, burst {}",
            limit.rate, limit.period_ms, limit.per, limit.burst
        ));
    }
    if let Some(connections) = &protect.connections {
        steps.push(format!(
            "at most {} requests at the same time",
            connections.max
        ));
    }
    if protect.auth.is_some() {
        steps.push("the client must authenticate".into());
    }
}

fn upstream(group: &Arc<Group>, path: &str, question: &Question, explanation: &mut Explanation) {
    let balance = format!("{:?}", group.spec.balance);
    match &group.spec.target {
        Target::App(app) => {
            explanation
                .steps
                .push(format!("to a worker of the app {app}, by {balance}"));
        }
        Target::Addresses(all) => {
            explanation
                .steps
                .push(format!("to one of {} upstreams, by {balance}", all.len()));
            let key = group.key(&KeySource {
                ip: question.client,
                path,
                query: question.uri.query(),
                headers: &question.headers,
            });
            explanation.upstream = group.would_pick(key).map(|e| e.known.label.to_string());
            if explanation.upstream.is_none() {
                let names = "its addresses are names, which are looked up when it runs";
                explanation.steps.push(names.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use gateway_spec::{PathMatch, Route, Site};

    use super::*;

    fn ask(spec: &GatewaySpec, url: &str) -> Explanation {
        explain(
            spec,
            &Question {
                method: Method::GET,
                uri: url.parse().unwrap(),
                headers: HeaderMap::new(),
                client: "10.0.0.1".parse().unwrap(),
            },
        )
    }

    #[test]
    fn the_route_and_the_reasons_of_the_others_are_told() {
        let to = |address: &str| Action::Proxy(Upstreams::addresses([address]));
        let routes = vec![
            Route::new(PathMatch::Prefix("/api/".into()), to("127.0.0.1:1")),
            Route::new(PathMatch::Prefix("/".into()), to("127.0.0.1:2")),
        ];
        let spec = GatewaySpec {
            sites: vec![Site::new(["a.example"], routes)],
            ..GatewaySpec::default()
        };
        let found = ask(&spec, "http://a.example/x/../about");
        assert_eq!(found.path.as_deref(), Some("/about"));
        assert_eq!(found.routes.len(), 2);
        assert!(found.routes[0].why_not.is_some() && found.routes[1].why_not.is_none());
        assert_eq!(found.upstream.as_deref(), Some("127.0.0.1:2"));
        let lost = ask(&spec, "http://b.example/");
        assert!(lost.refusal.unwrap().starts_with("404"));
    }
}
