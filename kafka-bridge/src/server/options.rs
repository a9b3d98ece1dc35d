//! Settings of listeners and connections.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::Listen;
use crate::values::{permission_bits, positive_duration, within};

/// Where connections come in, and how many.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[group(skip)]
pub struct Options {
    /// Where to listen: ADDRESS:PORT, tls:ADDRESS:PORT, or unix:PATH for a Unix domain socket. Several are separated by commas, or
    /// given each with a flag of its own.
    #[arg(
        long,
        env = "BRIDGE_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "WHERE",
        value_delimiter = ','
    )]
    pub listen: Vec<Listen>,

    /// Where /livez, /readyz, /metrics and /openapi.json are served, in one of the forms of --listen. One of the places of
    /// --listen is for them and for requests alike, as is each of those without this setting.
    #[arg(long, env = "BRIDGE_ADMIN_LISTEN", value_name = "WHERE")]
    pub admin_listen: Option<Listen>,

    /// Who may connect to Unix domain sockets, as octal permission bits; connecting takes the permission to write.
    #[arg(long, env = "BRIDGE_UNIX_SOCKET_MODE", default_value = "660", value_name = "MODE", value_parser = permission_bits)]
    pub unix_socket_mode: u32,

    /// The most connections at a time. If not set, what the operating system lets the process open besides what it needs
    /// itself, and 10000 at most.
    #[arg(long, env = "BRIDGE_MAX_CONNECTIONS", value_name = "COUNT", value_parser = within::<u32>(8..=1_000_000))]
    pub max_connections: Option<u32>,

    /// What can change while the bridge runs.
    #[command(flatten)]
    #[serde(flatten)]
    pub reloadable: Reloadable,
}

/// What new connections and requests are held to.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[group(skip)]
pub struct Reloadable {
    /// The certificate of the listeners with TLS (PEM), followed by those between it and its authority.
    #[arg(long, env = "BRIDGE_TLS_CERTIFICATE_FILE", value_name = "FILE")]
    pub tls_certificate_file: Option<PathBuf>,

    /// The private key of the certificate (PEM).
    #[arg(long, env = "BRIDGE_TLS_KEY_FILE", value_name = "FILE")]
    pub tls_key_file: Option<PathBuf>,

    /// How long a request's body may take to arrive, and its answer to be taken.
    #[arg(long, env = "BRIDGE_BODY_TIMEOUT", default_value = "10s", value_name = "DURATION", value_parser = positive_duration)]
    pub body_timeout: Duration,

    /// How long a connection may be without a request, the head of the next one included. Clients that pool connections
    /// should let go of them sooner.
    #[arg(long, env = "BRIDGE_IDLE_TIMEOUT", default_value = "60s", value_name = "DURATION", value_parser = positive_duration)]
    pub idle_timeout: Duration,

    /// The most header fields in one request.
    #[arg(long, env = "BRIDGE_MAX_HEADERS", default_value_t = 64, value_name = "COUNT", value_parser = within::<u32>(1..=1000))]
    pub max_headers: u32,

    /// The largest head of a request, in bytes: its target, and the name, the value and another 32 of each header field.
    #[arg(long, env = "BRIDGE_MAX_HEADER_BYTES", default_value_t = 64 << 10, value_name = "BYTES", value_parser = within::<u32>(1024..=1 << 20))]
    pub max_header_bytes: u32,
}

impl Options {
    /// Checks what no single value can be blamed for.
    pub(crate) fn check(&self, errors: &mut Vec<String>) {
        for (index, listen) in self.listen.iter().enumerate() {
            if self.listen.iter().take(index).any(|other| listen.is_taken_by(other)) {
                errors.push(format!("--listen {listen}: it is there twice"));
            }
        }
        if let Some(admin) = self.admin_listen()
            && self.listen.iter().any(|other| admin.is_taken_by(other))
        {
            errors.push(format!("--admin-listen {admin}: --listen has it in another form"));
        }
        let Reloadable { tls_certificate_file, tls_key_file, .. } = &self.reloadable;
        if let Some(listen) = self.tls_listener() {
            if tls_certificate_file.is_none() || tls_key_file.is_none() {
                errors.push(format!("--listen {listen}: takes --tls-certificate-file and --tls-key-file"));
            }
            return;
        }
        for (flag, file) in
            [("--tls-certificate-file", tls_certificate_file), ("--tls-key-file", tls_key_file)]
        {
            if file.is_some() {
                errors.push(format!("{flag}: no --listen tls:ADDRESS:PORT uses it"));
            }
        }
    }

    /// The place that is for operators alone, if there is one.
    pub fn admin_listen(&self) -> Option<&Listen> {
        self.admin_listen.as_ref().filter(|admin| !self.listen.contains(admin))
    }

    /// The first listener with TLS.
    pub(crate) fn tls_listener(&self) -> Option<&Listen> {
        self.listen.iter().chain(self.admin_listen()).find(|listen| matches!(listen, Listen::Tls(_)))
    }
}
