//! Where a token stands in a request (RFC 6750, section 2), and the challenge that asks for one (section 3).

use std::borrow::Cow;

use super::{Place, REALM, Rejected};
use crate::head::RequestHead;

/// A place for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) place: Place,
}

impl Default for Bearer {
    fn default() -> Self {
        Self { place: Place::Header("authorization".to_owned()) }
    }
}

impl Bearer {
    /// The token, if there is one. In `Authorization` it stands behind the scheme `Bearer`, in whatever case; another
    /// scheme is another method's.
    ///
    /// # Errors
    /// [`Rejected`] when the place is repeated or holds no token.
    pub(crate) fn read<'h>(&self, head: &'h RequestHead) -> Result<Option<Cow<'h, [u8]>>, Rejected> {
        let Some(value) = self.place.read(head)? else { return Ok(None) };
        let token = if self.place == Place::Header("authorization".to_owned()) {
            match after_scheme(&value) {
                Some(token) => Cow::Owned(token.to_vec()),
                None => return Ok(None),
            }
        } else {
            value
        };
        // The token68 of RFC 9110, section 11.2.
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
        if token.is_empty() || !token.iter().all(legal) {
            return Err(Rejected::Invalid("malformed"));
        }
        Ok(Some(token))
    }

    /// The challenge. A token that came and was rejected is told apart from none (RFC 6750, section 3.1).
    pub(super) fn challenge(rejected: bool) -> String {
        if rejected {
            format!("Bearer realm=\"{REALM}\", error=\"invalid_token\"")
        } else {
            format!("Bearer realm=\"{REALM}\"")
        }
    }
}

fn after_scheme(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer";
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    match rest.first() {
        None => Some(rest),
        Some(b' ') => Some(rest.trim_ascii()),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_token_stands_behind_its_scheme() {
        let malformed = Err(Rejected::Invalid("malformed"));
        for (values, wanted) in [
            (&[][..], Ok(None)),
            (&["Bearer a.b.c"], Ok(Some("a.b.c"))),
            (&["bEARER  a.b.c"], Ok(Some("a.b.c"))),
            (&["Basic YTpi"], Ok(None)),
            (&["Bearerx a"], Ok(None)),
            (&["Bearer"], malformed.clone()),
            (&["Bearer "], malformed.clone()),
            (&["Bearer a b"], malformed.clone()),
            (&["Bearer a,b"], malformed.clone()),
            (&["Bearer \u{e9}"], malformed),
            (&["Bearer a", "Bearer a"], Err(Rejected::Repeated("header authorization".to_owned()))),
            (&["Basic YTpi", "Bearer a"], Err(Rejected::Repeated("header authorization".to_owned()))),
        ] {
            let mut head = RequestHead::default();
            values.iter().for_each(|value| head.push(b"Authorization", value.as_bytes()));
            let got = Bearer::default().read(&head);
            let got = got.map(|token| token.map(|token| String::from_utf8(token.into_owned()).unwrap()));
            assert_eq!(got, wanted.map(|token| token.map(str::to_owned)), "{values:?}");
        }
    }
}
