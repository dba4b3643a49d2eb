//! Any bytes as a body of the Open Inference Protocol, and what the contract of a model says about it.

use std::sync::LazyLock;

use tollgate_core::backend::{Dim, Port, Signature};
use tollgate_core::call::{Call, Dialect, Dtype, Values};
use tollgate_core::check::Checker;
use tollgate_layers::contract::{BatchConfig, Contract, ContractConfig, InputConfig, UnknownMembers};
use tollgate_layers::parse::fuzz_oip;
use tollgate_layers::protocol::{json, oip};

const ROWS: u64 = 4;
const RANGE: [f64; 2] = [-1.0, 1.0];

/// What the contract lets through has its names, types, shapes and ranges, element for element.
pub(crate) fn run(data: &[u8]) {
    static CONTRACT: LazyLock<Contract> = LazyLock::new(contract);
    fuzz_oip(data);
    let Ok(request) = oip::request(data, json::Limits::default()) else { return };
    let oip::Request { id, inputs, outputs, unknown_members } = request;
    let call = Call { dialect: Dialect::Oip, id, inputs, outputs, unknown_members, ..Call::default() };
    match CONTRACT.check(&call) {
        Ok(()) => assert_fits(&call),
        Err(refusal) => assert!(refusal.spot.is_some(), "a refusal says where the mistake stands"),
    }
}

fn assert_fits(call: &Call) {
    assert_eq!(call.unknown_members, 0, "unknown members are denied");
    let mut rows = None;
    for tensor in &call.inputs {
        let (dtype, dims): (_, &[u64]) = match &*tensor.name {
            "x" => (Dtype::Fp32, &[2, 2]),
            "n" => (Dtype::Int32, &[]),
            "s" => (Dtype::Bytes, &[1]),
            other => panic!("the contract names no input `{other}`"),
        };
        assert_eq!(tensor.dtype, dtype);
        let (batch, rest) = tensor.shape.split_first().expect("every input has a batch");
        assert_eq!((rest, *rows.get_or_insert(*batch)), (dims, *batch), "one batch, and the shape of the contract");
        assert!(*batch <= ROWS, "the batch is bounded");
        let fits = match &tensor.values {
            Values::F32(values) => values.iter().all(|value| (RANGE[0]..=RANGE[1]).contains(&f64::from(*value))),
            Values::Int(values) => values.iter().all(|value| i32::try_from(*value).is_ok()),
            Values::Bytes(values) => values.iter().all(|value| value.len() <= 8),
            _ => false,
        };
        assert!(fits, "every element is in its range");
    }
    assert_eq!(call.inputs.len(), 3, "all inputs came");
}

fn contract() -> Contract {
    let batch = || Dim::Symbolic("batch".into());
    let port = |name: &str, dtype, dims| Port { name: name.into(), dtype, dims };
    let x = port("x", Dtype::Fp32, vec![batch(), Dim::Fixed(2), Dim::Fixed(2)]);
    let n = port("n", Dtype::Int32, vec![batch()]);
    let s = port("s", Dtype::Bytes, vec![batch(), Dim::Fixed(1)]);
    let signature = Signature { inputs: vec![x, n, s], ..Signature::default() };
    let config = ContractConfig {
        inputs: vec![
            InputConfig { range: Some(RANGE), ..input("x") },
            InputConfig { max_length: Some(8), ..input("s") },
        ],
        batch: BatchConfig { max: ROWS },
        unknown_members: UnknownMembers::Deny,
        ..ContractConfig::default()
    };
    let mut check = Checker::default();
    let contract = config.compile(&mut check, Some(&signature));
    assert!(check.is_clean(), "the contract has no mistake");
    contract
}

fn input(name: &str) -> InputConfig {
    InputConfig { name: name.into(), ..InputConfig::default() }
}
