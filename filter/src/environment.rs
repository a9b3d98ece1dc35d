//! Time and randomness from the host.

use wicketgate_envelope::timestamp::Timestamp;
use wicketgate_policy::env::Env;

use crate::host;

/// The host's clock and random source.
#[derive(Debug)]
pub(crate) struct HostEnv;

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
}
