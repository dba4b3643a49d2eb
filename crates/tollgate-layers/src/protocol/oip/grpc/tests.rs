//! Messages and their verdicts.

use proptest::prelude::*;
use tollgate_core::call::Values;

use super::*;

/// A field of bytes: a string, a message, a packed list.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).expect("a short value");
    assert!(length < 0x80, "one byte of length");
    [&[number << 3 | 2, length], value].concat()
}

fn varint(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

/// An input `x` of a type and a shape, and what else stands in it.
fn input(dtype: &str, shape: &[u8], more: &[u8]) -> Vec<u8> {
    field(5, &[field(1, b"x"), field(2, dtype.as_bytes()), field(3, shape), more.to_vec()].concat())
}

/// A message for the model `m`.
fn message(parts: &[Vec<u8>]) -> Bytes {
    [field(1, b"m"), parts.concat()].concat().into()
}

fn contents(number: u8, values: &[u8]) -> Vec<u8> {
    field(5, &field(number, values))
}

fn raw_of(message: &Bytes) -> Vec<u8> {
    let infer = infer(message).expect("a request");
    match &infer.request.inputs[0].values {
        Values::Raw(raw, _) => raw.to_vec(),
        other => panic!("not raw: {other:?}"),
    }
}

const ONE: [u8; 4] = 1.0_f32.to_le_bytes();

#[test]
fn a_raw_request_is_taken_without_a_copy() {
    let parts = [
        field(2, b"3"),
        field(3, b"id-1"),
        input("FP32", &[1, 1], &[]),
        field(
            6,
            &[field(1, b"y"), field(2, &[field(1, b"classification"), field(2, &varint(2, 3))].concat())].concat(),
        ),
        field(7, &ONE),
    ];
    let message = message(&parts);
    let infer = infer(&message).expect("a request");
    assert_eq!((&*infer.model, infer.version.as_deref()), ("m", Some("3")));
    assert_eq!(infer.request.id.as_deref(), Some("id-1"));
    assert_eq!(infer.request.outputs, ["y".into()]);
    let tensor = &infer.request.inputs[0];
    assert_eq!((tensor.dtype, tensor.shape.as_slice()), (Dtype::Fp32, [1, 1].as_slice()));
    assert_eq!(message.get(tensor.at.clone()), Some(ONE.as_slice()));
    let Values::Raw(raw, 1) = &tensor.values else { panic!("{tensor:?}") };
    assert!(message.as_ptr_range().contains(&raw.as_ptr()), "the values stand in the message");
}

#[test]
fn typed_contents_come_in_the_raw_form_of_their_type() {
    let minus_two = [0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
    let table: [(&str, u8, Vec<u8>, Vec<u8>); 9] = [
        ("BOOL", 1, vec![1], vec![1]),
        ("INT8", 2, minus_two.to_vec(), vec![0xFE]),
        ("INT16", 2, minus_two.to_vec(), vec![0xFE, 0xFF]),
        ("INT32", 2, vec![0x96, 0x01], vec![150, 0, 0, 0]),
        ("INT64", 3, minus_two.to_vec(), (-2_i64).to_le_bytes().to_vec()),
        ("UINT8", 4, vec![0xFF, 0x01], vec![255]),
        ("UINT64", 5, vec![7], 7_u64.to_le_bytes().to_vec()),
        ("FP32", 6, ONE.to_vec(), ONE.to_vec()),
        ("FP64", 7, 1.0_f64.to_le_bytes().to_vec(), 1.0_f64.to_le_bytes().to_vec()),
    ];
    for (dtype, number, values, raw) in table {
        let message = message(&[input(dtype, &[1], &contents(number, &values))]);
        assert_eq!(raw_of(&message), raw, "{dtype}");
    }
    let unpacked = field(5, &[varint(2, 1), varint(2, 2)].concat());
    assert_eq!(raw_of(&message(&[input("INT8", &[2], &unpacked)])), [1, 2]);
    let strings = field(5, &[field(8, b"ab"), field(8, b"")].concat());
    assert_eq!(raw_of(&message(&[input("BYTES", &[2], &strings)])), [2, 0, 0, 0, b'a', b'b', 0, 0, 0, 0]);
}

/// Where the mistake of a message stands; `malformed` for one that is no message.
fn spot(message: &Bytes) -> String {
    match infer(message) {
        Ok(taken) => panic!("it was taken: {taken:?}"),
        Err(Wrong::Invalid(spot)) => spot.pointer,
        Err(Wrong::Broken { .. }) => "malformed".to_owned(),
        Err(Wrong::Malformed(json)) => panic!("JSON: {json}"),
    }
}

#[test]
fn what_libraries_let_pass_is_refused() {
    let row = || input("FP32", &[1], &[]);
    let two_lists = field(5, &[field(6, &ONE), field(7, &1.0_f64.to_le_bytes())].concat());
    let twice = field(5, &[field(1, b"x"), field(1, b"y"), field(2, b"FP32"), field(3, &[1])].concat());
    let parameter = |key: &[u8]| field(4, &[field(1, key), field(2, &varint(2, 1))].concat());
    let classification = field(2, &[field(1, b"classification"), field(2, &varint(2, 1))].concat());
    let same_key = field(6, &[field(1, b"y"), classification.clone(), classification].concat());
    let negative = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
    let huge = [0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 4];
    let table: Vec<(&str, Vec<Vec<u8>>, &str)> = vec![
        ("raw beside typed", vec![input("FP32", &[1], &contents(6, &ONE)), field(7, &ONE)], "/inputs/0/contents"),
        ("two raw for one input", vec![row(), field(7, &ONE), field(7, &ONE)], "/raw_input_contents"),
        ("neither form", vec![row()], "/inputs/0"),
        ("two typed lists", vec![input("FP32", &[1], &two_lists)], "/inputs/0/contents"),
        ("a list of another type", vec![input("FP32", &[1], &contents(2, &[1]))], "/inputs/0/contents"),
        ("half as typed list", vec![input("FP16", &[1], &contents(6, &ONE))], "/inputs/0/contents"),
        ("a value beyond INT8", vec![input("INT8", &[1], &contents(2, &[0x80, 0x01]))], "/inputs/0/contents"),
        ("a negative UINT8", vec![input("UINT8", &[1], &contents(4, &negative))], "/inputs/0/contents"),
        ("2 as BOOL", vec![input("BOOL", &[1], &contents(1, &[2]))], "/inputs/0/contents"),
        ("fewer values than the shape", vec![input("FP32", &[2], &contents(6, &ONE))], "/inputs/0/contents"),
        ("fewer bytes than the shape", vec![input("FP32", &[2], &[]), field(7, &ONE)], "/inputs/0/contents"),
        ("shape -1", vec![input("FP32", &negative, &[]), field(7, &ONE)], "/inputs/0/shape/0"),
        ("shape 0", vec![input("FP32", &[0], &[]), field(7, &ONE)], "/inputs/0/shape/0"),
        ("a product that wraps", vec![input("FP32", &huge, &[]), field(7, &ONE)], "/inputs/0/shape"),
        ("nine dimensions", vec![input("FP32", &[1; 9], &[]), field(7, &ONE)], "/inputs/0/shape"),
        ("a datatype that does not exist", vec![input("FLOAT", &[1], &[]), field(7, &ONE)], "/inputs/0/datatype"),
        ("the same input twice", vec![row(), row(), field(7, &ONE), field(7, &ONE)], "/inputs/1/name"),
        ("no input", vec![], "/inputs"),
        (
            "shared memory",
            vec![parameter(b"shared_memory_region"), row(), field(7, &ONE)],
            "/parameters/shared_memory_region",
        ),
        ("a sequence", vec![parameter(b"sequence_id"), row(), field(7, &ONE)], "/parameters/sequence_id"),
        ("an unknown parameter", vec![parameter(b"x"), row(), field(7, &ONE)], "/parameters"),
        ("a parameter twice", vec![row(), same_key, field(7, &ONE)], "malformed"),
        ("the model twice", vec![field(1, b"n"), row(), field(7, &ONE)], "malformed"),
        ("a name twice", vec![twice, field(7, &ONE)], "malformed"),
        ("an unknown field", vec![row(), field(7, &ONE), field(9, b"?")], "malformed"),
        ("another wire type", vec![row(), varint(7, 1)], "malformed"),
        ("an id with a line feed", vec![field(3, b"a\nb"), row(), field(7, &ONE)], "/id"),
        ("a NUL in an id", vec![field(3, b"a\0b"), row(), field(7, &ONE)], "malformed"),
        ("an id that is no UTF-8", vec![field(3, &[0xFF]), row(), field(7, &ONE)], "malformed"),
    ];
    for (what, parts, at) in table {
        assert_eq!(spot(&message(&parts)), at, "{what}");
    }
    let nameless: Bytes = [row(), field(7, &ONE)].concat().into();
    assert_eq!(spot(&nameless), "/model_name");
}

proptest! {
    #[test]
    fn a_message_with_a_byte_changed_has_an_answer(at in 0_usize..60, byte in any::<u8>(), cut in 0_usize..60) {
        let strings = field(5, &[field(8, b"ab"), field(8, b"")].concat());
        let mut bytes = message(&[field(3, b"id"), input("BYTES", &[2], &strings)]).to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut % 8);
        if let Ok(taken) = infer(&bytes.into()) {
            for tensor in taken.request.inputs {
                let product: u64 = tensor.shape.iter().product();
                prop_assert_eq!(product, tensor.values.len() as u64);
            }
        }
    }
}
