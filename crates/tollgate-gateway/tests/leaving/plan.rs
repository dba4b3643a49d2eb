//! What one client does before it leaves, drawn at random, and the name of the point at which it left.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::stage::Stage;

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it came from a usize")
    }
}

/// What the request is answered with, if anybody waits for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Refused before its body is read: nobody has this key.
    Foreign,
    /// Served after some turns.
    Good,
    /// Refused by the contract.
    Invalid,
    /// Never answered.
    Stay,
    /// The model fails.
    Fails,
}

/// How the client goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Goodbye {
    /// The connection is gone.
    Close,
    /// It says that it will send no more, and waits.
    HalfClose,
    /// Over HTTP/2, the stream alone is given up first.
    Reset,
    /// Another request is begun on the connection.
    Second,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Plan {
    h2: bool,
    kind: Kind,
    bytes: Bytes,
    /// Where the head ends.
    head: usize,
    /// How much of it is sent.
    sent: usize,
    /// Turns that others get before anything is read.
    turns: usize,
    /// How much of the answer is read.
    read: usize,
    goodbye: Goodbye,
    room: usize,
}

impl Plan {
    pub(crate) fn draw(random: &mut Random, stage: &Stage) -> Self {
        let h2 = random.below(3) == 0;
        let kinds = [Kind::Good, Kind::Good, Kind::Good, Kind::Stay, Kind::Fails, Kind::Invalid, Kind::Foreign];
        let kind = kinds[random.below(kinds.len())];
        let (number, turns) = match kind {
            Kind::Stay => (1, 0),
            Kind::Fails => (2, random.below(8)),
            _ => (0, random.below(8)),
        };
        let data = if kind == Kind::Invalid { "\"x\"".to_owned() } else { format!("{number}, {turns}") };
        let body = format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,2],"data":[{data}]}}]}}"#);
        let bearer = if kind == Kind::Foreign { "Bearer nobody" } else { &stage.bearer };
        let (bytes, head) = if h2 { framed(bearer, &body) } else { spelled(bearer, &body) };
        // Every third is cut somewhere, and of these every other within its head.
        let sent = match random.below(6) {
            0 => random.below(head + 1),
            1 => head + random.below(bytes.len() - head + 1),
            _ => bytes.len(),
        };
        let read = match random.below(4) {
            0 => 0,
            1 => random.below(600),
            2 => random.below(2_500),
            _ => usize::MAX,
        };
        let goodbyes = if h2 {
            [Goodbye::Close, Goodbye::Reset, Goodbye::HalfClose]
        } else {
            [Goodbye::Close, Goodbye::Second, Goodbye::HalfClose]
        };
        let goodbye = if sent == bytes.len() { goodbyes[random.below(3)] } else { Goodbye::Close };
        // With little room the answer waits for its reader.
        let room = [64, 300, 1 << 16][random.below(3)];
        Self { h2, kind, bytes: bytes.into(), head, sent, turns: random.below(12), read, goodbye, room }
    }

    /// Does it, and says where it left.
    pub(crate) async fn act(&self, stage: &Stage) -> &'static str {
        let mut stream = stage.connect(self.h2, self.room);
        // A refusal may end the connection while the request is still being written.
        let written = write(&mut stream, &self.bytes[..self.sent]).await;
        for _ in 0..self.turns {
            tokio::task::yield_now().await;
        }
        let queued = stage.line().1 > 0;
        let mut answer = read_up_to(&mut stream, self.read).await;
        match self.goodbye {
            Goodbye::Close => {}
            Goodbye::HalfClose => {
                drop(tokio::time::timeout(AWHILE, stream.shutdown()).await);
                answer.extend(read_up_to(&mut stream, usize::MAX).await);
            }
            Goodbye::Reset => {
                write(&mut stream, &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8]).await;
                for _ in 0..self.turns {
                    tokio::task::yield_now().await;
                }
            }
            Goodbye::Second => {
                write(&mut stream, &self.bytes[..self.head / 2]).await;
                tokio::task::yield_now().await;
            }
        }
        drop(stream);
        self.point(written, queued, &answer)
    }

    fn point(&self, written: bool, queued: bool, answer: &[u8]) -> &'static str {
        if self.sent < self.bytes.len() {
            return self.unsent();
        }
        let text = String::from_utf8_lossy(answer);
        let status = if self.h2 { "" } else { text.split(' ').nth(1).unwrap_or_default() };
        match (self.h2, self.goodbye, answer.len()) {
            _ if !written => "refused while it wrote",
            (false, Goodbye::HalfClose, _) => "after half a close",
            (true, Goodbye::HalfClose, _) => "h2: after half a close",
            (false, Goodbye::Second, 0) => "in a second request before the first answer",
            (false, Goodbye::Second, _) => "in a second request",
            (true, Goodbye::Reset, 0..=80) => "h2: reset before the answer",
            (true, Goodbye::Reset, _) => "h2: reset in the answer or after it",
            (true, _, 0) => "h2: before anything was read",
            (true, _, 1..=80) => "h2: after the settings",
            (true, _, _) => "h2: in the answer or after it",
            (false, _, 0) if queued => "while others queue",
            (false, _, 0) if self.kind == Kind::Stay => "at the model, which never answers",
            (false, _, 0) if self.turns == 0 => "at once after its last byte",
            (false, _, 0) => "before the answer",
            (false, _, 1..=12) => "in the status line",
            _ if status == "429" || status == "503" => "at a refusal of quota or capacity",
            _ if self.kind == Kind::Foreign => "at a refusal before the body",
            _ if self.kind == Kind::Invalid => "at a refusal of the body",
            _ if self.kind == Kind::Fails => "at the failure of the model",
            _ => match text.find("\r\n\r\n") {
                None => "in the fields of the answer",
                Some(end) if end + 4 == text.len() => "between head and body of the answer",
                Some(_) if text.ends_with("]}") => "after the answer",
                Some(_) => "in the body of the answer",
            },
        }
    }

    const fn unsent(&self) -> &'static str {
        match (self.h2, self.sent) {
            (_, 0) => "before the first byte",
            (false, 1..=30) => "in the request line",
            (false, sent) if sent < self.head => "in the fields",
            (false, sent) if sent == self.head => "between head and body",
            (false, sent) if sent + 1 == self.bytes.len() => "before the last byte of the body",
            (false, _) => "in the body",
            (true, 1..=24) => "h2: in the preface",
            (true, sent) if sent < self.head => "h2: in the fields",
            (true, sent) if sent == self.head => "h2: between head and body",
            (true, _) => "h2: in the body",
        }
    }
}

/// The clock of the runtime stands still as long as anything can move: so long is until nothing does.
const AWHILE: Duration = Duration::from_micros(100);

/// Writes, unless nobody reads any more.
async fn write(stream: &mut DuplexStream, bytes: &[u8]) -> bool {
    matches!(tokio::time::timeout(AWHILE, stream.write_all(bytes)).await, Ok(Ok(())))
}

/// What comes, up to a length, until nothing moves any more.
async fn read_up_to(stream: &mut DuplexStream, most: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut piece = [0; 512];
    while all.len() < most {
        let room = piece.len().min(most - all.len());
        let read = tokio::time::timeout(AWHILE, stream.read(&mut piece[..room])).await;
        match read {
            Ok(Ok(some @ 1..)) => all.extend_from_slice(&piece[..some]),
            _ => break,
        }
    }
    all
}

/// The request over HTTP/1.1, and where its head ends.
fn spelled(bearer: &str, body: &str) -> (Vec<u8>, usize) {
    let head = format!(
        "POST /v2/models/m/infer HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: {bearer}\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let end = head.len();
    ([head, body.to_owned()].concat().into_bytes(), end)
}

/// The same over HTTP/2, its fields written out.
fn framed(bearer: &str, body: &str) -> (Vec<u8>, usize) {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "gateway.test"),
        (":path", "/v2/models/m/infer"),
        ("authorization", bearer),
        ("content-type", "application/json"),
    ];
    let mut block = Vec::new();
    for (name, value) in fields {
        // A literal without indexing, neither part compressed (RFC 7541, 6.2.2).
        block.push(0);
        for text in [name, value] {
            integer(text.len(), &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut out, (4, 0, 0), &[]);
    frame(&mut out, (1, 4, 1), &block);
    let head = out.len();
    frame(&mut out, (0, 1, 1), body.as_bytes());
    (out, head)
}

/// A length in 7 bits and more (RFC 7541, 5.1).
fn integer(mut value: usize, out: &mut Vec<u8>) {
    if value < 127 {
        return out.push(value as u8);
    }
    out.push(127);
    value -= 127;
    while value >= 128 {
        out.push((value % 128 + 128) as u8);
        value /= 128;
    }
    out.push(value as u8);
}

/// A frame of this kind, with these flags, on this stream.
fn frame(out: &mut Vec<u8>, (kind, flags, stream): (u8, u8, u8), payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags, 0, 0, 0, stream]);
    out.extend_from_slice(payload);
}
