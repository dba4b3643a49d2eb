//! One fetch of a key set: where it is, what came, and how long that is good for.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CACHE_CONTROL;
use tollgate_layers::auth::LARGEST_SET;

use super::{Plan, Source, discover};

/// Bounds of the time between two fetches, whatever an issuer says.
const SHORTEST: Duration = Duration::from_mins(5);
const LONGEST: Duration = Duration::from_hours(24);

/// The key set of an issuer, and when to fetch it again.
pub(super) async fn keys(plan: &Plan) -> Result<(Bytes, Duration), String> {
    let found;
    let url = match &plan.source {
        Source::Address(url) => url,
        Source::Discovered(issuer) => {
            found = discover::metadata(&plan.egress, issuer).await?;
            plan.egress.may_follow(&found.jwks_uri, issuer)?;
            &found.jwks_uri
        }
    };
    let answer = plan.egress.get(url, LARGEST_SET).await.map_err(|why| format!("its keys are not to be had: {why}"))?;
    Ok((answer.body, lifetime(&answer.headers)))
}

/// What `Cache-Control` says, within bounds.
fn lifetime(headers: &HeaderMap) -> Duration {
    let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
    let mut words = fields.flat_map(|field| field.split(',')).map(str::trim);
    let age = words.find_map(|word| word.to_ascii_lowercase().strip_prefix("max-age=")?.parse::<u64>().ok());
    Duration::from_secs(age.unwrap_or_default()).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_issuer_says_is_kept_within_bounds() {
        for (said, seconds) in [
            (None, 300),
            (Some("no-store"), 300),
            (Some("public, max-age=3600"), 3600),
            (Some("Max-Age=7200"), 7200),
            (Some("max-age=0"), 300),
            (Some("max-age=99999999"), 86_400),
            (Some("max-age=x"), 300),
            (Some("max-age=99999999999999999999999"), 300),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(said.map(|said| (CACHE_CONTROL, said.parse().expect("a value"))));
            assert_eq!(lifetime(&headers).as_secs(), seconds, "{said:?}");
        }
    }
}
