//! Node: every test runs on every version.

use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::http::{Request, client, get};
use crate::npm::runtime;
use crate::rig::{Answer, Rig};
use node_cluster::{Effect, HandleKey, ListenAddress, ListenReply, WorkerId};
use serde_json::json;

/// `http` on `port`, answering with its worker's id.
fn server(port: u16) -> String {
    format!(
        "const {{ createServer }} = require('http');
         createServer((q, r) => r.end('w' + require('cluster').worker.id)).listen({port});\n"
    )
}

/// A message `hang` (a number of milliseconds) stops the event loop; told before it does.
const HANG: &str = "process.on('message', (m) => {
    if (!m.hang) return;
    process.send('hanging');
    setTimeout(() => { const t = Date.now(); while (Date.now() - t < m.hang); }, 20);
});\n";

fn send(rig: &mut Rig, worker: WorkerId, message: serde_json::Value) {
    let effects = rig.primary.send_app(worker, message.to_string().as_bytes());
    rig.apply(effects);
}

fn hang(rig: &mut Rig, worker: WorkerId, ms: u64) {
    send(rig, worker, json!({ "hang": ms }));
    assert_eq!(rig.app_message(), "hanging");
    // Its loop must have begun to hang: what is sent in the 20 ms before is answered.
    std::thread::sleep(std::time::Duration::from_millis(60));
}

fn a_real_handle_serves_and_takes_deliveries(node: &Path) {
    let mut rig = Rig::new(node, Answer::Real);
    let port = rig.port();
    let (worker, keys) = rig.listening(1, &server(port), 1);
    rig.until_is(&Effect::Online { worker });
    let address = rig.address(&keys[0]);
    assert_eq!(get(address), "w1");

    // A second listener of ours, whose connections go over by newconn for the same key.
    let other = rig.port();
    let other_key = HandleKey(format!("null:{other}:4:undefined"));
    rig.listeners
        .insert(keys[0].clone(), rig.listeners[&other_key].clone());
    let request = client(rig.address(&keys[0]));
    let conn = rig.hand_over(worker, &keys[0]);
    rig.until_is(&Effect::Accepted { worker, conn });
    assert_eq!(request.body(), "w1");
}

fn a_faux_handle_takes_deliveries(node: &Path) {
    let mut rig = Rig::new(node, Answer::Faux);
    let port = rig.port();
    let app = server(port).replace(
        ".listen(",
        ".on('listening', function () { process.send(this.address()); }).listen(",
    );
    let (first, keys) = rig.listening(1, &app, 1);
    assert_eq!(
        rig.app_message(),
        json!({"address":"127.0.0.1","family":"IPv4","port":port})
    );
    let (second, _) = rig.listening(2, &app, 1);
    assert_eq!(
        rig.primary.holders(&keys[0]).collect::<Vec<_>>(),
        [first, second]
    );
    for worker in [first, second, second, first] {
        let request = client(rig.address(&keys[0]));
        let conn = rig.hand_over(worker, &keys[0]);
        rig.until_is(&Effect::Accepted { worker, conn });
        assert_eq!(request.body(), format!("w{}", worker.0));
    }
    assert_eq!(rig.primary.in_flight(first), 0);
}

fn port_0_and_several_ports(node: &Path) {
    for answer in [Answer::Real, Answer::Faux] {
        let mut rig = Rig::new(node, answer);
        let port = rig.port();
        let app = format!("{}{{ {} }} {{ {} }}", server(0), server(0), server(port));
        let (worker, keys) = rig.listening(1, &app, 3);
        assert_eq!(
            keys.iter()
                .filter(|key| key.as_str().contains(":0:4:"))
                .count(),
            2
        );
        let mut ports = Vec::new();
        for key in &keys {
            ports.push(rig.address(key).port());
            assert!(rig.primary.is_listening(worker, key));
            let request = client(rig.address(key));
            if answer == Answer::Faux {
                rig.hand_over(worker, key);
                rig.turn();
            }
            assert_eq!(request.body(), "w1");
        }
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 3);
        assert!(ports.contains(&port));
    }
}

fn the_real_port_of_port_0_is_told(node: &Path) {
    let mut rig = Rig::new(node, Answer::Faux);
    rig.spawn(1, &server(0));
    let (key, port, address) = rig.until(|effect| match effect {
        Effect::Listening {
            key, port, address, ..
        } => Some((key.clone(), *port, address.clone())),
        _ => None,
    });
    assert_eq!(port, Some(rig.address(&key).port()));
    assert_eq!(
        address,
        ListenAddress::Tcp {
            host: None,
            port: 0,
            ipv6_only: false
        }
    );
}

fn unix_paths(node: &Path) {
    for answer in [Answer::Real, Answer::Faux] {
        let mut rig = Rig::new(node, answer);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let app = server(0).replace("listen(0)", &format!("listen('{}')", path.display()));
        let (worker, keys) = rig.listening(1, &app, 1);
        let request = Request::send(UnixStream::connect(&path).unwrap());
        if answer == Answer::Faux {
            let conn = rig.hand_over(worker, &keys[0]);
            rig.until_is(&Effect::Accepted { worker, conn });
        }
        assert_eq!(request.body(), "w1");
    }
}

fn listening_twice_is_eaddrinuse(node: &Path) {
    for answer in [Answer::Real, Answer::Faux] {
        let mut rig = Rig::new(node, answer);
        let port = rig.port();
        let again = format!(
            "for (let i = 0; i < 2; i++) require('net').createServer()
                 .on('error', (e) => process.send(e.code)).listen({port});"
        );
        let (worker, keys) = rig.listening(1, &format!("{}{again}", server(port)), 1);
        assert_eq!(rig.app_message(), "EADDRINUSE");
        assert_eq!(rig.app_message(), "EADDRINUSE");
        let request = client(rig.address(&keys[0]));
        if answer == Answer::Faux {
            rig.hand_over(worker, &keys[0]);
            rig.turn();
        }
        assert_eq!(request.body(), "w1", "the first server is none the worse");
    }
}

fn an_address_can_be_refused_closed_and_asked_for_again(node: &Path) {
    let mut rig = Rig::new(node, Answer::Error(13));
    let app = "const s = require('net').createServer();
        s.on('error', (e) => process.send(e.code));
        process.on('message', (m) => m === 'close' ? s.close() : s.listen(m));
        process.send('up');";
    let worker = rig.spawn(1, app);
    assert_eq!(rig.app_message(), "up");
    let port = rig.port();
    let key = HandleKey(format!("null:{port}:4:undefined"));
    send(&mut rig, worker, json!(port));
    assert_eq!(rig.app_message(), "EACCES");
    rig.until_is(&Effect::Unused { key: key.clone() });
    for answer in [Answer::Real, Answer::Faux] {
        rig.answer = answer;
        send(&mut rig, worker, json!(port));
        rig.until(|effect| {
            matches!(effect, Effect::Listening { key: k, .. } if *k == key).then_some(())
        });
        send(&mut rig, worker, json!("close"));
        rig.until_is(&Effect::Closed {
            worker,
            key: key.clone(),
        });
        rig.until_is(&Effect::Unused { key: key.clone() });
    }
}

fn exclusive_listening_asks_nobody(node: &Path) {
    let mut rig = Rig::new(node, Answer::Error(1));
    let app = server(0).replace(
        ".listen(0)",
        ".listen({ port: 0, exclusive: true }, function () { process.send(this.address().port) })",
    );
    let worker = rig.spawn(1, &app);
    let port = rig.app_message().as_u64().unwrap() as u16;
    assert_eq!(get(([127, 0, 0, 1], port).into()), "w1");
    assert!(
        rig.log
            .iter()
            .all(|effect| matches!(effect, Effect::Online { .. })),
        "{:?}",
        rig.log
    );
    assert!(!rig.primary.can_disconnect(worker));
}

fn a_worker_disconnects_by_itself(node: &Path) {
    for answer in [Answer::Real, Answer::Faux] {
        let mut rig = Rig::new(node, answer);
        let port = rig.port();
        let app = "process.on('message', () => require('cluster').worker.disconnect());";
        let (worker, keys) = rig.listening(1, &format!("{app}{}", server(port)), 1);
        send(&mut rig, worker, json!("go"));
        rig.until_is(&Effect::Disconnecting { worker });
        assert!(!rig.primary.can_deliver(worker, &keys[0]));
        assert_eq!(rig.until_gone(worker).code(), Some(0));
        rig.until_is(&Effect::Closed {
            worker,
            key: keys[0].clone(),
        });
        rig.until_is(&Effect::Unused {
            key: keys[0].clone(),
        });
    }
}

fn a_worker_is_told_to_disconnect(node: &Path) {
    for answer in [Answer::Real, Answer::Faux] {
        let mut rig = Rig::new(node, answer);
        let port = rig.port();
        let app = server(port)
            .replace(
                "createServer((q, r) =>",
                "createServer(async (q, r) => {
            process.send('asked');
            await new Promise((go) => process.once('message', go));",
            )
            .replace("worker.id))", "worker.id)})");
        let worker = rig.spawn(1, &app);
        assert!(
            rig.primary.disconnect(worker).is_empty(),
            "not before it listens"
        );
        let key = rig.until(|effect| match effect {
            Effect::Listening { key, .. } => Some(key.clone()),
            _ => None,
        });
        let request = client(rig.address(&key));
        if answer == Answer::Faux {
            rig.hand_over(worker, &key);
        }
        assert_eq!(rig.app_message(), "asked");
        let effects = rig.primary.disconnect(worker);
        assert_eq!(effects.len(), 1);
        rig.apply(effects);
        rig.until_is(&Effect::Closed {
            worker,
            key: key.clone(),
        });
        assert!(rig.primary.disconnect(worker).is_empty(), "once is enough");
        send(&mut rig, worker, json!("finish"));
        assert_eq!(request.body(), "w1", "what runs is finished");
        assert_eq!(rig.until_gone(worker).code(), Some(0));
    }
}

fn a_ping_sees_whether_the_loop_turns(node: &Path) {
    for answer in [Answer::Real, Answer::Faux] {
        let mut rig = Rig::new(node, answer);
        let port = rig.port();
        let (worker, keys) = rig.listening(1, &format!("{HANG}{}", server(port)), 1);
        for _ in 0..20 {
            let (ping, effects) = rig.primary.ping(worker);
            rig.apply(effects);
            rig.until_is(&Effect::Pong { worker, ping });
        }
        hang(&mut rig, worker, 400);
        let (ping, effects) = rig.primary.ping(worker);
        rig.apply(effects);
        for _ in 0..5 {
            rig.turn();
        }
        assert!(
            !rig.log.contains(&Effect::Pong { worker, ping }),
            "answered while it hangs"
        );
        rig.until_is(&Effect::Pong { worker, ping });
        let request = client(rig.address(&keys[0]));
        if answer == Answer::Faux {
            rig.hand_over(worker, &keys[0]);
            rig.turn();
        }
        assert_eq!(request.body(), "w1", "pings leave no trace");
    }
}

fn what_a_killed_worker_did_not_ack_goes_elsewhere(node: &Path) {
    let mut rig = Rig::new(node, Answer::Faux);
    let port = rig.port();
    let app = format!("{HANG}{}", server(port));
    let (first, keys) = rig.listening(1, &app, 1);
    let (second, _) = rig.listening(2, &app, 1);
    let key = &keys[0];
    hang(&mut rig, first, 60_000);
    let mut requests = Vec::new();
    while rig.primary.can_deliver(first, key) {
        requests.push(client(rig.address(key)));
        rig.hand_over(first, key);
    }
    assert_eq!(requests.len(), 12, "the window");
    requests.push(client(rig.address(key)));
    let refused = rig.hand_over(first, key);
    rig.until_is(&Effect::Returned {
        worker: first,
        conn: refused,
        key: key.clone(),
    });
    rig.redeliver(second, key, refused);
    rig.kill(first);
    assert!(!rig.until_gone(first).success());
    for _ in 0..12 {
        let conn = rig.until(|effect| match effect {
            Effect::Returned { worker, conn, .. } if *worker == first => Some(*conn),
            _ => None,
        });
        while !rig.primary.can_deliver(second, key) {
            rig.turn();
        }
        rig.redeliver(second, key, conn);
    }
    while rig.primary.in_flight(second) > 0 {
        rig.turn();
    }
    assert!(requests.into_iter().all(|request| request.body() == "w2"));
}

fn a_full_or_closed_server_returns_connections(node: &Path) {
    let mut rig = Rig::new(node, Answer::Faux);
    let port = rig.port();
    let app = "const s = require('net').createServer((c) => c.write('x'));
        s.maxConnections = 1; process.on('message', () => s.close());";
    let (worker, keys) = rig.listening(1, &format!("{app} s.listen({port});"), 1);
    let held = client(rig.address(&keys[0]));
    let conn = rig.hand_over(worker, &keys[0]);
    rig.until_is(&Effect::Accepted { worker, conn });
    let _more = client(rig.address(&keys[0]));
    let conn = rig.hand_over(worker, &keys[0]);
    rig.until_is(&Effect::Returned {
        worker,
        conn,
        key: keys[0].clone(),
    });

    // It closes while a connection is on its way: the close is read after the connection is sent.
    send(&mut rig, worker, json!("close"));
    rig.redeliver(worker, &keys[0], conn);
    rig.until_is(&Effect::Returned {
        worker,
        conn,
        key: keys[0].clone(),
    });
    drop(held);
}

fn messages_go_both_ways(node: &Path) {
    let mut rig = Rig::new(node, Answer::Faux);
    let app = "process.on('message', (m) => process.send(m));
        process.on('internalMessage', (m) => {
            if (m.cmd === 'NODE_PANDO') process.send({ ...m, back: true });
        });
        process.send('\\ud800'); process.send(null); process.send({ cmd: 'NODE_' });";
    let worker = rig.spawn(1, app);
    let raw = rig.until(|effect| match effect {
        Effect::App { message, .. } => Some(message.clone()),
        _ => None,
    });
    assert_eq!(raw, br#""\ud800""#, "as it came");
    assert_eq!(rig.app_message(), json!(null));
    assert_eq!(rig.app_message(), json!({"cmd": "NODE_"}));
    for message in [
        json!("ready"),
        json!({"a": [1.5, null, "zeile\nß\u{2028}"]}),
        json!(7),
    ] {
        send(&mut rig, worker, message.clone());
        assert_eq!(rig.app_message(), message);
    }
    let effects = rig.primary.send_app(worker, b"{\n \"pretty\": 1\r\n}");
    rig.apply(effects);
    assert_eq!(rig.app_message(), json!({"pretty": 1}));
    let long = json!("x".repeat(900_000));
    send(&mut rig, worker, long.clone());
    assert_eq!(
        rig.app_message(),
        long,
        "longer than the socket holds, in both directions"
    );

    let effects = rig
        .primary
        .send_internal(worker, "NODE_PANDO", json!({"drain": 1}));
    rig.apply(effects);
    let message = json!({"cmd": "NODE_PANDO", "drain": 1, "back": true});
    rig.until_is(&Effect::Agent { worker, message });
    for bad in [&b"{"[..], b"\xff", br#"{"cmd":"NODE_CLUSTER"}"#, b"1 2"] {
        let effects = rig.primary.send_app(worker, bad);
        assert!(
            matches!(&effects[..], [Effect::Unsupported { .. }]),
            "{effects:?}"
        );
    }
}

fn a_handle_sent_by_the_app_does_not_block_it(node: &Path) {
    let mut rig = Rig::new(node, Answer::Faux);
    let app = "const net = require('net');
        const s = net.createServer().listen({ port: 0, exclusive: true }, () => {
            const c = net.connect(s.address().port);
            s.once('connection', (mine) => {
                c.on('close', () => process.send('socket closed'));
                process.send({ n: 1 }, mine);
                process.send({ n: 2 }, s);
                process.send({ n: 3 }, () => {
                    s.getConnections((error, count) => process.send({ error, count }));
                    s.close(() => process.send('server closed'));
                });
            });
        });";
    rig.spawn(1, app);
    let mut told = Vec::new();
    for _ in 0..6 {
        told.push(rig.app_message().to_string());
    }
    let at = |text: &str| told.iter().position(|t| t == text);
    assert!(
        at("{\"n\":1}") < at("{\"n\":2}") && at("{\"n\":2}") < at("{\"n\":3}"),
        "{told:?}"
    );
    assert!(at("{\"n\":1}").is_some(), "{told:?}");
    for expect in [
        "\"socket closed\"",
        "\"server closed\"",
        "{\"count\":0,\"error\":null}",
    ] {
        assert!(at(expect).is_some(), "{expect} in {told:?}");
    }
    for kind in ["net.Socket was closed", "net.Server was closed"] {
        rig.until(|effect| match effect {
            Effect::Unsupported { what, .. } if what.contains(kind) => Some(()),
            _ => None,
        });
    }
}

fn udp_is_refused_unless_exclusive(node: &Path) {
    let mut rig = Rig::new(node, Answer::Faux);
    let app = "const { createSocket } = require('dgram');
        createSocket('udp4').on('error', (e) => process.send(e.code)).bind(5353);
        createSocket('udp6').on('error', (e) => process.send(e.code)).bind(5353, '::1');
        createSocket('udp4').bind({ port: 0, exclusive: true }, () => process.send('bound'));";
    rig.spawn(1, app);
    let mut told: Vec<_> = (0..3).map(|_| rig.app_message().to_string()).collect();
    told.sort_unstable();
    assert_eq!(told, ["\"ENOTSUP\"", "\"ENOTSUP\"", "\"bound\""]);
    for start in ["udp 0.0.0.0:5353: UDP", "udp [::1]:5353: UDP"] {
        rig.until(|effect| match effect {
            Effect::Unsupported { what, .. } if what.starts_with(start) => Some(()),
            _ => None,
        });
    }
    assert!(
        !rig.log
            .iter()
            .any(|effect| matches!(effect, Effect::Query { .. }))
    );
}

fn a_line_of_100_mb_and_garbage_hurt_nobody(node: &Path) {
    let mut rig = Rig::new(node, Answer::Faux);
    let app = "const { writeSync } = require('fs');
        const say = (text) => { // the channel does not block
            for (let at = 0; at < text.length;) {
                try { at += writeSync(0, text, at); } catch (e) { if (e.code !== 'EAGAIN') throw e; }
            }
        };
        for (const line of ['garbage', '\\xff\\xfe', '', '{\"cmd\":\"NODE_CLUSTER\",\"act\":7}'])
            say(Buffer.from(line + '\\n', 'latin1'));
        process.send('x'.repeat(1e8), () => process.send('after'));";
    let worker = rig.spawn(1, app);
    for _ in 0..4 {
        rig.until(|effect| matches!(effect, Effect::Garbage { .. }).then_some(()));
    }
    assert_eq!(rig.app_message(), "after");
    assert_eq!(rig.oversized, [100_000_002]);
    let (ping, effects) = rig.primary.ping(worker);
    rig.apply(effects);
    rig.until_is(&Effect::Pong { worker, ping });
}

fn tls_servers_share_their_ticket_keys(node: &Path) {
    for answer in [Answer::Real, Answer::Faux] {
        let mut rig = Rig::new(node, answer);
        let port = rig.port();
        let app = format!(
            "const s = require('https').createServer({{}}).listen({port},
                 () => process.send(s.getTicketKeys().toString('hex')));
             require('https').createServer({{}}).on('error', (e) => process.send(e.code))
                 .listen({port});"
        );
        let mut keys = Vec::new();
        for id in [1, 2] {
            rig.spawn(id, &app);
            for _ in 0..2 {
                keys.push(rig.app_message());
            }
        }
        keys.sort_by_key(|key| key.as_str().unwrap().len());
        assert_eq!(
            (&keys[0], &keys[1]),
            (&json!("EADDRINUSE"), &json!("EADDRINUSE"))
        );
        assert_eq!(keys[2], keys[3]);
        assert_eq!(keys[2].as_str().unwrap().len(), 96);
    }
}

fn a_worker_without_free_descriptors_returns_connections(node: &Path) {
    let mut rig = Rig::new(node, Answer::Faux);
    let port = rig.port();
    let app = format!(
        "{}const fs = require('fs'); let fds = [];
         process.on('message', (m) => {{
             if (m === 'fill') {{ try {{ for (;;) fds.push(fs.openSync('/dev/null')); }}
                                catch (e) {{ process.send(e.code); }} }}
             else {{ fds.forEach((fd) => fs.closeSync(fd)); process.send('free'); }}
         }});",
        server(port)
    );
    let (worker, keys) = rig.listening(1, &app, 1);
    let limit = rustix::process::Rlimit {
        current: Some(64),
        maximum: Some(64),
    };
    let pid = rustix::process::Pid::from_raw(rig.pid(worker) as i32);
    rustix::process::prlimit(pid, rustix::process::Resource::Nofile, limit).unwrap();
    send(&mut rig, worker, json!("fill"));
    assert_eq!(rig.app_message(), "EMFILE");
    let request = client(rig.address(&keys[0]));
    let conn = rig.hand_over(worker, &keys[0]);
    rig.until_is(&Effect::Returned {
        worker,
        conn,
        key: keys[0].clone(),
    });
    send(&mut rig, worker, json!("free"));
    assert_eq!(rig.app_message(), "free");
    rig.redeliver(worker, &keys[0], conn);
    rig.until_is(&Effect::Accepted { worker, conn });
    assert_eq!(request.body(), "w1");
}

fn a_successor_takes_over(node: &Path) {
    let mut rig = Rig::new(node, Answer::Faux);
    let port = rig.port();
    let (worker, keys) = rig.listening(1, &format!("{HANG}{}", server(port)), 1);
    // In the worker's channel, acked to nobody that knows it: the connection is served still.
    hang(&mut rig, worker, 300);
    let old = client(rig.address(&keys[0]));
    rig.hand_over(worker, &keys[0]);
    rig.succeed();
    let new = client(rig.address(&keys[0]));
    let conn = rig.hand_over(worker, &keys[0]);
    assert_eq!(rig.primary.in_flight(worker), 1);
    rig.until_is(&Effect::Accepted { worker, conn });
    assert_eq!(old.body() + &new.body(), "w1w1");
    assert!(rig.primary.can_disconnect(worker));
    let effects = rig.primary.disconnect(worker);
    rig.apply(effects);
    assert_eq!(rig.until_gone(worker).code(), Some(0));
    rig.until_is(&Effect::Unused {
        key: keys[0].clone(),
    });
}

fn a_worker_that_dies_while_it_waits_for_an_answer(node: &Path) {
    let mut rig = Rig::new(node, Answer::Test);
    let worker = rig.spawn(1, &server(4999));
    let (query, key) = rig.until(|effect| match effect {
        Effect::Query { query, key, .. } => Some((*query, key.clone())),
        _ => None,
    });
    rig.kill(worker);
    rig.until_gone(worker);
    rig.until_is(&Effect::Unused { key });
    assert!(rig.primary.answer(query, ListenReply::Handle).is_empty());
}

macro_rules! on_every_version {
    ($($name:ident)*) => {
        on_every_version! { @version node18 "node@18" $($name)* }
        on_every_version! { @version node20 "node@20" $($name)* }
        on_every_version! { @version node22 "node@22" $($name)* }
        on_every_version! { @version node24 "node@24" $($name)* }
        on_every_version! { @version node26 "node@26" $($name)* }
    };
    (@version $version:ident $package:literal $($name:ident)*) => {
        mod $version {
            $(#[test] fn $name() { super::$name(&super::runtime($package)); })*
        }
    };
}

on_every_version! {
    a_real_handle_serves_and_takes_deliveries
    a_faux_handle_takes_deliveries
    port_0_and_several_ports
    the_real_port_of_port_0_is_told
    unix_paths
    listening_twice_is_eaddrinuse
    an_address_can_be_refused_closed_and_asked_for_again
    exclusive_listening_asks_nobody
    a_worker_disconnects_by_itself
    a_worker_is_told_to_disconnect
    a_ping_sees_whether_the_loop_turns
    what_a_killed_worker_did_not_ack_goes_elsewhere
    a_full_or_closed_server_returns_connections
    messages_go_both_ways
    a_handle_sent_by_the_app_does_not_block_it
    udp_is_refused_unless_exclusive
    a_line_of_100_mb_and_garbage_hurt_nobody
    tls_servers_share_their_ticket_keys
    a_worker_without_free_descriptors_returns_connections
    a_successor_takes_over
    a_worker_that_dies_while_it_waits_for_an_answer
}
