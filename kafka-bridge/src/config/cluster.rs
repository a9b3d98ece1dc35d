//! The file's tables `[clusters.<name>]`.

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _};
use wicketgate_envelope::hop::is_cluster_name;

use super::file::Contents;
use super::load;
use crate::producer::{ClusterOptions, DEFAULT_CLUSTER, check_properties};

/// Names that no directory of a spool can have, or that something else has.
const NO_DIRECTORY: [&str; 3] = [".", "..", "lock"];

/// Reads a table of the configuration file, which `origin` names; adds what is wrong to `errors`.
pub(super) fn read(
    name: &str,
    contents: Contents,
    origin: &str,
    errors: &mut Vec<String>,
) -> Option<ClusterOptions> {
    let said = errors.len();
    if name == DEFAULT_CLUSTER {
        errors.push(format!(
            "{origin}: wanted another name: the settings outside of [clusters] are those of the cluster {name}"
        ));
    } else if !is_cluster_name(name) {
        errors.push(format!("{origin}: wanted a name of 1 to 64 of the characters a-z A-Z 0-9 . _ -"));
    } else if NO_DIRECTORY.contains(&name) {
        errors.push(format!(
            "{origin}: wanted another name: its spool would be a directory {name} in --spool-dir"
        ));
    }
    errors.extend(contents.errors.iter().map(|error| format!("{origin}.{error}")));
    let command = ClusterOptions::command();
    let mut arguments: Vec<OsString> = Vec::new();
    for (key, value) in &contents.settings {
        let flag = match command.get_arguments().find(|known| known.get_id() == key) {
            Some(argument) => load::setting(argument, value),
            None => Err("a cluster has no such setting; docs/bridge.md has all of them".to_owned()),
        };
        match flag {
            Ok(flag) => arguments.extend(flag),
            Err(error) => errors.push(format!("{origin}.{key}: {error}")),
        }
    }
    let is_there = contents.settings.iter().any(|(key, _)| key == "bootstrap_servers")
        || contents.errors.iter().any(|error| error.starts_with("bootstrap_servers: "));
    if !is_there {
        errors.push(format!(
            "{origin}.bootstrap_servers: wanted HOST:PORT, or several separated by commas, got nothing"
        ));
    }
    errors.extend(
        check_properties(&contents.properties)
            .into_iter()
            .map(|error| format!("{origin}.librdkafka.{error}")),
    );
    if errors.len() > said {
        return None;
    }
    let read = command
        .try_get_matches_from(arguments)
        .and_then(|matches| ClusterOptions::from_arg_matches(&matches));
    match read {
        Ok(cluster) => {
            Some(ClusterOptions { name: name.to_owned(), librdkafka: contents.properties, ..cluster })
        }
        Err(error) => {
            errors.push(format!("{origin}: {error}"));
            None
        }
    }
}
