//! Settings of who may call.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::ClientName;
use crate::values::within;

/// The credentials that callers bring.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[group(skip)]
pub struct Options {
    /// How many signed requests of the last two minutes are remembered, so that each is let in once; further ones
    /// are answered 503.
    #[arg(long, env = "BRIDGE_HOP_REPLAY_MEMORY", default_value_t = 1_000_000, value_name = "COUNT", value_parser = within::<u32>(1..=100_000_000))]
    pub hop_replay_memory: u32,

    /// What can change while the bridge runs.
    #[command(flatten)]
    #[serde(flatten)]
    pub reloadable: Reloadable,
}

/// The files that say which credentials are accepted.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[group(skip)]
pub struct Reloadable {
    /// A file of secrets, one a line: a request signed with one of them is let in. Several are for changing from one
    /// to the next.
    #[arg(long, env = "BRIDGE_HOP_SECRET_FILE", value_name = "FILE")]
    pub hop_secret_file: Option<PathBuf>,

    /// A file of tokens, one a line: a request with one of them ("authorization: Bearer TOKEN") is let in. Several
    /// are for changing from one to the next.
    #[arg(long, env = "BRIDGE_HOP_TOKEN_FILE", value_name = "FILE")]
    pub hop_token_file: Option<PathBuf>,

    /// Authorities (PEM): a request over TLS whose sender has a certificate of one of them is let in.
    #[arg(long, env = "BRIDGE_TLS_CLIENT_CA_FILE", value_name = "FILE")]
    pub tls_client_ca_file: Option<PathBuf>,

    /// The names that a sender's certificate may have, separated by commas: DNS names or URIs, of which its subject
    /// alternative names must have one. Without it each certificate of these authorities will do.
    #[arg(long, env = "BRIDGE_TLS_CLIENT_NAMES", value_name = "NAMES", value_delimiter = ',')]
    pub tls_client_names: Vec<ClientName>,
}

impl Options {
    /// Checks what no single value can be blamed for. `with_tls`: some listener has TLS.
    pub(crate) fn check(&self, with_tls: bool, errors: &mut Vec<String>) {
        let Reloadable { tls_client_ca_file, tls_client_names, .. } = &self.reloadable;
        if !with_tls && tls_client_ca_file.is_some() {
            errors.push("--tls-client-ca-file: no --listen tls:ADDRESS:PORT uses it".to_owned());
        }
        if !tls_client_names.is_empty() && tls_client_ca_file.is_none() {
            errors.push(
                "--tls-client-names: takes --tls-client-ca-file, whose certificates have them".to_owned(),
            );
        }
    }

    /// Whether no credential is asked for.
    pub(crate) fn is_open(&self) -> bool {
        let Reloadable { hop_secret_file, hop_token_file, tls_client_ca_file, .. } = &self.reloadable;
        hop_secret_file.is_none() && hop_token_file.is_none() && tls_client_ca_file.is_none()
    }
}
