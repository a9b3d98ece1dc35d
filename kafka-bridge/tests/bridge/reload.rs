//! SIGHUP: a changed configuration is taken over while the process runs, as a whole or not at all.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::certificates::Authority;
use crate::common::{Client, Cluster, EVENT, cluster, event};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use wicketgate_envelope::signature::SIGNATURE_HEADER;

const OLD: &str = "token-old-0123456789-0123456789-0123456789";
const NEW: &str = "token-new-0123456789-0123456789-0123456789";
const WITHIN: Duration = Duration::from_secs(20);

/// A running bridge with a configuration file of its own, in a folder that goes with it.
struct Process {
    child: Child,
    folder: PathBuf,
    client: Client,
}

impl Process {
    /// Starts it with this file, in which `FOLDER` stands for the folder.
    async fn start(name: &str, cluster: &Cluster, files: &[(&str, &str)], config: &str) -> Self {
        Self::start_listening(name, cluster, files, config, "127.0.0.1:0").await
    }

    /// The same, and listens there too.
    async fn start_listening(
        name: &str,
        cluster: &Cluster,
        files: &[(&str, &str)],
        config: &str,
        listen: &str,
    ) -> Self {
        let folder =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        write_config(&folder, config);
        let log = fs::File::create(folder.join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_kafka-bridge"))
            .args(["--config", folder.join("bridge.toml").to_str().unwrap()])
            .args([
                "--bootstrap-servers",
                &cluster.bootstrap_servers(),
                "--listen",
                "127.0.0.1:0",
                "--listen",
                listen,
            ])
            .env_remove("RUST_LOG")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut process = Self { child, folder, client: Client::new("127.0.0.1:1".parse().unwrap()) };
        let listening = process.logged("listening listen=127.0.0.1:").await;
        let (_, address) = listening.split_once("listen=").unwrap();
        process.client = Client::new(address.trim().parse().unwrap());
        process.client.until_ready(true, Duration::from_secs(10)).await;
        process
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    fn configure(&self, config: &str) {
        write_config(&self.folder, config);
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// Waits for a line of the log that has this in it.
    async fn logged(&self, text: &str) -> String {
        let started = Instant::now();
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            assert!(started.elapsed() < WITHIN, "{text:?} is not in the log:\n{log}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends SIGHUP, and waits until the configuration has been taken over, or refused.
    async fn reload(&self, result: &str) {
        let metric = format!(r#"kafka_bridge_config_reloads_total{{result="{result}"}}"#);
        let before = self.client.metric(&metric).await;
        let status = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
        let started = Instant::now();
        while self.client.metric(&metric).await == before {
            assert!(started.elapsed() < WITHIN, "not {result}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn last_success(&self) -> f64 {
        let text = self.client.get("/metrics").await.body;
        let name = "kafka_bridge_config_last_reload_success_timestamp_seconds ";
        let text = String::from_utf8(text.to_vec()).unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).unwrap()
    }

    async fn post(&self, token: &str, topic: &str) -> u16 {
        post(&self.client, token, topic).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn write_config(folder: &Path, config: &str) {
    let config = config.replace("FOLDER", folder.to_str().unwrap());
    fs::write(folder.join("bridge.toml"), config).unwrap();
}

async fn post(client: &Client, token: &str, topic: &str) -> u16 {
    let authorization = format!("Bearer {token}");
    let headers = [("content-type", EVENT), ("authorization", authorization.as_str())];
    let path = format!("/v1/topics/{topic}/events");
    client.send("POST", &path, &headers, event("1", 10)).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_changed_under_load_without_a_single_refusal() {
    let cluster = cluster();
    let config = "mode = \"production\"\nhop_token_file = \"FOLDER/tokens\"\nidempotency_entries = 0\n";
    let process = Process::start("reload-rotate", &cluster, &[("tokens", OLD)], config).await;
    assert_eq!((process.post(OLD, "t").await, process.post(NEW, "t").await), (202, 401));

    let (changed, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let answered = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (client, changed, ended) = (process.client.clone(), Arc::clone(&changed), Arc::clone(&ended));
            let answered = Arc::clone(&answered);
            tokio::spawn(async move {
                while !ended.load(Ordering::SeqCst) {
                    let token = if changed.load(Ordering::SeqCst) { NEW } else { OLD };
                    assert_eq!(post(&client, token, "t").await, 202);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let more = async |count: usize| {
        let goal = answered.load(Ordering::SeqCst) + count;
        let started = Instant::now();
        while answered.load(Ordering::SeqCst) < goal {
            assert!(started.elapsed() < WITHIN && !callers.iter().any(|caller| caller.is_finished()));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    more(50).await;
    process.write("tokens", &format!("{OLD}\n{NEW}\n"));
    process.reload("taken_over").await;
    more(50).await;
    changed.store(true, Ordering::SeqCst);
    // Whoever has read the old one is done with it by then.
    more(50).await;
    process.write("tokens", NEW);
    process.reload("taken_over").await;
    more(50).await;
    // Reloads in quick succession harm nobody either.
    for _ in 0..20 {
        process.reload("taken_over").await;
    }
    ended.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!((process.post(OLD, "t").await, process.post(NEW, "t").await), (401, 202));
    assert_eq!(process.client.metric(r#"kafka_bridge_hop_refusals_total{reason="token"}"#).await, 2);
    let log = process.log();
    assert!(!log.contains(OLD) && !log.contains(NEW), "{log}");
}

#[tokio::test]
async fn a_configuration_with_a_mistake_changes_nothing() {
    let cluster = cluster();
    let config = "mode = \"production\"\nhop_token_file = \"FOLDER/tokens\"\nallowed_topics = [\"a\"]\n";
    let process = Process::start("reload-bad", &cluster, &[("tokens", OLD)], config).await;
    let (before, good) = (process.last_success().await, async |process: &Process| {
        (process.post(OLD, "a").await, process.post(OLD, "b").await)
    });
    assert_eq!(good(&process).await, (202, 403));
    for (bad, wanted) in [
        // Each of them has a change that is good, and all that is wrong is told.
        (
            "mode = \"production\"\nhop_token_file = \"FOLDER/none\"\nallowed_topics = [\"b\"]\nmax_records = 0\nmax_recrods = 1\n[librdkafka]\nsasl.password = { file = \"FOLDER/none\" }",
            &[
                "max_records: ",
                "max_recrods: there is no such setting",
                "hop-token-file",
                "librdkafka.sasl.password: file",
            ][..],
        ),
        ("allowed_topics = [\"b\"", &["not TOML"]),
        ("allowed_topics = [\"b\"]\nmode = \"production\"", &["whoever reaches the port could write"]),
        // Good by itself, but the mode cannot change, and with that one it is not.
        ("allowed_topics = [\"b\"]\nmode = \"development\"", &["whoever reaches the port could write"]),
        ("allowed_topics = [\"b\"]\nhop_token_file = \"FOLDER/tokens\"\nlog = \"a=b=c\"", &["log: "]),
    ] {
        process.configure(bad);
        let said = process.log().len();
        process.reload("refused").await;
        let log = process.log()[said..].to_owned();
        assert!(wanted.iter().all(|wanted| log.contains(wanted)), "{bad}:\n{log}");
        assert!(log.contains("the one before goes on"), "{log}");
        assert_eq!(good(&process).await, (202, 403), "{bad}");
    }
    assert!((process.last_success().await - before).abs() < f64::EPSILON);
    process.write("tokens", "short");
    process.configure(config);
    process.reload("refused").await;
    assert_eq!(good(&process).await, (202, 403));

    process.write("tokens", OLD);
    process.configure(&config.replace("[\"a\"]", "[\"b\"]"));
    process.reload("taken_over").await;
    assert_eq!(good(&process).await, (403, 202));
    assert!(process.last_success().await > before);
    assert_eq!(process.client.metric(r#"kafka_bridge_config_reloads_total{result="refused"}"#).await, 6);
}

#[tokio::test]
async fn a_closed_bridge_is_not_opened_and_what_is_open_is_said_again() {
    let cluster = cluster();
    let warned = "allowed_topics = [\"*\"]\nrequired = false\nbootstrap_servers = \"127.0.0.1:1\"\n\
                  [clusters.other.librdkafka]\nsecurity.protocol = \"SASL_PLAINTEXT\"\nsasl.mechanism = \"PLAIN\"\n\
                  sasl.username = \"u\"\nsasl.password = \"hunter2\"\n";
    let config = |top: &str| format!("{top}\n[clusters.other]\n{warned}");
    let closed = config("hop_token_file = \"FOLDER/tokens\"");
    let process = Process::start("reload-open", &cluster, &[("tokens", OLD)], &closed).await;
    let times = |text: &str| process.log().matches(text).count();
    let (open, unencrypted) = ("anybody who reaches the bridge may write", "crosses the network unencrypted");
    assert_eq!((times(open), times(unencrypted)), (0, 1));
    process.reload("taken_over").await;
    assert_eq!((times(open), times(unencrypted)), (0, 2));
    // The setting is lost, as with a deployment that forgets a part.
    process.configure(&config("allowed_topics = [\"a\"]"));
    process.reload("refused").await;
    process.logged("opening a closed bridge takes a restart").await;
    assert_eq!((process.post(OLD, "t").await, process.post(NEW, "t").await), (202, 401));
    assert_eq!((times(open), times(unencrypted)), (0, 2));
    // Another proof instead is as good.
    process.write("secrets", NEW);
    process.configure(&config("hop_secret_file = \"FOLDER/secrets\""));
    process.reload("taken_over").await;
    assert_eq!(process.post(OLD, "t").await, 401);

    let process = Process::start("reload-opened", &cluster, &[], &config("")).await;
    process.reload("taken_over").await;
    assert_eq!(process.log().matches(open).count(), 2, "{}", process.log());
}

#[tokio::test]
async fn topics_that_were_listed_are_not_all_opened() {
    let cluster = cluster();
    let config = |top: &str, other: &str| {
        format!(
            "hop_token_file = \"FOLDER/tokens\"\n{top}\n[clusters.other]\nrequired = false\nbootstrap_servers = \"127.0.0.1:1\"\n{other}\n"
        )
    };
    let listed = "allowed_topics = [\"t\"]";
    let process = Process::start("reload-topics", &cluster, &[("tokens", OLD)], &config("", listed)).await;
    assert_eq!(process.post(OLD, "u").await, 202, "no list, no bound");
    // Of another cluster.
    process.configure(&config("", ""));
    process.reload("refused").await;
    process.logged("clusters.other.allowed_topics: it is not there any more").await;
    process.configure(&config(listed, listed));
    process.reload("taken_over").await;
    assert_eq!((process.post(OLD, "t").await, process.post(OLD, "u").await), (202, 403));
    // Of the default one.
    process.configure(&config("", listed));
    process.reload("refused").await;
    process.logged("configuration: allowed_topics: it is not there any more").await;
    assert_eq!((process.post(OLD, "t").await, process.post(OLD, "u").await), (202, 403));
    // Said, it is meant.
    process.configure(&config("allowed_topics = [\"*\"]", listed));
    process.reload("taken_over").await;
    assert_eq!(process.post(OLD, "u").await, 202);
}

#[tokio::test]
async fn a_signed_call_that_was_let_in_is_not_let_in_again_after_it() {
    let cluster = cluster();
    let config = "hop_secret_file = \"FOLDER/secrets\"\n";
    let process = Process::start("reload-replay", &cluster, &[("secrets", OLD)], config).await;
    let (path, body) = ("/v1/topics/t/events", event("1", 10));
    let signature = crate::hop::sign(OLD, crate::hop::now(), "0123456789abcdef", path, &body);
    let headers = [("content-type", EVENT), (SIGNATURE_HEADER, signature.as_str())];
    assert_eq!(process.client.send("POST", path, &headers, body.clone()).await.status, 202);
    process.write("secrets", &format!("{NEW}\n{OLD}\n"));
    process.reload("taken_over").await;
    let again = process.client.send("POST", path, &headers, body).await;
    again.assert_problem(401, "unauthenticated");
    assert_eq!(process.client.metric(r#"kafka_bridge_hop_refusals_total{reason="replayed"}"#).await, 1);
}

#[tokio::test]
async fn what_takes_a_restart_is_named_and_goes_on_as_it_was() {
    let cluster = cluster();
    let other =
        "[clusters.other]\nbootstrap_servers = \"127.0.0.1:1\"\nrequired = false\nallowed_topics = [\"a\"]\n";
    let options = "[librdkafka]\nclient.id = \"hunter1\"\n";
    let config = format!("log = \"info\"\nmax_records = 1\n{options}{other}");
    let process = Process::start("reload-restart", &cluster, &[], &config).await;
    let changed = config
        .replace("hunter1", "hunter2")
        .replace("127.0.0.1:1", "127.0.0.1:2")
        .replace("\"a\"", "\"b\"")
        .replace("max_records = 1", "max_records = 2\nqueue_records = 7\nlog_format = \"json\"");
    process.configure(&changed);
    for _ in 0..2 {
        let said = process.log().len();
        process.reload("taken_over").await;
        process.logged("the configuration was taken over").await;
        let log = process.log()[said..].to_owned();
        // As often as it is read, until it is restarted.
        let mut restart: Vec<_> = log
            .lines()
            .filter(|line| line.contains("takes a restart"))
            .filter_map(|line| Some(line.split_once("setting=")?.1.trim_matches('"')))
            .collect();
        restart.sort_unstable();
        let wanted =
            ["clusters.other.bootstrap_servers", "librdkafka.client.id", "log_format", "queue_records"];
        assert_eq!(restart, wanted, "{log}");
        assert!(!log.contains("hunter"), "{log}");
    }
    let log = process.log();
    assert!(log.contains("clusters.other.allowed_topics,max_records"), "{log}");
    assert_eq!(
        process.client.metric(r#"kafka_bridge_queue_records_limit{cluster="default"}"#).await,
        100_000
    );
    let path = "/v1/clusters/other/topics/a/events";
    let answer = process.client.send("POST", path, &[("content-type", EVENT)], event("1", 10)).await;
    answer.assert_problem(403, "forbidden");

    // What is logged is one of those that change at once.
    process.configure(&format!(
        "log = \"warn,kafka_bridge=trace\"\n{}",
        changed.replace("log = \"info\"\n", "")
    ));
    process.reload("taken_over").await;
    process.client.get("/nowhere").await;
    process.logged("answered with a problem").await;
}

#[tokio::test]
async fn a_request_that_is_on_its_way_ends_by_what_held_when_it_came() {
    let cluster = cluster();
    let process = Process::start("reload-in-flight", &cluster, &[], "max_body_bytes = 2000\n").await;
    let body = event("1", 1000);
    let address = process.client.address;
    let head = format!(
        "POST /v1/topics/t/events HTTP/1.1\r\nhost: x\r\ncontent-type: {EVENT}\r\nconnection: close\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    // "100 Continue" shows that the request is being answered.
    let mut line = [0; 25];
    stream.read_exact(&mut line).unwrap();
    assert!(line.starts_with(b"HTTP/1.1 100"));
    process.configure("max_body_bytes = 500\n");
    process.reload("taken_over").await;
    assert_eq!(process.client.event("t", body.clone()).await.status, 413);
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");

    // A larger one than there was memory for finds it.
    process.configure("max_body_bytes = 400000000\nqueue_kbytes = 300000\n");
    process.reload("taken_over").await;
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    let head = head.replace(&format!("content-length: {}", body.len()), "content-length: 400000000");
    stream.write_all(head.as_bytes()).unwrap();
    stream.read_exact(&mut line).unwrap();
    assert!(line.starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&line));
}

#[tokio::test]
async fn new_connections_get_the_new_certificate() {
    let cluster = cluster();
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("reload-tls-made-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let authority = Authority::new(&folder, "authority");
    let (one, two) = (authority.issue("one", &["bridge.test"]), authority.issue("two", &["bridge.test"]));
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let config = "tls_certificate_file = \"FOLDER/cert\"\ntls_key_file = \"FOLDER/key\"\n";
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    // Flags come before the file, so the listeners are said there.
    let files = [("cert", read(&one.certificate)), ("key", read(&one.key))];
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let process =
        Process::start_listening("reload-tls", &cluster, &files, config, &format!("tls:{address}")).await;
    let presented = async || crate::mtls::certificate_of(address, &authority).await;
    let own = |identity: &crate::certificates::Identity| {
        CertificateDer::from_pem_file(&identity.certificate).unwrap()
    };
    assert_eq!(presented().await, own(&one));
    process.write("cert", &read(&two.certificate));
    // Half of it is not taken.
    process.reload("refused").await;
    assert_eq!(presented().await, own(&one));
    process.write("key", &read(&two.key));
    process.reload("taken_over").await;
    assert_eq!(presented().await, own(&two));
    let _ = fs::remove_dir_all(&folder);
}
