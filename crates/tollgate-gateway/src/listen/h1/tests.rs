use std::future::poll_fn;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tollgate_core::time::Clock;

use super::*;

mod deadlines;
mod hyper;
mod socket;

const GOOD: &[u8] = b"GET /good HTTP/1.1\r\nHost: gateway.test\r\n\r\n";

/// A guarded end of a pipe, the client's end, and what the two share with a service and a worker.
struct Rig {
    strict: StrictIo<DuplexStream>,
    client: DuplexStream,
    queue: Arc<HeadQueue>,
    clock: Clock,
    ticker: Arc<Ticker>,
}

fn rig_with(lenient: bool, pipe: usize) -> Rig {
    let clock = Clock::driven();
    let ticker = Ticker::new(clock.clone());
    let queue = HeadQueue::new();
    let (client, server) = tokio::io::duplex(pipe);
    let settings = StrictSettings { lenient, ..StrictSettings::default() };
    let strict = StrictIo::new(server, Arc::clone(&queue), settings, &ticker);
    Rig { strict, client, queue, clock, ticker }
}

fn rig() -> Rig {
    rig_with(false, 1 << 20)
}

impl Rig {
    async fn send(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).await.expect("the pipe is wide enough");
    }

    /// What the codec can read now: `None` if it would have to wait.
    async fn read_now(&mut self) -> Option<Vec<u8>> {
        let mut space = vec![0; 65_536];
        let mut buf = ReadBuf::new(&mut space);
        let read = poll_fn(|cx| Poll::Ready(Pin::new(&mut self.strict).poll_read(cx, &mut buf))).await;
        match read {
            Poll::Ready(result) => {
                result.expect("the pipe does not break");
                Some(buf.filled().to_vec())
            }
            Poll::Pending => None,
        }
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.ticker.walk();
    }

    /// Takes the head being served and answers it.
    fn answer(&self) -> RawHead {
        let (head, turn) = self.queue.pop().expect("a head was released");
        drop(turn);
        head
    }
}

#[tokio::test]
async fn a_head_is_withheld_until_its_last_byte_and_leaves_no_buffer_behind() {
    let mut rig = rig();
    for byte in &GOOD[..GOOD.len() - 1] {
        rig.send(&[*byte]).await;
        assert_eq!(rig.read_now().await, None);
        assert!(!rig.queue.is_busy());
    }
    rig.send(b"\n").await;
    assert_eq!(rig.read_now().await.as_deref(), Some(GOOD));
    assert_eq!(rig.strict.held.capacity(), 0);
    assert_eq!(rig.answer().bytes, GOOD);
    assert_eq!(rig.read_now().await, None);
    assert_eq!(rig.strict.held.capacity(), 0);
}

#[tokio::test]
async fn a_request_that_arrives_whole_is_never_buffered() {
    let mut rig = rig();
    let request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    rig.send(request).await;
    assert_eq!(rig.read_now().await.as_deref(), Some(&request[..]));
    assert_eq!(rig.strict.held.capacity(), 0);
}

#[tokio::test]
async fn pipelined_heads_are_released_one_at_a_time() {
    let mut rig = rig();
    rig.send(&GOOD.repeat(3)).await;
    for left in [2, 1, 0] {
        assert_eq!(rig.read_now().await.as_deref(), Some(GOOD));
        let (_, turn) = rig.queue.pop().expect("a head was released");
        assert!(rig.queue.pop().is_none(), "the next one waits");
        assert_eq!(rig.read_now().await, None);
        assert_eq!(rig.queue.held(), left * GOOD.len());
        drop(turn);
    }
    assert_eq!(rig.read_now().await, None);
}

#[tokio::test]
async fn a_pipelined_head_wakes_the_reader_when_its_turn_comes() {
    let mut rig = rig();
    rig.send(&GOOD.repeat(2)).await;
    assert_eq!(rig.read_now().await.as_deref(), Some(GOOD));
    let (_, turn) = rig.queue.pop().expect("a head was released");
    let reading = async {
        let mut space = vec![0; 100];
        let count = rig.strict.read(&mut space).await.expect("the pipe does not break");
        assert_eq!(&space[..count], GOOD);
    };
    let answering = async {
        tokio::task::yield_now().await;
        drop(turn);
    };
    tokio::join!(reading, answering);
}

#[tokio::test]
async fn a_flood_of_pipelined_heads_is_not_read() {
    let mut rig = rig();
    rig.send(&GOOD.repeat(10_000)).await;
    assert_eq!(rig.read_now().await.as_deref(), Some(GOOD));
    for _ in 0..10 {
        assert_eq!(rig.read_now().await, None);
    }
    // One limit, and what one read of the codec's buffer brought on top.
    assert!(rig.queue.held() <= 16_384 + 65_536, "{} bytes are held", rig.queue.held());
}

#[tokio::test]
async fn the_end_of_the_client_passes_over_a_withheld_head() {
    let mut rig = rig();
    rig.send(&GOOD.repeat(2)).await;
    assert_eq!(rig.read_now().await.as_deref(), Some(GOOD));
    let (_, _turn) = rig.queue.pop().expect("a head was released");
    assert_eq!(rig.read_now().await, None);
    drop(std::mem::replace(&mut rig.client, tokio::io::duplex(1).0));
    assert_eq!(rig.read_now().await.as_deref(), Some(&b""[..]));
    assert_eq!(rig.queue.ended(), Some(Ended::Left));
}

#[tokio::test]
async fn a_partial_head_at_the_end_of_the_client_is_no_head() {
    let mut rig = rig();
    rig.send(b"GET / HT").await;
    assert_eq!(rig.read_now().await, None);
    rig.client.shutdown().await.expect("the pipe does not break");
    assert_eq!(rig.read_now().await.as_deref(), Some(&b""[..]));
    assert!(rig.queue.unserved().is_none());
}

#[tokio::test]
async fn a_refused_head_is_replaced_and_its_bytes_stay_in_the_queue() {
    let mut rig = rig();
    let smuggled = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    rig.send(&[smuggled, &b"0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n"[..]].concat()).await;
    assert_eq!(rig.read_now().await.as_deref(), Some(REPLACEMENT));
    assert_eq!(rig.read_now().await, None, "an end would cost the answer");
    let head = rig.answer();
    assert_eq!((head.refused, &head.bytes[..]), (Some(HeadFlaw::LENGTH_AND_CODING), &smuggled[..]));
    assert_eq!(rig.queue.ended(), Some(Ended::Refused));
}

#[tokio::test]
async fn a_bad_chunk_ends_the_input_before_its_first_wrong_byte() {
    let mut rig = rig();
    let head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    rig.send(&[&head[..], b"2\r\nok\r\n0\n\r\nGET /admin HTTP/1.1\r\n\r\n"].concat()).await;
    assert_eq!(rig.read_now().await, Some([&head[..], b"2\r\nok\r\n0"].concat()));
    assert_eq!(rig.read_now().await.as_deref(), Some(&b""[..]));
    assert_eq!((rig.queue.ended(), rig.queue.body_flaw()), (Some(Ended::BadBody), Some(HeadFlaw::BARE_LF)));
}

#[tokio::test]
async fn a_lenient_listener_hands_a_flawed_head_over_and_a_harmless_one_to_the_codec() {
    let mut rig = rig_with(true, 1 << 16);
    rig.send(b"GET / HTTP/1.1\nHost: x\n\n").await;
    assert_eq!(rig.read_now().await.as_deref(), Some(REPLACEMENT));
    assert_eq!(rig.answer().refused, Some(HeadFlaw::BARE_LF));
}

#[tokio::test]
async fn after_a_switch_everything_passes() {
    let mut rig = rig();
    rig.send(GOOD).await;
    assert_eq!(rig.read_now().await.as_deref(), Some(GOOD));
    let (_, _turn) = rig.queue.pop().expect("a head was released");
    assert_eq!((rig.read_now().await, rig.queue.held()), (None, 0));
    rig.queue.switch();
    rig.send(b"\x81\x05hello\n").await;
    assert_eq!(rig.read_now().await.as_deref(), Some(&b"\x81\x05hello\n"[..]));
}

#[tokio::test]
async fn bytes_read_before_stand_in_front() {
    let mut rig = rig();
    rig.strict = rig.strict.preceded_by(&GOOD[..7]);
    rig.send(&GOOD[7..]).await;
    assert_eq!(rig.read_now().await.as_deref(), Some(GOOD));
}

#[tokio::test]
async fn a_codec_with_little_room_gets_a_head_in_parts() {
    let mut rig = rig();
    rig.send(GOOD).await;
    let mut head = Vec::new();
    while head.len() < GOOD.len() {
        let mut space = [0; 5];
        let count = rig.strict.read(&mut space).await.expect("the pipe does not break");
        head.extend_from_slice(&space[..count]);
    }
    assert_eq!(head, GOOD);
}

#[test]
fn a_guarded_connection_may_move_between_threads() {
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    sent::<StrictIo<DuplexStream>>();
    shared::<HeadQueue>();
    shared::<crate::listen::heads::Turn>();
}
