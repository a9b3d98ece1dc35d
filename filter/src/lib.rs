//! Wicketgate as a proxy-wasm filter. Everything that decides is in `wicketgate-policy`; this crate turns the host's
//! callbacks into its events, and its effects into host calls.

#![allow(missing_docs, reason = "nothing here is public but the entry point that the SDK's macro makes")]

mod callout;
mod environment;
mod host;
mod outbox;
mod root;
mod stream;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    // Installs the panic hook that logs before the VM ends, too. Nothing is logged per request at this level.
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|context_id| Box::new(root::Root::new(context_id)));
}}
