//! What the program is asked to do.

use clap::Subcommand;
use clap_complete::Shell;

/// What the program is asked to do. All settings hold for each of them.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve requests. This is what is done without a command, too.
    Serve,
    /// Check the configuration and the files that it names. Connects to nothing; the exit code is 2 if something is wrong.
    Check,
    /// Look at the files of a spool or repair them. No bridge may be running with the spool.
    #[command(subcommand)]
    Spool(SpoolCommand),
    /// Write a script of completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// What is done with a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum SpoolCommand {
    /// Describe each file. Changes nothing; the exit code is 1 if a bridge would not start with the spool.
    Check,
    /// Write what can be read of a damaged spool anew, so that a bridge starts with it. The damaged files are kept.
    Salvage,
    /// Write each record that Kafka refused as a line of JSON.
    List,
    /// Put the records that Kafka refused back into the spool, behind all that is there.
    Retry,
    /// Delete the records that Kafka refused.
    Drop,
}

impl SpoolCommand {
    /// As on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Check => "spool check",
            Self::Salvage => "spool salvage",
            Self::List => "spool list",
            Self::Retry => "spool retry",
            Self::Drop => "spool drop",
        }
    }
}
