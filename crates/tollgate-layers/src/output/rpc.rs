//! How an answer of gRPC ends: whether the model server's own status is passed on, and what of its trailers leaves.

use http::{HeaderMap, HeaderName};
use tollgate_core::ruling::{Code, Fault, Origin, Refusal, Ruling};

use super::{Output, UpstreamErrors};

/// The field that every answer ends with.
pub const STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// The text beside it, percent-encoded.
pub const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

impl Output {
    /// Whether an answer that ends with these trailers is passed on. If it is not, the stop is answered in their place,
    /// as with an HTTP status: what the caller did wrong keeps its class, without the server's text; the rest failed.
    ///
    /// # Errors
    /// What is answered instead.
    pub fn rpc_verdict(&self, trailers: &HeaderMap) -> Ruling<()> {
        let Some(status) = status_of(trailers) else {
            return Err(Fault::new(Origin::Upstream, "the answer ended without a `grpc-status`").into());
        };
        let why = format_args!("the model server answered with grpc-status {status}");
        let code = match status {
            0 => return Ok(()),
            4 => return Err(Fault::new(Origin::UpstreamLate, why).into()),
            // INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION, OUT_OF_RANGE.
            3 | 5 | 9 | 11 if self.errors == UpstreamErrors::Relay4xx => return Ok(()),
            3 | 9 | 11 => Code::InvalidCall,
            5 | 12 => Code::NotFound,
            8 => Code::Overloaded,
            // 7 and 16 are about our own credential for the model server, never about the caller's.
            _ => return Err(Fault::new(Origin::Upstream, why).into()),
        };
        Err(Refusal::new(code).because(why).into())
    }

    /// Whether what a model server says of its failures stays inside.
    #[must_use]
    pub fn hides_errors(&self) -> bool {
        self.errors == UpstreamErrors::Hide
    }

    /// Leaves of trailers that are passed on what says how it ended, and what the configuration names.
    pub fn clean_end(&self, trailers: &mut HeaderMap) {
        self.clean_trailers(trailers);
        let stays = |name: &HeaderName| *name == STATUS || *name == MESSAGE || self.trailers.has(name);
        let falling: Vec<HeaderName> = trailers.keys().filter(|name| !stays(name)).cloned().collect();
        for name in falling {
            trailers.remove(name);
        }
    }
}

/// The number that an answer ended with.
#[must_use]
pub fn status_of(trailers: &HeaderMap) -> Option<u8> {
    let mut values = trailers.get_all(STATUS).iter();
    let text = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use tollgate_core::check::Checker;

    use super::*;
    use crate::output::OutputConfig;

    fn ends(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn output(yaml: &str) -> Output {
        let config: OutputConfig = serde_saphyr::from_str(yaml).expect("it parses");
        let mut check = Checker::default();
        let output = config.compile(&mut check);
        assert!(check.is_clean(), "{:?}", check.finish());
        output
    }

    #[test]
    fn a_status_is_passed_kept_in_class_or_a_failure() {
        let (hide, relay) = (output("errors: hide"), output("errors: relay_4xx"));
        let answer = |output: &Output, fields: &[_]| {
            output.rpc_verdict(&ends(fields)).err().map(|stop| stop.denial().code.name())
        };
        for (status, hidden, relayed) in [
            ("0", None, None),
            ("3", Some("invalid_call"), None),
            ("4", Some("upstream_late"), Some("upstream_late")),
            ("5", Some("not_found"), None),
            ("7", Some("upstream_failed"), Some("upstream_failed")),
            ("8", Some("overloaded"), Some("overloaded")),
            ("12", Some("not_found"), Some("not_found")),
            ("13", Some("upstream_failed"), Some("upstream_failed")),
            ("16", Some("upstream_failed"), Some("upstream_failed")),
            ("99", Some("upstream_failed"), Some("upstream_failed")),
            ("+0", Some("upstream_failed"), Some("upstream_failed")),
            ("000", Some("upstream_failed"), Some("upstream_failed")),
            ("", Some("upstream_failed"), Some("upstream_failed")),
        ] {
            let fields = [("grpc-status", status), ("grpc-message", "their%20text")];
            assert_eq!((answer(&hide, &fields), answer(&relay, &fields)), (hidden, relayed), "{status}");
        }
        assert_eq!(answer(&hide, &[]), Some("upstream_failed"), "no status is no success");
        assert_eq!(answer(&hide, &[("grpc-status", "0"), ("grpc-status", "0")]), Some("upstream_failed"));
    }

    #[test]
    fn of_trailers_only_what_is_named_leaves() {
        let mut trailers = ends(&[
            ("grpc-status", "0"),
            ("grpc-message", "fine"),
            ("grpc-status-details-bin", "x"),
            ("x-pod", "node-7"),
            ("x-cost", "5"),
            ("server", "triton"),
        ]);
        output("trailers: [\"x-cost\"]").clean_end(&mut trailers);
        let mut left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-message", "grpc-status", "x-cost"]);
    }
}
