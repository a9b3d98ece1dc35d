//! What an Envoy makes of the head of a request before a filter sees it, as far as it is the same for every Envoy that
//! `wicketgate render` writes for. Found out by asking an Envoy 1.40; the end-to-end tests ask again.

/// Request headers that Envoy keeps in places of their own. It joins what is repeated with a comma (its `HeaderMap`; the
/// further ones are registered by its own code and extensions).
pub const JOINED: [&str; 30] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "access-control-request-private-network",
    "authentication",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-type",
    "expect",
    "grpc-accept-encoding",
    "grpc-timeout",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "proxy-status",
    "referer",
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-envoy-attempt-count",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
];

/// Request headers to which Envoy gives a value of its own, whatever the caller sent.
pub const REPLACED: [&str; 3] = ["x-envoy-external-address", "x-forwarded-proto", "x-request-id"];

/// Request headers that Envoy takes out.
pub const TAKEN_OUT: [&str; 17] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-internal",
    "x-envoy-ip-tags",
    "x-envoy-max-retries",
    "x-envoy-original-path",
    "x-envoy-original-url",
    "x-envoy-retry-on",
    "x-envoy-upstream-rq-timeout-ms",
    "x-forwarded-client-cert",
];

/// Methods that Envoy knows; it answers 400 to others.
pub const METHODS: [&str; 33] = [
    "ACL",
    "BIND",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "NOTIFY",
    "OPTIONS",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "PUT",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "TRACE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
];

/// The most header fields, the host among them.
pub const MAX_FIELDS: usize = 100;
/// The most bytes of header fields.
pub const MAX_FIELD_BYTES: usize = 60 * 1024;
