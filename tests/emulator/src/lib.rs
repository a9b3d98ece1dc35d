//! A proxy-wasm host for tests, with Envoy's rules and without Envoy.
//!
//! It is made of state: requests go in; answers, callouts, what upstreams get, and logs come out. Clock and randomness
//! are the test's, so a scenario costs the same each time it runs. One host runs the filter in two ways, by the same
//! scenarios: the `wicketgate.wasm` that ships, under wasmtime, and the crate `wicketgate-filter` natively.
//!
//! What Envoy does is taken from its sources (`source/extensions/common/wasm/context.cc`) and those of
//! proxy-wasm-cpp-host (`src/context.cc`, `src/exports.cc`, `src/shared_data.cc`). A call that is not legal where it is
//! made returns what it returns there, and is written down besides: [`Gateway::finish`] fails on it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a harness that cannot go on fails the test that uses it, and a panic is how a test fails"
)]

mod callback;
pub mod consumers;
mod costs;
mod gateway;
mod machine;
mod methods;
mod native;
mod pairs;
mod wasm;
mod world;

pub use self::callback::Callback;
pub use self::costs::{Costs, table};
pub use self::gateway::{Callout, Gateway, Outcome, Reply, Request};
pub use self::machine::Kind;
pub use self::methods::{METHODS, Method};
pub use self::pairs::Pairs;
