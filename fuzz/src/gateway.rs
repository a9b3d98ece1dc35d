//! A gateway to send requests through.

use std::rc::Rc;

use wicketgate_envelope::hop::{Ack, Receipt, RecordResult};
use wicketgate_envelope::timestamp::Timestamp;
use wicketgate_policy::auth::Memory;
use wicketgate_policy::callout::Outcome;
use wicketgate_policy::config::Config;
use wicketgate_policy::env::{Env, LocalStore, SharedStore};
use wicketgate_policy::exchange::{Effect, Event, Exchange};

use crate::message::Message;

/// The key of [`CONSUMER`].
pub const API_KEY: &[u8] = b"secret";
/// The one consumer of `gateway.json`.
pub const CONSUMER: &str = "alice";
/// Routes of every kind. The first segment of a path says what must happen to its requests.
pub const DOCUMENT: &str = include_str!("gateway.json");

/// Always the same time, and bytes that count up.
#[derive(Debug, Default)]
pub struct FixedEnv {
    random: u8,
    memory: Memory,
    shared: LocalStore,
}

impl Env for FixedEnv {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_795_353_386_123)
    }

    fn fill_random(&mut self, buffer: &mut [u8]) {
        buffer.fill(self.random);
        self.random = self.random.wrapping_add(1);
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    fn property(&self, _path: &[&str]) -> Option<Vec<u8>> {
        None
    }

    fn shared(&mut self) -> &mut dyn SharedStore {
        &mut self.shared
    }
}

/// The configuration of [`DOCUMENT`].
pub fn config() -> Rc<Config> {
    thread_local! {
        static CONFIG: Rc<Config> = Rc::new(
            Config::from_json(DOCUMENT.as_bytes()).unwrap_or_else(|errors| panic!("gateway.json:\n{errors}")),
        );
    }
    CONFIG.with(Rc::clone)
}

/// Sends a whole request, and says what happens once the core has all of it.
pub fn send(config: &Rc<Config>, message: &Message<'_>) -> Effect {
    let mut exchange = Exchange::new(Rc::clone(config));
    let env = &mut FixedEnv::default();
    let len = message.body.len();
    let head = Event::Head { head: message.head.clone(), end_of_stream: len == 0 };
    match exchange.step(head, env) {
        Effect::Wait => {}
        effect => return effect,
    }
    match exchange.step(Event::BodyBuffered { len, end_of_stream: true }, env) {
        Effect::ReadBody { len: wanted } => {
            assert_eq!(wanted, len);
            exchange.step(Event::Body(message.body), env)
        }
        effect => effect,
    }
}

/// Kafka has the record with the event of this id, in this topic.
pub fn acknowledged(id: &str, topic: &str) -> Outcome {
    let receipt = Receipt {
        id: id.to_owned(),
        topic: topic.to_owned(),
        partition: Some(0),
        offset: Some(7),
        timestamp: Some("2026-11-22T13:16:26.123Z".to_owned()),
        ack: Ack::All,
    };
    Outcome::Answered(RecordResult::Acknowledged { receipt, replayed: false })
}
