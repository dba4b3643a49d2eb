use super::*;

const EXACT: Tolerance = Tolerance { max_abs: 1e-5, max_relative: 1e-3 };

fn side(body: impl Into<Vec<u8>>) -> Side {
    Side { status: 200, content_type: "application/json".to_owned(), body: body.into(), ..Side::default() }
}

fn values(one: &str, other: &str) -> Comparison {
    compare(How::Values, &side(one), &side(other), EXACT)
}

#[test]
fn numbers_are_the_same_within_either_bound() {
    for (one, other, same) in [
        ("1.0", "1.0005", true),
        ("1.0", "1.002", false),
        ("0.0", "0.000009", true),
        ("0.0", "0.1", false),
        ("-5", "5", false),
        ("3", "3.0", true),
        ("1e300", "-1e300", false),
    ] {
        let text = |number: &str| format!(r#"{{"outputs":[{{"name":"y","data":[1,{number}]}}]}}"#);
        let found = values(&text(one), &text(other));
        assert_eq!((found.is_same(), found.numbers_differ), (same, !same), "{one} {other}");
    }
    let found = values("[1.0, 2.0]", "[1.5, 2.0]");
    assert_eq!((found.max_abs, (found.max_relative * 3.0).round()), (0.5, 1.0));
}

#[test]
fn labels_and_shapes_tell_answers_apart_and_names_of_calls_do_not() {
    let one = r#"{"id":"a","model_version":"1","outputs":[{"name":"y","shape":[1],"data":["cat"]}]}"#;
    let other = |from: &str, to: &str| values(one, &one.replace(from, to));
    assert!(other("\"a\"", "\"b\"").is_same() && other("\"1\"", "\"2\"").is_same());
    assert!(other("cat", "dog").labels_differ);
    assert!(other("[\"cat\"]", "[\"cat\",\"cat\"]").shape_differs);
    assert!(other("\"data\"", "\"date\"").shape_differs);
    assert!(other("[\"cat\"]", "[1]").shape_differs);
    assert!(values("{\"predictions\":[1],\"more\":null}", "{\"predictions\":[1]}").is_same());
    assert!(values("{\"predictions\":[1]}", "{\"predictions\":[1],\"more\":1}").shape_differs);
}

#[test]
fn a_status_of_another_class_is_all_that_is_looked_at() {
    let failed = Side { status: 500, latency_us: 7, ..side("[2]") };
    let primary = Side { latency_us: 9, ..side("[1]") };
    let found = compare(How::Values, &primary, &failed, EXACT);
    assert_eq!(found, Comparison { status_differs: true, faster: true, ..Comparison::default() });
}

#[test]
fn tensors_behind_the_json_are_compared_by_value() {
    let head = r#"{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"parameters":{"binary_data_size":8}},
        {"name":"z","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":3}}]}"#;
    let answer = |numbers: [f32; 2], label: &[u8]| {
        let [one, two] = numbers.map(f32::to_le_bytes);
        let body = [head.as_bytes(), &one, &two, label].concat();
        Side { json_length: Some(head.len()), ..side(body) }
    };
    let primary = answer([1.0, f32::NAN], b"cat");
    let by = |shadow: &Side| compare(How::Values, &primary, shadow, EXACT);
    assert!(by(&answer([1.0001, f32::NAN], b"cat")).is_same());
    let far = by(&answer([1.5, f32::NAN], b"cat"));
    assert!(far.numbers_differ && !far.labels_differ && far.max_abs == 0.5);
    assert!(by(&answer([1.0, 1.0], b"cat")).numbers_differ, "a number where there was none");
    assert!(by(&answer([1.0, f32::NAN], b"dog")).labels_differ);
    assert!(by(&answer([1.0, f32::NAN], b"cats")).shape_differs);
    // Sizes that lie lead to no panic.
    let lie = Side { json_length: Some(usize::MAX), ..side(head) };
    assert!(!compare(How::Values, &lie, &lie, EXACT).is_same());
}

#[test]
fn of_texts_only_the_shape_counts_also_over_the_events_of_a_stream() {
    let by = |one: Side, other: Side| compare(How::Shape, &one, &other, EXACT);
    let answer = |text: &str| side(format!(r#"{{"id":"x","choices":[{{"message":{{"content":"{text}"}}}}]}}"#));
    assert!(by(answer("yes"), answer("no, and at length")).is_same());
    let tools = side(r#"{"id":"x","choices":[{"message":{"content":null,"tool_calls":[{"id":"t"}]}}]}"#);
    assert!(by(answer("yes"), tools).shape_differs);
    let stream = |events: &[&str]| {
        let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        Side { content_type: "text/event-stream; charset=utf-8".to_owned(), ..side(body) }
    };
    let (one, two) = (stream(&["{\"d\":\"a\"}", "[DONE]"]), stream(&["{\"d\":\"b\"}", "{\"d\":\"c\"}", "[DONE]"]));
    assert!(by(one.clone(), two).is_same(), "how many events there are is nobody's promise");
    assert!(by(one.clone(), stream(&["{\"error\":{}}"])).shape_differs);
    assert!(by(one, side("no json")).shape_differs);
    let lines = |text: &str| Side { content_type: "application/x-ndjson".to_owned(), ..side(text) };
    assert!(by(lines("{\"r\":\"a\"}\n{\"r\":\"b\"}\n"), lines("{\"r\":\"c\"}\n")).is_same());
}

#[test]
fn what_no_one_can_read_is_compared_by_its_bytes() {
    assert!(values("nonsense", "nonsense").is_same());
    assert!(values("nonsense", "other").labels_differ);
    assert!(values("{}", "other").shape_differs);
    assert!(values("", "").is_same());
}

#[test]
fn nests_and_crowds_cost_no_more_than_they_are_long() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(values(&deep, &deep).is_same());
    let crowd: String = (0..20_000).map(|i| format!("\"m{i}\":1,")).collect();
    let crowd = side(format!("{{{crowd}\"end\":1}}"));
    assert!(compare(How::Shape, &crowd, &crowd, EXACT).is_same());
    assert!(shapes(&crowd).is_some_and(|paths| paths.len() <= MOST_PATHS));
}
