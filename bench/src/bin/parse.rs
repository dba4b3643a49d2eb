//! Time of `parse` and `contract` for one body, in one thread: JSON text in, checked tensors out.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate_core::call::{Call, Dialect, ModelId};
use tollgate_core::check::Checker;
use tollgate_layers::contract::{Contract, ContractConfig, DimConfig, InputConfig};
use tollgate_layers::protocol::{json, oip, plain};

/// Rounds of a case.
const ROUNDS: usize = 41;
/// How long a round lasts, at least.
const ROUND: Duration = Duration::from_millis(5);

#[expect(clippy::print_stdout, reason = "a program for a person")]
fn main() {
    println!("{:<44} {:>9} {:>9} {:>9} {:>9}", "body", "bytes", "median µs", "best µs", "best MB/s");
    for case in cases() {
        let (median, best) = case.measure_us();
        let bytes = case.body.len();
        #[expect(clippy::cast_precision_loss, reason = "for the eye")]
        let rate = bytes as f64 / best;
        println!("{:<44} {bytes:>9} {median:>9.1} {best:>9.1} {rate:>9.0}", case.what);
    }
}

struct Case {
    what: &'static str,
    body: String,
    contract: Arc<Contract>,
    dialect: Dialect,
}

impl Case {
    /// The median round, and the best: on a machine with other work the best says more.
    fn measure_us(&self) -> (f64, f64) {
        let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| self.round_us()).collect();
        rounds.sort_by(f64::total_cmp);
        let at = |place: usize| rounds.get(place).copied().unwrap_or_default();
        (at(ROUNDS / 2), at(0))
    }

    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    fn round_us(&self) -> f64 {
        let started = Instant::now();
        let mut runs = 0_u32;
        while started.elapsed() < ROUND {
            let call = self.call();
            self.contract.check(&call).expect("the call fits");
            black_box(call);
            runs += 1;
        }
        started.elapsed().as_secs_f64() * 1e6 / f64::from(runs)
    }

    fn call(&self) -> Call {
        let (body, limits) = (black_box(self.body.as_bytes()), json::Limits::default());
        let model = Some(ModelId(0));
        if self.dialect == Dialect::Plain {
            let request = plain::request(body, limits, self.contract.signature()).expect("it is well-formed");
            return Call { dialect: Dialect::Plain, model, inputs: request.inputs, ..Call::default() };
        }
        let request = oip::request(body, limits).expect("it is well-formed");
        Call { dialect: Dialect::Oip, model, inputs: request.inputs, ..Call::default() }
    }
}

fn cases() -> Vec<Case> {
    let short = |i: u64| format!("0.{:07}", mixed(i) % 10_000_000);
    let long = |i: u64| format!("0.{:017}", mixed(i) % 100_000_000_000_000_000);
    let digit = |i: u64| (mixed(i) % 17).to_string();
    vec![
        case("OIP, FP32, 1,200 numbers of 9 bytes", Some("FP32"), 1, &numbers(1_200, short)),
        case("OIP, FP32, 600 numbers of 19 bytes", Some("FP32"), 1, &numbers(600, long)),
        case("OIP, FP32, 10,000 numbers of 9 bytes", Some("FP32"), 1, &numbers(10_000, short)),
        case("OIP, FP32, 10,000 numbers of 19 bytes", Some("FP32"), 1, &numbers(10_000, long)),
        case("OIP, FP32, 10,000 numbers, nested in rows", Some("FP32"), 1_000, &numbers(10_000, short)),
        case("OIP, INT64, 10,000 small integers", Some("INT64"), 1, &numbers(10_000, digit)),
        case("OIP, FP32, 10,000 small integers", Some("FP32"), 1, &numbers(10_000, digit)),
        case("OIP, FP32, 64 small numbers", Some("FP32"), 1, &numbers(64, digit)),
        case("plain, FP32, 64 small numbers", None, 1, &numbers(64, digit)),
        case("plain, FP32, 1,200 numbers of 9 bytes", None, 1, &numbers(1_200, short)),
    ]
}

fn case(what: &'static str, dtype: Option<&str>, rows: usize, numbers: &[String]) -> Case {
    let columns = numbers.len() / rows;
    let lines: Vec<_> = numbers.chunks(columns).map(|row| format!("[{}]", row.join(","))).collect();
    let data = if rows == 1 { lines.concat() } else { format!("[{}]", lines.join(",")) };
    let body = dtype.map_or_else(
        || format!(r#"{{"features":{data},"request_id":"bench-1"}}"#),
        |dtype| {
            let input = format!(r#"{{"name":"x","shape":[{rows},{columns}],"datatype":"{dtype}","data":{data}}}"#);
            format!(r#"{{"id":"bench-1","inputs":[{input}]}}"#)
        },
    );
    let dialect = if dtype.is_some() { Dialect::Oip } else { Dialect::Plain };
    Case { what, body, contract: Arc::new(contract(dtype.unwrap_or("FP32"), columns)), dialect }
}

fn contract(dtype: &str, columns: usize) -> Contract {
    let input = InputConfig {
        name: "x".to_owned(),
        dtype: tollgate_core::call::Dtype::from_name(dtype.as_bytes()),
        shape: Some(vec![DimConfig::Symbolic("batch".to_owned()), DimConfig::Fixed(columns as u64)]),
        range: Some([0.0, 16.0]),
        ..InputConfig::default()
    };
    let mut check = Checker::default();
    let contract = ContractConfig { inputs: vec![input], ..ContractConfig::default() }.compile(&mut check, None);
    assert!(check.is_clean(), "{:?}", check.finish().0);
    contract
}

fn numbers(count: u64, number: impl Fn(u64) -> String) -> Vec<String> {
    (0..count).map(number).collect()
}

/// Well-mixed bits, the same in every run.
const fn mixed(i: u64) -> u64 {
    let x = i.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (x ^ (x >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 3
}
