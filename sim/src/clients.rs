//! Clients through sockets: a trace as it comes, whatever happens to it, or tenants that always want more.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::figures::Fate;
use crate::http;
use crate::trace::Trace;

/// What a byte of a body is thought to cost, in microseconds: how a gateway foresees costs here.
pub const US_PER_BYTE: u64 = 100;

/// Where requests go, and with which keys.
#[derive(Clone, Debug)]
pub struct Door {
    /// The address.
    pub to: SocketAddr,
    /// The key of each tenant.
    pub keys: Arc<HashMap<String, String>>,
    /// Whether requests are chats, for gateways that know nothing else.
    pub chats: bool,
}

/// Sends every request of a trace at its time, on a connection of its own, and leaves when its time is over.
pub async fn play(trace: &Trace, door: &Door) -> Vec<Fate> {
    let began = Instant::now() + Duration::from_millis(200);
    let end_us = trace.requests.last().map_or(0, |request| request.at_us);
    let mut running = JoinSet::new();
    for (number, request) in trace.requests.iter().copied().enumerate() {
        let at = began + Duration::from_micros(request.at_us);
        sleep_until(at).await;
        let body = body(request.cost_us, request.foreseen_us, door.chats);
        let within = Duration::from_micros(request.deadline_us);
        let tenant = trace.tenants.get(request.tenant).cloned().unwrap_or_default();
        let door = door.clone();
        running.spawn(async move {
            let left = within.saturating_sub(at.elapsed());
            let done = timeout(left, ask(&door, &tenant, &body, Some(within))).await;
            let took = matches!(done, Ok(Ok(200))).then(|| at.elapsed());
            (number, took)
        });
    }
    let mut took = vec![None; trace.requests.len()];
    while let Some(ended) = running.join_next().await {
        if let Ok((number, time)) = ended {
            took[number] = time;
        }
    }
    let all = trace.requests.iter().zip(took);
    all.map(|(request, took)| {
        let took_us = took.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let counts = took_us.is_some_and(|took| request.at_us + took <= end_us);
        Fate {
            tenant: request.tenant,
            floods: trace.floods(request.tenant),
            cost_us: if counts || took_us.is_none() { request.cost_us } else { 0 },
            took_us,
            in_time: took_us.is_some_and(|took| took <= request.deadline_us),
        }
    })
    .collect()
}

/// Tenants that always have `waiting` requests of one size open; what each was served in the end, in microseconds.
pub async fn backlog(sizes: &[(String, u64)], waiting: usize, lasts: Duration, door: &Door) -> Vec<f64> {
    let served = Arc::new(Mutex::new(vec![0.0; sizes.len()]));
    let end = Instant::now() + lasts;
    let mut running = JoinSet::new();
    for (place, (tenant, cost_us)) in sizes.iter().enumerate() {
        for _ in 0..waiting {
            let (tenant, cost_us, door, served) = (tenant.clone(), *cost_us, door.clone(), Arc::clone(&served));
            running.spawn(async move {
                let body = body(cost_us, cost_us, door.chats);
                while Instant::now() < end {
                    let status = ask(&door, &tenant, &body, None).await;
                    if matches!(status, Ok(200)) && Instant::now() < end {
                        served.lock()[place] += cost_us as f64;
                    } else {
                        // Refused: not to be asked again at once.
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            });
        }
    }
    while running.join_next().await.is_some() {}
    std::mem::take(&mut served.lock())
}

#[expect(clippy::disallowed_methods, reason = "a client of a benchmark, not of the gateway")]
async fn ask(door: &Door, tenant: &str, body: &[u8], within: Option<Duration>) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(door.to).await?;
    stream.set_nodelay(true)?;
    let key = door.keys.get(tenant).map_or(tenant, String::as_str);
    let wait = within.map(|within| format!("x-request-timeout: {}\r\n", within.as_secs_f64())).unwrap_or_default();
    let path = if door.chats { "/v1/chat/completions" } else { "/predict" };
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: flood.test\r\nauthorization: Bearer {key}\r\n{wait}content-type: application/json\r\n"
    );
    http::write(&mut stream, &head, body).await?;
    let answer = http::read(&mut stream).await?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    answer.status().ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

/// A body that says what it costs, as long as what that is thought to be.
fn body(cost_us: u64, foreseen_us: u64, chats: bool) -> Vec<u8> {
    let with = |pad: &str| match chats {
        true => {
            format!("{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":\"true_us {cost_us} {pad}\"}}]}}")
        }
        false => format!("{{\"true_us\":{cost_us},\"pad\":\"{pad}\"}}"),
    };
    let length = usize::try_from(foreseen_us / US_PER_BYTE).unwrap_or(usize::MAX).min(400_000);
    with(&"x".repeat(length.saturating_sub(with("").len()))).into_bytes()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::figures::Figures;
    use crate::stub;
    use crate::trace::Scene;

    #[test]
    fn a_body_is_as_long_as_what_it_is_thought_to_cost() {
        for chats in [false, true] {
            assert_eq!(body(5_000, 100_000, chats).len(), 1_000);
            assert_eq!(body(1, u64::MAX, chats).len(), 400_000);
        }
        assert_eq!(body(5_000, 1, false), b"{\"true_us\":5000,\"pad\":\"\"}");
    }

    #[tokio::test]
    async fn a_stub_alone_does_in_time_what_fits_and_little_of_what_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let to = listener.local_addr().expect("an address");
        let serving = stub::serve(listener, 8, false);
        let door = Door { to, keys: Arc::default(), chats: false };
        let scene = Scene { seconds: 1.5, ..Scene::default() };
        let playing = async {
            let calm = play(&scene.play(), &door).await;
            let flooded = play(&Scene { flood: 20.0, ..scene }.play(), &door).await;
            [calm, flooded].map(|fates| Figures::of(&fates, 8.0 * 1.5e6).in_time)
        };
        let found = tokio::select! {
            found = playing => found,
            _ = serving => panic!("it serves for ever"),
        };
        assert!(found[0] > 0.97 && found[1] < found[0], "{found:?}");
    }
}
