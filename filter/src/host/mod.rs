//! The proxy-wasm host, as far as the SDK's own wrappers would end the VM.
//!
//! The SDK panics on every status that it does not expect and on text that is not UTF-8, and a panic in a gateway is an
//! outage. The calls here return what the host gave, or nothing. This is the only unsafe code of the project.

#[allow(unsafe_code, reason = "host calls take and return raw pointers")]
mod abi;
mod pairs;

pub(crate) use self::abi::*;
pub(crate) use self::pairs::{decode as decode_pairs, encode as encode_pairs};
