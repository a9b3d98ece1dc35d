//! Log lines that callers could have written without end.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a line that is like one before is left out.
const PAUSE: Duration = Duration::from_secs(1);
/// Of how many kinds there may be lines in that time.
const KINDS: usize = 64;

/// Says which of many lines are written: of each kind one a second, and of so many kinds.
#[derive(Debug, Default)]
pub struct Sparse {
    hasher: RandomState,
    /// When the last line of a kind was written, and how many have been left out since.
    kinds: Mutex<HashMap<u64, (Instant, u64)>>,
}

impl Sparse {
    /// Whether a line of this kind is written at `now`: if so, how many of its kind have been left out since the last.
    pub fn take(&self, kind: impl Hash, now: Instant) -> Option<u64> {
        let kind = self.hasher.hash_one(kind);
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((last, left_out)) = kinds.get_mut(&kind) {
            if now.saturating_duration_since(*last) < PAUSE {
                *left_out += 1;
                return None;
            }
            *last = now;
            return Some(std::mem::take(left_out));
        }
        if kinds.len() >= KINDS {
            kinds.retain(|_, (last, _)| now.saturating_duration_since(*last) < PAUSE);
        }
        if kinds.len() >= KINDS {
            return None;
        }
        kinds.insert(kind, (now, 0));
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_kind_there_is_one_a_second_which_counts_the_others() {
        let sparse = Sparse::default();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(sparse.take("a", at(0)), Some(0));
        assert_eq!(sparse.take("a", at(0)), None);
        assert_eq!(sparse.take("a", at(999)), None);
        assert_eq!(sparse.take("b", at(999)), Some(0));
        assert_eq!(sparse.take("a", at(1_000)), Some(2));
        assert_eq!(sparse.take("a", at(2_000)), Some(0));
    }

    #[test]
    fn the_kinds_are_bounded() {
        let sparse = Sparse::default();
        let now = Instant::now();
        let written = |now| (0..1_000).filter(|kind| sparse.take(kind, now).is_some()).count();
        assert_eq!(written(now), KINDS);
        assert_eq!(written(now + PAUSE), KINDS);
    }
}
