//! Client certificates against a real Envoy that verifies them.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use wicketgate_tests::artefacts;
use wicketgate_tests::certificates::{Authority, Identity};
use wicketgate_tests::gateway::KEY;
use wicketgate_tests::kafka::MAX_RECORD_BYTES;
use wicketgate_tests::raw_http;

use crate::rig::{Rig, document};

/// A gateway that asks for certificates of an authority, and a folder with that authority's.
struct Scene {
    rig: Rig,
    authority: Authority,
    stranger: Authority,
}

/// Makes Envoy's listener ask for certificates, verify those that it gets, and take requests without one.
fn with_tls(configuration: &str, server: &Identity, authority: &Authority) -> String {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let transport_socket = format!(
        "    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_certificates:
            - certificate_chain: {{ filename: \"{}\" }}
              private_key: {{ filename: \"{}\" }}
            validation_context: {{ trusted_ca: {{ filename: \"{}\" }} }}
      filters:
",
        text(&server.certificate),
        text(&server.key),
        text(&authority.certificate),
    );
    let before = "    filter_chains:\n    - filters:\n";
    assert!(configuration.contains(before), "{configuration}");
    configuration.replacen(before, &transport_socket, 1)
}

impl Scene {
    async fn start(name: &str, trust_forwarded_header: bool, tls: bool) -> Self {
        let folder = artefacts::run_dir().join(format!("certificates-{name}"));
        std::fs::create_dir_all(&folder).unwrap();
        let authority = Authority::new(&folder, "authority");
        let stranger = Authority::new(&folder, "stranger");
        let server = authority.issue("server", &["127.0.0.1"]);
        let route = |name: &str, methods: &[&str]| {
            json!({
                "name": name,
                "match": {"methods": ["POST"], "path": format!("/{name}")},
                "authentication": {"any_of": methods},
                "action": "produce",
                "event": {"type": "com.example.certified"},
                "kafka": {"topic": "certified"},
            })
        };
        let behind = json!({
            "name": "behind",
            "match": {"methods": ["POST"], "path": "/behind"},
            "authentication": {"any_of": ["partners"]},
            "action": "pass",
        });
        let routes =
            json!([route("partners", &["partners"]), route("either", &["partners", "keys"]), behind]);
        let mut document = document(routes);
        document["authentication"]["partners"] =
            json!({"type": "mtls", "trust_forwarded_header": trust_forwarded_header});
        let consumers = document["consumers"].as_array_mut().unwrap();
        consumers
            .push(json!({"name": "acme", "certificates": [{"uri": "spiffe://example.org/partners/acme"}]}));
        consumers
            .push(json!({"name": "partner", "certificates": [{"uri": "spiffe://example.org/partners/*"}]}));
        consumers.push(json!({"name": "device", "certificates": [{"dns": "device.example.org"}]}));
        consumers.push(json!({"name": "named", "certificates": [{"subject": "CN=by-subject"}]}));
        let alter = |configuration: String| match tls {
            true => with_tls(&configuration, &server, &authority),
            false => configuration,
        };
        let rig = Rig::start_altered(document, &[("certified", 1, MAX_RECORD_BYTES)], &alter).await;
        Self { rig, authority, stranger }
    }

    /// The answer to a POST over TLS, with this certificate; `None` if there was none, because the handshake failed.
    async fn post(&self, path: &str, identity: Option<&Identity>, fields: &str) -> Option<String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.authority.certificate).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let chain = vec![CertificateDer::from_pem_file(&identity.certificate).unwrap()];
                let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let stream = TcpStream::connect(self.rig.gateway.envoy.address()).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: g\r\nconnection: close\r\ncontent-length: 1\r\n{fields}\r\nx"
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        // Envoy closes without TLS's own goodbye.
        let _ = stream.read_to_end(&mut answer).await;
        (!answer.is_empty()).then(|| String::from_utf8(answer).unwrap())
    }
}

fn status(answer: Option<&str>) -> Option<u16> {
    answer.map(|answer| answer.split(' ').nth(1).unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_verified_certificate_names_its_consumer() {
    let scene = Scene::start("own", false, true).await;
    let issue = |file: &str, names: &[&str]| scene.authority.issue(file, names);
    for (identity, consumer) in [
        (issue("acme", &["spiffe://example.org/partners/acme"]), "acme"),
        (issue("globex", &["spiffe://example.org/partners/globex"]), "partner"),
        (issue("device", &["device.example.org"]), "device"),
        (issue("by-subject", &["somewhere.example.org"]), "named"),
    ] {
        let answer = scene.post("/partners", Some(&identity), "").await;
        assert_eq!(status(answer.as_deref()), Some(202), "{consumer}: {answer:?}");
        // What the caller says of itself does not count.
        let lie = "x-forwarded-client-cert: URI=spiffe://example.org/partners/other\r\n";
        let answer = scene.post("/partners", Some(&identity), lie).await;
        assert_eq!(status(answer.as_deref()), Some(202), "{consumer}: {answer:?}");
        let answer = scene.post("/behind", Some(&identity), lie).await;
        assert_eq!(status(answer.as_deref()), Some(200), "{consumer}: {answer:?}");
    }
    let records = scene.rig.topic("certified").records().await;
    let names: Vec<_> =
        records.iter().map(|record| record.event()["authid"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["acme", "acme", "partner", "partner", "device", "device", "named", "named"]);
    assert_eq!(records[0].event()["authtype"], "service_account");
    for seen in scene.rig.gateway.upstream.seen() {
        assert!(!seen.headers.contains_key("x-forwarded-client-cert"), "{:?}", seen.headers);
    }
}

#[tokio::test]
async fn any_other_certificate_and_none_are_refused() {
    let scene = Scene::start("refused", false, true).await;
    let nobody = scene.authority.issue("nobody", &["spiffe://example.org/strangers/acme"]);
    let forged = scene.stranger.issue("forged", &["spiffe://example.org/partners/acme"]);
    let lie = "x-forwarded-client-cert: URI=spiffe://example.org/partners/acme\r\n";
    for path in ["/partners", "/behind"] {
        for fields in ["", lie] {
            let answer = scene.post(path, Some(&nobody), fields).await;
            assert_eq!(status(answer.as_deref()), Some(401), "{answer:?}");
            let answer = scene.post(path, None, fields).await;
            assert_eq!(status(answer.as_deref()), Some(401), "{answer:?}");
            assert!(answer.unwrap().contains("www-authenticate: ClientCertificate realm=\"wicketgate\"\r\n"));
            // Envoy itself refuses what its authority has not issued.
            assert_eq!(status(scene.post(path, Some(&forged), fields).await.as_deref()), None);
        }
    }
    // A certificate that is nobody's is not passed over for a key.
    let key = format!("x-api-key: {KEY}\r\n");
    assert_eq!(status(scene.post("/either", Some(&nobody), &key).await.as_deref()), Some(401));
    scene.rig.assert_nothing_happened().await;
    assert_eq!(status(scene.post("/either", None, &key).await.as_deref()), Some(202));
}

#[tokio::test]
async fn without_tls_nobody_has_a_certificate() {
    let scene = Scene::start("plain", false, false).await;
    let request = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: g\r\nconnection: close\r\ncontent-length: 1\r\n\
             x-forwarded-client-cert: URI=spiffe://example.org/partners/acme\r\n\r\nx"
        )
    };
    for path in ["/partners", "/behind"] {
        let answer = raw_http::exchange(scene.rig.gateway.envoy.address(), request(path)).await;
        assert_eq!(raw_http::status(&answer), 401);
    }
    scene.rig.assert_nothing_happened().await;
}

#[tokio::test]
async fn the_last_hop_of_a_header_counts_where_it_is_trusted() {
    let scene = Scene::start("forwarded", true, false).await;
    let post = async |path: &str, header: &str| {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: g\r\nconnection: close\r\ncontent-length: 1\r\n{header}\r\nx"
        );
        raw_http::status(&raw_http::exchange(scene.rig.gateway.envoy.address(), request).await)
    };
    let acme = "URI=spiffe://example.org/partners/acme";
    for header in [
        String::new(),
        "x-forwarded-client-cert: URI=spiffe://example.org/strangers/acme\r\n".to_owned(),
        // What stands before the last hop is what callers say.
        format!("x-forwarded-client-cert: {acme},URI=spiffe://example.org/strangers/x\r\n"),
        format!("x-forwarded-client-cert: {acme}\r\nx-forwarded-client-cert: Hash=00\r\n"),
        format!("x-forwarded-client-cert: {acme};URI=\"\r\n"),
    ] {
        for path in ["/partners", "/behind"] {
            assert_eq!(post(path, &header).await, 401, "{header}");
        }
    }
    scene.rig.assert_nothing_happened().await;
    let header = format!("x-forwarded-client-cert: URI=spiffe://example.org/strangers/x,{acme}\r\n");
    assert_eq!(post("/partners", &header).await, 202);
    assert_eq!(post("/behind", &header).await, 200);
    assert_eq!(scene.rig.topic("certified").record().await.event()["authid"], "acme");
    for seen in scene.rig.gateway.upstream.seen() {
        assert!(!seen.headers.contains_key("x-forwarded-client-cert"), "{:?}", seen.headers);
    }
}
