//! Entries for fuzzing: any bytes in, an answer out, and what must hold of every body that is taken.

use bytes::Bytes;
use tollgate_core::backend::{Dim, Port, Signature};
use tollgate_core::call::{Call, Dtype, Values};
use tollgate_core::check::Checker;

use super::{oip_call, plain_call};
use crate::contract::ContractConfig;
use crate::protocol::{json, oip};

/// Parses anything as an OIP body.
///
/// # Panics
/// If a body is taken that is no strict JSON, or with another number of values than its shape says.
pub fn fuzz_oip(body: &[u8]) {
    if let Ok(request) = oip::request(body, json::Limits::default()) {
        assert_taken(body, &oip_call(request));
    }
}

/// Parses anything as a body with binary tensors: its first four bytes say how long the JSON is.
///
/// # Panics
/// If a body is taken whose shapes do not tell the number of values.
pub fn fuzz_oip_binary(input: &[u8]) {
    let Some((json, body)) = input.split_first_chunk() else { return };
    let (json, body) = (u32::from_le_bytes(*json) as usize, Bytes::copy_from_slice(body));
    let json = json % (body.len() + 1);
    let Ok(request) = oip::binary_request(&body, json, json::Limits::default()) else { return };
    for tensor in &request.inputs {
        let product = tensor.shape.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim));
        assert_eq!(product, Some(tensor.values.len() as u64), "the shape tells the number of elements");
        if let Values::Raw(raw, _) = &tensor.values {
            assert_eq!(body.get(tensor.at.clone()), Some(&**raw), "the data stands in the body");
        }
    }
}

/// Parses anything as a plain body, for a model of pictures, of texts, and of several inputs, and asks their contracts.
///
/// # Panics
/// If a body is taken that is no strict JSON, or with another number of values than its shape says.
pub fn fuzz_plain(body: &[u8]) {
    for signature in signatures() {
        let contract = ContractConfig::default().compile(&mut Checker::default(), Some(&signature));
        if let Ok(call) = plain_call(body, json::Limits::default(), &contract) {
            assert_taken(body, &call);
            // Whether it fits is not the question: that an answer comes, is.
            let _verdict = contract.check(&call);
        }
    }
}

fn assert_taken(body: &[u8], call: &Call) {
    assert!(json::validate(body, json::Limits::default()).is_ok(), "what is taken is strict JSON");
    for tensor in &call.inputs {
        let product = tensor.shape.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim));
        assert_eq!(product, Some(tensor.values.len() as u64), "the shape tells the number of elements");
        assert!(body.get(tensor.at.clone()).is_some_and(|data| !data.is_empty()), "the data stands in the body");
    }
}

fn signatures() -> [Signature; 3] {
    let batch = || Dim::Symbolic("batch".into());
    let port = |name: &str, dtype, dims| Port { name: name.into(), dtype, dims };
    let picture = port("image", Dtype::Fp32, vec![batch(), Dim::Fixed(1), Dim::Fixed(2), Dim::Fixed(2)]);
    let words = port("x", Dtype::Int64, vec![batch(), Dim::Symbolic("words".into())]);
    let others = [
        port("data", Dtype::Bool, vec![batch()]),
        port("name", Dtype::Bytes, vec![batch(), Dim::Fixed(2)]),
        port("shape", Dtype::Uint8, Vec::new()),
    ];
    [
        Signature { inputs: vec![picture], ..Signature::default() },
        Signature { inputs: vec![words.clone()], text: true, ..Signature::default() },
        Signature { inputs: std::iter::once(words).chain(others).collect(), ..Signature::default() },
    ]
}
