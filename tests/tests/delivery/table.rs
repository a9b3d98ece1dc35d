//! The table of `docs/delivery.md`: a line for each row that has been played, in a file of its own below
//! `target/delivery`. `scripts/delivery.sh` puts them together.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use wicketgate_tests::artefacts;

use crate::account::Account;
use crate::scene::Times;

/// Prints a row and keeps it.
pub(crate) fn add(number: u32, fault: &str, account: &Account, times: &Times) {
    let mut line = format!("| {fault} ");
    for count in [
        account.sent,
        account.acknowledged,
        account.arrived,
        account.lost,
        account.duplicates,
        account.not_written,
        account.unknown,
    ] {
        let _ = write!(line, "| {count} ");
    }
    for (time, without) in [
        (times.first_503, "none"),
        (times.after_opening, "did not open"),
        (times.ready_again, "stayed ready"),
    ] {
        let _ = write!(line, "| {} ", time.map_or(without.to_owned(), seconds));
    }
    line.push('|');
    println!("{line}");
    let dir = artefacts::root().join("target/delivery");
    fs::create_dir_all(&dir).expect("target/delivery can be made");
    fs::write(dir.join(format!("{number:03}.md")), line + "\n").expect("target/delivery is writable");
}

/// To three digits or so: what is left is chance.
fn seconds(time: Duration) -> String {
    let time = time.as_secs_f64();
    if time < 1.0 { format!("{:.0} ms", time * 1000.0) } else { format!("{time:.1} s") }
}
