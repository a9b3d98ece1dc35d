//! One row: a bridge under load, a fault, its end, and what is left of it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Mutex, MutexGuard};
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::kafka::Kafka;
use wicketgate_tests::topic::{Record, Topic};
use wicketgate_tests::wait::until;

use crate::account::{self, Account, Rules};
use crate::load::{Attempt, Load, Plan, Told};
use crate::readiness::Watch;
use crate::table;

/// Recovery is waited for so long; the table says how long it took.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);

/// How many events are acknowledged before a fault, and after it.
pub(crate) const SOME: usize = 200;

/// Rows load the machine, and what one measures is not to be the load of another.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// Runs what blocks.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// A row being played.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) load: Load,
    watch: Watch,
    /// Of the bridge; it tells when the breaker opened.
    log: PathBuf,
    fault: Option<Instant>,
    over: Option<Instant>,
    duplicates: bool,
    ack: &'static str,
}

/// A row that has been played.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) times: Times,
    ack: &'static str,
    duplicates: bool,
}

/// How long things took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// From the beginning of the fault to the first 503; `None` if there was none.
    pub(crate) first_503: Option<Duration>,
    /// From the moment at which a breaker of the bridge opened to the first 503 after that; `None` if none opened.
    pub(crate) after_opening: Option<Duration>,
    /// From the end of the fault to a `/readyz` that stays 200; `None` if it never was anything else.
    pub(crate) ready_again: Option<Duration>,
}

impl Scene {
    /// Starts callers, and waits until all is well. `bridge` is the one that is watched.
    pub(crate) async fn open(plan: Plan, bridge: &Bridge) -> Self {
        let (insist, ack) = (plan.insist, plan.ack.unwrap_or("all"));
        let (load, watch) = (Load::start(plan), Watch::start(bridge.address()));
        let log = bridge.process().log_file().to_owned();
        load.until_acknowledged(SOME).await;
        Self { load, watch, log, fault: None, over: None, duplicates: insist, ack }
    }

    /// From now on things go wrong.
    pub(crate) fn fault_begins(&mut self) {
        self.fault.get_or_insert_with(Instant::now);
    }

    /// From now on there is nothing in the way any more.
    pub(crate) fn fault_is_over(&mut self) {
        self.over = Some(Instant::now());
    }

    /// An event may be there more than once, although its caller sent it once.
    pub(crate) fn may_repeat(&mut self) {
        self.duplicates = true;
    }

    /// When the first breaker opened since the fault began, as the bridge's log has it.
    fn opened(&self) -> Option<Instant> {
        let fault = self.fault?;
        let log = fs::read_to_string(&self.log).expect("the bridge's log can be read");
        let openings = log.lines().filter_map(|line| {
            let (time, rest) = line.split_once(' ')?;
            let (level, _) = rest.split_once(" kafka_bridge::breaker: ")?;
            matches!(level.trim(), "WARN" | "ERROR").then_some(())?;
            let ago = SystemTime::now().duration_since(humantime::parse_rfc3339(time).ok()?).ok()?;
            Instant::now().checked_sub(ago)
        });
        openings.filter(|opened| *opened >= fault).min()
    }

    /// Waits until all is well again, and for the callers to finish.
    pub(crate) async fn close(self) -> Played {
        self.load.until_acknowledged(SOME).await;
        let ready = until(RECOVERY_LIMIT, || async { self.watch.is_ready().then_some(()) }).await;
        assert!(ready.is_ok(), "the bridge is not ready {RECOVERY_LIMIT:?} after the fault");
        let opened = self.opened();
        let attempts = self.load.finish().await;
        let times = Times {
            first_503: self.fault.and_then(|fault| first_503(&attempts, fault)),
            after_opening: opened.and_then(|opened| first_503(&attempts, opened)),
            ready_again: self.fault.zip(self.over).and_then(|(fault, over)| self.watch.again(fault, over)),
        };
        Played { attempts, times, ack: self.ack, duplicates: self.duplicates }
    }
}

/// From `since` to the first 503 after it.
fn first_503(attempts: &[Attempt], since: Instant) -> Option<Duration> {
    let refused = attempts
        .iter()
        .filter(|attempt| attempt.told == Told::NotWritten(503) && attempt.answered >= since)
        .map(|attempt| attempt.answered - since);
    refused.min()
}

impl Played {
    /// Reads the topic, holds what callers were told against it, and makes a row of it; `number` is its place in the
    /// table.
    pub(crate) async fn compare(&self, number: u32, fault: &str, topic: &Topic<'_>) -> Account {
        let account = self.settle(fault, &self.attempts, &topic.records().await);
        self.tell(number, fault, &account);
        account
    }

    /// Holds some of the attempts against records that were read already. Panics at whatever does not hold.
    pub(crate) fn settle(&self, what: &str, attempts: &[Attempt], records: &[Record]) -> Account {
        let rules = Rules { ack: self.ack, duplicates: self.duplicates };
        let settled = account::settle(attempts, records, rules);
        settled.unwrap_or_else(|(account, wrong)| panic!("{what}: {account:?}\n{wrong}"))
    }

    /// Makes a row of the table.
    pub(crate) fn tell(&self, number: u32, fault: &str, account: &Account) {
        table::add(number, fault, account, &self.times);
    }
}

/// A topic of one row.
pub(crate) async fn topic<'k>(kafka: &'k Kafka, label: &str) -> Topic<'k> {
    Topic::create(kafka, label, 3).await
}
