//! A [`SharedStore`] for one thread: the command line and tests have no host.

use std::collections::BTreeMap;

use super::{SharedError, SharedStore, Version};

/// Shared data in this process's memory.
#[derive(Clone, Debug, Default)]
pub struct LocalStore {
    values: BTreeMap<String, (Vec<u8>, u32)>,
}

impl SharedStore for LocalStore {
    fn get(&mut self, key: &str) -> Result<Option<(Vec<u8>, Version)>, SharedError> {
        Ok(self.values.get(key).map(|(value, version)| (value.clone(), Version(*version))))
    }

    fn create(&mut self, key: &str, value: &[u8]) -> Result<bool, SharedError> {
        let absent = !self.values.contains_key(key);
        if absent {
            self.values.insert(key.to_owned(), (value.to_vec(), 1));
        }
        Ok(absent)
    }

    fn compare_and_swap(&mut self, key: &str, value: &[u8], version: Version) -> Result<bool, SharedError> {
        match self.values.get_mut(key) {
            Some((known, current)) if *current == version.0 => {
                *known = value.to_vec();
                *current = current.wrapping_add(1);
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_value_is_replaced_only_by_who_has_seen_the_newest() {
        let mut store = LocalStore::default();
        assert_eq!(store.get("k"), Ok(None));
        assert_eq!(store.compare_and_swap("k", b"x", Version(0)), Ok(false));
        assert_eq!((store.create("k", b"a"), store.create("k", b"b")), (Ok(true), Ok(false)));
        let (_, version) = store.get("k").unwrap().unwrap();
        assert_eq!(store.compare_and_swap("k", b"c", version), Ok(true));
        assert_eq!(store.compare_and_swap("k", b"d", version), Ok(false));
        assert_eq!(store.get("k").unwrap().unwrap().0, b"c");
    }
}
