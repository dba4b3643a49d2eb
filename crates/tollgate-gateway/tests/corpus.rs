//! The corpus of requests over real sockets: nothing of what is refused reaches the model server, its client is told the
//! code and the place, and what is taken arrives byte for byte.

use reading::{Case, File, Request};
use tollgate_testkit::client::{Client, begin};
use tollgate_testkit::{Act, House, ModelServer, Reply};

#[path = "../../tollgate-layers/corpus/reading.rs"]
mod reading;

/// A gateway with the one route of a file, before `server`.
fn house(file: &File, server: &ModelServer) -> House {
    let contract = if file.contract.is_null() { "{}".to_owned() } else { file.contract.to_string() };
    House::start(&format!(
        "runtime: {{ workers: 1 }}
upstreams: {{ u: {{ endpoints: [\"{}\"] }} }}
models: {{ m: {{ upstream: u, contract: {contract} }} }}
limits: {{ budgets: [] }}
routes:
  - {{ name: r, path: \"/{{*rest}}\", protocol: {}, models: [m], auth: none, max_body_bytes: 4194304 }}
",
        server.url(),
        file.protocol
    ))
}

/// Sends a request on a connection that is kept, or on a new one where the last answer closed it.
async fn ask(house: &House, client: &mut Option<Client>, request: &Request) -> Reply {
    let mut connection = match client.take() {
        Some(connection) => connection,
        None => house.plain().await,
    };
    let lines: String = request.headers.iter().map(|line| format!("{line}\r\n")).collect();
    let head = begin(&request.path, &lines, request.body.len());
    let reply = connection.ask([head.as_bytes(), &request.body].concat()).await;
    *client = (reply.field("connection") != Some("close")).then_some(connection);
    reply
}

/// What is not as it was said of a refusal.
fn objection(case: &Case, request: &Request, reply: &Reply) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let text = reply.text();
    let status = match &*case.code {
        "bad_request" => 400,
        "invalid_call" => 422,
        "not_found" => 404,
        "unsupported" => 415,
        other => panic!("{}: what is the status of `{other}`?", case.it),
    };
    // Problem documents and Ollama say it at the root, the others inside of `error`.
    let error = if document["code"].is_string() { &document } else { &document["error"] };
    let place = match (error["pointer"].as_str(), error["param"].as_str()) {
        (Some(pointer), _) => pointer.to_owned(),
        (None, Some(param)) => format!("/{}", param.replace('.', "/")),
        (None, None) => String::new(),
    };
    let right = reply.status == status
        && error["code"] == *case.code
        && error["index"].as_u64() == case.index
        && case.at.as_ref().is_none_or(|at| *at == place)
        && request.byte.is_none_or(|byte| text.contains(&format!("at byte {byte}")));
    (!right).then(|| format!("{} {text}", reply.status))
}

#[tokio::test]
async fn nothing_that_is_refused_reaches_the_model_and_what_is_taken_arrives_byte_for_byte() {
    let server = ModelServer::start(|_| Act::json("{}")).await;
    let mut wrong = Vec::new();
    let (mut refused, mut taken) = (0, 0);
    for (name, file) in reading::corpus().into_iter().filter(|(_, file)| file.protocol != "grpc") {
        let house = house(&file, &server);
        let mut client = None;
        let before = server.count();
        for case in &file.refused {
            let request = file.request(case);
            let reply = ask(&house, &mut client, &request).await;
            wrong.extend(objection(case, &request, &reply).map(|why| format!("{name}: {}: {why}", case.it)));
            refused += 1;
        }
        assert_eq!(server.count(), before, "{}: something that is refused reached the model", file.what);
        for case in &file.taken {
            let reply = ask(&house, &mut client, &file.request(case)).await;
            let arrived = server.requests().last().map(|taken| taken.body.clone());
            if server.count() != before + taken_of(&file, case) || arrived != Some(file.forwarded(case)) {
                wrong.push(format!("{name}: {}: {} {}", case.it, reply.status, reply.text()));
            }
            taken += 1;
        }
        house.quiet().await;
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(refused >= 400 && taken >= 200, "{refused} refused, {taken} taken");
}

/// How many of the file's requests have been sent when `case` has.
fn taken_of(file: &File, case: &Case) -> usize {
    file.taken.iter().position(|other| std::ptr::eq(other, case)).expect("of this file") + 1
}
