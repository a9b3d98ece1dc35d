//! Where the host calls in: the SDK's traits, and nothing behind them but a call of ours.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

use crate::host::abi::Abi;
use crate::host::{self, Envoy};
use crate::root::Root;
use crate::stream::Stream;

proxy_wasm::main! {{
    // Installs the panic hook that logs before the VM ends, too. Nothing is logged per request at this level.
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|context_id| {
        Box::new(RootEntry(Root::new(context_id, Rc::new(Envoy::new(Rc::new(Abi))))))
    });
}}

struct RootEntry(Root);

struct StreamEntry(Stream);

impl Context for RootEntry {
    fn on_http_call_response(&mut self, token: u32, num_headers: usize, body_size: usize, _: usize) {
        self.0.on_http_call_response(token, num_headers, body_size);
    }
}

impl RootContext for RootEntry {
    fn on_vm_start(&mut self, _size: usize) -> bool {
        self.0.on_vm_start();
        true
    }

    fn on_configure(&mut self, size: usize) -> bool {
        self.0.on_configure(size)
    }

    fn on_queue_ready(&mut self, _queue: u32) {
        self.0.on_woken();
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(StreamEntry(self.0.create_stream(context_id))))
    }
}

impl Context for StreamEntry {
    fn on_done(&mut self) -> bool {
        self.0.on_done();
        true
    }
}

impl HttpContext for StreamEntry {
    fn on_http_request_headers(&mut self, _num_headers: usize, end_of_stream: bool) -> Action {
        action(self.0.on_request_headers(end_of_stream))
    }

    fn on_http_request_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        action(self.0.on_request_body(body_size, end_of_stream))
    }

    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        action(self.0.on_request_trailers())
    }

    fn on_http_response_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        action(self.0.on_response_headers())
    }
}

fn action(action: host::Action) -> Action {
    match action {
        host::Action::Continue => Action::Continue,
        host::Action::Pause => Action::Pause,
    }
}
