//! What the host lends to the core.

use wicketgate_envelope::timestamp::Timestamp;

/// Time and randomness, as the host has them.
pub trait Env {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Fills `buffer` with bytes that nobody can guess.
    fn fill_random(&mut self, buffer: &mut [u8]);
}

/// A fresh UUID, version 7 (RFC 9562, section 5.7): ordered by time, unique across workers and restarts.
pub fn fresh_id(env: &mut dyn Env) -> String {
    let mut random = [0; 10];
    env.fill_random(&mut random);
    uuid::Builder::from_unix_timestamp_millis(env.now().as_millis(), &random).into_uuid().to_string()
}
