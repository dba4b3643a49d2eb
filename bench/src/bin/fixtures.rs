//! Writes what a proxy benchmark needs into a folder: a certificate, an API key with its key file and pepper, and bodies.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Context;
use clap::Parser;
use tollgate_core::secret::Secret;
use tollgate_layers::auth::{KeyFile, NewKey, PepperValue, Timestamp};

/// Bodies, by name and exact length.
const BODIES: [(&str, usize); 3] = [("100B", 100), ("12KB", 12_000), ("1MB", 1_000_000)];
/// The longest row of a tensor.
const ROW: usize = 1000;

/// Writes `cert.pem`, `key.pem`, `pepper`, `keys.yaml`, `api-key` and `body-100B.json`, `body-12KB.json`,
/// `body-1MB.json`.
#[derive(Debug, Parser)]
struct Args {
    /// The folder, which exists.
    #[arg(long)]
    dir: PathBuf,
    /// The name in the certificate.
    #[arg(long, default_value = "bench.test")]
    host: String,
    /// The tenant that the API key belongs to.
    #[arg(long, default_value = "bench")]
    tenant: String,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let write = |name: &str, text: &str| {
        // Half of them are secrets, and the gateway refuses secrets that others can read.
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(args.dir.join(name));
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.with_context(|| format!("`{name}` cannot be written"))
    };
    // ECDSA P-256, what rcgen makes without a wish.
    let certified = rcgen::generate_simple_self_signed([args.host.clone()])?;
    write("cert.pem", &certified.cert.pem())?;
    write("key.pem", &certified.signing_key.serialize_pem())?;
    let (pepper, keys, key) = api_key(&args.tenant)?;
    write("pepper", &pepper)?;
    write("keys.yaml", &keys)?;
    write("api-key", &key)?;
    for (name, bytes) in BODIES {
        write(&format!("body-{name}.json"), &body(bytes).context("a body is too short")?)?;
    }
    Ok(())
}

/// A pepper, a key file, and the one key in it.
fn api_key(tenant: &str) -> anyhow::Result<(String, String, String)> {
    let mut drawn = [0; 32];
    getrandom::fill(&mut drawn).context("no randomness")?;
    let pepper = drawn.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    });
    #[expect(clippy::disallowed_methods, reason = "a program of its own: there is no clock to ask")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let now = Timestamp::of_unix_ms(u64::try_from(now.as_millis())?);
    let secret = Secret::new(pepper.clone().into_bytes());
    let request = NewKey {
        env: "bench".into(),
        tenant: tenant.into(),
        days: Some(2),
        created_by: "cargo xtask bench".into(),
        ..NewKey::default()
    };
    let mut file = KeyFile::default();
    let mut random = |bytes: &mut [u8]| getrandom::fill(bytes).expect("it worked a moment ago");
    let issued = file.issue(request, PepperValue { id: "v1", value: &secret }, &mut random, now)?;
    Ok((pepper, file.to_yaml(), issued.reveal().to_owned()))
}

/// An inference request of exactly that length: FP32 rows, and an `id` where numbers would not fit exactly.
fn body(bytes: usize) -> Option<String> {
    // A number takes nine and a half characters.
    let wanted = bytes.checked_sub(wrap("", 1, 1, "").len() + 1)? * 2 / 19;
    let rows = wanted.div_ceil(ROW).max(1);
    let row = wanted / rows;
    let mut data = String::new();
    for place in 0..rows * row {
        let separator = if place == 0 { "" } else { "," };
        // From -9.99 to 9.99, none round.
        let value = (place * 7919 + 1237) % 9_999_991;
        write!(data, "{separator}{sign}{}.{:06}", value / 1_000_000, value % 1_000_000, sign = ["", "-"][place % 2])
            .ok()?;
    }
    let left = bytes.checked_sub(wrap("", rows, row, &data).len() + 1)?;
    let id = left.checked_sub(r#""id":"","#.len()).map(|length| format!(r#""id":"{}","#, "i".repeat(length.min(64))));
    let body = wrap(&id.unwrap_or_default(), rows, row, &data);
    // What an id may not fill is white space inside the document.
    Some(format!("{body}{:>width$}", "}", width = bytes.checked_sub(body.len())?))
}

/// All of a request but its last brace.
fn wrap(id: &str, rows: usize, row: usize, data: &str) -> String {
    format!(r#"{{{id}"inputs":[{{"name":"x","shape":[{rows},{row}],"datatype":"FP32","data":[{data}]}}]"#)
}

#[cfg(test)]
mod tests {
    use super::{BODIES, body};

    #[test]
    fn bodies_are_json_of_exactly_their_length_with_as_many_numbers_as_their_shape_says() {
        for (name, bytes) in BODIES {
            let text = body(bytes).expect(name);
            assert_eq!(text.len(), bytes, "{name}");
            let value: serde_json::Value = serde_json::from_str(&text).expect(name);
            let tensor = &value["inputs"][0];
            let shape = tensor["shape"].as_array().expect("a shape");
            let shape: Vec<u64> = shape.iter().filter_map(serde_json::Value::as_u64).collect();
            let numbers = tensor["data"].as_array().expect("numbers");
            assert_eq!(numbers.len() as u64, shape.iter().product::<u64>(), "{name}");
            assert!(numbers.iter().all(serde_json::Value::is_f64), "{name}");
            // Numbers, not padding, are what is validated.
            assert!(
                !numbers.is_empty() && (bytes < 1000 || numbers.len() * 10 > bytes),
                "{name}: {} numbers",
                numbers.len()
            );
        }
        assert!(body(20).is_none());
    }
}
