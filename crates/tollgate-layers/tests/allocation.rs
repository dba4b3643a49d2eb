//! What a body makes the parser allocate, counted by the allocator itself. One test: the counter is of the process.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tollgate_layers::protocol::{json, oip};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is allowed beside twice the body: names, the refusal, lists of a few places.
const BESIDE: usize = 2_048;

/// Every byte that was ever asked for while `body` was parsed, given back or not.
fn allocated(body: &str) -> usize {
    let region = Region::new(ALLOCATOR);
    drop(oip::request(body.as_bytes(), json::Limits::default()));
    // What a list grows by is part of it.
    region.change().bytes_allocated
}

fn tensor(shape: &str, dtype: &str, data: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"x","shape":{shape},"datatype":"{dtype}","data":{data}}}]}}"#)
}

#[test]
fn memory_follows_the_body_and_never_what_it_claims() {
    let long = format!("[{}]", vec!["1"; 100_000].join(","));
    let words = format!("[{}]", vec!["\"\""; 100_000].join(","));
    let keys: Vec<_> = (0..1_024).map(|key| format!("\"{key}\":0")).collect();
    let objects = format!("[{}]", vec![format!("{{{}}}", keys.join(",")); 20].join(","));
    let claims = ["[1000000000000,4]", "[1000000000,4]", "[4611686018427387905,4]", "[4294967296,1000000]", "[2,2]"];
    let mut bodies = Vec::new();
    for shape in claims {
        for dtype in ["FP32", "FP64", "INT64", "UINT8", "BOOL", "BYTES"] {
            bodies.push(tensor(shape, dtype, "[1,2,3,4]"));
            bodies.push(tensor(shape, dtype, "[[1,2],[3,4]]"));
            bodies.push(tensor(shape, dtype, "[]"));
            bodies.push(tensor(shape, dtype, &"[".repeat(10_000)));
        }
    }
    // Long data under a short claim, and short elements under a claim that they fill.
    bodies.push(tensor("[4]", "INT64", &long));
    for dtype in ["FP32", "INT64", "BYTES"] {
        bodies.push(tensor("[1000000000000]", dtype, &long));
        bodies.push(tensor("[1,1000000000000]", dtype, &format!("[{long}]")));
    }
    bodies.push(tensor("[100000]", "FP32", &long));
    bodies.push(tensor("[4]", "BYTES", &words));
    // What is skipped is not kept: not the nesting, not the keys, not the strings.
    bodies.push(format!(r#"{{"a":{objects}}}"#));
    bodies.push(format!(r#"{{"a":{words}}}"#));
    bodies.push("[".repeat(1_000_000));
    bodies.push("{\"a\":".repeat(200_000));
    bodies.push(format!("\"{}", "a".repeat(1_000_000)));
    bodies.push(format!(r#"{{"id":"{}"}}"#, "\\u0061".repeat(100_000)));
    for body in bodies {
        let spent = allocated(&body);
        let start = body.get(..80).unwrap_or(&body);
        assert!(spent <= 2 * body.len() + BESIDE, "{spent} bytes for a body of {}: {start}", body.len());
    }
}
