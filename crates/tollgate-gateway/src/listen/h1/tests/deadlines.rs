//! Slow clients, on a clock that is moved by hand.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_client_that_never_speaks_is_left_without_an_answer() {
    let mut rig = rig();
    assert_eq!(rig.read_now().await, None);
    rig.pass(9 * SECOND);
    assert_eq!(rig.read_now().await, None);
    rig.pass(SECOND);
    assert_eq!(rig.read_now().await.as_deref(), Some(&b""[..]));
    assert_eq!((rig.queue.ended(), rig.queue.unserved()), (Some(Ended::Silent), None));
}

#[tokio::test]
async fn a_dripping_head_is_refused_at_its_own_deadline_whatever_it_drips() {
    let mut rig = rig();
    rig.pass(5 * SECOND);
    rig.send(b"GET / HTTP/1.1\r\n").await;
    assert_eq!(rig.read_now().await, None);
    for _ in 0..9 {
        rig.pass(SECOND);
        rig.send(b"X: y\r\n").await;
        assert_eq!(rig.read_now().await, None);
    }
    rig.pass(SECOND);
    assert_eq!(rig.read_now().await.as_deref(), Some(REPLACEMENT));
    let (head, turn) = rig.queue.pop().expect("the late head is refused in its turn");
    assert_eq!((head.refused, head.bytes.len()), (Some(HeadFlaw::LATE), 16 + 9 * 6));
    assert_eq!(rig.read_now().await, None);
    drop(turn);
}

#[tokio::test]
async fn an_empty_line_does_not_begin_a_head() {
    let mut rig = rig();
    rig.send(b"\r\n").await;
    assert_eq!(rig.read_now().await, None);
    rig.pass(10 * SECOND);
    assert_eq!(rig.read_now().await.as_deref(), Some(&b""[..]));
    assert_eq!(rig.queue.ended(), Some(Ended::Silent));
}

#[tokio::test]
async fn the_time_of_the_service_is_not_idle() {
    let mut rig = rig();
    rig.send(GOOD).await;
    assert_eq!(rig.read_now().await.as_deref(), Some(GOOD));
    let (_, turn) = rig.queue.pop().expect("a head was released");
    for _ in 0..10 {
        rig.pass(25 * SECOND);
        assert_eq!(rig.read_now().await, None);
    }
    drop(turn);
    assert_eq!(rig.read_now().await, None);
    rig.pass(29 * SECOND);
    assert_eq!(rig.read_now().await, None);
    rig.pass(SECOND);
    assert_eq!(rig.read_now().await.as_deref(), Some(&b""[..]));
    assert_eq!(rig.queue.ended(), Some(Ended::Silent));
}

#[tokio::test]
async fn idle_begins_anew_with_each_request_and_with_each_byte_of_a_response() {
    let mut rig = rig();
    for _ in 0..3 {
        rig.send(GOOD).await;
        assert_eq!(rig.read_now().await.as_deref(), Some(GOOD));
        rig.answer();
        assert_eq!(rig.read_now().await, None);
        rig.pass(20 * SECOND);
        assert_eq!(rig.read_now().await, None);
        rig.strict.write_all(b"x").await.expect("the pipe is wide enough");
        assert_eq!(rig.read_now().await, None);
        rig.pass(20 * SECOND);
        assert_eq!(rig.read_now().await, None);
    }
}

#[tokio::test]
async fn a_pipelined_partial_head_has_its_time_from_its_turn() {
    let mut rig = rig();
    rig.send(&[GOOD, b"GET"].concat()).await;
    assert_eq!(rig.read_now().await.as_deref(), Some(GOOD));
    let (_, turn) = rig.queue.pop().expect("a head was released");
    assert_eq!(rig.read_now().await, None);
    rig.pass(25 * SECOND);
    assert_eq!(rig.read_now().await, None);
    drop(turn);
    assert_eq!(rig.read_now().await, None);
    rig.pass(9 * SECOND);
    assert_eq!(rig.read_now().await, None);
    rig.pass(SECOND);
    assert_eq!(rig.read_now().await.as_deref(), Some(REPLACEMENT));
}

#[tokio::test]
async fn a_slow_body_is_not_our_business() {
    let mut rig = rig();
    let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
    rig.send(head).await;
    assert_eq!(rig.read_now().await.as_deref(), Some(&head[..]));
    for _ in 0..5 {
        assert_eq!(rig.read_now().await, None);
        rig.pass(100 * SECOND);
        assert_eq!(rig.read_now().await, None);
        rig.send(b"x").await;
        assert_eq!(rig.read_now().await.as_deref(), Some(&b"x"[..]));
    }
}

#[tokio::test]
async fn a_client_that_takes_no_byte_is_given_up() {
    let mut rig = rig_with(false, 4);
    let mut write = async |bytes: &[u8]| {
        poll_fn(|cx| Poll::Ready(Pin::new(&mut rig.strict).poll_write(cx, bytes))).await.map(Result::ok)
    };
    assert_eq!(write(b"answer").await, Poll::Ready(Some(4)));
    assert_eq!(write(b"er").await, Poll::Pending);
    rig.clock.advance(29 * SECOND);
    rig.ticker.walk();
    assert_eq!(write(b"er").await, Poll::Pending);
    let mut taken = [0; 1];
    rig.client.read_exact(&mut taken).await.expect("a byte is there");
    assert_eq!(write(b"er").await, Poll::Ready(Some(1)), "progress counts");
    assert_eq!(write(b"r").await, Poll::Pending);
    rig.clock.advance(29 * SECOND);
    rig.ticker.walk();
    assert_eq!(write(b"r").await, Poll::Pending);
    rig.clock.advance(SECOND);
    rig.ticker.walk();
    assert_eq!(write(b"r").await, Poll::Ready(None));
}

#[tokio::test]
async fn a_flush_that_ends_is_progress() {
    let mut rig = rig_with(false, 4);
    let mut write = async |bytes: &[u8]| {
        poll_fn(|cx| Poll::Ready(Pin::new(&mut rig.strict).poll_write(cx, bytes))).await.map(Result::ok)
    };
    assert_eq!(write(b"full").await, Poll::Ready(Some(4)));
    assert_eq!(write(b"x").await, Poll::Pending);
    rig.pass(20 * SECOND);
    rig.strict.flush().await.expect("a pipe has nothing to flush");
    let stalled = poll_fn(|cx| Poll::Ready(Pin::new(&mut rig.strict).poll_write(cx, b"x").is_pending())).await;
    rig.pass(20 * SECOND);
    let later = poll_fn(|cx| Poll::Ready(Pin::new(&mut rig.strict).poll_write(cx, b"x").is_pending())).await;
    assert!(stalled && later);
}

#[tokio::test]
async fn closing_reads_on_for_a_second_so_that_the_answer_arrives() {
    let mut rig = rig();
    rig.send(b"GET / HTTP/9\r\n").await;
    assert_eq!(rig.read_now().await.as_deref(), Some(REPLACEMENT));
    rig.answer();
    let mut shut = async || poll_fn(|cx| Poll::Ready(Pin::new(&mut rig.strict).poll_shutdown(cx).is_ready())).await;
    assert!(!shut().await);
    rig.client.write_all(&[b'x'; 10_000]).await.expect("it is read");
    assert!(!shut().await);
    rig.clock.advance(SECOND);
    rig.ticker.walk();
    assert!(shut().await);
}

#[tokio::test]
async fn closing_reads_no_more_than_it_must() {
    let mut rig = rig_with(false, 2 * LINGER_BYTES);
    rig.send(b"GET / HTTP/9\r\n").await;
    assert_eq!(rig.read_now().await.as_deref(), Some(REPLACEMENT));
    rig.answer();
    rig.send(&vec![b'x'; LINGER_BYTES + 1]).await;
    rig.strict.shutdown().await.expect("it gives up at its cap");
}

#[tokio::test]
async fn closing_after_a_whole_request_waits_for_nothing() {
    let mut rig = rig();
    rig.send(GOOD).await;
    assert_eq!(rig.read_now().await.as_deref(), Some(GOOD));
    rig.answer();
    rig.strict.shutdown().await.expect("nothing is unread");
}

#[tokio::test]
async fn a_connection_leaves_no_alarm_behind() {
    let rig = rig();
    assert_eq!(rig.ticker.alarms(), 1);
    drop(rig.strict);
    assert_eq!(rig.ticker.alarms(), 0);
}
