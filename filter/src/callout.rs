//! Calls to kafka-bridge and to authorities, and their answers, as the host has them.

use wicketgate_envelope::hop::{BRIDGE_HEADER, RECORDS_CONTENT_TYPE, RECORDS_PATH};
use wicketgate_envelope::signature::SIGNATURE_HEADER;
use wicketgate_policy::callout::Response;
use wicketgate_policy::config::Bridge;
use wicketgate_policy::fetch::{self, Fetch};

use crate::environment::Environment;
use crate::host::{Buffer, Calls, HeaderMap, HttpCall, decode_pairs};

/// Sends records on behalf of the context that is being called back. Returns the host's number of the call, or `None`
/// if the host did not take it.
pub(crate) fn dispatch(
    environment: &Environment,
    bridge: &Bridge,
    request_id: Option<&str>,
    body: &[u8],
) -> Option<u32> {
    let mut headers = vec![
        (":method", "POST"),
        (":path", RECORDS_PATH),
        (":authority", bridge.authority.as_str()),
        ("content-type", RECORDS_CONTENT_TYPE),
    ];
    headers.extend(request_id.map(|id| ("x-request-id", id)));
    let key = bridge.signing_key.as_ref();
    let signature = key.map(|key| key.sign("POST", RECORDS_PATH, body, &mut environment.lend()));
    headers.extend(signature.as_deref().map(|signature| (SIGNATURE_HEADER, signature)));
    let call = HttpCall { upstream: &bridge.upstream, headers: &headers, body, timeout: bridge.timeout };
    environment.host.calls().dispatch(call)
}

/// Asks an authority, as [`dispatch`] does.
pub(crate) fn fetch(environment: &Environment, fetch: &Fetch) -> Option<u32> {
    let Fetch { upstream, method, authority, path, headers, body, timeout, .. } = fetch;
    let mut fields = vec![(":method", *method), (":path", path), (":authority", authority)];
    fields.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    environment.host.calls().dispatch(HttpCall { upstream, headers: &fields, body, timeout: *timeout })
}

/// An answer, copied from the host.
#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    /// Which release of kafka-bridge it is of, if it is kafka-bridge's.
    release: Option<String>,
    date: String,
    body: Vec<u8>,
}

impl Answer {
    pub(crate) fn as_response(&self) -> Response<'_> {
        Response {
            status: self.status,
            from_bridge: self.release.is_some(),
            release: self.release.as_deref().unwrap_or_default(),
            date: &self.date,
            body: &self.body,
        }
    }

    /// Whether kafka-bridge gave it.
    pub(crate) fn is_of_bridge(&self) -> bool {
        self.release.is_some()
    }

    /// Whether it is the proxy's own, for want of one in time.
    pub(crate) fn is_timeout(&self) -> bool {
        self.status == 504 && self.release.is_none()
    }

    pub(crate) fn as_fetched(&self) -> fetch::Response<'_> {
        fetch::Response { status: self.status, body: &self.body }
    }
}

/// Reads the answer that the host announces. `None` if it cannot be read. A call that got no answer, because its
/// connection broke or the answer was too large, is announced with no header at all (Envoy,
/// `Context::onHttpCallFailure`), and must not be read.
pub(crate) fn read_response(calls: &dyn Calls, body_size: usize) -> Option<Answer> {
    let map = calls.header_map(HeaderMap::CalloutResponse)?;
    let pairs = decode_pairs(&map)?;
    let value = |name: &str| {
        let found = pairs.iter().find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| *value)
    };
    let status = std::str::from_utf8(value(":status")?).ok()?.parse().ok()?;
    let text = |name: &str| value(name).map(|value| String::from_utf8_lossy(value).into_owned());
    let (release, date) = (text(BRIDGE_HEADER), text("date").unwrap_or_default());
    let body =
        if body_size == 0 { Vec::new() } else { calls.buffer(Buffer::CalloutResponseBody, body_size)? };
    Some(Answer { status, release, date, body })
}
