//! A bounded cache for what is costly to find out.

use std::collections::HashMap;
use std::hash::Hash;

/// Keeps at least the `bound` newest entries and at most twice as many. Entries are dropped a generation at a time, so
/// that neither reading nor writing ever takes longer than a look-up.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    bound: usize,
    newest: HashMap<K, V>,
    older: HashMap<K, V>,
}

impl<K: Eq + Hash, V> Cache<K, V> {
    pub(crate) fn new(bound: usize) -> Self {
        Self { bound, newest: HashMap::new(), older: HashMap::new() }
    }

    /// The entry of this key. One that is asked for moves to the newest.
    pub(crate) fn get(&mut self, key: &K) -> Option<&V>
    where
        K: Clone,
    {
        if let Some(value) = self.older.remove(key) {
            self.insert(key.clone(), value);
        }
        self.newest.get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.newest.len() >= self.bound && !self.newest.contains_key(&key) {
            self.older = std::mem::take(&mut self.newest);
        }
        self.older.remove(&key);
        self.newest.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &K) {
        self.older.remove(key);
        self.newest.remove(key);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.newest.len() + self.older.len()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn it_stays_within_its_bound_and_keeps_what_is_used() {
        let mut cache = Cache::new(10);
        for number in 0..1_000 {
            cache.insert(number, number);
            assert_eq!(cache.get(&0), Some(&0), "{number}");
            assert!(cache.len() <= 20);
        }
        for number in 991..1_000 {
            assert_eq!(cache.get(&number), Some(&number));
        }
        assert_eq!(cache.get(&500), None);
        cache.remove(&0);
        assert_eq!(cache.get(&0), None);
    }
}
