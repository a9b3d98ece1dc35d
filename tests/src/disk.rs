//! A file system that can be filled without harm to anything else.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::artefacts;
use crate::process::Process;
use crate::wait::until_blocking;

const START_LIMIT: Duration = Duration::from_secs(20);

/// A file system in memory, of a fixed size, in a mount namespace of its own: only the processes that are started on
/// it see it. It is gone with the last of them.
#[derive(Debug)]
pub struct Disk {
    /// Does nothing but keep the namespace.
    holder: Process,
    path: PathBuf,
    as_root: bool,
}

impl Disk {
    /// Makes one with room for so many bytes.
    pub fn start(bytes: u64) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let path = artefacts::run_dir().join(format!("disk-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&path).expect("a folder can be made");
        let as_root = is_root();
        let script = r#"mount -t tmpfs -o "size=$2" tmpfs "$1" && : >"$1/mounted" && exec sleep infinity"#;
        let flags: &[&str] = if as_root { &["--mount"] } else { &["--map-root-user", "--mount"] };
        let mut args: Vec<OsString> = flags.iter().map(OsString::from).collect();
        args.extend(["--", "sh", "-c", script, "sh"].map(OsString::from));
        args.extend([path.clone().into(), bytes.to_string().into()]);
        let holder = Process::start("disk", Path::new("unshare"), args);
        let disk = Self { holder, path, as_root };
        let mounted = until_blocking(START_LIMIT, || {
            if disk.holder.exit_status().is_some() {
                return Some(false);
            }
            disk.seen_from_outside().join("mounted").exists().then_some(true)
        });
        assert!(
            mounted == Ok(true),
            "no file system of its own could be mounted, and this test fills one. Run the tests as root, or as a user \
             who may make namespaces (where AppArmor keeps that back: sysctl \
             kernel.apparmor_restrict_unprivileged_userns=0).\n{}",
            disk.holder.log_tail()
        );
        disk
    }

    /// Where processes that are started on it see it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts a program that sees it.
    pub fn start_on<A: AsRef<OsStr>>(
        &self,
        name: &str,
        program: &Path,
        args: impl IntoIterator<Item = A>,
    ) -> Process {
        let holder = self.holder.id().to_string();
        let mut all: Vec<OsString> = vec!["--target".into(), holder.into(), "--mount".into()];
        if !self.as_root {
            all.extend(["--user", "--preserve-credentials"].map(OsString::from));
        }
        // Said again, because the kernel forgets it when a process gains rights, as it does in a namespace of its own.
        all.extend(["--", "setpriv", "--pdeathsig", "KILL", "--"].map(OsString::from));
        all.push(program.into());
        all.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        Process::start(name, Path::new("nsenter"), all)
    }

    /// Fills what is free of it.
    pub fn fill(&self) {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.ballast())
            .expect("a file can be made on the disk");
        // Smaller and smaller pieces, so that nothing is left.
        for size in [1 << 20, 4096, 1] {
            let piece = vec![0; size];
            loop {
                match file.write_all(&piece) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => panic!("the disk cannot be filled: {error}"),
                }
            }
        }
    }

    /// Frees what [`Self::fill`] has filled.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("the file that fills the disk can be removed");
    }

    fn ballast(&self) -> PathBuf {
        self.seen_from_outside().join("ballast")
    }

    /// Where this process sees it.
    fn seen_from_outside(&self) -> PathBuf {
        let path = self.path.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(path)
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id, of coreutils, runs");
    id.stdout.trim_ascii() == b"0"
}
