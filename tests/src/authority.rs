//! An authority that gateways ask: an issuer with its keys, or a server that knows tokens. It does what a test tells it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What an authority does when it is asked.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// It answers with this status and this content.
    Answer(u16, Bytes),
    /// It takes the question and never answers.
    Hang,
    /// It ends the connection without an answer.
    Close,
}

impl Behaviour {
    /// It answers 200 with this JSON.
    pub fn json(content: &Value) -> Self {
        Self::Answer(200, Bytes::from(content.to_string()))
    }
}

/// A small HTTP server on a thread of its own.
#[derive(Clone, Debug)]
pub struct Authority {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    behaviour: Behaviour,
    /// The path and the content of each question.
    asked: Vec<(String, Bytes)>,
}

impl Authority {
    /// Starts one.
    pub fn start(behaviour: Behaviour) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(Mutex::new(State { behaviour, asked: Vec::new() }));
        let authority = Self { address, state };
        let server = authority.clone();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(server.serve(listener));
        });
        authority
    }

    /// The name by which a document calls it; the tests' Envoys know from it where it is.
    pub fn upstream(&self) -> String {
        format!("authority-{}", self.address.port())
    }

    /// Changes what it does.
    pub fn set(&self, behaviour: Behaviour) {
        self.state().behaviour = behaviour;
    }

    /// The path and the content of each question so far.
    pub fn asked(&self) -> Vec<(String, Bytes)> {
        self.state().asked.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    async fn serve(self, listener: std::net::TcpListener) {
        let listener = TcpListener::from_std(listener).expect("a listener for tokio");
        while let Ok((stream, _)) = listener.accept().await {
            let authority = self.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| authority.answer(request));
                // A connection that breaks is the gateway's business.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
        let behaviour = {
            let mut state = self.state();
            state.asked.push((path, body));
            state.behaviour.clone()
        };
        match behaviour {
            Behaviour::Answer(status, content) => {
                let answer = Response::builder().status(status).body(Full::from(content));
                Ok(answer.expect("a valid answer"))
            }
            Behaviour::Hang => std::future::pending().await,
            Behaviour::Close => Err(std::io::Error::other("told to")),
        }
    }
}

/// A key that an issuer signs with, by its name.
#[derive(Debug)]
pub struct IssuerKey {
    kid: String,
    key: SigningKey,
}

impl IssuerKey {
    /// The key of this name; another for each number.
    pub fn new(kid: &str, number: u8) -> Self {
        Self { kid: kid.to_owned(), key: SigningKey::from_bytes(&[number; 32]) }
    }

    /// The public half, as a JWK.
    pub fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": x, "alg": "EdDSA", "use": "sig"})
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": "EdDSA", "kid": self.kid}), claims)
    }

    /// A token with this header, signed with EdDSA whatever the header says.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}

/// A set of these keys.
pub fn key_set(keys: &[&IssuerKey]) -> Value {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()})
}
