//! Mock model server: reads the whole body of every request, then answers with a small Open Inference Protocol reply.
//! A mock that answers earlier flatters or ruins the proxies before it. The first line on stdout is its port.
#![expect(clippy::print_stdout, reason = "the port is its result")]

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::Parser;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tollgate_bench::wire::Reader;

/// Answers every request on loopback with the same tensor, once its body was read.
#[derive(Clone, Copy, Debug, Parser)]
struct Args {
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Milliseconds that a reply takes.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    /// Bytes of the reply's body, at least 100.
    #[arg(long, default_value_t = 400)]
    reply_bytes: usize,
    /// Answers with so many events instead, the first one with the head.
    #[arg(long)]
    events: Option<u32>,
    /// Milliseconds from one event to the next.
    #[arg(long, default_value_t = 20)]
    gap_ms: u64,
}

/// What is sent.
#[derive(Clone, Copy)]
enum Reply {
    Events { count: u32, gap: Duration },
    Whole(&'static [u8]),
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await?;
    println!("{}", listener.local_addr()?.port());
    let reply = match args.events {
        Some(count) => Reply::Events { count, gap: Duration::from_millis(args.gap_ms) },
        None => Reply::Whole(reply(args.reply_bytes)?.leak()),
    };
    let delay = Duration::from_millis(args.delay_ms);
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(async move {
                    // A proxy may leave at any time: the load generator counts what matters.
                    let _ = answer(stream, reply, delay).await;
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(stream: TcpStream, reply: Reply, delay: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = Reader::new(stream);
    while let Some(request) = reader.message().await? {
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match reply {
            Reply::Events { count, gap } => stream_events(reader.stream(), count, gap).await?,
            Reply::Whole(reply) => reader.stream().write_all(reply).await?,
        }
        if request.closes {
            break;
        }
    }
    Ok(())
}

/// Server-sent events, each in a chunk of its own.
async fn stream_events(stream: &mut TcpStream, count: u32, gap: Duration) -> std::io::Result<()> {
    let event = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"}}]}\n\n";
    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(format!("{head}{chunk}").as_bytes()).await?;
    for _ in 1..count {
        tokio::time::sleep(gap).await;
        stream.write_all(chunk.as_bytes()).await?;
    }
    let done = "data: [DONE]\n\n";
    stream.write_all(format!("{:x}\r\n{done}\r\n0\r\n\r\n", done.len()).as_bytes()).await
}

/// Head and body of the one reply: one float, and numbers up to the wanted length.
fn reply(bytes: usize) -> anyhow::Result<Vec<u8>> {
    let body = |numbers: usize| {
        let data = vec!["0.5"; numbers].join(",");
        format!(
            r#"{{"model_name":"m","outputs":[{{"name":"y","shape":[1,{numbers}],"datatype":"FP32","data":[{data}]}}]"#
        )
    };
    let fits = |numbers: &usize| body(*numbers).len() < bytes;
    let numbers = (1..bytes).take_while(fits).last();
    let numbers = numbers.ok_or_else(|| anyhow::anyhow!("a reply has at least 100 bytes"))?;
    let body = body(numbers);
    let body = format!("{body}{:>width$}", "}", width = bytes - body.len());
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ";
    Ok(format!("{head}{}\r\n\r\n{body}", body.len()).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::reply;

    #[test]
    fn a_reply_is_json_of_exactly_the_wanted_length() {
        for bytes in [100, 101, 102, 103, 104, 399, 400, 401, 5000] {
            let reply = reply(bytes).expect("long enough");
            let text = String::from_utf8(reply).expect("text");
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            assert_eq!(body.len(), bytes);
            assert!(head.ends_with(&format!("content-length: {bytes}")), "{head}");
            let value: serde_json::Value = serde_json::from_str(body).expect("JSON");
            let tensor = &value["outputs"][0];
            let length = tensor["data"].as_array().expect("numbers").len();
            assert_eq!(tensor["shape"], serde_json::json!([1, length]));
        }
        assert!(reply(40).is_err());
    }
}
