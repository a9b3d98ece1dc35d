//! What lives as long as a configuration: one for each worker, and one on the main thread.

use std::rc::Rc;

use wicketgate_policy::config::Config;
use wicketgate_policy::env::{Env, fresh_id};

use crate::environment::Environment;
use crate::host::{Buffer, Host};
use crate::metrics::Metric;
use crate::outbox::Outbox;
use crate::stream::Stream;

/// The host's root context of a configuration.
#[derive(Debug)]
pub struct Root {
    context_id: u32,
    environment: Rc<Environment>,
    configured: Option<(Rc<Config>, Rc<Outbox>)>,
}

impl Root {
    /// A root context without a configuration.
    pub fn new(context_id: u32, host: Rc<dyn Host>) -> Self {
        Self { context_id, environment: Environment::new(host), configured: None }
    }

    /// The VM has started.
    pub fn on_vm_start(&mut self) {
        self.environment.add(Metric::counter("wicketgate_vm_starts_total"), 1);
    }

    /// Takes the document of `size` bytes. Says whether it is accepted, and counts it.
    pub fn on_configure(&mut self, size: usize) -> bool {
        let began = self.environment.lend().now();
        let taken = self.take_document(size);
        let now = self.environment.lend().now();
        let loads = Metric::counter("wicketgate_config_loads_total");
        self.environment.add(loads.with("result", if taken { "accepted" } else { "refused" }), 1);
        if taken {
            let set = |name, value: u64| {
                self.environment.record(Metric::gauge(name), usize::try_from(value).unwrap_or(usize::MAX));
            };
            set("wicketgate_config_loaded_timestamp_seconds", now.as_millis() / 1_000);
            set("wicketgate_config_load_milliseconds", now.as_millis().saturating_sub(began.as_millis()));
        }
        taken
    }

    /// Takes the document of `size` bytes. Says whether it is accepted, by nothing but the document: this runs once for
    /// each worker, and if those disagreed the host would be left with some workers that filter and some that do not.
    fn take_document(&mut self, size: usize) -> bool {
        let host = &self.environment.host;
        let document = match size {
            0 => Some(Vec::new()),
            size => host.calls().buffer(Buffer::PluginConfiguration, size),
        };
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
        let name = format!("wicketgate-outbox-{}", fresh_id(&mut self.environment.lend()));
        let Some(wake) = host.waker(&name) else {
            log::error!("this host has no shared queues, which Wicketgate needs to send events");
            return false;
        };
        // What was remembered under another document is not believed under this one.
        self.environment = Environment::new(Rc::clone(host));
        let outbox = Outbox::new(self.context_id, config.bridge.clone(), wake, Rc::clone(&self.environment));
        self.configured = Some((Rc::new(config), Rc::new(outbox)));
        true
    }

    /// The callback that the outbox has asked for.
    pub fn on_woken(&mut self) {
        if let Some((_, outbox)) = &self.configured {
            outbox.flush();
        }
    }

    /// The answer to a call, or that there will be none.
    pub fn on_http_call_response(&mut self, token: u32, num_headers: usize, body_size: usize) {
        if let Some((_, outbox)) = &self.configured {
            outbox.answered(token, num_headers, body_size);
        }
    }

    /// A request begins.
    pub fn create_stream(&self, context_id: u32) -> Stream {
        Stream::new(context_id, Rc::clone(&self.environment), self.configured.clone())
    }
}
