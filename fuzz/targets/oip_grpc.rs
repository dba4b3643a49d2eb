//! Any bytes as a message of the Open Inference Protocol over gRPC.

use bytes::Bytes;
use tollgate_core::call::Values;
use tollgate_layers::protocol::oip::grpc;

/// What is taken has names that stand once, and shapes that tell the bytes of its values.
pub(crate) fn run(data: &[u8]) {
    let message = Bytes::copy_from_slice(data);
    let Ok(infer) = grpc::infer(&message) else { return };
    assert!(!infer.model.is_empty(), "a model is named");
    for (at, tensor) in infer.request.inputs.iter().enumerate() {
        let product = tensor.shape.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim));
        let product = product.expect("a size that can be counted");
        let Values::Raw(raw, count) = &tensor.values else { panic!("values come as they stand") };
        assert_eq!(product, *count as u64, "the shape tells the number of elements");
        if let Some(width) = tensor.dtype.width() {
            assert_eq!(product * width, raw.len() as u64, "and their bytes");
        }
        assert!(tensor.at.end <= data.len(), "the data stands in the message");
        let later = infer.request.inputs.iter().skip(at + 1);
        assert!(later.into_iter().all(|other| other.name != tensor.name), "each input once");
    }
}
