//! A gateway in front of one upstream that measures or does not, for `cargo xtask bench gateway
//! measuring`: `measured LISTEN UPSTREAM SPANS COLLECTOR REPORTS`. `SPANS` is the share of requests
//! that are recorded, `no` for none; `REPORTS` is `yes` or `no`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gateway_spec::{Action, GatewaySpec, Listen, PathMatch, Route, Site, Upstreams};
use monitor_spec::settings::Otlp;
use pando_gateway::gateway::Gateway;
use pando_gateway::measure::Reporter;
use pando_gateway::serve::Listening;
use pando_gateway::tls::DirectFiles;

const REPORT_EVERY: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream, spans, collector, reports] = args.as_slice() else {
        return Err("LISTEN UPSTREAM SPANS COLLECTOR REPORTS".into());
    };
    let address: SocketAddr = listen.parse()?;
    let listen = Listen::plain(address);
    let action = Action::Proxy(Upstreams::addresses([&**upstream]));
    let route = Route::new(PathMatch::Prefix("/".into()), action);
    let otlp = match spans.as_str() {
        "no" => None,
        share => Some(Otlp {
            endpoint: collector.clone(),
            traces: true,
            sample: share.parse()?,
            ..Otlp::default()
        }),
    };
    let spec = GatewaySpec {
        listen: vec![listen.clone()],
        sites: vec![Site::new(["*"], vec![route])],
        threads: Some(1),
        otlp,
        ..GatewaySpec::default()
    };
    let state = std::env::temp_dir();
    let gateway = Gateway::new(spec, Arc::new(DirectFiles), state)?;
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    let socket = socket.into();
    gateway.listen(Listening { listen, socket }).await?;
    let measures = reports == "yes";
    gateway.shared().reports.store(measures, Relaxed);
    let mut reporter = Reporter::default();
    loop {
        tokio::time::sleep(REPORT_EVERY).await;
        if measures {
            let now = Instant::now();
            reporter.gather(gateway.shared(), now);
            let report = reporter.report(Vec::new(), now);
            std::hint::black_box(serde_json::to_vec(&report)?);
        }
    }
}
