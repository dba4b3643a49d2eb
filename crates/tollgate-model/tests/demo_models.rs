//! The committed models on the embedded engine, through the same trait that the gateway uses.

use std::sync::Arc;

use serde_json::Value;
use tollgate_core::backend::{Backend, Dim, Output, Port};
use tollgate_core::call::{Call, Dtype, Tensor, Values};
use tollgate_core::ruling::Fault;
use tollgate_core::time::Clock;
use tollgate_model::catalog::{CARDS, find};
use tollgate_model::samples::{Sample, samples};
use tollgate_model::{LoadError, LoadOptions, Model, Pool, PoolOptions, PortRange};

#[test]
fn every_committed_sample_gets_the_answer_of_onnx_runtime() {
    let pool = pool();
    for card in CARDS {
        let model = card.load(Arc::clone(&pool), Clock::real()).expect("a committed model");
        for (row, sample) in samples(card.name).iter().enumerate() {
            let answer = probabilities(&infer(&model, &call(&model, &[sample])).expect("an answer"));
            let distance = answer.iter().zip(&sample.reference).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(distance <= 1e-5, "{} sample {row}: {distance}", card.name);
            assert_eq!(largest(&answer), largest(&sample.reference), "{} sample {row}", card.name);
        }
    }
}

#[test]
fn held_out_samples_are_judged_as_well_as_the_card_says() {
    let pool = pool();
    for (name, least) in [("digits_cnn", 95), ("fraud_mlp", 88), ("sentiment", 77)] {
        let card = find(name).expect("a demo model");
        let model = card.load(Arc::clone(&pool), Clock::real()).expect("a committed model");
        let samples = samples(name);
        let batch: Vec<_> = samples.iter().collect();
        let answer = probabilities(&infer(&model, &call(&model, &batch)).expect("an answer"));
        let rows = answer.chunks(card.labels.len());
        let right = rows.zip(&samples).filter(|(row, sample)| largest(row) == sample.label).count();
        assert!(right >= least, "{name}: {right} of 100");
        assert_eq!(right as u64, published(name)["samples_right"].as_u64().expect("a count"), "{name}");
    }
}

#[test]
fn a_text_and_its_token_ids_get_the_same_answer() {
    let model = load("sentiment");
    for sample in samples("sentiment") {
        let by_ids = infer(&model, &call(&model, &[&sample])).expect("an answer");
        let text = sample.text.as_deref().expect("the samples of a text model have their text");
        let by_text = infer(&model, &text_call(&[text])).expect("an answer");
        assert_eq!(by_ids.tensors, by_text.tensors, "{text}");
    }
}

#[test]
fn several_texts_are_one_batch() {
    let model = load("sentiment");
    let answer = infer(&model, &text_call(&["a wonderful film", "a dreadful bore", ""])).expect("an answer");
    assert_eq!(answer.tensors[0].shape, [3, 2]);
    let rows = probabilities(&answer);
    assert!(rows[1] > 0.5 && rows[2] > 0.5, "{rows:?}");
}

#[test]
fn the_signature_is_that_of_the_file_and_not_of_the_engine() {
    let n = || Dim::Symbolic("N".into());
    let port = |name: &str, dtype, dims: Vec<Dim>| Port { name: name.into(), dtype, dims };
    let inputs = [
        ("digits_cnn", port("image", Dtype::Fp32, vec![n(), Dim::Fixed(1), Dim::Fixed(8), Dim::Fixed(8)]), 10),
        ("fraud_mlp", port("features", Dtype::Fp32, vec![n(), Dim::Fixed(9)]), 2),
        ("sentiment", port("token_ids", Dtype::Int64, vec![n(), Dim::Fixed(128)]), 2),
    ];
    for (name, input, classes) in inputs {
        let model = load(name);
        let signature = model.signature();
        assert_eq!(signature.inputs, [input]);
        assert_eq!(signature.outputs, [port("probabilities", Dtype::Fp32, vec![n(), Dim::Fixed(classes)])]);
        assert_eq!(signature.labels.len() as u64, classes);
        assert_eq!(signature.text, name == "sentiment");
        assert!(model.ready());
    }
}

#[test]
fn the_catalog_says_what_the_published_cards_say() {
    for card in CARDS {
        let published = published(card.name);
        let texts = |list: &Value| -> Vec<String> {
            let items = list.as_array().into_iter().flatten();
            items.map(|item| item.as_str().expect("a text").to_owned()).collect()
        };
        assert_eq!(published["task"], card.task);
        assert_eq!(texts(&published["labels"]), card.labels);
        assert_eq!(texts(&published["feature_names"]), card.columns);
        let [range] = card.ranges().try_into().expect("one input, one range");
        assert_eq!(published["input"]["name"], *range.input);
        match published["input"]["one_of"].as_array() {
            None => assert_eq!(numbers(&published["input"]["range"]), [range.lo, range.hi]),
            Some(columns) => {
                let declared = range.columns.iter().flat_map(|set| set.at.clone().map(|_| set.one_of.clone()));
                assert!(declared.eq(columns.iter().map(numbers)), "{}", card.name);
            }
        }
    }
}

#[test]
fn a_pinned_hash_lets_its_file_in_and_no_other() {
    let card = find("fraud_mlp").expect("a demo model");
    let pinned = published(card.name)["sha256"].as_str().expect("a hash").to_owned();
    let hash: Vec<u8> =
        (0..32).map(|byte| u8::from_str_radix(&pinned[2 * byte..2 * byte + 2], 16).expect("hexadecimal")).collect();
    let sha256 = Some(hash.try_into().expect("32 bytes"));
    let options = LoadOptions { sha256, ..LoadOptions::new(pool(), Clock::real()) };
    assert!(Model::load(card.file, options.clone()).is_ok());
    let mut other = card.file.to_vec();
    other.push(0);
    assert!(matches!(Model::load(other, options), Err(LoadError::Digest { .. })));
}

#[test]
fn a_users_own_file_needs_nothing_but_its_bytes() {
    let file = find("sentiment").expect("a demo model").file.to_vec();
    let model = Model::load(file, LoadOptions::new(pool(), Clock::real())).expect("a good file");
    assert!(model.signature().labels.is_empty());
    let engine_range = PortRange::between("token_ids", i32::MIN.into(), i32::MAX.into());
    assert_eq!(model.ranges(), [engine_range]);
    assert!(infer(&model, &text_call(&["not declared as a text model"])).is_err());
}

#[test]
fn labels_and_text_must_fit_the_model() {
    let file = find("fraud_mlp").expect("a demo model").file;
    let options = LoadOptions::new(pool(), Clock::real());
    let labels = vec!["one".into(), "two".into(), "three".into()];
    let refused = Model::load(file, LoadOptions { labels, ..options.clone() }).err();
    assert_eq!(refused, Some(LoadError::Labels { labels: 3, classes: 2 }));
    assert_eq!(Model::load(file, LoadOptions { text: true, ..options }).err(), Some(LoadError::Text));
}

#[test]
fn an_id_that_does_not_fit_the_engine_is_a_fault_and_not_another_id() {
    let model = load("sentiment");
    let mut too_large = call(&model, &[&samples("sentiment")[0]]);
    too_large.inputs[0].values = Values::Int(vec![(1 << 32) + 5; 128]);
    assert!(infer(&model, &too_large).expect_err("it does not fit").evidence().contains("does not fit"));
}

#[test]
fn a_call_may_name_the_outputs_it_wants() {
    let model = load("fraud_mlp");
    let mut named = call(&model, &[&samples("fraud_mlp")[0]]);
    named.outputs = vec!["probabilities".into()];
    assert_eq!(infer(&model, &named).expect("an answer").tensors.len(), 1);
    named.outputs = vec!["logits".into()];
    assert!(infer(&model, &named).is_err());
}

#[test]
fn three_models_and_six_callers_share_one_pool() {
    let pool = Pool::start(PoolOptions { threads: 2, queue: 256 }).expect("threads");
    let models = CARDS.map(|card| (card.name, card.load(Arc::clone(&pool), Clock::real()).expect("a committed model")));
    std::thread::scope(|scope| {
        for (name, model) in models.iter().cycle().take(6) {
            scope.spawn(|| {
                for sample in samples(name) {
                    infer(model, &call(model, &[&sample])).expect("an answer");
                }
            });
        }
    });
    assert_eq!(pool.counts().done, 600);
}

fn pool() -> Arc<Pool> {
    Pool::start(PoolOptions { threads: 1, queue: 16 }).expect("a thread")
}

fn load(name: &str) -> Model {
    find(name).expect("a demo model").load(pool(), Clock::real()).expect("a committed model")
}

fn infer(model: &Model, call: &Call) -> Result<Output, Fault> {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(model.infer(call))
}

/// A call with the inputs of `batch`, in the model's own type and shape.
fn call(model: &Model, batch: &[&Sample]) -> Call {
    let port = &model.signature().inputs[0];
    let fixed = port.dims[1..].iter().map(|dim| match dim {
        Dim::Fixed(size) => *size,
        Dim::Symbolic(_) => panic!("only the batch is symbolic"),
    });
    let flat = batch.iter().flat_map(|sample| sample.features.iter().copied());
    let values = match port.dtype {
        Dtype::Int64 => Values::Int(flat.map(|value| value as i64).collect()),
        _ => Values::F32(flat.map(|value| value as f32).collect()),
    };
    let shape = std::iter::once(batch.len() as u64).chain(fixed).collect();
    let tensor = Tensor { name: port.name.clone(), dtype: port.dtype, shape, values, at: 0..0 };
    Call { inputs: vec![tensor], ..Call::default() }
}

fn text_call(texts: &[&str]) -> Call {
    let values = Values::Bytes(texts.iter().map(|text| text.as_bytes().into()).collect());
    let shape = vec![texts.len() as u64];
    let tensor = Tensor { name: "text".into(), dtype: Dtype::Bytes, shape, values, at: 0..0 };
    Call { inputs: vec![tensor], ..Call::default() }
}

fn probabilities(answer: &Output) -> Vec<f64> {
    match &answer.tensors[0].values {
        Values::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        other => panic!("probabilities are FP32, not {other:?}"),
    }
}

fn largest(values: &[f64]) -> usize {
    let by_value = |(_, a): &(usize, &f64), (_, b): &(usize, &f64)| a.total_cmp(b);
    values.iter().enumerate().max_by(by_value).expect("at least one class").0
}

/// The card that the training script wrote.
fn published(name: &str) -> Value {
    let path = format!("{}/../../models/{name}.card.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).expect("a committed card")).expect("JSON")
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().expect("a list").iter().map(|item| item.as_f64().expect("a number")).collect()
}
