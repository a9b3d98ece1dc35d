//! The sockets on which connections come in: TCP and Unix domain sockets.

use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream};
use tokio::time::Instant;

use super::Listen;

/// How many connections may wait to be accepted, as for TCP in the standard library; the kernel has a limit of its own.
const BACKLOG: u32 = 1024;

/// How long another bridge may take to make its socket in the same folder.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A socket on which connections come in.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    at: Listen,
    /// Whether it is for those who run the bridge, and not for its callers.
    pub(super) admin: bool,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Tls(TcpListener),
    Unix { listener: UnixListener, _file: SocketFile },
}

/// A connection that came in.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream),
    Tls(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Listens. `mode` is who may connect to a Unix domain socket, as permission bits; the file is removed with the
    /// listener.
    ///
    /// # Errors
    /// When the operating system refuses; when the path is that of something else than a socket, or of a socket on
    /// which somebody answers.
    pub async fn bind(at: &Listen, mode: u32) -> io::Result<Self> {
        let admin = false;
        match at {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let at = Listen::Tcp(listener.local_addr()?);
                Ok(Self { socket: Socket::Tcp(listener), at, admin })
            }
            Listen::Tls(address) => {
                let listener = TcpListener::bind(address).await?;
                let at = Listen::Tls(listener.local_addr()?);
                Ok(Self { socket: Socket::Tls(listener), at, admin })
            }
            Listen::Unix(path) => {
                let (listener, file) = bind_unix(path, mode).await?;
                Ok(Self { socket: Socket::Unix { listener, _file: file }, at: at.clone(), admin })
            }
        }
    }

    /// Has it serve those who run the bridge, and not its callers.
    #[must_use]
    pub fn for_operators(self) -> Self {
        Self { admin: true, ..self }
    }

    /// Where it listens, with the port that it has.
    pub fn at(&self) -> &Listen {
        &self.at
    }

    /// The next connection.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        match &self.socket {
            Socket::Tcp(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| Accepted::Tcp(stream)),
            Socket::Tls(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| Accepted::Tls(stream)),
            Socket::Unix { listener, .. } => {
                listener.poll_accept(cx).map_ok(|(stream, _)| Accepted::Unix(stream))
            }
        }
    }
}

async fn bind_unix(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Until the socket listens it looks like one that was left behind, to a bridge that starts beside this one.
    let _lock = locked(folder).await?;
    remove_left_behind(path).await?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let file = SocketFile::of(path)?;
    // Nobody can connect before it listens, so nobody can who may not.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok((socket.listen(BACKLOG)?, file))
}

/// Locks a folder against other bridges that make sockets in it.
async fn locked(folder: &Path) -> io::Result<File> {
    let lock = File::open(folder)?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                tokio::time::sleep(LOCK_PAUSE).await
            }
            Err(TryLockError::WouldBlock) => {
                let text =
                    format!("another process has held a lock on {} for {LOCK_TIMEOUT:?}", folder.display());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Removes the socket that a process left behind when it was killed; one on which somebody answers stays.
async fn remove_left_behind(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there, and is not a socket"));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // One that is too busy to answer is in use as well.
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it")),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it"))
        }
        Err(error) => Err(error),
    }
}

/// The file of a Unix domain socket, removed with this value unless another has taken its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), id: id(&fs::symlink_metadata(path)?) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| id(&found) == self.id)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the socket cannot be removed");
        }
    }
}

/// What tells a file from others, device and inode.
fn id(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
