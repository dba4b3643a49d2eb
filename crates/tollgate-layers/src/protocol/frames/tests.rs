//! Streams cut at every place, and what they are found to have cost.

use proptest::prelude::*;
use tollgate_core::call::Dialect;

use super::meter::Meter;
use super::*;

/// Pushes the pieces of a stream; what went on, and the payloads that were seen.
fn run(frames: &mut dyn Frames, pieces: &[&[u8]], meter: &mut Meter) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut out, mut seen) = (BytesMut::new(), Vec::new());
    let mut look = |payload: &[u8]| {
        seen.push(payload.to_vec());
        meter.frame(payload)
    };
    for piece in pieces {
        frames.push(piece, &mut out, &mut look).expect("short frames");
    }
    frames.end(&mut out, &mut look);
    (out.to_vec(), seen)
}

fn openai(strip: bool) -> Meter {
    Meter::new(Dialect::OpenAi, strip)
}

const CHAT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"h\u{e9}llo\"}}]}\n\n\
                    : a comment\r\n\r\n\
                    event: x\rdata: {\"choices\":[{\"delta\":\r\ndata: {\"content\":\" you\"}}]}\r\r\
                    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n\
                    data: [DONE]\n\n";

#[test]
fn a_stream_cut_anywhere_passes_unchanged_and_is_seen_whole() {
    let bytes = CHAT.as_bytes();
    for cut in 0..=bytes.len() {
        let mut meter = openai(false);
        let (out, seen) = run(&mut Sse::default(), &[&bytes[..cut], &bytes[cut..]], &mut meter);
        assert_eq!(out, bytes, "cut at {cut}");
        assert_eq!(seen.len(), 4, "cut at {cut}: {seen:?}");
        assert_eq!(seen[1], b"{\"choices\":[{\"delta\":\n{\"content\":\" you\"}}]}");
        assert_eq!((meter.input_tokens(), meter.output_tokens(), meter.is_done()), (Some(3), 2, true));
    }
}

#[test]
fn usage_that_nobody_asked_for_is_taken_out_and_counted() {
    let one_by_one: Vec<&[u8]> = CHAT.as_bytes().chunks(1).collect();
    for pieces in [vec![CHAT.as_bytes()], one_by_one] {
        let mut meter = openai(true);
        let (out, _) = run(&mut Sse::default(), &pieces, &mut meter);
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(!text.contains("usage") && text.ends_with("data: [DONE]\n\n"), "{text}");
        assert_eq!(meter.output_tokens(), 2);
    }
}

#[test]
fn a_usage_beside_text_stays() {
    let mut meter = openai(true);
    let event = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"completion_tokens\":1}}\n\n";
    let (out, _) = run(&mut Sse::default(), &[event], &mut meter);
    assert_eq!(out, event);
}

#[test]
fn the_last_event_of_a_response_stays_with_its_usage() {
    for kind in ["response.completed", "response.incomplete", "response.failed"] {
        let mut meter = openai(true);
        let event = format!(
            "event: {kind}\ndata: {{\"type\":\"{kind}\",\"response\":{{\"output\":[],\"usage\":{{\"input_tokens\":5,\"output_tokens\":2}}}}}}\n\n"
        );
        let (out, _) = run(&mut Sse::default(), &[event.as_bytes()], &mut meter);
        assert_eq!(out, event.as_bytes(), "{kind}");
        assert_eq!((meter.input_tokens(), meter.output_tokens(), meter.is_done()), (Some(5), 2, true), "{kind}");
    }
}

#[test]
fn a_stream_that_breaks_is_counted_by_its_text() {
    let mut meter = openai(true);
    let event = b"data: {\"choices\":[{\"delta\":{\"content\":\"twelve bytes\"}}]}\n\ndata: {\"choi";
    run(&mut Sse::default(), &[event], &mut meter);
    assert_eq!((meter.input_tokens(), meter.output_tokens(), meter.is_done()), (None, 3, false));
}

#[test]
fn other_dialects_say_their_usage_elsewhere() {
    let mut meter = Meter::new(Dialect::Anthropic, false);
    let stream = b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n\
        event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":7}}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    run(&mut Sse::default(), &[stream], &mut meter);
    assert_eq!((meter.input_tokens(), meter.output_tokens(), meter.is_done()), (Some(9), 7, true));
    let mut meter = Meter::new(Dialect::Ollama, false);
    let lines =
        b"{\"message\":{\"content\":\"a\"},\"done\":false}\n{\"done\":true,\"prompt_eval_count\":4,\"eval_count\":5}\n";
    for cut in 0..lines.len() {
        let mut meter = meter.clone();
        let (out, seen) = run(&mut Ndjson::default(), &[&lines[..cut], &lines[cut..]], &mut meter);
        assert_eq!((out.as_slice(), seen.len()), (lines.as_slice(), 2));
        assert_eq!((meter.input_tokens(), meter.output_tokens(), meter.is_done()), (Some(4), 5, true));
    }
    meter.body(b"{\"response\":\"done\",\"done\":true,\"eval_count\":1}");
    assert_eq!(meter.output_tokens(), 1);
}

#[test]
fn a_frame_without_end_is_refused() {
    let mut out = BytesMut::new();
    let piece = vec![b'a'; MAX_FRAME];
    for frames in [&mut Sse::default() as &mut dyn Frames, &mut Ndjson::default()] {
        assert_eq!(frames.push(&piece, &mut out, &mut |_| Keep::Pass), Ok(()));
        assert_eq!(frames.push(b"b", &mut out, &mut |_| Keep::Pass), Err(TooLong));
    }
}

proptest! {
    #[test]
    fn any_stream_in_any_pieces_passes_unchanged(
        lines in prop::collection::vec("(data: ?|data|: |id: )?[a-z{}\":0-9 ]{0,12}(\n|\r|\r\n)", 0..12),
        cuts in prop::collection::vec(0_usize..200, 0..6),
    ) {
        let stream = lines.concat().into_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).chain([0, stream.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        let (out, seen) = run(&mut Sse::default(), &pieces, &mut openai(false));
        let (whole, seen_whole) = run(&mut Sse::default(), &[&stream], &mut openai(false));
        prop_assert_eq!(&out, &stream);
        prop_assert_eq!(whole, stream);
        prop_assert_eq!(seen, seen_whole);
    }
}

#[test]
fn a_response_is_counted_once_however_often_its_text_is_told() {
    let event = |kind: &str, more: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\",{more}}}\n\n");
    let text = "twelve bytes";
    let item = format!("{{\"content\":[{{\"type\":\"output_text\",\"text\":\"{text}\"}}]}}");
    let mut stream = event("response.created", "\"response\":{\"output\":[]}");
    for piece in ["twelve", " bytes"] {
        stream += &event("response.output_text.delta", &format!("\"delta\":\"{piece}\""));
    }
    let broken = stream.clone();
    stream += &event("response.output_text.done", &format!("\"text\":\"{text}\""));
    stream += &event("response.content_part.done", &format!("\"part\":{{\"text\":\"{text}\"}}"));
    stream += &event("response.output_item.done", &format!("\"item\":{item}"));
    stream += &event("response.completed", &format!("\"response\":{{\"output\":[{item}]}}"));
    let told = event("response.completed", &format!("\"response\":{{\"output\":[{item}]}}"));
    for stream in [broken, stream, told] {
        let mut meter = openai(true);
        let (out, _) = run(&mut Sse::default(), &[stream.as_bytes()], &mut meter);
        assert_eq!((out, meter.output_tokens()), (stream.clone().into_bytes(), 3), "{stream}");
    }
}

#[test]
fn what_a_server_says_beside_usage_goes_to_the_frame_where_it_would_have_been() {
    let finish = "data: {\"choices\":[{\"finish_reason\":\"stop\",\"delta\":{}}],\"id\":\"a\"}\n\n";
    let usage = "data: {\"choices\":[],\"id\":\"a\",\"usage\":{\"completion_tokens\":2},\"timings\":{\"ms\":[1,2]},\"system_fingerprint\":\"f\",\"x\":1}\n\n";
    let end = "data: [DONE]\n\n";
    let stream = format!("{CHAT_HEAD}{finish}{usage}{end}");
    let merged = finish
        .replace("\"id\":\"a\"}", "\"id\":\"a\",\"timings\":{\"ms\":[1,2]},\"system_fingerprint\":\"f\",\"x\":1}");
    let whole = format!("{CHAT_HEAD}{merged}{end}");
    for cut in 0..=stream.len() {
        let (first, rest) = stream.as_bytes().split_at(cut);
        let (out, _) = run(&mut Sse::default(), &[first, rest], &mut openai(true));
        assert_eq!(String::from_utf8(out).expect("UTF-8"), whole, "cut at {cut}");
        let (out, _) = run(&mut Sse::default(), &[first, rest], &mut openai(false));
        assert_eq!(out, stream.as_bytes(), "a client that asked gets it all");
    }
    // Nothing is told twice, nothing is lost where no usage follows, and nothing is made up where none waits.
    let has_it = finish.replace("\"id\":\"a\"", "\"id\":\"a\",\"x\":0");
    let (out, _) = run(&mut Sse::default(), &[has_it.as_bytes(), usage.as_bytes()], &mut openai(true));
    assert_eq!(String::from_utf8(out).expect("UTF-8").matches("\"x\"").count(), 1);
    for alone in [finish.to_owned(), format!("{finish}{end}"), format!("{finish}{finish}")] {
        let (out, _) = run(&mut Sse::default(), &[alone.as_bytes()], &mut openai(true));
        assert_eq!(String::from_utf8(out).expect("UTF-8"), alone);
    }
    assert_eq!(run(&mut Sse::default(), &[usage.as_bytes()], &mut openai(true)).0, b"");
}

const CHAT_HEAD: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";

#[test]
fn a_frame_that_waits_is_let_go_when_the_stream_is_cut() {
    let finish = b"data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: {\"cho";
    let (mut frames, mut out, mut meter) = (Sse::default(), BytesMut::new(), openai(true));
    frames.push(finish, &mut out, &mut |payload| meter.frame(payload)).expect("short frames");
    assert!(out.is_empty());
    frames.let_go(&mut out);
    assert_eq!(out, finish[..finish.len() - 11]);
}
