#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const HASH: &str = "468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688";

fn of_connection(attributes: &[(&str, &[u8])]) -> Result<Option<Identity>, Malformed> {
    Identity::of_connection(&|path| {
        let name = path.strip_prefix(&["connection"])?.first()?;
        attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.to_vec())
    })
}

#[test]
fn a_connection_has_an_identity_if_it_says_that_there_was_a_certificate() {
    let uri = ("uri_san_peer_certificate", &b"spiffe://t/client"[..]);
    let subject = ("subject_peer_certificate", &b"CN=client"[..]);
    let hash = ("sha256_peer_certificate_digest", HASH.as_bytes());
    let mtls = ("mtls", &[1][..]);
    let identity = Identity {
        uris: vec!["spiffe://t/client".to_owned()],
        dns: Vec::new(),
        subject: Some("CN=client".to_owned()),
        fingerprint: Fingerprint::from_hex(HASH),
    };
    assert_eq!(of_connection(&[mtls, uri, subject, hash]), Ok(Some(identity)));
    assert_eq!(of_connection(&[mtls, ("dns_san_peer_certificate", b"")]), Ok(Some(Identity::default())));
    for not in [&[][..], &[uri, subject, hash], &[("mtls", &[0]), uri, subject]] {
        assert_eq!(of_connection(not), Ok(None));
    }
    for malformed in [
        &[("mtls", &b""[..]), uri][..],
        &[("mtls", b"true"), uri],
        &[("mtls", &[2]), uri],
        &[("mtls", &[1, 0, 0, 0, 0, 0, 0, 0]), uri],
        &[mtls, ("sha256_peer_certificate_digest", b"468e")],
        &[mtls, ("uri_san_peer_certificate", b"\xff")],
    ] {
        assert_eq!(of_connection(malformed), Err(Malformed));
    }
}

#[test]
fn of_a_header_the_last_hop_counts() {
    let identity = |uris: &[&str], dns: &[&str], subject: Option<&str>, hash: bool| Identity {
        uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
        dns: dns.iter().map(|name| (*name).to_owned()).collect(),
        subject: subject.map(str::to_owned),
        fingerprint: Fingerprint::from_hex(HASH).filter(|_| hash),
    };
    for (value, wanted) in [
        // From Envoy's documentation of the header, with one hop and with two.
        (
            format!(
                r#"By=http://frontend.lyft.com;Hash={HASH};Subject="/C=US/ST=CA/L=San Francisco/OU=Lyft/CN=Test Client";URI=http://testclient.lyft.com"#
            ),
            identity(
                &["http://testclient.lyft.com"],
                &[],
                Some("/C=US/ST=CA/L=San Francisco/OU=Lyft/CN=Test Client"),
                true,
            ),
        ),
        (
            format!(
                "By=http://frontend.lyft.com;Hash={HASH};URI=http://testclient.lyft.com,By=http://backend.lyft.com;Hash={HASH};URI=http://frontend.lyft.com"
            ),
            identity(&["http://frontend.lyft.com"], &[], None, true),
        ),
        (
            format!(
                r#"Hash={HASH};Cert="-----BEGIN%20CERTIFICATE-----";Subject="CN=a,O=\"b\", Inc.;x=y";URI=spiffe://t/a;URI=spiffe://t/b;DNS=a.example;DNS=b.example"#
            ),
            identity(
                &["spiffe://t/a", "spiffe://t/b"],
                &["a.example", "b.example"],
                Some(r#"CN=a,O="b", Inc.;x=y"#),
                true,
            ),
        ),
        (r#"Subject="O=A\, Inc.""#.to_owned(), identity(&[], &[], Some(r"O=A\, Inc."), false)),
        // What is between quotes is no other hop and no other name.
        (
            r#"Subject="CN=x,URI=spiffe://t/admin;URI=spiffe://t/admin";URI=spiffe://t/a"#.to_owned(),
            identity(&["spiffe://t/a"], &[], Some("CN=x,URI=spiffe://t/admin;URI=spiffe://t/admin"), false),
        ),
        ("URI=spiffe://t/admin,By=x".to_owned(), identity(&[], &[], None, false)),
        ("uri=spiffe://t/a".to_owned(), identity(&["spiffe://t/a"], &[], None, false)),
        ("URI=".to_owned(), identity(&[], &[], None, false)),
    ] {
        assert_eq!(Identity::of_last_hop(value.as_bytes()), Ok(wanted), "{value}");
    }
}

#[test]
fn anything_that_envoy_would_not_write_is_malformed() {
    let many = vec!["By=x"; MAX_HOPS + 1].join(",");
    let names = vec!["URI=x"; MAX_NAMES + 1].join(";");
    for value in [
        "",
        ",",
        ";",
        "URI",
        "spiffe://t/a",
        "URI=a,",
        ",URI=a",
        "URI=a;",
        "URI=a;;DNS=b",
        "URI=a, URI=b",
        "Other=a",
        "=a",
        r#"Subject="CN=a"#,
        r#"Subject="CN=a"b"#,
        r#"Subject="CN=a\"#,
        r#"Subject=a"b"#,
        "Subject=CN=a",
        r"Subject=a\,URI=b",
        r#"Subject="a";Subject="b""#,
        "Hash=468e",
        &format!("Hash={HASH};Hash={HASH}"),
        "URI=a\u{7f}",
        "Subject=\"a\nb\"",
        &many,
        &names,
    ] {
        assert_eq!(Identity::of_last_hop(value.as_bytes()), Err(Malformed), "{value}");
    }
    assert_eq!(Identity::of_last_hop(b"URI=\xff"), Err(Malformed));
}

#[test]
fn fingerprints_are_read_as_tools_print_them() {
    let colons: Vec<String> = HASH
        .to_uppercase()
        .as_bytes()
        .chunks(2)
        .map(|pair| String::from_utf8(pair.to_vec()).unwrap())
        .collect();
    assert_eq!(Fingerprint::from_hex(&colons.join(":")), Fingerprint::from_hex(HASH));
    assert!(Fingerprint::from_hex(HASH).is_some());
    for wrong in
        ["", &HASH[1..], &format!("{HASH}0"), &HASH.replace('4', "g"), &colons.join("-"), &"é".repeat(32)]
    {
        assert_eq!(Fingerprint::from_hex(wrong), None, "{wrong}");
    }
}

#[test]
fn a_pattern_covers_what_is_below_its_path_and_nothing_beside_it() {
    let pattern = UriPattern::parse("spiffe://example.org/partners/*").unwrap();
    for (uri, wanted) in [
        ("spiffe://example.org/partners/acme", true),
        ("spiffe://example.org/partners/acme/orders", true),
        ("spiffe://example.org/partners/", false),
        ("spiffe://example.org/partners", false),
        ("spiffe://example.org/partners-of-ours/x", false),
        ("spiffe://example.org.evil.com/partners/acme", false),
        ("spiffe://Example.org/partners/acme", false),
        ("https://example.org/partners/acme", false),
        ("spiffe://example.org/partners/../admin", false),
        ("spiffe://example.org/partners/./acme", false),
        ("spiffe://example.org/partners//acme", false),
        ("spiffe://example.org/partners/a%2fb", false),
        ("spiffe://example.org/partners/a?b", false),
        ("spiffe://example.org/partners/a\0b", false),
    ] {
        assert_eq!(pattern.matches(uri), wanted, "{uri}");
    }
    assert!(UriPattern::parse("spiffe://example.org/*").unwrap().matches("spiffe://example.org/a"));
    for wrong in [
        "*",
        "/*",
        "spiffe://*",
        "spiffe:///*",
        "spiffe://*/a",
        "spiffe://example.org*",
        "spiffe://example.org/part*",
        "spiffe://example.org/*/a",
        "spiffe://example.org/*/*",
        "spiffe://example.org/a//*",
        "spiffe://example.org/../*",
        "spiffe://Example.org/*",
        "https://example.org/*",
        "spiffe://example.org/a",
    ] {
        assert!(UriPattern::parse(wrong).is_err(), "{wrong}");
    }
}
