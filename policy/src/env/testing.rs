//! An [`Env`] for tests: a clock that stands still, random bytes that count up, and no host behind it.

use std::collections::BTreeMap;

use wicketgate_envelope::timestamp::Timestamp;

use super::{Env, LocalStore, SharedStore};
use crate::auth::Memory;

/// 2026-11-22T13:16:26.123Z, and bytes that count up from 1.
pub(crate) struct TestEnv {
    pub(crate) now: Timestamp,
    pub(crate) random: u8,
    pub(crate) memory: Memory,
    pub(crate) properties: BTreeMap<String, Vec<u8>>,
    pub(crate) shared: LocalStore,
}

impl Default for TestEnv {
    fn default() -> Self {
        Self {
            now: Timestamp::from_millis(1_795_353_386_123),
            random: 1,
            memory: Memory::default(),
            properties: BTreeMap::new(),
            shared: LocalStore::default(),
        }
    }
}

impl Env for TestEnv {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn fill_random(&mut self, buffer: &mut [u8]) {
        buffer.fill(self.random);
        self.random = self.random.wrapping_add(1);
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.properties.get(&path.join(".")).cloned()
    }

    fn shared(&mut self) -> &mut dyn SharedStore {
        &mut self.shared
    }
}
