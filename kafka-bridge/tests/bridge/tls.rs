//! TLS and SASL against a real Apache Kafka, in a bridge built with the feature `tls`:
//!
//! `scripts/fetch-kafka.sh && cargo test -p kafka-bridge --features tls --test bridge tls::`
//!
//! Needs `java` and `openssl`.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Bridge, event};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

/// One node with a listener for mutual TLS and one for SASL over TLS, and a certificate authority of its own.
struct Kafka {
    directory: PathBuf,
    process: Child,
    plain: u16,
    ssl: u16,
    sasl_ssl: u16,
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

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A key and a certificate that `issuer` signs, or the certificate itself where there is none.
fn certificate(directory: &Path, name: &str, issuer: Option<&str>) {
    let mut command = Command::new("openssl");
    command.current_dir(directory).args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]);
    command.args([
        "-keyout",
        &format!("{name}.key"),
        "-out",
        &format!("{name}.crt"),
        "-subj",
        &format!("/CN={name}"),
    ]);
    if let Some(issuer) = issuer {
        command.args(["-CA", &format!("{issuer}.crt"), "-CAkey", &format!("{issuer}.key")]);
        command.args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=CA:FALSE"]);
    }
    succeed(&mut command);
}

fn java(class: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/tools");
    let libraries = fs::read_dir(&root)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("libs")))
        .find(|path| path.is_dir())
        .unwrap_or_else(|| panic!("no Kafka in {}: run scripts/fetch-kafka.sh first", root.display()));
    let mut class_path: OsString = libraries.into();
    class_path.push("/*");
    let mut command = Command::new("java");
    command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    command.arg("-cp").arg(class_path).arg(class);
    command
}

impl Kafka {
    fn start() -> Self {
        let directory =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        certificate(&directory, "ca", None);
        certificate(&directory, "stranger", None);
        for name in ["broker", "bridge"] {
            certificate(&directory, name, Some("ca"));
        }
        let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
        fs::write(directory.join("broker.pem"), text("broker.key") + &text("broker.crt")).unwrap();

        let [plain, ssl, sasl_ssl, controller] = [(); 4].map(|()| free_port());
        let shown = directory.display();
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\ncontroller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:{plain},SSL://127.0.0.1:{ssl},SASL_SSL://127.0.0.1:{sasl_ssl},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SSL://localhost:{ssl},SASL_SSL://localhost:{sasl_ssl}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=PLAINTEXT\n\
             ssl.keystore.type=PEM\nssl.keystore.location={shown}/broker.pem\n\
             ssl.truststore.type=PEM\nssl.truststore.location={shown}/ca.crt\n\
             listener.name.ssl.ssl.client.auth=required\n\
             sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512\n\
             listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_bridge=\"plain-password\";\n\
             listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             num.partitions=1\noffsets.topic.replication.factor=1\nlog.dirs={shown}/data\n"
        );
        let config = directory.join("server.properties");
        fs::write(&config, properties).unwrap();
        succeed(
            java("kafka.tools.StorageTool")
                .args(["format", "--cluster-id", "d2lja2V0Z2F0ZS10bHMtMQ", "--config"])
                .arg(&config)
                .args(["--add-scram", "SCRAM-SHA-512=[name=bridge,password=scram-password]"]),
        );
        let log = fs::File::create(directory.join("log")).unwrap();
        let process = java("kafka.Kafka")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let kafka = Self { directory, process, plain, ssl, sasl_ssl };
        kafka.await_start();
        kafka
    }

    fn client(&self) -> BaseConsumer {
        ClientConfig::new().set("bootstrap.servers", format!("127.0.0.1:{}", self.plain)).create().unwrap()
    }

    fn await_start(&self) {
        let (client, started) = (self.client(), Instant::now());
        while client.fetch_metadata(None, Duration::from_secs(1)).is_err() {
            let log = || fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(90), "Kafka does not start:\n{}", log());
        }
    }

    fn count(&self, topic: &str) -> i64 {
        self.client().fetch_watermarks(topic, 0, Duration::from_secs(5)).unwrap().1
    }

    async fn bridge(&self, port: u16, properties: &[String]) -> Bridge {
        let mut flags = vec!["--delivery-timeout", "2s", "--librdkafka", "broker.address.family=v4"];
        flags.extend(properties.iter().flat_map(|property| ["--librdkafka", property.as_str()]));
        Bridge::start(&format!("localhost:{port}"), &flags).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_each_mechanism_let_in_who_can_prove_it_and_nobody_else() {
    let kafka = Kafka::start();
    let file = |name: &str| kafka.directory.join(name).display().to_string();
    let tls = |protocol: &str, authority: &str| {
        vec![format!("security.protocol={protocol}"), format!("ssl.ca.location={}", file(authority))]
    };
    let certificate = |name: &str| {
        let (certificate, key) = (file(&format!("{name}.crt")), file(&format!("{name}.key")));
        vec![format!("ssl.certificate.location={certificate}"), format!("ssl.key.location={key}")]
    };
    let sasl = |mechanism: &str, password: &str| {
        let user = "sasl.username=bridge".to_owned();
        vec![format!("sasl.mechanism={mechanism}"), user, format!("sasl.password={password}")]
    };
    let mut written = 0;
    for (what, port, properties, let_in) in [
        ("mutual TLS", kafka.ssl, [tls("ssl", "ca.crt"), certificate("bridge")].concat(), true),
        (
            "PLAIN",
            kafka.sasl_ssl,
            [tls("sasl_ssl", "ca.crt"), sasl("PLAIN", "plain-password")].concat(),
            true,
        ),
        (
            "SCRAM",
            kafka.sasl_ssl,
            [tls("sasl_ssl", "ca.crt"), sasl("SCRAM-SHA-512", "scram-password")].concat(),
            true,
        ),
        ("no certificate", kafka.ssl, tls("ssl", "ca.crt"), false),
        (
            "a stranger's certificate",
            kafka.ssl,
            [tls("ssl", "ca.crt"), certificate("stranger")].concat(),
            false,
        ),
        (
            "a broker of another authority",
            kafka.ssl,
            [tls("ssl", "stranger.crt"), certificate("bridge")].concat(),
            false,
        ),
        (
            "a wrong password",
            kafka.sasl_ssl,
            [tls("sasl_ssl", "ca.crt"), sasl("SCRAM-SHA-512", "plain-password")].concat(),
            false,
        ),
        ("no TLS", kafka.ssl, Vec::new(), false),
    ] {
        let bridge = kafka.bridge(port, &properties).await;
        if let_in {
            bridge.client.until_ready(true, Duration::from_secs(15)).await;
            let answer = bridge.client.event("t", event("1", 10)).await;
            assert_eq!(answer.status, 202, "{what}: {answer:?}");
            written += 1;
            assert_eq!(answer.json()["offset"], written - 1, "{what}");
        } else {
            let answer = bridge.client.event("t", event("1", 10)).await;
            assert!(matches!(answer.status.as_u16(), 503 | 504), "{what}: {answer:?}");
            assert_eq!(bridge.client.get("/readyz").await.status, 503, "{what}");
        }
        assert_eq!(kafka.count("t"), written, "{what}");
    }
}
