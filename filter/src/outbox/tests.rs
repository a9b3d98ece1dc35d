use std::cell::Cell;
use std::time::Duration;

use wicketgate_envelope::hop::{BRIDGE_HEADER, RecordResult};
use wicketgate_policy::config::Config;

use super::*;
use crate::host::fake::Fake;

pub(crate) const ROOT: u32 = 1;

/// What has become of one record of a request.
type Resolved = (usize, Outcome);

/// A request that remembers what it is told, and by which callback's context it was left.
#[derive(Debug)]
pub(crate) struct Recorder {
    context: u32,
    fake: Rc<Fake>,
    resolved: RefCell<Vec<Resolved>>,
    /// How often it heard that an authority has answered.
    pub(crate) fetched: Cell<usize>,
    limited: RefCell<Vec<LimitState>>,
}

impl Waiter for Recorder {
    fn resolve(self: Rc<Self>, index: usize, outcome: Outcome) {
        // As a request does that answers.
        self.fake.effective_context.set(self.context);
        self.resolved.borrow_mut().push((index, outcome));
    }

    fn fetched(self: Rc<Self>) {
        self.fake.effective_context.set(self.context);
        self.fetched.set(self.fetched.get() + 1);
    }

    fn limited(self: Rc<Self>, states: &[LimitState]) {
        assert!(self.resolved.borrow().is_empty(), "limits are told before outcomes");
        self.limited.borrow_mut().extend_from_slice(states);
    }
}

pub(crate) struct Bench {
    pub(crate) fake: Rc<Fake>,
    pub(crate) outbox: Outbox,
    next_context: Cell<u32>,
}

fn bridge() -> Bridge {
    let document = r#"{
        "source": "urn:example:gateway",
        "bridge": { "upstream": "bridge", "authority": "bridge.internal", "timeout": "2s" },
        "unmatched": "reject",
        "routes": [{
            "name": "orders", "match": { "methods": ["POST"], "path": "/orders" },
            "authentication": { "any_of": ["anonymous"] }, "action": "produce",
            "event": { "type": "order" }, "kafka": { "topic": "orders" }
        }]
    }"#;
    Config::from_json(document.as_bytes()).unwrap().bridge
}

pub(crate) fn bench() -> Bench {
    let fake = Fake::new();
    let environment = Environment::new(fake.host());
    let wake = environment.host.waker("outbox").unwrap();
    let outbox = Outbox::new(ROOT, bridge(), wake, environment);
    Bench { fake, outbox, next_context: Cell::new(100) }
}

impl Bench {
    pub(crate) fn request(&self) -> Rc<Recorder> {
        let context = self.next_context.replace(self.next_context.get() + 1);
        Rc::new(Recorder {
            context,
            fake: Rc::clone(&self.fake),
            resolved: RefCell::default(),
            limited: RefCell::default(),
            fetched: Cell::new(0),
        })
    }

    /// A request posts records of these sizes on a lane.
    fn post_sizes(&self, request: &Rc<Recorder>, topic: &str, sizes: &[usize]) {
        self.post_as(&Holder::Unknown, request, topic, sizes);
    }

    fn post_as(&self, holder: &Holder, request: &Rc<Recorder>, topic: &str, sizes: &[usize]) {
        self.outbox.post(Parcel {
            holder: holder.clone(),
            waiter: Rc::downgrade(request) as Weak<dyn Waiter>,
            request_id: format!("r{}", request.context),
            lane: Lane { cluster: None, topic: topic.to_owned(), ack: Ack::All },
            records: sizes.iter().enumerate().map(|(index, size)| (index, vec![b'1'; *size])).collect(),
            limits: Vec::new(),
        });
    }

    pub(crate) fn post(&self, topic: &str) -> Rc<Recorder> {
        let request = self.request();
        self.post_sizes(&request, topic, &[3]);
        request
    }

    /// The callback that was asked for.
    pub(crate) fn flush(&self) {
        self.fake.effective_context.set(ROOT);
        self.outbox.flush();
    }

    pub(crate) fn answer(&self, token: u32, status: &str, from_bridge: bool, body: &str) {
        let mut headers = vec![(":status", status)];
        headers.extend(from_bridge.then_some((BRIDGE_HEADER, "1")));
        let size = self.fake.answer(&headers, body);
        self.fake.effective_context.set(ROOT);
        self.outbox.answered(token, headers.len(), size);
    }

    fn refuse(&self, token: u32, count: usize) {
        let results = vec![r#"{"outcome":"refused"}"#; count].join(",");
        self.answer(token, "502", true, &format!(r#"{{"results":[{results}]}}"#));
    }

    fn held(&self) -> usize {
        self.outbox.state.borrow().shares.held()
    }
}

const REFUSED: Outcome = Outcome::Answered(RecordResult::Refused);

fn resolved(request: &Recorder) -> Vec<Resolved> {
    request.resolved.borrow().clone()
}

#[test]
fn requests_that_gather_before_the_callback_share_one_call() {
    let bench = bench();
    let requests: Vec<_> = (0..3).map(|_| bench.post("orders")).collect();
    assert_eq!(bench.fake.tokens.get(), 1, "one callback is asked for, however many wait");
    assert!(bench.fake.calls.borrow().is_empty(), "nothing leaves in a request's own callback");
    bench.flush();
    assert_eq!(bench.fake.bodies(), [r#"{"records":[111,111,111]}"#]);
    assert_eq!(bench.fake.tokens.get(), 0);
    bench.refuse(1, 3);
    for request in requests {
        assert_eq!(resolved(&request), [(0, REFUSED)]);
    }
    assert_eq!(bench.held(), 0);
}

#[test]
fn a_call_says_whom_it_is_for_and_has_an_end() {
    let bench = bench();
    let request = bench.post("orders");
    bench.flush();
    let calls = bench.fake.calls.borrow();
    let call = calls.first().unwrap();
    assert_eq!((call.upstream.as_str(), call.by, call.timeout), ("bridge", ROOT, Duration::from_secs(2)));
    let wanted = [
        (":method", "POST"),
        (":path", "/v1/records"),
        (":authority", "bridge.internal"),
        ("content-type", "application/vnd.wicketgate.records+json"),
        ("x-request-id", &format!("r{}", request.context)),
    ];
    let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(call.headers, wanted);
}

#[test]
fn a_shared_call_carries_the_name_of_no_request() {
    let bench = bench();
    let _requests = [bench.post("orders"), bench.post("orders")];
    bench.flush();
    assert!(bench.fake.calls.borrow()[0].headers.iter().all(|(name, _)| name != "x-request-id"));
}

#[test]
fn lanes_do_not_share_calls() {
    let bench = bench();
    let other_ack = bench.request();
    let other_cluster = bench.request();
    let _requests = [bench.post("a"), bench.post("b"), bench.post("a")];
    for (request, lane) in [
        (&other_ack, Lane { cluster: None, topic: "a".to_owned(), ack: Ack::Leader }),
        (&other_cluster, Lane { cluster: Some("eu".into()), topic: "a".to_owned(), ack: Ack::All }),
    ] {
        let waiter = Rc::downgrade(request) as Weak<dyn Waiter>;
        bench.outbox.post(Parcel {
            holder: Holder::Unknown,
            waiter,
            request_id: "r".to_owned(),
            lane,
            records: vec![(0, b"2".to_vec())],
            limits: Vec::new(),
        });
    }
    bench.flush();
    let wanted =
        [r#"{"records":[111,111]}"#, r#"{"records":[111]}"#, r#"{"records":[2]}"#, r#"{"records":[2]}"#];
    assert_eq!(bench.fake.bodies(), wanted);
}

#[test]
fn a_call_is_full_at_its_bounds_and_a_request_is_never_parted() {
    for (what, sizes, wanted) in [
        ("records", vec![vec![1; MAX_RECORDS], vec![1]], vec![MAX_RECORDS, 1]),
        ("records that just fit", vec![vec![1; MAX_RECORDS - 1], vec![1]], vec![MAX_RECORDS]),
        ("bytes", vec![vec![MAX_BYTES - 1], vec![1]], vec![1, 1]),
        ("a request beyond the bound", vec![vec![1; MAX_RECORDS + 9]], vec![MAX_RECORDS + 9]),
    ] {
        let bench = bench();
        let requests: Vec<_> = sizes
            .iter()
            .map(|sizes| {
                let request = bench.request();
                bench.post_sizes(&request, "orders", sizes);
                request
            })
            .collect();
        bench.flush();
        let counts: Vec<_> = bench.fake.bodies().iter().map(|body| body.matches(',').count() + 1).collect();
        assert_eq!(counts, wanted, "{what}");
        drop(requests);
    }
}

#[test]
fn a_shared_call_that_is_too_large_is_sent_again_in_parts() {
    let bench = bench();
    let [first, second] = [bench.post("orders"), bench.post("orders")];
    bench.flush();
    let held = bench.held();
    bench.answer(1, "413", true, "");
    assert_eq!((resolved(&first), resolved(&second)), (vec![], vec![]));
    assert_eq!(bench.fake.bodies()[1..], [r#"{"records":[111]}"#, r#"{"records":[111]}"#]);
    assert!(bench.fake.calls.borrow().iter().all(|call| call.by == ROOT));
    assert_eq!(bench.held(), held, "what is sent again is held on");
    bench.answer(2, "413", true, "");
    assert_eq!(resolved(&first), [(0, Outcome::Answered(RecordResult::TooLarge))], "its own fault");
    bench.refuse(3, 1);
    assert_eq!(resolved(&second), [(0, REFUSED)]);
    assert_eq!(bench.held(), 0);
}

#[test]
fn a_call_of_one_request_that_is_too_large_is_not_sent_again() {
    let bench = bench();
    let request = bench.request();
    bench.post_sizes(&request, "orders", &[3, 4]);
    bench.flush();
    bench.answer(1, "413", true, "");
    let too_large = || Outcome::Answered(RecordResult::TooLarge);
    assert_eq!(resolved(&request), [(0, too_large()), (1, too_large())]);
    assert_eq!(bench.fake.bodies().len(), 1);
}

#[test]
fn a_413_that_the_bridge_did_not_say_is_not_believed() {
    let bench = bench();
    let [first, second] = [bench.post("orders"), bench.post("orders")];
    bench.flush();
    bench.answer(1, "413", false, "");
    assert_eq!([resolved(&first), resolved(&second)], [[(0, Outcome::Broken)], [(0, Outcome::Broken)]]);
    assert_eq!(bench.fake.bodies().len(), 1);
}

#[test]
fn a_call_that_the_host_refuses_never_left() {
    let bench = bench();
    bench.fake.refuses_calls.set(2);
    let [first, second] = [bench.post("a"), bench.post("b")];
    bench.flush();
    for request in [first, second] {
        assert_eq!(resolved(&request), [(0, Outcome::Unreachable { retry_after: 1 })]);
    }
    assert_eq!(bench.held(), 0);
}

#[test]
fn a_call_after_one_that_was_refused_belongs_to_the_root_context() {
    let bench = bench();
    bench.fake.refuses_calls.set(1);
    let [first, second] = [bench.post("a"), bench.post("b")];
    bench.flush();
    assert_eq!(resolved(&first), [(0, Outcome::Unreachable { retry_after: 1 })]);
    assert_eq!(bench.fake.calls.borrow().iter().map(|call| call.by).collect::<Vec<_>>(), [ROOT]);
    drop(second);
}

#[test]
fn an_answer_without_headers_is_not_read() {
    let bench = bench();
    let request = bench.post("orders");
    bench.flush();
    bench.fake.answer(&[(":status", "502"), (BRIDGE_HEADER, "1")], r#"{"results":[{"outcome":"refused"}]}"#);
    bench.outbox.answered(1, 0, 0);
    assert_eq!(resolved(&request), [(0, Outcome::Broken)]);
    assert!(bench.fake.read.borrow().is_empty());
}

#[test]
fn callbacks_that_are_late_repeated_or_of_another_do_nothing() {
    let bench = bench();
    let request = bench.post("orders");
    bench.flush();
    bench.refuse(99, 1);
    assert_eq!(resolved(&request), []);
    bench.flush();
    bench.flush();
    assert_eq!(bench.fake.bodies().len(), 1, "a callback without anything to send sends nothing");
    bench.refuse(1, 1);
    bench.answer(1, "504", false, "");
    assert_eq!(resolved(&request), [(0, REFUSED)]);
    assert_eq!(bench.held(), 0);
}

#[test]
fn a_request_that_has_gone_still_has_its_record_sent_and_its_bytes_released() {
    let bench = bench();
    let (gone, stays) = (bench.post("orders"), bench.post("orders"));
    drop(gone);
    bench.flush();
    assert_eq!(bench.fake.bodies(), [r#"{"records":[111,111]}"#]);
    bench.refuse(1, 2);
    assert_eq!(resolved(&stays), [(0, REFUSED)]);
    assert_eq!(bench.held(), 0);
}

#[test]
fn a_callback_that_the_host_would_not_give_is_asked_for_again() {
    let bench = bench();
    bench.fake.refuses_tokens.set(true);
    let first = bench.post("orders");
    assert_eq!(bench.fake.tokens.get(), 0);
    bench.fake.refuses_tokens.set(false);
    let second = bench.post("orders");
    assert_eq!(bench.fake.tokens.get(), 1);
    bench.flush();
    assert_eq!(bench.fake.bodies(), [r#"{"records":[111,111]}"#]);
    drop((first, second));
}

#[test]
fn room_is_what_waits_and_what_is_in_flight() {
    let bench = bench();
    let request = bench.request();
    bench.post_sizes(&request, "orders", &[MAX_HELD_BYTES]);
    assert!(!bench.outbox.has_room(&Holder::Unknown));
    bench.flush();
    assert!(!bench.outbox.has_room(&Holder::Unknown), "sent is not answered");
    bench.answer(1, "504", false, "");
    assert!(bench.outbox.has_room(&Holder::Unknown));
}

#[test]
fn who_fills_the_memory_is_who_finds_no_room() {
    let bench = bench();
    let (hog, alice) = (Holder::of(None, Some("192.0.2.1")), Holder::Known("api_key", Rc::from("alice")));
    let request = bench.request();
    let mut posted = 0;
    while bench.outbox.has_room(&hog) {
        bench.post_as(&hog, &request, "orders", &[6 << 20]);
        posted += 1;
    }
    // Half of it, and one request.
    assert_eq!(posted, 6);
    assert!(bench.outbox.has_room(&alice));
    bench.post_as(&alice, &request, "orders", &[1 << 20]);
    bench.flush();
    assert!(bench.outbox.has_room(&alice) && !bench.outbox.has_room(&hog));
    bench.answer(1, "504", false, "");
    assert!(bench.outbox.has_room(&hog));
    for token in 2..=7 {
        bench.answer(token, "504", false, "");
    }
    assert_eq!(bench.held(), 0);
}

#[test]
fn records_of_one_request_keep_their_order_and_their_places() {
    let bench = bench();
    let request = bench.request();
    bench.outbox.post(Parcel {
        holder: Holder::Unknown,
        waiter: Rc::downgrade(&request) as Weak<dyn Waiter>,
        request_id: "r".to_owned(),
        lane: Lane { cluster: None, topic: "orders".to_owned(), ack: Ack::All },
        records: vec![(4, b"4".to_vec()), (1, b"1".to_vec())],
        limits: Vec::new(),
    });
    bench.flush();
    assert_eq!(bench.fake.bodies(), [r#"{"records":[4,1]}"#]);
    bench.answer(
        1,
        "200",
        true,
        r#"{"results":[{"outcome":"refused"},{"outcome":"unavailable","retry_after":3}]}"#,
    );
    let unavailable = Outcome::Answered(RecordResult::Unavailable { retry_after: 3 });
    assert_eq!(resolved(&request), [(4, REFUSED), (1, unavailable)]);
}

#[test]
fn each_request_asks_its_own_limits_and_hears_what_they_say() {
    let bench = bench();
    let limit = |name: &str| SharedLimit {
        name: name.to_owned(),
        key: "k".to_owned(),
        limit: 1,
        period: 1,
        burst: 1,
        cost: 1,
        dry_run: false,
        allow_uncounted: false,
    };
    let requests: Vec<_> = (0..3).map(|_| bench.request()).collect();
    for (request, limits) in requests.iter().zip([vec![limit("a")], Vec::new(), vec![limit("b")]]) {
        bench.outbox.post(Parcel {
            holder: Holder::Unknown,
            waiter: Rc::downgrade(request) as Weak<dyn Waiter>,
            request_id: "r".to_owned(),
            lane: Lane { cluster: None, topic: "orders".to_owned(), ack: Ack::All },
            records: vec![(0, b"1".to_vec()), (1, b"2".to_vec())],
            limits,
        });
    }
    bench.flush();
    let of = |name: &str, first: u32| {
        format!(
            r#"{{"first":{first},"count":2,"limits":[{{"name":"{name}","key":"k","limit":1,"period":1,"burst":1,"cost":1}}]}}"#
        )
    };
    let wanted = format!(r#"{{"records":[1,2,1,2,1,2],"limits":[{},{}]}}"#, of("a", 0), of("b", 4));
    assert_eq!(bench.fake.bodies(), [wanted]);
    let states = r#"[[{"name":"a","allowed":false,"remaining":0,"next":5}],[{"name":"b","allowed":true}]]"#;
    let limited = r#"{"outcome":"limited"}"#;
    let refused = r#"{"outcome":"refused"}"#;
    let results = format!("{limited},{limited},{refused},{refused},{refused},{refused}");
    bench.answer(1, "207", true, &format!(r#"{{"results":[{results}],"limits":{states}}}"#));
    let said = |request: &Rc<Recorder>| {
        let limited = request.limited.borrow();
        limited.iter().map(|state| (state.name.clone(), state.allowed)).collect::<Vec<_>>()
    };
    assert_eq!(said(&requests[0]), [("a".to_owned(), Some(false))]);
    assert_eq!(said(&requests[1]), []);
    assert_eq!(said(&requests[2]), [("b".to_owned(), Some(true))]);
    assert!(requests.iter().all(|request| request.resolved.borrow().len() == 2));
}
