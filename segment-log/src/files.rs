//! Files that the bridge has on disk, of which it takes nothing but regular ones. Opening a FIFO waits for whoever has its
//! other end, and a device need not have an end; behind a symbolic link is what somebody else has chosen.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Flags for opening, with which nothing is waited for and no link is followed at the end of a path.
fn flags() -> i32 {
    // The same bits, as the standard library takes them.
    (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed()
}

/// What is opened with these options, if it is a regular file.
///
/// # Errors
/// When it cannot be opened, or is something else.
pub fn open_with(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags(flags()).open(path).map_err(|error| {
        let is_link = path.symlink_metadata().is_ok_and(|there| there.is_symlink());
        if is_link { not_regular("a symbolic link") } else { error }
    })?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() { Ok(file) } else { Err(not_regular("something else")) }
}

/// What is there to be read, if it is a regular file.
///
/// # Errors
/// As [`open_with`].
pub fn open(path: &Path) -> io::Result<File> {
    open_with(OpenOptions::new().read(true), path)
}

/// All that is in a regular file.
///
/// # Errors
/// As [`open_with`], or when it cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn not_regular(what: &str) -> io::Error {
    io::Error::other(format!("wanted a regular file, found {what}; move it out of the directory"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn nothing_is_opened_but_regular_files() {
        let directory = std::env::temp_dir().join(format!("bridge-files-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = |name: &str| directory.join(name);
        std::fs::write(path("file"), "x").unwrap();
        assert_eq!(read(&path("file")).unwrap(), b"x");
        assert_eq!(read(&path("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        let made = Command::new("mkfifo").arg(path("fifo")).status().unwrap();
        assert!(made.success());
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for name in ["fifo", "link", "socket", "."] {
            read(&path(name)).unwrap_err();
            open_with(OpenOptions::new().create(true).append(true), &path(name)).unwrap_err();
        }
        for name in ["/dev/zero", "/dev/null"] {
            let error = read(Path::new(name)).unwrap_err().to_string();
            assert!(error.contains("regular file"), "{error}");
        }
        assert_eq!(read(&path("file")).unwrap(), b"x", "written through the link");
        drop(socket);
        std::fs::remove_dir_all(directory).unwrap();
    }
}
