use std::time::Duration;

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::super::gcra::Rate;
use super::*;
use crate::env::LocalStore;

const SEED: Seed = *b"0123456789abcdef";
const SECOND: u64 = 1_000_000_000;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(1_795_353_386 * SECOND + nanos)
}

fn rate() -> Rate {
    Rate::new(10, Duration::from_secs(1), 10).unwrap()
}

/// One unit for a key, if it may have it.
fn take(table: &Table, store: &mut LocalStore, key: &str, now: Timestamp) -> Result<bool, TableError> {
    let place = table.place(&SEED, key.as_bytes());
    let set = place.read(store)?;
    let decision = rate().decide(place.tat(&set, now)?, now, 1);
    if let Some(tat) = decision.write {
        assert!(place.write(store, &set, tat, now, rate().capacity())?.is_some(), "{key}");
    }
    Ok(decision.allowed)
}

#[test]
fn keys_are_counted_apart_even_where_they_share_a_set() {
    let table = Table::new("a", 16);
    let mut store = LocalStore::default();
    for key in 0..16 {
        for count in 0..12 {
            assert_eq!(take(&table, &mut store, &key.to_string(), at(0)), Ok(count < 10), "{key} {count}");
        }
    }
}

#[test]
fn a_set_that_is_full_takes_no_further_key_until_one_has_its_quota_back() {
    let table = Table::new("a", 16);
    let mut store = LocalStore::default();
    for key in 0..16 {
        assert_eq!(take(&table, &mut store, &key.to_string(), at(key)), Ok(true));
    }
    assert_eq!(take(&table, &mut store, "x", at(16)), Err(TableError::Full));
    // Those that have a slot are counted as before.
    assert_eq!(take(&table, &mut store, "7", at(16)), Ok(true));
    // One unit comes back in a tenth of a second; then the slot of key 0 is free.
    assert_eq!(take(&table, &mut store, "x", at(SECOND / 10 - 1)), Err(TableError::Full));
    assert_eq!(take(&table, &mut store, "x", at(SECOND / 10)), Ok(true));
    assert_eq!(take(&table, &mut store, "y", at(SECOND / 10)), Err(TableError::Full));
}

#[test]
fn only_one_of_two_workers_that_have_read_the_same_writes() {
    let table = Table::new("a", 1);
    let mut store = LocalStore::default();
    for now in [at(0), at(1)] {
        let place = table.place(&SEED, b"k");
        let (one, two) = (place.read(&mut store).unwrap(), place.read(&mut store).unwrap());
        let tat = Tat(Tat::at(now).0 + 5);
        assert!(place.write(&mut store, &one, tat, now, 10).unwrap().is_some());
        assert_eq!(place.write(&mut store, &two, tat, now, 10), Ok(None));
    }
}

#[test]
fn slots_that_a_wrong_clock_has_filled_come_free_in_the_time_of_a_burst() {
    let table = Table::new("a", 16);
    let mut store = LocalStore::default();
    let hour = 3_600 * SECOND;
    for key in 0..16 {
        assert_eq!(take(&table, &mut store, &key.to_string(), at(hour)), Ok(true));
    }
    // The clock is put right. The first key that writes brings the others back to what can be.
    assert_eq!(take(&table, &mut store, "x", at(0)), Err(TableError::Full));
    assert_eq!(take(&table, &mut store, "3", at(0)), Ok(false));
    assert_eq!(take(&table, &mut store, "x", at(SECOND)), Ok(true));
}

#[test]
fn slots_in_use_are_told_as_they_are_written() {
    let table = Table::new("a", 16);
    let mut store = LocalStore::default();
    let mut write = |key: &str, now, tat| {
        let place = table.place(&SEED, key.as_bytes());
        let set = place.read(&mut store).unwrap();
        place.write(&mut store, &set, Tat(Tat::at(now).0 + tat), now, 1_000_000).unwrap()
    };
    assert_eq!(write("a", at(0), 5_000), Some(1));
    assert_eq!(write("b", at(0), 5_000), Some(1));
    assert_eq!(write("a", at(1), 5_000), Some(0));
    // Those of a and b are over by now.
    assert_eq!(write("c", at(10), 5_000), Some(-1));
    // What has been given back in full takes no slot.
    assert_eq!(write("c", at(10), 0), Some(-1));
}

#[test]
fn all_workers_have_the_seed_of_the_first() {
    let mut store = LocalStore::default();
    assert_eq!(seed(&mut store, [1; 16]), Ok([1; 16]));
    assert_eq!(seed(&mut store, [2; 16]), Ok([1; 16]));
}

#[test]
fn a_seed_and_a_set_that_are_not_ours_do_no_harm() {
    let mut store = LocalStore::default();
    store.create("wicketgate/limits/seed", b"short").unwrap();
    assert_eq!(seed(&mut store, [1; 16]), Err(SharedError));
    let place = Table::new("a", 1).place(&SEED, b"k");
    store.create(&place.shared_key, &[0xff; 5_000]).unwrap();
    let set = place.read(&mut store).unwrap();
    assert_eq!(place.tat(&set, at(0)), Err(TableError::Full));
}

#[test]
fn other_gateways_put_keys_elsewhere() {
    let table = Table::new("a", 1 << 20);
    let places =
        |seed: Seed| (0..64).map(|key: u32| table.place(&seed, &key.to_le_bytes())).collect::<Vec<_>>();
    let (one, other) = (places([1; 16]), places([2; 16]));
    assert!(one.iter().zip(&other).all(|(one, other)| one.digest != other.digest));
    assert!(one.iter().zip(&other).filter(|(one, other)| one.shared_key == other.shared_key).count() < 4);
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    /// What one worker has read and not yet written.
    type Read = Option<(Place, Set, Timestamp)>;

    proptest! {
        /// Workers read and write in any order, with clocks that are a little apart.
        #[test]
        fn no_interleaving_of_workers_lets_more_through(
            steps in proptest::collection::vec((0..4_usize, 0..3_u32, 0..20_000_000_u64, 0..1_000_u64), 1..400)
        ) {
            let table = Table::new("a", 16);
            let mut store = LocalStore::default();
            let mut workers: [Read; 4] = Default::default();
            let mut taken: [Vec<u64>; 3] = Default::default();
            let mut keys = [0; 4];
            let mut clock = 0;
            for (worker, key, step, apart) in steps {
                clock += step;
                match workers[worker].take() {
                    None => {
                        let place = table.place(&SEED, &key.to_le_bytes());
                        let set = place.read(&mut store).unwrap();
                        keys[worker] = key;
                        workers[worker] = Some((place, set, at(clock.saturating_sub(apart))));
                    }
                    Some((place, set, now)) => {
                        let decision = rate().decide(place.tat(&set, now).unwrap(), now, 1);
                        let Some(tat) = decision.write else { continue };
                        let written = place.write(&mut store, &set, tat, now, rate().capacity()).unwrap();
                        if written.is_some() && decision.allowed {
                            taken[keys[worker] as usize].push(now.as_nanos());
                        }
                    }
                }
            }
            for taken in &mut taken {
                // A worker may write long after it has read its clock, and what it takes counts as taken then.
                taken.sort_unstable();
                for (index, then) in taken.iter().enumerate() {
                    for (count, now) in taken.iter().skip(index).enumerate() {
                        // The clocks are up to a microsecond apart.
                        let brought = (now - then + 1_000) * 10 / SECOND;
                        prop_assert!((count as u64) < 10 + brought);
                    }
                }
            }
        }
    }
}

#[cfg(not(target_family = "wasm"))]
mod memory {
    use super::*;

    /// As many callers as there are, a million to a second: what is kept of them does not grow with them.
    fn kept(callers: u64) -> (usize, usize) {
        let table = Table::new("a", 4_096);
        let mut store = LocalStore::default();
        for caller in 0..callers {
            let now = at(caller * 1_000);
            let place = table.place(&SEED, &caller.to_le_bytes());
            let set = place.read(&mut store).unwrap();
            // Whether there is room for it is not what counts here.
            let Ok(tat) = place.tat(&set, now) else { continue };
            if let Some(tat) = rate().decide(tat, now, 1).write {
                place.write(&mut store, &set, tat, now, rate().capacity()).unwrap();
            }
        }
        let values =
            (0..table.sets()).filter_map(|set| store.get(&format!("wicketgate/limits/a/{set}")).unwrap());
        values.fold((0, 0), |(count, bytes), (value, _)| (count + 1, bytes + value.len()))
    }

    #[test]
    fn what_is_kept_does_not_grow_with_the_number_of_callers() {
        for callers in [20_000, 200_000] {
            let (values, bytes) = kept(callers);
            assert!(values <= 256 && bytes <= 4_096 * SLOT, "{callers}: {values} values of {bytes} bytes");
        }
    }

    /// With four slots for each key that is live, no set is full.
    #[test]
    fn a_table_with_room_to_spare_counts_every_key() {
        let table = Table::new("a", 40_000);
        let mut store = LocalStore::default();
        for key in 0..10_000_u64 {
            let place = table.place(&SEED, &key.to_le_bytes());
            let set = place.read(&mut store).unwrap();
            let tat = rate().decide(place.tat(&set, at(0)).unwrap(), at(0), 1).write.unwrap();
            place.write(&mut store, &set, tat, at(0), rate().capacity()).unwrap();
        }
    }
}
