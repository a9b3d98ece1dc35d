#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::claims::ClaimPath;
use crate::env::testing::TestEnv;
use crate::head::RequestHead;

const NAME: &str = "server";

fn method() -> Introspection {
    Introspection {
        bearer: Bearer::default(),
        server: Server {
            upstream: "idp".to_owned(),
            authority: "idp.example.com".to_owned(),
            path: "/introspect".to_owned(),
            client: Client::Basic { id: "gateway".to_owned(), secret: "s3cr3t".to_owned() },
            timeout: Duration::from_secs(3),
        },
        issuer: None,
        audiences: Vec::new(),
        cache: Duration::from_secs(60),
        identity: TokenIdentity {
            groups_claim: Some(ClaimPath::parse("/realm/groups").unwrap()),
            ..TokenIdentity::default()
        },
        forward: false,
    }
}

fn check(method: &Introspection, token: &str, env: &mut TestEnv) -> Checked {
    let mut head = RequestHead::default();
    head.push(b"authorization", format!("Bearer {token}").as_bytes());
    method.check(&Rc::from(NAME), &Request { head: &head, body: None }, env)
}

/// The subject, or why there is none; a question is answered with this.
fn asked(
    method: &Introspection,
    token: &str,
    env: &mut TestEnv,
    answer: Option<(u16, &str)>,
) -> Result<String, Rejected> {
    let mut checked = check(method, token, env);
    if let Checked::Fetch(fetch) = checked {
        let response = answer.map(|(status, body)| Response { status, body: body.as_bytes() });
        let now = env.now;
        env.memory.fetched(&fetch.key, response, now);
        checked = check(method, token, env);
    }
    match checked {
        Checked::Known(principal) => Ok(principal.auth_id().unwrap_or_default().to_owned()),
        Checked::Rejected(rejected) => Err(rejected),
        other => panic!("{other:?}"),
    }
}

/// Whether a server would be asked.
fn asks(method: &Introspection, token: &str, env: &mut TestEnv) -> bool {
    matches!(check(method, token, env), Checked::Fetch(_))
}

const GOOD: &str =
    r#"{"active": true, "sub": "alice", "scope": "read write", "realm": {"groups": ["staff"]}}"#;
const INACTIVE: Rejected = Rejected::Invalid("the token is not active");

#[test]
fn a_token_is_asked_about_and_its_bearer_is_who_the_server_says() {
    let mut env = TestEnv::default();
    let checked = check(&method(), "t1", &mut env);
    let Checked::Fetch(fetch) = checked else { panic!("{checked:?}") };
    assert_eq!((fetch.upstream.as_str(), fetch.method, fetch.path.as_str()), ("idp", "POST", "/introspect"));
    assert!(fetch.body.starts_with(b"token=t1&") && fetch.timeout == Duration::from_secs(3));
    assert!(!format!("{fetch:?}").contains("t1"));
    assert_eq!(asked(&method(), "t1", &mut env, Some((200, GOOD))), Ok("alice".to_owned()));
    let Checked::Known(principal) = check(&method(), "t1", &mut env) else { panic!("asked again") };
    assert!(principal.has_scope("write") && !principal.has_scope("admin") && principal.is_in_group("staff"));
    assert!(principal.claims().is_some());
}

#[test]
fn what_is_no_yes_lets_nobody_in() {
    for (answer, wanted) in [
        (Some((200, r#"{"active": false}"#)), INACTIVE),
        (Some((200, r#"{"active": "true", "sub": "alice"}"#)), INACTIVE),
        (Some((200, "<html>")), Rejected::Unavailable),
        (Some((401, r#"{"active": true}"#)), Rejected::Unavailable),
        (Some((503, "")), Rejected::Unavailable),
        (None, Rejected::Unavailable),
    ] {
        assert_eq!(asked(&method(), "t", &mut TestEnv::default(), answer), Err(wanted), "{answer:?}");
    }
    let strict =
        Introspection { issuer: Some("a".to_owned()), audiences: vec!["here".to_owned()], ..method() };
    let answer = r#"{"active": true, "sub": "alice", "iss": "a", "aud": "there"}"#;
    let wanted = Err(Rejected::Invalid("the token is for another audience"));
    assert_eq!(asked(&strict, "t", &mut TestEnv::default(), Some((200, answer))), wanted);
}

#[test]
fn an_answer_is_good_for_a_while_and_never_beyond_the_token() {
    let method = method();
    let after = |env: &mut TestEnv, millis: u64| {
        env.now = Timestamp::from_nanos(env.now.as_nanos() + millis * 1_000_000);
    };
    let mut env = TestEnv::default();
    asked(&method, "t", &mut env, Some((200, GOOD))).unwrap();
    after(&mut env, 59_999);
    assert!(!asks(&method, "t", &mut env));
    after(&mut env, 1);
    assert!(asks(&method, "t", &mut env));

    let expires = env.now.as_millis() / 1000 + 10;
    let answer = format!(r#"{{"active": true, "sub": "alice", "exp": {expires}}}"#);
    asked(&method, "t", &mut env, Some((200, &answer))).unwrap();
    after(&mut env, 10_000);
    assert_eq!(asked(&method, "t", &mut env, None), Err(Rejected::Invalid("the token has expired")));

    asked(&method, "bad", &mut env, Some((200, "{}"))).unwrap_err();
    after(&mut env, 9_999);
    assert_eq!(asked(&method, "bad", &mut env, None), Err(INACTIVE));
    after(&mut env, 1);
    assert!(asks(&method, "bad", &mut env));

    // A server that is down is not asked by each of those who wait, and soon again.
    asked(&method, "other", &mut env, None).unwrap_err();
    assert!(!asks(&method, "other", &mut env));
    after(&mut env, 1_000);
    assert!(asks(&method, "other", &mut env));
    assert_eq!(asked(&method, "other", &mut env, Some((200, GOOD))), Ok("alice".to_owned()));

    // A clock that was set back.
    let mut env = TestEnv::default();
    asked(&method, "t", &mut env, Some((200, GOOD))).unwrap();
    env.now = Timestamp::from_nanos(env.now.as_nanos() - 1);
    assert!(asks(&method, "t", &mut env));
}

#[test]
fn a_flood_of_bad_tokens_pushes_no_good_one_out() {
    let (method, mut env) = (method(), TestEnv::default());
    asked(&method, "good", &mut env, Some((200, GOOD))).unwrap();
    for number in 0..3 * MAX_CACHED {
        let answer = if number % 2 == 0 { Some((200, "{}")) } else { None };
        asked(&method, &format!("bad-{number}"), &mut env, answer).unwrap_err();
    }
    assert!(!asks(&method, "good", &mut env));
    assert!(asks(&method, "bad-0", &mut env));
}

#[test]
fn an_answer_counts_for_the_method_that_asked() {
    let (method, mut env) = (method(), TestEnv::default());
    asked(&method, "t", &mut env, Some((200, GOOD))).unwrap();
    let mut head = RequestHead::default();
    head.push(b"authorization", b"Bearer t");
    let request = Request { head: &head, body: None };
    assert!(matches!(method.check(&Rc::from("another"), &request, &mut env), Checked::Fetch(_)));
}

#[test]
fn a_token_that_is_too_long_is_asked_about_by_nobody() {
    let (method, mut env) = (method(), TestEnv::default());
    assert!(asks(&method, &"x".repeat(MAX_TOKEN_BYTES), &mut env));
    let wanted = Err(Rejected::Invalid("malformed"));
    assert_eq!(asked(&method, &"x".repeat(MAX_TOKEN_BYTES + 1), &mut env, None), wanted);
}
