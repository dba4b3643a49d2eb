//! `waf.log`: one line of JSON for every exchange, with the rules that matched, written at once.
//!
//! It does not go through the recorder, which gathers lines and drops them when the disk is behind: whoever asks for this
//! log wants each line, and wants it now. So the worker that serves waits for the disk; the section says so.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use tollgate_layers::waf::WafLogConfig;

use super::Redactor;
use crate::exchange::Exchange;

/// The open log.
#[derive(Debug)]
pub struct WafLog {
    file: File,
    id_header: Option<String>,
    data: bool,
}

impl WafLog {
    /// Opens the file to append to it.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(config: &WafLogConfig, base: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(base.join(&config.path))?;
        Ok(Self { file, id_header: config.request_id_header.clone(), data: config.data })
    }

    /// The header that names a request.
    #[must_use]
    pub fn id_header(&self) -> Option<&str> {
        self.id_header.as_deref()
    }

    /// Writes the line of an exchange whose last phase has run.
    pub fn write(&self, exchange: &Exchange, redactor: &Redactor) {
        let id = match (&self.id_header, &exchange.seen.request_id) {
            (Some(_), id) => id.as_deref().map(lossless),
            (None, _) => Some(exchange.facts.id.to_string()),
        };
        let line = self.line(exchange, id.as_deref());
        // One call, one line, whichever worker writes it. A full disk loses lines and never requests.
        drop((&self.file).write_all(redactor.clean(&line).as_bytes()));
    }

    fn line(&self, exchange: &Exchange, id: Option<&str>) -> String {
        let mut rule_ids: Vec<u64> = exchange.waf.logged().map(|matched| matched.id).collect();
        rule_ids.dedup();
        let mut line = format!(
            "{{\"request_id\":{},\"rule_ids\":{},\"status\":{}",
            serde_json::json!(id),
            serde_json::json!(rule_ids),
            exchange.seen.status
        );
        if self.data {
            let messages = exchange.waf.logged().map(|matched| {
                serde_json::json!({
                    "id": matched.id,
                    "msg": lossless(&matched.msg),
                    "data": lossless(&matched.data),
                })
            });
            // Writing to a string cannot fail.
            let _ = write!(line, ",\"messages\":{}", serde_json::Value::from_iter(messages));
        }
        line.push_str("}\n");
        line
    }
}

/// Text, in which bytes that are not UTF-8 stand as `\xHH`.
fn lossless(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::lossless;

    #[test]
    fn bytes_that_are_no_text_stay_readable() {
        assert_eq!(lossless(b"a\xffb\xc3\xa9"), "a\\xFFb\u{e9}");
    }
}
