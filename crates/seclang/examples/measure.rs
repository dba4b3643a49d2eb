//! Runs the Core Rule Set in the given folder over a few requests and prints what one costs. For a profiler: name one
//! body and how often.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use seclang::{Facts, HeadView, Library, Options, Processor, Profile, RuleSet, Scratch, Source, Tally, Transaction};

struct Folder;

impl Source for Folder {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(path).map_err(|error| error.to_string())
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        let Some((folder, end)) = pattern.split_once('*') else { return Ok(vec![pattern.to_owned()]) };
        let list = std::fs::read_dir(Path::new(folder)).map_err(|error| error.to_string())?;
        let mut names: Vec<String> = list.flatten().map(|entry| entry.path().display().to_string()).collect();
        names.retain(|name| name.ends_with(end));
        names.sort();
        Ok(names)
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("the folder of the Core Rule Set as first argument");
    let only = arguments.next();
    let rounds: u32 = arguments.next().and_then(|it| it.parse().ok()).unwrap_or(0);
    let files = [format!("{folder}/crs-setup.conf.example"), format!("{folder}/rules/*.conf")];
    let plain = std::env::args().any(|it| it == "--plain");
    let options = Options { profile: Profile::Ml, plain, arguments: 200_000, work: u64::MAX, ..Options::default() };
    let begin = clock();
    let loaded = RuleSet::load(&Folder, &files, &options, &mut Library::default());
    let (rules, warnings) = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => {
            problems.iter().for_each(|problem| say(&problem.to_string()));
            return;
        }
    };
    say(&format!("load {:?}, {} rules, {} warnings", (clock() - begin), rules.rules().count(), warnings.len()));
    say(&format!("resident after load: {}", resident()));
    let mut scratch = Scratch::default();
    rules.warm(&mut scratch);
    say(&format!("resident after warming: {}", resident()));
    for (name, body) in bodies() {
        if only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let body = Bytes::from(body);
        let first = clock();
        let tally = once(&rules, &body, &mut scratch);
        let first = clock() - first;
        let most = if rounds > 0 { rounds } else { 200 };
        let begin = clock();
        let mut done = 0;
        while done < most && (rounds > 0 || (clock() - begin).as_millis() < 1500) {
            once(&rules, &body, &mut scratch);
            done += 1;
        }
        let each = (clock() - begin) / done.max(1);
        let ids: Vec<u64> = tally.matched.iter().map(|it| it.id).collect();
        say(&format!("{name:>12}: first {first:>12?} warm {each:>12?} work {:>12} {ids:?}", tally.work));
    }
}

/// CPU time of this process so far: other work on the machine does not count.
fn clock() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

fn resident() -> String {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("unknown").trim().to_owned()
}

fn say(line: &str) {
    #[expect(clippy::print_stdout, reason = "an example speaks")]
    {
        println!("{line}");
    }
}

fn once(rules: &Arc<RuleSet>, body: &Bytes, scratch: &mut Scratch) -> Tally {
    let facts = Facts {
        remote: (IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), 40_000),
        server: (IpAddr::V4(Ipv4Addr::LOCALHOST), 443),
        unique_id: "01HXMEASURE".into(),
        unix_ms: 1_760_000_000_000,
        detect_only: false,
        pinned: Arc::new([]),
    };
    let mut turn = Transaction::new(Arc::clone(rules), facts);
    let length = body.len().to_string();
    let post: [(&[u8], &[u8]); 6] = [
        (b"Host", b"models.example.org"),
        (b"User-Agent", b"python-requests/2.32.3"),
        (b"Accept", b"application/json"),
        (b"Content-Type", b"application/json"),
        (b"Content-Length", length.as_bytes()),
        (b"Authorization", b"Bearer tk_live_4f9a8b7c6d5e"),
    ];
    let get: [(&[u8], &[u8]); 4] = [
        (b"Host", b"models.example.org"),
        (b"User-Agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        (b"Accept", b"text/html,application/xhtml+xml,*/*;q=0.8"),
        (b"Accept-Language", b"en-GB,en;q=0.5"),
    ];
    let head = if body.is_empty() {
        HeadView {
            line: b"GET /v1/models HTTP/1.1",
            method: b"GET",
            target: b"/v1/models",
            protocol: b"HTTP/1.1",
            headers: &get,
        }
    } else {
        HeadView {
            line: b"POST /v2/models/m/infer HTTP/1.1",
            method: b"POST",
            target: b"/v2/models/m/infer",
            protocol: b"HTTP/1.1",
            headers: &post,
        }
    };
    turn.head(&head, scratch);
    let processor = if body.is_empty() { Processor::Auto } else { Processor::Json };
    turn.read_body(body.clone(), processor, &[]);
    turn.body(scratch);
    let reply: [(&[u8], &[u8]); 2] = [(b"Content-Type", b"application/json"), (b"Content-Length", b"13")];
    turn.reply_head(&seclang::ReplyView { status: 200, protocol: b"HTTP/1.1", headers: &reply }, scratch);
    turn.reply_body(Bytes::from_static(b"{\"outputs\":1}"), scratch);
    turn.finish(200, scratch)
}

/// The bodies of the acceptance table.
fn bodies() -> Vec<(&'static str, String)> {
    let floats = |count: u32| {
        let list: Vec<String> =
            (0..count).map(|at| format!("{:.6}", f64::from(at * 7919 % 10_007) / 10_007.0 - 0.5)).collect();
        format!(r#"{{"inputs":[{{"name":"x","shape":[1,{count}],"datatype":"FP32","data":[{}]}}]}}"#, list.join(","))
    };
    vec![
        ("get", String::new()),
        ("chat", chat(700)),
        ("floats10", floats(10)),
        ("floats768", floats(768)),
        ("floats10k", floats(10_000)),
        ("prose2k", chat(2_000)),
        ("prose10k", chat(10_000)),
        ("prose100k", chat(100_000)),
    ]
}

fn chat(letters: usize) -> String {
    format!(
        r#"{{"model":"tiny-chat-1","messages":[{{"role":"system","content":"You are a helpful assistant for gardeners."}},{{"role":"user","content":"{}"}}],"temperature":0.7,"max_tokens":256,"stream":false,"user":"u-1842","metadata":{{"tier":"gold","locale":"en-GB"}}}}"#,
        prose(letters)
    )
}

/// Text that no one wrote: words of a small list, in an order that does not repeat soon.
fn prose(letters: usize) -> String {
    const WORDS: [&str; 32] = [
        "garden",
        "morning",
        "the",
        "water",
        "would",
        "please",
        "explain",
        "how",
        "roses",
        "grow,",
        "when",
        "summer",
        "ends.",
        "Our",
        "neighbour",
        "said",
        "that",
        "bees",
        "like",
        "lavender;",
        "is",
        "it",
        "true?",
        "I",
        "have",
        "tried",
        "twice",
        "(once",
        "in",
        "May)",
        "and",
        "failed!",
    ];
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut text = String::new();
    while text.len() < letters {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let at = usize::try_from(state >> 40).unwrap_or(0) % WORDS.len();
        text.push_str(WORDS[at]);
        text.push(' ');
    }
    text
}
