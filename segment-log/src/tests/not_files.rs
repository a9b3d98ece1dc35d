//! What is in the directory of a log and is no file: it is not waited for, not read without end, and not written through.

use std::os::unix::fs::symlink;
use std::process::Command;

use super::*;

#[test]
fn a_link_in_the_place_of_a_new_checkpoint_is_not_written_through() {
    let directory = Directory::new("linked");
    let elsewhere = directory.0.join("elsewhere");
    fs::write(&elsewhere, "as it was").unwrap();
    symlink(&elsewhere, directory.0.join("checkpoint.new")).unwrap();
    let (log, _) = open(&directory);
    assert_eq!(append(&log, b"1"), Outcome::Durable);
    stop(&log);
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "as it was");
    let checkpoint = directory.0.join("checkpoint").symlink_metadata().unwrap();
    assert!(checkpoint.is_file() && !checkpoint.is_symlink());
}

#[test]
fn a_start_says_what_is_no_file_and_does_not_wait_for_it() {
    for name in ["checkpoint", "00000000000000000001.segment"] {
        for place in ["fifo", "link", "device"] {
            let directory = Directory::new(&format!("not-a-file-{place}"));
            let path = directory.0.join(name);
            match place {
                "fifo" => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
                "link" => symlink(directory.0.join("elsewhere"), &path).unwrap(),
                // Making a device takes root; what is behind a link is not looked at either.
                _ => symlink("/dev/zero", &path).unwrap(),
            }
            let Err(error) = open_with(&directory, &Disk::default()) else {
                panic!("{name} is a {place}, and was taken")
            };
            assert!(error.to_string().contains("wanted a regular file"), "{name}, {place}: {error}");
        }
    }
}
