//! `cargo xtask VERB`: all that a maintainer does to this repository, a file a verb.

mod bench;
mod ci;
mod conformance;
mod debian;
mod demo;
mod deny;
mod fuzz;
mod shell;
mod soak;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask VERB

  demo                     build Pando, run examples/express on every core
  ci                       format, clippy, tidy, all tests; installs what they need
  tidy                     the house rules that no compiler checks
  deny                     licences and advisories of the dependencies, by cargo-deny
  bench cluster [--quick] [--only TABLE]
                           Pando beside its peers: throughput stall memory restart reload logs
  bench gateway [--quick] [--only TABLE,...] [--peers nginx,haproxy,caddy,pando]
                           the gateway beside its peers: cpu measuring latency stall kill idle websocket
  bench agent [--quick] [--only TABLE,...] [--nodes 20,24] [--variants nothing,pando,prom,pm2,otel]
                           CPU and memory of measuring inside an app: switch http express busy
  conformance              every case of httpwg-cli against the gateway (HTTP/2)
  soak [--minutes N]       crashes, stalls, reloads and upgrades at random, under load
  fuzz [--seconds N]       every fuzz target for so long (needs a nightly toolchain)
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["demo"] => demo::run(),
        ["ci"] => ci::run(),
        ["tidy"] => tidy::run(),
        ["deny"] => deny::run(),
        ["bench", "cluster", rest @ ..] => bench::cluster(rest),
        ["bench", "gateway", rest @ ..] => bench::gateway(rest),
        ["bench", "agent", rest @ ..] => bench::agent(rest),
        ["conformance"] => conformance::run(),
        ["soak", rest @ ..] => soak::run(rest),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
