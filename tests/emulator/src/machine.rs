//! Where the filter runs.

use std::time::Duration;

use crate::callback::Callback;

/// The ways to run the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The crate, natively.
    Native,
    /// The module that ships, under wasmtime.
    Wasm,
    /// The same at full speed: its instructions are not counted.
    WasmUncounted,
}

/// One VM.
pub(crate) trait Machine {
    /// Calls back. Returns what the callback returns, 0 if it returns nothing; or why the VM is dead.
    fn call(&mut self, callback: Callback) -> Result<u32, String>;

    /// Wasm instructions so far.
    fn fuel(&mut self) -> u64 {
        0
    }

    /// How long callbacks have taken, what they asked of the host included.
    fn busy(&self) -> Duration {
        Duration::ZERO
    }

    /// The size of the VM's memory in bytes.
    fn memory(&mut self) -> usize {
        0
    }
}
