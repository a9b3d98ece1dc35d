//! A memory that many share, of which nobody takes all.
//!
//! Whoever holds something may take more only while that is less than what is still free. So one alone gets half of it, two
//! get a third each, and whoever comes new finds room: who fills the memory is who is refused. What somebody takes at
//! once may be more than that, so it needs a bound of its own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use crate::auth::Principal;

/// Whose share something counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Somebody who was asked who it is: how that was found out, and what it is called.
    Known(&'static str, Rc<str>),
    /// Anybody from this address, of which version 6 has the network of 64 bits, because a client has all of that.
    Address([u8; 16]),
    /// All of whom nothing is known.
    Unknown,
}

impl Holder {
    /// Of a caller, and the address that it has.
    pub fn of(principal: Option<&Principal>, address: Option<&str>) -> Self {
        if let Some(principal) = principal
            && let Some(id) = principal.auth_id()
        {
            return Self::Known(principal.auth_type, Rc::from(id));
        }
        match address.and_then(|address| address.parse::<IpAddr>().ok()) {
            Some(IpAddr::V4(address)) => Self::Address(address.to_ipv6_mapped().octets()),
            Some(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
                Self::Address(address.octets())
            }
            Some(IpAddr::V6(address)) => {
                Self::Address((u128::from(address) & !u128::from(u64::MAX)).to_be_bytes())
            }
            None => Self::Unknown,
        }
    }
}

/// Who holds how much.
#[derive(Debug)]
pub struct Shares {
    max: usize,
    held: usize,
    /// Only of those that hold something.
    holders: HashMap<Holder, usize>,
}

impl Shares {
    /// Of so many bytes.
    pub fn new(max: usize) -> Self {
        Self { max, held: 0, holders: HashMap::new() }
    }

    /// Whether somebody may take more.
    pub fn has_room(&self, holder: &Holder) -> bool {
        self.holders.get(holder).copied().unwrap_or(0) < self.max.saturating_sub(self.held)
    }

    /// Somebody takes so many bytes, whether or not there is room.
    pub fn take(&mut self, holder: &Holder, bytes: usize) {
        self.held = self.held.saturating_add(bytes);
        let own = self.holders.entry(holder.clone()).or_insert(0);
        *own = own.saturating_add(bytes);
    }

    /// Somebody gives so many bytes back.
    pub fn give_back(&mut self, holder: &Holder, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
        if let Some(own) = self.holders.get_mut(holder) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                self.holders.remove(holder);
            }
        }
    }

    /// How many bytes are held in all.
    pub fn held(&self) -> usize {
        self.held
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn known(name: &str) -> Holder {
        Holder::Known("api_key", Rc::from(name))
    }

    /// As much as it gets, byte by byte.
    fn fill(shares: &mut Shares, holder: &Holder) -> usize {
        let mut got = 0;
        while shares.has_room(holder) {
            shares.take(holder, 1);
            got += 1;
        }
        got
    }

    #[test]
    fn who_fills_it_is_who_is_refused() {
        let mut shares = Shares::new(64);
        assert_eq!(fill(&mut shares, &known("hog")), 32);
        // Everybody who comes new has room, one after the other.
        assert_eq!(fill(&mut shares, &known("b")), 16);
        assert!(!shares.has_room(&known("hog")));
        assert_eq!(fill(&mut shares, &known("c")), 8);
        assert_eq!(shares.held(), 56);
        shares.give_back(&known("hog"), 32);
        assert!(shares.has_room(&known("b")) && shares.has_room(&known("hog")));
    }

    #[test]
    fn what_is_given_back_is_forgotten() {
        let mut shares = Shares::new(100);
        for number in 0..1_000 {
            let holder = known(&number.to_string());
            shares.take(&holder, 50);
            shares.give_back(&holder, 50);
        }
        assert!(shares.holders.is_empty() && shares.held() == 0);
        // What is taken at once may be all, and more than is held is never given back.
        shares.take(&known("b"), usize::MAX);
        assert!(!shares.has_room(&known("a")));
        shares.give_back(&known("b"), usize::MAX);
        shares.give_back(&known("a"), 7);
        assert_eq!(shares.held(), 0);
    }

    #[test]
    fn callers_are_told_apart_by_what_they_cannot_choose() {
        let anonymous = Principal::anonymous(Rc::from("anonymous"));
        let of = |address: &str| Holder::of(Some(&anonymous), Some(address));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("nonsense"), Holder::Unknown);
        assert_eq!(Holder::of(None, None), Holder::Unknown);
        let consumer = |auth_type, name: &str| {
            let consumer = crate::auth::Consumer { name: name.to_owned(), ..Default::default() };
            Holder::of(
                Some(&Principal::consumer(Rc::from("m"), auth_type, Rc::new(consumer))),
                Some("192.0.2.1"),
            )
        };
        assert_eq!(consumer("api_key", "alice"), known("alice"));
        assert_ne!(consumer("jwt", "alice"), known("alice"));
    }
}
