//! A real Envoy with the filter that ships.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use wicketgate::render::{self, Admin, Authority, BridgeLink, EnvoyOptions, RenderError};
use wicketgate_policy::config::Config;

use crate::artefacts;
use crate::http_client::Client;
use crate::ports::free_port;
use crate::process::Process;
use crate::wait::until;

const START_LIMIT: Duration = Duration::from_secs(60);

/// As many workers as a filter needs for state that they do not share to show.
pub const WORKERS: u32 = 2;

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
    workers: u32,
    reload: Option<Reload>,
}

/// What it takes to give an Envoy another document.
#[derive(Debug)]
struct Reload {
    /// The file that Envoy watches.
    file: PathBuf,
    options: EnvoyOptions,
}

impl Envoy {
    /// Starts an Envoy around a filter document and waits until it takes requests.
    pub async fn start(document: &str, bridge: BridgeLink, upstream: SocketAddr) -> Self {
        Self::start_at(loopback(free_port()), document, bridge, upstream).await
    }

    /// The same, at an address where an Envoy may have been before.
    pub async fn start_at(
        listen: SocketAddr,
        document: &str,
        bridge: BridgeLink,
        upstream: SocketAddr,
    ) -> Self {
        Self::start_with(document, &Self::options(listen, bridge, upstream)).await
    }

    /// The options of an Envoy of a test's own.
    pub fn options(listen: SocketAddr, bridge: BridgeLink, upstream: SocketAddr) -> EnvoyOptions {
        EnvoyOptions {
            listen,
            admin: loopback(free_port()).into(),
            bridge,
            wasm: artefacts::wasm().to_string_lossy().into_owned(),
            upstream: upstream.into(),
            ..EnvoyOptions::default()
        }
    }

    /// Starts an Envoy with options of the test's own, and an admin interface at an address.
    pub async fn start_with(document: &str, options: &EnvoyOptions) -> Self {
        Self::launch(document, options, WORKERS, &render::envoy).ready().await
    }

    /// Starts one whose configuration a test changes.
    pub async fn start_altered(
        document: &str,
        bridge: BridgeLink,
        upstream: SocketAddr,
        alter: &dyn Fn(String) -> String,
    ) -> Self {
        let options = Self::options(loopback(free_port()), bridge, upstream);
        let render = |document: &str, options: &EnvoyOptions| render::envoy(document, options).map(alter);
        Self::launch(document, &options, WORKERS, &render).ready().await
    }

    /// Starts one with this many workers, which takes another document while it runs.
    pub async fn start_reloadable(
        document: &str,
        bridge: BridgeLink,
        upstream: SocketAddr,
        workers: u32,
    ) -> Self {
        let options = Self::options(loopback(free_port()), bridge, upstream);
        Self::launch(document, &options, workers, &split).ready().await
    }

    /// Gives it another document. With `new_vms` its workers run the filter in new VMs, as they do after one has
    /// failed; else in those that they have.
    pub async fn reload(&self, document: &str, new_vms: bool) {
        static VMS: AtomicU32 = AtomicU32::new(0);
        let Reload { file, options } =
            self.reload.as_ref().expect("an Envoy that was started to be reloaded");
        let options = &EnvoyOptions { authorities: authorities(document), ..options.clone() };
        let mut listener = listener_of(&render::envoy(document, options).expect("a good document"));
        if new_vms {
            let number = VMS.fetch_add(1, Ordering::Relaxed);
            let vm = format!(
                "vm_id: wicketgate\n                  configuration: {{ \"@type\": type.googleapis.com/google.protobuf.StringValue, value: \"{number}\" }}"
            );
            listener = listener.replacen("vm_id: wicketgate", &vm, 1);
        }
        let updates = self.updates().await;
        // Envoy looks at the file when another is moved into its place.
        let new = file.with_extension("new");
        fs::write(&new, listener).expect("Envoy's configuration can be written");
        fs::rename(&new, file).expect("a file can be moved");
        let taken = until(START_LIMIT, || async { (self.updates().await > updates).then_some(()) });
        assert!(taken.await.is_ok(), "Envoy did not take the document\n{}", self.process.log_tail());
    }

    async fn updates(&self) -> u64 {
        self.stats().await.get("listener_manager.lds.update_success").copied().unwrap_or_default()
    }

    async fn ready(self) -> Self {
        let envoy = self;
        let ready = until(START_LIMIT, || async {
            let ended = envoy.process.exit_status();
            assert!(ended.is_none(), "Envoy ended while it started\n{}", envoy.process.log_tail());
            Client::http1(envoy.admin).try_get("/ready").await.filter(|answer| answer.status.is_success())
        });
        assert!(
            ready.await.is_ok(),
            "Envoy is not ready after {START_LIMIT:?}\n{}",
            envoy.process.log_tail()
        );
        envoy
    }

    /// Starts an Envoy around a document that the filter should refuse, and returns how it ended.
    pub fn refuse(document: &str) -> Process {
        let nowhere = loopback(free_port());
        let options = Self::options(loopback(free_port()), nowhere.into(), nowhere);
        let envoy = Self::launch(document, &options, WORKERS, &render::envoy_unchecked);
        envoy.process.wait_for_exit(START_LIMIT);
        envoy.process
    }

    fn launch(
        document: &str,
        options: &EnvoyOptions,
        workers: u32,
        render: &dyn Fn(&str, &EnvoyOptions) -> Result<String, RenderError>,
    ) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let options = &EnvoyOptions { authorities: authorities(document), ..options.clone() };
        let yaml =
            render(document, options).unwrap_or_else(|error| panic!("the document is refused:\n{error}"));
        let file = artefacts::run_dir().join(format!("envoy-{}.yaml", COUNT.fetch_add(1, Ordering::Relaxed)));
        let watched = file.with_extension("listeners.yaml");
        let dynamic = yaml.contains(WATCHED);
        if dynamic {
            fs::write(&watched, listener_of(&yaml)).expect("Envoy's configuration can be written");
        }
        let (before, rest) = yaml.split_once("  listeners:").expect("listeners");
        let (_, clusters) = rest.split_once("\n  clusters:").expect("clusters");
        let yaml = match dynamic {
            true => format!("{}\n  clusters:{clusters}", before.replace(WATCHED, &watched.to_string_lossy())),
            false => yaml,
        };
        fs::write(&file, yaml).expect("Envoy's configuration can be written");
        let file = file.to_string_lossy().into_owned();
        let concurrency = workers.to_string();
        // Hot restart shares memory between Envoys of one machine, which would make the tests' Envoys one family.
        let args =
            ["-c", &file, "--concurrency", &concurrency, "--disable-hot-restart", "--log-level", "warning"];
        // The access log is in the log of the process then before a test has given up on it.
        let args = args.into_iter().chain(["--file-flush-interval-msec", "200"]);
        let process = Process::start("envoy", &artefacts::envoy(), args);
        let reload = dynamic.then(|| Reload { file: watched, options: options.clone() });
        let Admin::Tcp(admin) = options.admin else {
            panic!("the tests ask Envoy's admin interface at an address")
        };
        Self { process, address: options.listen, admin, workers, reload }
    }

    /// Where it takes requests.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Panics if the filter has failed, or Envoy itself is in trouble: a filter that traps denies one request and
    /// is started anew, which a caller could take for an ordinary denial.
    pub fn assert_unharmed(&self) {
        let log = self.process.log();
        for sign in ["[critical]", "Wasm VM failed", "failed: Uncaught", "panicked"] {
            assert!(!log.contains(sign), "{sign} in Envoy's log\n{}", self.process.log_tail());
        }
        assert!(self.process.exit_status().is_none(), "Envoy has ended\n{}", self.process.log_tail());
    }

    /// Its counters and gauges, by name.
    pub async fn stats(&self) -> BTreeMap<String, u64> {
        let answer =
            Client::http1(self.admin).try_get("/stats").await.expect("Envoy's admin interface answers");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let pair = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        text.lines().filter_map(pair).collect()
    }

    /// The lines of Envoy's own page of metrics that are of the filter.
    pub async fn prometheus(&self) -> String {
        let answer = Client::http1(self.admin).try_get("/stats/prometheus").await;
        let answer = answer.expect("Envoy's admin interface answers");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        text.lines().filter(|line| line.starts_with("wicketgate_")).map(|line| format!("{line}\n")).collect()
    }

    /// How many connections each worker has taken.
    pub async fn connections_by_worker(&self) -> Vec<u64> {
        let stats = self.stats().await;
        let of = |worker: u32| {
            let suffix = format!(".worker_{worker}.downstream_cx_total");
            let own = format!("_{}{suffix}", self.address.port());
            let (_, count) =
                stats.iter().find(|(name, _)| name.starts_with("listener.") && name.ends_with(&own))?;
            Some(*count)
        };
        (0..self.workers).map(|worker| of(worker).expect("Envoy counts connections by worker")).collect()
    }
}

/// Stands where the name of the file with the listeners goes.
const WATCHED: &str = "@WATCHED@";

/// Where the authorities are that a document names: those of the tests have their port in their name; at the others
/// nobody answers.
fn authorities(document: &str) -> Vec<Authority> {
    let named = Config::from_json(document.as_bytes()).map(|config| config.authorities).unwrap_or_default();
    let authority = |name: String| {
        let port = name.strip_prefix("authority-").unwrap_or("9");
        format!("{name}=http://127.0.0.1:{port}").parse().expect("the name of a cluster")
    };
    named.into_iter().map(authority).collect()
}

/// As [`render::envoy`], with the listeners in a file of their own, which Envoy watches.
fn split(document: &str, options: &EnvoyOptions) -> Result<String, RenderError> {
    let watch = format!(
        "node: {{ id: e2e, cluster: e2e }}\ndynamic_resources:\n  lds_config:\n    path_config_source: {{ path: \"{WATCHED}\" }}\n\n\
         static_resources:"
    );
    Ok(render::envoy(document, options)?.replacen("static_resources:", &watch, 1))
}

/// The listener of a configuration, as a resource of its own.
fn listener_of(yaml: &str) -> String {
    let (_, rest) = yaml.split_once("  listeners:\n").expect("listeners");
    let (listener, _) = rest.split_once("\n  clusters:").expect("clusters");
    let name = "  - name: gateway\n";
    let typed = format!("{name}    \"@type\": type.googleapis.com/envoy.config.listener.v3.Listener\n");
    format!("resources:\n{}", listener.replacen(name, &typed, 1))
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
