//! What lives as long as a configuration: one for each worker, and one on the main thread.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use wicketgate_policy::config::Config;
use wicketgate_policy::env::fresh_id;

use crate::environment::HostEnv;
use crate::host::{self, Buffer};
use crate::outbox::Outbox;
use crate::stream::Stream;

#[derive(Debug)]
pub(crate) struct Root {
    context_id: u32,
    configured: Option<(Rc<Config>, Rc<Outbox>)>,
}

impl Root {
    pub(crate) fn new(context_id: u32) -> Self {
        Self { context_id, configured: None }
    }
}

impl Context for Root {
    fn on_http_call_response(
        &mut self,
        token: u32,
        num_headers: usize,
        body_size: usize,
        _num_trailers: usize,
    ) {
        if let Some((_, outbox)) = &self.configured {
            outbox.answered(token, num_headers, body_size);
        }
    }
}

impl RootContext for Root {
    /// Accepts or refuses by nothing but the document: it runs once for each worker, and if those disagreed the host would
    /// be left with some workers that filter and some that do not.
    fn on_configure(&mut self, size: usize) -> bool {
        let document =
            if size == 0 { Some(Vec::new()) } else { host::buffer(Buffer::PluginConfiguration, size) };
        let Some(document) = document else {
            log::error!("the host did not hand over the configuration document");
            return false;
        };
        let config = match Config::from_json(&document) {
            Ok(config) => config,
            Err(errors) => {
                let count = errors.0.len();
                for (index, error) in errors.0.iter().enumerate() {
                    log::error!("configuration refused, mistake {} of {count}: {error}", index + 1);
                }
                return false;
            }
        };
        // Queues are known to all VMs of the process by their names, and this one must be nobody else's.
        let name = format!("wicketgate-outbox-{}", fresh_id(&mut HostEnv::default()));
        let Some(outbox) = Outbox::new(self.context_id, config.bridge.clone(), &name) else {
            log::error!("this host has no shared queues, which Wicketgate needs to send events");
            return false;
        };
        self.configured = Some((Rc::new(config), outbox));
        true
    }

    fn on_queue_ready(&mut self, _queue: u32) {
        if let Some((_, outbox)) = &self.configured {
            outbox.flush();
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        let configured = self.configured.as_ref();
        Some(Box::new(Stream::new(
            context_id,
            configured.map(|(config, outbox)| (config.clone(), outbox.clone())),
        )))
    }
}
