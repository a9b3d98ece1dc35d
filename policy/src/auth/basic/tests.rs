#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::env::testing::TestEnv;
use crate::head::RequestHead;
use crate::password::MIN_ITERATIONS;

fn basic() -> Basic {
    let mut users = Users::default();
    let stored = |password: &str| Stored::derive(password, b"0123456789abcdef", MIN_ITERATIONS);
    let consumer = |name: &str| Rc::new(Consumer { name: name.to_owned(), ..Consumer::default() });
    assert_eq!(
        users.insert("alice", vec![stored("open sesame"), stored("new: one")], consumer("Alice")),
        None
    );
    assert_eq!(users.insert("bob", vec![stored("hunter2hunter2")], consumer("Bob")), None);
    assert_eq!(
        users.insert("bob", vec![], consumer("x")).map(|owner| owner.name.clone()),
        Some("Bob".to_owned())
    );
    Basic { users: Rc::new(users), forward: false }
}

fn head(values: &[&str]) -> RequestHead {
    let mut head = RequestHead::default();
    values.iter().for_each(|value| head.push(b"authorization", value.as_bytes()));
    head
}

fn said(basic: &Basic, values: &[&str], env: &mut TestEnv) -> Result<String, Option<Rejected>> {
    let head = head(values);
    match basic.check(&Rc::from("basic"), &Request { head: &head, body: None }, env) {
        Checked::Known(principal) => Ok(principal.auth_id().unwrap().to_owned()),
        Checked::Absent => Err(None),
        Checked::Rejected(rejected) => Err(Some(rejected)),
        other => panic!("{other:?}"),
    }
}

fn encoded(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

const WRONG: Rejected = Rejected::Invalid("no user has this name and this password");

#[test]
fn the_right_password_names_the_consumer_and_anything_else_is_nobody() {
    let basic = basic();
    for (credentials, wanted) in [
        ("alice:open sesame", Ok("Alice")),
        ("alice:new: one", Ok("Alice")),
        ("bob:hunter2hunter2", Ok("Bob")),
        ("alice:hunter2hunter2", Err(WRONG)),
        ("bob:open sesame", Err(WRONG)),
        ("carol:open sesame", Err(WRONG)),
        ("carol:hunter2hunter2", Err(WRONG)),
        ("Alice:open sesame", Err(WRONG)),
        ("alice:", Err(WRONG)),
        (":", Err(WRONG)),
        ("no colon", Err(Rejected::Invalid("malformed"))),
    ] {
        let mut env = TestEnv::default();
        let wanted = wanted.map(str::to_owned).map_err(Some);
        // The second time it is remembered.
        for _ in 0..2 {
            assert_eq!(said(&basic, &[&encoded(credentials)], &mut env), wanted, "{credentials}");
        }
    }
    let right = encoded("bob:hunter2hunter2");
    let mut env = TestEnv::default();
    assert_eq!(said(&basic, &[], &mut env), Err(None));
    assert_eq!(said(&basic, &["Bearer x"], &mut env), Err(None));
    let repeated = Rejected::Repeated("header authorization".to_owned());
    assert_eq!(said(&basic, &[&right, &right], &mut env), Err(Some(repeated)));
}

#[test]
fn guessing_is_bounded_and_shuts_nobody_out_who_is_known() {
    let basic = basic();
    let mut env = TestEnv::default();
    let known = encoded("bob:hunter2hunter2");
    assert_eq!(said(&basic, &[&known], &mut env), Ok("Bob".to_owned()));
    let mut guesses: Vec<_> =
        (0..60).map(|number| said(&basic, &[&encoded(&format!("bob:{number}"))], &mut env)).collect();
    assert_eq!(guesses.pop(), Some(Err(Some(Rejected::Unavailable))));
    assert_eq!(guesses.iter().filter(|said| **said == Err(Some(WRONG))).count(), 49);
    // What is remembered costs nothing, right or wrong.
    assert_eq!(said(&basic, &[&known], &mut env), Ok("Bob".to_owned()));
    assert_eq!(said(&basic, &[&encoded("bob:0")], &mut env), Err(Some(WRONG)));
    assert_eq!(said(&basic, &[&encoded("alice:open sesame")], &mut env), Err(Some(Rejected::Unavailable)));
    // Two passwords are tried, which takes two hashes' worth.
    env.now = Timestamp::from_nanos(env.now.as_nanos() + 40_000_000);
    assert_eq!(said(&basic, &[&encoded("alice:open sesame")], &mut env), Ok("Alice".to_owned()));
}

#[test]
fn a_name_that_nobody_has_costs_what_a_users_does() {
    let basic = basic();
    for name in ["carol", "dave", "", "ALICE"] {
        let (user, exists) = basic.users.find(name).unwrap();
        let again = basic.users.find(name).unwrap().0;
        assert!(!exists && !user.passwords.is_empty() && std::ptr::eq(user, again));
    }
    assert!(Users::default().find("alice").is_none());
}

#[test]
fn what_is_remembered_is_forgotten_and_no_password_is_in_it() {
    let basic = basic();
    let mut env = TestEnv::default();
    let right = encoded("bob:hunter2hunter2");
    assert_eq!(said(&basic, &[&right], &mut env), Ok("Bob".to_owned()));
    assert!(!format!("{:?}", env.memory().passwords).contains("hunter2"));
    let digest = digest(&Credentials::parse(right.as_bytes()).unwrap().unwrap(), &mut env).unwrap();
    assert!(env.memory().passwords.right.get(&digest).is_some());
    env.now = later(env.now, REMEMBER_RIGHT);
    let spent = format!("{:?}", env.memory().passwords.budget);
    assert_eq!(said(&basic, &[&right], &mut env), Ok("Bob".to_owned()));
    assert_ne!(format!("{:?}", env.memory().passwords.budget), spent, "it was hashed again");
    // Another VM has another key.
    let mut other = TestEnv { random: 77, ..TestEnv::default() };
    assert_ne!(
        super::digest(&Credentials::parse(right.as_bytes()).unwrap().unwrap(), &mut other),
        Some(digest)
    );
}
