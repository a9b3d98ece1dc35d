//! Time and randomness from the host.

use wicketgate_envelope::timestamp::Timestamp;
use wicketgate_policy::auth::Memory;
use wicketgate_policy::env::{Env, LocalStore, SharedStore};

use crate::host;

/// The host's clock and random source, and the memory of this VM.
#[derive(Debug, Default)]
pub(crate) struct HostEnv {
    memory: Memory,
    shared: LocalStore,
}

impl Env for HostEnv {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(host::now_nanos())
    }

    fn fill_random(&mut self, buffer: &mut [u8]) {
        // WASI's random_get, which a host answers from its TLS library's generator. It has no way to fail there short
        // of ending the process.
        if let Err(error) = getrandom::fill(buffer) {
            log::error!("the host has no random bytes ({error}): event ids may repeat");
        }
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        host::property(path)
    }

    fn shared(&mut self) -> &mut dyn SharedStore {
        &mut self.shared
    }
}
