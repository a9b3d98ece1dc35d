//! The text of all metrics, as often as it is wanted, and in memory not much oftener than that.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use axum::body::Bytes;

/// As many texts may be on their way to those who asked before further ones are shared.
const MOST: usize = 8;

/// How old a text may be that is shared.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// The texts that are on their way. Whoever reads theirs gets a new one each time; who asks again and again and reads nothing
/// makes at most one a second.
#[derive(Debug, Default)]
pub(super) struct Snapshots(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    on_their_way: Vec<Weak<String>>,
    last: Option<(Instant, Weak<String>)>,
}

/// A text for as long as anybody has some of it.
struct Text(Arc<String>);

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Snapshots {
    /// What `encode` makes, now or a moment ago.
    ///
    /// # Errors
    /// Those of `encode`.
    pub(super) fn take<E>(&self, encode: impl FnOnce() -> Result<String, E>) -> Result<Bytes, E> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.on_their_way.retain(|text| text.strong_count() > 0);
        let shared = state
            .last
            .as_ref()
            .filter(|(made, _)| state.on_their_way.len() >= MOST && made.elapsed() < SHARED_FOR);
        let text = match shared.and_then(|(_, text)| text.upgrade()) {
            Some(text) => text,
            None => {
                let text = Arc::new(encode()?);
                state.on_their_way.push(Arc::downgrade(&text));
                state.last = Some((Instant::now(), Arc::downgrade(&text)));
                text
            }
        };
        Ok(Bytes::from_owner(Text(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_gets_a_new_text_and_who_does_not_shares() {
        let snapshots = Snapshots::default();
        let mut made = 0;
        let mut take = || {
            let text = snapshots.take(|| {
                made += 1;
                Ok::<_, ()>(made.to_string())
            });
            text.unwrap()
        };
        for number in 1..=20 {
            assert_eq!(take(), number.to_string());
        }
        let kept: Vec<_> = (0..1_000).map(|_| take()).collect();
        let mut distinct: Vec<_> = kept.clone();
        distinct.dedup();
        // Those that are shared, and a few more should this have taken seconds.
        assert!((MOST..100).contains(&distinct.len()), "{}", distinct.len());
        drop((kept, distinct));
        let (one, other) = (take(), take());
        assert_ne!(one, other);
    }
}
