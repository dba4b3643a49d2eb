//! Forms, raw images and media that a server would fetch, over real sockets.

use tollgate_testkit::client::{begin, post};
use tollgate_testkit::{Act, House, ModelServer};

/// Three by two pixels.
const GIF: &[u8] = b"GIF89a\x03\0\x02\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x03\0\x02\0\0\x02\x03\x84oP\0;";
const FORM: &str = "Content-Type: multipart/form-data; boundary=\"x y\"\r\n";

async fn before() -> (House, ModelServer) {
    let server = ModelServer::start(|_| Act::json(r#"{"text":"hi"}"#)).await;
    let house = House::start(&format!(
        "runtime: {{ workers: 1 }}
upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
models:
  sees:
    upstream: m
    contract:
      form: {{ files: {{ file: {{ types: [image/gif] }} }}, fields: {{ prompt: {{ max_bytes: 5 }} }} }}
      media: {{ max_pixels: 6, types: [image/gif] }}
      media_urls: {{ allow: [images.example.com, \"*.cdn.example.net\"] }}
routes:
  - {{ name: form, path: /upload, protocol: multipart, models: [sees], auth: none }}
  - {{ name: image, path: \"/images/{{model}}\", protocol: media, models: [sees], auth: none }}
  - {{ name: openai, path: \"/v1/{{*rest}}\", protocol: openai, models: [sees], auth: none }}
",
        server.url()
    ));
    (house, server)
}

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let part = |(head, content): &(&str, &[u8])| {
        [format!("--x y\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes(), content, b"\r\n"].concat()
    };
    [parts.iter().flat_map(part).collect(), b"--x y--\r\n".to_vec()].concat()
}

fn sent(path: &str, lines: &str, body: &[u8]) -> Vec<u8> {
    [begin(path, lines, body.len()).as_bytes(), body].concat()
}

const FILE: &str = "name=\"file\"; filename=\"a.gif\"";

#[tokio::test]
async fn a_form_goes_up_as_it_was_judged_with_its_boundary() {
    let (house, server) = before().await;
    let mut client = house.plain().await;
    let good = form(&[(FILE, GIF), ("name=\"prompt\"", b"hi")]);
    let reply = client.ask(sent("/upload", FORM, &good)).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"text":"hi"}"#));
    let taken = server.requests()[0].clone();
    assert_eq!(taken.body, good);
    assert!(
        taken.head.to_ascii_lowercase().contains("content-type: multipart/form-data; boundary=\"x y\""),
        "{}",
        taken.head
    );
    assert_eq!(house.line(&reply.id()).await["model"], "sees");
    let openai = form(&[("name=\"model\"", b"sees"), (FILE, GIF)]);
    assert_eq!(client.ask(sent("/v1/images/edits", FORM, &openai)).await.status, 200);
    assert_eq!(server.requests()[1].body, openai);
    for (path, body, status, at) in [
        ("/upload", form(&[(FILE, GIF), ("name=\"prompt\"", b"too long")]), 422, "/prompt"),
        ("/upload", form(&[("name=\"prompt\"", b"hi")]), 422, ""),
        ("/upload", form(&[(FILE, b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff")]), 422, "/0"),
        ("/upload", form(&[(FILE, GIF), (FILE, GIF)]), 422, "/file"),
    ] {
        let reply = client.ask(sent(path, FORM, &body)).await;
        let document: serde_json::Value = serde_json::from_str(&reply.text()).expect("JSON");
        assert_eq!((reply.status, document["pointer"].as_str()), (status, Some(at)), "{document}");
    }
    let unknown = form(&[("name=\"model\"", b"other"), (FILE, GIF)]);
    assert_eq!(client.ask(sent("/v1/images/edits", FORM, &unknown)).await.status, 404);
    assert_eq!(client.ask(sent("/upload", "Content-Type: application/json\r\n", b"{}")).await.status, 415);
    assert_eq!(server.count(), 2);
    house.quiet().await;
}

#[tokio::test]
async fn a_raw_image_keeps_the_type_that_it_was_judged_by() {
    let (house, server) = before().await;
    let mut client = house.plain().await;
    let reply = client.ask(sent("/images/sees", "Content-Type: image/gif\r\n", GIF)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let taken = server.requests()[0].clone();
    assert!(taken.head.to_ascii_lowercase().contains("content-type: image/gif\r\n"), "{}", taken.head);
    assert_eq!(taken.body, GIF);
    let mut wide = GIF.to_vec();
    wide[6] = 200;
    for (lines, body) in [
        ("Content-Type: image/png\r\n", GIF),
        ("Content-Type: image/gif\r\n", &wide),
        ("Content-Type: image/gif\r\n", &GIF[..8]),
    ] {
        assert_eq!(client.ask(sent("/images/sees", lines, body)).await.status, 422, "{lines}");
    }
    assert_eq!(client.ask(sent("/images/sees", "", GIF)).await.status, 415);
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_server_fetches_only_from_hosts_that_are_listed() {
    let (house, server) = before().await;
    let mut client = house.plain().await;
    let mut ask = async |url: &str| {
        let body = format!(
            r#"{{"model":"sees","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"{url}"}}}}]}}]}}"#
        );
        client.ask(post("/v1/chat/completions", "Content-Type: application/json\r\n", &body)).await
    };
    for url in
        ["https://images.example.com/a.png", r"https:\/\/a.cdn.example.net\/x", r"https://images.example.com/\u0061"]
    {
        assert_eq!(ask(url).await.status, 200, "{url}");
    }
    for url in [
        "http://images.example.com/a.png",
        "https://169.254.169.254/latest/meta-data/",
        "https://images.example.com@169.254.169.254/",
        r"https://images.example.com\u002e169.254.169.254/",
        "https://metadata.google.internal/",
        "https://[::ffff:10.0.0.1]/",
        "https://2852039166/",
        "https://cdn.example.net.evil.test/",
        "file:///etc/passwd",
        "gopher://images.example.com/",
    ] {
        let reply = ask(url).await;
        let document: serde_json::Value = serde_json::from_str(&reply.text()).expect("JSON");
        assert_eq!(
            (reply.status, &document["error"]["param"]),
            (422, &"messages.0.content.0.image_url.url".into()),
            "{url}"
        );
        assert!(!reply.text().contains("169.254"), "{document}");
    }
    assert_eq!(server.count(), 3);
}
