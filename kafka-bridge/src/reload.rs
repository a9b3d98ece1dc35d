//! Taking over a changed configuration while the bridge runs: as a whole or not at all, and each request has one from
//! its start to its end.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::config::{Cluster, Config, Loaded, Said};
use crate::http::{self, Limits, Shared};
use crate::server::{Served, Settings};
use crate::topics::Topics;

/// The settings that are taken over, and a function that does so.
macro_rules! taken_over {
    ($($setting:ident)*) => {
        const TAKEN_OVER: &[&str] = &[$(stringify!($setting)),*];

        /// `running` with those settings of `new` that can change while the bridge runs.
        fn take_over(running: &Config, new: &Config) -> Config {
            let clusters = running.clusters.iter().map(|cluster| {
                let new = new.clusters.iter().find(|new| new.name == cluster.name).unwrap_or(cluster);
                Cluster { allowed_topics: new.allowed_topics.clone(), ..cluster.clone() }
            });
            let clusters = clusters.collect();
            Config { $($setting: new.$setting.clone(),)* clusters, ..running.clone() }
        }
    };
}

taken_over! {
    hop_secret_file hop_token_file tls_certificate_file tls_key_file tls_client_ca_file tls_client_names
    allowed_topics idempotency_window body_timeout body_idle_timeout idle_timeout max_headers max_header_bytes
    max_body_bytes max_records shutdown_timeout log
}

/// Settings that say where others are, and nothing themselves.
const PLACES: [&str; 2] = ["config", "check_config"];

/// Where changed configurations come from.
pub struct Reloads {
    /// Each that was read, or all that is wrong with it.
    pub configurations: mpsc::Receiver<Result<Loaded, Vec<String>>>,
    /// Sets what is logged; told the filter, which is a valid one.
    pub set_log: Box<dyn Fn(&str) + Send>,
}

impl fmt::Debug for Reloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloads").finish_non_exhaustive()
    }
}

impl Reloads {
    /// None will come.
    pub fn none() -> Self {
        Self { configurations: mpsc::channel(1).1, set_log: Box::new(|_| {}) }
    }
}

/// The first list of topics that there was and is not any more.
fn lost_topics(old: &Config, new: &Config) -> Option<String> {
    if !old.allowed_topics.is_empty() && new.allowed_topics.is_empty() {
        return Some("allowed_topics".to_owned());
    }
    // Which clusters there are takes a restart.
    let mut clusters = old.clusters.iter().zip(&new.clusters);
    clusters
        .find(|(old, new)| !old.allowed_topics.is_empty() && new.allowed_topics.is_empty())
        .map(|(old, _)| format!("clusters.{}.allowed_topics", old.name))
}

/// The configuration that holds.
pub(crate) struct Running {
    config: Config,
    /// As it was said when the bridge started, which counts for what takes a restart.
    at_start: Said,
    /// As it was said when it was last taken over.
    last: Said,
    shared: Arc<Shared>,
    served: watch::Sender<Served>,
}

impl Running {
    /// The configuration that the bridge starts with, and what its connections are served by.
    pub(crate) fn new(
        config: Config,
        said: Said,
        shared: Shared,
        served: impl FnOnce(&Config, Arc<Shared>) -> Served,
    ) -> (Self, watch::Receiver<Served>) {
        let shared = Arc::new(shared);
        shared.metrics.configuration_taken_over();
        let (served, serving) = watch::channel(served(&config, Arc::clone(&shared)));
        (Self { config, at_start: said.clone(), last: said, shared, served }, serving)
    }

    /// The settings that hold.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Takes over each configuration that comes. Never returns.
    pub(crate) async fn follow(&mut self, mut reloads: Reloads) -> Infallible {
        while let Some(read) = reloads.configurations.recv().await {
            match read.and_then(|loaded| self.take_over(loaded, &*reloads.set_log)) {
                Ok(()) => self.shared.metrics.reload("taken_over"),
                Err(errors) => {
                    for error in errors {
                        tracing::error!("configuration: {error}");
                    }
                    tracing::error!("the configuration was not taken over; the one before goes on");
                    self.shared.metrics.reload("refused");
                }
            }
        }
        std::future::pending().await
    }

    fn take_over(&mut self, loaded: Loaded, set_log: &dyn Fn(&str)) -> Result<(), Vec<String>> {
        let Loaded { config: new, said, mut guard, tls } = loaded;
        let config = take_over(&self.config, &new);
        // What was good together with the rest of its own configuration need not be with what goes on as it was.
        config.check()?;
        // A file that is lost, or a setting that is, is more likely than the wish to let everybody in.
        if guard.is_open() && !self.shared.guard.is_open() {
            return Err(vec![
                "hop_secret_file, hop_token_file, tls_client_ca_file: none is left, and anybody who reaches the bridge could \
                 write; opening a closed bridge takes a restart"
                    .to_owned(),
            ]);
        }
        if let Some(lost) = lost_topics(&self.config, &config) {
            return Err(vec![format!(
                "{lost}: it is not there any more, and all topics could be written; say [\"*\"] to allow all, or restart the bridge"
            )]);
        }
        guard.remember_as(&self.shared.guard);
        if let Some(memory) = &self.shared.idempotency {
            memory.set_window(config.idempotency_window);
        }
        set_log(&config.log);
        self.shared = Arc::new(self.shared.with(
            Limits::after(&config, &self.shared.limits),
            guard,
            Topics::new(&config),
        ));
        let router = http::router(Arc::clone(&self.shared));
        self.served.send_replace(Served { router, settings: Settings::new(&config), tls });
        let changed = said.changed_since(&self.last);
        let changed: Vec<&str> =
            changed.iter().map(String::as_str).filter(|name| self.is_taken_over(name)).collect();
        let restart = said.changed_since(&self.at_start);
        let restart: BTreeSet<&str> = restart
            .iter()
            .map(String::as_str)
            .filter(|name| !self.is_taken_over(name) && !PLACES.contains(name))
            .collect();
        for name in &restart {
            tracing::warn!(setting = name, "changed, and takes a restart; what it was goes on");
        }
        tracing::info!(
            changed = changed.join(","),
            "the configuration was taken over, with the files that it names"
        );
        for warning in config.warnings(&self.shared.guard) {
            tracing::warn!("{warning}");
        }
        self.shared.metrics.configuration_taken_over();
        (self.config, self.last) = (config, said);
        Ok(())
    }

    fn is_taken_over(&self, setting: &str) -> bool {
        let cluster = setting.strip_prefix("clusters.").and_then(|rest| rest.strip_suffix(".allowed_topics"));
        TAKEN_OVER.contains(&setting)
            || cluster.is_some_and(|name| self.config.clusters.iter().any(|cluster| cluster.name == name))
    }
}
