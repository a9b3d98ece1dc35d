//! What lives as long as a configuration: one for each worker, and one on the main thread.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use wicketgate_policy::config::Config;

use crate::host::{self, Buffer};
use crate::stream::Stream;

#[derive(Debug, Default)]
pub(crate) struct Root {
    config: Option<Rc<Config>>,
}

impl Context for Root {}

impl RootContext for Root {
    /// Depends on nothing but the document: it runs once for each worker, and if those disagreed the host would be left
    /// with some workers that filter and some that do not.
    fn on_configure(&mut self, size: usize) -> bool {
        let document =
            if size == 0 { Some(Vec::new()) } else { host::buffer(Buffer::PluginConfiguration, size) };
        let Some(document) = document else {
            log::error!("the host did not hand over the configuration document");
            return false;
        };
        match Config::from_json(&document) {
            Ok(config) => {
                self.config = Some(Rc::new(config));
                true
            }
            Err(errors) => {
                let count = errors.0.len();
                for (index, error) in errors.0.iter().enumerate() {
                    log::error!("configuration refused, mistake {} of {count}: {error}", index + 1);
                }
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(self.config.clone())))
    }
}
