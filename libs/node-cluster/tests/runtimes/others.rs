//! Deno and Bun: what each of them takes part in.

use crate::http::{client, get};
use crate::npm::runtime;
use crate::rig::{Answer, Rig};
use node_cluster::{ConnId, Effect, HandleKey};
use serde_json::json;

fn app(port: u16) -> String {
    format!(
        "const {{ createServer }} = require('http'); const cluster = require('cluster');
         createServer((q, r) => r.end('w' + cluster.worker.id)).listen({port});
         process.on('message', (m) => m === 'end' ? cluster.worker.disconnect() : process.send(m));"
    )
}

/// By faux handles only: Deno 2.9 takes a real one and says `listening`, but never accepts.
#[test]
fn deno_takes_deliveries_pings_and_messages() {
    let mut rig = Rig::new(&runtime("deno@2"), Answer::Faux);
    let port = rig.port();
    let (first, keys) = rig.listening(1, &app(port), 1);
    let (second, _) = rig.listening(2, &app(port), 1);
    for worker in [first, second, first] {
        let request = client(rig.address(&keys[0]));
        let conn = rig.hand_over(worker, &keys[0]);
        rig.until_is(&Effect::Accepted { worker, conn });
        assert_eq!(request.body(), format!("w{}", worker.0));
        let (ping, effects) = rig.primary.ping(worker);
        rig.apply(effects);
        rig.until_is(&Effect::Pong { worker, ping });
    }
    let effects = rig.primary.send_app(first, b"{\"a\":1}");
    rig.apply(effects);
    assert_eq!(rig.app_message(), json!({"a":1}));
    let effects = rig.primary.disconnect(first);
    rig.apply(effects);
    rig.until_is(&Effect::Closed {
        worker: first,
        key: keys[0].clone(),
    });
    assert_eq!(rig.until_gone(first).code(), Some(0));
}

#[test]
fn bun_listens_by_itself_and_is_told_apart() {
    let mut rig = Rig::new(&runtime("bun@1"), Answer::Faux);
    // A port that was free a moment ago: Bun binds it, each worker with SO_REUSEPORT.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for id in [1, 2] {
        let (worker, keys) = rig.listening(id, &app(port), 1);
        rig.until_is(&Effect::RuntimeIsBun { worker });
        assert_eq!(keys[0], HandleKey(format!("null:{port}:4:undefined")));
        assert!(!rig.primary.can_deliver(worker, &keys[0]));
        assert!(!rig.primary.can_disconnect(worker));
        let conn = ConnId(u64::from(id));
        let returned = Effect::Returned {
            worker,
            conn,
            key: keys[0].clone(),
        };
        assert_eq!(rig.primary.deliver(worker, &keys[0], conn), [returned]);
        let effects = rig.primary.send_app(worker, b"{\"a\":1}");
        rig.apply(effects);
        assert_eq!(rig.app_message(), json!({"a":1}));
    }
    assert!(["w1", "w2"].contains(&&*get(([127, 0, 0, 1], port).into())));
}
