//! Each way to authenticate, with a request that it lets in.

use crate::gateway::{Gateway, Request};
use crate::machine::Kind;

/// A way to authenticate.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// What people call it.
    pub name: &'static str,
    /// Whether what a credential was found to be is remembered.
    pub remembers: bool,
    /// The method as the document has it.
    method: &'static str,
    request: fn() -> Request,
    /// Whether the credential is over the body.
    signs_body: bool,
    /// What the authority says that is asked.
    authority: Option<&'static str>,
}

/// All ways to authenticate. The first asks nothing, and the second is what others are compared with.
pub const METHODS: [Method; 13] = [
    Method { name: "nothing asked (`anonymous`)", method: API_KEY, request, ..PLAIN },
    Method { name: "API key", request: || request().header("x-api-key", "demo-key"), ..PLAIN },
    Method {
        name: "HS256 token",
        remembers: true,
        method: r#"{ "type": "jwt", "issuer": "https://login.example.com", "audiences": ["shop-events"],
          "algorithms": ["HS256"], "secrets": ["an-example-of-a-secret-of-the-two"] }"#,
        request: || bearer(HS256),
        ..PLAIN
    },
    Method {
        name: "RS256 token, 2,048 bits",
        remembers: true,
        method: RS256_METHOD,
        request: || bearer(RS256),
        ..PLAIN
    },
    Method { name: "ES256 token", remembers: true, method: ES256_METHOD, request: || bearer(ES256), ..PLAIN },
    Method { name: "EdDSA token", remembers: true, method: EDDSA_METHOD, request: || bearer(EDDSA), ..PLAIN },
    Method {
        name: "introspection",
        remembers: true,
        method: r#"{ "type": "introspection", "endpoint": "https://login.example.com/introspect", "upstream": "login",
          "client": { "type": "basic", "id": "gateway", "secret": "an-example-of-a-secret" }, "audiences": ["shop-events"] }"#,
        request: || bearer("an-opaque-token-of-forty-characters-0123"),
        authority: Some(
            r#"{"active":true,"aud":"shop-events","sub":"user-7","scope":"events:write","exp":4102444800}"#,
        ),
        ..PLAIN
    },
    Method {
        name: "HTTP Basic, 10,000 iterations",
        remembers: true,
        method: r#"{ "type": "basic" }"#,
        request: || request().header("authorization", "Basic YWxpY2U6b3BlbiBzZXNhbWU="),
        ..PLAIN
    },
    Method {
        name: "webhook, HMAC-SHA256 (GitHub), 1 KiB",
        method: r#"{ "type": "webhook", "provider": "github", "secrets": ["an-example-of-a-secret-of-the-two"] }"#,
        request: || request().header("x-hub-signature-256", GITHUB),
        signs_body: true,
        ..PLAIN
    },
    Method {
        name: "webhook, Ed25519 (Standard Webhooks `v1a`), 1 KiB",
        method: r#"{ "type": "webhook", "provider": "standard_webhooks",
          "secrets": ["whpk_qC98hgxJSECICQQymuCiKfVqYLlIYSiwwypI6hptV64="] }"#,
        request: || {
            let signed = request().header("webhook-id", "msg_1").header("webhook-timestamp", "1800000000");
            signed.header("webhook-signature", V1A)
        },
        signs_body: true,
        ..PLAIN
    },
    Method {
        name: "client certificate",
        method: r#"{ "type": "mtls" }"#,
        request: || {
            let uri = b"spiffe://a.example/alice";
            let connection = request().property(&["connection", "mtls"], &[1]);
            connection.property(&["connection", "uri_san_peer_certificate"], uri)
        },
        ..PLAIN
    },
    Method {
        name: "`x-forwarded-client-cert`",
        method: r#"{ "type": "mtls", "trust_forwarded_header": true }"#,
        request: || {
            let hop =
                format!("By=spiffe://a.example/proxy;Hash={};URI=spiffe://a.example/alice", "5e".repeat(32));
            request().header("x-forwarded-client-cert", &hop)
        },
        ..PLAIN
    },
    Method {
        name: "`envoy_jwt_authn`",
        method: r#"{ "type": "envoy_jwt_authn", "payload_in_metadata": "payload" }"#,
        request: || request().property(&["metadata"], METADATA),
        ..PLAIN
    },
];

const PLAIN: Method =
    Method { name: "", remembers: false, method: API_KEY, request, signs_body: false, authority: None };

const API_KEY: &str = r#"{ "type": "api_key", "header": "x-api-key" }"#;

const DOCUMENT: &str = r#"{
  "source": "urn:example:gateway",
  "bridge": { "upstream": "kafka-bridge", "timeout": "10s" },
  "authentication": { "method": @METHOD@ },
  "consumers": [
    {
      "name": "alice",
      "api_keys": [{ "sha256": "c48a01f49fd0f2cc404bc3cbbc80e91457a3d41bb429a695243de4c61794155c" }],
      "passwords": [{ "hash": "$pbkdf2-sha256$i=10000$MDEyMzQ1Njc4OWFiY2RlZg$I1fRzPdik5F+m1JYkXkqwnEmFt/dm1VokeoVyG9DVvs" }],
      "certificates": [{ "uri": "spiffe://a.example/alice" }]
    }
  ],
  "unmatched": "reject",
  "routes": [
    {
      "name": "events",
      "match": { "methods": ["POST"], "path": "/events" },
      "authentication": { "any_of": ["@ASKED@"] },
      "action": "pass"
    }
  ]
}"#;

impl Method {
    /// The document that asks for this and nothing else.
    pub fn document(&self) -> String {
        let asked = if self.name.contains("anonymous") { "anonymous" } else { "method" };
        DOCUMENT.replace("@METHOD@", self.method).replace("@ASKED@", asked)
    }

    /// A gateway that asks for it.
    pub fn start(&self, kind: Kind) -> Gateway {
        Gateway::start(kind, &self.document()).cluster("login")
    }

    /// One request, which is let in; says whether the authority had to be asked.
    ///
    /// # Panics
    /// If the request is not let in.
    pub fn send(&self, gateway: &mut Gateway) -> bool {
        let request = (self.request)();
        let id = match self.signs_body {
            true => gateway.request_with_body(request, body()),
            false => gateway.request(request),
        };
        let asked = gateway.outcome(id).upstream.is_none() && self.authority.is_some();
        if asked {
            gateway.turn();
            let callout = gateway.callout();
            let answer = self.authority.expect("an authority that is asked answers");
            gateway.answer(&callout, 200, &[("content-type", "application/json")], answer);
        }
        assert!(gateway.outcome(id).upstream.is_some(), "{}: {:?}", self.name, gateway.outcome(id));
        gateway.upstream_answers(id, 204, &[]);
        asked
    }
}

fn request() -> Request {
    Request::new("POST", "/events").header("content-type", "application/json").header("user-agent", "a/1.0")
}

fn bearer(token: &str) -> Request {
    request().header("authorization", &format!("Bearer {token}"))
}

/// What webhooks sign: 1,024 bytes.
fn body() -> String {
    format!(r#"{{"text":"{}"}}"#, "a".repeat(1013))
}

// Made by OpenSSL with keys that nobody has kept. All tokens say the same, and end in the year 2100.

const HS256: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImgiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUuY29tIiwiYXVkIjoic2hvcC1ldmVudHMiLCJzdWIiOiJ1c2VyLTciLCJzY29wZSI6ImV2ZW50czp3cml0ZSIsInRlbmFudCI6ImFjbWUiLCJpYXQiOjE3OTk5OTk5MDAsImV4cCI6NDEwMjQ0NDgwMH0.zLhK5dzZ0-EjZ3Acbr_nLbSErNIUX8nQXqJFYnDUecg";
const RS256: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InIiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUuY29tIiwiYXVkIjoic2hvcC1ldmVudHMiLCJzdWIiOiJ1c2VyLTciLCJzY29wZSI6ImV2ZW50czp3cml0ZSIsInRlbmFudCI6ImFjbWUiLCJpYXQiOjE3OTk5OTk5MDAsImV4cCI6NDEwMjQ0NDgwMH0.uexpAVfMvi88-3SkaXgUa2RdGNHcvlkfWxBv9btf-mcqkayfwKyr9HZUStSzou1YNj7XznoI077mLpnq3Sl7eoMpeweIuYq5pSfqGk3S4TpyhePSC2w0AMtmuVNPVZjYlHCW_T2F3fi8YMd23YB1sqC8uTMSC65ufTwmwrHnIzDoy1RXMJChzwQ0Ldtcc-jQYMLaK-oaiPFwZefmhDXB2pGi3hxSaNrYtF1Y4DM5nILZjZaSgbfNIENu-vwvRc9IlDeLnYd5mOEHR3WUmGkHo7V3-tnTMJPo1B24xtUGGrCvHdG3CwBNrFj26CRrjh5jNqOEzTNO1yd4itjGTSyR1Q";
const RS256_METHOD: &str = r#"{ "type": "jwt", "issuer": "https://login.example.com", "audiences": ["shop-events"],
  "algorithms": ["RS256"], "jwks": "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"r\",\"alg\":\"RS256\",\"use\":\"sig\",\"n\":\"2EDDB9OWsRmSstm6I3LZ3l1oeqLDhPN-holkCc_Fu9I9_DBhnB7H8PUmKTJuZBVi8HfDxmHHXLujf2DdltbhrRj61Ctj2ieiFw4H7sHjkrgAiftH7T8Ld_dMTcfIY78ja8oA1O_i2wsYMTk-XEKkCVsuWwgCyD0_gJgDGD70O2lFgi5CBXNtXoqFsRLkV44AjOMnElgscbkomMFEnJS-Gj0cdQ2bq9ABhiosIQmVieHJjvGL5wim9DFfOky0jhXzruk-Pk4xo_kaJaFbzNyd8FELMe7emfu1IlX6z3Cx0yojTum_AGtuXc9xbZna7t1xDcwRuim9dfixHTwwFX7T4Q\",\"e\":\"AQAB\"}]}" }"#;
const ES256: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImUiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUuY29tIiwiYXVkIjoic2hvcC1ldmVudHMiLCJzdWIiOiJ1c2VyLTciLCJzY29wZSI6ImV2ZW50czp3cml0ZSIsInRlbmFudCI6ImFjbWUiLCJpYXQiOjE3OTk5OTk5MDAsImV4cCI6NDEwMjQ0NDgwMH0.rhu175xUs8-7uA25BA-BtBcPCHPaE8hsN_Mv62xBSeJfTt55R_imN1fKgQ4CbogCsTvGaLzuaol3h0DRYsZyBg";
const ES256_METHOD: &str = r#"{ "type": "jwt", "issuer": "https://login.example.com", "audiences": ["shop-events"],
  "algorithms": ["ES256"], "jwks": "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\",\"alg\":\"ES256\",\"use\":\"sig\",\"x\":\"mU0yJ_FFlvKjczmjaH90o2OexhCQGciMJJdbXKOC6I0\",\"y\":\"cPteXv4l-BTiYyXaMG3DfsT9jJ6KOvoUqkvER86DwPc\"}]}" }"#;
const EDDSA: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImQiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUuY29tIiwiYXVkIjoic2hvcC1ldmVudHMiLCJzdWIiOiJ1c2VyLTciLCJzY29wZSI6ImV2ZW50czp3cml0ZSIsInRlbmFudCI6ImFjbWUiLCJpYXQiOjE3OTk5OTk5MDAsImV4cCI6NDEwMjQ0NDgwMH0.Rw3ci9T0ZU5SKMCFPC5ZyrnjWrlE90B3S3CmiiaX5YrTpKK0KQlvM-qzSaxRWusocodwAwobDrE3UwK5lnpbDA";
const EDDSA_METHOD: &str = r#"{ "type": "jwt", "issuer": "https://login.example.com", "audiences": ["shop-events"],
  "algorithms": ["EdDSA"], "jwks": "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"d\",\"alg\":\"EdDSA\",\"use\":\"sig\",\"x\":\"qC98hgxJSECICQQymuCiKfVqYLlIYSiwwypI6hptV64\"}]}" }"#;
const GITHUB: &str = "sha256=631b37a1c1bed530b80ba4157cb986d9627763477a98516f0ea9172eda8dcb42";
const V1A: &str =
    "v1a,U14eucCMJ5acekIyDA5R6jyuG6alslUMpcy70YN0SzRqyCy+BSVck7spHI8N5KAV9Weoj7jqE/EpvapoUq8JBQ==";

/// The metadata in which Envoy's `jwt_authn` has left `{"scope":"a b","sub":"7"}` as `payload`.
const METADATA: &[u8] = b"\x0a\x4b\x0a\x1cenvoy.filters.http.jwt_authn\x12\x2b\x0a\x29\x0a\x07payload\x12\x1e\x2a\x1c\x0a\x0e\x0a\x05scope\x12\x05\x1a\x03a b\x0a\x0a\x0a\x03sub\x12\x03\x1a\x017";
