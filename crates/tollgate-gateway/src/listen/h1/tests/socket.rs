//! One real connection: what a kernel adds to a pipe.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream;

use ::hyper::body::Incoming;
use ::hyper::server::conn::http1;
use ::hyper::service::service_fn;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::net::TcpListener;

use super::*;

#[tokio::test]
async fn a_client_that_still_sends_reads_its_refusal_and_no_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let client = std::thread::spawn(move || {
        let mut client = TcpStream::connect(address).expect("it listens");
        let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\nContent-Length: 30000\r\n\r\n";
        client.write_all(head).expect("the head is sent");
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(10));
            client.write_all(&[b'x'; 3_000]).expect("the body is sent, though refused");
        }
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).map(|_| reply)
    });
    let (socket, _) = listener.accept().await.expect("a client");
    let queue = HeadQueue::new();
    let ticker = Ticker::new(Clock::real());
    let strict = StrictIo::new(socket, Arc::clone(&queue), StrictSettings::default(), &ticker);
    let service = service_fn(|_: Request<Incoming>| {
        let (head, turn) = queue.pop().expect("each request has its head");
        drop(turn);
        let mut response = Response::new(Full::new(Bytes::from_static(b"no")));
        let code = head.refused.expect("it is refused").code;
        *response.status_mut() = StatusCode::from_u16(code.status()).expect("a status");
        async { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new().serve_connection(strict.into_hyper(), service);
    tokio::select! {
        served = served => served.expect("it is answered and closed"),
        () = Arc::clone(&ticker).run(Ticker::EVERY) => {}
    }
    let reply = client.join().expect("the client does not panic").expect("no reset");
    assert!(reply.starts_with(b"HTTP/1.1 400 "), "{}", reply.escape_ascii());
    assert_eq!(queue.ended(), Some(Ended::Refused));
}
