//! The few lines that matter of a page of metrics in Prometheus's text format (version 0.0.4): of vLLM, SGLang, TensorRT-LLM
//! and Triton. One pass, linear in the page, whatever it holds; what cannot be read is as if it were not there.

/// What a server says of its load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Requests that wait inside, of all models together.
    pub waiting: Option<f64>,
    /// The fullest cache, from 0 to 1.
    pub used: Option<f64>,
}

/// The most lines of a page that are looked at.
const MOST_LINES: usize = 100_000;

#[derive(Clone, Copy)]
enum Sense {
    Used,
    Waiting,
}

/// A name, the label that must be there, and what it says.
type Name = (&'static str, Option<(&'static str, &'static str)>, Sense);

/// What is read. GPU utilisation is not among them: it is 100 % with one request.
const NAMES: [Name; 8] = [
    ("nv_trt_llm_request_metrics", Some(("request_type", "waiting")), Sense::Waiting),
    ("sglang:num_queue_reqs", None, Sense::Waiting),
    ("sglang:token_usage", None, Sense::Used),
    ("trtllm_kv_cache_utilization", None, Sense::Used),
    ("trtllm_num_requests_waiting", None, Sense::Waiting),
    ("vllm:gpu_cache_usage_perc", None, Sense::Used),
    ("vllm:kv_cache_usage_perc", None, Sense::Used),
    ("vllm:num_requests_waiting", None, Sense::Waiting),
];

/// Reads a page.
#[must_use]
pub fn read(page: &[u8]) -> Load {
    let mut load = Load::default();
    for line in page.split(|byte| *byte == b'\n').take(MOST_LINES) {
        let Some((sense, value)) = sample(line) else { continue };
        match sense {
            Sense::Used => load.used = Some(load.used.unwrap_or(0.0).max(value)),
            Sense::Waiting => load.waiting = Some(load.waiting.unwrap_or(0.0) + value),
        }
    }
    load
}

/// What a line says, if it is one of those that matter.
fn sample(line: &[u8]) -> Option<(Sense, f64)> {
    let line = std::str::from_utf8(line).ok()?.trim();
    let end = line.find(|character: char| character == '{' || character.is_ascii_whitespace())?;
    let (name, rest) = line.split_at_checked(end)?;
    let (_, wanted, sense) = NAMES.iter().find(|(known, ..)| *known == name)?;
    let (is_there, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest, *wanted)?,
        None => (wanted.is_none(), rest),
    };
    let value: f64 = rest.split_ascii_whitespace().next()?.parse().ok()?;
    // NaN and infinities are no load; neither is less than nothing.
    (is_there && value.is_finite() && value >= 0.0).then_some((*sense, value))
}

/// Whether the wanted label is among them, and what comes after their brace.
fn labels<'a>(text: &'a str, wanted: Option<(&str, &str)>) -> Option<(bool, &'a str)> {
    let (mut rest, mut is_there) = (text.trim_start(), wanted.is_none());
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((is_there, after));
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        is_there |= wanted.is_some_and(|(label, expected)| name.trim() == label && value == expected);
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
}

/// What stands before the closing quote, and what after. A value with escapes is given as it is written: none that is wanted
/// has any.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some((text.get(..at)?, text.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn load(waiting: Option<f64>, used: Option<f64>) -> Load {
        Load { waiting, used }
    }

    #[test]
    fn each_server_is_understood() {
        let vllm = "# HELP vllm:num_requests_waiting Number of requests waiting.\n# TYPE vllm:num_requests_waiting gauge\n\
                    vllm:num_requests_waiting{engine=\"0\",model_name=\"llama\"} 3.0\n\
                    vllm:num_requests_waiting{engine=\"1\",model_name=\"llama\"} 4.0\n\
                    vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"llama\"} 0.25\n\
                    vllm:num_requests_running{engine=\"0\",model_name=\"llama\"} 99\n";
        assert_eq!(read(vllm.as_bytes()), load(Some(7.0), Some(0.25)));
        assert_eq!(read(b"vllm:gpu_cache_usage_perc{model_name=\"a\"} 9.5e-01\r\n"), load(None, Some(0.95)));
        let sglang = "sglang:num_queue_reqs{model_name=\"m\"} 0.0\nsglang:token_usage{model_name=\"m\"} 0.5\n";
        assert_eq!(read(sglang.as_bytes()), load(Some(0.0), Some(0.5)));
        let trtllm = "trtllm_num_requests_waiting 2\ntrtllm_kv_cache_utilization{engine_type=\"x\"} 1 1700000000000\n";
        assert_eq!(read(trtllm.as_bytes()), load(Some(2.0), Some(1.0)));
        let triton = "nv_trt_llm_request_metrics{model=\"t\",request_type=\"active\",version=\"1\"} 7\n\
                      nv_trt_llm_request_metrics{model=\"t\",request_type=\"waiting\",version=\"1\"} 5\n";
        assert_eq!(read(triton.as_bytes()), load(Some(5.0), None));
    }

    #[test]
    fn what_is_no_number_or_no_sample_says_nothing() {
        for line in [
            "",
            "vllm:num_requests_waiting",
            "vllm:num_requests_waiting ",
            "vllm:num_requests_waiting NaN",
            "vllm:num_requests_waiting +Inf",
            "vllm:num_requests_waiting -1",
            "vllm:num_requests_waiting{ 3",
            "vllm:num_requests_waiting{a=\"} 3",
            "vllm:num_requests_waiting{a=3} 3",
            "vllm:num_requests_waiting_total 3",
            "# vllm:num_requests_waiting 3",
            "nv_trt_llm_request_metrics 3",
            "nv_trt_llm_request_metrics{other=\"request_type=\\\"waiting\\\"\"} 3",
        ] {
            assert_eq!(read(line.as_bytes()), Load::default(), "{line}");
        }
        assert_eq!(read(b"vllm:num_requests_waiting{a=\"x\\\"} 9\",} 3"), load(Some(3.0), None));
        assert_eq!(read(b"\xff\xfe\nvllm:num_requests_waiting 3"), load(Some(3.0), None));
    }

    proptest! {
        #[test]
        fn no_page_panics_and_loads_are_never_less_than_nothing(page in prop::collection::vec(any::<u8>(), 0..2000)) {
            let Load { waiting, used } = read(&page);
            prop_assert!(waiting.is_none_or(|waiting| waiting >= 0.0) && used.is_none_or(|used| used >= 0.0));
        }

        #[test]
        fn lines_that_nearly_matter_do_not_panic(
            name in prop::sample::select(NAMES.map(|(name, ..)| name).to_vec()),
            rest in "[{}\"\\\\=, a-z0-9.eE+-]{0,60}",
        ) {
            let Load { waiting, used } = read(format!("{name}{rest}").as_bytes());
            prop_assert!(waiting.or(used).is_none_or(|value| value >= 0.0 && value.is_finite()));
        }

        #[test]
        fn a_sample_is_read_whatever_its_labels(
            labels in prop::collection::vec(("[a-z_]{1,8}", "[ -!#-\\[\\]-~]{0,20}"), 0..6), value in 0.0..1e9_f64,
        ) {
            let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            let line = format!("vllm:num_requests_waiting{{{}}} {value}", labels.join(","));
            prop_assert_eq!(read(line.as_bytes()), load(Some(value), None));
        }
    }
}
