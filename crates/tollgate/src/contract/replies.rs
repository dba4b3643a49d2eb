//! What is proposed for the replies of a model: the outputs, or the schema of the answer, that its server tells.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};
use tollgate_core::backend::{Dim, Port};
use tollgate_core::call::Dtype;
use tollgate_layers::contract::{MAX_SYMBOLS, ReplyConfig};
use tollgate_layers::protocol::metadata::Ports;

use super::yaml::behind;

/// What a number and a comma take in JSON at most.
const LONGEST_NUMBER: u64 = 25;
/// The largest `max_bytes` of a contract.
const LARGEST: u64 = 256 << 20;
const MIB: u64 = 1 << 20;

/// Lines that hold replies to the outputs of the same contract, of calls of `rows` rows at most.
pub(super) fn of_outputs(ports: &Ports, rows: u64) -> String {
    let names: BTreeSet<_> = ports.inputs.iter().chain(&ports.outputs).flat_map(names_of).collect();
    if names.len() > MAX_SYMBOLS {
        return "      # No `reply`: inputs and outputs have more names of dimensions than a contract compares.\n"
            .to_owned();
    }
    let usual = ReplyConfig::default().max_bytes;
    let batch = ports.inputs.iter().flat_map(names_of).next();
    let needed = ports.outputs.iter().map(|port| longest(port, batch, rows)).sum::<Option<u64>>();
    let most = needed.map(|bytes| bytes.saturating_add(MIB).div_ceil(MIB).saturating_mul(MIB).clamp(usual, LARGEST));
    let (words, value) = match most {
        None => (format!("{} MiB (a guess)", usual / MIB), "{}".to_owned()),
        Some(most) if most == usual => (format!("{} MiB", usual / MIB), "{}".to_owned()),
        Some(most) => (format!("{} MiB", most / MIB), format!("{{ max_bytes: {most} }}")),
    };
    format!(
        "      # From the outputs that are told: others, another type or shape, numbers that are not finite, or more than\n\
         \x20     # {words} become a 502. A named dimension is as large as in the call.\n\
         \x20     reply: {value}\n"
    )
}

/// Writes the schema of an answer as a contract for replies.
pub(super) fn of_schema(out: &mut String, schema: &Value) {
    let most = ReplyConfig::default().max_bytes / MIB;
    let _ = write!(
        out,
        "      # From the only good answer that the document tells: other JSON, what is no JSON, or more than {most} MiB\n\
         \x20     # become a 502.\n\
         \x20     reply:"
    );
    behind(out, &json!({ "schema": schema }), 6);
}

/// Bytes of an output in JSON at most; `None` where a size is not known.
fn longest(port: &Port, batch: Option<&str>, rows: u64) -> Option<u64> {
    let size = |dim: &Dim| match dim {
        Dim::Fixed(size) => Some(*size),
        Dim::Symbolic(name) => (Some(&**name) == batch).then_some(rows),
    };
    let number = (port.dtype != Dtype::Bytes).then_some(LONGEST_NUMBER)?;
    port.dims.iter().try_fold(number, |bytes, dim| Some(bytes.saturating_mul(size(dim)?)))
}

fn names_of(port: &Port) -> impl Iterator<Item = &str> {
    port.dims.iter().filter_map(|dim| match dim {
        Dim::Fixed(_) => None,
        Dim::Symbolic(name) => Some(&**name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, dims: &[&str]) -> Port {
        let dim = |dim: &&str| dim.parse().map_or_else(|_| Dim::Symbolic((*dim).into()), Dim::Fixed);
        Port { name: name.into(), dtype: Dtype::Fp32, dims: dims.iter().map(dim).collect() }
    }

    fn proposed(outputs: Vec<Port>, rows: u64) -> String {
        of_outputs(&Ports { inputs: vec![port("x", &["batch", "4"])], outputs, ..Ports::default() }, rows)
    }

    #[test]
    fn a_reply_has_room_for_the_outputs_of_the_largest_batch() {
        assert!(
            proposed(vec![port("y", &["batch", "4"])], 16)
                .ends_with("8 MiB become a 502. A named dimension is as large as in the call.\n      reply: {}\n")
        );
        let large = proposed(vec![port("y", &["batch", "100000"]), port("z", &["batch"])], 10);
        assert!(large.contains("# 25 MiB become") && large.contains("reply: { max_bytes: 26214400 }"), "{large}");
        let endless = proposed(vec![port("y", &["9223372036854775807", "9223372036854775807"])], 10);
        assert!(endless.contains("reply: { max_bytes: 268435456 }"), "{endless}");
        let unknown = proposed(vec![port("y", &["batch", "y_1"])], 16);
        assert!(unknown.contains("8 MiB (a guess)") && unknown.contains("reply: {}"), "{unknown}");
    }

    #[test]
    fn more_names_than_a_contract_compares_are_left_alone() {
        let outputs = (0..MAX_SYMBOLS).map(|at| port("y", &[&format!("y_{at}")])).collect();
        assert!(!proposed(outputs, 1).contains("reply:"));
    }
}
