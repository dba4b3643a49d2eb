//! Any bytes as the header of the PROXY protocol.

use tollgate_gateway::listen::proxy_protocol::{FIXED, Said, parse, rest_of};

/// A header that is taken is as long as it says, names canonical addresses, and means the same however often it is read.
pub(crate) fn run(data: &[u8]) {
    let Some((fixed, rest)) = data.split_first_chunk::<FIXED>() else { return };
    let Ok(length) = rest_of(fixed) else {
        assert!(parse(fixed, rest).is_err(), "what is refused at its beginning is refused");
        return;
    };
    assert!(length <= 36 + 4096, "what is read is bounded");
    let Some(rest) = rest.get(..length) else { return };
    let said = parse(fixed, rest);
    assert_eq!(parse(fixed, rest), said);
    if let Ok(Said::Proxied { from, to }) = said {
        assert_eq!((from.ip(), to.ip()), (from.ip().to_canonical(), to.ip().to_canonical()));
        assert!(rest.len() >= 12);
    }
}
