//! A gateway written as pando.toml is read back as it was.

mod specs;
mod world;

use std::path::Path;

use gateway_spec::GatewaySpec;
use pando_config::{MemoryFs, gateway_to_toml, parse};
use proptest::prelude::*;
use world::{base_env, show};

fn read(text: &str) -> GatewaySpec {
    let mut fs = MemoryFs::new();
    fs.root = true;
    let (file, _) = parse(text, Path::new("/srv/pando.toml"), &base_env(), &fs)
        .unwrap_or_else(|p| panic!("{text}\n{}", show(&p)));
    file.gateway.expect("there is a gateway")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(spec in specs::spec()) {
        let text = gateway_to_toml(&spec);
        let back = read(&text);
        prop_assert_eq!(back, spec, "{}", text);
    }
}

#[test]
fn short_routes_stand_on_a_line_each() {
    let text = r#"[gateway]
listen = ["0.0.0.0:80", "0.0.0.0:443 tls"]

[site."api.example.com"]
tls = { cert = "/srv/cert.pem", key = "/srv/key.pem" }
routes = [
  { path = "/static/*", files = "/srv/public", cache_control = "public, max-age=31536000, immutable" },
  { path = "/api/*", app = "api", balance = "least-connections", limit = { per = "ip", rate = "10/s", burst = 20 } },
  { path = "/*", upstreams = ["app1.internal:3000", "app2.internal:3000"] },
]
"#;
    assert_eq!(gateway_to_toml(&read(text)), text);
    let long = r#"[gateway]
listen = ["0.0.0.0:80"]

[site."*"]

[[site."*".routes]]
path = "/*"
upstreams = [
  "app-number-one.internal:3000",
  "app-number-two.internal:3000",
  "app-number-three.internal:3000",
  { address = "https://app-number-four.internal:3000", weight = 3 },
]
response_headers = [{ set = { x-a = "1" } }, { remove = ["x-b"] }, { set = { x-a = '"2"' } }]
"#;
    assert_eq!(gateway_to_toml(&read(long)), long);
}
