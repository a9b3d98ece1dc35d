//! Puts together what flags, environment and file say.

use std::ffi::{OsStr, OsString};

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, Command, CommandFactory as _, FromArgMatches as _};
use clap_complete::Shell;

use super::file::{self, Setting};
use super::{Config, Mode, cluster};
use crate::hop::Guard;
use crate::producer::{check_properties, check_together};
use crate::server::Tls;

/// Why there is no configuration to run with.
#[derive(Debug)]
pub enum Failure {
    /// The command line cannot be read, or asks for help.
    Usage(clap::Error),
    /// All that is wrong, each with where it was said and the next step, and without secrets.
    Invalid(Vec<String>),
}

/// A configuration that can be run with.
#[derive(Debug)]
pub struct Loaded {
    /// What was set.
    pub config: Config,
    /// Who may call, from the files that it names.
    pub guard: Guard,
    /// What listeners with TLS serve with, from the files that it names.
    pub tls: Option<Tls>,
}

impl Loaded {
    /// Reads the files that a configuration names.
    ///
    /// # Errors
    /// What is wrong with each of them, without anything of what they hold.
    pub fn new(config: Config) -> Result<Self, Vec<String>> {
        let (guard, tls) = (
            Guard::load(&config.hop),
            Tls::load(&config.server, config.hop.reloadable.tls_client_ca_file.as_deref()),
        );
        match (guard, tls) {
            (Ok(guard), Ok(tls)) => Ok(Self { config, guard, tls }),
            (guard, tls) => {
                let mut errors = guard.err().unwrap_or_default();
                // Both read the file of authorities.
                errors.extend(
                    tls.err()
                        .into_iter()
                        .flatten()
                        .filter(|error| !errors.contains(error))
                        .collect::<Vec<_>>(),
                );
                Err(errors)
            }
        }
    }
}

/// Settings that no file can have.
const NOT_IN_FILES: [&str; 2] = ["config", "librdkafka"];

/// The command line: each flag may come before a command and after it.
pub fn command() -> Command {
    Config::command().mut_args(|argument| argument.global(true))
}

/// The shell for which the command line asks for completions, which takes no configuration.
pub fn completions(arguments: impl IntoIterator<Item = OsString>) -> Option<Shell> {
    let matches = command()
        .mut_args(|argument| argument.env(Resettable::Reset))
        .try_get_matches_from(arguments)
        .ok()?;
    let matches = matches.subcommand_matches("completions")?;
    matches.get_one::<Shell>("shell").copied()
}

/// Reads the configuration, and the files that it names. `arguments` start with the name of the program;
/// `environment` looks up a variable.
///
/// # Errors
/// All that is wrong. The command line comes first: if it cannot be read, nothing else is looked at.
pub fn load(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Loaded, Failure> {
    // Variables are looked up here, so that each of them that is wrong is told.
    let command = command().mut_args(|argument| argument.env(Resettable::Reset));
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let given = command.clone().try_get_matches_from(&arguments).map_err(Failure::Usage)?;
    let known = Config::command();
    let variable = |id: &str| {
        let name = known.get_arguments().find(|argument| argument.get_id() == id)?.get_env()?.to_str()?;
        environment(name).map(|value| (name.to_owned(), value))
    };

    let mut errors = Vec::new();
    let path = given
        .get_one::<std::path::PathBuf>("config")
        .cloned()
        .or_else(|| variable("config").map(|(_, path)| path.into()));
    let shown = path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let contents = path.map(|path| file::read(&path)).unwrap_or_default();
    errors.extend(contents.errors.iter().map(|error| format!("{shown}: {error}")));

    // What is not on the command line is put there, and checked on the way.
    let mut further = Vec::new();
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        if given.value_source(id) == Some(ValueSource::CommandLine) {
            continue;
        }
        let from_file = contents.settings.iter().find(|(key, _)| key == id && !NOT_IN_FILES.contains(&id));
        let (origin, flag) = match (variable(id), from_file) {
            (Some((name, value)), _) => (name, flag(argument, &value)),
            (None, Some((key, value))) => (format!("{shown}: {key}"), setting(argument, value)),
            (None, None) => continue,
        };
        match flag {
            Ok(flag) => further.extend(flag),
            Err(error) => errors.push(format!("{origin}: {error}")),
        }
    }
    for (key, _) in &contents.settings {
        if NOT_IN_FILES.contains(&key.as_str()) || !command.get_arguments().any(|known| known.get_id() == key)
        {
            errors.push(format!("{shown}: {key}: there is no such setting; docs/bridge.md has all of them"));
        }
    }

    // After the name of the program, and before flags.
    let first = 1.min(arguments.len());
    arguments.splice(first..first, further);
    let matches = command.try_get_matches_from(arguments).map_err(Failure::Usage)?;
    let mut config = Config::from_arg_matches(&matches).map_err(Failure::Usage)?;
    errors.extend(
        check_properties(&config.kafka.librdkafka).into_iter().map(|error| format!("--librdkafka {error}")),
    );
    errors.extend(
        check_properties(&contents.properties)
            .into_iter()
            .map(|error| format!("{shown}: librdkafka.{error}")),
    );
    // Later ones replace earlier ones.
    config.kafka.librdkafka.splice(0..0, contents.properties);
    let (production, stall) = (config.mode == Mode::Production, config.kafka.breaker_stall());
    let together = check_together(&config.kafka.librdkafka, production, stall);
    errors.extend(together.into_iter().map(|error| format!("librdkafka.{error}")));
    for (name, contents) in contents.clusters {
        let origin = format!("{shown}: clusters.{name}");
        let together = check_together(&contents.properties, production, stall);
        errors.extend(together.into_iter().map(|error| format!("{origin}.librdkafka.{error}")));
        config.clusters.extend(cluster::read(&name, contents, &origin, &mut errors));
    }

    // Values that were left out because they are wrong would only be blamed once more.
    let contradictions = if errors.is_empty() { config.check().err() } else { None };
    let loaded = Loaded::new(config).map_err(|unreadable| errors.extend(unreadable));
    errors.extend(contradictions.into_iter().flatten());
    match loaded {
        Ok(loaded) if errors.is_empty() => Ok(loaded),
        _ => Err(Failure::Invalid(errors)),
    }
}

/// A value as a flag.
fn flag(argument: &Arg, value: &OsStr) -> Result<Option<OsString>, String> {
    let mut flag = OsString::from(format!("--{}=", argument.get_long().unwrap_or_default()));
    flag.push(value);
    Command::new("")
        .no_binary_name(true)
        .arg(argument.clone())
        .try_get_matches_from([&flag])
        .map_err(|error| reason(&error))?;
    Ok(Some(flag))
}

/// A setting of the file as a flag; `None` is that it is off.
pub(super) fn setting(argument: &Arg, setting: &Setting) -> Result<Option<OsString>, String> {
    let switch = matches!(argument.get_action(), ArgAction::SetTrue);
    let on_or_off = argument.get_value_parser().type_id() == std::any::TypeId::of::<bool>();
    // Brokers are one value to librdkafka, and several to whoever writes them down.
    let several = argument.get_value_delimiter().is_some() || argument.get_id() == "bootstrap_servers";
    match setting {
        Setting::Switch(on) if switch => {
            Ok(on.then(|| format!("--{}", argument.get_long().unwrap_or_default()).into()))
        }
        Setting::Switch(on) if on_or_off => flag(argument, OsStr::new(if *on { "true" } else { "false" })),
        Setting::Text(text) if !on_or_off => flag(argument, OsStr::new(text)),
        // It would not be a list of nothing, but no list.
        Setting::List(texts) if several && texts.is_empty() => {
            Err("wanted at least one string in the array, got none; to have the default, leave it out"
                .to_owned())
        }
        Setting::List(texts) if several => flag(argument, OsStr::new(&texts.join(","))),
        Setting::Switch(_) => Err("wanted a string or an integer, got a boolean".to_owned()),
        Setting::Text(text) => Err(format!("wanted true or false, got {text:?}")),
        Setting::List(_) if on_or_off => Err("wanted true or false, got an array".to_owned()),
        Setting::List(_) => Err("wanted one string or integer, got an array".to_owned()),
    }
}

/// What was wrong with the one value that was tried.
fn reason(error: &clap::Error) -> String {
    if let Some(source) = std::error::Error::source(error) {
        return source.to_string();
    }
    if error.kind() == ErrorKind::InvalidUtf8 {
        return "wanted text in UTF-8, got other bytes".to_owned();
    }
    let got = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => format!(", got {value:?}"),
        _ => String::new(),
    };
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            format!("wanted one of {}{got}", values.join(", "))
        }
        _ => format!("wanted a value{got}"),
    }
}
