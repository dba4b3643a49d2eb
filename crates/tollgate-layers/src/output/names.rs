//! Names of header fields that do not leave, and lists of names from the configuration.

use http::header::HeaderName;

/// Fields of one connection, which no proxy passes on (RFC 9110, 7.6.1), and the framing, which is our own.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "keep-alive",
    "proxy-authentication-info",
    "proxy-connection",
];

/// Fields that tell what stands behind the gateway, lead around it, or act on the browser in its name.
const INTERNAL: [&str; 27] = [
    "alt-svc",
    "authorization",
    "content-location",
    "location",
    "refresh",
    "server",
    "set-cookie",
    "via",
    "www-authenticate",
    "clear-site-data",
    "nel",
    "ratelimit",
    "ratelimit-policy",
    "report-to",
    "reporting-endpoints",
    "server-timing",
    "service-worker-allowed",
    "sourcemap",
    "timing-allow-origin",
    "x-api-key",
    "x-backend-server",
    "x-generator",
    "x-real-ip",
    "x-runtime",
    "x-served-by",
    "x-server",
    "x-sourcemap",
];

/// Beginnings of such names: those of proxies, clouds, tracers and frameworks. `access-control-` and `cross-origin-` are
/// what the server would let pages of other origins do, as if they asked it; `ce-` is CloudEvents, which MLServer sends; `x-ratelimit-` would be the server's limits, not ours.
const INTERNAL_STARTS: [&str; 23] = [
    "access-control-",
    "ce-",
    "cf-",
    "cross-origin-",
    "x-accel-",
    "x-amz",
    "x-aspnet",
    "x-azure-",
    "x-b3-",
    "x-cache",
    "x-debug",
    "x-envoy-",
    "x-forwarded",
    "x-goog-",
    "x-istio-",
    "x-kong-",
    "x-ms-",
    "x-nginx-",
    "x-powered-by",
    "x-ratelimit-",
    "x-tollgate-",
    "x-upstream",
    "x-varnish",
];

/// Names, and beginnings of names.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    whole: Vec<HeaderName>,
    starts: Vec<Box<str>>,
}

impl Names {
    /// Adds a name, or with `*` at its end everything that begins so.
    ///
    /// # Errors
    /// Why `text` is neither.
    pub(super) fn add(&mut self, text: &str) -> Result<(), String> {
        let (stem, is_start) = text.strip_suffix('*').map_or((text, false), |stem| (stem, true));
        // A `*` is legal in a name; here it can only be a misplaced wildcard.
        let name = HeaderName::from_bytes(stem.as_bytes()).ok().filter(|_| !stem.contains('*'));
        let Some(name) = name else {
            return Err(format!("`{text}` is not a field name, nor the beginning of one with `*`"));
        };
        if is_start {
            self.starts.push(name.as_str().into());
        } else {
            self.whole.push(name);
        }
        Ok(())
    }

    /// Whether `name` is among them.
    pub(super) fn has(&self, name: &HeaderName) -> bool {
        self.whole.contains(name) || self.starts.iter().any(|start| name.as_str().starts_with(&**start))
    }
}

/// Whether `name` belongs to one connection.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(&name.as_str())
}

/// Whether `name` stays inside.
pub(super) fn is_internal(name: &HeaderName) -> bool {
    INTERNAL.contains(&name.as_str()) || INTERNAL_STARTS.iter().any(|start| name.as_str().starts_with(start))
}
