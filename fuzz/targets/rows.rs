//! Any bytes as rows or columns of KServe v1 and TensorFlow Serving, for models of numbers, of texts, and of several inputs.

use std::sync::LazyLock;

use tollgate_core::backend::{Dim, Port, Signature};
use tollgate_core::call::Dtype;
use tollgate_layers::protocol::json::{self, Limits};
use tollgate_layers::protocol::kserve_v1;

/// What is taken is strict JSON; shapes tell the number of values, and every input is one of the model's, once.
pub(crate) fn run(data: &[u8]) {
    static SIGNATURES: LazyLock<[Signature; 3]> = LazyLock::new(signatures);
    for signature in &*SIGNATURES {
        let Ok(request) = kserve_v1::request(data, Limits::default(), signature) else { continue };
        assert!(json::validate(data, Limits::default()).is_ok(), "what is taken is strict JSON");
        for (at, tensor) in request.inputs.iter().enumerate() {
            let product = tensor.shape.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim));
            assert_eq!(product, Some(tensor.values.len() as u64), "the shape tells the number of elements");
            assert!(signature.inputs.iter().any(|port| port.name == tensor.name), "an input of the model");
            assert!(request.inputs.iter().skip(at + 1).all(|other| other.name != tensor.name), "each input once");
        }
    }
}

fn signatures() -> [Signature; 3] {
    let port = |name: &str, dtype, width: Option<u64>| {
        let dims = std::iter::once(Dim::Symbolic("batch".into())).chain(width.map(Dim::Fixed)).collect();
        Port { name: name.into(), dtype, dims }
    };
    let of = |inputs| Signature { inputs, ..Signature::default() };
    [
        of(vec![port("x", Dtype::Fp32, Some(2))]),
        of(vec![port("t", Dtype::Bytes, None)]),
        of(vec![port("a", Dtype::Int64, None), port("b", Dtype::Bool, Some(2)), port("t", Dtype::Bytes, None)]),
    ]
}
