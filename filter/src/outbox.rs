//! The one place where records leave for kafka-bridge, and where its answers are handed out.
//!
//! Requests that are ready at the same time share a call: the HTTP exchange with kafka-bridge is the larger part of
//! what a request costs, and it is paid once for all. A request that is ready puts its records in here and, unless one
//! is on its way already, a token into a queue of this VM's own. The host calls the root context back for the token in
//! the next turn of the worker's event loop, with all that has gathered by then. There is no timer: a request that is
//! alone leaves at once.
//!
//! A call must belong to the root context. The host ends the context of a request with the request, and the answer to
//! a call that such a context had made would be lost to all others.
//!
//! Records share a call with others of the same topic only, because the answer to a call is as slow as its slowest
//! record, and a topic that is ill should not hold up the others.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use wicketgate_envelope::hop::RecordWriter;
use wicketgate_policy::callout::{Outcome, outcomes};
use wicketgate_policy::config::Bridge;

use crate::callout;
use crate::host;
use crate::stream::Request;

/// The most records and bytes that share a call. A request with more has a call of its own.
const MAX_RECORDS: usize = 64;
const MAX_BYTES: usize = 256 * 1024;

/// What waits to be sent, and what has been sent and waits for its answer.
#[derive(Debug)]
pub(crate) struct Outbox {
    bridge: Bridge,
    queue: u32,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order in which requests became ready.
    waiting: Vec<Parcel>,
    /// Whether a token is on its way through the queue.
    token_sent: bool,
    /// Who waits for which call, by the host's number of the call.
    in_flight: HashMap<u32, Vec<Weak<Request>>>,
}

/// What one request sends.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// The request that waits for the outcome.
    pub(crate) request: Weak<Request>,
    /// Its name.
    pub(crate) request_id: String,
    /// The topic of its records.
    pub(crate) topic: String,
    /// As `hop::write_record` made it.
    pub(crate) record: Vec<u8>,
}

impl Outbox {
    /// An outbox with a queue of its own. `None` if the host has no queues.
    pub(crate) fn new(bridge: Bridge, name: &str) -> Option<Rc<Self>> {
        let queue = host::register_queue(name)?;
        Some(Rc::new(Self { bridge, queue, state: RefCell::default() }))
    }

    /// Takes a parcel. Its request hears of its outcome later, in every case.
    pub(crate) fn post(&self, parcel: Parcel) {
        let mut state = self.state.borrow_mut();
        state.waiting.push(parcel);
        if !state.token_sent {
            // Without the token nothing would ever leave; then it leaves at the next token that the host takes.
            state.token_sent = host::enqueue(self.queue);
            if !state.token_sent {
                log::error!("the host did not take a token: a request waits for the next one");
            }
        }
    }

    /// Sends all that has gathered.
    pub(crate) fn flush(&self) {
        while host::dequeue(self.queue) {}
        let waiting = {
            let mut state = self.state.borrow_mut();
            state.token_sent = false;
            std::mem::take(&mut state.waiting)
        };
        for call in share(waiting) {
            self.send(call);
        }
    }

    fn send(&self, parcels: Vec<Parcel>) {
        let mut call =
            RecordWriter::with_capacity(parcels.iter().map(|parcel| parcel.record.len() + 1).sum());
        parcels.iter().for_each(|parcel| call.push(&parcel.record));
        let request_id = match parcels.as_slice() {
            [parcel] => Some(parcel.request_id.clone()),
            _ => None,
        };
        let requests: Vec<Weak<Request>> = parcels.into_iter().map(|parcel| parcel.request).collect();
        match callout::dispatch(&self.bridge, request_id.as_deref(), &call.finish()) {
            Some(token) => {
                self.state.borrow_mut().in_flight.insert(token, requests);
            }
            None => deliver(&requests, vec![Outcome::Unreachable; requests.len()]),
        }
    }

    /// Hands out the answer to a call.
    pub(crate) fn answered(&self, token: u32, num_headers: usize, body_size: usize) {
        let Some(requests) = self.state.borrow_mut().in_flight.remove(&token) else { return };
        let response = if num_headers == 0 { None } else { callout::read_response(body_size) };
        let outcomes = outcomes(response.as_ref().map(callout::Answer::as_response), requests.len());
        deliver(&requests, outcomes);
    }
}

fn deliver(requests: &[Weak<Request>], outcomes: Vec<Outcome>) {
    for (request, outcome) in requests.iter().zip(outcomes) {
        // A caller that has left is not told; its record may be written all the same, which is what its id is for.
        if let Some(request) = request.upgrade() {
            request.resolve(outcome);
        }
    }
}

/// Sorts parcels into calls, keeping their order within a topic.
fn share(parcels: Vec<Parcel>) -> Vec<Vec<Parcel>> {
    let mut calls: Vec<Vec<Parcel>> = Vec::new();
    // The call that is being filled for each topic.
    let mut open: HashMap<String, (usize, usize)> = HashMap::new();
    for parcel in parcels {
        let len = parcel.record.len();
        let room = open.get(&parcel.topic).copied().filter(|(index, bytes)| {
            bytes + len <= MAX_BYTES && calls.get(*index).is_some_and(|call| call.len() < MAX_RECORDS)
        });
        let (index, bytes) = room.unwrap_or((calls.len(), 0));
        open.insert(parcel.topic.clone(), (index, bytes + len));
        match calls.get_mut(index) {
            Some(call) => call.push(parcel),
            None => calls.push(vec![parcel]),
        }
    }
    calls
}
