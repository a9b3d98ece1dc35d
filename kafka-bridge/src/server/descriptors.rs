//! How many files the process may open, sockets included, and how many of them are for connections of callers.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;

/// What the bridge itself opens: listeners, logs, journal, spool, Redis, the collector.
const OWN: u64 = 192;

/// What it opens for each cluster: several clients, each with a connection to every broker.
const EACH_CLUSTER: u64 = 64;

/// More connections than this take more memory than anybody expects who has not asked for them.
const MOST_UNASKED: u32 = 10_000;

/// The configuration asks for more connections than the process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "--max-connections {wanted}: the process may open {files} files, of which it needs {reserve} for Kafka and its own; \
     wanted at most {}, or a higher limit (ulimit -n, LimitNOFILE= of systemd)", .files.saturating_sub(*.reserve)
)]
pub struct TooManyConnections {
    wanted: u32,
    files: u64,
    reserve: u64,
}

/// Raises what the process may open to what the operating system lets it have. Child processes and `select(2)` are why the
/// limit is lower by default, and the bridge has neither.
///
/// # Errors
/// When the operating system refuses.
pub fn raise_limit() -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return Ok(());
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// The most connections at a time for a bridge of so many clusters: as configured, or what is left of the files that the
/// process may open.
///
/// # Errors
/// [`TooManyConnections`].
pub(crate) fn connections(wanted: Option<u32>, clusters: usize) -> Result<usize, TooManyConnections> {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = share(files, clusters as u64, wanted)?;
    Ok(usize::try_from(connections).unwrap_or(usize::MAX))
}

fn share(files: u64, clusters: u64, wanted: Option<u32>) -> Result<u32, TooManyConnections> {
    let reserve = EACH_CLUSTER.saturating_mul(clusters).saturating_add(OWN).min(files / 2);
    let left = u32::try_from(files - reserve).unwrap_or(u32::MAX);
    match wanted {
        Some(wanted) if wanted > left => Err(TooManyConnections { wanted, files, reserve }),
        Some(wanted) => Ok(wanted),
        None => Ok(left.min(MOST_UNASKED)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_to_kafka() {
        assert_eq!(share(1024, 1, None), Ok(768));
        assert_eq!(share(1024, 3, None), Ok(640));
        assert_eq!(share(1024, 1, Some(768)), Ok(768));
        assert_eq!(share(1 << 20, 1, None), Ok(10_000));
        assert_eq!(share(1 << 20, 1, Some(50_000)), Ok(50_000));
        assert_eq!(share(u64::MAX, 1, None), Ok(10_000));
        assert_eq!(share(120, 1, None), Ok(60));
        let error = share(1024, 1, Some(769)).unwrap_err().to_string();
        assert!(
            error
                .starts_with("--max-connections 769: the process may open 1024 files, of which it needs 256"),
            "{error}"
        );
        assert!(error.contains("wanted at most 768,"), "{error}");
    }
}
