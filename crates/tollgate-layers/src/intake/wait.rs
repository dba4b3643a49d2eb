//! How long a caller means to wait for an answer over plain HTTP: `X-Request-Timeout`, in seconds. It can only lower what
//! the route allows. Over gRPC, `grpc-timeout` says the same (`rpc.rs`).

use std::time::Duration;

use http::HeaderMap;
use tollgate_core::ruling::{Code, Refusal, Ruling, Stop};

/// The wait of a head, if it names one: digits, and perhaps a dot and up to three more.
pub(super) fn timeout(headers: &HeaderMap) -> Ruling<Option<Duration>> {
    let mut values = headers.get_all("x-request-timeout").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    match text.and_then(seconds) {
        Some(wait) => Ok(Some(wait)),
        None => Err(Stop::from(Refusal::new(Code::BadRequest).because("`X-Request-Timeout` is no number of seconds"))),
    }
}

fn seconds(text: &str) -> Option<Duration> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole, 9) || !digits(part, 3) {
        return None;
    }
    let millis: u64 = format!("{part:0<3}").parse().ok()?;
    Some(Duration::from_secs(whole.parse().ok()?) + Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Ruling<Option<Duration>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-request-timeout", value.parse().expect("a value"));
        }
        timeout(&headers)
    }

    #[test]
    fn a_wait_is_seconds_and_perhaps_a_part_of_one() {
        for (text, millis) in [("2", 2_000), ("0", 0), ("0.5", 500), ("1.25", 1_250), ("3.007", 3_007)] {
            assert_eq!(read(&[text]).expect("a wait"), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(read(&[]).expect("none"), None);
    }

    #[test]
    fn what_is_no_number_of_seconds_is_refused() {
        for text in ["", "2s", "-1", "+1", "1e3", ".5", "1.", "1.2345", "9999999999", " 1", "1,5", "inf"] {
            assert!(read(&[text]).is_err(), "{text}");
        }
        assert!(read(&["1", "1"]).is_err());
    }
}
