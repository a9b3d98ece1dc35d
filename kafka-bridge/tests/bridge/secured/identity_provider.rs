//! An OpenID Connect provider's token endpoint: RFC 6749, section 4.4 (client credentials), with tokens that are JWTs.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::certificates;

pub const CLIENT: &str = "bridge-client";
pub const SECRET: &str = "client-secret";
pub const SCOPE: &str = "produce";
pub const ISSUER: &str = "https://issuer.example";
pub const AUDIENCE: &str = "kafka";
const KEY: &str = "provider";
const KEY_ID: &str = "key-1";

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is answered.
    Up,
    /// It is answered 503.
    OutOfOrder,
    /// It is answered 403.
    Refusing,
    /// It is taken, and never answered.
    Silent,
    /// Nobody is there.
    Down,
}

#[derive(Clone)]
pub struct IdentityProvider {
    directory: Arc<Directory>,
    address: SocketAddr,
    /// What it proves itself with, if it speaks TLS.
    tls: Option<TlsAcceptor>,
    inner: Arc<Mutex<Inner>>,
}

struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Inner {
    state: State,
    life: Duration,
    requests: usize,
    tokens: Vec<String>,
    listening: bool,
}

/// As they are sent.
pub fn credentials(client: &str, secret: &str) -> String {
    BASE64_STANDARD.encode(format!("{client}:{secret}"))
}

impl IdentityProvider {
    /// With a signing key of its own, on a port of its own.
    pub async fn start(state: State) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("provider-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let modulus = certificates::signing_key(&directory, KEY);
        let keys = json!({"keys": [{
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID,
            "n": BASE64_URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB"
        }]});
        std::fs::write(directory.join("jwks.json"), keys.to_string()).unwrap();
        Self::with_key(Arc::new(Directory(directory)), None, state)
    }

    /// Another one, which signs with the same key.
    pub fn twin(&self, state: State) -> Self {
        Self::with_key(Arc::clone(&self.directory), None, state)
    }

    /// One that does, over TLS, with a certificate for `localhost`.
    pub fn encrypted_twin(&self, certificate: &Path, key: &Path) -> Self {
        let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::with_key(Arc::clone(&self.directory), Some(acceptor), State::Up)
    }

    fn with_key(directory: Arc<Directory>, tls: Option<TlsAcceptor>, state: State) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let life = Duration::from_secs(3600);
        let inner = Inner { state: State::Down, life, requests: 0, tokens: Vec::new(), listening: false };
        let provider = Self { directory, address, tls, inner: Arc::new(Mutex::new(inner)) };
        provider.set(state);
        provider
    }

    /// How long its tokens live from now on.
    pub fn living(self, life: Duration) -> Self {
        self.inner.lock().unwrap().life = life;
        self
    }

    pub fn set(&self, state: State) {
        let mut inner = self.inner.lock().unwrap();
        inner.state = state;
        if state == State::Down || std::mem::replace(&mut inner.listening, true) {
            return;
        }
        let listener = TcpListener::bind(self.address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let router = Router::new().route("/token", post(token)).with_state(self.clone());
        match self.tls.clone() {
            None => drop(tokio::spawn(async move { axum::serve(listener, router).await })),
            Some(acceptor) => drop(tokio::spawn(serve_encrypted(listener, acceptor, router))),
        }
        TcpStream::connect(self.address).unwrap();
    }

    pub fn endpoint(&self) -> String {
        match self.tls {
            None => format!("http://{}/token", self.address),
            Some(_) => format!("https://localhost:{}/token", self.address.port()),
        }
    }

    /// Where the public key is.
    pub fn keys(&self) -> PathBuf {
        self.directory.0.join("jwks.json")
    }

    pub fn requests(&self) -> usize {
        self.inner.lock().unwrap().requests
    }

    pub fn granted(&self) -> usize {
        self.inner.lock().unwrap().tokens.len()
    }

    /// All tokens that it has granted.
    pub fn tokens(&self) -> Vec<String> {
        self.inner.lock().unwrap().tokens.clone()
    }

    fn life(&self) -> Duration {
        self.inner.lock().unwrap().life
    }

    fn mint(&self) -> String {
        let life = self.life();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let encode = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let head = encode(json!({"alg": "RS256", "typ": "JWT", "kid": KEY_ID}));
        let claims = encode(json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": CLIENT, "scope": SCOPE, "iat": now, "exp": now + life.as_secs(),
            "jti": self.granted().to_string()
        }));
        let signed = format!("{head}.{claims}");
        let signature = certificates::sign(&self.directory.0, KEY, &signed);
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

async fn serve_encrypted(listener: tokio::net::TcpListener, acceptor: TlsAcceptor, router: Router) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = TowerToHyperService::new(router);
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn token(Shared(provider): Shared<IdentityProvider>, headers: HeaderMap, body: String) -> Response {
    let state = {
        let mut inner = provider.inner.lock().unwrap();
        inner.requests += 1;
        inner.state
    };
    match state {
        State::OutOfOrder => return (StatusCode::SERVICE_UNAVAILABLE, "out of order").into_response(),
        State::Refusing => {
            let error = json!({"error": "unauthorized_client", "error_description": "not today"});
            return (StatusCode::FORBIDDEN, Json(error)).into_response();
        }
        State::Silent => std::future::pending().await,
        State::Up | State::Down => {}
    }
    let wanted = format!("Basic {}", credentials(CLIENT, SECRET));
    if headers.get("authorization").is_none_or(|there| there.as_bytes() != wanted.as_bytes()) {
        let error = json!({"error": "invalid_client", "error_description": "who is that?"});
        return (StatusCode::UNAUTHORIZED, Json(error)).into_response();
    }
    assert_eq!(body, format!("grant_type=client_credentials&scope={SCOPE}"));
    let token = provider.mint();
    provider.inner.lock().unwrap().tokens.push(token.clone());
    Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": provider.life().as_secs()}))
        .into_response()
}
