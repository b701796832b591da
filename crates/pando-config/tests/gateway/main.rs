//! `[gateway]` and `[site]`: every key and what it becomes.

#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "tables of inputs and what is expected"
)]

mod mistakes;
mod protect;
mod route_mistakes;
mod routes;
mod settings;
#[path = "../world/mod.rs"]
mod world;

use std::path::Path;

use gateway_spec::{GatewaySpec, Route, Upstreams};
use pando_config::{MemoryFs, Problem, parse};
use world::{base_env, fs, show};

pub fn gateway_fs() -> MemoryFs {
    fs().with("/srv/public/index.html", "")
        .with("/srv/cert.pem", "")
        .with("/srv/key.pem", "")
        .with("/srv/htpasswd", "")
        .with("/srv/jwks.json", "{}")
        .with("/srv/token", "from a file of some length\n")
}

pub fn read(text: &str) -> Result<(Option<GatewaySpec>, Vec<Problem>), Vec<Problem>> {
    let mut env = base_env();
    env.insert("REDIS".into(), "redis://from-env".into());
    parse(text, Path::new("/srv/pando.toml"), &env, &gateway_fs())
        .map(|(file, warnings)| (file.gateway, warnings))
}

#[track_caller]
pub fn whole(text: &str) -> GatewaySpec {
    let (spec, warnings) = read(text).unwrap_or_else(|p| panic!("{text}\n{}", show(&p)));
    assert_eq!(warnings, [], "{text}\n{}", show(&warnings));
    spec.expect("there is a gateway")
}

/// The one route of a site with these keys.
#[track_caller]
pub fn route(keys: &str) -> Route {
    let text = format!("[gateway]\nredis = \"redis://h\"\n[site.\"*\"]\nroutes = [{{ {keys} }}]\n");
    whole(&text).sites.remove(0).routes.remove(0)
}

#[track_caller]
pub fn upstreams(keys: &str) -> Upstreams {
    let route = route(keys);
    route.action.upstreams()[0].clone()
}
