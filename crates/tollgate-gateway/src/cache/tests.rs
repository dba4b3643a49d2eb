//! What the two sides say of keeping answers.

use http::header::HeaderValue;

use super::*;

fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
    let field =
        |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    list.iter().map(field).collect()
}

#[test]
fn the_client_may_want_no_kept_answer_or_none_to_be_kept() {
    let wish = |value: &'static str| Wish::of(&fields(&[("cache-control", value)]));
    assert_eq!(Wish::of(&HeaderMap::new()), Wish::Any);
    assert_eq!(wish("max-age=60"), Wish::Any);
    for fresh in ["no-cache", "No-Cache", "max-age=0", "max-stale=5, max-age = 0"] {
        assert_eq!(wish(fresh), Wish::Fresh, "{fresh}");
    }
    for never in ["no-store", "no-cache, NO-STORE", "max-age=60,no-store"] {
        assert_eq!(wish(never), Wish::NoStore, "{never}");
    }
    assert_eq!(Wish::of(&fields(&[("pragma", "no-cache")])), Wish::Fresh);
    let unreadable = HeaderValue::from_bytes(b"max-age=60\xff").expect("a value");
    assert_eq!(Wish::of(&HeaderMap::from_iter([(CACHE_CONTROL, unreadable)])), Wish::NoStore);
}

#[test]
fn the_server_may_forbid_it_or_shorten_it() {
    let of = |list: &[(&'static str, &'static str)]| may_keep(StatusCode::OK, &fields(list));
    assert_eq!(of(&[]), Some(Duration::MAX));
    assert_eq!(of(&[("cache-control", "public, max-age=30")]), Some(Duration::from_secs(30)));
    assert_eq!(of(&[("cache-control", "s-maxage=5, max-age=30")]), Some(Duration::from_secs(5)));
    for forbidden in ["no-store", "private", "no-cache", "Private=\"x\"", "max-age=0", "max-age=soon", "max-age=-1"] {
        assert_eq!(of(&[("cache-control", forbidden)]), None, "{forbidden}");
    }
    assert_eq!(of(&[("set-cookie", "a=b")]), None);
    assert_eq!(of(&[("vary", "accept, *")]), None);
    assert_eq!(of(&[("vary", "Accept, User-Agent")]), None, "what is passed over cannot be varied by");
    assert_eq!(of(&[("vary", "accept-encoding, accept")]), Some(Duration::MAX));
    assert_eq!(of(&[("content-type", "text/event-stream; charset=utf-8")]), None);
    for status in [201, 204, 206, 301, 400, 500] {
        let status = StatusCode::from_u16(status).expect("a status");
        assert_eq!(may_keep(status, &HeaderMap::new()), None, "{status}");
    }
}
