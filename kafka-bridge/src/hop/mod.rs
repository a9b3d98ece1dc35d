//! Who may call: the proofs that a request for Kafka has to bring, once any is configured.

mod certificates;
mod options;
mod replays;
mod secrets;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderValue;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use wicketgate_envelope::signature::{DIGEST_BYTES, Signature, Signed, TOLERANCE};

use certificates::Certificates;
pub(crate) use certificates::authorities;
pub use certificates::{ClientName, Presented};
pub use options::{Options, Reloadable};
use replays::{Admission, Replays};

/// Why a request is not let in. For metrics and the log only: whoever calls is told nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It brings no proof, or none of a kind that is configured.
    Missing,
    /// The token is not one of those configured.
    Token,
    /// The signature cannot be read.
    Malformed,
    /// The signature is too old, or from the future.
    Time,
    /// No secret that is configured makes this signature.
    Signature,
    /// The certificate is not, or no longer, one of those that are let in.
    Certificate,
    /// It has been here before.
    Replayed,
    /// Whether it has been here before could not be remembered.
    Full,
}

impl Refusal {
    /// As a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Token => "token",
            Self::Malformed => "malformed",
            Self::Time => "time",
            Self::Signature => "signature",
            Self::Certificate => "certificate",
            Self::Replayed => "replayed",
            Self::Full => "replay_memory_full",
        }
    }

    /// What is to be done about it, where the caller is one that should have been let in.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Missing => {
                "give the gateway's document a bridge.secret, one of those in --hop-secret-file; or send a token, or a certificate"
            }
            Self::Token => "send one of the tokens in --hop-token-file",
            Self::Malformed => {
                "see that gateway and bridge are of one release, and that no proxy between them changes headers"
            }
            Self::Time => "set the clocks of gateway and bridge, which are more than a minute apart",
            Self::Signature => {
                "have bridge.secret of the gateway's document be one of those in --hop-secret-file; \
                                and see that no proxy between them changes method, path or body"
            }
            Self::Certificate => {
                "send a certificate that one of --tls-client-ca-file has signed, with a name of --tls-client-names"
            }
            Self::Replayed => {
                "see that no proxy between gateway and bridge sends a call again; it may also be an attack"
            }
            Self::Full => "raise --hop-replay-memory",
        }
    }
}

/// The proofs that are accepted.
pub struct Guard {
    /// SHA-256 of each token: digests have one length, which makes comparing them take one time.
    tokens: Vec<[u8; DIGEST_BYTES]>,
    secrets: Vec<Hmac<Sha256>>,
    certificates: Option<Certificates>,
    challenge: HeaderValue,
    replays: Arc<Mutex<Replays>>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("tokens", &self.tokens.len())
            .field("secrets", &self.secrets.len())
            .field("certificates", &self.certificates)
            .finish_non_exhaustive()
    }
}

impl Guard {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// What is wrong with each of them, without anything of what they hold.
    pub fn load(options: &Options) -> Result<Self, Vec<String>> {
        let mut errors = Vec::new();
        let mut lines = |flag, path: &Option<std::path::PathBuf>| {
            let Some(path) = path else { return Vec::new() };
            secrets::read(path).unwrap_or_else(|error| {
                errors.push(format!("{flag} {}: {error}", path.display()));
                Vec::new()
            })
        };
        let tokens = lines("--hop-token-file", &options.reloadable.hop_token_file);
        let secrets = lines("--hop-secret-file", &options.reloadable.hop_secret_file);
        let certificates = Certificates::load(&options.reloadable).unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        if !errors.is_empty() {
            return Err(errors);
        }
        let replay_memory = usize::try_from(options.hop_replay_memory).unwrap_or(usize::MAX);
        Ok(Self::new(&tokens, &secrets, certificates, replay_memory))
    }

    fn new(
        tokens: &[String],
        secrets: &[String],
        certificates: Option<Certificates>,
        replay_memory: usize,
    ) -> Self {
        let kinds = [
            (!tokens.is_empty(), "Bearer"),
            (!secrets.is_empty(), "Wicketgate-Signature"),
            (certificates.is_some(), "Wicketgate-Certificate"),
        ];
        let kinds: Vec<&str> = kinds.into_iter().filter_map(|(there, kind)| there.then_some(kind)).collect();
        Self {
            challenge: HeaderValue::from_str(&kinds.join(", ")).unwrap_or(HeaderValue::from_static("Bearer")),
            certificates,
            tokens: tokens.iter().map(|token| Sha256::digest(token).into()).collect(),
            // A key of any length will do for HMAC.
            secrets: secrets.iter().filter_map(|key| Hmac::new_from_slice(key.as_bytes()).ok()).collect(),
            replays: Arc::new(Mutex::new(Replays::new(replay_memory))),
        }
    }

    /// Shares what `before` remembers: a call that it has let in is not let in again.
    pub(crate) fn remember_as(&mut self, before: &Self) {
        self.replays = Arc::clone(&before.replays);
    }

    /// Whether everybody may call, because no proof is configured.
    pub fn is_open(&self) -> bool {
        self.tokens.is_empty() && self.secrets.is_empty() && self.certificates.is_none()
    }

    /// The value of `www-authenticate`: what kinds of proof there are.
    pub fn challenge(&self) -> HeaderValue {
        self.challenge.clone()
    }

    /// Checks the certificate of the connection that a request comes on.
    ///
    /// # Errors
    /// [`Refusal::Missing`] or [`Refusal::Certificate`].
    pub fn check_certificate(&self, presented: Option<&Presented>, now: SystemTime) -> Result<(), Refusal> {
        match (&self.certificates, presented) {
            (Some(certificates), Some(presented)) => certificates.check(presented, now),
            _ => Err(Refusal::Missing),
        }
    }

    /// Checks a token, the value of `authorization`.
    ///
    /// # Errors
    /// [`Refusal::Missing`] or [`Refusal::Token`].
    pub fn check_token(&self, authorization: Option<&[u8]>) -> Result<(), Refusal> {
        let token = authorization
            .filter(|_| !self.tokens.is_empty())
            .and_then(|value| value.split_at_checked("Bearer ".len()))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
            .map(|(_, token)| token.trim_ascii())
            .ok_or(Refusal::Missing)?;
        let digest: [u8; DIGEST_BYTES] = Sha256::digest(token).into();
        // All of them are looked at, whichever it is.
        let known =
            self.tokens.iter().fold(subtle::Choice::from(0), |known, token| known | token.ct_eq(&digest));
        if known.into() { Ok(()) } else { Err(Refusal::Token) }
    }

    /// Checks what can be checked of a signature before the body is there.
    ///
    /// # Errors
    /// [`Refusal::Missing`], [`Refusal::Malformed`] or [`Refusal::Time`].
    pub fn read_signature<'a>(
        &self,
        header: Option<&'a [u8]>,
        now: SystemTime,
    ) -> Result<Signature<'a>, Refusal> {
        let header = header.filter(|_| !self.secrets.is_empty()).ok_or(Refusal::Missing)?;
        let signature =
            std::str::from_utf8(header).ok().and_then(Signature::parse).ok_or(Refusal::Malformed)?;
        let apart = since_epoch(now).abs_diff(Duration::from_millis(signature.timestamp));
        if apart > TOLERANCE { Err(Refusal::Time) } else { Ok(signature) }
    }

    /// Checks the rest, and remembers the signature if it is good, so that it is so once only.
    ///
    /// # Errors
    /// [`Refusal::Signature`], [`Refusal::Replayed`], or [`Refusal::Full`], after which the same signature may be
    /// tried again.
    pub fn check_signature(
        &self,
        signature: &Signature<'_>,
        method: &str,
        path: &str,
        body: &[u8],
        now: SystemTime,
    ) -> Result<(), Refusal> {
        let Signature { timestamp, nonce, mac } = *signature;
        let body_sha256 = Sha256::digest(body).into();
        let text = Signed { timestamp, nonce, method, path, body_sha256 }.to_string();
        let made = self.secrets.iter().fold(subtle::Choice::from(0), |made, secret| {
            let ours: [u8; DIGEST_BYTES] =
                secret.clone().chain_update(text.as_bytes()).finalize().into_bytes().into();
            made | ours.ct_eq(&mac)
        });
        if !bool::from(made) {
            return Err(Refusal::Signature);
        }
        // Only signatures that are good get this far, so strangers cannot fill the memory.
        let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        match replays.admit(timestamp, &mac, since_epoch(now)) {
            Admission::New => Ok(()),
            Admission::Seen => Err(Refusal::Replayed),
            Admission::Full => Err(Refusal::Full),
        }
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "0123456789abcdef";
    const NOW: u64 = 1_795_353_386_123;

    fn guard(tokens: &[&str], secrets: &[&str]) -> Guard {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Guard::new(&own(tokens), &own(secrets), None, 10)
    }

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn a_token_is_one_of_those_configured() {
        let guard = guard(&["old-token", "new-token"], &[]);
        for good in ["Bearer old-token", "bearer new-token", "BEARER  new-token "] {
            assert_eq!(guard.check_token(Some(good.as_bytes())), Ok(()), "{good}");
        }
        for (bad, refusal) in [
            ("Bearer old-toke", Refusal::Token),
            ("Bearer old-tokenx", Refusal::Token),
            ("Bearer ", Refusal::Token),
            ("Bearer", Refusal::Missing),
            ("Basic old-token", Refusal::Missing),
            ("old-token", Refusal::Missing),
            ("", Refusal::Missing),
        ] {
            assert_eq!(guard.check_token(Some(bad.as_bytes())), Err(refusal), "{bad}");
        }
        assert_eq!(guard.check_token(None), Err(Refusal::Missing));
        // No token is right where none is configured, not even that of nothing.
        assert_eq!(self::guard(&[], &["s"]).check_token(Some(b"Bearer ")), Err(Refusal::Missing));
    }

    /// Made by another implementation:
    /// `printf 'v1\n1795353386123\n0123456789abcdef\nPOST\n/v1/records\n%s' "$(printf '{"records":[]}' | sha256sum | cut -d' ' -f1)"
    /// | openssl dgst -sha256 -hmac 'an example secret of thirty-two bytes or more'`
    const VECTOR: &str = "6abec6a22847381dd4eacb15a148cb9ddea2cc621a7a9b4d0b2c467509d4217e";
    const SECRET: &str = "an example secret of thirty-two bytes or more";
    const BODY: &[u8] = br#"{"records":[]}"#;

    fn header() -> String {
        format!("t={NOW},n={NONCE},v1={VECTOR}")
    }

    #[test]
    fn a_signature_is_good_once_for_one_method_path_and_body() {
        for secrets in [&[SECRET][..], &["another", SECRET], &[SECRET, "another"]] {
            let guard = guard(&[], secrets);
            let header = header();
            let signature = guard.read_signature(Some(header.as_bytes()), at(NOW)).unwrap();
            let check = |method: &str, path: &str, body: &[u8]| {
                guard.check_signature(&signature, method, path, body, at(NOW))
            };
            assert_eq!(check("PUT", "/v1/records", BODY), Err(Refusal::Signature));
            assert_eq!(check("POST", "/v1/records?", BODY), Err(Refusal::Signature));
            assert_eq!(check("POST", "/v1/records", b"{}"), Err(Refusal::Signature));
            assert_eq!(check("POST", "/v1/records", BODY), Ok(()));
            assert_eq!(check("POST", "/v1/records", BODY), Err(Refusal::Replayed));
        }
        let stranger = guard(&["token"], &["another"]);
        let header = header();
        let signature = stranger.read_signature(Some(header.as_bytes()), at(NOW)).unwrap();
        let checked = stranger.check_signature(&signature, "POST", "/v1/records", BODY, at(NOW));
        assert_eq!(checked, Err(Refusal::Signature));
    }

    #[test]
    fn a_signature_is_good_for_a_minute_either_way() {
        let guard = guard(&[], &[SECRET]);
        let header = header();
        let read = |now| guard.read_signature(Some(header.as_bytes()), at(now)).map(|_| ());
        for now in [NOW - 60_000, NOW + 60_000] {
            assert_eq!(read(now), Ok(()));
        }
        for now in [0, NOW - 60_001, NOW + 60_001, NOW * 2] {
            assert_eq!(read(now), Err(Refusal::Time));
        }
        assert_eq!(guard.read_signature(Some(b"t=1"), at(NOW)), Err(Refusal::Malformed));
        assert_eq!(guard.read_signature(Some(b"\xff"), at(NOW)), Err(Refusal::Malformed));
        assert_eq!(guard.read_signature(None, at(NOW)), Err(Refusal::Missing));
        let without = self::guard(&["token"], &[]);
        assert_eq!(without.read_signature(Some(header.as_bytes()), at(NOW)), Err(Refusal::Missing));
    }

    #[test]
    fn the_guard_does_not_show_what_it_keeps() {
        let text = format!("{:?}", guard(&["old-token"], &[SECRET]));
        assert_eq!(text, "Guard { tokens: 1, secrets: 1, certificates: None, .. }");
    }
}
