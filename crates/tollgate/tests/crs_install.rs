//! `tollgate crs install` against a server of our own: what comes must be what was asked for, wherever it comes from.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::task::JoinSet;
use tollgate_testkit::{Act, Ca, Folder, ModelServer};

/// A release archive of two files.
fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, text) in [("crs/crs-setup.conf.example", "# setup\n"), ("crs/rules/REQUEST-901.conf", "# rules\n")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, path, text.as_bytes()).expect("memory");
    }
    let mut gzip = builder.into_inner().expect("memory");
    gzip.flush().expect("memory");
    gzip.finish().expect("memory")
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn whole(body: &[u8]) -> Vec<Act> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    vec![Act::Send([head.as_bytes(), body].concat())]
}

/// A server that sends on once, to the archive.
async fn server(ca: &Ca, archive: Vec<u8>) -> ModelServer {
    let archive = Arc::new(archive);
    ModelServer::over_tls(ca.server(&["localhost"]), move |taken| {
        if taken.head.starts_with("GET /release ") {
            vec![Act::Send(b"HTTP/1.1 302 Found\r\nLocation: /archive?a=1\r\nContent-Length: 0\r\n\r\n".to_vec())]
        } else if taken.head.starts_with("GET /archive?a=1 ") {
            whole(&archive)
        } else if taken.head.starts_with("GET /plain ") {
            vec![Act::Send(b"HTTP/1.1 302 Found\r\nLocation: http://localhost/x\r\nContent-Length: 0\r\n\r\n".to_vec())]
        } else {
            vec![Act::Send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec())]
        }
    })
    .await
}

/// What a run is given.
struct Run<'a> {
    folder: &'a Folder,
    from: String,
    sha256: Option<String>,
    env: Vec<(&'static str, String)>,
}

impl Run<'_> {
    async fn go(self) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(["crs", "install", "9.9.9", "--from", &self.from, "--ca", "ca.pem"]);
        if let Some(sha256) = &self.sha256 {
            command.args(["--sha256", sha256]);
        }
        command.current_dir(self.folder.join(""));
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"] {
            command.env_remove(name);
        }
        command.envs(self.env);
        tokio::task::spawn_blocking(move || command.output().expect("the program runs")).await.expect("no panic")
    }
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn house(ca: &Ca) -> Folder {
    let folder = Folder::fresh();
    folder.write("ca.pem", ca.pem());
    folder
}

fn nothing_in(folder: &Folder) {
    let names: Vec<_> = std::fs::read_dir(folder.join("")).expect("a directory").collect();
    assert_eq!(names.len(), 1, "only the root is there: {names:?}");
}

#[tokio::test]
async fn a_release_is_fetched_checked_and_unpacked() {
    let (ca, archive) = (Ca::new(), archive());
    let (server, folder) = (server(&ca, archive.clone()).await, house(&ca));
    let from = format!("https://localhost:{}/release", server.at().port());
    let run = Run { folder: &folder, from, sha256: Some(sha256(&archive)), env: Vec::new() };
    let output = run.go().await;
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert!(told(&output).contains("crs: crs-9.9.9"), "{}", told(&output));
    let read = |path: &str| std::fs::read_to_string(folder.join(path)).expect("a file");
    assert_eq!(read("crs-9.9.9/rules/REQUEST-901.conf"), "# rules\n");
    assert_eq!(read("crs-9.9.9/crs-setup.conf.example"), "# setup\n");

    let again =
        Run { folder: &folder, from: String::new(), sha256: Some(sha256(&archive)), env: Vec::new() }.go().await;
    assert_eq!(again.status.code(), Some(69), "{}", told(&again));
    assert!(told(&again).contains("exists already"), "{}", told(&again));
}

#[tokio::test]
async fn another_archive_than_the_one_that_was_asked_for_is_not_unpacked() {
    let ca = Ca::new();
    let (server, folder) = (server(&ca, archive()).await, house(&ca));
    let from = format!("https://localhost:{}/archive?a=1", server.at().port());
    let output = Run { folder: &folder, from, sha256: Some(sha256(b"another")), env: Vec::new() }.go().await;
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("nothing was unpacked"), "{}", told(&output));
    nothing_in(&folder);
}

#[tokio::test]
async fn a_release_without_a_known_digest_needs_one() {
    let ca = Ca::new();
    let folder = house(&ca);
    let output =
        Run { folder: &folder, from: "https://localhost:1/".to_owned(), sha256: None, env: Vec::new() }.go().await;
    assert_eq!(output.status.code(), Some(64), "{}", told(&output));
    assert!(told(&output).contains("--sha256"), "{}", told(&output));
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_and_a_way_out_of_https_are_refused() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let folder = house(&ca);
    let strange = server(&stranger, archive()).await;
    let from = format!("https://localhost:{}/release", strange.at().port());
    let output = Run { folder: &folder, from, sha256: Some(sha256(b"x")), env: Vec::new() }.go().await;
    assert_eq!(output.status.code(), Some(69), "{}", told(&output));
    assert!(told(&output).contains("shaking hands"), "{}", told(&output));

    let known = server(&ca, archive()).await;
    let from = format!("https://localhost:{}/plain", known.at().port());
    let output = Run { folder: &folder, from, sha256: Some(sha256(b"x")), env: Vec::new() }.go().await;
    assert!(told(&output).contains("only `https://` is fetched"), "{}", told(&output));
    nothing_in(&folder);
}

#[tokio::test]
async fn without_a_network_it_says_so() {
    let ca = Ca::new();
    let folder = house(&ca);
    let from = "https://no-such-host.invalid/a.tar.gz".to_owned();
    let output = Run { folder: &folder, from, sha256: Some(sha256(b"x")), env: Vec::new() }.go().await;
    assert_eq!(output.status.code(), Some(69), "{}", told(&output));
    assert!(told(&output).contains("is there a network"), "{}", told(&output));
}

/// A proxy that tunnels and nothing else; it yields the head that it was sent.
async fn proxy() -> (std::net::SocketAddr, JoinSet<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = listener.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.expect("a byte"));
        }
        let head = String::from_utf8(head).expect("text");
        let target = head.split(' ').nth(1).expect("a target").to_owned();
        let server = lookup_host(target).await.expect("a name").next().expect("an address");
        let socket = if server.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let mut server = socket.expect("a socket").connect(server).await.expect("the server");
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("the client");
        drop(copy_bidirectional(&mut client, &mut server).await);
        head
    });
    (at, tasks)
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_used_and_sees_no_contents() {
    let (ca, archive) = (Ca::new(), archive());
    let (server, folder) = (server(&ca, archive.clone()).await, house(&ca));
    let (at, mut proxied) = proxy().await;
    let from = format!("https://localhost:{}/archive?a=1", server.at().port());
    let env = vec![("HTTPS_PROXY", format!("http://user:secret@{at}"))];
    let output = Run { folder: &folder, from, sha256: Some(sha256(&archive)), env }.go().await;
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let head = proxied.join_next().await.expect("a tunnel").expect("no panic");
    assert!(head.starts_with(&format!("CONNECT localhost:{} HTTP/1.1", server.at().port())), "{head}");
    assert!(head.to_ascii_lowercase().contains("proxy-authorization: basic dxnlcjpzzwnyzxq="), "{head}");
    assert!(Path::new(&folder.join("crs-9.9.9/rules")).is_dir());
}
