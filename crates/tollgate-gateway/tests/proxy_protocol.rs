//! The PROXY protocol at a real listener: whom it is believed of, and whose requests it names.

use std::net::{IpAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use tollgate_testkit::client::{Client, get};
use tollgate_testkit::{House, ModelServer, dial, soon};

/// The header of a connection from `from`, port 4711.
fn header(from: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C".to_vec();
    header.extend(from);
    header.extend([127, 0, 0, 1, 0x12, 0x67, 0x01, 0xBB]);
    header
}

const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn house(server: &ModelServer, trusted: &str) -> House {
    let config = format!(
        "include: [\"more*.yaml\"]
upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
routes: [{{ name: all, path: \"/{{*rest}}\", methods: [GET], protocol: none, auth: none, upstream: m }}]
network: {{ trusted_proxies: [\"{trusted}\"], deny: [203.0.113.9] }}
",
        server.url()
    );
    House::start_in(&config, |folder| {
        let bind = "bind: \"127.0.0.1:0\", proxy_protocol: required";
        let tls = "tls: { certs: [main] }";
        folder.write("more.yaml", format!("listeners: {{ behind: {{ {bind} }}, behind_tls: {{ {bind}, {tls} }} }}\n"));
    })
}

async fn from_line(house: &House, id: &str) -> IpAddr {
    let line = house.line(id).await;
    line["client"].as_str().expect("an address").parse().expect("an address")
}

#[tokio::test]
async fn a_trusted_proxy_says_whose_the_connection_is() {
    let server = ModelServer::agreeable().await;
    let house = house(&server, "127.0.0.1");
    let mut client = Client::plain(house.at("behind")).await;
    client.send(header([192, 0, 2, 7])).await;
    let reply = client.ask(get("/p")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(from_line(&house, &reply.id()).await, IpAddr::from([192, 0, 2, 7]));
    let forwarded = get("/p").replace("\r\n\r\n", "\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n");
    let reply = client.ask(forwarded).await;
    assert_eq!(from_line(&house, &reply.id()).await, IpAddr::from([192, 0, 2, 7]), "the client is no proxy");

    let mut itself = Client::plain(house.at("behind")).await;
    itself.send(LOCAL).await;
    let reply = itself.ask(get("/p")).await;
    assert_eq!(from_line(&house, &reply.id()).await, IpAddr::from([127, 0, 0, 1]));

    let mut denied = Client::plain(house.at("behind")).await;
    denied.send(header([203, 0, 113, 9])).await;
    assert_eq!(denied.ask(get("/p")).await.status, 403);
}

#[tokio::test]
async fn a_header_comes_before_the_handshake_of_tls() {
    use tokio::io::AsyncWriteExt as _;
    let server = ModelServer::agreeable().await;
    let house = house(&server, "127.0.0.1");
    let mut stream = dial::tcp(house.at("behind_tls")).await.expect("a connection");
    // In two pieces, as a network may cut it.
    let header = header([192, 0, 2, 7]);
    let (first, rest) = header.split_at(9);
    stream.write_all(first).await.expect("it takes bytes");
    stream.flush().await.expect("it takes bytes");
    stream.write_all(rest).await.expect("it takes bytes");
    let tls = dial::tls_over(stream, &house.trust(&["http/1.1"])).await.expect("a handshake");
    let mut client = Client::over(tls);
    let reply = client.ask(get("/p")).await;
    assert_eq!(from_line(&house, &reply.id()).await, IpAddr::from([192, 0, 2, 7]));
}

#[tokio::test]
async fn without_a_good_header_a_connection_is_closed_unanswered() {
    let server = ModelServer::agreeable().await;
    let house = house(&server, "127.0.0.1");
    let mut wrong = header([192, 0, 2, 7]);
    wrong[13] = 0x12;
    for bytes in [get("/p").into_bytes(), b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n".to_vec(), wrong] {
        let mut client = Client::plain(house.at("behind")).await;
        let _closed = client.try_send(&bytes).await;
        assert_eq!(client.rest().await, b"", "{bytes:?}");
    }
    soon("three refusals", async {
        while house.metric("tollgate_proxy_protocol_refused_total").await != Some(3.0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let server = ModelServer::agreeable().await;
    let house = house(&server, "10.0.0.1");
    let mut client = Client::plain(house.at("behind")).await;
    let _closed = client.try_send(&[header([192, 0, 2, 7]), get("/p").into_bytes()].concat()).await;
    assert_eq!(client.rest().await, b"", "the address of the socket is no proxy's");
    // Where no header is expected, one is no request.
    let mut client = house.plain().await;
    let _closed = client.try_send(&[header([192, 0, 2, 7]), get("/p").into_bytes()].concat()).await;
    let answer = String::from_utf8_lossy(&client.rest().await).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(server.count(), 0);
}

/// Whether `haproxy` is here, and where; says so where it is not.
#[expect(clippy::print_stdout, reason = "says what was not run")]
fn haproxy() -> Option<&'static str> {
    let runs = |path: &&str| Command::new(path).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let found = ["haproxy", "/usr/sbin/haproxy"].into_iter().find(runs);
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "`haproxy` is missing");
        println!("not run: apt-get install haproxy");
    }
    found
}

/// A child that ends with its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn haproxy_passes_addresses_on() {
    let Some(program) = haproxy() else { return };
    let server = ModelServer::agreeable().await;
    let house = house(&server, "127.0.0.1");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    let config = format!(
        "defaults
  mode tcp
  timeout connect 10s
  timeout client 20s
  timeout server 20s
listen through
  bind fd@0
  server gateway {} send-proxy-v2 proxy-v2-options crc32c
",
        house.at("behind")
    );
    house.folder.write("haproxy.cfg", config);
    let mut command = Command::new(program);
    // Its listening socket is one that we opened, so that no port is guessed; `-q` would close it.
    command.args(["-db", "-f"]).arg(house.folder.join("haproxy.cfg")).stdin(Stdio::from(OwnedFd::from(listener)));
    let _haproxy = Ended(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("haproxy starts"));
    for from in [[127, 0, 0, 2], [127, 0, 0, 77]] {
        let stream = dial::tcp_from(from.into(), at).await.expect("a connection");
        let reply = Client::over(stream).ask(get("/p")).await;
        assert_eq!(reply.status, 200);
        assert_eq!(from_line(&house, &reply.id()).await, IpAddr::from(from));
    }
}
