#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::env::testing::TestEnv;
use crate::head::RequestHead;

const HASH: &str = "468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688";

fn certificates() -> Rc<Certificates> {
    let consumer = |name: &str| Rc::new(Consumer { name: name.to_owned(), ..Consumer::default() });
    let mut certificates = Certificates::default();
    certificates.uris.insert("spiffe://t/partners/acme".to_owned(), consumer("acme"));
    certificates.patterns.push((UriPattern::parse("spiffe://t/partners/*").unwrap(), consumer("partners")));
    certificates.dns.insert("device.example.com".to_owned(), consumer("device"));
    certificates.subjects.insert("CN=old,O=Example".to_owned(), consumer("old"));
    certificates.fingerprints.insert(Fingerprint::from_hex(HASH).unwrap(), consumer("pinned"));
    Rc::new(certificates)
}

fn said(source: Source, env: &TestEnv, values: &[&str]) -> Result<String, Option<Rejected>> {
    let mut head = RequestHead::default();
    values.iter().for_each(|value| head.push(b"x-forwarded-client-cert", value.as_bytes()));
    let method = Mtls { certificates: certificates(), source };
    match method.check(&Rc::from("mtls"), &Request { head: &head, body: None }, env) {
        Checked::Known(principal) => Ok(principal.auth_id().unwrap().to_owned()),
        Checked::Absent => Err(None),
        Checked::Rejected(rejected) => Err(Some(rejected)),
        other => panic!("{other:?}"),
    }
}

const NOBODY: Rejected = Rejected::Invalid("the certificate is no consumer's");
const TWO: Rejected = Rejected::Invalid("the certificate is that of two consumers");

#[test]
fn a_certificate_is_whose_the_document_says() {
    for (attributes, wanted) in [
        (&[("uri_san_peer_certificate", "spiffe://t/partners/acme")][..], Ok("acme")),
        (&[("uri_san_peer_certificate", "spiffe://t/partners/globex")], Ok("partners")),
        (&[("uri_san_peer_certificate", "spiffe://t/partners")], Err(NOBODY)),
        (&[("uri_san_peer_certificate", "spiffe://other/partners/acme")], Err(NOBODY)),
        (&[("dns_san_peer_certificate", "Device.example.com")], Ok("device")),
        (&[("dns_san_peer_certificate", "sub.device.example.com")], Err(NOBODY)),
        (&[("subject_peer_certificate", "CN=old,O=Example")], Ok("old")),
        (&[("subject_peer_certificate", "O=Example,CN=old")], Err(NOBODY)),
        (&[("subject_peer_certificate", "CN=old,O=Example,OU=x")], Err(NOBODY)),
        (&[("sha256_peer_certificate_digest", HASH)], Ok("pinned")),
        (&[], Err(NOBODY)),
        (
            &[("subject_peer_certificate", "CN=old,O=Example"), ("sha256_peer_certificate_digest", HASH)],
            Err(TWO),
        ),
        (
            &[("subject_peer_certificate", "CN=x"), ("uri_san_peer_certificate", "spiffe://t/partners/acme")],
            Ok("acme"),
        ),
    ] {
        let mut env = TestEnv::default();
        for (name, value) in attributes {
            env.properties.insert(format!("connection.{name}"), value.as_bytes().to_vec());
        }
        let wanted = wanted.map(str::to_owned).map_err(Some);
        // Without TLS there is no certificate, whatever else is said, and a header says nothing of a connection.
        let header = ["URI=spiffe://t/partners/acme"];
        assert_eq!(said(Source::Connection, &env, &header), Err(None), "{attributes:?}");
        env.properties.insert("connection.mtls".to_owned(), vec![0]);
        assert_eq!(said(Source::Connection, &env, &header), Err(None), "{attributes:?}");
        env.properties.insert("connection.mtls".to_owned(), vec![1]);
        assert_eq!(said(Source::Connection, &env, &[]), wanted, "{attributes:?}");
    }
}

#[test]
fn a_header_counts_only_where_it_is_trusted_and_the_last_hop_is_the_one() {
    let env = TestEnv::default();
    let malformed = Rejected::Invalid("what the proxy says of the certificate is malformed");
    for (values, wanted) in [
        (&[][..], Err(None)),
        (&["URI=spiffe://t/partners/acme"], Ok("acme")),
        (&["URI=spiffe://t/partners/acme,URI=spiffe://t/partners/globex"], Ok("partners")),
        (&["URI=spiffe://t/partners/acme,By=x"], Err(Some(NOBODY))),
        (&["URI=spiffe://t/partners/acme;DNS=device.example.com"], Err(Some(TWO))),
        (&["rubbish"], Err(Some(malformed))),
        (
            &["URI=spiffe://t/partners/acme", "URI=spiffe://t/partners/acme"],
            Err(Some(Rejected::Repeated("header x-forwarded-client-cert".to_owned()))),
        ),
    ] {
        assert_eq!(said(Source::Forwarded, &env, values), wanted.map(str::to_owned), "{values:?}");
    }
}
