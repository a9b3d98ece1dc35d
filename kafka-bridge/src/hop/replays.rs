//! Which signatures have been here, as long as they would be good.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use wicketgate_envelope::signature::{DIGEST_BYTES, TOLERANCE};

/// As much of a signature as tells it from others: nobody can make two that start with the same 128 bits.
type Key = [u8; DIGEST_BYTES / 2];

/// What [`Replays::admit`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It has not been here, and is known from now on.
    New,
    /// It has been here, or may have been.
    Seen,
    /// It has not been here, and there is no room to remember it.
    Full,
}

/// The signatures of the last two minutes, by the second in which they were made. A signature that comes again
/// comes with the same time, so only that second is searched, and a second is forgotten whole.
#[derive(Debug)]
pub(super) struct Replays {
    seconds: BTreeMap<u64, HashSet<Key>>,
    count: usize,
    limit: usize,
    /// The latest second that is forgotten. Should the clock be set back, nothing of that time is good again.
    forgotten: Option<u64>,
}

impl Replays {
    /// Room for so many signatures, about 50 bytes each.
    pub(super) fn new(limit: usize) -> Self {
        Self { seconds: BTreeMap::new(), count: 0, limit, forgotten: None }
    }

    /// Takes a signature, known to be good, that was made at `timestamp` (milliseconds).
    pub(super) fn admit(&mut self, timestamp: u64, mac: &[u8; DIGEST_BYTES], now: Duration) -> Admission {
        self.forget(now.saturating_sub(TOLERANCE).as_secs());
        let second = timestamp / 1000;
        if self.forgotten.is_some_and(|forgotten| second <= forgotten) {
            return Admission::Seen;
        }
        let mut key = Key::default();
        key.copy_from_slice(mac.split_at(size_of::<Key>()).0);
        if self.seconds.get(&second).is_some_and(|keys| keys.contains(&key)) {
            return Admission::Seen;
        }
        if self.count >= self.limit {
            return Admission::Full;
        }
        self.seconds.entry(second).or_default().insert(key);
        self.count += 1;
        Admission::New
    }

    /// Forgets the seconds before `horizon`, whose signatures are too old to be good.
    fn forget(&mut self, horizon: u64) {
        while let Some(entry) = self.seconds.first_entry().filter(|entry| *entry.key() < horizon) {
            let (second, keys) = entry.remove_entry();
            self.count -= keys.len();
            self.forgotten = self.forgotten.max(Some(second));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(number: u8) -> [u8; DIGEST_BYTES] {
        [number; DIGEST_BYTES]
    }

    #[test]
    fn each_is_new_once_for_as_long_as_it_is_good() {
        let mut replays = Replays::new(100);
        let made = 1_000_000;
        let now = |millis| Duration::from_millis(millis);
        assert_eq!(replays.admit(made, &mac(1), now(made - 60_000)), Admission::New);
        assert_eq!(replays.admit(made, &mac(2), now(made - 60_000)), Admission::New);
        for millis in [made - 60_000, made, made + 60_000] {
            assert_eq!(replays.admit(made, &mac(1), now(millis)), Admission::Seen, "{millis}");
        }
        // Forgotten, and the clock is set back: nothing of that second is taken.
        assert_eq!(replays.admit(made + 70_000, &mac(3), now(made + 61_000)), Admission::New);
        assert_eq!(replays.count, 1);
        assert_eq!(replays.admit(made, &mac(1), now(made)), Admission::Seen);
        assert_eq!(replays.admit(made + 999, &mac(4), now(made)), Admission::Seen);
        assert_eq!(replays.admit(made + 1000, &mac(4), now(made)), Admission::New);
    }

    #[test]
    fn a_full_memory_takes_nothing_until_time_has_made_room() {
        let mut replays = Replays::new(2);
        let now = Duration::from_secs(1_000);
        assert_eq!(replays.admit(1_000_000, &mac(1), now), Admission::New);
        assert_eq!(replays.admit(1_030_000, &mac(2), now), Admission::New);
        assert_eq!(replays.admit(1_000_000, &mac(3), now), Admission::Full);
        assert_eq!(replays.admit(1_000_000, &mac(1), now), Admission::Seen);
        let later = now + TOLERANCE + Duration::from_secs(1);
        assert_eq!(replays.admit(1_061_000, &mac(4), later), Admission::New);
        assert_eq!(replays.admit(1_061_000, &mac(5), later), Admission::Full);
        assert_eq!((replays.count, replays.seconds.len()), (2, 2));
    }
}
