//! Taking over a changed configuration while the bridge runs: as a whole or not at all, and each request has one from
//! its start to its end.

mod metrics;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::config::{Config, Loaded, changed};
use crate::http::{self, Audience, Limits, Shared};
use crate::producer::DEFAULT_CLUSTER;
use crate::server::{Served, Settings, Tls};
use crate::topics::Topics;
pub use metrics::Metrics;

/// The topics that may be written, by cluster.
pub(crate) fn topics(config: &Config) -> Topics {
    let default = (DEFAULT_CLUSTER.to_owned(), config.kafka.reloadable.allowed_topics.clone());
    let named = config.clusters.iter().map(|cluster| (cluster.name.clone(), cluster.allowed_topics.clone()));
    Topics::new(std::iter::once(default).chain(named))
}

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
    let (before, after) = (&old.kafka.reloadable, &new.kafka.reloadable);
    if !before.allowed_topics.is_empty() && after.allowed_topics.is_empty() {
        return Some("allowed_topics".to_owned());
    }
    // Which clusters there are takes a restart.
    let mut clusters = old.clusters.iter().zip(&new.clusters);
    clusters
        .find(|(old, new)| !old.allowed_topics.is_empty() && new.allowed_topics.is_empty())
        .map(|(old, _)| format!("clusters.{}.allowed_topics", old.name))
}

/// What connections are served by.
pub(crate) fn served(config: &Config, shared: &Arc<Shared>, tls: Option<Tls>) -> Served {
    let callers = match config.server.admin_listen() {
        Some(_) => Audience::Callers,
        None => Audience::Everybody,
    };
    Served {
        router: http::router(Arc::clone(shared), callers),
        admin: http::router(Arc::clone(shared), Audience::Operators),
        settings: Settings::new(&config.server.reloadable),
        tls,
    }
}

/// The configuration that holds.
pub(crate) struct Running {
    config: Config,
    shared: Arc<Shared>,
    metrics: Metrics,
    served: watch::Sender<Served>,
}

impl Running {
    /// The configuration that the bridge starts with, and what its connections are served by.
    pub(crate) fn new(
        config: Config,
        shared: Shared,
        metrics: Metrics,
        tls: Option<Tls>,
    ) -> (Self, watch::Receiver<Served>) {
        let shared = Arc::new(shared);
        metrics.applied();
        let (served, serving) = watch::channel(served(&config, &shared, tls));
        (Self { config, shared, metrics, served }, serving)
    }

    /// The settings that hold.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Takes over each configuration that comes. Never returns.
    pub(crate) async fn follow(&mut self, mut reloads: Reloads) -> Infallible {
        while let Some(read) = reloads.configurations.recv().await {
            match read.and_then(|loaded| self.take_over(loaded, &*reloads.set_log)) {
                Ok(()) => self.metrics.attempt("taken_over"),
                Err(errors) => {
                    for error in errors {
                        tracing::error!("configuration: {error}");
                    }
                    tracing::error!("the configuration was not taken over; the one before goes on");
                    self.metrics.attempt("refused");
                }
            }
        }
        std::future::pending().await
    }

    fn take_over(&mut self, loaded: Loaded, set_log: &dyn Fn(&str)) -> Result<(), Vec<String>> {
        let Loaded { config: new, mut guard, tls } = loaded;
        let config = self.config.reloaded(&new);
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
            memory.set_window(config.idempotency.reloadable.idempotency_window);
        }
        set_log(&config.reloadable.log);
        self.shared = Arc::new(self.shared.with(
            Limits::new(&config.http, &config.server.reloadable, &config.kafka, Some(&self.shared.limits)),
            guard,
            topics(&config),
        ));
        self.served.send_replace(served(&config, &self.shared, tls));
        let changes = changed(&self.config, &config).and_then(|now| Ok((now, changed(&config, &new)?)));
        let (now, restart) = changes.unwrap_or_else(|error| {
            tracing::warn!(%error, "which settings have changed cannot be said");
            Default::default()
        });
        for name in &restart {
            tracing::warn!(setting = name, "changed, and takes a restart; what it was goes on");
        }
        let changed = now.into_iter().collect::<Vec<_>>().join(",");
        tracing::info!(changed, "the configuration was taken over, with the files that it names");
        for warning in config.warnings(&self.shared.guard) {
            tracing::warn!("{warning}");
        }
        self.metrics.applied();
        self.config = config;
        Ok(())
    }
}
