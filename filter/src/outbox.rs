//! The one place where calls leave: records for kafka-bridge, and questions to authorities (`fetches.rs`). Their answers
//! are handed out here.
//!
//! Requests that are ready at the same time share a call: the HTTP exchange with kafka-bridge is the larger part of
//! what a request costs, and it is paid once for all. A request that is ready puts its records in here and, unless one
//! one has been asked for already, asks for a callback of the root context ([`Wake`]). On Envoy that comes in the next
//! turn of the worker's event loop, with all that has gathered by then, and no timer is involved: a request that is
//! alone leaves at once.
//!
//! A call must belong to the root context. The host ends the context of a request with the request, and the answer to
//! a call that such a context had made would be lost to all others.
//!
//! Records share a call with others of the same lane only, because the answer to a call is as slow as its slowest
//! record: a topic or a cluster that is ill should not hold up the others, and who does not ask for all replicas does
//! not wait for those who do. A shared call that is larger than kafka-bridge takes is sent once more, each request's
//! part alone: what others have sent beside it is no fault of a request. The records that one request has for one lane are never parted, so that they keep their
//! order.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::{Rc, Weak};

use wicketgate_envelope::hop::{Ack, LimitState, LimitedRequest, RecordWriter, SharedLimit};
use wicketgate_policy::auth::Errands;
use wicketgate_policy::callout::{
    Fault, Faults, Outcome, Response, is_call_too_large, limit_states, outcomes,
};
use wicketgate_policy::config::Bridge;
use wicketgate_policy::env::Env;
use wicketgate_policy::fetch::Fetch;
use wicketgate_policy::shares::{Holder, Shares};

use crate::callout;
use crate::environment::Environment;
use crate::fetches::{Fetches, Finished};
use crate::host::Wake;
use crate::metrics::Metric;

/// The most records and bytes that requests share a call for. A request with more has a call of its own.
const MAX_RECORDS: usize = 64;
const MAX_BYTES: usize = 256 * 1024;

/// The most bytes of records that wait to be sent or answered, in one VM. Bodies are decoded before they wait, and all
/// connections that are readable come before the queue's turn, so that without a bound a few megabytes on the wire
/// could fill the VM's memory, and a VM out of memory fails with all its requests. Each caller has a share of it.
const MAX_HELD_BYTES: usize = 64 * 1024 * 1024;

/// Where calls go, as metrics tell it.
const BRIDGE: &str = "bridge";
const AUTHORITY: &str = "authority";

/// Who waits for what has been posted. It may be gone when that is known.
pub(crate) trait Waiter {
    /// Takes what became of one of its records. It comes from a callback of the root context.
    fn resolve(self: Rc<Self>, index: usize, outcome: Outcome);

    /// Takes note that an authority has said what it was asked for, or that it will not. It comes from a callback of the
    /// root context.
    fn fetched(self: Rc<Self>);

    /// Takes what limits have said that gateways share, before the outcome of its records.
    fn limited(self: Rc<Self>, _states: &[LimitState]) {}
}

impl fmt::Debug for dyn Waiter + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiter")
    }
}

/// What waits to be sent, and what has been sent and waits for its answer.
#[derive(Debug)]
pub(crate) struct Outbox {
    bridge: Bridge,
    /// The context that calls belong to.
    root_context_id: u32,
    /// How the host is asked to call that context back.
    wake: Box<dyn Wake>,
    environment: Rc<Environment>,
    state: RefCell<State>,
    pub(crate) fetches: RefCell<Fetches>,
    faults: RefCell<Faults>,
}

#[derive(Debug)]
struct State {
    /// In the order in which requests became ready.
    waiting: Vec<Parcel>,
    /// Whether the root context is about to be called back.
    wake_asked: bool,
    /// Who waits for which call, by the host's number of the call.
    in_flight: HashMap<u32, Call>,
    /// Whose the bytes of both are.
    shares: Shares,
}

/// A call that has been sent.
#[derive(Debug)]
struct Call {
    /// Who waits for its records, in their order.
    addressees: Vec<Addressee>,
    /// Who waits for what shared limits say, in the order of the call.
    limited: Vec<Weak<dyn Waiter>>,
    /// What it was made of, if several requests share it.
    shared: Vec<Parcel>,
    /// Whose bytes it has.
    bytes: Vec<(Holder, usize)>,
}

/// What records have in common that share a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lane {
    /// The cluster, where it is not the bridge's default one.
    pub(crate) cluster: Option<Rc<str>>,
    /// The topic.
    pub(crate) topic: String,
    /// How far they have to get before they are answered.
    pub(crate) ack: Ack,
}

/// What one request sends on one lane.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// The request that waits for the outcome.
    pub(crate) waiter: Weak<dyn Waiter>,
    /// Whose share of the memory it takes up.
    pub(crate) holder: Holder,
    /// Its name.
    pub(crate) request_id: String,
    /// Where its records go, and how.
    pub(crate) lane: Lane,
    /// The records, each with its place among those of the request.
    pub(crate) records: Vec<(usize, Vec<u8>)>,
    /// What it asks of limits that gateways share. Then all records of the request are in this parcel.
    pub(crate) limits: Vec<SharedLimit>,
}

/// Who waits for one record of a call.
#[derive(Debug)]
struct Addressee {
    waiter: Weak<dyn Waiter>,
    index: usize,
}

impl Parcel {
    fn bytes(&self) -> usize {
        self.records.iter().map(|(_, bytes)| bytes.len() + 1).sum()
    }
}

impl Outbox {
    /// An empty outbox.
    pub(crate) fn new(
        root_context_id: u32,
        bridge: Bridge,
        wake: Box<dyn Wake>,
        environment: Rc<Environment>,
    ) -> Self {
        let state = State {
            waiting: Vec::new(),
            wake_asked: false,
            in_flight: HashMap::new(),
            shares: Shares::new(MAX_HELD_BYTES),
        };
        Self {
            bridge,
            root_context_id,
            wake,
            environment,
            state: RefCell::new(state),
            fetches: RefCell::default(),
            faults: RefCell::default(),
        }
    }

    /// Whether there is room for more of this caller's.
    pub(crate) fn has_room(&self, holder: &Holder) -> bool {
        self.state.borrow().shares.has_room(holder)
    }

    /// Takes a parcel. Its request hears of its outcome later, in every case.
    pub(crate) fn post(&self, parcel: Parcel) {
        let mut state = self.state.borrow_mut();
        state.shares.take(&parcel.holder, parcel.bytes());
        state.waiting.push(parcel);
        self.ask_to_be_woken(&mut state);
    }

    /// Takes a question to an authority. Says whether it did; its request hears of the answer later then, in every case.
    pub(crate) fn ask(&self, fetch: Fetch, waiter: Weak<dyn Waiter>) -> bool {
        let taken = self.fetches.borrow_mut().ask(fetch, waiter);
        if taken {
            self.ask_to_be_woken(&mut self.state.borrow_mut());
        }
        taken
    }

    /// Does what the core wants done for no request in particular.
    pub(crate) fn run_errands(&self) {
        let Errands { fetches, notes, key_sets } = self.environment.lend().memory().errands();
        notes.iter().for_each(|note| log::warn!("{note}"));
        key_sets.iter().for_each(|(method, taken)| self.count_key_set(method, *taken));
        if !fetches.is_empty() {
            fetches.into_iter().for_each(|fetch| self.fetches.borrow_mut().ask_in_background(fetch));
            self.ask_to_be_woken(&mut self.state.borrow_mut());
        }
    }

    fn ask_to_be_woken(&self, state: &mut State) {
        if !state.wake_asked {
            // Without it nothing would ever leave; then it leaves at the next one that the host takes.
            state.wake_asked = self.wake.wake();
            if !state.wake_asked {
                log::error!("the host will not call back: a request waits for the next one");
            }
        }
    }

    /// Sends all that has gathered.
    pub(crate) fn flush(&self) {
        self.wake.woken();
        let waiting = {
            let mut state = self.state.borrow_mut();
            state.wake_asked = false;
            std::mem::take(&mut state.waiting)
        };
        for call in share(waiting) {
            // A call before this one may have failed at once, and its requests been answered in their own contexts.
            self.act_as_root();
            self.send(call);
        }
        self.fetch();
    }

    /// Makes the calls to authorities that may leave.
    fn fetch(&self) {
        loop {
            let Some(fetch) = self.fetches.borrow_mut().next() else { return };
            self.act_as_root();
            match callout::fetch(&self.environment, &fetch) {
                Some(token) => {
                    self.count_sent(AUTHORITY);
                    self.fetches.borrow_mut().sent(token, fetch.key);
                }
                None => {
                    self.count_over(AUTHORITY, "not_sent");
                    let over = self.fetches.borrow_mut().over(fetch.key);
                    self.take_in(over, None);
                }
            }
        }
    }

    /// Remembers what an authority has said, also when nobody waits for it any more, and tells all who do.
    fn take_in(&self, over: Option<Finished>, response: Option<&callout::Answer>) {
        let Some(over) = over else { return };
        {
            let mut env = self.environment.lend();
            let now = env.now();
            env.memory().fetched(&over.key, response.map(callout::Answer::as_fetched), now);
        }
        self.run_errands();
        over.tell();
    }

    fn send(&self, parcels: Vec<Parcel>) {
        let bytes: Vec<(Holder, usize)> =
            parcels.iter().map(|parcel| (parcel.holder.clone(), parcel.bytes())).collect();
        let mut call = RecordWriter::with_capacity(bytes.iter().map(|(_, bytes)| bytes).sum());
        let request_id = match parcels.as_slice() {
            [parcel] => Some(parcel.request_id.clone()),
            _ => None,
        };
        let mut addressees = Vec::with_capacity(parcels.len());
        let (mut limits, mut limited) = (Vec::new(), Vec::new());
        for Parcel { waiter, records, limits: own, .. } in &parcels {
            if !own.is_empty() {
                let (first, count) = (addressees.len(), records.len());
                limits.push(LimitedRequest { first, count, limits: own.clone() });
                limited.push(Weak::clone(waiter));
            }
            for (index, bytes) in records {
                call.push(bytes);
                addressees.push(Addressee { waiter: Weak::clone(waiter), index: *index });
            }
        }
        let shared = if parcels.len() > 1 { parcels } else { Vec::new() };
        match callout::dispatch(
            &self.environment,
            &self.bridge,
            request_id.as_deref(),
            &call.finish_limited(&limits),
        ) {
            Some(token) => {
                self.count_sent(BRIDGE);
                let requests = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
                self.environment.add(Metric::counter("wicketgate_callout_requests_total"), requests);
                self.environment.record(Metric::histogram("wicketgate_callout_records"), addressees.len());
                self.count_held(&bytes, 1);
                self.state.borrow_mut().in_flight.insert(token, Call { addressees, limited, shared, bytes });
            }
            None => {
                self.count_over(BRIDGE, "not_sent");
                self.release(&bytes);
                self.tell(Fault::NotTaken, None);
                deliver(&addressees, vec![Outcome::Unreachable { retry_after: 1 }; addressees.len()]);
            }
        }
    }

    /// Hands out the answer to a call.
    pub(crate) fn answered(&self, token: u32, num_headers: usize, body_size: usize) {
        let Some(Call { addressees, limited, shared, bytes }) =
            self.state.borrow_mut().in_flight.remove(&token)
        else {
            return self.fetched(token, num_headers, body_size);
        };
        let response = if num_headers == 0 {
            None
        } else {
            callout::read_response(self.environment.host.calls(), body_size)
        };
        self.count_answered(
            BRIDGE,
            response.as_ref(),
            response.as_ref().is_some_and(callout::Answer::is_of_bridge),
        );
        self.count_held(&bytes, -1);
        let response = response.as_ref().map(callout::Answer::as_response);
        let count = addressees.len();
        if !shared.is_empty() && response.is_some_and(|response| is_call_too_large(response, count)) {
            let bytes: usize = bytes.iter().map(|(_, bytes)| bytes).sum();
            log::warn!(
                "kafka-bridge does not take calls of {count} records and {bytes} bytes, so each request has one of its own; \
                 its --max-records should be {MAX_RECORDS} or more, its --max-body-bytes more than {MAX_BYTES}"
            );
            // Its bytes are held on.
            for parcel in shared {
                self.act_as_root();
                self.send(vec![parcel]);
            }
            return;
        }
        self.release(&bytes);
        for (waiter, states) in limited.iter().zip(limit_states(response, limited.len())) {
            if let Some(waiter) = waiter.upgrade() {
                waiter.limited(&states);
            }
        }
        let (outcomes, fault) = outcomes(response, count);
        if let Some(fault) = fault {
            self.tell(fault, response);
        }
        deliver(&addressees, outcomes);
    }
}

impl Outbox {
    /// Says in the log what is wrong on the way to kafka-bridge.
    fn tell(&self, fault: Fault, response: Option<Response<'_>>) {
        let now = self.environment.lend().now();
        if let Some(more) = self.faults.borrow_mut().note(fault, now) {
            log::warn!(
                "{} ({more} more calls since the last such line)",
                fault.line(&self.bridge, response, now)
            );
        }
    }

    /// Takes in the answer of an authority, and lets the next calls leave.
    fn fetched(&self, token: u32, num_headers: usize, body_size: usize) {
        let Some(over) = self.fetches.borrow_mut().answered(token) else { return };
        let readable = num_headers > 0 && body_size <= over.max_bytes;
        let response =
            readable.then(|| callout::read_response(self.environment.host.calls(), body_size)).flatten();
        self.count_answered(AUTHORITY, response.as_ref(), response.is_some());
        self.take_in(Some(over), response.as_ref());
        self.fetch();
    }

    fn count_sent(&self, to: &'static str) {
        self.environment.add(Metric::gauge("wicketgate_callouts_in_flight").with("to", to), 1);
    }

    fn count_answered(&self, to: &'static str, response: Option<&callout::Answer>, answered: bool) {
        self.environment.add(Metric::gauge("wicketgate_callouts_in_flight").with("to", to), -1);
        let outcome = match response {
            Some(response) if response.is_timeout() => "timed_out",
            Some(_) if answered => "answered",
            _ => "failed",
        };
        self.count_over(to, outcome);
    }

    fn count_over(&self, to: &'static str, outcome: &'static str) {
        self.environment
            .add(Metric::counter("wicketgate_callouts_total").of("to", to).with("outcome", outcome), 1);
    }

    /// Counts the bytes that wait for an answer.
    fn count_held(&self, bytes: &[(Holder, usize)], sign: i64) {
        let held: usize = bytes.iter().map(|(_, bytes)| bytes).sum();
        let held = i64::try_from(held).unwrap_or(i64::MAX);
        self.environment.add(Metric::gauge("wicketgate_outbox_bytes"), held * sign);
    }

    fn count_key_set(&self, method: &str, taken: bool) {
        let result = if taken { "taken" } else { "failed" };
        let fetches = Metric::counter("wicketgate_jwks_fetches_total").of("method", method);
        self.environment.add(fetches.with("result", result), 1);
        if taken {
            let seconds = self.environment.lend().now().as_millis() / 1_000;
            let at = Metric::gauge("wicketgate_jwks_fetched_timestamp_seconds").of("method", method);
            self.environment.record(at, usize::try_from(seconds).unwrap_or(usize::MAX));
        }
    }

    fn act_as_root(&self) {
        self.environment.host.calls().set_effective_context(self.root_context_id);
    }

    fn release(&self, bytes: &[(Holder, usize)]) {
        let mut state = self.state.borrow_mut();
        bytes.iter().for_each(|(holder, bytes)| state.shares.give_back(holder, *bytes));
    }
}

fn deliver(addressees: &[Addressee], outcomes: Vec<Outcome>) {
    for (Addressee { waiter, index }, outcome) in addressees.iter().zip(outcomes) {
        // A caller that has left is not told; its record may be written all the same, which is what its id is for.
        if let Some(waiter) = waiter.upgrade() {
            waiter.resolve(*index, outcome);
        }
    }
}

/// Sorts parcels into calls, keeping their order within a lane.
fn share(parcels: Vec<Parcel>) -> Vec<Vec<Parcel>> {
    struct Sharing {
        parcels: Vec<Parcel>,
        records: usize,
        bytes: usize,
    }
    let mut calls: Vec<Sharing> = Vec::new();
    // The call that is being filled for each lane.
    let mut open: HashMap<Lane, usize> = HashMap::new();
    for parcel in parcels {
        let (records, bytes) = (parcel.records.len(), parcel.bytes());
        let call = open.get(&parcel.lane).and_then(|index| calls.get_mut(*index));
        match call.filter(|call| call.records + records <= MAX_RECORDS && call.bytes + bytes <= MAX_BYTES) {
            Some(call) => {
                call.records += records;
                call.bytes += bytes;
                call.parcels.push(parcel);
            }
            None => {
                open.insert(parcel.lane.clone(), calls.len());
                calls.push(Sharing { parcels: vec![parcel], records, bytes });
            }
        }
    }
    calls.into_iter().map(|call| call.parcels).collect()
}

#[cfg(test)]
pub(crate) mod tests;
