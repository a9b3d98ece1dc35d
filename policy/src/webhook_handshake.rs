//! The handshake by which a sender of events asks whether it may send them here (CloudEvents, HTTP 1.1 Web Hooks,
//! section 4): `OPTIONS` with `WebHook-Request-Origin`. Nothing is sent to an address that the request names
//! (`WebHook-Request-Callback`): whoever asks would choose where the gateway calls.

use crate::head::RequestHead;

/// Who may send events, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// In lower case; `None` for everybody.
    origins: Option<Vec<String>>,
    /// Events a minute; `None` for as many as the sender likes.
    rate: Option<u32>,
}

/// The header fields of a permission, beside `Allow`.
pub type Fields = Vec<(&'static str, String)>;

/// The sender that asks, if the request is a handshake. A CORS preflight, which has `Access-Control-Request-Method`, is
/// none.
pub fn origin(head: &RequestHead) -> Option<&str> {
    if head.method() != b"OPTIONS" || head.all("access-control-request-method").next().is_some() {
        return None;
    }
    let origin = std::str::from_utf8(head.single("webhook-request-origin").ok()??).ok()?;
    is_origin(origin).then_some(origin)
}

/// Whether it is what senders call themselves: the name of a host, such as `eventemitter.example.com`.
fn is_origin(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

impl Handshake {
    /// Permits these senders, or all with `*` alone, this many events a minute.
    ///
    /// # Errors
    /// The sender that will not do.
    pub fn new(origins: &[String], rate: Option<u32>) -> Result<Self, String> {
        if origins == ["*"] {
            return Ok(Self { origins: None, rate });
        }
        match origins.iter().find(|origin| !is_origin(origin)) {
            Some(wrong) => Err(wrong.clone()),
            None => {
                Ok(Self { origins: Some(origins.iter().map(|o| o.to_ascii_lowercase()).collect()), rate })
            }
        }
    }

    /// The permission for a handshake; `None` if the sender has none, or asks for a rate that is no number.
    pub fn permit(&self, head: &RequestHead) -> Option<Fields> {
        let origin = origin(head)?;
        let known = |known: &Vec<String>| known.iter().any(|known| origin.eq_ignore_ascii_case(known));
        if !self.origins.as_ref().is_none_or(known) {
            return None;
        }
        let asked = match head.single("webhook-request-rate").ok()? {
            None | Some(b"*") => None,
            Some(digits) if digits.first() != Some(&b'0') && digits.iter().all(u8::is_ascii_digit) => {
                Some(std::str::from_utf8(digits).ok()?.parse::<u32>().ok()?)
            }
            Some(_) => return None,
        };
        let rate = [self.rate, asked].into_iter().flatten().min();
        Some(vec![
            ("webhook-allowed-origin", origin.to_owned()),
            ("webhook-allowed-rate", rate.map_or_else(|| "*".to_owned(), |rate| rate.to_string())),
        ])
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn head(fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::default();
        head.push(b":method", b"OPTIONS");
        fields.iter().for_each(|(name, value)| head.push(name.as_bytes(), value.as_bytes()));
        head
    }

    fn permitted(handshake: &Handshake, fields: &[(&str, &str)]) -> Option<(String, String)> {
        let mut fields = handshake.permit(&head(fields))?.into_iter();
        let (origin, rate) = (fields.next().unwrap(), fields.next().unwrap());
        assert_eq!((origin.0, rate.0), ("webhook-allowed-origin", "webhook-allowed-rate"));
        Some((origin.1, rate.1))
    }

    const ORIGIN: (&str, &str) = ("WebHook-Request-Origin", "EventEmitter.example.com");

    #[test]
    fn a_sender_that_is_known_is_permitted_no_more_than_it_asks_for() {
        let origins = ["eventemitter.example.com".to_owned()];
        for (rate, asked, wanted) in [
            (None, None, "*"),
            (None, Some("*"), "*"),
            (None, Some("120"), "120"),
            (Some(60), None, "60"),
            (Some(60), Some("*"), "60"),
            (Some(60), Some("120"), "60"),
            (Some(60), Some("10"), "10"),
        ] {
            let handshake = Handshake::new(&origins, rate).unwrap();
            let asked = asked.map(|asked| ("webhook-request-rate", asked));
            let fields: Vec<_> = [Some(ORIGIN), asked].into_iter().flatten().collect();
            let wanted = Some((ORIGIN.1.to_owned(), wanted.to_owned()));
            assert_eq!(permitted(&handshake, &fields), wanted, "{rate:?} {asked:?}");
        }
        let all = Handshake::new(&["*".to_owned()], None).unwrap();
        assert!(permitted(&all, &[("webhook-request-origin", "other.example.com")]).is_some());
    }

    #[test]
    fn anything_else_is_not_permitted() {
        let handshake = Handshake::new(&["eventemitter.example.com".to_owned()], None).unwrap();
        for fields in [
            &[][..],
            &[("webhook-request-origin", "other.example.com")],
            &[("webhook-request-origin", "*")],
            &[("webhook-request-origin", "")],
            &[("webhook-request-origin", "https://eventemitter.example.com")],
            &[("origin", "eventemitter.example.com")],
            &[ORIGIN, ORIGIN],
            &[ORIGIN, ("access-control-request-method", "POST")],
            &[ORIGIN, ("webhook-request-rate", "0")],
            &[ORIGIN, ("webhook-request-rate", "")],
            &[ORIGIN, ("webhook-request-rate", "many")],
            &[ORIGIN, ("webhook-request-rate", "99999999999")],
            &[ORIGIN, ("webhook-request-rate", "1"), ("webhook-request-rate", "2")],
        ] {
            assert_eq!(permitted(&handshake, fields), None, "{fields:?}");
        }
        let mut post = RequestHead::default();
        post.push(b":method", b"POST");
        post.push(b"webhook-request-origin", b"eventemitter.example.com");
        assert_eq!(handshake.permit(&post), None);
        for wrong in ["", "a b", "https://a", "*.example.com", "*"] {
            assert!(Handshake::new(&[wrong.to_owned(), "b".to_owned()], None).is_err(), "{wrong}");
        }
    }
}
