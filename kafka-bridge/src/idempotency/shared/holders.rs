//! Who in this process holds which claim. Several requests with one event hold the same claim, and it is given up with
//! the last of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

use super::Task;
use crate::idempotency::Identity;

/// All claims of this process.
#[derive(Debug)]
pub(super) struct Holders {
    held: Mutex<HashMap<Identity, Held>>,
    /// To whom it is said that a claim is to be given up.
    tasks: mpsc::WeakUnboundedSender<Task>,
}

#[derive(Debug, Default)]
struct Held {
    holders: usize,
    /// Whether Redis may have the claim.
    claimed: bool,
    /// Whether it is known where the event is: such a claim is replaced by that, and never given up.
    written: bool,
    /// Whether the event is being written, or was, and the memory has no room for it: who comes now is not to write it too.
    unremembered: bool,
    /// Closed once Redis was told that the claim is given up; there while it is being told.
    releasing: Option<watch::Receiver<()>>,
}

/// A claim, or a share in one. When nobody has one any more, the claim is given up, so that other bridges can have it at
/// once.
pub struct Hold {
    holders: Arc<Holders>,
    identity: Identity,
    /// Whether Redis may have the claim.
    claimed: bool,
    ended: bool,
}

/// The claim of an event is being given up until this is dropped.
#[derive(Debug)]
pub(super) struct Releasing {
    holders: Arc<Holders>,
    identity: Identity,
    /// Only for being dropped.
    _done: watch::Sender<()>,
}

impl Holders {
    pub(super) fn new(tasks: mpsc::WeakUnboundedSender<Task>) -> Self {
        Self { held: Mutex::default(), tasks }
    }

    /// Holds what is about to be claimed. Waits while Redis is being told that the same claim is given up: asked in
    /// between, it would still show the old one.
    pub(super) async fn hold(self: &Arc<Self>, identity: Identity) -> Hold {
        loop {
            let mut released = {
                let mut all = self.held();
                let held = all.entry(identity).or_default();
                match &held.releasing {
                    Some(released) => released.clone(),
                    None => {
                        held.holders += 1;
                        return Hold { holders: Arc::clone(self), identity, claimed: true, ended: false };
                    }
                }
            };
            // An error says that it is done.
            while released.changed().await.is_ok() {}
        }
    }

    /// Begins to give up a claim, unless somebody holds it again.
    pub(super) fn release(self: &Arc<Self>, identity: Identity) -> Option<Releasing> {
        let mut all = self.held();
        let held = all.get_mut(&identity).filter(|held| held.holders == 0 && held.releasing.is_none())?;
        let (done, released) = watch::channel(());
        held.releasing = Some(released);
        Some(Releasing { holders: Arc::clone(self), identity, _done: done })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Identity, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Redis has somebody else's claim, or the event, or was not asked: there is nothing to give up.
    pub(super) fn unclaimed(&mut self) {
        self.claimed = false;
    }

    /// The event is about to be written, and only those who hold its claim will know.
    pub(in crate::idempotency) fn unremembered(&self) {
        if let Some(held) = self.holders.held().get_mut(&self.identity) {
            held.unremembered = true;
        }
    }

    /// Whether somebody else who holds the claim has the event in hand, and the memory does not know.
    pub(in crate::idempotency) fn is_unremembered(&self) -> bool {
        self.holders.held().get(&self.identity).is_some_and(|held| held.unremembered)
    }

    /// Gives up this share; returns whether it was the last, and the claim is to be given up with it.
    pub(super) fn end(mut self) -> bool {
        self.ended = true;
        self.leave()
    }

    fn leave(&self) -> bool {
        let mut all = self.holders.held();
        let Some(held) = all.get_mut(&self.identity) else { return false };
        held.holders = held.holders.saturating_sub(1);
        held.claimed |= self.claimed;
        if held.holders > 0 {
            return false;
        }
        let to_release = held.claimed && !held.written;
        if !to_release {
            all.remove(&self.identity);
        }
        to_release
    }

    /// It is known where the event is, and Redis is about to be told.
    pub(super) fn written(&self) {
        if let Some(held) = self.holders.held().get_mut(&self.identity) {
            held.written = true;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.ended && self.leave() {
            // Without a bridge there is nobody to tell, and the claim expires.
            if let Some(tasks) = self.holders.tasks.upgrade() {
                let _ = tasks.send(Task::Release(self.identity));
            }
        }
    }
}

impl Drop for Releasing {
    fn drop(&mut self) {
        self.holders.held().remove(&self.identity);
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("identity", &self.identity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity::from_bytes([7; 32])
    }

    fn holders() -> (Arc<Holders>, mpsc::UnboundedSender<Task>, mpsc::UnboundedReceiver<Task>) {
        let (tasks, received) = mpsc::unbounded_channel();
        (Arc::new(Holders::new(tasks.downgrade())), tasks, received)
    }

    #[tokio::test]
    async fn a_claim_is_given_up_with_the_last_that_holds_it() {
        let (holders, _sender, mut tasks) = holders();
        let (one, two) = (holders.hold(identity()).await, holders.hold(identity()).await);
        drop(one);
        assert!(tasks.try_recv().is_err());
        drop(two);
        assert!(matches!(tasks.try_recv(), Ok(Task::Release(which)) if which == identity()));
        // Somebody has come in between.
        let three = holders.hold(identity()).await;
        assert!(holders.release(identity()).is_none());
        drop(three);
        let releasing = holders.release(identity()).unwrap();
        assert!(holders.release(identity()).is_none(), "once is enough");
        drop(releasing);
        assert!(holders.held().is_empty());
    }

    #[tokio::test]
    async fn who_comes_while_it_is_given_up_waits_until_that_is_done() {
        let (holders, _sender, _tasks) = holders();
        drop(holders.hold(identity()).await);
        let releasing = holders.release(identity()).unwrap();
        let waiting = tokio::spawn({
            let holders = Arc::clone(&holders);
            async move { holders.hold(identity()).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(releasing);
        let hold = waiting.await.unwrap();
        assert_eq!(holders.held().len(), 1);
        drop(hold);
    }

    #[tokio::test]
    async fn what_is_given_up_at_once_is_not_given_up_once_more() {
        let (holders, _sender, mut tasks) = holders();
        let (one, two) = (holders.hold(identity()).await, holders.hold(identity()).await);
        assert!(!one.end() && two.end());
        assert!(tasks.try_recv().is_err());
        drop(holders.release(identity()).unwrap());
        assert!(holders.held().is_empty());
    }

    #[tokio::test]
    async fn what_is_written_is_never_given_up() {
        let (holders, _sender, mut tasks) = holders();
        let (one, two) = (holders.hold(identity()).await, holders.hold(identity()).await);
        one.written();
        drop((one, two));
        assert!(tasks.try_recv().is_err() && holders.held().is_empty());
    }

    #[tokio::test]
    async fn what_another_has_is_not_given_up_unless_it_may_have_become_ours() {
        let (holders, _sender, mut tasks) = holders();
        holders.hold(identity()).await.unclaimed();
        assert!(tasks.try_recv().is_err() && holders.held().is_empty());
        let (unanswered, mut answered) = (holders.hold(identity()).await, holders.hold(identity()).await);
        drop(unanswered);
        answered.unclaimed();
        drop(answered);
        assert!(matches!(tasks.try_recv(), Ok(Task::Release(_))));
    }
}
