//! What a VM remembers of credentials that it has checked and of what authorities have said.

use wicketgate_envelope::timestamp::Timestamp;

use super::basic::Remembered;
use crate::fetch::{FetchKey, Response};

/// The bounded caches of one VM and one configuration. A new configuration starts with empty ones, so nothing that was
/// checked by an old rule is believed under a new one.
#[derive(Debug, Default)]
pub struct Memory {
    /// Passwords that were checked.
    pub(super) passwords: Remembered,
    /// What is known of limits.
    pub(crate) limits: crate::limit::Local,
}

impl Memory {
    /// Takes in what an authority has said. `None` is a call that failed or whose answer was larger than asked for.
    pub fn fetched(&mut self, key: &FetchKey, response: Option<Response<'_>>, now: Timestamp) {
        let _ = (key, response, now);
    }
}
