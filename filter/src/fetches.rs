//! Calls to authorities, such as for an issuer's keys: who waits for which, and which may leave.
//!
//! However many requests of this VM ask for the same thing, one call is out for it. To each upstream, a bounded number of
//! calls is out at once, and the others stand in a bounded line, so that neither an authority is run over by one worker
//! nor a stranger who makes tokens up can have memory filled. A call that nobody waits for any more by the time it
//! could leave does not leave.

use std::collections::{HashMap, VecDeque};
use std::rc::Weak;

use wicketgate_policy::fetch::{Fetch, FetchKey, FetchSubject};

use crate::outbox::Waiter;

/// The most calls that are out at once, to each upstream.
const MAX_OUT: usize = 16;

/// The most calls that stand in line behind those. Who comes last waits for five timeouts at most.
const MAX_IN_LINE: usize = 64;

/// The most requests that wait, in one VM.
const MAX_WAITING: usize = 4096;

/// What is asked, and by whom.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    asked: HashMap<FetchKey, Asked>,
    /// By the host's number of the call.
    out: HashMap<u32, FetchKey>,
    lines: HashMap<String, Line>,
    waiting: usize,
}

#[derive(Debug)]
struct Asked {
    upstream: String,
    max_bytes: usize,
    waiters: Vec<Weak<dyn Waiter>>,
    /// Whether it is asked even if nobody waits.
    background: bool,
}

/// The calls to one upstream.
#[derive(Debug, Default)]
struct Line {
    out: usize,
    behind: VecDeque<Fetch>,
}

impl Line {
    /// Tokens are the callers' and stand in line. Of the others there are as many as the document has issuers, and no token is
    /// verified without them.
    fn take(&mut self, fetch: Fetch) {
        if is_of_token(&fetch) {
            self.behind.push_back(fetch);
        } else {
            self.behind.push_front(fetch);
        }
    }
}

fn is_of_token(fetch: &Fetch) -> bool {
    matches!(fetch.key.subject, FetchSubject::Token(_))
}

/// A call that is over.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) key: FetchKey,
    /// The largest answer that may be read.
    pub(crate) max_bytes: usize,
    pub(crate) waiters: Vec<Weak<dyn Waiter>>,
}

impl Fetches {
    /// Takes a question that no request waits for, unless it is being asked already.
    pub(crate) fn ask_in_background(&mut self, fetch: Fetch) {
        let line = self.lines.entry(fetch.upstream.clone()).or_default();
        if !self.asked.contains_key(&fetch.key) && (!is_of_token(&fetch) || line.behind.len() < MAX_IN_LINE) {
            let Fetch { key, upstream, max_bytes, .. } = &fetch;
            let asked = Asked {
                upstream: upstream.clone(),
                max_bytes: *max_bytes,
                waiters: Vec::new(),
                background: true,
            };
            self.asked.insert(key.clone(), asked);
            line.take(fetch);
        }
    }

    /// Takes a request's question. Says whether it did: false if too many are asked already.
    pub(crate) fn ask(&mut self, fetch: Fetch, waiter: Weak<dyn Waiter>) -> bool {
        if self.waiting >= MAX_WAITING {
            self.forget_the_gone();
        }
        if self.waiting >= MAX_WAITING {
            return false;
        }
        if let Some(asked) = self.asked.get_mut(&fetch.key) {
            asked.waiters.push(waiter);
        } else {
            let line = self.lines.entry(fetch.upstream.clone()).or_default();
            if is_of_token(&fetch) && line.behind.len() >= MAX_IN_LINE {
                return false;
            }
            let Fetch { key, upstream, max_bytes, .. } = &fetch;
            let asked = Asked {
                upstream: upstream.clone(),
                max_bytes: *max_bytes,
                waiters: vec![waiter],
                background: false,
            };
            self.asked.insert(key.clone(), asked);
            line.take(fetch);
        }
        self.waiting += 1;
        true
    }

    /// The next call that may leave, if any. Either [`Self::sent`] or [`Self::over`] has to follow.
    pub(crate) fn next(&mut self) -> Option<Fetch> {
        for line in self.lines.values_mut() {
            while line.out < MAX_OUT
                && let Some(fetch) = line.behind.pop_front()
            {
                let asked = self.asked.get(&fetch.key);
                let waiters = asked.map_or(&[][..], |asked| &asked.waiters);
                let background = asked.is_some_and(|asked| asked.background);
                if background || waiters.iter().any(|waiter| waiter.strong_count() > 0) {
                    line.out += 1;
                    return Some(fetch);
                }
                self.waiting = self.waiting.saturating_sub(waiters.len());
                self.asked.remove(&fetch.key);
            }
        }
        None
    }

    /// The host has taken the call.
    pub(crate) fn sent(&mut self, token: u32, key: FetchKey) {
        self.out.insert(token, key);
    }

    /// The host has not taken the call, or has made it.
    pub(crate) fn over(&mut self, key: FetchKey) -> Option<Finished> {
        let Asked { upstream, max_bytes, waiters, .. } = self.asked.remove(&key)?;
        self.waiting = self.waiting.saturating_sub(waiters.len());
        if let Some(line) = self.lines.get_mut(&upstream) {
            line.out = line.out.saturating_sub(1);
        }
        Some(Finished { key, max_bytes, waiters })
    }

    /// The host has an answer to a call, or knows that there will be none. `None` if the call is not one of these.
    pub(crate) fn answered(&mut self, token: u32) -> Option<Finished> {
        let key = self.out.remove(&token)?;
        self.over(key)
    }

    fn forget_the_gone(&mut self) {
        for Asked { waiters, .. } in self.asked.values_mut() {
            let before = waiters.len();
            waiters.retain(|waiter| waiter.strong_count() > 0);
            self.waiting = self.waiting.saturating_sub(before - waiters.len());
        }
    }
}

impl Finished {
    /// Tells all who wait.
    pub(crate) fn tell(self) {
        for waiter in self.waiters {
            if let Some(waiter) = waiter.upgrade() {
                waiter.fetched();
            }
        }
    }
}

#[cfg(test)]
mod tests;
