//! Files of secrets, one a line.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// A secret that is shorter can be guessed.
const SHORTEST: usize = 32;

/// More than this is no rotation any more, and each costs time with each request.
const MOST: usize = 16;

/// Far more than [`MOST`] secrets take.
const LARGEST_FILE: u64 = 64 << 10;

/// Reads the secrets of a file, in its order. Empty lines are passed over; white space around a secret is not part
/// of it.
///
/// # Errors
/// What is wrong and where, without anything of what the file holds.
pub(super) fn read(path: &Path) -> Result<Vec<String>, String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_FILE + 1).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(format!("wanted at most {LARGEST_FILE} bytes"));
    }
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<String>, String> {
    let mut secrets = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let secret = line.trim();
        if secret.is_empty() {
            continue;
        }
        let number = index + 1;
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("line {number}: wanted visible ASCII characters, without spaces"));
        }
        if secret.len() < SHORTEST {
            let length = secret.len();
            return Err(format!(
                "line {number}: wanted at least {SHORTEST} characters, got {length}; openssl rand -hex 32 makes one"
            ));
        }
        secrets.push(secret.to_owned());
    }
    match secrets.len() {
        0 => Err("wanted one secret a line, got none".to_owned()),
        1..=MOST => Ok(secrets),
        more => Err(format!("wanted at most {MOST} secrets, got {more}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_line() {
        let (one, two) = ("a".repeat(32), "#".repeat(40));
        assert_eq!(parse(&one), Ok(vec![one.clone()]));
        assert_eq!(parse(&format!("\n {one}\r\n\n{two}\n")), Ok(vec![one, two]));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_secret() {
        let good = "x".repeat(32);
        for (text, wanted) in [
            (String::new(), "got none"),
            ("\n \n".to_owned(), "got none"),
            (format!("{good}\nhunter2\n"), "line 2: wanted at least 32 characters, got 7"),
            (format!("hunter2 {good}"), "line 1: wanted visible ASCII"),
            (format!("hunter2ü{good}"), "line 1: wanted visible ASCII"),
            (format!("{good}\n").repeat(17), "wanted at most 16 secrets, got 17"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(wanted) && !error.contains("hunter2"), "{error}");
        }
        let missing = read(Path::new("/nonexistent/secrets")).unwrap_err();
        assert!(missing.contains("No such file"), "{missing}");
    }
}
