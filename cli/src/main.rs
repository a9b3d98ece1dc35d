//! The `wicketgate` command.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Parser, Subcommand};
use wicketgate::credentials::{self, NewKey, NewPassword};
use wicketgate::explain::envoy::Envoy;
use wicketgate::explain::{Options, explain};
use wicketgate::message::Message;
use wicketgate::render::{
    self, Admin, Authority, BridgeAddress, BridgeLink, BridgeTls, EnvoyOptions, HostPort, Underscores,
};
use wicketgate::secrets;
use wicketgate_policy::config::{self, Config, Warning};
use wicketgate_policy::jose::KeySet;

/// Checks Wicketgate's configuration documents, explains what they do, and renders gateway configurations.
///
/// A string in a document that is ${env:NAME} or ${file:PATH} as a whole stands for the value of an environment
/// variable or the content of a file.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a configuration document: report every mistake in it, and what is legal but unwise.
    Lint {
        /// The document, or - for standard input.
        document: PathBuf,
    },
    /// Print what the gateway would do with a request, down to the exact envelope or the exact denial.
    Explain {
        /// The document, or - for standard input.
        document: PathBuf,
        /// The request, an HTTP/1.1 message, or - for standard input. One without Host is for localhost.
        request: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// The time of the request, RFC 3339 in UTC, instead of now.
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339_weak)]
        at: Option<SystemTime>,
        /// Makes event ids the same each time.
        #[arg(long, value_name = "NUMBER")]
        seed: Option<u8>,
        /// As if so many units of a limit had just been used by whoever sends the request, such as daily=9990.
        #[arg(long, value_name = "LIMIT=UNITS", value_parser = used)]
        used: Vec<(String, u64)>,
        /// A JWK set, in place of the keys that the gateway would fetch from an issuer.
        #[arg(long, value_name = "FILE")]
        jwks: Option<PathBuf>,
        /// What an authorisation server answers when it is asked about a token (RFC 7662), for `introspection`.
        #[arg(long, value_name = "FILE")]
        introspection: Option<PathBuf>,
        #[command(flatten)]
        envoy: InFront,
    },
    /// Print the JSON Schema of the configuration document.
    Schema,
    /// Make an API key, and print it and the SHA-256 by which a document knows it.
    Key {
        /// What the key begins with, for people and for scanners of leaked secrets.
        #[arg(long, default_value = "wk")]
        prefix: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a password for HTTP Basic, and print it and the hash by which a document knows it.
    Password {
        /// Read a chosen password from standard input instead of making one; only its hash is printed.
        #[arg(long)]
        stdin: bool,
        /// How slow the hash is. A worker of the gateway is busy with it whenever the password is new to it.
        #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
        iterations: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print a complete gateway configuration around a document.
    #[command(subcommand)]
    Render(Box<Render>),
}

#[derive(Debug, Subcommand)]
enum Render {
    /// For Envoy 1.36 or newer.
    Envoy {
        /// The document, or - for standard input.
        document: PathBuf,
        /// Where Envoy takes requests.
        #[arg(long, value_name = "IP:PORT", default_value_t = EnvoyOptions::default().listen)]
        listen: SocketAddr,
        /// Where Envoy's admin interface is: IP:PORT, or unix:PATH for a Unix domain socket. It can end Envoy and shows the
        /// document with its secrets, so keep it on a loopback address, and in production in a file.
        #[arg(long, value_name = "WHERE", default_value_t = Admin::default())]
        admin: Admin,
        /// Have no admin interface.
        #[arg(long, conflicts_with = "admin")]
        no_admin: bool,
        #[command(flatten)]
        bridge: Bridge,
        /// Where requests go that the document lets pass.
        #[arg(long, value_name = "HOST:PORT", default_value_t = EnvoyOptions::default().upstream)]
        upstream: HostPort,
        /// Where an authority is that the document names as an upstream, such as idp=https://idp.example. May be given
        /// several times. A certificate has to be the host's own and be signed by one of the system's authorities.
        #[arg(long = "authority", value_name = "NAME=URL")]
        authorities: Vec<Authority>,
        /// The path of wicketgate.wasm as Envoy sees it.
        #[arg(long, value_name = "PATH", default_value_t = EnvoyOptions::default().wasm)]
        wasm: String,
        #[command(flatten)]
        callers: Callers,
    },
}

/// The Envoy in front of the filter, as it is rendered.
#[derive(Debug, Args)]
struct InFront {
    /// What it does with header fields that have an underscore in their name.
    #[arg(long, value_enum, default_value_t = Underscores::default())]
    underscores: Underscores,
    /// It accepts HTTP/1.0.
    #[arg(long)]
    http10: bool,
    /// The address that the request comes from.
    #[arg(long, value_name = "IP", default_value_t = Envoy::default().client)]
    client: IpAddr,
}

/// What Envoy takes from callers.
#[derive(Debug, Args)]
struct Callers {
    /// What is done with header fields that have an underscore in their name.
    #[arg(long, value_enum, default_value_t = Underscores::default())]
    underscores: Underscores,
    /// Accept HTTP/1.0.
    #[arg(long)]
    http10: bool,
    /// Let WebSockets through to the service behind the gateway.
    #[arg(long)]
    websocket: bool,
    /// How long a sender may take for a whole request, in seconds; 0 for as long as it likes. Default: 60 for a document
    /// that lets nothing pass, 0 for others.
    #[arg(long, value_name = "SECONDS")]
    request_timeout: Option<u32>,
    /// The most memory that Envoy allocates before it refuses and ends requests, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = EnvoyOptions::default().max_heap >> 20)]
    max_heap: u64,
    /// The most connections of callers.
    #[arg(long, value_name = "NUMBER", default_value_t = EnvoyOptions::default().max_connections)]
    max_connections: u32,
}

/// How Envoy reaches kafka-bridge. Files are in PEM, and paths are as Envoy sees them.
#[derive(Debug, Args)]
struct Bridge {
    /// Where kafka-bridge is: HOST:PORT, or unix:PATH for a Unix domain socket.
    #[arg(long, value_name = "WHERE", default_value_t = EnvoyOptions::default().bridge.address)]
    bridge: BridgeAddress,
    /// Speak HTTP/2 to kafka-bridge: many calls share a connection.
    #[arg(long)]
    bridge_http2: bool,
    /// Speak TLS to kafka-bridge, whose certificate one of the authorities in this file must have issued.
    #[arg(long, value_name = "FILE")]
    bridge_tls_ca: Option<String>,
    /// The name of a host or the address that kafka-bridge's certificate must have; the host of --bridge if not given.
    #[arg(long, value_name = "NAME", requires = "bridge_tls_ca")]
    bridge_tls_name: Option<String>,
    /// Envoy's own certificate, which tells kafka-bridge who calls.
    #[arg(long, value_name = "FILE", requires_all = ["bridge_tls_ca", "bridge_tls_key"])]
    bridge_tls_certificate: Option<String>,
    /// The private key of that certificate.
    #[arg(long, value_name = "FILE", requires = "bridge_tls_certificate")]
    bridge_tls_key: Option<String>,
}

impl Bridge {
    fn link(self) -> Result<BridgeLink, String> {
        let name = match (self.bridge_tls_name, &self.bridge) {
            (Some(name), _) => Some(name),
            (None, BridgeAddress::Tcp(address)) => Some(address.host().to_owned()),
            (None, BridgeAddress::Unix(_)) => None,
        };
        let identity = self.bridge_tls_certificate.zip(self.bridge_tls_key);
        let tls = match (self.bridge_tls_ca, name) {
            (None, _) => None,
            (Some(authorities), Some(name)) => Some(BridgeTls { authorities, name, identity }),
            (Some(_), None) => {
                return Err(
                    "--bridge-tls-ca: takes --bridge-tls-name where --bridge names no host".to_owned()
                );
            }
        };
        Ok(BridgeLink { address: self.bridge, http2: self.bridge_http2, tls })
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(output) => match io::stdout().lock().write_all(output.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("cannot write to standard output: {error}")),
        },
        Err(message) => fail(&message),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::FAILURE
}

fn run(command: Command) -> Result<String, String> {
    match command {
        Command::Lint { document } => {
            let (_, warnings) = load(&document)?;
            let name = document.display();
            let warnings: String =
                warnings.iter().map(|warning| format!("{name}: warning: {warning}\n")).collect();
            Ok(format!("{warnings}{name}: no mistakes\n"))
        }
        Command::Explain { document, request, json, at, seed, used, jwks, introspection, envoy } => {
            if document == request {
                return Err("the document and the request cannot be the same file".to_owned());
            }
            let (config, _) = load(&document)?;
            if let Some((name, _)) = used.iter().find(|(name, _)| !config.limit_names.contains(name)) {
                let known = config.limit_names.join(", ");
                return Err(format!("--used: wanted a limit of the document ({known}), got {name:?}"));
            }
            let used = used.into_iter().collect();
            let InFront { underscores, http10, client } = envoy;
            let envoy = Envoy { underscores, http10, client };
            let request_name = request.display().to_string();
            let message =
                Message::parse(&read_bytes(&request)?).map_err(|error| format!("{request_name}: {error}"))?;
            let jwks = jwks.map(|path| read_key_set(&path)).transpose()?;
            let introspection = introspection.map(|path| read_bytes(&path)).transpose()?;
            let options = Options { at, seed, used, jwks, introspection, envoy };
            let explanation = explain(config, message, &options);
            if json {
                let text = serde_json::to_string_pretty(&explanation).map_err(|error| error.to_string())?;
                Ok(text + "\n")
            } else {
                Ok(explanation.to_string())
            }
        }
        Command::Key { prefix, json } => {
            let NewKey { key, sha256 } = credentials::new_key(&prefix, fill_random)?;
            Ok(if json {
                format!("{}\n", serde_json::json!({"key": key, "sha256": sha256}))
            } else {
                format!("key:    {key}\nsha256: {sha256}\n")
            })
        }
        Command::Password { stdin, iterations, json } => {
            let chosen = if stdin { Some(read_password()?) } else { None };
            let NewPassword { password, hash } =
                credentials::new_password(chosen.as_deref(), iterations, fill_random)?;
            Ok(match (json, password) {
                (true, Some(password)) => {
                    format!("{}\n", serde_json::json!({"password": password, "hash": hash}))
                }
                (true, None) => format!("{}\n", serde_json::json!({"hash": hash})),
                (false, Some(password)) => format!("password: {password}\nhash:     {hash}\n"),
                (false, None) => format!("hash: {hash}\n"),
            })
        }
        Command::Schema => Ok(format!("{:#}\n", config::generated_schema())),
        Command::Render(render) => {
            let Render::Envoy {
                document,
                listen,
                admin,
                no_admin,
                bridge,
                upstream,
                wasm,
                authorities,
                callers,
            } = *render;
            let Callers { underscores, http10, websocket, request_timeout, max_heap, max_connections } =
                callers;
            let options = EnvoyOptions {
                listen,
                admin: if no_admin { Admin::None } else { admin },
                bridge: bridge.link()?,
                wasm,
                upstream,
                underscores,
                http10,
                websocket,
                request_timeout,
                max_heap: max_heap.saturating_mul(1 << 20),
                max_connections,
                authorities,
            };
            render::envoy(&read_document(&document)?, &options).map_err(|error| error.to_string())
        }
    }
}

fn used(text: &str) -> Result<(String, u64), String> {
    let pair = text.split_once('=').and_then(|(name, units)| Some((name.to_owned(), units.parse().ok()?)));
    pair.ok_or_else(|| "wanted the name of a limit and a number, such as daily=9990".to_owned())
}

fn load(document: &Path) -> Result<(Config, Vec<Warning>), String> {
    Config::with_warnings(read_document(document)?.as_bytes()).map_err(|errors| {
        let name = document.display();
        errors.0.iter().map(|error| format!("{name}: {error}")).collect::<Vec<_>>().join("\n")
    })
}

/// A document with its secrets put in.
fn read_document(path: &Path) -> Result<String, String> {
    let name = path.display();
    let text = String::from_utf8(read_bytes(path)?).map_err(|_| format!("{name}: wanted UTF-8"))?;
    secrets::put_in_from_here(&text).map_err(|errors| {
        errors.lines().map(|error| format!("{name}: {error}")).collect::<Vec<_>>().join("\n")
    })
}

fn fill_random(buffer: &mut [u8]) -> Result<(), String> {
    getrandom::fill(buffer).map_err(|error| format!("there is no randomness: {error}"))
}

/// Standard input, without the line end at its end.
fn read_password() -> Result<String, String> {
    let text = String::from_utf8(read_bytes(Path::new("-"))?).map_err(|_| "the password: wanted UTF-8")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn read_key_set(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = read_bytes(path)?;
    KeySet::from_jwks(&bytes)
        .map_err(|error| format!("{}: wanted a JWK set, got one where {error}", path.display()))?;
    Ok(bytes)
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let result = if path == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(path).map(|content| bytes = content)
    };
    result.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(bytes)
}
