//! Malformed and ambiguous requests, byte by byte, at the real binary in front of an origin that
//! records what it gets.
//!
//! With `PANDO_RAW_NGINX=1` nginx is asked the same and the answers are printed side by side.

mod cases;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use anyhow::ensure;
use cases::{CASES, Case, Want};
use e2e::{Gateway, Origin, local};

/// An answer is read until the connection is closed, or nothing comes for so long after a first
/// answer. Closing late is no failure of what is tested here, waiting long is one of the test.
const QUIET: Duration = Duration::from_millis(1500);
const LIMIT: Duration = Duration::from_secs(6);

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    statuses: Vec<u16>,
    closed: bool,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let statuses: Vec<String> = self.statuses.iter().map(u16::to_string).collect();
        let end = if self.closed { "closed" } else { "open" };
        write!(f, "{} {end}", statuses.join(" "))
    }
}

/// The paths of a case are its own, and as long as each other case's.
fn bytes_of(case: &Case, number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let fits = |at: usize| at == 0 || matches!(case.bytes[at - 1], b' ' | b'\t' | b'a' | b'x');
    for (at, byte) in case.bytes.iter().enumerate() {
        match byte {
            b'@' if fits(at) => bytes.extend(format!("/c{number:03}").bytes()),
            b'!' => bytes.extend(format!("/s{number:03}").bytes()),
            byte => bytes.push(*byte),
        }
    }
    bytes
}

fn ask(port: u16, bytes: &[u8]) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect(local(port))?;
    stream.set_read_timeout(Some(QUIET))?;
    // A server that refuses early may close before all is written.
    let _ = stream.write_all(bytes);
    let mut got = Vec::new();
    let mut buffer = [0; 16 << 10];
    let end = Instant::now() + LIMIT;
    let closed = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break true,
            Ok(n) => got.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if !got.is_empty() || Instant::now() > end {
                    break false;
                }
            }
            Err(_) => break true,
        }
    };
    let _ = stream.shutdown(Shutdown::Both);
    Ok(Answer {
        statuses: statuses(&got),
        closed,
    })
}

fn statuses(bytes: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(bytes);
    let found = text
        .match_indices("HTTP/1.")
        .filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok());
    found.collect()
}

fn judge(want: Want, answer: &Answer, reached: usize) -> bool {
    let refused = |statuses: &[u16]| {
        answer.closed && statuses.len() <= 1 && statuses.iter().all(|status| *status >= 400)
    };
    let served = |count: usize| answer.statuses == vec![200; count] && reached == count;
    match want {
        Want::Refused => refused(&answer.statuses) && reached == 0,
        Want::Served(count) => served(count),
        Want::Either => served(1) || (refused(&answer.statuses) && reached == 0),
        Want::ServedThenRefused => match answer.statuses.split_first() {
            Some((200, rest)) => refused(rest) && reached == 1,
            Some(_) | None => false,
        },
    }
}

/// Every case on a thread of its own: most wait for a while.
fn ask_all(port: u16) -> anyhow::Result<Vec<Answer>> {
    let threads: Vec<_> = CASES
        .iter()
        .enumerate()
        .map(|(number, case)| {
            let bytes = bytes_of(case, number);
            std::thread::spawn(move || ask(port, &bytes))
        })
        .collect();
    let join = |thread: std::thread::JoinHandle<anyhow::Result<Answer>>| {
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("a case panicked"))?
    };
    threads.into_iter().map(join).collect()
}

#[test]
fn what_is_ambiguous_is_refused_and_never_passed_on() -> anyhow::Result<()> {
    let origin = Origin::start()?;
    let mut gateway = Gateway::before(origin.port)?;
    let answers = ask_all(gateway.http)?;
    gateway.check()?;
    beside_nginx(&answers)?;
    let mut wrong = Vec::new();
    for (number, (case, answer)) in CASES.iter().zip(&answers).enumerate() {
        let reached = origin.seen_at(&format!("/c{number:03}"));
        let smuggled = origin.seen_at(&format!("/s{number:03}")).len();
        let problem = reached.iter().find_map(|seen| seen.problem.clone());
        if !judge(case.want, answer, reached.len()) || smuggled > 0 || problem.is_some() {
            wrong.push(format!(
                "{}: wanted {:?}, got {answer}; reached the origin {}, smuggled {smuggled}, {problem:?}",
                case.name, case.want, reached.len()
            ));
        }
    }
    let odd: Vec<_> = origin
        .seen()
        .into_iter()
        .filter(|seen| seen.problem.is_some())
        .collect();
    ensure!(
        wrong.is_empty() && odd.is_empty(),
        "{} cases:\n{}\n{odd:#?}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// A table of the answers of both, for a person.
fn beside_nginx(ours: &[Answer]) -> anyhow::Result<()> {
    if std::env::var_os("PANDO_RAW_NGINX").is_none() {
        return Ok(());
    }
    let origin = Origin::start()?;
    let nginx = Nginx::start(origin.port)?;
    let theirs = ask_all(nginx.port)?;
    println!("| request | nginx | reached | Pando |\n|---|---|---|---|");
    for (number, ((case, ours), theirs)) in CASES.iter().zip(ours).zip(&theirs).enumerate() {
        let seen = origin.seen_at(&format!("/c{number:03}"));
        let smuggled = origin.seen_at(&format!("/s{number:03}")).len();
        let odd = seen.iter().any(|seen| seen.problem.is_some());
        let note = match (smuggled, odd) {
            (0, false) => "",
            (0, true) => ", ambiguous",
            _ => ", smuggled",
        };
        println!(
            "| {} | {theirs} | {}{note} | {ours} |",
            case.name,
            seen.len()
        );
    }
    Ok(())
}

struct Nginx {
    port: u16,
    child: std::process::Child,
    _dir: tempfile::TempDir,
}

impl Nginx {
    fn start(origin: u16) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let port = e2e::port::free()?;
        let path = dir.path().display();
        let config = format!(
            "daemon off; user root; pid {path}/pid; error_log {path}/error.log; events {{}} http {{ access_log off; \
             proxy_temp_path {path}/p; client_body_temp_path {path}/b; fastcgi_temp_path {path}/f; \
             uwsgi_temp_path {path}/u; scgi_temp_path {path}/s; \
             server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{origin}; \
             proxy_set_header Host $http_host; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}"
        );
        std::fs::write(dir.path().join("nginx.conf"), config)?;
        let child = std::process::Command::new("nginx")
            .arg("-c")
            .arg(dir.path().join("nginx.conf"))
            .spawn()?;
        e2e::wait::for_true("nginx listens", || TcpStream::connect(local(port)).is_ok())?;
        Ok(Self {
            port,
            child,
            _dir: dir,
        })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        e2e::process::signal(self.child.id(), rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
