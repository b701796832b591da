//! The file server as a route calls it.

#![expect(clippy::unwrap_used, reason = "a test panics")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use gateway_spec::Files;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED,
    LOCATION, RANGE, VARY,
};
use http::{HeaderName, Method, Request, StatusCode};
use http_body_util::BodyExt;
use pando_gateway::files::{FileServer, Outcome};

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: HeaderName) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn spec(root: &Path) -> Files {
    Files {
        root: root.to_owned(),
        index: vec!["index.html".into()],
        spa: None,
        cache_control: None,
        precompressed: true,
        fall_through: false,
        dotfiles: false,
    }
}

/// `None`: the next route is asked.
async fn ask(
    server: &FileServer,
    method: Method,
    uri: &str,
    headers: &[(HeaderName, &str)],
) -> Option<Answer> {
    let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
    for (name, value) in headers {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let (head, ()) = request.into_parts();
    match server.serve(&head, head.uri.path()).await {
        Outcome::NotFound => None,
        Outcome::Response(response) => {
            let (parts, body) = response.into_parts();
            Some(Answer {
                status: parts.status,
                headers: parts.headers,
                body: body.collect().await.unwrap().to_bytes().to_vec(),
            })
        }
    }
}

async fn get(server: &FileServer, uri: &str, headers: &[(HeaderName, &str)]) -> Answer {
    ask(server, Method::GET, uri, headers).await.unwrap()
}

fn write(root: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(hour_ago).unwrap();
}

fn site() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(root, "index.html", "<h1>home</h1>");
    write(root, "docs/index.html", "<h1>docs</h1>");
    write(root, "app.js", "plain ".repeat(50));
    write(root, "app.js.br", "as brotli");
    write(root, "app.js.gz", "as gzip ..");
    write(root, "digits.txt", "0123456789");
    write(root, "empty/nothing.txt", "");
    write(root, ".env", "SECRET=1");
    write(root, ".well-known/security.txt", "mailto:");
    write(root, "a b/é.txt", "names");
    write(root, "large.bin", large());
    dir
}

fn large() -> Vec<u8> {
    (0..1_000_003_u32).map(|n| (n % 251) as u8).collect()
}

#[tokio::test]
async fn what_is_there_is_served_with_its_headers() {
    let dir = site();
    let server = FileServer::new(&Files {
        cache_control: Some("public, max-age=60".into()),
        ..spec(dir.path())
    });
    let answer = get(&server, "/digits.txt", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text(), "0123456789");
    assert_eq!(answer.header(CONTENT_TYPE), "text/plain; charset=utf-8");
    assert_eq!(answer.header(CONTENT_LENGTH), "10");
    assert_eq!(answer.header(ACCEPT_RANGES), "bytes");
    assert_eq!(answer.header(CACHE_CONTROL), "public, max-age=60");
    assert!(answer.header(ETAG).starts_with('"'));
    assert!(!answer.header(LAST_MODIFIED).is_empty());
    assert_eq!(answer.header(VARY), "");

    let head = ask(&server, Method::HEAD, "/digits.txt", &[])
        .await
        .unwrap();
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header(CONTENT_LENGTH), "10");
    assert_eq!(head.header(ETAG), answer.header(ETAG));

    for (uri, text) in [
        ("/", "<h1>home</h1>"),
        ("/docs/", "<h1>docs</h1>"),
        ("/a%20b/%C3%A9.txt", "names"),
        ("//digits.txt", "0123456789"),
        ("/empty/nothing.txt", ""),
        ("/.well-known/security.txt", "mailto:"),
    ] {
        let answer = get(&server, uri, &[]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (200, text),
            "{uri}"
        );
    }
    let answer = get(&server, "/large.bin", &[]).await;
    assert_eq!(answer.header(CONTENT_LENGTH), "1000003");
    assert!(answer.body == large());
}

#[tokio::test]
async fn what_may_not_be_served_is_not_there() {
    let dir = site();
    let root = dir.path().join("docs");
    symlink("../digits.txt", root.join("out")).unwrap();
    symlink(dir.path(), root.join("up")).unwrap();
    let fifo = root.join("fifo");
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let server = FileServer::new(&spec(&root));
    for uri in [
        "/../digits.txt",
        "/%2e%2e/digits.txt",
        "/..%2fdigits.txt",
        "/out",
        "/up/digits.txt",
        "/fifo",
        "/index.html/",
        "/index.html%00.txt",
        "/nothing",
        "/nothing/",
        &format!("/{}", "a".repeat(300)),
    ] {
        assert_eq!(get(&server, uri, &[]).await.status, 404, "{uri}");
    }
    let server = FileServer::new(&spec(dir.path()));
    assert_eq!(get(&server, "/.env", &[]).await.status, 404);
    assert_eq!(get(&server, "/empty/", &[]).await.status, 404);
    let post = ask(&server, Method::POST, "/digits.txt", &[])
        .await
        .unwrap();
    assert_eq!(
        (post.status.as_u16(), post.header(http::header::ALLOW)),
        (405, "GET, HEAD")
    );
    let dotfiles = FileServer::new(&Files {
        dotfiles: true,
        ..spec(dir.path())
    });
    assert_eq!(get(&dotfiles, "/.env", &[]).await.text(), "SECRET=1");
}

#[tokio::test]
async fn what_is_not_there_may_be_the_next_routes() {
    let dir = site();
    let server = FileServer::new(&Files {
        fall_through: true,
        ..spec(dir.path())
    });
    assert!(ask(&server, Method::GET, "/api", &[]).await.is_none());
    assert!(
        ask(&server, Method::POST, "/digits.txt", &[])
            .await
            .is_none()
    );
    assert!(ask(&server, Method::GET, "/%2e%2e/x", &[]).await.is_none());
    assert!(
        ask(&server, Method::GET, "/digits.txt", &[])
            .await
            .is_some()
    );
}

#[tokio::test]
async fn a_directory_gets_its_slash_and_no_other_host() {
    let dir = site();
    let server = FileServer::new(&spec(dir.path()));
    for (uri, location) in [
        ("/docs", "./docs/"),
        ("/docs?a=1&b", "./docs/?a=1&b"),
        ("//docs", "./docs/"),
        ("/a%20b", "./a%20b/"),
    ] {
        let answer = get(&server, uri, &[]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header(LOCATION)),
            (301, location),
            "{uri}"
        );
    }
}

#[tokio::test]
async fn a_single_page_application() {
    let dir = site();
    let server = FileServer::new(&Files {
        spa: Some("index.html".into()),
        cache_control: Some("public, immutable".into()),
        ..spec(dir.path())
    });
    let accept = http::header::ACCEPT;
    let answer = get(
        &server,
        "/users/7",
        &[(accept.clone(), "text/html,*/*;q=0.8")],
    )
    .await;
    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (200, "<h1>home</h1>")
    );
    assert_eq!(answer.header(CACHE_CONTROL), "no-cache");
    assert_eq!(get(&server, "/users", &[]).await.status, 200);
    assert_eq!(get(&server, "/users.js", &[]).await.status, 404);
    assert_eq!(
        get(&server, "/users", &[(accept, "image/png")])
            .await
            .status,
        404
    );
    assert_eq!(
        get(&server, "/digits.txt", &[]).await.header(CACHE_CONTROL),
        "public, immutable"
    );
}

#[tokio::test]
async fn copies_by_what_the_client_takes() {
    let dir = site();
    let server = FileServer::new(&spec(dir.path()));
    let mut tags = Vec::new();
    for (accept, encoding, body) in [
        ("gzip, br", "br", "as brotli"),
        ("gzip", "gzip", "as gzip .."),
        ("br;q=0.5, gzip", "gzip", "as gzip .."),
        ("zstd", "", "plain plain"),
    ] {
        let answer = get(&server, "/app.js", &[(ACCEPT_ENCODING, accept)]).await;
        assert_eq!(answer.header(CONTENT_ENCODING), encoding, "{accept}");
        assert!(answer.text().starts_with(body), "{accept}");
        assert_eq!(
            answer.header(CONTENT_TYPE),
            "text/javascript; charset=utf-8"
        );
        assert_eq!(answer.header(VARY), "accept-encoding");
        tags.push(answer.header(ETAG).to_owned());
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3);
    let none = FileServer::new(&Files {
        precompressed: false,
        ..spec(dir.path())
    });
    let answer = get(&none, "/app.js", &[(ACCEPT_ENCODING, "br")]).await;
    assert_eq!(
        (answer.header(CONTENT_ENCODING), answer.header(VARY)),
        ("", "")
    );
}

#[tokio::test]
async fn conditions_and_ranges() {
    let dir = site();
    let server = FileServer::new(&spec(dir.path()));
    let whole = get(&server, "/digits.txt", &[]).await;
    let (tag, date) = (whole.header(ETAG), whole.header(LAST_MODIFIED));
    let status = async |lines: &[(HeaderName, &str)]| {
        let answer = get(&server, "/digits.txt", lines).await;
        (answer.status.as_u16(), answer.text().to_owned())
    };
    let is = |code: u16, text: &str| (code, text.to_owned());
    assert_eq!(status(&[(IF_NONE_MATCH, tag)]).await, is(304, ""));
    assert_eq!(status(&[(IF_MODIFIED_SINCE, date)]).await, is(304, ""));
    assert_eq!(status(&[(IF_MATCH, "\"x\"")]).await, is(412, ""));
    assert_eq!(status(&[(RANGE, "bytes=2-4")]).await, is(206, "234"));
    assert_eq!(status(&[(RANGE, "bytes=-3")]).await, is(206, "789"));
    assert_eq!(status(&[(RANGE, "bytes=10-")]).await, is(416, ""));
    assert_eq!(status(&[(RANGE, "lines=1-2")]).await, is(200, "0123456789"));
    assert_eq!(
        status(&[(RANGE, "bytes=2-4"), (IF_RANGE, tag)]).await,
        is(206, "234")
    );
    assert_eq!(
        status(&[(RANGE, "bytes=2-4"), (IF_RANGE, date)]).await,
        is(206, "234")
    );
    assert_eq!(
        status(&[(RANGE, "bytes=2-4"), (IF_RANGE, "\"x\"")]).await,
        is(200, "0123456789")
    );
    assert_eq!(
        status(&[(RANGE, "bytes=2-4"), (IF_NONE_MATCH, tag)]).await,
        is(304, "")
    );

    let part = get(&server, "/digits.txt", &[(RANGE, "bytes=2-4")]).await;
    assert_eq!(part.header(CONTENT_RANGE), "bytes 2-4/10");
    assert_eq!(part.header(CONTENT_LENGTH), "3");
    let refused = get(&server, "/digits.txt", &[(RANGE, "bytes=10-")]).await;
    assert_eq!(refused.header(CONTENT_RANGE), "bytes */10");
    let not_modified = get(&server, "/digits.txt", &[(IF_NONE_MATCH, tag)]).await;
    assert_eq!(not_modified.header(ETAG), tag);
    let head = ask(
        &server,
        Method::HEAD,
        "/digits.txt",
        &[(RANGE, "bytes=2-4")],
    )
    .await
    .unwrap();
    assert_eq!(
        (head.status.as_u16(), head.header(CONTENT_LENGTH)),
        (200, "10")
    );
}

#[tokio::test]
async fn several_ranges_are_parts_from_memory_and_from_disk() {
    let dir = site();
    let server = FileServer::new(&spec(dir.path()));
    let large = large();
    for (uri, content, kind) in [
        (
            "/digits.txt",
            &b"0123456789"[..],
            "text/plain; charset=utf-8",
        ),
        ("/large.bin", &large[..], "application/octet-stream"),
    ] {
        let answer = get(&server, uri, &[(RANGE, "bytes=0-1,4-5,-1")]).await;
        assert_eq!(answer.status, 206);
        let boundary = answer
            .header(CONTENT_TYPE)
            .split_once("boundary=")
            .unwrap()
            .1;
        let size = content.len();
        let mut expected = Vec::new();
        for (start, end) in [(0, 2), (4, 6), (size - 1, size)] {
            expected.extend_from_slice(
                format!(
                    "\r\n--{boundary}\r\ncontent-type: {kind}\r\n\
                     content-range: bytes {start}-{}/{size}\r\n\r\n",
                    end - 1
                )
                .as_bytes(),
            );
            expected.extend_from_slice(&content[start..end]);
        }
        expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert!(answer.body == expected, "{uri}");
        assert_eq!(answer.header(CONTENT_LENGTH), expected.len().to_string());
    }
    let answer = get(&server, "/large.bin", &[(RANGE, "bytes=100000-499999")]).await;
    assert!(answer.body == large[100_000..500_000]);
}

/// Polls until the server says so: it looks again within a second.
async fn soon(server: &FileServer, uri: &str, status: u16, text: &str) {
    for _ in 0..300 {
        let answer = get(server, uri, &[]).await;
        if answer.status == status && (status != 200 || answer.text() == text) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{uri} never became {status} {text}");
}

#[tokio::test]
async fn changes_on_the_disk_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("later");
    let server = FileServer::new(&spec(&root));
    assert_eq!(get(&server, "/a.txt", &[]).await.status, 404);
    write(&root, "a.txt", "one");
    soon(&server, "/a.txt", 200, "one").await;
    // The same size and the same time, shortly after: only its change time tells.
    write(&root, "a.txt", "two");
    soon(&server, "/a.txt", 200, "two").await;
    fs::remove_file(root.join("a.txt")).unwrap();
    soon(&server, "/a.txt", 404, "").await;
    fs::remove_dir_all(&root).unwrap();
    write(&root, "a.txt", "three");
    soon(&server, "/a.txt", 200, "three").await;
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_sent_breaks_off() {
    let dir = site();
    let server = FileServer::new(&spec(dir.path()));
    let (head, ()) = Request::get("/large.bin").body(()).unwrap().into_parts();
    let Outcome::Response(response) = server.serve(&head, "/large.bin").await else {
        panic!("it is there");
    };
    let file = fs::File::options()
        .write(true)
        .open(dir.path().join("large.bin"))
        .unwrap();
    file.set_len(200_000).unwrap();
    assert!(response.into_body().collect().await.is_err());
}

proptest::proptest! {
    #[test]
    fn nothing_leads_out_of_the_root(
        path in "(/|//|\\.\\.|%2e%2e|\\.%2E|%2f|\\.|%5c|\\\\|%00|up|out|abs|in|sub|secret|root|etc|passwd|a){1,10}",
        dotfiles: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        write(&root, "sub/a", "inside");
        write(dir.path(), "secret", "outside");
        symlink("sub", root.join("in")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("../..", root.join("sub/up")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("/", root.join("abs")).unwrap();
        let server = FileServer::new(&Files { dotfiles, ..spec(&root) });
        let (head, ()) = Request::get("/").body(()).unwrap().into_parts();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(async {
            match server.serve(&head, &path).await {
                Outcome::NotFound => panic!("it does not fall through"),
                Outcome::Response(response) if response.status() == 200 => {
                    response.into_body().collect().await.unwrap().to_bytes()
                }
                Outcome::Response(_) => bytes::Bytes::new(),
            }
        });
        proptest::prop_assert!(body.is_empty() || body == "inside", "{body:?}");
    }
}
