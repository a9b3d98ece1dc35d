//! The one place where callouts leave, and where their answers are read.

use std::time::Duration;

use wicketgate_envelope::hop::{BRIDGE_HEADER, RECORDS_CONTENT_TYPE, RECORDS_PATH, RecordWriter};
use wicketgate_policy::callout::{self, Outcome, Response};
use wicketgate_policy::config::Bridge;

use crate::host::{self, Buffer, HeaderMap};

/// Sends one record to kafka-bridge on behalf of the request that is being handled. Says whether the host took the
/// call; if not, it has said why in its own log.
pub(crate) fn dispatch(bridge: &Bridge, request_id: &str, record: &[u8]) -> bool {
    let mut call = RecordWriter::with_capacity(record.len());
    call.push(record);
    let headers = vec![
        (":method", "POST"),
        (":path", RECORDS_PATH),
        (":authority", bridge.authority.as_str()),
        ("content-type", RECORDS_CONTENT_TYPE),
        ("x-request-id", request_id),
    ];
    // The SDK keeps track of who called, so this call has to go through it; of the statuses that a host has for it, the
    // SDK takes all.
    proxy_wasm::hostcalls::dispatch_http_call(
        &bridge.upstream,
        headers,
        Some(&call.finish()),
        vec![],
        timeout(bridge),
    )
    .is_ok()
}

/// A timeout of 0 would mean none. The configuration does not allow it.
fn timeout(bridge: &Bridge) -> Duration {
    bridge.timeout.max(Duration::from_millis(1))
}

/// Reads the answer that the host announces, for a call of one record. A call that got none, because its connection
/// broke or its answer was too large, is announced with no header at all (Envoy, `Context::onHttpCallFailure`).
pub(crate) fn outcome(num_headers: usize, body_size: usize) -> Outcome {
    let response = if num_headers == 0 { None } else { read_response(body_size) };
    let response = response.as_ref().map(|(status, from_bridge, body)| Response {
        status: *status,
        from_bridge: *from_bridge,
        body,
    });
    callout::outcomes(response, 1).pop().unwrap_or(Outcome::Broken)
}

fn read_response(body_size: usize) -> Option<(u16, bool, Vec<u8>)> {
    let map = host::header_map(HeaderMap::CalloutResponse)?;
    let pairs = host::decode_pairs(&map)?;
    let value = |name: &str| {
        let found = pairs.iter().find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| *value)
    };
    let status = std::str::from_utf8(value(":status")?).ok()?.parse().ok()?;
    let from_bridge = value(BRIDGE_HEADER).is_some();
    let body =
        if body_size == 0 { Vec::new() } else { host::buffer(Buffer::CalloutResponseBody, body_size)? };
    Some((status, from_bridge, body))
}
