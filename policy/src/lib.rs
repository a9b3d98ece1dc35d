//! The core of Wicketgate: everything that decides, and nothing that touches the world.
//!
//! A gateway filter, the command line and the tests are shells around this crate. They hand it what happened
//! ([`exchange::Event`]) and do what it says ([`exchange::Effect`]). Time and randomness come in through
//! [`env::Env`]; there is no clock, no random source, no global state and no I/O in here.
//!
//! ```
//! use wicketgate_policy::config::Config;
//!
//! let errors = Config::from_json(br#"{"source": 1, "routes": [{"name": "a"}]}"#).unwrap_err();
//! assert!(errors.to_string().contains("source: wanted a string, got 1"));
//! ```

pub mod accept;
pub mod admission;
pub mod answer;
pub mod auth;
pub mod callout;
pub mod certificate;
pub mod claims;
pub mod conditions;
pub mod config;
pub mod content_encoding;
pub mod cors;
pub mod env;
pub mod envoy;
pub mod envoy_metadata;
pub mod exchange;
pub mod fetch;
pub mod head;
pub mod host;
mod identity;
pub mod introspection;
pub mod jose;
pub mod json_pointer;
pub mod limit;
pub mod password;
pub mod path;
pub mod path_pattern;
pub mod plan;
pub mod query;
mod record_time;
pub mod redact;
pub mod reply;
pub mod reshape;
pub mod route;
pub mod shares;
pub mod signing;
mod spelling;
pub mod template;
pub mod topic;
mod trace_context;
mod unending;
pub mod webhook;
pub mod webhook_handshake;
