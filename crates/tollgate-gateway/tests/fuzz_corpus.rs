//! The seeds of every fuzz target, and every input that once was a finding, hold what the target promises.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/targets/chat.rs"]
mod chat;
#[path = "../../../fuzz/targets/config_load.rs"]
mod config_load;
#[path = "../../../fuzz/targets/exposition.rs"]
mod exposition;
#[path = "../../../fuzz/targets/frames.rs"]
mod frames;
#[path = "../../../fuzz/targets/intake_decode.rs"]
mod intake_decode;
#[path = "../../../fuzz/targets/json.rs"]
mod json;
#[path = "../../../fuzz/targets/media.rs"]
mod media;
#[path = "../../../fuzz/targets/multipart.rs"]
mod multipart;
#[path = "../../../fuzz/targets/oip_binary.rs"]
mod oip_binary;
#[path = "../../../fuzz/targets/oip_contract.rs"]
mod oip_contract;
#[path = "../../../fuzz/targets/oip_grpc.rs"]
mod oip_grpc;
#[path = "../../../fuzz/targets/plain.rs"]
mod plain;
#[path = "../../../fuzz/targets/rows.rs"]
mod rows;
#[path = "../../../fuzz/targets/strict_head.rs"]
mod strict_head;
#[path = "../../../fuzz/targets/token.rs"]
mod token;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut seeds = 0;
    for entry in fs::read_dir(&folder).expect("a corpus") {
        let file = entry.expect("a seed").path();
        let seed = fs::read(&file).expect("a seed");
        if std::panic::catch_unwind(|| run(&seed)).is_err() {
            panic!("`{}` breaks what the target promises", file.display());
        }
        // What is cut at any place must not do worse.
        for end in 0..seed.len() {
            run(&seed[..end]);
        }
        seeds += 1;
    }
    assert!(seeds >= 5, "only {seeds} seeds for `{target}`");
}

#[test]
fn configurations_load_or_every_mistake_has_a_place() {
    replay("config_load", config_load::run);
}

#[test]
fn pages_of_metrics_give_loads_that_are_numbers() {
    replay("exposition", exposition::run);
}

#[test]
fn bodies_decode_within_their_caps() {
    replay("intake_decode", intake_decode::run);
}

#[test]
fn tensors_fit_the_contract_that_let_them_pass() {
    replay("oip_contract", oip_contract::run);
}

#[test]
fn media_read_the_same_raw_and_in_base64() {
    replay("media", media::run);
}

#[test]
fn parts_of_bodies_hold_no_boundary() {
    replay("multipart", multipart::run);
}

#[test]
fn oip_binary_holds() {
    replay("oip_binary", oip_binary::run);
}

#[test]
fn plain_bodies_that_are_taken_are_strict_json() {
    replay("plain", plain::run);
}

#[test]
fn heads_do_not_depend_on_how_the_input_was_cut() {
    replay("strict_head", strict_head::run);
}

#[test]
fn chats_are_edited_into_what_was_meant() {
    replay("chat", chat::run);
}

#[test]
fn streams_do_not_depend_on_how_they_were_cut() {
    replay("frames", frames::run);
}

#[test]
fn strict_json_is_json_for_others() {
    replay("json", json::run);
}

#[test]
fn messages_of_grpc_hold_what_their_shapes_say() {
    replay("oip_grpc", oip_grpc::run);
}

#[test]
fn rows_and_columns_hold_what_their_shapes_say() {
    replay("rows", rows::run);
}

#[test]
fn no_token_is_accepted_without_its_key() {
    replay("token", token::run);
}
