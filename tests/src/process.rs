//! Child processes that cannot outlive the tests.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;

use crate::artefacts;
use crate::wait::until_blocking;

/// A running program, its output in a file. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Mutex<Child>,
    pid: u32,
    log: PathBuf,
}

impl Process {
    /// Starts `program`. Its standard output and error go to `<name>-<n>.log` in the folder of this run.
    pub fn start<A: AsRef<OsStr>>(name: &str, program: &Path, args: impl IntoIterator<Item = A>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let log = artefacts::run_dir().join(format!("{name}-{}.log", COUNT.fetch_add(1, Ordering::Relaxed)));
        let file = File::create(&log).expect("a log file can be made");
        let mut command = dying_with_us(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file handle can be cloned"))
            .stderr(file);
        let child = spawn(command).unwrap_or_else(|error| {
            panic!("cannot start {name} ({} through setpriv, of util-linux): {error}", program.display())
        });
        Self { name: name.to_owned(), pid: child.id(), child: Mutex::new(child), log }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Where what it writes goes; also after it has ended.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The end of what it wrote, for the text of a failure.
    pub fn log_tail(&self) -> String {
        const LINES: usize = 40;
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let mut tail = format!("--- {} ({}, pid {}) ---\n", self.name, self.log.display(), self.pid);
        for line in &lines[lines.len().saturating_sub(LINES)..] {
            let _ = writeln!(tail, "{line}");
        }
        tail
    }

    /// How much memory it has, in bytes (its resident set, as the kernel counts it).
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kibibytes.expect("the kernel tells how much memory a process has") * 1024
    }

    /// How it ended, or `None` while it runs.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child
            .lock()
            .expect("no holder of this lock panics")
            .try_wait()
            .expect("a child can be waited for")
    }

    /// The time that it has had of the processors so far, in all of its threads.
    pub fn cpu_time(&self) -> Duration {
        cpu_time(&self.pid.to_string())
    }

    /// Waits until it has ended by itself.
    pub fn wait_for_exit(&self, limit: Duration) -> ExitStatus {
        until_blocking(limit, || self.exit_status())
            .unwrap_or_else(|_| panic!("{} still runs after {limit:?}\n{}", self.name, self.log_tail()))
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub fn terminate(&self, limit: Duration) -> ExitStatus {
        self.signal("TERM");
        self.wait_for_exit(limit)
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&self) {
        let mut child = self.child.lock().expect("no holder of this lock panics");
        // It may have ended by itself already, which is as good.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Freezes it (SIGSTOP): it keeps its sockets and answers nothing. Returns when each of its threads has stopped,
    /// which is a little later than the signal.
    pub fn freeze(&self) {
        const LIMIT: Duration = Duration::from_secs(10);
        self.signal("STOP");
        let stopped = until_blocking(LIMIT, || {
            let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).ok()?;
            threads.flatten().all(|thread| is_stopped(&thread.path())).then_some(())
        });
        assert!(stopped.is_ok(), "{} still runs {LIMIT:?} after it was stopped", self.name);
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -s {signal} {}", self.pid)]).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot send {signal} to {}", self.name);
    }
}

/// The time that a process, by its id or `self`, has had of the processors so far (`proc_pid_stat(5)`), which Linux
/// counts in hundredths of a second.
pub fn cpu_time(pid: &str) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    // After the name, which may hold anything.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// Whether the thread in this folder of `/proc` is stopped, or gone.
fn is_stopped(thread: &Path) -> bool {
    let status = fs::read_to_string(thread.join("status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_none_or(|state| state.trim_start().starts_with('T'))
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
        self.kill();
    }
}

/// A command for `program` that the kernel kills when the thread that spawned it ends; hand it to [`spawn`].
pub fn dying_with_us(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Spawns from one thread that lives as long as this process. The parent-death signal is sent when the
/// spawning *thread* ends, and tests run on threads of their own that end with the test.
pub fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        orders
    });
    let (reply, answer) = mpsc::channel();
    spawner.send((command, reply)).expect("the spawning thread lives");
    answer.recv().expect("the spawning thread answers")
}
