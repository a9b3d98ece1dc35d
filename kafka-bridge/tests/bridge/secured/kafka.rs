//! One node of Apache Kafka with a listener for each way in.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::certificates::{authority, signed, succeed};
use super::identity_provider::{AUDIENCE, ISSUER, IdentityProvider, State};
use super::lines;

pub const USER: &str = "bridge";
pub const PASSWORD: &str = "right-password";

pub struct Kafka {
    directory: PathBuf,
    process: Child,
    provider: IdentityProvider,
    plaintext: u16,
    /// Takes a client's certificate.
    pub ssl: u16,
    pub sasl_plaintext: u16,
    pub sasl_ssl: u16,
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Ends with the thread that starts it, which is the test's.
fn java(options: &[String], class: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/tools");
    let libraries = fs::read_dir(&root)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("libs")))
        .find(|path| path.is_dir())
        .unwrap_or_else(|| panic!("no Kafka in {}: run scripts/fetch-kafka.sh first", root.display()));
    let mut class_path: OsString = libraries.into();
    class_path.push("/*");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "java"]);
    command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]);
    command.args(options);
    command.arg("-cp").arg(class_path).arg(class);
    command
}

fn properties(directory: &Path, keys: &Path, ports: [u16; 5]) -> String {
    const SECURITY: &str = "org.apache.kafka.common.security";
    let [plaintext, ssl, sasl_plaintext, sasl_ssl, controller] = ports;
    let shown = directory.display();
    let mut text = format!(
        "process.roles=broker,controller\nnode.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\ncontroller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{plaintext},SSL://127.0.0.1:{ssl},SASL_PLAINTEXT://127.0.0.1:{sasl_plaintext},\
         SASL_SSL://127.0.0.1:{sasl_ssl},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{plaintext},SSL://localhost:{ssl},\
         SASL_PLAINTEXT://localhost:{sasl_plaintext},SASL_SSL://localhost:{sasl_ssl}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,\
         CONTROLLER:PLAINTEXT\n\
         inter.broker.listener.name=PLAINTEXT\n\
         ssl.keystore.type=PEM\nssl.keystore.location={shown}/broker.pem\n\
         ssl.truststore.type=PEM\nssl.truststore.location={shown}/ca.crt\n\
         listener.name.ssl.ssl.client.auth=required\n\
         sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER\n\
         num.network.threads=2\nnum.io.threads=2\nnum.partitions=1\nlog.cleaner.enable=false\n\
         offsets.topic.replication.factor=1\nlog.dirs={shown}/data\n"
    );
    for listener in ["sasl_plaintext", "sasl_ssl"] {
        let listener = format!("listener.name.{listener}");
        let _ = write!(
            text,
            "{listener}.plain.sasl.jaas.config={SECURITY}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";\n\
             {listener}.scram-sha-256.sasl.jaas.config={SECURITY}.scram.ScramLoginModule required;\n\
             {listener}.scram-sha-512.sasl.jaas.config={SECURITY}.scram.ScramLoginModule required;\n\
             {listener}.oauthbearer.sasl.jaas.config={SECURITY}.oauthbearer.OAuthBearerLoginModule required;\n\
             {listener}.oauthbearer.sasl.server.callback.handler.class={SECURITY}.oauthbearer.OAuthBearerValidatorCallbackHandler\n\
             {listener}.oauthbearer.connections.max.reauth.ms=60000\n\
             {listener}.sasl.oauthbearer.jwks.endpoint.url=file://{}\n\
             {listener}.sasl.oauthbearer.expected.audience={AUDIENCE}\n\
             {listener}.sasl.oauthbearer.expected.issuer={ISSUER}\n\
             {listener}.sasl.oauthbearer.clock.skew.seconds=0\n",
            keys.display()
        );
    }
    text
}

impl Kafka {
    /// Believes the tokens of `provider`.
    pub fn start(provider: &IdentityProvider) -> Self {
        let directory =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("secured-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        authority(&directory, "ca");
        authority(&directory, "stranger");
        for (name, days) in [("broker", 2), ("bridge", 2), ("expired", -1)] {
            signed(&directory, name, days);
        }
        let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
        fs::write(directory.join("broker.pem"), text("broker.key") + &text("broker.crt")).unwrap();

        let ports = [(); 5].map(|()| free_port());
        let [plaintext, ssl, sasl_plaintext, sasl_ssl, _] = ports;
        let config = directory.join("server.properties");
        fs::write(&config, properties(&directory, &provider.keys(), ports)).unwrap();
        let mut format = java(&[], "kafka.tools.StorageTool");
        format.args(["format", "--cluster-id", "d2lja2V0Z2F0ZS10bHMtMQ", "--config"]).arg(&config);
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            format.args(["--add-scram", &format!("{mechanism}=[name={USER},password={PASSWORD}]")]);
        }
        succeed(&mut format);
        let log = File::create(directory.join("log")).unwrap();
        // Keys of tokens are read from what is listed, and nowhere else.
        let allowed =
            format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://{}", provider.keys().display());
        let process = java(&[allowed], "kafka.Kafka")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let provider = provider.clone();
        let mut kafka = Self { directory, process, provider, plaintext, ssl, sasl_plaintext, sasl_ssl };
        kafka.await_start();
        kafka
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", format!("127.0.0.1:{}", self.plaintext));
        config
    }

    fn await_start(&mut self) {
        let (client, started): (BaseConsumer, _) = (self.config().create().unwrap(), Instant::now());
        while client.fetch_metadata(None, Duration::from_secs(1)).is_err() {
            let log = || fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            assert!(self.process.try_wait().unwrap().is_none(), "Kafka ended while it started:\n{}", log());
            assert!(started.elapsed() < Duration::from_secs(90), "Kafka does not start:\n{}", log());
        }
    }

    /// How many records a topic has, which has one partition.
    pub fn count(&self, topic: &str) -> i64 {
        let client: BaseConsumer = self.config().create().unwrap();
        let metadata = client.fetch_metadata(None, Duration::from_secs(10)).unwrap();
        if metadata.topics().iter().all(|there| there.name() != topic) {
            return 0;
        }
        client.fetch_watermarks(topic, 0, Duration::from_secs(10)).unwrap().1
    }

    /// A topic whose records have to have keys.
    pub async fn create_compacted(&self, name: &str) {
        let client: AdminClient<DefaultClientContext> = self.config().create().unwrap();
        let topic = NewTopic::new(name, 1, TopicReplication::Fixed(1)).set("cleanup.policy", "compact");
        client.create_topics(&[topic], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    }

    /// A further provider whose tokens it believes.
    pub fn provider(&self, state: State) -> IdentityProvider {
        self.provider.twin(state)
    }

    /// One that is asked over TLS; `ca` has signed its certificate.
    pub fn encrypted_provider(&self) -> IdentityProvider {
        self.provider.encrypted_twin(&self.directory.join("broker.crt"), &self.directory.join("broker.key"))
    }

    pub fn file(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// Options for brokers whose certificate `authority` has signed.
    pub fn tls(&self, protocol: &str, authority: &str) -> String {
        let authority = self.file(&format!("{authority}.crt"));
        lines(&[("security.protocol", protocol), ("ssl.ca.location", &authority)])
    }

    /// Options for a client with this certificate.
    pub fn certificate(&self, name: &str) -> String {
        let (certificate, key) = (self.file(&format!("{name}.crt")), self.file(&format!("{name}.key")));
        lines(&[("ssl.certificate.location", &certificate), ("ssl.key.location", &key)])
    }
}
