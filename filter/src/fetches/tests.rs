use std::rc::Rc;
use std::time::Duration;

use wicketgate_policy::fetch::FetchSubject;

use super::*;
use crate::host::Buffer;
use crate::outbox::tests::{Bench, ROOT, Recorder, bench};

fn token(number: u8, upstream: &str) -> Fetch {
    Fetch {
        key: FetchKey { method: "tokens".into(), subject: FetchSubject::Token([number; 32]) },
        upstream: upstream.to_owned(),
        method: "POST",
        authority: "issuer.example".to_owned(),
        path: format!("/introspect/{number}"),
        headers: vec![("accept".to_owned(), "application/json".to_owned())],
        body: b"token=t".to_vec(),
        timeout: Duration::from_secs(3),
        max_bytes: 100,
    }
}

fn keys() -> Fetch {
    let key = FetchKey { method: "jwt".into(), subject: FetchSubject::KeySet };
    Fetch { key, path: "/keys".to_owned(), method: "GET", body: Vec::new(), ..token(0, "issuer") }
}

impl Bench {
    fn ask(&self, fetch: Fetch) -> Rc<Recorder> {
        let request = self.request();
        assert!(self.outbox.ask(fetch, Rc::downgrade(&request) as Weak<dyn Waiter>));
        request
    }

    fn refused(&self, fetch: Fetch) -> bool {
        !self.outbox.ask(fetch, Rc::downgrade(&self.request()) as Weak<dyn Waiter>)
    }

    fn paths(&self) -> Vec<String> {
        let calls = self.fake.calls.borrow();
        let path = |call: &crate::host::fake::SentCall| {
            call.headers.iter().find(|(name, _)| name == ":path").map(|(_, path)| path.clone())
        };
        calls.iter().filter_map(path).collect()
    }
}

#[test]
fn however_many_ask_for_the_same_one_call_is_out_for_it_and_all_hear_of_its_answer() {
    let bench = bench();
    let requests: Vec<_> = (0..500).map(|_| bench.ask(keys())).collect();
    assert_eq!((bench.fake.tokens.get(), bench.paths().len()), (1, 0), "it leaves in the root's callback");
    bench.flush();
    let late = bench.ask(keys());
    bench.flush();
    assert_eq!(bench.paths(), ["/keys"]);
    bench.answer(1, "200", false, "{}");
    assert!(requests.iter().chain([&late]).all(|request| request.fetched.get() == 1));
    let again = bench.ask(keys());
    bench.flush();
    assert_eq!(bench.paths(), ["/keys", "/keys"], "an answered question can be asked again");
    drop(again);
}

#[test]
fn a_question_says_all_that_it_has_to_and_has_an_end() {
    let bench = bench();
    let _request = bench.ask(token(7, "issuer"));
    bench.flush();
    let calls = bench.fake.calls.borrow();
    let call = calls.first().unwrap();
    assert_eq!((call.upstream.as_str(), call.by, call.timeout), ("issuer", ROOT, Duration::from_secs(3)));
    let wanted = [
        (":method", "POST"),
        (":path", "/introspect/7"),
        (":authority", "issuer.example"),
        ("accept", "application/json"),
    ];
    assert_eq!(call.headers, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(call.body, "token=t");
}

#[test]
fn calls_that_are_out_at_once_are_bounded_and_the_others_leave_in_turn() {
    let bench = bench();
    let requests: Vec<_> = (0..20).map(|number| bench.ask(token(number, "issuer"))).collect();
    let other = bench.ask(token(99, "another"));
    bench.flush();
    assert_eq!(bench.paths().len(), MAX_OUT + 1, "another upstream has a line of its own");
    // Whichever of the two was first.
    let first = 1 + u32::from(bench.fake.calls.borrow()[0].upstream == "another");
    bench.answer(first, "200", false, "{}");
    assert_eq!(requests.first().unwrap().fetched.get(), 1);
    assert_eq!(bench.paths().last().map(String::as_str), Some("/introspect/16"));
    assert!(bench.fake.calls.borrow().iter().all(|call| call.by == ROOT));
    drop(other);
}

#[test]
fn the_line_is_bounded() {
    let bench = bench();
    let bound = u8::try_from(MAX_OUT + MAX_IN_LINE).unwrap();
    let in_flight: Vec<_> =
        (0..u8::try_from(MAX_OUT).unwrap()).map(|n| bench.ask(token(n, "issuer"))).collect();
    bench.flush();
    let in_line: Vec<_> =
        (u8::try_from(MAX_OUT).unwrap()..bound).map(|n| bench.ask(token(n, "issuer"))).collect();
    assert!(bench.refused(token(bound, "issuer")));
    let joins = bench.ask(token(0, "issuer"));
    drop((in_flight, in_line, joins));
}

#[test]
fn requests_that_wait_are_bounded_and_those_that_have_gone_do_not_count() {
    let bench = bench();
    let mut requests: Vec<_> = (0..MAX_WAITING).map(|_| bench.ask(keys())).collect();
    assert!(bench.refused(keys()));
    requests.truncate(10);
    assert!(!bench.refused(keys()));
    bench.flush();
    bench.answer(1, "200", false, "{}");
    assert!(requests.iter().all(|request| request.fetched.get() == 1));
}

#[test]
fn a_question_that_nobody_waits_for_does_not_leave() {
    let bench = bench();
    drop(bench.ask(token(1, "issuer")));
    let stays = bench.ask(token(2, "issuer"));
    bench.flush();
    assert_eq!(bench.paths(), ["/introspect/2"]);
    let again = bench.ask(token(1, "issuer"));
    bench.flush();
    assert_eq!(bench.paths(), ["/introspect/2", "/introspect/1"]);
    drop((stays, again));
}

#[test]
fn a_question_in_the_background_leaves_although_nobody_waits_and_only_once() {
    let bench = bench();
    bench.outbox.fetches.borrow_mut().ask_in_background(keys());
    bench.outbox.fetches.borrow_mut().ask_in_background(keys());
    bench.flush();
    assert_eq!(bench.paths(), ["/keys"]);
    let request = bench.ask(keys());
    bench.flush();
    assert_eq!(bench.paths(), ["/keys"], "who comes later waits for the same");
    bench.answer(1, "200", false, "{}");
    assert_eq!(request.fetched.get(), 1);
}

#[test]
fn a_call_that_the_host_refuses_is_an_answer_at_once() {
    let bench = bench();
    bench.fake.refuses_calls.set(1);
    let (first, second) = (bench.ask(token(1, "issuer")), bench.ask(token(2, "issuer")));
    bench.flush();
    assert_eq!((first.fetched.get(), second.fetched.get()), (1, 0));
    assert!(bench.fake.calls.borrow().iter().all(|call| call.by == ROOT));
    assert_eq!(bench.paths(), ["/introspect/2"]);
}

#[test]
fn an_answer_is_read_unless_there_is_none_or_it_is_too_large() {
    for (headers, body, read) in [(1, 100, true), (1, 101, false), (0, 0, false)] {
        let bench = bench();
        let request = bench.ask(keys());
        bench.flush();
        bench.fake.answer(&[(":status", "200")], &"1".repeat(body));
        bench.outbox.answered(1, headers, body);
        assert_eq!(bench.fake.read.borrow().contains(&Buffer::CalloutResponseBody), read, "{headers} {body}");
        assert_eq!(request.fetched.get(), 1);
    }
}

#[test]
fn an_answer_that_comes_after_all_have_gone_is_read_all_the_same() {
    let bench = bench();
    let request = bench.ask(keys());
    bench.flush();
    drop(request);
    bench.answer(1, "200", false, "{}");
    assert!(bench.fake.read.borrow().contains(&Buffer::CalloutResponseBody));
}

#[test]
fn answers_that_are_repeated_or_of_another_do_nothing() {
    let bench = bench();
    let request = bench.ask(keys());
    bench.flush();
    for token in [9, 1, 1] {
        bench.answer(token, "200", false, "{}");
    }
    assert_eq!(request.fetched.get(), 1);
}

#[test]
fn records_and_questions_leave_in_the_same_callback() {
    let bench = bench();
    let (asks, posts) = (bench.ask(keys()), bench.post("orders"));
    assert_eq!(bench.fake.tokens.get(), 1);
    bench.flush();
    assert_eq!(bench.paths(), ["/v1/records", "/keys"]);
    drop((asks, posts));
}
