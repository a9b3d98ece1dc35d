//! Wicketgate as a proxy-wasm filter. Everything that decides is in `wicketgate-policy`; this crate turns the host's
//! callbacks into its events, and its effects into host calls.
//!
//! It ships as a wasm module, whose entry points are in `entry.rs`. Built for any other target it is a library whose
//! callbacks tests call themselves, with a host of their own.

mod callout;
#[cfg(target_arch = "wasm32")]
mod entry;
mod environment;
mod fetches;
pub mod host;
mod metrics;
mod outbox;
pub mod root;
pub mod stream;
