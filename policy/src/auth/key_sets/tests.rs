#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const KEYS: &[u8] = br#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos((1_000_000 + seconds) * 1_000_000_000)
}

/// Fresh for 600 s, and 3600 s more while the issuer does not answer.
fn source(discovery: bool) -> Source {
    let (authority, path) = ("idp.example".to_owned(), "/keys".to_owned());
    let location = if discovery {
        let path = "/.well-known/openid-configuration".to_owned();
        Location::Discovery { issuer: "https://idp.example".to_owned(), authority, path }
    } else {
        Location::KeySet { authority, path }
    };
    let seconds = Duration::from_secs;
    Source {
        upstream: "idp".to_owned(),
        location,
        refresh: seconds(600),
        stale: seconds(3_600),
        timeout: seconds(5),
    }
}

struct Issuer {
    sets: KeySets,
    name: Rc<str>,
    source: Source,
}

impl Issuer {
    fn new(discovery: bool) -> Self {
        Self { sets: KeySets::default(), name: Rc::from("idp"), source: source(discovery) }
    }

    /// What there is, in a word, and whether a call is made in the background.
    fn get(&mut self, seconds: u64) -> (&'static str, bool) {
        let (keys, background) = self.sets.get(&self.name, &self.source, at(seconds));
        (word(&keys), background.is_some())
    }

    fn renew(&mut self, seconds: u64) -> &'static str {
        word(&self.sets.renew(&self.name, &self.source, at(seconds)))
    }

    fn answer(
        &mut self,
        subject: FetchSubject,
        answer: Option<(u16, &[u8])>,
        seconds: u64,
    ) -> Option<String> {
        let key = FetchKey { method: Rc::clone(&self.name), subject };
        let response = answer.map(|(status, body)| Response { status, body });
        self.sets.fetched(&key, response, at(seconds))
    }
}

fn word(keys: &Keys) -> &'static str {
    match keys {
        Keys::Ready(_) => "ready",
        Keys::Fetch(fetch) if fetch.key.subject == FetchSubject::Discovery => "discovery",
        Keys::Fetch(_) => "fetch",
        Keys::Unavailable => "unavailable",
    }
}

#[test]
fn keys_are_fetched_once_used_while_fresh_and_refreshed_in_the_background() {
    let mut issuer = Issuer::new(false);
    assert_eq!(issuer.get(0), ("fetch", false));
    assert_eq!(issuer.get(1), ("fetch", false), "a call that is out is waited for");
    assert_eq!(issuer.answer(FetchSubject::KeySet, Some((200, KEYS)), 2), None);
    assert_eq!(issuer.get(3), ("ready", false));
    assert_eq!(issuer.get(601), ("ready", false));
    assert_eq!(issuer.get(602), ("ready", true));
    assert_eq!(issuer.get(603), ("ready", false), "one call at a time");
    assert_eq!(issuer.answer(FetchSubject::KeySet, Some((200, KEYS)), 604), None);
    assert_eq!(issuer.get(605), ("ready", false));
}

#[test]
fn an_issuer_that_is_down_is_asked_no_more_than_once_a_second_and_denied_until_it_answers() {
    let mut issuer = Issuer::new(false);
    assert_eq!(issuer.get(0).0, "fetch");
    let note = issuer.answer(FetchSubject::KeySet, Some((503, b"")), 0).unwrap();
    assert!(
        note.starts_with("authentication.idp: the issuer's keys could not be fetched (status 503)"),
        "{note}"
    );
    assert_eq!(issuer.get(0).0, "unavailable");
    assert_eq!(issuer.get(1).0, "fetch");
    issuer.answer(FetchSubject::KeySet, None, 1).unwrap();
    for wrong in [&b"{}"[..], b"", b"<html>", br#"{"keys":[]}"#] {
        issuer.get(2);
        assert!(issuer.answer(FetchSubject::KeySet, Some((200, wrong)), 2).is_some(), "{wrong:?}");
    }
    issuer.get(9);
    assert_eq!(issuer.answer(FetchSubject::KeySet, Some((200, KEYS)), 9), None);
    assert_eq!(issuer.get(9).0, "ready");
}

#[test]
fn keys_are_kept_for_a_bounded_time_while_the_issuer_is_down() {
    let mut issuer = Issuer::new(false);
    issuer.get(0);
    issuer.answer(FetchSubject::KeySet, Some((200, KEYS)), 0);
    for seconds in (600..4_200).step_by(20) {
        assert_eq!(issuer.get(seconds), ("ready", true), "{seconds}");
        let note = issuer.answer(FetchSubject::KeySet, Some((503, b"")), seconds).unwrap();
        assert!(note.contains("stay in use for a bounded time"), "{note}");
        assert_eq!(issuer.get(seconds + 9), ("ready", false), "asked again too early");
    }
    assert_eq!(issuer.get(4_200).0, "fetch", "too old to be believed");
}

#[test]
fn an_unknown_key_asks_again_at_most_every_ten_seconds() {
    let mut issuer = Issuer::new(false);
    issuer.get(0);
    issuer.answer(FetchSubject::KeySet, Some((200, KEYS)), 0);
    assert_eq!(issuer.renew(9), "unavailable");
    assert_eq!(issuer.renew(10), "fetch");
    assert_eq!(issuer.renew(11), "fetch", "a call that is out is waited for");
    issuer.answer(FetchSubject::KeySet, Some((200, KEYS)), 12);
    assert_eq!(issuer.renew(13), "unavailable");
    assert_eq!(issuer.renew(20), "fetch");
}

#[test]
fn discovery_is_followed_and_asked_again_when_what_it_said_fails() {
    let document = br#"{"issuer": "https://idp.example", "jwks_uri": "https://keys.example:8443/k?v=1"}"#;
    let mut issuer = Issuer::new(true);
    assert_eq!(issuer.get(0).0, "discovery");
    assert!(
        issuer
            .answer(FetchSubject::Discovery, Some((200, br#"{"issuer": "https://evil.example"}"#)), 0)
            .is_some()
    );
    assert_eq!(issuer.get(1).0, "discovery");
    assert_eq!(issuer.answer(FetchSubject::Discovery, Some((200, document)), 1), None);
    let (keys, _) = issuer.sets.get(&issuer.name, &issuer.source, at(1));
    let Keys::Fetch(fetch) = keys else { panic!("{keys:?}") };
    assert_eq!((fetch.authority.as_str(), fetch.path.as_str()), ("keys.example:8443", "/k?v=1"));
    issuer.answer(FetchSubject::KeySet, Some((404, b"")), 1).unwrap();
    assert_eq!(issuer.get(1).0, "unavailable");
    assert_eq!(issuer.get(2).0, "discovery");
}

#[test]
fn a_clock_that_is_set_back_locks_nobody_out() {
    let mut issuer = Issuer::new(false);
    issuer.get(3_600);
    issuer.answer(FetchSubject::KeySet, Some((503, b"")), 3_600);
    assert_eq!(issuer.get(0).0, "fetch");
    issuer.answer(FetchSubject::KeySet, Some((200, KEYS)), 0);
    assert_eq!(issuer.get(0).0, "ready");
}
