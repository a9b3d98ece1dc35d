//! Which connections may stay when there are as many as there may be.
//!
//! A connection is a stranger's until a request on it has been let in. The last place is kept free: whoever takes it puts out
//! the stranger from whom nothing has come for longest, so that a new caller gets in however many strangers there are, and
//! stays if he sends what he has to send before all of the others have. Nobody is put out for a stranger whose connection has
//! been let in. Of these there are so many at most that some places are left; beyond that the one that has been idle for
//! longest is ended as idle ones are.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Metrics;
use crate::body_memory::ConnectionMemory;

/// The part of all places that is left to those who have not been let in, as a divisor, and bounds for it.
const NEWCOMERS_PART: usize = 8;
const NEWCOMERS: (usize, usize) = (2, 256);

/// All connections.
#[derive(Debug)]
pub(crate) struct Connections {
    /// The most at a time.
    limit: usize,
    state: Mutex<State>,
    /// One has ended.
    ended: Notify,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    /// All of them, those included that are about to end.
    open: usize,
    /// By turn, without those that have been put out.
    strangers: BTreeMap<u64, Arc<Connection>>,
    let_in: HashMap<u64, Arc<Connection>>,
    /// Those that have been let in and go gracefully.
    leaving: HashMap<u64, Arc<Connection>>,
    next_turn: u64,
}

/// One connection, as far as others have to know of it.
#[derive(Debug)]
pub(crate) struct Connection {
    /// What bodies on it take.
    memory: Arc<ConnectionMemory>,
    all: Arc<Connections>,
    let_in: AtomicBool,
    own: Mutex<Own>,
    /// Its task has to look at it.
    told: Notify,
}

/// What changes with each request.
#[derive(Clone, Debug)]
pub(super) struct Own {
    /// Where it is in its map; whoever changes that holds the lock of [`State`] too.
    turn: u64,
    /// Requests whose answer has not been handed over whole.
    pub(super) in_flight: u32,
    /// Since when there has been none.
    pub(super) quiet_since: Instant,
    /// When answers began that have not been handed over whole.
    answers: BTreeMap<u64, Instant>,
    next_answer: u64,
    /// Whether it has to go, and how.
    pub(super) put_out: Option<PutOut>,
}

/// How a connection goes to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PutOut {
    /// With all that is on it.
    AtOnce,
    /// When the requests on it are answered.
    Gracefully,
}

impl Own {
    /// When the oldest answer began that has not been handed over.
    pub(super) fn oldest_answer(&self) -> Option<Instant> {
        self.answers.first_key_value().map(|(_, began)| *began)
    }
}

impl Connections {
    /// None yet, and so many at most.
    pub(crate) fn new(limit: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        metrics.limit(limit);
        Arc::new(Self { limit, state: Mutex::default(), ended: Notify::new(), metrics })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is a place.
    pub(super) async fn room(&self) {
        self.fewer_than(self.limit).await;
    }

    /// Waits until all have ended.
    pub(super) async fn none(&self) {
        self.fewer_than(1).await;
    }

    async fn fewer_than(&self, count: usize) {
        loop {
            let ended = self.ended.notified();
            if self.state().open < count {
                return;
            }
            ended.await;
        }
    }

    /// Whether requests that were let in are not answered yet.
    pub(super) fn has_requests(&self) -> bool {
        let state = self.state();
        state.let_in.values().chain(state.leaving.values()).any(|connection| connection.own().in_flight > 0)
    }

    /// A connection has come, for which there was [room](Self::room).
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let mut state = self.state();
        let turn = state.turn();
        let connection = Arc::new(Connection {
            memory: Arc::default(),
            all: Arc::clone(self),
            let_in: AtomicBool::new(false),
            own: Mutex::new(Own {
                turn,
                in_flight: 0,
                quiet_since: Instant::now(),
                answers: BTreeMap::new(),
                next_answer: 0,
                put_out: None,
            }),
            told: Notify::new(),
        });
        state.open += 1;
        if state.open >= self.limit
            && let Some((_, stranger)) = state.strangers.pop_first()
        {
            stranger.put_out(PutOut::AtOnce);
        }
        state.strangers.insert(turn, Arc::clone(&connection));
        self.count(&state);
        Place(connection)
    }

    fn count(&self, state: &State) {
        let let_in = state.let_in.len() + state.leaving.len();
        self.metrics.open(let_in, state.open.saturating_sub(let_in));
    }

    /// The most that have been let in.
    fn most_let_in(&self) -> usize {
        let newcomers = (self.limit / NEWCOMERS_PART).clamp(NEWCOMERS.0, NEWCOMERS.1);
        self.limit.saturating_sub(newcomers).max(1)
    }
}

impl State {
    fn turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }

    /// The one that has been idle for longest of those that have been let in.
    fn longest_idle(&self) -> Option<u64> {
        let idle = self.let_in.iter().filter_map(|(turn, connection)| {
            let own = connection.own();
            (own.in_flight == 0).then_some((own.quiet_since, *turn))
        });
        idle.min().map(|(_, turn)| turn)
    }
}

impl Connection {
    /// What bodies on it take.
    pub(crate) fn memory(&self) -> &Arc<ConnectionMemory> {
        &self.memory
    }

    /// Something of use has come on it.
    pub(crate) fn heard(&self) {
        if self.is_let_in() {
            return;
        }
        let mut state = self.all.state();
        let mut own = self.own();
        if let Some(connection) = state.strangers.remove(&own.turn) {
            own.turn = state.turn();
            state.strangers.insert(own.turn, connection);
        }
    }

    /// A request on it has been let in.
    pub(crate) fn let_in(self: &Arc<Self>) {
        if self.is_let_in() {
            return;
        }
        let mut state = self.all.state();
        let mut own = self.own();
        if self.let_in.swap(true, Ordering::Relaxed) {
            return;
        }
        state.strangers.remove(&own.turn);
        // If it was to go in this moment it stays, unless its task was quicker.
        own.put_out = None;
        let turn = own.turn;
        drop(own);
        state.let_in.insert(turn, Arc::clone(self));
        if state.let_in.len() > self.all.most_let_in() {
            // If none is idle this one goes, with its answer: the request that let it in is on it.
            let turn = state.longest_idle().unwrap_or(turn);
            if let Some(leaving) = state.let_in.remove(&turn) {
                leaving.put_out(PutOut::Gracefully);
                state.leaving.insert(turn, leaving);
            }
        }
        self.all.count(&state);
    }

    pub(super) fn is_let_in(&self) -> bool {
        self.let_in.load(Ordering::Relaxed)
    }

    /// As it is now.
    pub(super) fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is to be looked at.
    pub(super) async fn told(&self) {
        self.told.notified().await;
    }

    fn put_out(&self, how: PutOut) {
        self.own().put_out = Some(how);
        self.all.metrics.ended("limit");
        self.told.notify_one();
    }

    /// A request has come on it.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.heard();
        self.own().in_flight += 1;
        InFlight { connection: Arc::clone(self), answer: None }
    }

    /// Why it was ended, for the metrics.
    pub(super) fn count_end(&self, reason: &'static str) {
        self.all.metrics.ended(reason);
    }
}

/// A connection's place among all, given up when this value is dropped.
#[derive(Debug)]
pub(super) struct Place(pub(super) Arc<Connection>);

impl Drop for Place {
    fn drop(&mut self) {
        let all = &self.0.all;
        let mut state = all.state();
        let turn = self.0.own().turn;
        state.strangers.remove(&turn);
        state.let_in.remove(&turn);
        state.leaving.remove(&turn);
        state.open = state.open.saturating_sub(1);
        all.count(&state);
        drop(state);
        all.ended.notify_waiters();
    }
}

/// A request whose answer has not been handed over whole; it has when this value is dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    connection: Arc<Connection>,
    answer: Option<u64>,
}

impl InFlight {
    /// Its answer begins.
    pub(super) fn answered(&mut self) {
        let mut own = self.connection.own();
        let number = own.next_answer;
        own.next_answer += 1;
        own.answers.insert(number, Instant::now());
        self.answer = Some(number);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut own = self.connection.own();
        own.in_flight = own.in_flight.saturating_sub(1);
        if let Some(number) = self.answer {
            own.answers.remove(&number);
        }
        if own.in_flight == 0 {
            own.quiet_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    fn connections(limit: usize) -> Arc<Connections> {
        Connections::new(limit, Arc::new(Metrics::register(&mut Registry::default())))
    }

    fn put_out(place: &Place) -> Option<PutOut> {
        place.0.own().put_out
    }

    fn has_room(connections: &Connections) -> bool {
        connections.state().open < connections.limit
    }

    #[test]
    fn the_stranger_goes_from_whom_nothing_has_come_for_longest() {
        let all = connections(4);
        let places: Vec<_> = (0..3).map(|_| all.enter()).collect();
        assert!(places.iter().all(|place| put_out(place).is_none()) && has_room(&all));
        places[0].0.heard();
        drop(places[2].0.begin());
        let fourth = all.enter();
        assert_eq!(put_out(&places[1]), Some(PutOut::AtOnce));
        // Its task has not ended it yet.
        assert!(!has_room(&all));
        let mut places = places;
        drop(places.remove(1));
        assert!(has_room(&all));
        let fifth = all.enter();
        assert_eq!(places.iter().map(put_out).collect::<Vec<_>>(), [Some(PutOut::AtOnce), None]);
        assert_eq!((put_out(&fourth), put_out(&fifth)), (None, None));
        drop((places, fourth, fifth));
        assert_eq!(all.state().open, 0);
        assert!(all.state().strangers.is_empty());
    }

    #[test]
    fn strangers_put_out_nobody_who_was_let_in() {
        let all = connections(10);
        let callers: Vec<_> = (0..8).map(|_| all.enter()).collect();
        for caller in &callers {
            let _request = caller.0.begin();
            caller.0.let_in();
        }
        for _ in 0..50 {
            drop(all.enter());
            let strangers = [all.enter(), all.enter()];
            assert_eq!(put_out(&strangers[0]), Some(PutOut::AtOnce));
        }
        assert!(callers.iter().all(|caller| put_out(caller).is_none()));
    }

    #[test]
    fn who_is_let_in_while_being_put_out_stays() {
        let all = connections(4);
        let places: Vec<_> = (0..4).map(|_| all.enter()).collect();
        assert_eq!(put_out(&places[0]), Some(PutOut::AtOnce));
        places[0].0.let_in();
        assert_eq!(put_out(&places[0]), None);
        assert_eq!(all.state().let_in.len(), 1);
    }

    #[test]
    fn beyond_their_places_the_longest_idle_goes_gracefully_or_the_last_with_its_answer() {
        let all = connections(8);
        let come = || {
            let place = all.enter();
            let request = place.0.begin();
            place.0.let_in();
            (place, request)
        };
        let mut busy: Vec<_> = (0..6).map(|_| come()).collect();
        assert!(busy.iter().all(|(place, _)| put_out(place).is_none()));
        let (seventh, request) = come();
        assert_eq!(put_out(&seventh), Some(PutOut::Gracefully));
        drop((seventh, request));
        let (idle, request) = busy.remove(2);
        drop(request);
        let (later_idle, request) = busy.remove(0);
        drop(request);
        let (eighth, request) = come();
        let put_out_now: Vec<_> = [&idle, &later_idle, &eighth].into_iter().map(put_out).collect();
        assert_eq!(put_out_now, [Some(PutOut::Gracefully), None, None]);
        assert!(busy.iter().all(|(place, _)| put_out(place).is_none()));
        // One that goes is still asked for requests that are on it.
        drop((busy, request));
        assert!(!all.has_requests());
        let _late = idle.0.begin();
        assert!(all.has_requests());
    }

    #[test]
    fn answers_are_known_by_their_age() {
        let all = connections(8);
        let place = all.enter();
        let (mut first, mut second) = (place.0.begin(), place.0.begin());
        assert_eq!(place.0.own().oldest_answer(), None);
        second.answered();
        let began = place.0.own().oldest_answer().unwrap();
        first.answered();
        assert_eq!(place.0.own().oldest_answer(), Some(began));
        drop(second);
        assert!(place.0.own().oldest_answer().is_some());
        assert_eq!(place.0.own().in_flight, 1);
        drop(first);
        let own = place.0.own();
        assert_eq!((own.oldest_answer(), own.in_flight), (None, 0));
        drop(own);
    }
}
