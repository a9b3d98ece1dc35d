//! OAuth 2.0 Token Introspection (RFC 7662): the question to an authorisation server, and its answer.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;
use wicketgate_envelope::timestamp::Timestamp;

use crate::claims::Claims;
use crate::json_pointer::{self, Pointer};

/// The largest answer that is read, in bytes.
pub const MAX_ANSWER_BYTES: usize = 16 << 10;

/// How the gateway shows the authorisation server who it is (RFC 7662, section 2.1).
#[derive(Clone)]
pub enum Client {
    /// `Authorization: Basic` (RFC 6749, section 2.3.1).
    Basic {
        /// The client's id.
        id: String,
        /// Its secret.
        secret: String,
    },
    /// `client_id` and `client_secret` in the body.
    Body {
        /// The client's id.
        id: String,
        /// Its secret.
        secret: String,
    },
    /// `Authorization: Bearer`.
    Bearer {
        /// A token of the gateway's own.
        token: String,
    },
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client(not shown)")
    }
}

/// The question.
pub struct Question {
    /// Header fields, in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Question(not shown)")
    }
}

impl Question {
    /// Asks about a token.
    pub fn about(token: &str, client: &Client) -> Self {
        let mut body = format!("token={}&token_type_hint=access_token", form(token));
        let mut headers = vec![
            ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
            ("accept".to_owned(), "application/json".to_owned()),
        ];
        match client {
            Client::Basic { id, secret } => {
                // Both are encoded before, so that a colon in the id is none between them.
                let credentials = STANDARD.encode(format!("{}:{}", form(id), form(secret)));
                headers.push(("authorization".to_owned(), format!("Basic {credentials}")));
            }
            Client::Body { id, secret } => {
                body.push_str(&format!("&client_id={}&client_secret={}", form(id), form(secret)));
            }
            Client::Bearer { token } => {
                headers.push(("authorization".to_owned(), format!("Bearer {token}")));
            }
        }
        Self { headers, body: body.into_bytes() }
    }
}

/// What `application/x-www-form-urlencoded` makes of a text (RFC 6749, appendix B).
fn form(text: &str) -> String {
    const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');
    utf8_percent_encode(text, &ENCODED).to_string().replace("%20", "+")
}

/// What an authorisation server says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is good.
    Active(Active),
    /// It is not.
    Inactive,
    /// That is not known: this is no answer.
    Failed,
}

/// What is known of a token that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// The answer as a whole.
    pub claims: Claims,
    /// `exp`, in seconds since 1970.
    pub expires: Option<u64>,
    /// `nbf`, in seconds since 1970.
    pub not_before: Option<u64>,
    /// `iss`.
    pub issuer: Option<String>,
    /// `aud`, one or several.
    pub audiences: Vec<String>,
    /// `sub`, or else `username`, or else `client_id`.
    pub subject: Option<String>,
}

impl Answer {
    /// Reads an answer. Only `"active": true` says that a token is good (RFC 7662, section 2.2); an object that says
    /// anything else says that it is not. Members that are repeated or have another type than the standard gives them
    /// make it no answer.
    pub fn read(status: u16, body: &[u8]) -> Self {
        if status != 200 || body.len() > MAX_ANSWER_BYTES {
            return Self::Failed;
        }
        let Ok(json) = serde_json::from_slice::<&RawValue>(body) else { return Self::Failed };
        if !json.get().starts_with('{') {
            return Self::Failed;
        }
        match member(json, "active").map(|active| active.map(RawValue::get)) {
            Ok(Some("true")) => Active::read(json).map_or(Self::Failed, Self::Active),
            Ok(_) => Self::Inactive,
            Err(Unreadable) => Self::Failed,
        }
    }
}

/// A member is repeated, or of another type.
struct Unreadable;

fn member<'j>(json: &'j RawValue, name: &str) -> Result<Option<&'j RawValue>, Unreadable> {
    let pointer = Pointer::parse(&format!("/{name}")).map_err(|_| Unreadable)?;
    json_pointer::find(json, &pointer).map_err(|_| Unreadable)
}

impl Active {
    fn read(json: &RawValue) -> Result<Self, Unreadable> {
        let text = |name: &str| match member(json, name)?.map(RawValue::get) {
            // Some servers say so of what they do not know.
            None | Some("null") => Ok(None),
            Some(text) => serde_json::from_str::<String>(text).map(Some).map_err(|_| Unreadable),
        };
        let seconds = |name: &str| match member(json, name)?.map(RawValue::get) {
            None | Some("null") => Ok(None),
            Some(number) => serde_json::from_str::<u64>(number).map(Some).map_err(|_| Unreadable),
        };
        let audiences = match member(json, "aud")?.map(RawValue::get) {
            None | Some("null") => Vec::new(),
            Some(list) if list.starts_with('[') => serde_json::from_str(list).map_err(|_| Unreadable)?,
            Some(text) => vec![serde_json::from_str(text).map_err(|_| Unreadable)?],
        };
        let (subject, username, client) = (text("sub")?, text("username")?, text("client_id")?);
        // Read by whoever asks for scopes, and checked here.
        text("scope")?;
        Ok(Self {
            expires: seconds("exp")?,
            not_before: seconds("nbf")?,
            issuer: text("iss")?,
            audiences,
            subject: subject.or(username).or(client),
            claims: Claims::new(json.to_owned()),
        })
    }

    /// Why the token will not do here and now; `None` if it will.
    pub fn refused(
        &self,
        issuer: Option<&str>,
        audiences: &[String],
        now: Timestamp,
    ) -> Option<&'static str> {
        let now = now.as_millis() / 1000;
        if self.expires.is_some_and(|expires| expires <= now) {
            Some("the token has expired")
        } else if self.not_before.is_some_and(|from| from > now) {
            Some("the token is not good yet")
        } else if issuer.is_some() && self.issuer.as_deref() != issuer {
            Some("the token is of another issuer")
        } else if !audiences.is_empty() && !self.audiences.iter().any(|audience| audiences.contains(audience))
        {
            Some("the token is for another audience")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// The request of RFC 7662, section 2.1, with the client of RFC 6749, section 2.3.1.
    #[test]
    fn a_question_has_the_token_in_its_body_and_the_client_where_it_is_wanted() {
        let (id, secret) = ("s6BhdRkqt3".to_owned(), "7Fjfp0ZBr1KtDRbnfVdmIw".to_owned());
        let asked = |client: &Client| {
            let Question { headers, body } = Question::about("mF_9.B5f-4.1JqM", client);
            let credentials = headers.into_iter().find(|(name, _)| name == "authorization");
            (credentials.map(|(_, value)| value), String::from_utf8(body).unwrap())
        };
        let body = "token=mF_9.B5f-4.1JqM&token_type_hint=access_token";
        assert_eq!(
            asked(&Client::Basic { id: id.clone(), secret: secret.clone() }),
            (Some("Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3".to_owned()), body.to_owned())
        );
        assert_eq!(
            asked(&Client::Body { id, secret }),
            (None, format!("{body}&client_id=s6BhdRkqt3&client_secret=7Fjfp0ZBr1KtDRbnfVdmIw"))
        );
        let client = Client::Bearer { token: "23410913-abewfq.123483".to_owned() };
        assert_eq!(asked(&client), (Some("Bearer 23410913-abewfq.123483".to_owned()), body.to_owned()));
    }

    #[test]
    fn nothing_of_a_token_or_a_secret_is_taken_for_another_parameter() {
        let client = Client::Body { id: "a b&c=d".to_owned(), secret: "ü%+".to_owned() };
        let Question { body, .. } = Question::about("x&active=true+~/=", &client);
        let wanted = "token=x%26active%3Dtrue%2B%7E%2F%3D&token_type_hint=access_token&client_id=a+b%26c%3Dd&\
                      client_secret=%C3%BC%25%2B";
        assert_eq!(String::from_utf8(body).unwrap(), wanted);
        let client = Client::Basic { id: "a:b".to_owned(), secret: "c:d".to_owned() };
        let Question { headers, .. } = Question::about("x", &client);
        assert!(
            headers
                .contains(&("authorization".to_owned(), format!("Basic {}", STANDARD.encode("a%3Ab:c%3Ad"))))
        );
        assert_eq!(format!("{client:?}"), "Client(not shown)");
    }

    #[test]
    fn only_the_literal_true_says_that_a_token_is_good() {
        for body in [
            r#"{"active": false}"#,
            r#"{"active": "true"}"#,
            r#"{"active": 1}"#,
            r#"{"active": null}"#,
            r#"{"active": [true]}"#,
            r#"{"active": {"active": true}}"#,
            r#"{"Active": true}"#,
            r#"{"result": {"active": true}}"#,
            "{}",
        ] {
            assert_eq!(Answer::read(200, body.as_bytes()), Answer::Inactive, "{body}");
        }
        for (status, body) in [
            (200, ""),
            (200, "true"),
            (200, "[]"),
            (200, r#"{"active": true"#),
            (200, r#"{"active": true} {"active": true}"#),
            (200, r#"{"active": false, "active": true}"#),
            (200, r#"{"active": true, "active": true}"#),
            (200, "{\"active\": true, \"\\u0061ctive\": false}"),
            (200, "<html>"),
            (204, ""),
            (201, r#"{"active": true}"#),
            (302, r#"{"active": true}"#),
            (401, r#"{"active": true}"#),
            (503, r#"{"active": true}"#),
        ] {
            assert_eq!(Answer::read(status, body.as_bytes()), Answer::Failed, "{status} {body}");
        }
        assert_eq!(Answer::read(200, b"{\"active\": true, \"x\": \"\xff\"}"), Answer::Failed);
        let long = format!(r#"{{"active": true, "x": "{}"}}"#, "x".repeat(MAX_ANSWER_BYTES));
        assert_eq!(Answer::read(200, long.as_bytes()), Answer::Failed);
    }

    fn active(members: &str) -> Option<Active> {
        match Answer::read(200, format!(r#"{{"active": true, {members}}}"#).as_bytes()) {
            Answer::Active(active) => Some(active),
            Answer::Failed => None,
            Answer::Inactive => panic!("{members}"),
        }
    }

    /// The response of RFC 7662, section 2.2.
    #[test]
    fn what_an_answer_says_of_a_token_is_taken_in() {
        let read = active(
            r#""client_id": "l238j323ds-23ij4", "username": "jdoe", "scope": "read write dolphin",
               "sub": "Z5O3upPC88QrAjx00dis", "aud": "https://protected.example.net/resource",
               "iss": "https://server.example.com/", "exp": 1419356238, "iat": 1419350238,
               "extension_field": "twenty-seven""#,
        )
        .unwrap();
        assert_eq!(read.subject.as_deref(), Some("Z5O3upPC88QrAjx00dis"));
        assert_eq!(read.audiences, ["https://protected.example.net/resource"]);
        assert_eq!((read.expires, read.not_before), (Some(1_419_356_238), None));
        assert_eq!(
            active(r#""username": "jdoe", "client_id": "c""#).unwrap().subject.as_deref(),
            Some("jdoe")
        );
        assert_eq!(active(r#""client_id": "c", "sub": null"#).unwrap().subject.as_deref(), Some("c"));
        assert_eq!(active(r#""aud": ["a", "b"]"#).unwrap().audiences, ["a", "b"]);
        for wrong in [
            r#""exp": "1419356238""#,
            r#""exp": 1419356238.5"#,
            r#""exp": -1"#,
            r#""exp": 1e30"#,
            r#""exp": 1, "exp": 99999999999"#,
            r#""nbf": true"#,
            r#""iss": ["a"]"#,
            r#""aud": 1"#,
            r#""aud": ["a", 1]"#,
            r#""aud": {"a": "b"}"#,
            r#""sub": 1"#,
            r#""sub": "a", "sub": "b""#,
            r#""username": {}"#,
            r#""scope": ["read"]"#,
            r#""scope": "read", "scope": "write""#,
        ] {
            assert_eq!(active(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_token_is_good_in_its_time_from_its_issuer_and_for_its_audience() {
        let now = Timestamp::from_millis(1_000_500);
        let audiences = ["here".to_owned(), "there".to_owned()];
        for (members, issuer, audiences, wanted) in [
            (r#""exp": 1001"#, None, &[][..], None),
            (r#""exp": 1000"#, None, &[], Some("the token has expired")),
            (r#""exp": 0"#, None, &[], Some("the token has expired")),
            (r#""nbf": 1000"#, None, &[], None),
            (r#""nbf": 1001"#, None, &[], Some("the token is not good yet")),
            (r#""iss": "a""#, Some("a"), &[], None),
            (r#""iss": "a""#, Some("a/"), &[], Some("the token is of another issuer")),
            (r#""x": 1"#, Some("a"), &[], Some("the token is of another issuer")),
            (r#""aud": "there""#, None, &audiences, None),
            (r#""aud": ["x", "here"]"#, None, &audiences, None),
            (r#""aud": ["x"]"#, None, &audiences, Some("the token is for another audience")),
            (r#""aud": []"#, None, &audiences, Some("the token is for another audience")),
            (r#""x": 1"#, None, &audiences, Some("the token is for another audience")),
        ] {
            assert_eq!(active(members).unwrap().refused(issuer, audiences, now), wanted, "{members}");
        }
    }
}
