//! The hundred held-out digits through the socket of a served configuration: the whole way, with a key, as a client
//! takes it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_core::time::Clock;
use tollgate_model::samples::samples;

const PATIENCE: Duration = Duration::from_secs(120);

const CONFIG: &str = r#"
version: 1
listeners: { main: { bind: "127.0.0.1:0" } }
upstreams: { digits: { embedded: digits_cnn } }
models: { digits: { upstream: digits, contract: { inputs: [{ name: image, range: [0, 16] }] } } }
routes: [{ name: predict, path: /predict, protocol: plain, models: [digits] }]
tenants: { someone: { models: [digits] } }
auth: { keys: { file: keys.yaml, pepper: { v1: "secret://file/pepper" } } }
flood: { per_address: { burst: 1000, refill_per_sec: 1000 } }
record: { access: "off" }
"#;

#[test]
fn at_least_95_of_100_held_out_digits_are_recognised_through_the_socket() {
    let served = Served::start();
    let mut client = served.client();
    let samples = samples("digits_cnn");
    assert_eq!(samples.len(), 100);
    let mut right = 0;
    for (place, sample) in samples.iter().enumerate() {
        let (status, body) = client.ask(&json!({ "features": sample.features, "request_id": place.to_string() }));
        assert_eq!(status, 200, "{body}");
        assert_eq!(body["request_id"], place.to_string());
        right += usize::from(body["prediction"] == sample.label);
        // It is the model that answers, not luck: every class has the probability that ONNX Runtime gives it.
        let probabilities = body["probabilities"].as_array().expect("a list");
        for (ours, theirs) in probabilities.iter().zip(&sample.reference) {
            let ours = ours.as_f64().expect("a number");
            assert!((ours - theirs).abs() < 1e-4, "sample {place}: {ours} for {theirs}");
        }
    }
    assert!(right >= 95, "{right} of 100");
}

/// A running gateway and a key for it.
struct Served {
    child: Child,
    home: PathBuf,
    address: String,
    key: String,
}

impl Served {
    fn start() -> Self {
        let name = format!("digits-{}", std::process::id());
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir(&home).expect("a new directory");
        std::fs::write(home.join("tollgate.yaml"), CONFIG).expect("a file");
        let pepper = File::options().write(true).create_new(true).mode(0o600).open(home.join("pepper"));
        pepper.and_then(|mut file| file.write_all(b"0123456789abcdef0123456789abcdef")).expect("a file");
        let key = tollgate(&home, &["keys", "new", "--tenant", "someone"]).output().expect("it runs");
        assert!(key.status.success(), "{key:?}");
        let key = String::from_utf8(key.stdout).expect("text").trim().to_owned();
        let log = home.join("err");
        let child = tollgate(&home, &["serve"]).stderr(File::create(&log).expect("a file")).spawn().expect("it runs");
        let mut served = Self { child, home, address: String::new(), key };
        let clock = Clock::real();
        let began = clock.now();
        while served.address.is_empty() {
            let said = std::fs::read_to_string(&log).expect("a file");
            assert!(clock.now().since(began) < PATIENCE, "it does not listen: {said}");
            assert!(served.child.try_wait().expect("a child of ours").is_none(), "it ended: {said}");
            let whole = said.lines().filter(|_| said.ends_with('\n'));
            let mut addresses = whole.filter_map(|line| line.split_once(" listens on "));
            served.address = addresses.next().map_or_else(String::new, |(_, address)| address.to_owned());
            std::thread::sleep(Duration::from_millis(10));
        }
        served
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Client { stream: BufReader::new(stream), host: self.address.clone(), key: self.key.clone() }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.home));
    }
}

fn tollgate(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments).arg("--config").arg(home.join("tollgate.yaml")).stdin(Stdio::null());
    command
}

/// One kept connection.
struct Client {
    stream: BufReader<TcpStream>,
    host: String,
    key: String,
}

impl Client {
    fn ask(&mut self, question: &Value) -> (u16, Value) {
        let (body, host, key) = (question.to_string(), &self.host, &self.key);
        let length = body.len();
        let head =
            format!("POST /predict HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {key}\r\nContent-Length: {length}\r\n");
        let request = format!("{head}Content-Type: application/json\r\n\r\n{body}");
        self.stream.get_mut().write_all(request.as_bytes()).expect("it reads");
        let status = self.line().split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        let mut length = 0;
        loop {
            let line = self.line().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("the whole body");
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }
}
