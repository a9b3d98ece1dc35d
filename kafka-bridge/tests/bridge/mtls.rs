//! TLS on the way to the bridge, and certificates as a proof of who calls.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::certificates::{Authority, Identity};
use crate::common::{Answer, Bridge, EVENT, cluster, count, event};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kafka_bridge::server::Listen;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};

/// A folder that is there as long as this value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The flags of a listener with TLS, with the bridge's own certificate.
fn flags(authority: &Authority) -> Vec<String> {
    let own = authority.issue("bridge", &["bridge.test"]);
    [
        "--listen",
        "tls:127.0.0.1:0",
        "--tls-certificate-file",
        text(&own.certificate),
        "--tls-key-file",
        text(&own.key),
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A bridge with TLS, and where it is.
async fn start(cluster: &crate::common::Cluster, flags: &[String], more: &[&str]) -> (Bridge, SocketAddr) {
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let bridge = Bridge::ready(cluster, &flags).await;
    let [Listen::Tls(address)] = bridge.listening[..] else { panic!("{:?}", bridge.listening) };
    (bridge, address)
}

/// Somebody who calls over TLS.
struct Caller<'a> {
    address: SocketAddr,
    /// Whom it trusts.
    authority: &'a Authority,
    identity: Option<&'a Identity>,
    versions: &'a [&'static SupportedProtocolVersion],
    http2: bool,
}

impl Caller<'_> {
    async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.authority.certificate).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_file(&identity.certificate).unwrap()],
                    PrivateKeyDer::from_pem_file(&identity.key).unwrap(),
                )
                .unwrap(),
        };
        config.alpn_protocols = vec![if self.http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from("bridge.test").unwrap(), stream)
            .await
    }

    /// Sends a request on a connection of its own. With TLS 1.3 a server refuses a certificate after the client is
    /// done, so that shows only here.
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let stream = self.connect().await.map_err(|error| error.to_string())?;
        let (head, body) = if self.http2 {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .map_err(|error| format!("{error:?}"))?;
            tokio::spawn(connection);
            sender.send_request(request).await.map_err(|error| format!("{error:?}"))?.into_parts()
        } else {
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("{error:?}"))?;
            tokio::spawn(connection);
            sender.send_request(request).await.map_err(|error| format!("{error:?}"))?.into_parts()
        };
        let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
        Ok(Answer { status: head.status, version: head.version, headers: head.headers, body })
    }

    async fn post(&self) -> Result<Answer, String> {
        self.send(request("POST", "/v1/topics/t/events", event("1", 10))).await
    }

    async fn live(&self) -> Result<Answer, String> {
        self.send(request("GET", "/livez", String::new())).await
    }
}

/// The certificate that a bridge shows at this address.
pub async fn certificate_of(address: SocketAddr, authority: &Authority) -> CertificateDer<'static> {
    let caller = Caller { address, authority, identity: None, versions: BOTH, http2: true };
    let stream = caller.connect().await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

fn request(method: &str, path: &str, body: String) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(format!("https://bridge.test{path}"))
        .header("host", "bridge.test")
        .header("content-type", EVENT)
        .body(Full::new(body.into()))
        .unwrap()
}

const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

#[tokio::test]
async fn a_certificate_of_the_authorities_lets_in_and_no_other_does() {
    let (cluster, folder) = (cluster(), Folder::new("mtls"));
    let authority = Authority::new(&folder.0, "authority");
    let stranger = Authority::new(&folder.0, "stranger");
    let ca = ["--tls-client-ca-file", text(&authority.certificate)];
    let (bridge, address) = start(&cluster, &flags(&authority), &ca).await;
    let good = authority.issue("good", &["gateway.test"]);
    let expired = authority.issue_until("expired", &["gateway.test"], 2020);
    let foreign = stranger.issue("foreign", &["gateway.test"]);
    for versions in [&BOTH[..1], &BOTH[1..]] {
        for http2 in [false, true] {
            let caller = |identity| Caller { address, authority: &authority, identity, versions, http2 };
            let answer = caller(Some(&good)).post().await.unwrap();
            assert_eq!(answer.status, 202, "{answer:?}");
            let wanted = if http2 { hyper::Version::HTTP_2 } else { hyper::Version::HTTP_11 };
            assert_eq!(answer.version, wanted);
            // Headers are inside the connection, so binary mode is vouched for as well.
            let binary = Request::builder()
                .method("POST")
                .uri("https://bridge.test/v1/topics/t/events")
                .header("host", "bridge.test")
                .header("ce-specversion", "1.0")
                .header("ce-id", "1")
                .header("ce-source", "/s")
                .header("ce-type", "t")
                .body(Full::default())
                .unwrap();
            assert_eq!(caller(Some(&good)).send(binary).await.unwrap().status, 202);

            let answer = caller(None).post().await.unwrap();
            answer.assert_problem(401, "unauthenticated");
            assert_eq!(answer.header("www-authenticate"), Some("Wicketgate-Certificate"));
            // Probes have no certificate.
            assert_eq!(caller(None).live().await.unwrap().status, 200);
            for wrong in [&expired, &foreign] {
                let refused = caller(Some(wrong)).post().await;
                assert!(refused.is_err(), "{wrong:?}: {refused:?}");
            }
        }
    }
    assert_eq!(count(&cluster, "t"), 8);
    // A listener without TLS is no way around it, whatever is said there.
    bridge.client.event("t", event("1", 10)).await.assert_problem(401, "unauthenticated");
    assert_eq!(bridge.client.get("/livez").await.status, 200);
    assert_eq!(count(&cluster, "t"), 8);
    assert_eq!(bridge.client.metric(r#"kafka_bridge_hop_refusals_total{reason="missing"}"#).await, 5);
}

#[tokio::test]
async fn names_narrow_it_down() {
    let (cluster, folder) = (cluster(), Folder::new("mtls-names"));
    let authority = Authority::new(&folder.0, "authority");
    let ca = [
        "--tls-client-ca-file",
        text(&authority.certificate),
        "--tls-client-names",
        "Gateway.test,spiffe://test/edge",
    ];
    let (bridge, address) = start(&cluster, &flags(&authority), &ca).await;
    for (file, names, status) in [
        ("a", &["gateway.test"][..], 202),
        ("b", &["other.test", "spiffe://test/edge"], 202),
        ("c", &["other.test"], 401),
        ("d", &["spiffe://test/edge/more"], 401),
        ("e", &["spiffe://test/Edge"], 401),
        ("f", &["*.test"], 401),
        // The common name is nobody's proof.
        ("gateway.test", &["127.0.0.1"], 401),
        ("g", &[], 401),
    ] {
        let identity = authority.issue(file, names);
        let caller =
            Caller { address, authority: &authority, identity: Some(&identity), versions: BOTH, http2: true };
        let answer = caller.post().await.unwrap();
        assert_eq!(answer.status, status, "{names:?}: {answer:?}");
        assert_eq!(caller.live().await.unwrap().status, 200);
    }
    assert_eq!(bridge.client.metric(r#"kafka_bridge_hop_refusals_total{reason="certificate"}"#).await, 6);
    assert_eq!(count(&cluster, "t"), 2);
}

#[tokio::test]
async fn tls_alone_is_no_proof_and_goes_with_those_there_are() {
    let (cluster, folder) = (cluster(), Folder::new("mtls-token"));
    let authority = Authority::new(&folder.0, "authority");
    let token = "token-0123456789-0123456789-0123456789";
    let file = folder.0.join("tokens");
    fs::write(&file, token).unwrap();
    let (_bridge, address) = start(&cluster, &flags(&authority), &["--hop-token-file", text(&file)]).await;
    let own = authority.issue("own", &["gateway.test"]);
    // Nobody has asked for a certificate, so whoever brings one anyway has not proved anything.
    for identity in [None, Some(&own)] {
        let caller = Caller { address, authority: &authority, identity, versions: BOTH, http2: false };
        let answer = caller.post().await.unwrap();
        answer.assert_problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        let mut request = request("POST", "/v1/topics/t/events", event("1", 10));
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        assert_eq!(caller.send(request).await.unwrap().status, 202);
    }
}

#[tokio::test]
async fn whoever_does_not_shake_hands_keeps_nobody_waiting() {
    let (cluster, folder) = (cluster(), Folder::new("mtls-slow"));
    let authority = Authority::new(&folder.0, "authority");
    let (bridge, address) = start(&cluster, &flags(&authority), &[]).await;
    let caller = Caller { address, authority: &authority, identity: None, versions: BOTH, http2: true };
    assert_eq!(
        caller.connect().await.unwrap().get_ref().1.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // HTTP without TLS is not understood.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), plain.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(caller.post().await.unwrap().status, 202);
    // Handshakes that go on are no requests to be answered first.
    let started = std::time::Instant::now();
    assert!(bridge.stop().await.is_none());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    drop(silent);
}

#[test]
fn files_that_will_not_do_are_told_all_at_once_and_without_what_is_in_them() {
    let folder = Folder::new("mtls-files");
    let authority = Authority::new(&folder.0, "authority");
    let (one, two) = (authority.issue("one", &["a"]), authority.issue("two", &["a"]));
    let bad = folder.0.join("bad");
    fs::write(&bad, "-----BEGIN PRIVATE KEY-----\nhunter2!\n-----END PRIVATE KEY-----\n").unwrap();
    let load = |certificate: &Path, key: &Path, ca: &Path| {
        let flags = [
            "kafka-bridge",
            "--embedded-broker",
            "--listen",
            "tls:127.0.0.1:0",
            "--tls-certificate-file",
            text(certificate),
            "--tls-key-file",
            text(key),
            "--tls-client-ca-file",
            text(ca),
        ];
        match kafka_bridge::config::load(flags.map(Into::into), |_| None) {
            Ok(_) => Vec::new(),
            Err(kafka_bridge::config::Failure::Invalid(errors)) => errors,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(load(&one.certificate, &one.key, &authority.certificate), Vec::<String>::new());
    let nowhere = Path::new("/nonexistent");
    for (certificate, key, ca, wanted) in [
        (
            nowhere,
            nowhere,
            nowhere,
            &["--tls-certificate-file /none", "--tls-key-file /none", "--tls-client-ca-file /none"][..],
        ),
        (&bad, &bad, &bad, &["--tls-certificate-file", "--tls-key-file", "--tls-client-ca-file"]),
        (&one.certificate, &one.certificate, &authority.certificate, &["wanted a private key in PEM"]),
        (&one.certificate, &two.key, &authority.certificate, &["and --tls-key-file"]),
        (&one.key, &one.key, &authority.certificate, &["wanted certificates in PEM, got none"]),
    ] {
        let errors = load(certificate, key, ca);
        let all = errors.join("\n");
        assert_eq!(errors.len(), wanted.len(), "{all}");
        assert!(wanted.iter().all(|wanted| all.contains(wanted)) && !all.contains("hunter2"), "{all}");
    }
}
