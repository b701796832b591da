//! The PROXY protocol with HAProxy: what it sends we read, what we send it reads.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pando_gateway::proxy_protocol::{
    Addresses, Prefixed, read_header, write_v1, write_v2, write_v2_local,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Haproxy(
    Child,
    #[expect(dead_code, reason = "lives as long")] tempfile::TempDir,
);

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn haproxy(sections: &str, port: u16) -> Option<Haproxy> {
    let program = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists());
    let Some(program) = program else {
        assert!(std::env::var_os("CI").is_none(), "there is no haproxy");
        println!("skipped: there is no haproxy (apt-get install haproxy)");
        return None;
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("haproxy.cfg");
    let defaults = "defaults\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n";
    std::fs::write(&file, format!("{defaults}{sections}")).unwrap();
    let child = Command::new(program)
        .args(["-db", "-f"])
        .arg(file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let running = Haproxy(child, dir);
    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return Some(running);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("haproxy never listened on {port}");
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// What a listener that waits for a header saw, with the text after it.
type Seen = (Result<Addresses, String>, String);

async fn listen() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, peer)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let read = read_header(&mut stream, Some(peer.ip()), &[]).await;
                let (addresses, rest) = match read {
                    Ok((addresses, rest)) => (Ok(addresses), rest),
                    Err(error) => (Err(error.to_string()), bytes::Bytes::new()),
                };
                let mut text = String::new();
                let _ = Prefixed::new(stream, rest).read_to_string(&mut text).await;
                let _ = tell.send((addresses, text));
            });
        }
    });
    (address, told)
}

#[tokio::test]
async fn haproxy_tells_us_its_clients() {
    for send in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options unique-id,crc32c",
    ] {
        let (backend, mut told) = listen().await;
        let port = free_port();
        let sections = format!(
            "listen l\n mode tcp\n unique-id-format %pid\n bind 127.0.0.1:{port}\n \
             server s {backend} {send}\n"
        );
        let Some(_running) = haproxy(&sections, port).await else {
            return;
        };
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        let ours = client.local_addr().unwrap();
        loop {
            let (addresses, text) = told.recv().await.unwrap();
            // The first was the look whether it listens.
            let Addresses::Of {
                source,
                destination,
            } = addresses.unwrap()
            else {
                panic!("{send}: no addresses");
            };
            assert_eq!(destination.port(), port);
            if source == ours {
                assert_eq!(text, "hello", "{send}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn haproxy_checks_count_as_nobody() {
    let (backend, mut told) = listen().await;
    let port = free_port();
    let sections = format!(
        "listen l\n mode tcp\n bind 127.0.0.1:{port}\n \
         server s {backend} send-proxy-v2 check check-send-proxy inter 100ms\n"
    );
    let Some(_running) = haproxy(&sections, port).await else {
        return;
    };
    loop {
        let (addresses, _) = told.recv().await.unwrap();
        if addresses.unwrap() == Addresses::Unknown {
            return;
        }
    }
}

#[tokio::test]
async fn haproxy_reads_what_we_write() {
    let port = free_port();
    let sections = format!(
        "frontend f\n mode http\n bind 127.0.0.1:{port} accept-proxy\n \
         http-request return status 200 content-type text/plain \
         lf-string \"%[src]:%[src_port] %[dst]:%[dst_port]\"\n"
    );
    let Some(_running) = haproxy(&sections, port).await else {
        return;
    };
    let four: [SocketAddr; 2] = [
        "192.0.2.1:5000".parse().unwrap(),
        "198.51.100.2:443".parse().unwrap(),
    ];
    let six: [SocketAddr; 2] = [
        "[2001:db8::1]:5000".parse().unwrap(),
        "[2001:db8::2]:443".parse().unwrap(),
    ];
    for [from, to] in [four, six] {
        let expect = format!("{}:{} {}:{}", from.ip(), from.port(), to.ip(), to.port());
        for header in [write_v1(from, to), write_v2(from, to)] {
            let answer = ask(port, header.as_ref()).await;
            assert!(answer.ends_with(&expect), "{header:?}: {answer}");
        }
    }
    let answer = ask(port, write_v2_local().as_ref()).await;
    assert!(answer.contains("127.0.0.1:"), "{answer}");
}

async fn ask(port: u16, header: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(header).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
