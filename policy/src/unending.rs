//! Requests whose body need not end before their upstream is heard: nothing can wait for all of it.

use wicketgate_envelope::media_type::essence;

use crate::head::RequestHead;

/// Why a request has no end to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unending {
    /// It asks for another protocol on its connection, such as WebSocket (RFC 9110, section 7.8). Over HTTP/2 (RFC 8441)
    /// it looks the same, because Envoy makes it so.
    Upgrade,
    /// It asks for a tunnel.
    Connect,
    /// It is a gRPC call, which may be a stream in both directions.
    Grpc,
}

impl Unending {
    /// Told by the head. `h2c` is no offer that anybody takes up here: RFC 9113 has done away with it.
    pub(crate) fn of(head: &RequestHead) -> Option<Self> {
        let has = |name: &str, wanted: &dyn Fn(&[u8]) -> bool| {
            head.all(name)
                .flat_map(|value| value.split(|byte| *byte == b','))
                .map(<[u8]>::trim_ascii)
                .any(wanted)
        };
        if head.method() == b"CONNECT" {
            Some(Self::Connect)
        } else if has("connection", &|token| token.eq_ignore_ascii_case(b"upgrade"))
            && has("upgrade", &|offer| !offer.is_empty() && !offer.eq_ignore_ascii_case(b"h2c"))
        {
            Some(Self::Upgrade)
        } else if head.all("content-type").any(is_grpc) {
            Some(Self::Grpc)
        } else {
            None
        }
    }

    /// As events have it in `wgstream`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Upgrade => "upgrade",
            Self::Connect => "connect",
            Self::Grpc => "grpc",
        }
    }
}

fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &str = "application/grpc";
    let essence = std::str::from_utf8(content_type).map(essence).unwrap_or_default();
    essence.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
        && matches!(essence.as_bytes().get(GRPC.len()), None | Some(b'+' | b'-'))
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn what_need_not_end_is_told_by_the_head() {
        let websocket = ("upgrade", "WebSocket");
        for (fields, wanted) in [
            (&[][..], None),
            (&[(":method", "CONNECT")], Some(Unending::Connect)),
            (&[("connection", "Upgrade"), websocket], Some(Unending::Upgrade)),
            (
                &[("connection", "keep-alive, upgrade"), ("upgrade", "h2c, websocket")],
                Some(Unending::Upgrade),
            ),
            (&[("connection", "keep-alive"), ("connection", "upgrade"), websocket], Some(Unending::Upgrade)),
            (&[websocket], None),
            (&[("connection", "upgrade")], None),
            (&[("connection", "upgrade, http2-settings"), ("upgrade", "h2c")], None),
            (&[("content-type", "application/grpc")], Some(Unending::Grpc)),
            (&[("content-type", "Application/gRPC+proto; x=y")], Some(Unending::Grpc)),
            (&[("content-type", "application/grpc-web+proto")], Some(Unending::Grpc)),
            (&[("content-type", "application/grpcx")], None),
        ] {
            let mut head = RequestHead::default();
            fields.iter().for_each(|(name, value)| head.push(name.as_bytes(), value.as_bytes()));
            assert_eq!(Unending::of(&head), wanted, "{fields:?}");
        }
    }
}
