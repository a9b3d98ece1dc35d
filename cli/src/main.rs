//! The `wicketgate` command.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use wicketgate::render::{self, EnvoyOptions, HostPort};
use wicketgate_policy::config::{self, Config};

/// Checks Wicketgate's configuration documents and renders gateway configurations around them.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a configuration document and report every mistake in it.
    Lint {
        /// The document, or - for standard input.
        document: PathBuf,
    },
    /// Print the JSON Schema of the configuration document.
    Schema,
    /// Print a complete gateway configuration around a document.
    #[command(subcommand)]
    Render(Render),
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
        /// Where Envoy's admin interface is; it can end Envoy, so keep it on a loopback address.
        #[arg(long, value_name = "IP:PORT", default_value_t = EnvoyOptions::default().admin)]
        admin: SocketAddr,
        /// Where kafka-bridge is.
        #[arg(long, value_name = "HOST:PORT", default_value_t = EnvoyOptions::default().bridge)]
        bridge: HostPort,
        /// Where requests go that the document lets pass.
        #[arg(long, value_name = "HOST:PORT", default_value_t = EnvoyOptions::default().upstream)]
        upstream: HostPort,
        /// The path of wicketgate.wasm as Envoy sees it.
        #[arg(long, value_name = "PATH", default_value_t = EnvoyOptions::default().wasm)]
        wasm: String,
    },
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
            let text = read(&document)?;
            let name = document.display();
            match Config::from_json(text.as_bytes()) {
                Ok(_) => Ok(format!("{name}: no mistakes\n")),
                Err(errors) => Err(errors
                    .0
                    .iter()
                    .map(|error| format!("{name}: {error}"))
                    .collect::<Vec<_>>()
                    .join("\n")),
            }
        }
        Command::Schema => Ok(format!("{:#}\n", config::generated_schema())),
        Command::Render(Render::Envoy { document, listen, admin, bridge, upstream, wasm }) => {
            let options = EnvoyOptions { listen, admin, bridge, wasm, upstream };
            render::envoy(&read(&document)?, &options).map_err(|error| error.to_string())
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let result = if path == Path::new("-") {
        io::stdin().lock().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(path).map(|content| text = content)
    };
    result.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(text)
}
