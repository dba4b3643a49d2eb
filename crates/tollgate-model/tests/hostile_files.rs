//! Files that somebody damaged, by accident or on purpose: each gets an answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate_core::backend::Backend;
use tollgate_core::call::{Call, Dtype, Tensor, Values};
use tollgate_core::time::Clock;
use tollgate_model::catalog::CARDS;
use tollgate_model::{LoadError, LoadOptions, Model, Pool, PoolOptions};

/// Mutated files per run of the test.
const ROUNDS: usize = 12_000;

#[test]
fn every_mutated_file_gets_an_answer() {
    let pool = Pool::start(PoolOptions::default()).expect("a thread");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let options = LoadOptions::new(Arc::clone(&pool), Clock::real());
    let mut dice = Dice(0x5eed);
    let mut answers: BTreeMap<&str, u32> = BTreeMap::new();
    for round in 0..ROUNDS {
        let card = &CARDS[round % CARDS.len()];
        let file = mutate(card.file, &mut dice);
        let answer = match Model::load(file, options.clone()) {
            Ok(model) => match runtime.block_on(model.infer(&zeros(&model))) {
                Ok(_) => "loaded and ran",
                Err(_) => "loaded and failed to run",
            },
            Err(LoadError::Late(after)) => panic!("round {round}: no answer within {after:?}"),
            Err(LoadError::Panicked) => panic!("round {round}: the engine panicked"),
            Err(LoadError::Engine(_)) => "refused by the engine",
            Err(_) => "refused by our reader",
        };
        *answers.entry(answer).or_default() += 1;
    }
    println!("{answers:?}, panics while running: {}", pool.counts().panicked);
    // The mutations must reach every line of defence, or this test proves nothing.
    assert_eq!(answers.len(), 4, "{answers:?}");
    assert!(answers.values().all(|count| *count >= 20), "{answers:?}");
}

#[test]
fn files_that_are_no_models_are_refused_by_our_own_reader() {
    let pool = Pool::start(PoolOptions::default()).expect("a thread");
    let options = LoadOptions::new(pool, Clock::real());
    let files: [&'static [u8]; 6] = [b"", b"\0", b"not a model", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", &[0xff; 64]];
    for file in files {
        let refused = Model::load(file, options.clone()).expect_err("no model");
        assert!(matches!(refused, LoadError::Format(_)), "{file:?}: {refused}");
    }
    let large = LoadOptions { max_bytes: 1000, ..options };
    assert!(matches!(Model::load(CARDS[1].file, large), Err(LoadError::Large { bound: 1000, .. })));
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    let pool = Pool::start(PoolOptions::default()).expect("a thread");
    let file = CARDS[1].file;
    for length in 0..file.len() {
        let options = LoadOptions::new(Arc::clone(&pool), Clock::real());
        if let Ok(model) = Model::load(file[..length].to_vec(), options) {
            // Only what stands behind the graph can be missing: the list of operator sets.
            assert!(file.len() - length <= 8, "{length} of {} bytes gave {model:?}", file.len());
        }
    }
}

/// A call of zeros in every input.
fn zeros(model: &Model) -> Call {
    let tensors = model.signature().inputs.iter().map(|port| {
        let size = |dim: &tollgate_core::backend::Dim| match dim {
            tollgate_core::backend::Dim::Fixed(size) => (*size).min(1 << 16),
            tollgate_core::backend::Dim::Symbolic(_) => 1,
        };
        let shape: Vec<u64> = port.dims.iter().map(size).collect();
        let count = usize::try_from(shape.iter().product::<u64>().min(1 << 20)).expect("small");
        let values = match port.dtype {
            Dtype::Fp32 => Values::F32(vec![0.0; count]),
            Dtype::Bool => Values::Bool(vec![false; count]),
            Dtype::Uint8 => Values::Uint(vec![0; count]),
            _ => Values::Int(vec![0; count]),
        };
        Tensor { name: port.name.clone(), dtype: port.dtype, shape, values, at: 0..0 }
    });
    Call { inputs: tensors.collect(), ..Call::default() }
}

/// Applies one to three changes, mostly where the structure stands: weights fill the middle of a file. Most changes
/// keep the length, because any other breaks the framing at once.
fn mutate(file: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut file = file.to_vec();
    for _ in 0..1 + dice.below(3) {
        let at = place(file.len(), dice);
        match dice.below(12) {
            0..4 => file[at] ^= 1 << dice.below(8),
            4..8 => file[at] = u8::try_from(dice.below(256)).expect("a byte"),
            8 => file.truncate(at.max(2)),
            9 => file.insert(at, u8::try_from(dice.below(256)).expect("a byte")),
            // A varint that goes on and on.
            10 => {
                let end = (at + 12).min(file.len());
                file[at..end].fill(0xff);
            }
            _ => {
                let end = (at + 1 + dice.below(40)).min(file.len());
                let piece = file[at..end].to_vec();
                let to = place(file.len(), dice);
                file.splice(to..to, piece);
            }
        }
    }
    file
}

fn place(length: usize, dice: &mut Dice) -> usize {
    match dice.below(10) {
        0..6 => dice.below(length.min(1_200)),
        6..9 => length - 1 - dice.below(length.min(400)),
        _ => dice.below(length),
    }
}

/// A small seeded generator (xorshift64*): the same files on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).expect("31 bits") % bound
    }
}
