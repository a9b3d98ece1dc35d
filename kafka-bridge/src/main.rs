//! The `kafka-bridge` process.

use std::error::Error;
use std::io::{IsTerminal as _, Write as _, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use kafka_bridge::config::{self, Command, Config, Failure, Loaded, LogFormat, SpoolCommand};
use kafka_bridge::embedded::EmbeddedBroker;
use kafka_bridge::reload::Reloads;
use kafka_bridge::server::{self, Listen, Listener};
use kafka_bridge::shutdown::{self, Signals};
use kafka_bridge::spool::{self, DirectoryLock};
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

/// As for a command line that cannot be read.
const INVALID_CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    if let Some(shell) = config::completions(std::env::args_os()) {
        clap_complete::generate(shell, &mut config::command(), "kafka-bridge", &mut stdout());
        return ExitCode::SUCCESS;
    }
    let loaded = match load() {
        Ok(loaded) => loaded,
        Err(Failure::Usage(error)) => error.exit(),
        Err(Failure::Invalid(errors)) => {
            let mut out = stderr().lock();
            for error in errors {
                let _ = writeln!(out, "kafka-bridge: {error}");
            }
            return ExitCode::from(INVALID_CONFIGURATION);
        }
    };
    let config = &loaded.config;
    let started = match (&config.command, &config.spool.spool_dir) {
        (Some(Command::Check), _) => check(config),
        (Some(Command::Spool(command)), Some(directory)) => {
            spools(*command, directory, config.spool.spool_segment_bytes)
        }
        // Without a directory the configuration is refused, and completions take none.
        (None | Some(Command::Serve | Command::Spool(_) | Command::Completions { .. }), _) => start(loaded),
    };
    match started {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(stderr(), "kafka-bridge: {error}");
            ExitCode::FAILURE
        }
    }
}

fn load() -> Result<Loaded, Failure> {
    config::load(std::env::args_os(), |name| std::env::var_os(name))
}

/// Reads the configuration anew at each SIGHUP.
fn reloads(mut hangups: Signal, log: LogControl) -> Reloads {
    let (reread, configurations) = mpsc::channel(1);
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            tracing::info!("SIGHUP: reading the configuration anew");
            let loaded = match tokio::task::spawn_blocking(load).await {
                Ok(loaded) => loaded.map_err(|failure| match failure {
                    // The command line is the one that it has started with.
                    Failure::Usage(error) => vec![error.to_string()],
                    Failure::Invalid(errors) => errors,
                }),
                Err(error) => Err(vec![error.to_string()]),
            };
            if reread.send(loaded).await.is_err() {
                return;
            }
        }
    });
    Reloads { configurations, set_log: log }
}

/// Does what is to be done with each of the spools in `directory`.
fn spools(command: SpoolCommand, directory: &Path, segment_bytes: u64) -> Result<ExitCode, Box<dyn Error>> {
    let (_lock, clusters) = spools_in(directory)?;
    let mut out = stdout().lock();
    let mut code = ExitCode::SUCCESS;
    for cluster in clusters {
        let directory = directory.join(&cluster);
        match command {
            SpoolCommand::Check if spool::check(&directory, &mut out)? => {}
            SpoolCommand::Check => code = ExitCode::FAILURE,
            SpoolCommand::Salvage => {
                writeln!(out, "cluster {cluster}: {}", spool::salvage(&directory, segment_bytes)?)?;
            }
            SpoolCommand::List => {
                spool::list_refused(&directory, &mut out)?;
            }
            SpoolCommand::Retry => writeln!(out, "cluster {cluster}: {}", spool::retry_refused(&directory)?)?,
            SpoolCommand::Drop => {
                writeln!(out, "cluster {cluster}: {} records are deleted", spool::drop_refused(&directory)?)?;
            }
        }
    }
    Ok(code)
}

/// Keeps other bridges from a directory, and says of which clusters it has spools: there has to be one.
fn spools_in(directory: &Path) -> Result<(DirectoryLock, Vec<String>), Box<dyn Error>> {
    if !directory.is_dir() {
        return Err(format!("--spool-dir {}: there is no such directory", directory.display()).into());
    }
    let lock = DirectoryLock::take(directory)?;
    let clusters = spool::clusters_in(directory)?;
    if clusters.is_empty() {
        return Err(format!("--spool-dir {}: there is no spool in it", directory.display()).into());
    }
    Ok((lock, clusters))
}

/// Says that the configuration is good, having asked librdkafka too.
fn check(config: &Config) -> Result<ExitCode, Box<dyn Error>> {
    let mut code = ExitCode::SUCCESS;
    for cluster in std::iter::once(&config.default_cluster("")).chain(&config.clusters) {
        if let Err(error) = kafka_bridge::producer::try_settings(&config.kafka, cluster) {
            writeln!(stderr(), "kafka-bridge: cluster {}: librdkafka: {error}", cluster.name)?;
            code = ExitCode::from(INVALID_CONFIGURATION);
        }
    }
    if code != ExitCode::SUCCESS {
        return Ok(code);
    }
    writeln!(stdout(), "the configuration is valid")?;
    Ok(ExitCode::SUCCESS)
}

fn start(loaded: Loaded) -> Result<ExitCode, Box<dyn Error>> {
    let config = &loaded.config;
    let log = start_logging(config)?;
    if let Err(error) = server::raise_limit() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let broker = config.kafka.embedded_broker.then(EmbeddedBroker::start).transpose()?;
    let bootstrap_servers = match (&broker, &config.kafka.bootstrap_servers) {
        (Some(broker), _) => {
            let servers = broker.bootstrap_servers();
            announce(&servers)?;
            servers
        }
        (None, Some(servers)) => servers.clone(),
        (None, None) => return Err("--bootstrap-servers or --embedded-broker is required".into()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(serve(loaded, &bootstrap_servers, log));
    // A thread may still be waiting for a cluster that does not answer.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

async fn serve(loaded: Loaded, bootstrap_servers: &str, log: LogControl) -> Result<ExitCode, Box<dyn Error>> {
    let config = &loaded.config;
    let mut signals = Signals::install()?;
    let reloads = reloads(shutdown::hangups()?, log);
    let mut listeners = Vec::new();
    let admin = config.server.admin_listen();
    for listen in config.server.listen.iter().chain(admin) {
        let flag = if Some(listen) == admin { "--admin-listen" } else { "--listen" };
        let listener = Listener::bind(listen, config.server.unix_socket_mode).await.map_err(|error| {
            let thing = if matches!(listen, Listen::Unix(_)) { "path" } else { "port" };
            format!("{flag} {listen}: {error}; free the {thing} or choose another with {flag}")
        })?;
        tracing::info!(listen = %listener.at(), "listening");
        listeners.push(if Some(listen) == admin { listener.for_operators() } else { listener });
    }
    for warning in config.warnings(&loaded.guard) {
        tracing::warn!("{warning}");
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "started");
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let stopping = tokio::spawn(async move {
        let signal = signals.next().await;
        tracing::info!(signal, "stopping: no new connections, finishing what is in flight");
        let _ = stop.send(());
        // Whoever asks twice does not want to wait.
        signals.next().await
    });
    let running = kafka_bridge::run(loaded, bootstrap_servers, listeners, reloads, async {
        let _ = stopped.await;
    });
    tokio::select! {
        leftover = running => {
            let leftover = leftover?;
            if leftover.is_none() {
                tracing::info!("stopped; every request and record has its answer");
                Ok(ExitCode::SUCCESS)
            } else {
                tracing::error!(?leftover, "stopped before everything had its answer");
                Ok(ExitCode::FAILURE)
            }
        }
        _ = stopping => {
            tracing::error!("second signal; stopped without waiting");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Says where the embedded broker is: to programs on stdout, to people on stderr.
fn announce(bootstrap_servers: &str) -> std::io::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "KAFKA_BOOTSTRAP_SERVERS={bootstrap_servers}")?;
    out.flush()?;
    writeln!(
        stderr(),
        "WARNING: --embedded-broker: records are kept in this process's memory only, a few MiB of them, and are\n\
         WARNING: lost when it ends. For demos and tests; for anything else use --bootstrap-servers."
    )
}

/// Sets what is logged.
type LogControl = Box<dyn Fn(&str) + Send>;

fn start_logging(config: &Config) -> Result<LogControl, Box<dyn Error>> {
    let filter = EnvFilter::try_new(&config.reloadable.log)
        .map_err(|error| format!("--log {:?}: {error}", config.reloadable.log))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    Ok(match config.log_format {
        LogFormat::Text => {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Box::new(move |filter| set_log(filter, |filter| handle.reload(filter)))
        }
        LogFormat::Json => {
            let builder = builder.json().with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Box::new(move |filter| set_log(filter, |filter| handle.reload(filter)))
        }
    })
}

fn set_log(filter: &str, reload: impl Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error>) {
    let failed = EnvFilter::try_new(filter)
        .map_err(|error| error.to_string())
        .and_then(|filter| reload(filter).map_err(|error| error.to_string()))
        .err();
    if let Some(error) = failed {
        tracing::error!(error, "what is logged stays as it was");
    }
}
