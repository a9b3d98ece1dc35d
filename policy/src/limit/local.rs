//! What a VM remembers of limits.

use std::collections::HashMap;

use super::table::{Digest, Seed, seed};
use crate::env::{Env, SharedError};

/// What one VM knows of limits under one configuration.
#[derive(Debug, Default)]
pub struct Local {
    seed: Option<Seed>,
    owner: Option<u64>,
    /// What this VM has in flight itself, by the shared value and the digest of the key. An entry is gone with its last
    /// request.
    pub(super) in_flight: HashMap<(String, Digest), u32>,
}

impl Local {
    /// The random bytes of this gateway.
    pub(super) fn seed(env: &mut dyn Env) -> Result<Seed, SharedError> {
        if let Some(seed) = env.memory().limits.seed {
            return Ok(seed);
        }
        let mut fresh = Seed::default();
        env.fill_random(&mut fresh);
        let seed = seed(env.shared(), fresh)?;
        env.memory().limits.seed = Some(seed);
        Ok(seed)
    }

    /// A number that no other VM and no other configuration has.
    pub(super) fn owner(env: &mut dyn Env) -> u64 {
        if let Some(owner) = env.memory().limits.owner {
            return owner;
        }
        let mut random = [0; 8];
        env.fill_random(&mut random);
        let owner = u64::from_le_bytes(random);
        env.memory().limits.owner = Some(owner);
        owner
    }
}
